//! Tokens of ServiceAccounts (authentication.k8s.io/v1, TokenRequest): one is minted, with the instant at which to mint
//! the next. A token never goes into a log.

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
