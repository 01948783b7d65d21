//! The verdicts on a live address as they are printed: a stable form, whose schema is docs/schema/verify.json.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a live address answered, and the verdicts on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "dockseal verify -o json")]
pub struct VerifyReport {
    /// Version of this document: fields are added to it, and none is taken away or changes its meaning.
    #[schemars(extend("const" = "v1"))]
    pub version: String,
    /// Name of the DockerHostCert; none where certificates were given as files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The address that was asked, HOST:PORT.
    pub address: String,
    /// When, RFC 3339.
    pub at: String,
    /// The worst of all results.
    pub result: CheckOutcome,
    /// The certificate that is served; none where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// Version of Docker, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_version: Option<String>,
    /// A verdict each, in a fixed order. What could not be asked is not among them.
    pub checks: Vec<Check>,
}

/// The certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// SHA-256 of its DER, hex.
    pub fingerprint: String,
    /// Serial number, hex.
    pub serial: String,
    /// Its subject.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// End of its validity, RFC 3339.
    pub not_after: String,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What was asked.
    pub id: Question,
    /// The verdict.
    pub result: CheckOutcome,
    /// What was found, for people; its words may change.
    pub message: String,
    /// What to do, for people, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A verdict, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckOutcome {
    /// As it should be.
    Ok,
    /// It could not be found out.
    Unknown,
    /// Something will be wrong, or might be better.
    Warning,
    /// Something is wrong.
    Fail,
}

impl CheckOutcome {
    /// The word in a line.
    pub fn word(self) -> &'static str {
        match self {
            CheckOutcome::Ok => "ok",
            CheckOutcome::Unknown => "unknown",
            CheckOutcome::Warning => "warning",
            CheckOutcome::Fail => "FAIL",
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Does anybody listen?
    Port,
    /// Is plain HTTP refused?
    PlainHttp,
    /// Is a client without certificate refused?
    NoCertificate,
    /// Is a self-signed client refused?
    SelfSigned,
    /// Is a client of another authority refused, although that has the name of ours?
    OtherAuthority,
    /// Is our client accepted?
    OurClient,
    /// Does Docker answer?
    Docker,
    /// Does the host's certificate verify by the trust bundle?
    Chain,
    /// Does it name the address and all that the spec names?
    Names,
    /// How long is it valid?
    Expiry,
    /// Was it renewed in time?
    Renewal,
    /// Is it a server's, and no client's?
    KeyUsage,
    /// Are TLS 1.2 and 1.3 spoken, and nothing older?
    TlsVersions,
    /// Is what is served what is stored?
    Stored,
    /// Is Docker's port of plain HTTP, 2375, closed?
    PlainPort,
}

impl Question {
    /// The name in a line, which is the one in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Question::Port => "port",
            Question::PlainHttp => "plain-http",
            Question::NoCertificate => "no-certificate",
            Question::SelfSigned => "self-signed",
            Question::OtherAuthority => "other-authority",
            Question::OurClient => "our-client",
            Question::Docker => "docker",
            Question::Chain => "chain",
            Question::Names => "names",
            Question::Expiry => "expiry",
            Question::Renewal => "renewal",
            Question::KeyUsage => "key-usage",
            Question::TlsVersions => "tls-versions",
            Question::Stored => "stored",
            Question::PlainPort => "plain-port",
        }
    }
}

/// The JSON Schema of [`VerifyReport`].
pub fn schema() -> String {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<VerifyReport>();
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

pub(super) fn ok(id: Question, message: impl Into<String>) -> Check {
    Check { id, result: CheckOutcome::Ok, message: message.into(), remedy: None }
}

pub(super) fn bad(id: Question, result: CheckOutcome, message: impl Into<String>, remedy: &str) -> Check {
    Check { id, result, message: message.into(), remedy: Some(remedy.to_owned()) }
}

pub(super) fn fail(id: Question, message: impl Into<String>, remedy: &str) -> Check {
    bad(id, CheckOutcome::Fail, message, remedy)
}

pub(super) fn unknown(id: Question, message: impl Into<String>, remedy: &str) -> Check {
    bad(id, CheckOutcome::Unknown, message, remedy)
}
