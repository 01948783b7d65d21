//! One question to a server: what is asked, how long its answer is waited for and how much of it is read.

use super::Patience;
use super::connection::{Reply, Server};
use super::error::PortainerError;
use super::session::Pass;
use crate::portainer::multipart::{self, FilePart};
use crate::portainer::wire::path;
use crate::world::entropy;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use serde::Serialize;
use std::time::Duration;
use zeroize::Zeroizing;

/// Of a list, and of an environment with its snapshot.
const LONG_ANSWER: usize = 64 << 20;
/// Of everything else.
const SHORT_ANSWER: usize = 1 << 20;
const JSON: &str = "application/json";

/// One question.
pub(super) struct Call {
    method: Method,
    path: String,
    body: Bytes,
    content_type: Option<String>,
    patience: fn(&Patience) -> Duration,
    limit: usize,
}

impl Call {
    /// Without a body.
    pub(super) fn new(method: Method, path: impl Into<String>) -> Call {
        let patience = |patience: &Patience| patience.answer;
        Call { method, path: path.into(), body: Bytes::new(), content_type: None, patience, limit: SHORT_ANSWER }
    }

    pub(super) fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path)
    }

    /// With a body of JSON.
    pub(super) fn json(method: Method, path: impl Into<String>, body: &impl Serialize) -> Call {
        let body = serde_json::to_vec(body).expect("names and numbers are JSON");
        Call { body: body.into(), content_type: Some(JSON.into()), ..Call::new(method, path) }
    }

    /// With a form.
    pub(super) fn form(path: impl Into<String>, fields: &[(&str, String)], files: &[FilePart<'_>]) -> Call {
        let boundary = entropy::boundary();
        let body = Bytes::from_owner(multipart::body(&boundary, fields, files));
        Call { body, content_type: Some(multipart::content_type(&boundary)), ..Call::new(Method::POST, path) }
    }

    /// A login.
    pub(super) fn login(credentials: Zeroizing<Vec<u8>>) -> Call {
        Call::of_user(path::AUTH, credentials)
    }

    /// With a name and a password.
    pub(super) fn of_user(path: &str, credentials: Zeroizing<Vec<u8>>) -> Call {
        let body = Bytes::from_owner(credentials);
        Call { body, content_type: Some(JSON.into()), ..Call::new(Method::POST, path) }
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
    pub(super) async fn send(&self, server: &Server, pass: Option<&Pass>) -> Result<Reply, PortainerError> {
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
        server.exchange(request, (self.patience)(&server.patience), self.limit).await
    }
}
