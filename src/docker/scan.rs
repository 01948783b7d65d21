//! What a live address answered, question by question: facts without a verdict.

use std::net::SocketAddr;

/// Whether somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortState {
    /// At this address.
    Open(SocketAddr),
    /// The name has no address, and why.
    Unresolved(String),
    /// The machine is there, and nobody listens.
    Refused(String),
    /// No way leads there.
    NoRoute(String),
    /// Nobody says anything.
    TimedOut(String),
    /// Anything else.
    Failed(String),
}

/// What a client got that speaks plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlainAnswer {
    /// The answer of a server that speaks TLS: 400, "Client sent an HTTP request to an HTTPS server."
    TlsRequired,
    /// No word of HTTP: an alert of TLS, or the end of the connection.
    HungUp,
    /// HTTP, and its status line.
    Answered(String),
    /// Nothing in time, or no connection.
    Silence(String),
}

/// What a client got that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsAnswer {
    /// An answer of HTTP.
    Answered(PingAnswer),
    /// No answer: an alert, or the end of the connection.
    Refused(String),
    /// It does not speak TLS.
    NotTls,
    /// Nothing in time, or no connection.
    Silence(String),
    /// Our own material is of no use: nothing was asked.
    Unusable(String),
}

/// An answer to `GET /_ping`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingAnswer {
    /// HTTP's; 0 where it cannot be read.
    pub status: u16,
    /// It has Docker's own headers.
    pub is_docker: bool,
    /// Docker's version, where it says so.
    pub version: Option<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.0, RFC 2246.
    V10,
    /// 1.1, RFC 4346.
    V11,
    /// 1.2, RFC 5246.
    V12,
    /// 1.3, RFC 8446.
    V13,
}

impl std::fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TlsVersion::V10 => "1.0",
            TlsVersion::V11 => "1.1",
            TlsVersion::V12 => "1.2",
            TlsVersion::V13 => "1.3",
        })
    }
}

/// Whether a version is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionSupport {
    /// It was agreed on.
    Yes,
    /// It was refused, and how.
    No(String),
    /// Nothing in time, or no TLS.
    Unknown(String),
}

/// What listens on the port of plain HTTP beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttpPort {
    /// Nobody.
    Closed,
    /// Somebody who did not answer as Docker does.
    Other,
    /// Docker, without any certificate.
    Docker,
}

/// All the answers of an open port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// To plain HTTP.
    pub plain: PlainAnswer,
    /// To a client without certificate.
    pub no_certificate: TlsAnswer,
    /// To a client with a self-signed certificate.
    pub self_signed: TlsAnswer,
    /// To a client of an authority that has the name and key identifier of the host's own, and another key; none where
    /// no certificate was served.
    pub impostor: Option<TlsAnswer>,
    /// To our client; none where we have no certificate.
    pub our_client: Option<TlsAnswer>,
    /// What is served, DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Why a client that trusts the given authorities alone ends the handshake, names, dates and usage aside.
    pub distrust: Option<String>,
    /// The versions of TLS.
    pub versions: Vec<(TlsVersion, VersionSupport)>,
    /// Port 2375; none where that is the port itself.
    pub plain_http_port: Option<PlainHttpPort>,
}

/// A visit: whether somebody listens, and what they answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanResult {
    /// Name or IP address that was dialled.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether somebody listens.
    pub port_state: PortState,
    /// What they answer, where somebody does.
    pub answers: Option<Answers>,
}
