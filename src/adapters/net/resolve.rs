//! Names: a host and a port in, addresses out, as the system's resolver has them.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// The addresses of a name or an IP address without brackets, at least one; or why there is none.
pub(super) async fn resolve((host, port): (&str, u16), limit: Duration) -> Result<Vec<SocketAddr>, String> {
    let found = match timeout(limit, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(format!("{host}: {error}")),
        Err(_) => return Err(format!("{host}: the resolver does not answer")),
    };
    if found.is_empty() { Err(format!("{host}: it has no address")) } else { Ok(found) }
}
