//! One plain HTTP question of an admin server: its status and first words come out. It sends nothing but the path.

use super::tcp::dial;
use axum::http::Uri;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// One question takes no longer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More is not read.
const MAX_ANSWER_BYTES: u64 = 4096;

/// GET of an `http://` address: the status, and the body where it is short.
///
/// # Errors
/// A sentence: it is no such address, or nobody answers.
pub async fn ask(url: &Uri) -> Result<(u16, String), String> {
    let (Some("http"), Some(host)) = (url.scheme_str(), url.host()) else {
        return Err(format!("{url} is no address like http://dockseal-controller.dockseal:8080/readyz"));
    };
    let place = (host.trim_matches(['[', ']']), url.port_u16().unwrap_or(80));
    let mut stream = dial(place, TIMEOUT).await.map_err(|error| format!("failed to connect to {url}: {error}"))?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let question = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    let answer = timeout(TIMEOUT, async {
        stream.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
    });
    let answer = answer.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let answer = answer.map_err(|error| format!("failed to ask {url}: {error}"))?;
    parse(&answer).ok_or_else(|| format!("failed to ask {url}: what answers does not speak HTTP"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (version, rest) = answer.split_once(' ')?;
    let status = rest.get(..3)?.parse().ok().filter(|_| version.starts_with("HTTP/1."))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Some((status, body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let of = |answer: &str| parse(answer);
        assert_eq!(of("HTTP/1.0 200 OK\r\na: b\r\n\r\nleading\n"), Some((200, "leading".into())));
        assert_eq!(of("HTTP/1.1 503 Service Unavailable\r\n\r\n"), Some((503, String::new())));
        for wrong in ["", "HTTP/1.1", "HTTP/1.1 2", "SSH-2.0-OpenSSH_10 200", "HTTP/1.1 ok!"] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
