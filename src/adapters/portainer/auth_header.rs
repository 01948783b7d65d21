//! The header that says who sends a request.

use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// A header with a secret: its Debug is redacted, its memory is zeroed.
#[derive(Clone)]
pub(super) struct AuthHeader {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    /// Number of the login that it comes from.
    pub(super) login: u64,
}

impl AuthHeader {
    pub(super) fn new(name: HeaderName, text: Zeroizing<String>, login: u64) -> Option<AuthHeader> {
        let bytes = Bytes::from_owner(Zeroizing::new(text.as_bytes().to_vec()));
        let mut value = HeaderValue::from_maybe_shared(bytes).ok()?;
        value.set_sensitive(true);
        Some(AuthHeader { name, value, login })
    }
}
