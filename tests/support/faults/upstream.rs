//! One request to the API server over a TLS connection of its own: no pool, so no stale connection blurs a test.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::cluster::Cluster;

/// The way to the API server.
pub struct Upstream {
    address: SocketAddr,
    admin: TlsConnector,
    /// For requests that bring a token; with a certificate the API server would not look at it.
    anonymous: TlsConnector,
    /// For the requests that bring none, instead of the administrator's certificate.
    authorization: Option<HeaderValue>,
}

impl Upstream {
    pub fn new(cluster: &Cluster, token: Option<&str>) -> Result<Upstream> {
        let certificates = |name: &str| -> Result<Vec<CertificateDer<'static>>> {
            let found = CertificateDer::pem_file_iter(cluster.dir().join(name));
            found.and_then(Iterator::collect).with_context(|| format!("failed to read {name}"))
        };
        let mut roots = RootCertStore::empty();
        for ca in certificates("ca.crt")? {
            roots.add(ca).context("failed to trust the cluster's CA")?;
        }
        // Named, since the process under test may install another provider, or none.
        let trusting = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .context("failed to set up TLS")?
            .with_root_certificates(roots);
        let key = PrivateKeyDer::from_pem_file(cluster.dir().join("admin.key")).context("failed to read admin.key")?;
        let admin = trusting.clone().with_client_auth_cert(certificates("admin.crt")?, key);
        Ok(Upstream {
            address: cluster.address(),
            admin: Arc::new(admin.context("failed to use the administrator's certificate")?).into(),
            anonymous: Arc::new(trusting.with_no_client_auth()).into(),
            authorization: token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose()?,
        })
    }

    /// Sends the request in full and waits for the head of the response.
    pub async fn send(&self, mut head: Parts, body: Bytes) -> Result<Response<Incoming>> {
        if let Some(authorization) = &self.authorization {
            head.headers.entry(AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        let stream = TcpStream::connect(self.address).await.context("failed to reach the API server")?;
        stream.set_nodelay(true).context("failed to set up the connection to the API server")?;
        let tls = if head.headers.contains_key(AUTHORIZATION) { &self.anonymous } else { &self.admin };
        let name = ServerName::IpAddress(self.address.ip().into());
        let stream = tls.connect(name, stream).await.context("failed to shake hands with the API server")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the response's body has been read or dropped.
        tokio::spawn(connection);

        head.headers.remove(CONNECTION);
        head.headers.insert(HOST, HeaderValue::from_str(&self.address.to_string())?);
        let response = sender.send_request(Request::from_parts(head, Full::new(body))).await;
        response.context("the API server did not answer")
    }
}
