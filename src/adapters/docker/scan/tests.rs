use super::*;
use crate::adapters::docker::fake::{DOCKER, serve};
use crate::adapters::net::tls_verifier::tests::Signer;
use crate::docker::scan::{PingAnswer, PlainAnswer, TlsAnswer};
use crate::pki::profile::Usage;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn scanned(host: &str, port: u16, trust: Option<&Signer>, client: Option<&Signer>) -> ScanResult {
    let trust = trust.map(Signer::pem);
    let client = client.map(|signer| {
        let pair = signer.leaf(Usage::Client, "client");
        ClientKeyPair { cert: pair.cert, key: pair.key.into() }
    });
    scan((host, port), trust.as_deref(), client.as_ref(), &Clock::system()).await
}

fn answered(tls: &TlsAnswer) -> bool {
    matches!(tls, TlsAnswer::Answered(PingAnswer { status: 200, is_docker: true, version: Some(version), .. }) if version == "27.0.3")
}

#[tokio::test]
async fn a_host_that_demands_certificates_answers_ours_alone() {
    let signer = Signer::new();
    let port = serve(HERE, 0, Some(signer.server("docker.test", Some(&signer))), DOCKER).await;
    let scan = scanned("127.0.0.1", port, Some(&signer), Some(&signer)).await;
    assert_eq!(scan.port_state, PortState::Open((HERE, port).into()));
    let answers = scan.answers.unwrap();
    assert_eq!(answers.strangers.plain, PlainAnswer::TlsRequired);
    for refused in [
        &answers.strangers.no_certificate,
        &answers.strangers.self_signed,
        answers.strangers.impostor.as_ref().unwrap(),
    ] {
        assert!(matches!(refused, TlsAnswer::Refused(_)), "{refused:?}");
    }
    assert!(answered(answers.our_client.as_ref().unwrap()), "{:?}", answers.our_client);
    assert_eq!(answers.distrust, None);
    assert_eq!(answers.chain.len(), 1);
    let spoken: Vec<bool> = answers.versions.iter().map(|(_, spoken)| *spoken == VersionSupport::Yes).collect();
    assert_eq!(spoken, [false, false, true, true]);
}

#[tokio::test]
async fn a_host_that_demands_none_answers_everybody() {
    let (our_client, others) = (Signer::new(), Signer::new());
    let port = serve(HERE, 0, Some(others.server("docker.test", None)), DOCKER).await;
    let answers = scanned("127.0.0.1", port, Some(&our_client), None).await.answers.unwrap();
    for tls in [
        &answers.strangers.no_certificate,
        &answers.strangers.self_signed,
        answers.strangers.impostor.as_ref().unwrap(),
    ] {
        assert!(answered(tls), "{tls:?}");
    }
    assert_eq!(answers.our_client, None);
    assert!(answers.distrust.is_some());
}

#[tokio::test]
async fn plain_docker_is_told_from_tls_and_seen_beside_it() {
    let plain_ip = IpAddr::from([127, 23, 75, 1]);
    let signer = Signer::new();
    assert_eq!(serve(plain_ip, 2375, None, DOCKER).await, 2375);
    let port = serve(plain_ip, 0, Some(signer.server("docker.test", Some(&signer))), DOCKER).await;
    let answers = scanned("127.23.75.1", port, None, None).await.answers.unwrap();
    assert_eq!(
        (answers.strangers.plain, answers.plain_http_port),
        (PlainAnswer::TlsRequired, Some(PlainHttpPort::Docker))
    );
    let answers = scanned("127.23.75.1", 2375, None, None).await.answers.unwrap();
    assert_eq!(
        (answers.strangers.plain, answers.plain_http_port),
        (PlainAnswer::Answered("HTTP/1.0 200 OK".into()), None)
    );
    assert_eq!((answers.strangers.no_certificate, answers.strangers.impostor), (TlsAnswer::NotTls, None));
    assert!(
        answers.versions.iter().all(|(_, spoken)| matches!(spoken, VersionSupport::Unknown(_))),
        "{:?}",
        answers.versions
    );
    let other = IpAddr::from([127, 23, 75, 2]);
    serve(other, 2375, None, "SSH-2.0-OpenSSH_9.2\r\n").await;
    let port = serve(other, 0, Some(signer.server("docker.test", Some(&signer))), DOCKER).await;
    assert_eq!(
        scanned("127.23.75.2", port, None, None).await.answers.unwrap().plain_http_port,
        Some(PlainHttpPort::Other)
    );
}

#[tokio::test]
async fn who_does_not_listen_is_told_apart() {
    assert!(matches!(scanned("no-such-host.invalid", 2376, None, None).await.port_state, PortState::Unresolved(_)));
    assert!(matches!(scanned("127.0.0.1", 1, None, None).await.port_state, PortState::Refused(_)));
    // No TCP goes to a group of machines.
    assert!(matches!(scanned("224.0.0.1", 2376, None, None).await.port_state, PortState::NoRoute(_)));
}

/// A full queue drops new connections, as a firewall does.
#[tokio::test]
async fn who_swallows_packets_is_told_apart() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((HERE, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let at = listener.local_addr().unwrap();
    let fill = || timeout(Duration::from_millis(300), TcpStream::connect(at));
    let waiting = futures::future::join_all((0..4).map(|_| fill())).await;
    assert!(waiting.iter().any(Result::is_err), "the queue is full");
    assert!(matches!(scanned("127.0.0.1", at.port(), None, None).await.port_state, PortState::TimedOut(_)));
}

#[tokio::test]
async fn who_accepts_and_says_nothing_refuses_nobody() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let scan = scanned("127.0.0.1", listener.local_addr().unwrap().port(), None, None).await;
    let answers = scan.answers.unwrap();
    assert!(matches!(answers.strangers.plain, PlainAnswer::Silence(_)), "{:?}", answers.strangers.plain);
    assert!(
        matches!(answers.strangers.no_certificate, TlsAnswer::Silence(_)),
        "{:?}",
        answers.strangers.no_certificate
    );
    assert!(
        answers.versions.iter().all(|(_, spoken)| matches!(spoken, VersionSupport::Unknown(_))),
        "{:?}",
        answers.versions
    );
}
