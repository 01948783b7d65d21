//! A certificate and its key for a user: what the object's Secret holds, checked to be complete.

use super::exit::CliError;
use super::source::Source;
use crate::adapters::Clock;
use crate::api::Object;
use crate::docker::context::ContextFiles;
use crate::pki::Certificate;
use crate::pki::material::{Data, read_leaf};

/// A certificate with its key and its trust bundle.
pub struct Credential {
    /// The object that it is of.
    pub object: Object,
    pub certificate: Certificate,
    data: Data,
}

impl Credential {
    /// Reads that of an object. A certificate that has ended is returned too, with a warning on standard error.
    ///
    /// # Errors
    /// A sentence where there is none yet, or where it is damaged.
    pub async fn of(source: &Source, object: Object) -> anyhow::Result<Credential> {
        let data = source.secret(&object).await?;
        let facts = read_leaf(&data);
        let certificate = facts.certificate.and_then(|der| Certificate::from_der(&der).ok());
        let Some(certificate) = certificate.filter(|_| facts.copies_match) else {
            let at = object.secret();
            return Err(CliError::not_ready(format!(
                "Secret {at} is damaged; a new certificate is issued within seconds: try again"
            )));
        };
        if Clock::system().now() >= certificate.not_after {
            eprintln!("the certificate of {} has ended: {}", object.at, certificate.not_after);
        }
        Ok(Credential { object, certificate, data })
    }

    pub fn files(&self) -> ContextFiles<'_> {
        let file = |name| self.data.get(name).expect("read_leaf saw it");
        ContextFiles { ca: file("ca.crt"), cert: file("tls.crt"), key: file("tls.key") }
    }

    /// When it was issued, in seconds since 1970, for archives.
    pub fn time(&self) -> u64 {
        u64::try_from(self.certificate.not_before.as_second()).unwrap_or_default()
    }
}
