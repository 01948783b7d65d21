//! TCP connections: a name in, a stream to the first of its addresses that answers out. A name is resolved once: what was
//! found to be allowed is what is connected to. It sends nothing.

use super::destinations::Destinations;
use super::resolve::resolve;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::adapters) enum DialError {
    /// The name has no address, and why.
    Unresolved(String),
    /// No address of it accepts a connection; the error of the last one.
    Closed(io::ErrorKind, String),
    /// To none of its addresses may a connection be made.
    NotAllowed,
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DialError::Unresolved(message) | DialError::Closed(_, message) => f.write_str(message),
            DialError::NotAllowed => f.write_str("no connection may be made to its address"),
        }
    }
}

/// Connects to `host`, a name or an IP address without brackets, wherever that is.
pub(in crate::adapters) async fn dial(host: (&str, u16), limit: Duration) -> Result<TcpStream, DialError> {
    dial_within(&Destinations::anywhere(), host, limit).await
}

/// The same, but only to an address that is allowed. Its addresses share the `limit`, so that one behind a firewall that
/// drops packets leaves time for the next.
pub(in crate::adapters) async fn dial_within(
    destinations: &Destinations,
    (host, port): (&str, u16),
    limit: Duration,
) -> Result<TcpStream, DialError> {
    let found = resolve((host, port), limit).await.map_err(DialError::Unresolved)?;
    let addresses = destinations.allowed(found).await;
    if addresses.is_empty() {
        return Err(DialError::NotAllowed);
    }
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = None;
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some((error.kind(), format!("{address}: {error}"))),
            Err(_) => last = Some((io::ErrorKind::TimedOut, format!("{address}: {}", io::ErrorKind::TimedOut))),
        }
    }
    let (kind, message) = last.expect("there is an address");
    Err(DialError::Closed(kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn however_loopback_is_written_no_connection_is_made_to_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let networks = || vec!["0.0.0.0/0".parse().expect("a network"), "::/0".parse().expect("a network")];
        let limited = Destinations::only(networks(), ("192.0.2.1", 443));
        let second = Duration::from_secs(5);
        for host in [
            "127.0.0.1",
            "localhost",
            "localhost.",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "0177.0.0.1",
            "0",
            "0.0.0.0",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:7f00:1",
            "::",
        ] {
            let refused = dial_within(&limited, (host, port), second).await.map(drop);
            // Not every resolver knows every way to write it.
            let unknown = matches!(refused, Err(DialError::Unresolved(_)));
            assert!(refused == Err(DialError::NotAllowed) || unknown, "{host}: {refused:?}");
        }
        assert_eq!(dial_within(&limited, ("127.0.0.1", port), second).await.map(drop), Err(DialError::NotAllowed));
        assert!(dial(("localhost", port), second).await.is_ok());
        let named = Destinations::only(vec!["127.0.0.0/8".parse().expect("a network")], ("192.0.2.1", 443));
        assert!(dial_within(&named, ("localhost", port), second).await.is_ok());
    }
}
