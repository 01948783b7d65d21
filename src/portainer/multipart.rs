//! Fields and files in, the bytes of a `multipart/form-data` body (RFC 7578) out, in the form that Go reads.

use zeroize::Zeroizing;

/// One file of a form.
#[derive(Clone, Copy)]
pub struct FilePart<'a> {
    /// Name of the form field.
    pub field: &'static str,
    /// Name of the file; Portainer reads a part without one as text.
    pub file_name: &'static str,
    /// The bytes of the file.
    pub content: &'a [u8],
}

/// The body of a form. It holds keys, so its memory is zeroed. No value may contain `boundary`.
pub fn body(boundary: &str, fields: &[(&str, String)], files: &[FilePart<'_>]) -> Zeroizing<Vec<u8>> {
    let fields = fields.iter().map(|(name, value)| (format!("name=\"{name}\"\r\n"), value.as_bytes()));
    let files = files.iter().map(|FilePart { field, file_name, content }| {
        let kind = "Content-Type: application/octet-stream";
        (format!("name=\"{field}\"; filename=\"{file_name}\"\r\n{kind}\r\n"), *content)
    });
    let head = |named| format!("--{boundary}\r\nContent-Disposition: form-data; {named}\r\n");
    let parts: Vec<(String, &[u8])> = fields.chain(files).map(|(named, content)| (head(named), content)).collect();
    let end = format!("--{boundary}--\r\n");
    // Allocated once: memory that a vector outgrows is not zeroed.
    let length: usize = parts.iter().map(|(head, content)| head.len() + content.len() + 2).sum();
    let mut body = Zeroizing::new(Vec::with_capacity(length + end.len()));
    for (head, content) in &parts {
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(end.as_bytes());
    body
}

/// The `Content-Type` header of that body.
pub fn content_type(boundary: &str) -> String {
    format!("multipart/form-data; boundary={boundary}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_written_as_the_rfc_has_it() {
        let files = [FilePart { field: "file", file_name: "a.pem", content: b"x\r\n" }];
        let body = body("b", &[("folder", "7".to_owned())], &files);
        let text = "--b\r\nContent-Disposition: form-data; name=\"folder\"\r\n\r\n7\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.pem\"\r\n\
                    Content-Type: application/octet-stream\r\n\r\nx\r\n\r\n--b--\r\n";
        assert_eq!(String::from_utf8_lossy(&body), text);
        assert_eq!(content_type("b"), "multipart/form-data; boundary=b");
    }

    #[test]
    fn a_form_never_grows() {
        let content = vec![b'k'; 10_000];
        let file = FilePart { field: "TLSCACertFile", file_name: "cert.pem", content: &content };
        let body = body("boundary", &[("a", "b".to_owned()), ("c", String::new())], &[file, file]);
        assert_eq!(body.len(), body.capacity());
    }
}
