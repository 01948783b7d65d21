//! One GET over an open stream, in HTTP/1.0 so that the answer ends with the connection. It follows no redirect, keeps
//! no connection, and waits as long as its caller does.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Headers are looked for in so much of an answer.
const MAX_HEAD_BYTES: usize = 4096;

/// An answer as it came; perhaps none of HTTP.
pub(in crate::adapters) struct HttpAnswer(pub(in crate::adapters) Vec<u8>);

/// Asks for `path`, and reads at most `limit` bytes.
///
/// # Errors
/// That of the stream, where it breaks before the first byte of an answer.
pub(in crate::adapters) async fn get(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    path: &str,
    limit: u64,
) -> io::Result<HttpAnswer> {
    // A server that refuses the client may have hung up already; its reason can still be read.
    let sent = stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await;
    let mut answer = Vec::new();
    let read = stream.take(limit).read_to_end(&mut answer).await;
    match read.and(sent) {
        // Some servers reset the connection after the answer.
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(HttpAnswer(answer)),
    }
}

impl HttpAnswer {
    /// The first line; `HTTP` where it is not UTF-8.
    pub(in crate::adapters) fn status_line(&self) -> &str {
        let end = self.0.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..end]).unwrap_or("HTTP")
    }

    /// The status code; none where it is no answer of HTTP/1.
    pub(in crate::adapters) fn status(&self) -> Option<u16> {
        let rest = self.status_line().strip_prefix("HTTP/1.")?;
        let code = rest.split(' ').nth(1).filter(|code| code.len() == 3)?;
        code.parse().ok()
    }

    /// The value of a header, without white space around it.
    pub(in crate::adapters) fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.0[..self.0.len().min(MAX_HEAD_BYTES)]);
        let headers = head.lines().skip(1).take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
        let mut named = headers.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim().to_owned())
    }

    /// What follows the headers.
    pub(in crate::adapters) fn body(&self) -> Option<&[u8]> {
        self.0.windows(4).position(|four| four == b"\r\n\r\n").map(|at| &self.0[at + 4..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_headers_and_a_body() {
        let of = |answer: &str| HttpAnswer(answer.into());
        let answer = of("HTTP/1.0 200 OK\r\nServer:  Docker/27 \r\n\r\nleading\n");
        assert_eq!((answer.status_line(), answer.status()), ("HTTP/1.0 200 OK", Some(200)));
        assert_eq!((answer.header("server").as_deref(), answer.header("a")), (Some("Docker/27"), None));
        assert_eq!(answer.body(), Some(&b"leading\n"[..]));
        assert_eq!(of("HTTP/1.1 503 Service Unavailable\r\n\r\n").status(), Some(503));
        for wrong in ["", "HTTP/1.1", "HTTP/1.1 2", "SSH-2.0-OpenSSH_10 200", "HTTP/1.1 ok!"] {
            assert_eq!(of(wrong).status(), None, "{wrong:?}");
        }
    }
}
