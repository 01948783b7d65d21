//! A certificate that is handed out: what its Secret holds, checked to be whole.

use super::exit::CliError;
use super::source::Source;
use crate::adapters::Clock;
use crate::api::Object;
use crate::docker::context::ContextFiles;
use crate::pki::Certificate;
use crate::pki::material::{Data, read_leaf};

/// A certificate with its key and the authorities that go with it.
pub struct Credential {
    /// The object that it is of.
    pub object: Object,
    pub certificate: Certificate,
    data: Data,
}

impl Credential {
    /// That of an object. A certificate that has ended is handed out with a word: it may be what somebody looks into.
    ///
    /// # Errors
    /// A sentence where there is none yet, or none that is whole.
    pub async fn of(source: &Source, object: Object) -> anyhow::Result<Credential> {
        let data = source.secret(&object).await?;
        let facts = read_leaf(&data);
        let certificate = facts.certificate.and_then(|der| Certificate::from_der(&der).ok());
        let Some(certificate) = certificate.filter(|_| facts.copies_match) else {
            let at = object.secret();
            return Err(CliError::not_ready(format!(
                "what Secret {at} holds is damaged: it is issued anew within a moment"
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

    /// When it was issued, for what bears a date.
    pub fn time(&self) -> u64 {
        u64::try_from(self.certificate.not_before.as_second()).unwrap_or_default()
    }
}
