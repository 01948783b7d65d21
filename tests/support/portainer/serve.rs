//! The listener: connections in, answers out, with the faults that tests ordered. It lives on a thread of its own.

use super::super::listening::{Listening, only_tls};
use super::Shared;
use super::answer::{Answer, ConnectionCut};
use super::call::OpenCall;
use super::fault::{Fault, Rule};
use super::request::ApiRequest;
use super::route::is_passed_on;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

type Sent = Response<UnsyncBoxBody<Bytes, ConnectionCut>>;

/// Serves the stand-in on that listener.
pub fn start(shared: &Arc<Shared>, listener: TcpListener) -> anyhow::Result<Listening> {
    let door = Listener { shared: Arc::clone(shared), tls: shared.tls.clone() };
    Listening::start(vec![listener], move |stream| door.clone().welcome(stream))
}

#[derive(Clone)]
struct Listener {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    async fn welcome(self, stream: TcpStream) {
        let Ok(from) = stream.peer_addr().map(|address| address.ip()) else { return };
        let Some(tls) = self.tls.clone() else { return self.serve(stream, from).await };
        if let Some(stream) = only_tls(stream).await
            && let Ok(stream) = tls.accept(stream).await
        {
            self.serve(stream, from).await;
        }
    }

    async fn serve<S>(self, stream: S, from: IpAddr)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let service = service_fn(move |request| self.clone().answer(request, from));
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(self, request: Request<Incoming>, from: IpAddr) -> Result<Sent, ConnectionCut> {
        let (head, body) = request.into_parts();
        let asked = ApiRequest {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: body.collect().await.map_err(|_| ConnectionCut)?.to_bytes(),
            from,
        };
        let fault = Rule::take(&mut super::locked(&self.shared.rules), &asked.method, &asked.path);
        let open = OpenCall::new(&self.shared, &asked, fault);
        let answer = match fault {
            Some(Fault::Cut) => return Err(ConnectionCut),
            Some(Fault::Status(status)) => Answer::refusal(status, "Ordered by the test", "ordered by the test"),
            Some(Fault::Empty(status)) => Answer::empty(status),
            Some(Fault::Hang(how_long)) => {
                tokio::time::sleep(how_long).await;
                self.act(asked).await?
            }
            _ => self.act(asked).await?,
        };
        match fault {
            Some(Fault::LoseAnswer) => return Err(ConnectionCut),
            Some(Fault::CutAnswer) => return Ok(answer.send_half()),
            _ => {}
        }
        let made: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
        open.told(answer.status, made.and_then(|made| made["Id"].as_u64()));
        if let Some(Fault::DelayAnswer(how_long)) = fault {
            tokio::time::sleep(how_long).await;
        }
        Ok(answer.send())
    }

    /// A client that goes does not take back what it asked for, except where a Docker host is to answer.
    async fn act(&self, asked: ApiRequest) -> Result<Answer, ConnectionCut> {
        if is_passed_on(&asked.path) {
            return Ok(self.shared.route(&asked).await);
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.route(&asked).await }).await.map_err(|_| ConnectionCut)
    }
}
