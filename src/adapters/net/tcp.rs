//! TCP connections: a name in, a stream to the first of its addresses that answers out. It sends nothing.

use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::adapters) enum DialError {
    /// The name has no address, and why.
    Unresolved(String),
    /// No address of it accepts a connection; the error of the last one.
    Closed(io::ErrorKind, String),
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (DialError::Unresolved(message) | DialError::Closed(_, message)) = self;
        f.write_str(message)
    }
}

/// Connects to `host`, a name or an IP address without brackets. Its addresses share the `limit`, so that one
/// behind a firewall that drops packets leaves time for the next.
pub(in crate::adapters) async fn dial((host, port): (&str, u16), limit: Duration) -> Result<TcpStream, DialError> {
    let addresses = match timeout(limit, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(DialError::Unresolved(format!("{host}: {error}"))),
        Err(_) => return Err(DialError::Unresolved(format!("{host}: the resolver does not answer"))),
    };
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = None;
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some((error.kind(), format!("{address}: {error}"))),
            Err(_) => last = Some((io::ErrorKind::TimedOut, format!("{address}: {}", io::ErrorKind::TimedOut))),
        }
    }
    let none = || DialError::Unresolved(format!("{host}: it has no address"));
    Err(last.map_or_else(none, |(kind, message)| DialError::Closed(kind, message)))
}
