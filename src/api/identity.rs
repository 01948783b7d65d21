//! The identity of an authority, which outlives its keys, and the URI that a client's certificate makes of it.

use super::{Kind, ObjectRef};

/// 128 random bits, made once for an authority: the same over renewals and rollovers. It is public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuthorityIdentity(u128);

impl AuthorityIdentity {
    /// The identity of 16 random bytes.
    pub fn new(random: [u8; 16]) -> AuthorityIdentity {
        AuthorityIdentity(u128::from_be_bytes(random))
    }

    /// Reads the one way to write it: 32 lower-case hex digits.
    pub fn parse(text: &str) -> Option<AuthorityIdentity> {
        let canonical = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u128::from_str_radix(text, 16).ok().filter(|_| canonical).map(AuthorityIdentity)
    }

    /// The URI of a client of this authority: `dockseal://IDENTITY/dcc/NAMESPACE/NAME` of a DockerClientCert, `ptc` of a
    /// PortainerClient. None of another kind.
    pub fn client_uri(self, client: &ObjectRef) -> Option<String> {
        let kind = match client.kind {
            Kind::DockerClientCert => "dcc",
            Kind::PortainerClient => "ptc",
            Kind::DockerCA | Kind::DockerHostCert => return None,
        };
        Some(format!("dockseal://{self}/{kind}/{}/{}", client.namespace, client.name))
    }
}

impl std::fmt::Display for AuthorityIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_written_one_way_and_read_no_other() {
        let mut bytes = [0; 16];
        bytes[15] = 0xaf;
        let identity = AuthorityIdentity::new(bytes);
        let text = identity.to_string();
        assert_eq!(text, "000000000000000000000000000000af");
        assert_eq!(AuthorityIdentity::parse(&text), Some(identity));
        let wrong = ["", "af", &text.to_uppercase(), &text[1..], &format!("0{text}"), &format!("+{}", &text[1..])];
        for wrong in wrong.into_iter().chain([" 00000000000000000000000000000af", "0x0000000000000000000000000000af"]) {
            assert_eq!(AuthorityIdentity::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn only_clients_have_a_uri() {
        let identity = AuthorityIdentity::new([0xab; 16]);
        let uri = |kind, name: &'static str| identity.client_uri(&ObjectRef::new(kind, "home", name));
        let hex = "ab".repeat(16);
        for (kind, name, expected) in [
            (Kind::DockerClientCert, "ci", Some(format!("dockseal://{hex}/dcc/home/ci"))),
            (Kind::PortainerClient, "a-b.c", Some(format!("dockseal://{hex}/ptc/home/a-b.c"))),
            (Kind::DockerHostCert, "ci", None),
            (Kind::DockerCA, "ci", None),
        ] {
            assert_eq!(uri(kind, name), expected, "{kind} {name}");
        }
    }
}
