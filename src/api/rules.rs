//! The CEL rules of the schemas, each with the sentence that a user reads when it refuses.

/// A rule and its message.
pub type Rule = (&'static str, &'static str);

macro_rules! hours {
    ($field:literal) => {
        concat!("int(", $field, ".substring(0, size(", $field, ") - 1)) * (", $field, ".endsWith('d') ? 24 : 1)")
    };
}

macro_rules! unchanged {
    ($field:literal) => {
        concat!(
            "has(self.",
            $field,
            ") == has(oldSelf.",
            $field,
            ") && (!has(self.",
            $field,
            ") || self.",
            $field,
            " == oldSelf.",
            $field,
            ")"
        )
    };
}

/// Sizes that each algorithm has.
pub const KEY_SIZE: Rule = (
    "!has(self.size) || (self.algorithm == 'ECDSA' && self.size in [256, 384]) || (self.algorithm == 'RSA' && self.size in [2048, 3072, 4096])",
    "size must fit the algorithm: ECDSA 256 or 384, RSA 2048, 3072 or 4096, Ed25519 none",
);
/// `duration` of at most a century, where it is optional.
pub const OPTIONAL_DURATION: Rule =
    (concat!("!has(self.duration) || ", hours!("self.duration"), " <= 876600"), "duration is over a century (36525d)");
/// `duration` of at most a century, where it has a default.
pub const DURATION: Rule = (concat!(hours!("self.duration"), " <= 876600"), "duration is over a century (36525d)");
/// `renewBefore` is shorter than `duration`.
pub const RENEW_BEFORE: Rule = (
    concat!("!has(self.renewBefore) || ", hours!("self.renewBefore"), " < ", hours!("self.duration")),
    "renewBefore must be shorter than duration",
);
/// A subject, or an authority to adopt.
pub const SUBJECT_OR_EXISTING: Rule =
    ("has(self.subject) != has(self.existing)", "give either subject, for a new authority, or existing, to adopt one");
/// An adopted authority brings its own duration and key.
pub const EXISTING_ALONE: Rule = (
    "!has(self.existing) || (!has(self.duration) && !has(self.privateKey) && !has(self.nameConstraints))",
    "an existing authority brings its own duration, privateKey and nameConstraints: leave them out",
);
/// `subject` of a DockerCA is immutable.
pub const SUBJECT_STAYS: Rule = (unchanged!("subject"), "subject is immutable: make another DockerCA");
/// `privateKey` of a DockerCA is immutable.
pub const PRIVATE_KEY_STAYS: Rule = (unchanged!("privateKey"), "privateKey is immutable: make another DockerCA");
/// `existing` of a DockerCA is immutable.
pub const EXISTING_STAYS: Rule = (unchanged!("existing"), "existing is immutable: make another DockerCA");
/// `passphraseSecretRef` of a DockerCA is immutable.
pub const PASSPHRASE_STAYS: Rule =
    (unchanged!("passphraseSecretRef"), "passphraseSecretRef is immutable: make another DockerCA");
/// `nameConstraints` of a DockerCA is immutable.
pub const CONSTRAINTS_STAY: Rule =
    (unchanged!("nameConstraints"), "nameConstraints is immutable: make another DockerCA");
/// `secretName` of every kind is immutable.
pub const SECRET_NAME_STAYS: Rule = (unchanged!("secretName"), "secretName is immutable");
/// Each permitted range is a network.
pub const RANGES: Rule =
    ("self.all(range, isCIDR(range))", "permittedIPRanges are networks in CIDR notation, like 192.168.0.0/16");
/// Name constraints that permit something.
pub const CONSTRAINTS_SAY: Rule = (
    "(has(self.permittedDNSDomains) && size(self.permittedDNSDomains) > 0) || (has(self.permittedIPRanges) && size(self.permittedIPRanges) > 0)",
    "nameConstraints permits nothing: give permittedDNSDomains, permittedIPRanges or both",
);
/// The host's name is no address.
pub const HOSTNAME: Rule =
    ("!has(self.hostname) || !isIP(self.hostname)", "hostname is an IP address: put it into ipAddresses");
/// A name or an address.
pub const HOST_NAMED: Rule = (
    "has(self.hostname) || (has(self.ipAddresses) && size(self.ipAddresses) > 0)",
    "give a hostname, ipAddresses or both",
);
/// A common name of at most 64 bytes, the dot at the end left out.
pub const HOSTNAME_FITS: Rule = (
    "!has(self.hostname) || size(self.hostname) <= 64 || (self.hostname.endsWith('.') && size(self.hostname) == 65)",
    "hostname is over 64 bytes, which no X.509 common name holds: put it into dnsNames beside a shorter hostname",
);
/// Each address is one.
pub const ADDRESSES: Rule = ("self.all(address, isIP(address))", "ipAddresses must hold IP addresses only");
/// The name that is the file name of the authority's certificate.
pub const NOT_CA: Rule =
    ("self.metadata.name != 'ca'", "the name ca is refused: its files would be named as the authority's, ca.pem");
/// A target Node names its node, and only it.
pub const NODE_NAMED: Rule = (
    "has(self.nodeName) == (has(self.target) && self.target == 'Node')",
    "set nodeName with target: Node, and only then",
);
/// Daemon settings take effect in mode Daemon alone.
pub const DAEMON_MODE: Rule = ("!has(self.daemon) || self.mode == 'Daemon'", "daemon needs mode: Daemon");
/// A directory without steps upwards.
pub const DIRECTORY: Rule = (
    "!self.contains('//') && !self.matches('(^|/)[.]{1,2}(/|$)') && (size(self) == 1 || !self.endsWith('/'))",
    "directory is an absolute path without //, . or .. and without a slash at its end",
);
/// Keys of labels are bounded, which a schema cannot say of a map.
pub const LABEL_KEYS: Rule = ("self.all(key, size(key) <= 317)", "keys of labels have at most 317 bytes");
/// Plain HTTP is asked for.
pub const HTTP_ALLOWED: Rule = (
    "self.url.startsWith('https://') || (has(self.allowHTTP) && self.allowHTTP)",
    "url is http://, which sends Portainer's credential in the clear: use https://, or set allowHTTP: true",
);
/// A server that is not verified is acknowledged.
pub const UNVERIFIED_ACKNOWLEDGED: Rule = (
    "self.tlsVerification != 'ClientOnly' || (has(self.acknowledgeUnverifiedServer) && self.acknowledgeUnverifiedServer)",
    "tlsVerification: ClientOnly lets anyone pose as the host: set acknowledgeUnverifiedServer: true, or use ServerAndClient",
);
