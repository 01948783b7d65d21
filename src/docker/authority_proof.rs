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
