//! Docker's own notation for listeners, as `-H` and `hosts` have it.

use std::net::IpAddr;

const UNIX_SOCKET: &str = "/var/run/docker.sock";

/// What a value of `-H` or of `hosts` makes dockerd listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerHost {
    /// What systemd hands over: all of it, or the named or numbered part.
    Fd(String),
    /// A socket in the file system, by its path.
    Unix(String),
    /// TCP, with TLS or without.
    Tcp {
        /// An IP address without brackets, or a name, which dockerd resolves.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A value with which dockerd does not start, or one of another system.
    Other(String),
}

impl DockerHost {
    /// The IP address, where it is TCP and not by name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            DockerHost::Tcp { host, .. } => host.split('%').next()?.parse().ok(),
            _ => None,
        }
    }
}

/// Reads a value as dockerd does (daemon/pkg/opts/hosts.go). The default port is 2375 with TLS too; an empty value is
/// the unix socket, with `tls` it is localhost:2376.
pub fn docker_host(text: &str, tls: bool) -> DockerHost {
    let text = text.trim();
    if text.is_empty() {
        return match tls {
            true => DockerHost::Tcp { host: "localhost".into(), port: 2376 },
            false => DockerHost::Unix(UNIX_SOCKET.into()),
        };
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
    match scheme {
        _ if rest.contains("://") => DockerHost::Other(text.into()),
        "fd" => DockerHost::Fd(rest.into()),
        "unix" if rest.is_empty() => DockerHost::Unix(UNIX_SOCKET.into()),
        "unix" => DockerHost::Unix(rest.into()),
        "tcp" => tcp(rest).unwrap_or_else(|| DockerHost::Other(text.into())),
        _ => DockerHost::Other(text.into()),
    }
}

/// HOST, HOST:PORT, :PORT, and IPv6 in brackets. A path behind it, which dockerd once took, is not TCP's.
fn tcp(rest: &str) -> Option<DockerHost> {
    let rest = rest.split('/').next()?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(inside) => {
            let (host, port) = inside.split_once(']')?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some(""))?)
        }
        None => rest.rsplit_once(':').unwrap_or((rest, "")),
    };
    let bare = !rest.starts_with('[') && host.contains(':');
    let port = if port.is_empty() { 2375 } else { port.parse().ok().filter(|port| *port != 0)? };
    let host = if host.is_empty() { "localhost" } else { host };
    (!bare).then(|| DockerHost::Tcp { host: host.into(), port })
}
