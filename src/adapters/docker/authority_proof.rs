//! The proof that a dockerd admits clients of an authority, made without any client's key: the authority signs a leaf
//! over a public key whose private half nobody has, and here it is shown with a signature of another key. A server
//! looks at the chain first and at the signature then, so its alert tells which of the two it does not accept. So it is
//! with Go's servers, and dockerd is one. It changes nothing, and lets nobody in.

use super::request::connect_and_ping;
use crate::adapters::net::tls_client::{client_config_of_another_key, tls_error};
use crate::adapters::net::tls_verifier::RecordingVerifier;
use crate::adapters::random::quick_key;
use crate::docker::authority_proof::AuthorityProof;
use crate::pki::Certificate;
use crate::portainer::sanitize::sanitize;
use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;

/// Shows `leaf` to the dockerd at `address`.
pub async fn authority_proof(address: SocketAddr, leaf: &Certificate) -> AuthorityProof {
    let verifier = RecordingVerifier::accept_any();
    let name = ServerName::try_from("docker").expect("a constant name");
    let config = match client_config_of_another_key(&verifier, &leaf.der, &quick_key()) {
        Ok(config) => config,
        Err(message) => return AuthorityProof::Unknown(message),
    };
    match connect_and_ping(address, name, config).await {
        Ok(_) => AuthorityProof::Unknown("it looks at no client's certificate".into()),
        Err(error) => of_error(&error, verifier.leaf().is_some()),
    }
}

/// A server shows its certificate before it looks at the client's.
fn of_error(error: &io::Error, served: bool) -> AuthorityProof {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) if served => of_alert(*alert),
        _ => AuthorityProof::Unknown(sanitize(&error.to_string())),
    }
}

/// Measured with dockerd 20.10 and 26.1, and with Go 1.26: `docs/decisions/0023-proof-without-a-key.md`. That a
/// certificate has expired is about the host's clock as well.
fn of_alert(alert: AlertDescription) -> AuthorityProof {
    use AlertDescription::{BadCertificate, CertificateUnknown, DecryptError, UnknownCA, UnsupportedCertificate};
    match alert {
        DecryptError => AuthorityProof::Trusted,
        BadCertificate | CertificateUnknown | UnknownCA | UnsupportedCertificate => {
            AuthorityProof::NotTrusted(format!("alert {alert:?}"))
        }
        other => AuthorityProof::Unknown(format!("alert {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::docker::fake::{DOCKER, accept, serve};
    use crate::adapters::net::tls_verifier::tests::Signer;
    use crate::pki::profile::Usage;

    async fn asked(port: u16, by: &Signer, usage: Usage) -> AuthorityProof {
        let leaf = Certificate::from_pem(&by.leaf(usage, "proof").cert).unwrap();
        authority_proof(([127, 0, 0, 1], port).into(), &leaf).await
    }

    #[tokio::test]
    async fn a_server_tells_whose_clients_it_admits_without_admitting_this_one() {
        let ours = Signer::new();
        let here = [127, 0, 0, 1].into();
        let port = serve(here, 0, Some(ours.server("docker.test", Some(&ours))), DOCKER).await;
        assert_eq!(asked(port, &ours, Usage::Client).await, AuthorityProof::Trusted);
        let found = asked(port, &ours, Usage::Server).await;
        assert!(matches!(found, AuthorityProof::NotTrusted(_)), "{found:?}");
        let open = serve(here, 0, Some(ours.server("docker.test", None)), DOCKER).await;
        let plain = serve(here, 0, None, DOCKER).await;
        let mute = accept(here, 0, |stream| async move { drop(stream) }).await;
        for port in [open, plain, mute, 1] {
            let found = asked(port, &ours, Usage::Client).await;
            assert!(matches!(found, AuthorityProof::Unknown(_)), "{found:?}");
        }
    }

    #[test]
    fn only_what_is_about_the_chain_or_the_signature_decides() {
        use AlertDescription::{
            AccessDenied, CertificateExpired, CertificateRequired, DecryptError, HandshakeFailure, IllegalParameter,
            InternalError, UnknownCA,
        };
        assert_eq!(of_alert(DecryptError), AuthorityProof::Trusted);
        assert!(matches!(of_alert(UnknownCA), AuthorityProof::NotTrusted(_)));
        for alert in
            [AccessDenied, CertificateExpired, CertificateRequired, HandshakeFailure, IllegalParameter, InternalError]
        {
            assert!(matches!(of_alert(alert), AuthorityProof::Unknown(_)), "{alert:?}");
        }
    }
}
