//! The openssl command line as the judge, with -x509_strict.

use crate::issued::{Issued, PASSPHRASE, expired, impostor, now_for_days, under};
use dockseal::adapters::random::serial;
use dockseal::pki::profile::Usage;
use dockseal::pki::sign::{Dates, LeafProfile};

const HOST: &str = "state/secrets/default/pandora-docker-host";
const CLIENT: &str = "state/secrets/default/ci-docker-client";
const CA: &str = "state/secrets/default/ca-docker-ca";

fn verify(trust: &str, leaf: &str, more: &str) -> String {
    format!("openssl verify -x509_strict -check_ss_sig -CAfile {trust} {more} {leaf}")
}

#[test]
fn every_algorithm_signs_and_is_signed() -> anyhow::Result<()> {
    let keys = [
        "{algorithm: ECDSA, size: 256}",
        "{algorithm: ECDSA, size: 384}",
        "{algorithm: RSA, size: 2048}",
        "{algorithm: RSA, size: 3072}",
        "{algorithm: Ed25519}",
    ];
    for (number, authority) in keys.iter().enumerate() {
        let leaf = keys[(number + 1) % keys.len()];
        let issued = Issued::pair(authority, leaf)?;
        let shell = issued.scratch();
        shell.run(&verify(&format!("{CA}/tls.crt"), &format!("{CA}/tls.crt"), ""))?;
        let server = "-purpose sslserver -verify_hostname pandora.bodkys.house";
        shell.run(&verify(&format!("{HOST}/ca.pem"), &format!("{HOST}/cert.pem"), server))?;
        for address in ["192.168.1.7", "127.0.0.1", "fd00::7"] {
            shell.run(&verify(
                &format!("{HOST}/ca.pem"),
                &format!("{HOST}/cert.pem"),
                &format!("-verify_ip {address}"),
            ))?;
        }
        shell.run(&verify(&format!("{CLIENT}/ca.pem"), &format!("{CLIENT}/cert.pem"), "-purpose sslclient"))?;
        for key in [format!("{HOST}/tls.key"), format!("{CLIENT}/key.pem")] {
            shell.run(&format!(
                "openssl pkey -in {key} -check -noout && head -1 {key} | grep -qx -- '-----BEGIN PRIVATE KEY-----'"
            ))?;
        }
    }
    Ok(())
}

#[test]
fn the_authoritys_key_is_encrypted_and_openssl_opens_it() -> anyhow::Result<()> {
    let issued = Issued::pair("{algorithm: ECDSA}", "{algorithm: ECDSA}")?;
    let shell = issued.scratch();
    shell.run(&format!("openssl pkey -in {CA}/tls.key -passin 'pass:{PASSPHRASE}' -noout"))?;
    shell.refuses(&format!("openssl pkey -in {CA}/tls.key -passin pass:wrong -noout"), "bad decrypt")?;
    let told = shell.run(&format!("openssl asn1parse -in {CA}/tls.key"))?;
    assert!(told.contains("PBES2") && told.contains("aes-256-cbc") && told.contains("hmacWithSHA256"), "{told}");
    Ok(())
}

#[test]
fn profiles_are_as_designed() -> anyhow::Result<()> {
    let issued = Issued::pair("{algorithm: RSA, size: 2048}", "{algorithm: ECDSA}")?;
    let shell = issued.scratch();
    let text = |file: &str| shell.run(&format!("openssl x509 -in {file} -noout -text -nameopt RFC2253,-esc_msb,utf8"));
    let authority = text(&format!("{CA}/tls.crt"))?;
    for part in [
        "emailAddress=admin@bodkys.house,CN=Docker CA,OU=Homelab,O=Bodky,L=Saarbrücken,ST=Saarland,C=DE",
        "Version: 3",
        "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:1",
        "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign",
        "X509v3 Subject Alternative Name: \n                email:admin@bodkys.house\n",
        "Subject Key Identifier",
        "Authority Key Identifier",
    ] {
        assert!(authority.contains(part), "{part}\n{authority}");
    }
    let host = text(&format!("{HOST}/tls.crt"))?;
    for part in [
        "Subject: CN=pandora.bodkys.house",
        "X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n",
        "DNS:pandora.bodkys.house, IP Address:192.168.1.7, IP Address:FD00:0:0:0:0:0:0:7, IP Address:127.0.0.1",
        "CA:FALSE",
        "Subject Key Identifier",
        "Authority Key Identifier",
    ] {
        assert!(host.contains(part), "{part}\n{host}");
    }
    let client = text(&format!("{CLIENT}/tls.crt"))?;
    assert!(
        client.contains("X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n"),
        "{client}"
    );
    let names = client.split("X509v3 Subject Alternative Name: \n").nth(1).and_then(|rest| rest.lines().next());
    let uri = names.and_then(|names| names.trim().strip_prefix("URI:dockseal://")).map(|uri| uri.split_at(32));
    assert_eq!(uri.map(|(_, client)| client), Some("/dcc/default/ci"), "{client}");
    Ok(())
}

