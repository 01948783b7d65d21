//! A small HTTP server for whoever asks: paths come in, answers go out. Strangers may reach it, so time, memory and the
//! number of connections are limited.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// For the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole connection, which is one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Of what is read of a request, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// The oldest connection is ended for one more: who asks quickly gets through beside others that hang.
const MAX_CONNECTIONS: usize = 64;
/// After a failure to accept, as where there are no file descriptors left.
const ACCEPT_DELAY: Duration = Duration::from_millis(100);

/// Status, type and text.
pub type HttpAnswer = (StatusCode, &'static str, Bytes);

/// Answers GETs for ever; `answer` has no answer for an unknown path.
pub async fn serve<A, F>(listener: TcpListener, answer: A)
where
    A: Fn(String) -> F + Send + Sync + 'static,
    F: Future<Output = Option<HttpAnswer>> + Send + 'static,
{
    let answer = Arc::new(answer);
    let (mut running, mut open) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_DELAY).await;
            continue;
        };
        while running.try_join_next().is_some() {}
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS {
            open.pop_front().iter().for_each(AbortHandle::abort);
        }
        open.push_back(running.spawn(connection(stream, Arc::clone(&answer))));
    }
}

async fn connection<A, F>(stream: TcpStream, answer: Arc<A>)
where
    A: Fn(String) -> F + Send + Sync + 'static,
    F: Future<Output = Option<HttpAnswer>> + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answer = (request.method() == Method::GET).then(|| answer(request.uri().path().to_owned()));
        async move {
            let response = match answer {
                Some(answer) => response(answer.await),
                None => refusal(),
            };
            Ok::<_, Infallible>(response)
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD).keep_alive(false);
    // How it ends is the other side's affair.
    drop(timeout(CONNECTION_TIMEOUT, server.serve_connection(TokioIo::new(stream), service)).await);
}

fn response(answer: Option<HttpAnswer>) -> Response<Full<Bytes>> {
    let not_found = || (StatusCode::NOT_FOUND, "text/plain; charset=utf-8", Bytes::new());
    let (status, content_type, text) = answer.unwrap_or_else(not_found);
    let response = Response::builder().status(status).header(CONTENT_TYPE, content_type);
    response.body(Full::new(text)).expect("status and type are valid")
}

fn refusal() -> Response<Full<Bytes>> {
    let response = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, "GET");
    response.body(Full::default()).expect("status and header are valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let known =
            |path: String| async move { (path == "/known").then(|| (StatusCode::OK, "text/plain", "yes".into())) };
        tokio::spawn(serve(listener, known));
        address
    }

    async fn ask(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    #[tokio::test]
    async fn only_gets_of_known_paths_are_answered() {
        let address = server().await;
        for (head, expected) in [
            ("GET /known HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200"),
            ("GET /known?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200"),
            ("GET /other HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404"),
            ("POST /known HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 405"),
            ("nonsense\r\n\r\n", "HTTP/1.1 400"),
        ] {
            let answer = ask(address, head).await;
            assert!(answer.starts_with(expected), "{head}: {answer}");
        }
        let long = format!("GET /known HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let _ = stream.write_all(long.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "a head that is too long is refused");
    }

    #[tokio::test]
    async fn half_requests_keep_nobody_waiting_and_are_not_kept() {
        let address = server().await;
        let mut half = Vec::new();
        for _ in 0..4 * MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let _ = stream.write_all(b"GET /known HTTP/1.1\r\nX: ").await;
            half.push(stream);
        }
        let answer = timeout(Duration::from_secs(30), ask(address, "GET /known HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(answer.expect("in time").ends_with("yes"));
        let mut ended = 0;
        for stream in half.iter_mut().take(3 * MAX_CONNECTIONS) {
            let end = timeout(Duration::from_secs(1), stream.read(&mut [0; 1024])).await;
            ended += usize::from(end.is_ok());
        }
        assert_eq!(ended, 3 * MAX_CONNECTIONS, "the oldest connections are ended for younger ones");
    }
}
