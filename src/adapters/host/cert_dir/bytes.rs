//! What a file holds, in memory that is zeroed when it is dropped.

use zeroize::Zeroizing;

/// What a file holds. Its Debug shows only the length.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub(super) Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Zeroizing::new(bytes))
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
