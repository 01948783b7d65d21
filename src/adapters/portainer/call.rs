//! One HTTP call: what is sent, how long it waits for the answer and how much of the answer it reads.

use super::access::RequestTimeouts;
use super::auth_header::AuthHeader;
use super::connection::ServerAddress;
use super::error::PortainerError;
use super::reply::Reply;
use super::request_metrics::{Operation, Outcome};
use crate::adapters::random;
use crate::portainer::multipart::{self, FilePart};
use crate::portainer::path;
use crate::portainer::prune::Shape;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use serde::Serialize;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const JSON: &str = "application/json";

pub(super) struct Call {
    operation: Operation,
    method: Method,
    path: String,
    body: Bytes,
    content_type: Option<String>,
    timeout: fn(&RequestTimeouts) -> Duration,
    shape: Option<Shape>,
}

impl Call {
    pub(super) fn new(operation: Operation, method: Method, path: impl Into<String>) -> Call {
        let timeout = |timeouts: &RequestTimeouts| timeouts.answer;
        let (body, content_type, shape) = (Bytes::new(), None, None);
        Call { operation, method, path: path.into(), body, content_type, timeout, shape }
    }

    pub(super) fn get(operation: Operation, path: impl Into<String>) -> Call {
        Call::new(operation, Method::GET, path)
    }

    pub(super) fn json(self, body: &impl Serialize) -> Call {
        let body = serde_json::to_vec(body).expect("names and numbers are JSON");
        Call { body: body.into(), content_type: Some(JSON.into()), ..self }
    }

    pub(super) fn form(self, fields: &[(&str, String)], files: &[FilePart<'_>]) -> Call {
        let boundary = random::boundary();
        let body = Bytes::from_owner(multipart::body(&boundary, fields, files));
        Call { body, content_type: Some(multipart::content_type(&boundary)), ..self }
    }

    pub(super) fn login(credentials: Zeroizing<Vec<u8>>) -> Call {
        let timeout = |timeouts: &RequestTimeouts| timeouts.login_answer;
        Call { timeout, ..Call::of_user(Operation::Login, path::AUTH, credentials) }
    }

    /// Its body is a username and a password.
    pub(super) fn of_user(operation: Operation, path: &str, credentials: Zeroizing<Vec<u8>>) -> Call {
        let body = Bytes::from_owner(credentials);
        Call { body, content_type: Some(JSON.into()), ..Call::new(operation, Method::POST, path) }
    }

    /// Portainer asks a host before it answers.
    pub(super) fn asks_host(self) -> Call {
        Call { timeout: |timeouts| timeouts.host, ..self }
    }

    /// What is read of its answer.
    pub(super) fn reading(self, shape: Shape) -> Call {
        Call { shape: Some(shape), ..self }
    }

    /// Sends it, with a credential or without. It never sends a cookie: Portainer would check it for forgery.
    pub(super) async fn send(
        &self,
        server: &ServerAddress,
        auth: Option<&AuthHeader>,
    ) -> Result<Reply, PortainerError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("{}{}", server.prefix, self.path))
            .header(HOST, &server.authority)
            .header(USER_AGENT, concat!("dockseal/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, JSON)
            .header(CONNECTION, "close");
        if let Some(kind) = &self.content_type {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(auth) = auth {
            request = request.header(&auth.name, &auth.value);
        }
        let request = request.body(Full::new(self.body.clone())).expect("paths and headers are plain text");
        let started = Instant::now();
        let sent = server.exchange(request, (self.timeout)(&server.timeouts), self.shape).await;
        server.metrics.note(self.operation, Outcome::of(&sent), started.elapsed());
        sent
    }
}
