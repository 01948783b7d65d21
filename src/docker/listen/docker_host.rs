//! Docker's own notation for listeners, as `-H` and `hosts` have it.

use std::net::IpAddr;

const UNIX_SOCKET: &str = "/var/run/docker.sock";

/// What a value of `-H` or of `hosts` makes dockerd listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerHostVariable {
    /// What systemd hands over: all of it, or the named or numbered part.
    Fd(String),
    /// A socket in the file system, by its path.
    Unix(String),
    /// TCP, with TLS or without.
    Tcp {
        /// An IP address without brackets, or a name, which dockerd resolves.
        host: String,
        /// Its port; 0 lets the system choose one.
        port: u16,
    },
    /// A value with which dockerd does not start, or one of another system.
    Other(String),
}

impl DockerHostVariable {
    /// The IP address, where it is TCP and not by name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            DockerHostVariable::Tcp { host, .. } => host.split('%').next()?.parse().ok(),
            _ => None,
        }
    }
}

/// Reads a value as dockerd does (moby's daemon/pkg/opts/hosts.go; what 20.10 takes and later ones do not is read as
/// 20.10 does). The default port is 2375 with TLS too; an empty value is the unix socket, with `tls` localhost:2376.
pub fn docker_host(text: &str, tls: bool) -> DockerHostVariable {
    let text = text.trim();
    if text.is_empty() {
        return match tls {
            true => DockerHostVariable::Tcp { host: "localhost".into(), port: 2376 },
            false => DockerHostVariable::Unix(UNIX_SOCKET.into()),
        };
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
    let rest = rest.strip_prefix(&format!("{scheme}://")).unwrap_or(rest);
    match scheme {
        "fd" => DockerHostVariable::Fd(rest.into()),
        _ if rest.contains("://") => DockerHostVariable::Other(text.into()),
        "unix" if rest.is_empty() => DockerHostVariable::Unix(UNIX_SOCKET.into()),
        "unix" => DockerHostVariable::Unix(rest.into()),
        "tcp" => tcp(rest).unwrap_or_else(|| DockerHostVariable::Other(text.into())),
        _ => DockerHostVariable::Other(text.into()),
    }
}

/// HOST, HOST:PORT, :PORT, and IPv6 in brackets, as a URL has them: user, query and fragment are dropped. None: a path,
/// or more colons than one outside of brackets.
fn tcp(rest: &str) -> Option<DockerHostVariable> {
    let rest = rest.split(['?', '#']).next()?;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let (host, port) = match rest.strip_prefix('[') {
        Some(inside) => {
            let (host, port) = inside.split_once(']')?;
            (host, if port.is_empty() { port } else { port.strip_prefix(':')? })
        }
        None => rest.split_once(':').unwrap_or((rest, "")),
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if port.is_empty() { 2375 } else { port.parse().ok().filter(|_| digits)? };
    let host = if host.is_empty() { "localhost" } else { host };
    (!host.contains('/')).then(|| DockerHostVariable::Tcp { host: host.replace("%25", "%"), port })
}
