//! A raw client of the API: one connection per request, a status and a body out. It knows nothing of the product.

use anyhow::{Context as _, ensure};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An answer.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Said {
    /// Its JSON; null where it has none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Its text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// It has that status.
    #[track_caller]
    pub fn is(self, status: u16) -> Said {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// It is an error with that status and, somewhere, those words.
    #[track_caller]
    pub fn refuses(self, status: u16, words: &str) -> Said {
        let said = self.is(status);
        assert!(said.text().contains(words), "not {words:?} but {}", said.text());
        said
    }
}

/// Whose requests these are.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    headers: Vec<(&'static str, String)>,
}

impl Api {
    /// With no credentials.
    pub fn anonymous(url: &str) -> Api {
        Api { base: url.trim_end_matches('/').to_owned(), headers: vec![] }
    }

    /// With one more header.
    pub fn with(&self, name: &'static str, value: impl ToString) -> Api {
        let mut api = self.clone();
        api.headers.push((name, value.to_string()));
        api
    }

    /// With an API key.
    pub fn key(&self, key: &str) -> Api {
        self.with("x-api-key", key)
    }

    /// The value of one of its headers.
    pub fn credential(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Without credentials.
    pub fn bare(&self) -> Api {
        Api::anonymous(&self.base)
    }

    /// Asks without a body.
    pub async fn ask(&self, method: Method, path: &str) -> anyhow::Result<Said> {
        self.send(method, path, "text/plain", Bytes::new()).await
    }

    /// `GET`
    pub async fn get(&self, path: &str) -> anyhow::Result<Said> {
        self.ask(Method::GET, path).await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &str) -> anyhow::Result<Said> {
        self.ask(Method::DELETE, path).await
    }

    /// `POST` with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Said> {
        self.send(Method::POST, path, "application/json", body.to_string().into()).await
    }

    /// `PUT` with JSON.
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Said> {
        self.send(Method::PUT, path, "application/json", body.to_string().into()).await
    }

    /// `POST` with a form.
    pub async fn form(&self, path: &str, form: &Form) -> anyhow::Result<Said> {
        self.send(Method::POST, path, &format!("multipart/form-data; boundary={BOUNDARY}"), form.bytes()).await
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Bytes) -> anyhow::Result<Said> {
        let authority = self.base.strip_prefix("http://").context("tests speak plain HTTP")?;
        ensure!(!authority.contains('/'), "{} has a path", self.base);
        let mut request = Request::builder().method(method).uri(format!("/api{path}")).header("host", authority);
        request = request.header("content-type", kind);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body))?;
        let exchange = async {
            let stream = TcpStream::connect(authority).await?;
            let (mut line, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let response: Response<_> = line.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Said { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::time::timeout(Duration::from_secs(180), exchange).await.context("no answer in three minutes")?
    }
}

/// Asks over HTTPS, trusting that authority; the whole answer as text.
pub async fn over_tls(address: SocketAddr, ca: &str, path: &str) -> anyhow::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let mut stream = connector.connect(address.ip().into(), TcpStream::connect(address).await?).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

const BOUNDARY: &str = "----the-test-s-own-boundary";

/// A multipart form.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, Option<String>, String)>);

impl Form {
    /// With a field, in place of one of that name.
    pub fn field(mut self, name: &str, value: impl ToString) -> Form {
        self.0.retain(|(other, _, _)| other != name);
        self.0.push((name.to_owned(), None, value.to_string()));
        self
    }

    /// With a file, in place of one of that name.
    pub fn file(mut self, name: &str, text: &str) -> Form {
        self.0.retain(|(other, _, _)| other != name);
        self.0.push((name.to_owned(), Some(format!("{name}.pem")), text.to_owned()));
        self
    }

    /// Without a field or file.
    pub fn without(mut self, name: &str) -> Form {
        self.0.retain(|(other, _, _)| other != name);
        self
    }

    fn bytes(&self) -> Bytes {
        let mut text = String::new();
        for (name, file, value) in &self.0 {
            let file = file.as_ref().map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
            text +=
                &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n");
        }
        Bytes::from(text + &format!("--{BOUNDARY}--\r\n"))
    }
}
