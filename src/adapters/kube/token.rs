//! Tokens of ServiceAccounts (authentication.k8s.io/v1, TokenRequest): one is minted, with the instant at which to mint
//! the next. A token never goes into a log.

use super::companion_api::message;
use crate::adapters::Clock;
use crate::pki::lifecycle::saturating;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{Api, PostParams};
use std::time::Duration;
use zeroize::Zeroizing;

/// No answer of the API server takes longer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Its Debug is redacted, its memory is zeroed.
#[derive(Clone)]
pub struct Token {
    pub text: Zeroizing<String>,
    /// When it expires, by this machine's clock.
    pub expires: Timestamp,
    /// When the next should be minted: after a third of its lifetime.
    pub renew_at: Timestamp,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(redacted, until {})", self.expires)
    }
}

/// Why the API server mints no token. The text is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MintError {
    /// It does not accept the token that asks.
    Unauthenticated(String),
    /// The account that asks has no right to.
    Forbidden(String),
    /// A policy of the cluster, or the API server itself, refuses what is asked.
    Denied(String),
    /// There is no such account.
    NoAccount(String),
    /// There is no such Node.
    NoNode(String),
    /// It is overloaded or has a fault.
    Failing(String),
    /// There is no answer, or none that can be read.
    Unreachable(String),
}

impl MintError {
    pub fn of(error: &kube::Error) -> MintError {
        let kube::Error::Api(status) = error else { return MintError::Unreachable(message(error)) };
        let text = status.message.clone();
        let kind = status.details.as_ref().map(|details| details.kind.as_str()).unwrap_or_default();
        match status.code {
            401 => MintError::Unauthenticated(text),
            // Admission may answer 403, too: only RBAC says of somebody that he cannot do it.
            403 if !text.contains("denied") => MintError::Forbidden(text),
            404 if kind == "nodes" => MintError::NoNode(text),
            404 => MintError::NoAccount(text),
            408 | 429 | 500.. => MintError::Failing(text),
            _ => MintError::Denied(text),
        }
    }
}

/// Mints a token for an account, bound to a Node where one is given.
///
/// # Errors
/// The answer of the API server.
pub async fn mint(
    client: &Client,
    (namespace, account): (&str, &str),
    node: Option<&str>,
    lifetime: SignedDuration,
    clock: &Clock,
) -> kube::Result<Token> {
    let bound = node.map(|node| BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Node".into()),
        name: Some(node.to_owned()),
        uid: None,
    });
    let spec = TokenRequestSpec {
        audiences: Vec::new(),
        expiration_seconds: Some(lifetime.as_secs()),
        bound_object_ref: bound,
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let asked = clock.now();
    let params = PostParams::default();
    let answer = tokio::time::timeout(TIMEOUT, accounts.create_token_request(account, &params, &request)).await;
    let late = |_| kube::Error::Service(format!("no answer within {} seconds", TIMEOUT.as_secs()).into());
    let answer = answer.map_err(late)??;
    let unreadable = || kube::Error::Service("the answer holds no token".into());
    let status = answer.status.ok_or_else(unreadable)?;
    // This machine's clock may be wrong: only the lifetime counts.
    let lifetime = answer.spec.expiration_seconds.map_or(lifetime, SignedDuration::from_secs);
    Ok(Token {
        text: Zeroizing::new(status.token),
        expires: saturating(asked, lifetime),
        renew_at: saturating(asked, lifetime / 3),
    })
}
