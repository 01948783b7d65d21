//! One plain HTTP question to an admin server: a URL in, status and body out. It sends nothing but the path.

use super::http_get::get;
use super::tcp::dial;
use hyper::Uri;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// For the connection, and again for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: u64 = 4096;

/// GET of an `http://` address: the status, and the first 4 KiB of the answer's body.
///
/// # Errors
/// A sentence: the URL is not one of plain HTTP, or no answer of HTTP comes in time.
pub async fn ask(url: &Uri) -> Result<(u16, String), String> {
    let (Some("http"), Some(host)) = (url.scheme_str(), url.host()) else {
        return Err(format!("{url} must be an address like http://dockseal-controller.dockseal:8080/readyz"));
    };
    let address = (host.trim_matches(['[', ']']), url.port_u16().unwrap_or(80));
    let mut stream = dial(address, TIMEOUT).await.map_err(|error| format!("failed to connect to {url}: {error}"))?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let answer = timeout(TIMEOUT, get(&mut stream, host, path, MAX_ANSWER_BYTES)).await;
    let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let answer = answer.map_err(|error| format!("failed to ask {url}: {error}"))?;
    let status = answer.status().ok_or_else(|| format!("failed to ask {url}: the server does not speak HTTP"))?;
    let body = String::from_utf8_lossy(answer.body().unwrap_or_default());
    Ok((status, body.trim().to_owned()))
}
