use super::*;
use crate::adapters::net::tls_verifier::tests::Signer;
use crate::pki::profile::Usage;
use rustls::ServerConfig;
use std::net::IpAddr;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const DOCKER: &str = "HTTP/1.0 200 OK\r\nApi-Version: 1.46\r\nServer: Docker/27.0.3 (linux)\r\n\r\nOK";
const TLS_AT_WORK: &str = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Answers everybody with `answer`, over TLS where there is a `tls`; plain HTTP gets TLS's own answer there.
async fn serve(ip: IpAddr, port: u16, tls: Option<ServerConfig>, answer: &'static str) -> u16 {
    let listener = TcpListener::bind((ip, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(welcome(stream, acceptor.clone(), answer));
        }
    });
    port
}

async fn welcome(mut stream: TcpStream, acceptor: Option<TlsAcceptor>, answer: &str) {
    let mut first = [0];
    let _ = stream.peek(&mut first).await;
    match acceptor {
        Some(acceptor) if first == [22] => {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                say(&mut stream, answer).await;
            }
        }
        Some(_) => say(&mut stream, TLS_AT_WORK).await,
        None => say(&mut stream, answer).await,
    }
}

async fn say(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin), answer: &str) {
    let _ = stream.read(&mut [0; 1024]).await;
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn visited(host: &str, port: u16, trust: Option<&Signer>, client: Option<&Signer>) -> ScanResult {
    let trust = trust.map(Signer::pem);
    let client = client.map(|signer| {
        let pair = signer.leaf(Usage::Client, "client");
        ClientKeyPair { cert: pair.cert, key: pair.key.into() }
    });
    visit((host, port), trust.as_deref(), client.as_ref(), &Clock::system()).await
}

fn answered(tls: &TlsAnswer) -> bool {
    matches!(tls, TlsAnswer::Answered(PingAnswer { status: 200, is_docker: true, version: Some(version) }) if version == "27.0.3")
}

#[tokio::test]
async fn a_host_that_demands_certificates_answers_ours_alone() {
    let signer = Signer::new();
    let port = serve(HERE, 0, Some(signer.server("docker.test", Some(&signer))), DOCKER).await;
    let visit = visited("127.0.0.1", port, Some(&signer), Some(&signer)).await;
    assert_eq!(visit.reached, Port::Open((HERE, port).into()));
    let answers = visit.answers.unwrap();
    assert_eq!(answers.plain, PlainAnswer::TlsAtWork);
    for refused in [&answers.nobody, &answers.self_signed, answers.impostor.as_ref().unwrap()] {
        assert!(matches!(refused, TlsAnswer::Refused(_)), "{refused:?}");
    }
    assert!(answered(answers.ours.as_ref().unwrap()), "{:?}", answers.ours);
    assert_eq!(answers.distrust, None);
    assert_eq!(answers.chain.len(), 1);
    let spoken: Vec<bool> = answers.versions.iter().map(|(_, spoken)| *spoken == VersionSupport::Yes).collect();
    assert_eq!(spoken, [false, false, true, true]);
}

#[tokio::test]
async fn a_host_that_demands_none_answers_everybody() {
    let (ours, others) = (Signer::new(), Signer::new());
    let port = serve(HERE, 0, Some(others.server("docker.test", None)), DOCKER).await;
    let answers = visited("127.0.0.1", port, Some(&ours), None).await.answers.unwrap();
    for tls in [&answers.nobody, &answers.self_signed, answers.impostor.as_ref().unwrap()] {
        assert!(answered(tls), "{tls:?}");
    }
    assert_eq!(answers.ours, None);
    assert!(answers.distrust.is_some());
}

#[tokio::test]
async fn plain_docker_is_told_from_tls_and_seen_beside_it() {
    let plain_ip = IpAddr::from([127, 23, 75, 1]);
    let signer = Signer::new();
    assert_eq!(serve(plain_ip, 2375, None, DOCKER).await, 2375);
    let port = serve(plain_ip, 0, Some(signer.server("docker.test", Some(&signer))), DOCKER).await;
    let answers = visited("127.23.75.1", port, None, None).await.answers.unwrap();
    assert_eq!((answers.plain, answers.beside), (PlainAnswer::TlsAtWork, Some(PlainHttpPort::Docker)));
    let answers = visited("127.23.75.1", 2375, None, None).await.answers.unwrap();
    assert_eq!((answers.plain, answers.beside), (PlainAnswer::Answered("HTTP/1.0 200 OK".into()), None));
    assert_eq!((answers.nobody, answers.impostor), (TlsAnswer::NotTls, None));
    assert!(
        answers.versions.iter().all(|(_, spoken)| matches!(spoken, VersionSupport::Unknown(_))),
        "{:?}",
        answers.versions
    );
    let other = IpAddr::from([127, 23, 75, 2]);
    serve(other, 2375, None, "SSH-2.0-OpenSSH_9.2\r\n").await;
    let port = serve(other, 0, Some(signer.server("docker.test", Some(&signer))), DOCKER).await;
    assert_eq!(visited("127.23.75.2", port, None, None).await.answers.unwrap().beside, Some(PlainHttpPort::Other));
}

#[tokio::test]
async fn who_does_not_listen_is_told_apart() {
    assert!(matches!(visited("no-such-host.invalid", 2376, None, None).await.reached, Port::Unresolved(_)));
    assert!(matches!(visited("127.0.0.1", 1, None, None).await.reached, Port::Refused(_)));
    // No TCP goes to a group of machines.
    assert!(matches!(visited("224.0.0.1", 2376, None, None).await.reached, Port::NoRoute(_)));
}

/// A full queue swallows whoever comes, as a firewall does.
#[tokio::test]
async fn who_swallows_packets_is_told_apart() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((HERE, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let at = listener.local_addr().unwrap();
    let fill = || timeout(Duration::from_millis(300), TcpStream::connect(at));
    let waiting = futures::future::join_all((0..4).map(|_| fill())).await;
    assert!(waiting.iter().any(Result::is_err), "the queue is full");
    assert!(matches!(visited("127.0.0.1", at.port(), None, None).await.reached, Port::TimedOut(_)));
}

#[tokio::test]
async fn who_accepts_and_says_nothing_refuses_nobody() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let visit = visited("127.0.0.1", listener.local_addr().unwrap().port(), None, None).await;
    let answers = visit.answers.unwrap();
    assert!(matches!(answers.plain, PlainAnswer::Silence(_)), "{:?}", answers.plain);
    assert!(matches!(answers.nobody, TlsAnswer::Silence(_)), "{:?}", answers.nobody);
    assert!(
        answers.versions.iter().all(|(_, spoken)| matches!(spoken, VersionSupport::Unknown(_))),
        "{:?}",
        answers.versions
    );
}
