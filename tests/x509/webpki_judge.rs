//! rustls' verifier as the judge.

use crate::issued::{Issued, expired, impostor, now_for_days};
use dockseal::pki::Certificate;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::LeafProfile;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

fn verify(leaf: &Certificate, trust: &Certificate, usage: KeyUsage) -> Result<(), Error> {
    let trusted = CertificateDer::from(trust.der.as_slice());
    let anchors = [anchor_from_trusted_cert(&trusted)?];
    let der = CertificateDer::from(leaf.der.as_slice());
    let leaf = EndEntityCert::try_from(&der)?;
    leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[], UnixTime::now(), usage, None, None).map(|_| ())
}

fn names(leaf: &Certificate, name: &str) -> bool {
    let der = CertificateDer::from(leaf.der.as_slice());
    let name = ServerName::try_from(name).expect("a name");
    EndEntityCert::try_from(&der).is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
}

#[test]
fn webpki_takes_what_fits_and_refuses_the_rest() -> anyhow::Result<()> {
    for (authority, leaf) in [
        ("{algorithm: ECDSA}", "{algorithm: Ed25519}"),
        ("{algorithm: RSA, size: 2048}", "{algorithm: ECDSA, size: 384}"),
    ] {
        let issued = Issued::pair(authority, leaf)?;
        let ca = issued.certificate("ca-docker-ca", "tls.crt")?;
        let host = issued.certificate("pandora-docker-host", "cert.pem")?;
        let client = issued.certificate("ci-docker-client", "cert.pem")?;
        assert_eq!(verify(&host, &ca, KeyUsage::server_auth()), Ok(()));
        assert_eq!(verify(&client, &ca, KeyUsage::client_auth()), Ok(()));
        assert!(verify(&host, &ca, KeyUsage::client_auth()).is_err());
        assert!(verify(&client, &ca, KeyUsage::server_auth()).is_err());
        assert!(names(&host, "pandora.bodkys.house") && names(&host, "192.168.1.7") && names(&host, "127.0.0.1"));
        assert!(!names(&host, "evil.example") && !names(&host, "192.168.1.8"));
        let signer = issued.authority()?;
        let profile =
            LeafProfile { common_name: "x".into(), dns_names: vec![], ip_addresses: vec![], usage: Usage::Client };
        let read = |directory: std::path::PathBuf| -> anyhow::Result<Certificate> {
            Ok(Certificate::from_pem(&std::fs::read(directory.join("cert.pem"))?)?)
        };
        let old = read(issued.forge("old", &signer, &profile, expired())?)?;
        assert!(matches!(verify(&old, &ca, KeyUsage::client_auth()), Err(Error::CertExpired { .. })));
        let foreign = read(issued.forge("foreign", &impostor(&signer)?, &profile, now_for_days(1))?)?;
        assert!(verify(&foreign, &ca, KeyUsage::client_auth()).is_err());
    }
    Ok(())
}
