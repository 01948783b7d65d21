//! An authority of tests, and who is trusted by it.

use super::*;
use crate::adapters::{Clock, random};
use crate::pki::lifecycle::dates;
use crate::pki::name::DistinguishedName;
use crate::pki::profile::Usage;
use crate::pki::sign::{Authority, LeafProfile, new_authority};
use k8s_openapi::jiff::SignedDuration;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WantsServerCert;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ConfigBuilder, ServerConfig};

/// `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -days 36500
/// -subj /CN=portainer -addext subjectAltName=DNS:portainer.test`: authority and server at once.
const BOTH: &[u8] = b"-----BEGIN CERTIFICATE-----
MIIBmjCCAUCgAwIBAgIUfikI267Ds3ZFE1TN5m+aUS4UKzAwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJcG9ydGFpbmVyMCAXDTI2MTEyMjA3MzMwMVoYDzIxMjYxMDI5
MDczMzAxWjAUMRIwEAYDVQQDDAlwb3J0YWluZXIwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT6e+GrDvzQSPfh31xRRzuqm8LPF21FF2dCUVVP/0zXfpC+c5xcP4f5
qgHYAxrCg/uivCkwVU+iu8h0OVjEpvDKo24wbDAdBgNVHQ4EFgQUc0w0UbIqbsYW
PAIEdBSZNM9DjZowHwYDVR0jBBgwFoAUc0w0UbIqbsYWPAIEdBSZNM9DjZowDwYD
VR0TAQH/BAUwAwEB/zAZBgNVHREEEjAQgg5wb3J0YWluZXIudGVzdDAKBggqhkjO
PQQDAgNIADBFAiABrt3IjBnUD2ooQLDwAkuhmAla6Vt8W3CtK6ePTjp3rAIhANEV
mCFnM/08kC9gz7PEkYlviy4oLrjUJJ25H0/ktEdH
-----END CERTIFICATE-----
";

/// An authority, and the leaves that it signs for an hour.
pub(in crate::adapters) struct Signer(Authority);

/// A certificate and its key, PEM.
pub(in crate::adapters) struct Pair {
    pub(in crate::adapters) cert: Vec<u8>,
    pub(in crate::adapters) key: Vec<u8>,
}

impl Signer {
    pub(in crate::adapters) fn new() -> Signer {
        let dates = dates(Clock::system().now(), SignedDuration::from_hours(1), None);
        let subject = DistinguishedName::of("authority of a test");
        Signer(new_authority(&subject, None, random::quick_key(), dates, random::serial()).unwrap())
    }

    pub(in crate::adapters) fn pem(&self) -> Vec<u8> {
        self.0.certificate.to_pem().into_bytes()
    }

    /// A leaf for a name and for this machine.
    pub(in crate::adapters) fn leaf(&self, usage: Usage, name: &str) -> Pair {
        let dates = dates(Clock::system().now(), SignedDuration::from_hours(1), None);
        let leaf = LeafProfile {
            common_name: "leaf".into(),
            dns_names: vec![name.into()],
            ip_addresses: vec![[127, 0, 0, 1].into()],
            usage,
        };
        let key = random::quick_key();
        let cert = self.0.sign_leaf(&leaf, &key, dates, random::serial()).unwrap();
        Pair { cert: cert.to_pem().into_bytes(), key: key.to_pem().as_bytes().to_vec() }
    }

    /// A server of that name; where there are `clients`, it wants a certificate that they signed.
    pub(in crate::adapters) fn server(&self, name: &str, clients: Option<&Signer>) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.clients()),
        };
        self.serve_by_name(builder, name)
    }

    /// Whoever has a certificate of it.
    pub(in crate::adapters) fn clients(&self) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.pem()).unwrap()).unwrap();
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap()
    }

    /// A server with those rules.
    pub(in crate::adapters) fn serve_by(&self, builder: ConfigBuilder<ServerConfig, WantsServerCert>) -> ServerConfig {
        self.serve_by_name(builder, "docker.test")
    }

    fn serve_by_name(&self, builder: ConfigBuilder<ServerConfig, WantsServerCert>, name: &str) -> ServerConfig {
        let pair = self.leaf(Usage::Server, name);
        let chain = vec![CertificateDer::from_pem_slice(&pair.cert).unwrap()];
        builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(&pair.key).unwrap()).unwrap()
    }
}

fn verify(verifier: &RecordingVerifier, leaf: &[u8], name: &'static str, at: u64) -> Verified {
    let leaf = CertificateDer::from_pem_slice(leaf).unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
    verifier.verify_server_cert(&leaf, &[], &ServerName::try_from(name).unwrap(), &[], now)
}

#[test]
fn a_given_certificate_is_trusted_for_itself_within_its_name_and_life() {
    let verifier = RecordingVerifier::from_pem(BOTH).unwrap();
    let now = 1_900_000_000;
    assert!(verify(&verifier, BOTH, "portainer.test", now).is_ok());
    let refused = |done: Verified| match done {
        Err(rustls::Error::InvalidCertificate(error)) => error,
        other => panic!("{other:?}"),
    };
    let misnamed = refused(verify(&verifier, BOTH, "elsewhere.test", now));
    assert!(matches!(misnamed, CertificateError::NotValidForNameContext { .. }), "{misnamed:?}");
    assert_eq!(refused(verify(&verifier, BOTH, "portainer.test", 1)), CertificateError::NotValidYet);
    assert_eq!(refused(verify(&verifier, BOTH, "portainer.test", 1 << 37)), CertificateError::Expired);
}

#[test]
fn others_are_trusted_by_their_authority_alone() {
    let (ours, others) = (Signer::new(), Signer::new());
    let leaf = ours.leaf(Usage::Server, "portainer.test").cert;
    let now = u64::try_from(Clock::system().now().as_second()).unwrap();
    assert!(verify(&RecordingVerifier::from_pem(&ours.pem()).unwrap(), &leaf, "portainer.test", now).is_ok());
    assert!(verify(&RecordingVerifier::from_pem(&others.pem()).unwrap(), &leaf, "portainer.test", now).is_err());
    assert!(verify(&RecordingVerifier::from_pem(&others.pem()).unwrap(), BOTH, "portainer.test", now).is_err());
    let client = ours.leaf(Usage::Client, "portainer.test").cert;
    let both = [ours.pem(), client.clone()].concat();
    assert!(
        verify(&RecordingVerifier::from_pem(&both).unwrap(), &client, "portainer.test", now).is_err(),
        "a client serves nobody"
    );
}

#[test]
fn no_certificate_is_no_trust() {
    assert!(RecordingVerifier::from_pem(b"").is_err());
    assert!(RecordingVerifier::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
}
