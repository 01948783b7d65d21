//! A form as bytes (RFC 7578), the way Go reads it: fields, and files that have a `filename`.

use zeroize::Zeroizing;

/// A file of a form.
#[derive(Clone, Copy)]
pub struct FilePart<'a> {
    /// Name of its field.
    pub field: &'static str,
    /// Name of the file; a part without one is no file to Portainer.
    pub file_name: &'static str,
    /// What is in it.
    pub content: &'a [u8],
}

/// The body of a form. It holds keys, so its memory is zeroed; none of the values may contain `boundary`.
pub fn body(boundary: &str, fields: &[(&str, String)], files: &[FilePart<'_>]) -> Zeroizing<Vec<u8>> {
    let heads = (fields.len() + files.len()) * (160 + boundary.len()) + 64 + boundary.len();
    let content: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        + files.iter().map(|file| file.field.len() + file.file_name.len() + file.content.len()).sum::<usize>();
    // Room for all of it at once: what a vector grows out of is not zeroed.
    let mut body = Zeroizing::new(Vec::with_capacity(heads + content));
    for (name, value) in fields {
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        append(&mut body, &[head.as_bytes(), value.as_bytes(), b"\r\n"]);
    }
    for FilePart { field, file_name, content } in files {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{file_name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        append(&mut body, &[head.as_bytes(), content, b"\r\n"]);
    }
    append(&mut body, &[format!("--{boundary}--\r\n").as_bytes()]);
    body
}

/// The header that goes with it.
pub fn content_type(boundary: &str) -> String {
    format!("multipart/form-data; boundary={boundary}")
}

fn append(body: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| body.extend_from_slice(part));
}
