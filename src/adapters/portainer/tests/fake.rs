//! A server of tests: it keeps what it was asked, and answers as it is told.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub line: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub type Answered = Response<Full<Bytes>>;
type Answerer = Arc<dyn Fn(&Asked) -> Option<Answered> + Send + Sync>;

/// The server; nobody answers once the test is over.
pub struct Fake {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Answers over plain HTTP; where `answer` has none, never.
    pub async fn plain(answer: impl Fn(&Asked) -> Option<Answered> + Send + Sync + 'static) -> Fake {
        Fake::start(None, Arc::new(answer)).await
    }

    /// Answers everybody over TLS.
    pub async fn tls(config: ServerConfig) -> Fake {
        Fake::start(Some(config), Arc::new(|_| Some(json(200, r#"{"Version":"2.33.5","InstanceID":"i"}"#)))).await
    }

    async fn start(tls: Option<ServerConfig>, answer: Answerer) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Fake { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let asked = Arc::clone(&fake.asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, asked, answer) = (acceptor.clone(), Arc::clone(&asked), Arc::clone(&answer));
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, asked, answer).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, asked, answer).await;
                            }
                        }
                    }
                });
            }
        });
        fake
    }

    /// Everything that it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// Method and path of everything that it was asked so far.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// How often it was asked for `line`.
    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|asked| *asked == line).count()
    }
}

/// An answer of JSON.
pub fn json(status: u16, body: &str) -> Answered {
    let answer = Response::builder().status(status).header("Content-Type", "application/json");
    answer.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Answerer,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let question = Asked { line: format!("{} {}", head.method, head.uri), headers: head.headers, body };
            asked.lock().push(question.clone());
            let Some(answered) = answer(&question) else { std::future::pending().await };
            Ok::<_, Infallible>(answered)
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
