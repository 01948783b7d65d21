//! How Portainer's own certificate is verified.

use super::*;

fn over_tls(port: u16, roots: Option<Vec<u8>>, server_name: Option<&str>) -> PortainerApi {
    let access =
        Access { roots, server_name: server_name.map(Into::into), ..access(format!("https://localhost:{port}")) };
    PortainerApi::new(&access, ServerCredential::ApiKey(Zeroizing::new(KEY.to_owned()))).unwrap()
}

#[tokio::test]
async fn the_certificate_has_to_be_trusted_and_named() {
    let signer = Signer::new();
    let fake = Fake::tls(signer.server("portainer.test", None)).await;
    let named = Some("portainer.test");
    assert_eq!(over_tls(fake.port, Some(signer.pem()), named).status().await.unwrap().version, "2.33.5");
    assert_eq!(over_tls(fake.port, Some(signer.pem()), Some("127.0.0.1")).status().await.unwrap().version, "2.33.5");
    for (roots, name) in [
        (Some(signer.pem()), None),
        (Some(signer.pem()), Some("elsewhere.test")),
        (Some(Signer::new().pem()), named),
        (None, named),
    ] {
        let said = over_tls(fake.port, roots, name).status().await.unwrap_err();
        assert!(matches!(said, PortainerError::Untrusted(_)), "{said:?}");
    }
    assert_eq!(fake.lines().len(), 2, "an untrusted server is asked nothing");
}

#[tokio::test]
async fn what_is_no_tls_is_unreachable() {
    let signer = Signer::new();
    let (plain, _) = always(200, "{}").await;
    let said = over_tls(plain.port, Some(signer.pem()), None).status().await;
    assert_eq!(said, Err(PortainerError::Unreachable("it does not speak TLS".into())));
    let said = over_tls(1, Some(signer.pem()), None).status().await;
    assert!(matches!(said, Err(PortainerError::Unreachable(_))), "{said:?}");
    let fake = Fake::tls(signer.server("localhost", Some(&signer))).await;
    let said = over_tls(fake.port, Some(signer.pem()), None).status().await;
    assert!(matches!(said, Err(PortainerError::Unreachable(_))), "it wants a certificate: {said:?}");
}

#[test]
fn addresses_names_and_authorities_are_read_at_once() {
    let new = |url: &str, roots: Option<&[u8]>, name: Option<&str>| {
        let access =
            Access { roots: roots.map(<[u8]>::to_vec), server_name: name.map(Into::into), ..access(url.into()) };
        PortainerApi::new(&access, ServerCredential::ApiKey(Zeroizing::new(KEY.to_owned()))).map(drop)
    };
    for url in ["", "h", "h:9443", "ftp://h", "https://", "https://user:pw@h", "https://h/?a=b", "https://h:99999"] {
        let said = new(url, None, None).unwrap_err();
        assert!(matches!(said, AccessError::Url(_)) && !said.to_string().contains("pw"), "{url}: {said}");
    }
    for url in ["http://h", "http://h:9000/portainer/", "http://[::1]:9000", "http://10.0.0.1"] {
        assert_eq!(new(url, None, None), Ok(()), "{url}");
    }
    let signer = Signer::new();
    assert_eq!(new("https://[::1]:9443", Some(&signer.pem()), None), Ok(()));
    assert!(matches!(new("https://h", Some(&signer.pem()), Some("a b")), Err(AccessError::ServerName(_))));
    assert!(matches!(new("https://h", Some(b"nothing"), None), Err(AccessError::Roots(_))));
    let key = ServerCredential::ApiKey(Zeroizing::new("a\nb".to_owned()));
    assert!(matches!(PortainerApi::new(&access("http://h".into()), key), Err(AccessError::Credential)));
}
