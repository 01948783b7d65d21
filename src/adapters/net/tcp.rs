//! A TCP connection to a name, by whichever of its addresses answers. It speaks no protocol.

use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::adapters) enum DialError {
    /// The name has no address.
    Unresolved(String),
    /// No address of it answers, and what the last one says.
    Closed(io::ErrorKind, String),
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (DialError::Unresolved(words) | DialError::Closed(_, words)) = self;
        f.write_str(words)
    }
}

/// Connects to `host`, a name or an IP address without brackets. Its addresses share the patience: one that swallows
/// packets leaves time for the next.
pub(in crate::adapters) async fn dial((host, port): (&str, u16), patience: Duration) -> Result<TcpStream, DialError> {
    let addresses = match timeout(patience, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(DialError::Unresolved(format!("{host}: {error}"))),
        Err(_) => return Err(DialError::Unresolved(format!("{host}: the resolver does not answer"))),
    };
    let share = patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = None;
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some((error.kind(), format!("{address}: {error}"))),
            Err(_) => last = Some((io::ErrorKind::TimedOut, format!("{address}: {}", io::ErrorKind::TimedOut))),
        }
    }
    let none = || DialError::Unresolved(format!("{host}: it has no address"));
    Err(last.map_or_else(none, |(kind, words)| DialError::Closed(kind, words)))
}
