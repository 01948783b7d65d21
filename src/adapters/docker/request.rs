//! The questions that pings, probes and scans share: an address or a stream in, dockerd's answer out, within a time and
//! to a limit. It verifies no certificate, and changes nothing.

use crate::adapters::net::http_get::{HttpAnswer, get};
use crate::adapters::net::tls_client::tls_handshake;
use crate::portainer::sanitize::sanitize;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For a connection, and for a question with its answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_PING_BYTES: u64 = 4096;
const MAX_INFO_BYTES: u64 = 4 << 20;

/// Waits for `work` as long as [`TIMEOUT`].
pub(super) async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} seconds", TIMEOUT.as_secs()));
    timeout(TIMEOUT, work).await.unwrap_or_else(|_| Err(late()))
}

/// Whether an error is the other side's end of the connection.
pub(super) fn is_cut(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// A TCP connection.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    within(TcpStream::connect(address)).await
}

/// `GET /_ping` over plain HTTP or the unix socket.
pub(super) async fn ping(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<HttpAnswer> {
    within(get(stream, "docker", "/_ping", MAX_PING_BYTES)).await
}

/// `GET /_ping` over TLS. In TLS 1.3 a server refuses a client's certificate only after the handshake.
pub(super) async fn ping_over_tls(
    stream: TcpStream,
    name: ServerName<'static>,
    config: ClientConfig,
) -> io::Result<HttpAnswer> {
    let asked = async { ping(&mut tls_handshake(stream, name, config).await?).await };
    within(asked).await
}

/// The same on a connection of its own.
pub(super) async fn connect_and_ping(
    address: SocketAddr,
    name: ServerName<'static>,
    config: ClientConfig,
) -> io::Result<HttpAnswer> {
    ping_over_tls(connect(address).await?, name, config).await
}

/// `GET /info`.
pub(super) async fn info(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<HttpAnswer> {
    within(get(stream, "docker", "/info", MAX_INFO_BYTES)).await
}

/// Whether the answer may be Docker's: any answer of HTTP, except TLS's refusal of plain HTTP, and a 404 without
/// Docker's headers, as dockerd's metrics port gives it.
pub(super) fn may_be_docker(answer: &HttpAnswer) -> bool {
    let head = head(answer);
    let unknown = head.lines().next().is_some_and(|status| status.contains(" 404 "));
    let named = head.contains("\napi-version:") || head.contains("\nserver: docker/");
    head.starts_with("http/") && !refuses_plain_http(answer) && (named || !unknown)
}

/// Whether a TLS server says that plain HTTP was spoken, in the words of Go (net/http, server.go) or of nginx.
pub(super) fn refuses_plain_http(answer: &HttpAnswer) -> bool {
    let text = String::from_utf8_lossy(&answer.0).to_ascii_lowercase();
    text.contains("http request to an https server") || text.contains("plain http request was sent to https port")
}

/// Whether a proxy says that the client certificate is missing or wrong, in nginx's words (`ngx_http_request.c`).
pub(super) fn refuses_certificate(answer: &HttpAnswer) -> bool {
    let text = String::from_utf8_lossy(&answer.0).to_ascii_lowercase();
    text.contains("no required ssl certificate was sent") || text.contains("the ssl certificate error")
}

/// Docker's version, where the answer names it.
pub(super) fn docker_version(answer: &HttpAnswer) -> Option<String> {
    let server = answer.header("server")?;
    server.strip_prefix("Docker/")?.split_whitespace().next().map(sanitize)
}

/// The first KiB in lower case.
fn head(answer: &HttpAnswer) -> String {
    String::from_utf8_lossy(&answer.0[..answer.0.len().min(1024)]).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_is_told_from_tls_and_from_other_pages() {
        for (answer, expected) in [
            ("HTTP/1.0 200 OK\r\n\r\nOK", true),
            ("HTTP/1.0 403 Forbidden\r\n\r\n", true),
            ("HTTP/1.0 404 Not Found\r\nServer: Docker/27.0.3 (linux)\r\n\r\n", true),
            ("HTTP/1.0 404 Not Found\r\n\r\n404 page not found", false),
            ("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", false),
            ("HTTP/1.1 400 Bad Request\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>", false),
            ("SSH-2.0-OpenSSH_9.2\r\n", false),
        ] {
            assert_eq!(may_be_docker(&HttpAnswer(answer.into())), expected, "{answer:?}");
        }
    }
}