#[test]
fn what_must_fail_fails() -> anyhow::Result<()> {
    let issued = Issued::pair("{algorithm: ECDSA}", "{algorithm: ECDSA}")?;
    let shell = issued.scratch();
    let (ca, host) = (format!("{HOST}/ca.pem"), format!("{HOST}/cert.pem"));
    shell.refuses(&verify(&ca, &host, "-purpose sslclient"), "unsuitable certificate purpose")?;
    shell
        .refuses(&verify(&ca, &format!("{CLIENT}/cert.pem"), "-purpose sslserver"), "unsuitable certificate purpose")?;
    shell.refuses(&verify(&ca, &host, "-verify_ip 192.168.1.8"), "IP address mismatch")?;
    shell.refuses(&verify(&ca, &host, "-verify_hostname evil.example"), "hostname mismatch")?;
    let authority = issued.authority()?;
    let client =
        LeafProfile { common_name: "ci".into(), dns_names: vec![], ip_addresses: vec![], usage: Usage::Client };
    issued.forge("old", &authority, &client, expired())?;
    shell.refuses(&verify(&ca, "old/cert.pem", ""), "certificate has expired")?;
    issued.forge("foreign", &impostor(&authority)?, &client, now_for_days(1))?;
    shell.refuses(&verify(&ca, "foreign/cert.pem", ""), "verification failed")?;
    Ok(())
}

#[test]
fn leaves_verify_under_the_old_and_the_renewed_certificate_of_an_authority() -> anyhow::Result<()> {
    let issued = Issued::pair("{algorithm: RSA, size: 2048}", "{algorithm: ECDSA}")?;
    let shell = issued.scratch();
    let authority = issued.authority()?;
    let renewed = under(&authority, authority.renew(None, now_for_days(3650), serial()));
    shell.write("renewed.pem", renewed.certificate.to_pem())?;
    shell.run(&verify("renewed.pem", "renewed.pem", ""))?;
    shell.run(&verify("renewed.pem", &format!("{HOST}/cert.pem"), ""))?;
    let client =
        LeafProfile { common_name: "new".into(), dns_names: vec![], ip_addresses: vec![], usage: Usage::Client };
    let dates: Dates = now_for_days(1);
    issued.forge("new", &renewed, &client, dates)?;
    shell.run(&verify(&format!("{CA}/tls.crt"), "new/cert.pem", ""))?;
    Ok(())
}

#[test]
fn name_constraints_are_written_and_others_hold_them() -> anyhow::Result<()> {
    let yaml = crate::issued::pair_yaml("{algorithm: ECDSA}", "{algorithm: ECDSA}").replace(
        "  privateKey: {algorithm: ECDSA}\n",
        "  nameConstraints: {permittedDNSDomains: [bodkys.house], permittedIPRanges: [192.168.0.0/16, 127.0.0.0/8, 'fd00::/8']}\n",
    );
    let issued = Issued::from(&yaml)?;
    let shell = issued.scratch();
    let ca = format!("{HOST}/ca.pem");
    shell.run(&verify(&ca, &format!("{HOST}/cert.pem"), "-verify_hostname pandora.bodkys.house"))?;
    let text = shell.run(&format!("openssl x509 -in {CA}/tls.crt -noout -text"))?;
    assert!(text.contains("X509v3 Name Constraints: critical"), "{text}");
    let outside = LeafProfile {
        common_name: "evil.example".into(),
        dns_names: vec!["evil.example".into()],
        ip_addresses: vec![],
        usage: Usage::Server,
    };
    issued.forge("outside", &issued.authority()?, &outside, now_for_days(1))?;
    shell.refuses(&verify(&ca, "outside/cert.pem", ""), "permitted subtree violation")?;
    Ok(())
}
