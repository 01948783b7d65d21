//! One question to a server: what is asked, how long its answer is waited for and how much of it is read.

use super::Patience;
use super::connection::{Reply, ServerAddress};
use super::error::PortainerError;
use super::session::AuthHeader;
use super::{Operation, Outcome};
use crate::adapters::random;
use crate::portainer::multipart::{self, FilePart};
use crate::portainer::wire::path;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use serde::Serialize;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Of a list, and of an environment with its snapshot.
const LONG_ANSWER: usize = 64 << 20;
/// Of everything else.
const SHORT_ANSWER: usize = 1 << 20;
const JSON: &str = "application/json";

/// One question.
pub(super) struct Call {
    operation: Operation,
    method: Method,
    path: String,
    body: Bytes,
    content_type: Option<String>,
    patience: fn(&Patience) -> Duration,
    limit: usize,
}

impl Call {
    /// Without a body.
    pub(super) fn new(operation: Operation, method: Method, path: impl Into<String>) -> Call {
        let patience = |patience: &Patience| patience.answer;
        let (body, content_type, limit) = (Bytes::new(), None, SHORT_ANSWER);
        Call { operation, method, path: path.into(), body, content_type, patience, limit }
    }

    pub(super) fn get(operation: Operation, path: impl Into<String>) -> Call {
        Call::new(operation, Method::GET, path)
    }

    /// With a body of JSON.
    pub(super) fn json(self, body: &impl Serialize) -> Call {
        let body = serde_json::to_vec(body).expect("names and numbers are JSON");
        Call { body: body.into(), content_type: Some(JSON.into()), ..self }
    }

    /// With a form.
    pub(super) fn form(self, fields: &[(&str, String)], files: &[FilePart<'_>]) -> Call {
        let boundary = random::boundary();
        let body = Bytes::from_owner(multipart::body(&boundary, fields, files));
        Call { body, content_type: Some(multipart::content_type(&boundary)), ..self }
    }

    /// A login.
    pub(super) fn login(credentials: Zeroizing<Vec<u8>>) -> Call {
        Call::of_user(Operation::Login, path::AUTH, credentials)
    }

    /// With a name and a password.
    pub(super) fn of_user(operation: Operation, path: &str, credentials: Zeroizing<Vec<u8>>) -> Call {
        let body = Bytes::from_owner(credentials);
        Call { body, content_type: Some(JSON.into()), ..Call::new(operation, Method::POST, path) }
    }

    /// The server asks a host before it answers.
    pub(super) fn asks_host(self) -> Call {
        Call { patience: |patience| patience.host, ..self }
    }

    /// The answer may be long.
    pub(super) fn long(self) -> Call {
        Call { limit: LONG_ANSWER, ..self }
    }

    /// Asks, with a pass or without. No cookie is ever sent: it would be checked for forgery.
    pub(super) async fn send(
        &self,
        server: &ServerAddress,
        pass: Option<&AuthHeader>,
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
        if let Some(pass) = pass {
            request = request.header(&pass.name, &pass.value);
        }
        let request = request.body(Full::new(self.body.clone())).expect("paths and headers are made of plain text");
        let started = Instant::now();
        let sent = server.exchange(request, (self.patience)(&server.patience), self.limit).await;
        server.tally.note(self.operation, Outcome::of(&sent), started.elapsed());
        sent
    }
}
