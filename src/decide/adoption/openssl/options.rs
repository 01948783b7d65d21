//! The options of `dockseal adopt`, as the decision takes them.

use zeroize::Zeroizing;

/// The command's options.
#[derive(Clone, Debug, Default)]
pub struct OpensslAdoption {
    /// Name for the DockerCA.
    pub name: Option<String>,
    /// The passphrase of encrypted keys.
    pub passphrase: Option<Passphrase>,
}

/// A passphrase. Its Debug shows nothing.
#[derive(Clone)]
pub struct Passphrase {
    /// The passphrase itself.
    pub text: Zeroizing<String>,
    /// It came from a file, so it may be in a manifest.
    pub is_printed: bool,
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

/// The user replaces this text by the passphrase.
pub const PLACEHOLDER: &str = "PUT-THE-PASSPHRASE-HERE";
