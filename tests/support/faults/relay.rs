//! Takes each request to the API server and its answer back, or does to it what the first due rule says.

use std::net::TcpListener;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::rule::{Action, Rule};
use super::upstream::Upstream;
use super::watch::{ConnectionCut, Watch};
use super::{Entry, OpenWatch, Shared, locked, status};

/// An error of a service or a body makes hyper close the connection without another word; that is how a cut is made.
type Answer = Response<UnsyncBoxBody<Bytes, ConnectionCut>>;

#[derive(Clone)]
pub struct Relay {
    pub(super) upstream: Arc<Upstream>,
    pub(super) shared: Arc<Shared>,
}

impl Relay {
    /// Serves until `stopped`, or its sender's end.
    pub async fn serve(self, listener: TcpListener, stopped: oneshot::Receiver<()>) {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a non-blocking socket, inside a runtime");
        let mut connections = JoinSet::new();
        let accepting = async {
            // An accept fails when the client has gone again, which tests do on purpose.
            loop {
                while connections.try_join_next().is_some() {}
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let relay = self.clone();
                let service = service_fn(move |request| {
                    // A task of its own: a client that has gone, killed by a test perhaps, does not take back what it
                    // has sent. So it is with a real API server.
                    let answering = tokio::spawn(relay.clone().answer(request));
                    async { answering.await.unwrap_or(Err(ConnectionCut)) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                connections.spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stopped => {}
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Answer, ConnectionCut> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| ConnectionCut)?.to_bytes();
        let entry = Entry::new(&head, &body);
        let rule = Rule::taking(&locked(&self.shared.rules), &entry);
        let number = self.shared.note(Entry { fault: rule.as_deref().map(|rule| rule.action().clone()), ..entry });
        let exchange = Exchange { shared: self.shared, number, rule };

        let answer = match exchange.before().await? {
            Some(answer) => answer.map(|body| body.map_err(|never| match never {}).boxed_unsync()),
            None => {
                // An API server that is down looks to the client as it would without the proxy.
                let response = self.upstream.send(head, body).await.map_err(|_| ConnectionCut)?;
                exchange.amend(|entry| entry.upstream = Some(response.status().as_u16()));
                exchange.after().await?;
                exchange.pass_on(response)
            }
        };
        exchange.amend(|entry| entry.answer = Some(answer.status().as_u16()));
        Ok(answer)
    }
}

/// One request, its place in the log and the rule that it met.
struct Exchange {
    shared: Arc<Shared>,
    number: usize,
    rule: Option<Arc<Rule>>,
}

impl Exchange {
    /// What happens to the request on its way to the API server; an answer if it never gets there.
    async fn before(&self) -> Result<Option<Response<Full<Bytes>>>, ConnectionCut> {
        let Some(rule) = self.rule.as_deref() else { return Ok(None) };
        let fire = || rule.fire(self.shared.entry(self.number));
        match rule.action() {
            Action::Refuse => {
                fire();
                return Err(ConnectionCut);
            }
            Action::Status { code, retry_after } => {
                fire();
                return Ok(Some(status::refusal(*code, *retry_after)));
            }
            Action::WatchGone => {
                fire();
                return Ok(Some(status::gone()));
            }
            Action::HoldRequest(how_long) => {
                fire();
                tokio::time::sleep(*how_long).await;
            }
            Action::PauseBefore => {
                fire();
                rule.go_ahead().await.then_some(()).ok_or(ConnectionCut)?;
            }
            Action::CutAfterSend | Action::HoldAnswer(_) | Action::PauseAfter | Action::Observe => {}
            Action::CutWatch { .. } => {}
        }
        Ok(None)
    }

    /// What happens to the API server's answer on its way back.
    async fn after(&self) -> Result<(), ConnectionCut> {
        let Some(rule) = self.rule.as_deref() else { return Ok(()) };
        let fire = || rule.fire(self.shared.entry(self.number));
        match rule.action() {
            Action::CutAfterSend => {
                fire();
                Err(ConnectionCut)
            }
            Action::HoldAnswer(how_long) => {
                fire();
                tokio::time::sleep(*how_long).await;
                Ok(())
            }
            Action::PauseAfter => {
                fire();
                rule.go_ahead().await.then_some(()).ok_or(ConnectionCut)
            }
            Action::Observe => {
                fire();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn pass_on(&self, response: Response<Incoming>) -> Answer {
        let entry = self.shared.entry(self.number);
        if !(entry.is_watch() && response.status().is_success()) {
            return response.map(|body| body.map_err(|_| ConnectionCut).boxed_unsync());
        }
        let (cut, cut_by_test) = oneshot::channel();
        locked(&self.shared.watches).push(OpenWatch { number: self.number, path: entry.path, cut });
        let (number, rule, shared) = (self.number, self.rule.clone(), Arc::clone(&self.shared));
        let left = match entry.fault {
            Some(Action::CutWatch { after_events }) => Some(after_events),
            _ => None,
        };
        response
            .map(|upstream| Watch { upstream, cut_by_test, left, flushed: false, rule, number, shared }.boxed_unsync())
    }

    fn amend(&self, change: impl FnOnce(&mut Entry)) {
        self.shared.amend(self.number, change);
    }
}
