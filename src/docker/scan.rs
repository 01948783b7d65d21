//! What a live address answered, question by question: facts without a verdict. It asks nobody.

use std::net::SocketAddr;

/// Whether a server listens on the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortState {
    /// A server listens at this address.
    Open(SocketAddr),
    /// The name has no address, and why.
    Unresolved(String),
    /// The host answers, but no server listens on the port.
    Refused(String),
    /// There is no route to the host.
    NoRoute(String),
    /// The host does not answer in time.
    TimedOut(String),
    /// Any other error of the connection.
    Failed(String),
}

/// What a client got that speaks plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlainAnswer {
    /// The answer of a server that speaks TLS: 400, "Client sent an HTTP request to an HTTPS server."
    TlsRequired,
    /// An alert of TLS, the end of the connection, or bytes that are not HTTP.
    HungUp,
    /// An answer of HTTP; its status line.
    Answered(String),
    /// An answer of HTTP that Docker does not give; its status line.
    NotDocker(String),
    /// Nothing in time.
    Silence(String),
    /// No connection, and why.
    Closed(String),
}

/// What a client got that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsAnswer {
    /// An answer, perhaps none of HTTP.
    Answered(PingAnswer),
    /// The server showed its certificate, and an alert then refuses that of the client.
    Refused(String),
    /// The connection ended without an answer and without a reason.
    HungUp,
    /// It does not speak TLS.
    NotTls,
    /// No connection, nothing in time, or an end that has nothing to do with the client certificate.
    Silence(String),
    /// The client certificate or its key cannot be used: nothing was asked.
    Unusable(String),
}

/// An answer to `GET /_ping`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingAnswer {
    /// The status code of HTTP; 0 where it cannot be read.
    pub status: u16,
    /// It has a header that only Docker sets: Api-Version, or Server with Docker's name.
    pub is_docker: bool,
    /// It says, as nginx does, that the client certificate is missing or wrong.
    pub refuses_certificate: bool,
    /// Docker's version, from the header Server.
    pub version: Option<String>,
}

/// A version of the TLS protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.0 (RFC 2246).
    V10,
    /// TLS 1.1 (RFC 4346).
    V11,
    /// TLS 1.2 (RFC 5246).
    V12,
    /// TLS 1.3 (RFC 8446).
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

/// Whether the server speaks a version of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionSupport {
    /// The server agreed to it.
    Yes,
    /// The server refused it, and how.
    No(String),
    /// Nothing in time, or no TLS.
    Unknown(String),
}

/// What listens on port 2375, Docker's port of plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttpPort {
    /// No server.
    Closed,
    /// A server that does not answer as Docker does.
    Other,
    /// Docker, which answers without a certificate.
    Docker,
}

/// What clients got that a Docker host must refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrangerAnswers {
    /// The answer to plain HTTP.
    pub plain: PlainAnswer,
    /// The answer to a client without a certificate.
    pub no_certificate: TlsAnswer,
    /// The answer to a client with a self-signed certificate.
    pub self_signed: TlsAnswer,
    /// The answer to a client of an authority that has the name and key identifier of the host's own, but another key;
    /// none where no certificate was served.
    pub impostor: Option<TlsAnswer>,
}

/// The answers of an open port, one for each question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The answers to clients that the host must refuse.
    pub strangers: StrangerAnswers,
    /// The answer to the client that the host should accept; none where there is none.
    pub our_client: Option<TlsAnswer>,
    /// The chain that is served, DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Why a client that trusts only the given authorities ends the handshake, apart from names, dates and usage.
    pub distrust: Option<String>,
    /// Whether the server speaks each version of TLS.
    pub versions: Vec<(TlsVersion, VersionSupport)>,
    /// What listens on port 2375; none where that is the scanned port.
    pub plain_http_port: Option<PlainHttpPort>,
}

/// A scan of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanResult {
    /// The name or IP address that was scanned.
    pub host: String,
    /// The TCP port that was scanned.
    pub port: u16,
    /// Whether a server listens there.
    pub port_state: PortState,
    /// What it answers; none where no server listens.
    pub answers: Option<Answers>,
}
