//! dockerd's flags among the words of its command line, as pflag finds them.

use std::ops::Range;

/// What a command line says of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFlag {
    /// `tls`, `tlsverify`, `tlscacert`, `tlscert` or `tlskey`.
    pub name: &'static str,
    /// Behind `=`, or the next word for a path. None: a switch without a value is true.
    pub value: Option<String>,
}

const TLS: [&str; 5] = ["tls", "tlsverify", "tlscacert", "tlscert", "tlskey"];

/// The long flags that take the next word whatever it is, of dockerd 1.12 to 29. Of others the next word is looked at
/// for flags, which is right for switches.
const WITH_VALUE: [&str; 77] = [
    "add-runtime",
    "allow-nondistributable-artifacts",
    "api-cors-header",
    "authorization-plugin",
    "bip",
    "bip6",
    "bridge",
    "bridge-accept-fwmark",
    "cdi-spec-dir",
    "cgroup-parent",
    "cluster-advertise",
    "cluster-store",
    "cluster-store-opt",
    "config-file",
    "containerd",
    "containerd-namespace",
    "containerd-plugins-namespace",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "data-root",
    "default-address-pool",
    "default-cgroupns-mode",
    "default-gateway",
    "default-gateway-v6",
    "default-ipc-mode",
    "default-network-opt",
    "default-runtime",
    "default-shm-size",
    "default-stop-timeout",
    "default-ulimit",
    "deprecated-key-path",
    "dns",
    "dns-opt",
    "dns-search",
    "exec-opt",
    "exec-root",
    "feature",
    "firewall-backend",
    "fixed-cidr",
    "fixed-cidr-v6",
    "graph",
    "group",
    "host",
    "host-gateway-ip",
    "http-proxy",
    "https-proxy",
    "init-path",
    "insecure-registry",
    "ip",
    "label",
    "log-driver",
    "log-format",
    "log-level",
    "log-opt",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "metrics-addr",
    "mtu",
    "network-control-plane-mtu",
    "network-diagnostic-port",
    "no-proxy",
    "node-generic-resource",
    "nri-opts",
    "oom-score-adjust",
    "pidfile",
    "registry-mirror",
    "seccomp-profile",
    "shutdown-timeout",
    "storage-driver",
    "storage-opt",
    "swarm-default-advertise-addr",
    "tlscacert",
    "tlscert",
    "tlskey",
    "userland-proxy-path",
    "userns-remap",
];

/// A flag: what it is called in full, what it says, and which words it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) at: usize,
    words: usize,
    /// What is left of the first word without it: `-D` of `-DH tcp://...`.
    pub(super) left: Option<String>,
}

impl Flag {
    /// The words that it takes.
    pub(super) fn range(&self) -> Range<usize> {
        self.at..self.at + self.words
    }

    pub(super) fn tls_name(&self) -> Option<&'static str> {
        TLS.into_iter().find(|name| *name == self.name)
    }

    /// Whether it listens or speaks of TLS.
    pub(super) fn must_go(&self) -> bool {
        self.name == "host" || self.tls_name().is_some()
    }
}

/// The flags from word `start` on, up to `--`.
pub(super) fn flags(words: &[String], start: usize) -> Vec<Flag> {
    let mut flags = Vec::new();
    let mut at = start;
    while at < words.len() && words[at] != "--" {
        let next = words.get(at + 1);
        let flag = match words[at].strip_prefix("--") {
            Some(long) => Some(long_flag(long, next)),
            None => words[at].strip_prefix('-').and_then(|shorts| short_flag(shorts, next)),
        };
        let length = flag.as_ref().map_or(1, |flag| flag.words);
        flags.extend(flag.map(|flag| Flag { at, ..flag }));
        at += length;
    }
    flags
}

fn long_flag(text: &str, next: Option<&String>) -> Flag {
    match text.split_once('=') {
        Some((name, value)) => found(name, Some(value.to_owned()), 1),
        None if WITH_VALUE.contains(&text) => found(text, next.cloned(), 1 + usize::from(next.is_some())),
        None => found(text, None, 1),
    }
}

/// The last of a cluster of letters, which is the only one that can take a value.
fn short_flag(shorts: &str, next: Option<&String>) -> Option<Flag> {
    for (at, letter) in shorts.char_indices() {
        let rest = &shorts[at + letter.len_utf8()..];
        let name = match letter {
            'D' | 'v' | 'h' | 'r' if rest.starts_with('=') && rest.len() > 1 => return None,
            'D' | 'v' | 'h' | 'r' => continue,
            'H' => "host",
            'l' => "log-level",
            'g' => "graph",
            'G' => "group",
            's' => "storage-driver",
            'b' => "bridge",
            'p' => "pidfile",
            _ => return None,
        };
        let flag = match rest {
            "" => found(name, next.cloned(), 1 + usize::from(next.is_some())),
            "=" => found(name, Some("=".to_owned()), 1),
            _ => found(name, Some(rest.strip_prefix('=').unwrap_or(rest).to_owned()), 1),
        };
        return Some(Flag { left: (at > 0).then(|| format!("-{}", &shorts[..at])), ..flag });
    }
    None
}

fn found(name: &str, value: Option<String>, words: usize) -> Flag {
    Flag { name: name.to_owned(), value, at: 0, words, left: None }
}
