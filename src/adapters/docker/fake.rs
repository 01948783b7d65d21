//! A server of tests: a configuration of TLS and an answer in, an open port out.

use rustls::ServerConfig;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(super) const DOCKER: &str = "HTTP/1.0 200 OK\r\nApi-Version: 1.46\r\nServer: Docker/27.0.3 (linux)\r\n\r\nOK";
const TLS_REQUIRED: &str = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Answers every client with `answer`, over TLS if there is a `tls`, where plain HTTP gets the answer of Go's TLS servers.
pub(super) async fn serve(ip: IpAddr, port: u16, tls: Option<ServerConfig>, answer: &'static str) -> u16 {
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    accept(ip, port, move |stream| answer_one(stream, acceptor.clone(), answer)).await
}

/// Has `answer` answer each connection to a port, which is returned.
pub(super) async fn accept<F, A>(ip: IpAddr, port: u16, answer: F) -> u16
where
    F: Fn(TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((ip, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    port
}

async fn answer_one(mut stream: TcpStream, acceptor: Option<TlsAcceptor>, answer: &'static str) {
    let mut first = [0];
    let _ = stream.peek(&mut first).await;
    match acceptor {
        Some(acceptor) if first == [22] => {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                say(&mut stream, answer).await;
            }
        }
        Some(_) => say(&mut stream, TLS_REQUIRED).await,
        None => say(&mut stream, answer).await,
    }
}

async fn say(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &str) {
    let _ = stream.read(&mut [0; 1024]).await;
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
