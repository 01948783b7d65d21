//! Whether a dockerd admits clients of an authority: a value. It asks nobody.

/// What a dockerd makes of a client certificate of the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityProof {
    /// It accepts the certificate.
    Trusted,
    /// It does not, and its words.
    NotTrusted(String),
    /// It cannot be told, and why.
    Unknown(String),
}

impl AuthorityProof {
    /// Why it refuses them; none where it does not, or where that cannot be told.
    pub fn refusal(self) -> Option<String> {
        match self {
            AuthorityProof::NotTrusted(why) => Some(why),
            AuthorityProof::Trusted | AuthorityProof::Unknown(_) => None,
        }
    }
}
