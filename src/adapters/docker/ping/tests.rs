use super::*;
use crate::adapters::docker::fake::{self, DOCKER};
use crate::adapters::net::tls_verifier::tests::{Pair, Signer};
use crate::pki::Certificate;
use crate::pki::profile::Usage;
use rustls::ServerConfig;

async fn serve(tls: Option<ServerConfig>, answer: &'static str) -> DockerAddress {
    let port = fake::serve([127, 0, 0, 1].into(), 0, tls, answer).await;
    DockerAddress { host: "127.0.0.1".into(), port }
}

async fn asked(address: &DockerAddress, trust: Option<&Signer>, client: &Pair) -> Result<Pinged, PingError> {
    let trust = trust.map(Signer::pem);
    docker_ping(address, trust.as_deref(), (&client.cert, &client.key), &Destinations::anywhere()).await
}

#[tokio::test]
async fn a_host_that_both_sides_trust_is_pinged() {
    let signer = Signer::new();
    let config = signer.server("docker.test", Some(&signer));
    let address = serve(Some(config), DOCKER).await;
    let client = signer.leaf(Usage::Client, "portainer");
    for trust in [Some(&signer), None] {
        let pinged = asked(&address, trust, &client).await.unwrap();
        assert_eq!(pinged.docker_version.as_deref(), Some("27.0.3"));
        assert_eq!(pinged.leaf_fingerprint.len(), 64);
        assert_ne!(pinged.leaf_fingerprint, Certificate::from_pem(&client.cert).unwrap().fingerprint());
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_verify_is_told() {
    let (ours, others) = (Signer::new(), Signer::new());
    let address = serve(Some(ours.server("docker.test", Some(&ours))), DOCKER).await;
    let client = ours.leaf(Usage::Client, "portainer");
    let untrusted = asked(&address, Some(&others), &client).await.unwrap_err();
    assert!(matches!(untrusted, PingError::NotTrusted(_)), "{untrusted:?}");
    let renamed = DockerAddress { host: "localhost".into(), ..address };
    let misnamed = asked(&renamed, Some(&ours), &client).await.unwrap_err();
    assert!(matches!(misnamed, PingError::NotTrusted(_)), "{misnamed:?}");
    assert!(asked(&renamed, None, &client).await.is_ok());
}

#[tokio::test]
async fn a_host_that_does_not_take_our_certificate_is_told() {
    let (ours, others) = (Signer::new(), Signer::new());
    let address = serve(Some(ours.server("docker.test", Some(&others))), DOCKER).await;
    let refused = asked(&address, Some(&ours), &ours.leaf(Usage::Client, "portainer")).await.unwrap_err();
    assert!(matches!(refused, PingError::Refused(_)), "{refused:?}");
    let server = others.leaf(Usage::Server, "portainer");
    let refused = asked(&address, Some(&ours), &server).await.unwrap_err();
    assert!(matches!(refused, PingError::Refused(_)), "{refused:?}");
}

#[tokio::test]
async fn what_is_no_docker_over_tls_is_told() {
    let signer = Signer::new();
    let client = signer.leaf(Usage::Client, "portainer");
    let plain = serve(None, "SSH-2.0-OpenSSH_9.2\r\n").await;
    assert_eq!(asked(&plain, None, &client).await, Err(PingError::Plain));
    let closed = DockerAddress { port: 1, ..plain.clone() };
    assert!(matches!(asked(&closed, None, &client).await, Err(PingError::Closed(_))));
    let unknown = DockerAddress { host: "no-such-host.invalid".into(), ..plain.clone() };
    assert!(matches!(asked(&unknown, None, &client).await, Err(PingError::Unresolved(_))));
    let other = serve(Some(signer.server("docker.test", Some(&signer))), "HTTP/1.0 403 Forbidden\r\n\r\nno").await;
    let said = asked(&other, Some(&signer), &client).await;
    assert_eq!(said, Err(PingError::Other("it answers with HTTP status 403, and not as Docker does".into())));
    let anywhere = Destinations::anywhere();
    let keyless = docker_ping(&other, None, (&client.cert, &client.cert), &anywhere).await;
    assert_eq!(keyless, Err(PingError::Other("the client's key cannot be read".into())));
    let another = signer.leaf(Usage::Client, "x").key;
    let unpaired = docker_ping(&other, None, (&client.cert, &another), &anywhere).await.unwrap_err();
    assert!(matches!(unpaired, PingError::Other(_)), "{unpaired:?}");
}

#[tokio::test]
async fn a_host_that_lets_strangers_in_is_told_whatever_it_answers_to_us() {
    let (ours, others) = (Signer::new(), Signer::new());
    let client = ours.leaf(Usage::Client, "portainer");
    let exposed = |found: Result<Pinged, PingError>| match found {
        Err(PingError::Exposed(at, stranger)) => Some((at.port(), stranger)),
        _ => None,
    };
    for (tls, stranger) in [
        (Some(ours.server("docker.test", None)), Stranger::NoCertificate),
        (Some(others.server("docker.test", None)), Stranger::NoCertificate),
        (None, Stranger::PlainHttp),
    ] {
        let address = serve(tls, DOCKER).await;
        let found = asked(&address, Some(&ours), &client).await;
        assert_eq!(exposed(found), Some((address.port, stranger)));
    }
    // Beside a port that refuses them.
    let ip = std::net::IpAddr::from([127, 23, 75, 3]);
    fake::serve(ip, 2375, None, DOCKER).await;
    let port = fake::serve(ip, 0, Some(ours.server("docker.test", Some(&ours))), DOCKER).await;
    let address = DockerAddress { host: ip.to_string(), port };
    let found = asked(&address, None, &client).await;
    let said = found.clone().unwrap_err().to_string();
    assert!(said.contains("127.23.75.3:2375") && said.contains("root rights") && said.contains("tlsverify"), "{said}");
    assert_eq!(exposed(found), Some((2375, Stranger::PlainHttp)));
}

#[tokio::test]
async fn a_host_of_which_it_is_not_certain_is_told() {
    let signer = Signer::new();
    let port = fake::accept([127, 0, 0, 1].into(), 0, |stream| async move { drop(stream) }).await;
    let address = DockerAddress { host: "127.0.0.1".into(), port };
    let found = asked(&address, None, &signer.leaf(Usage::Client, "portainer")).await.unwrap_err();
    assert!(matches!(found, PingError::Refused(_)), "what came of the ping is said first: {found:?}");
}
