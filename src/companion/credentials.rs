//! The account of a companion, and its tokens: a pod mints tokens of its node's account, an enrolled host renews the one
//! in its file. A token never goes into a log.

use crate::adapters::Clock;
use crate::adapters::disk::atomic_files::FileError;
use crate::adapters::host::system_files::{self, PathEntry};
use crate::adapters::kube::companion_api::client;
use crate::adapters::kube::token::{MintError, Token, mint};
use crate::api::account::of_node;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Client, Config};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Of a token of a node's account.
const NODE_TOKEN_DURATION: SignedDuration = SignedDuration::from_hours(1);
/// Of a token of an enrolled host.
pub const HOST_TOKEN_DURATION: SignedDuration = SignedDuration::from_hours(30 * 24);

#[derive(Clone, Debug)]
pub enum Account {
    /// Of the node that this pod runs on.
    Node {
        /// The API server, with the pod's own account.
        config: Config,
        /// Namespace of the accounts.
        namespace: String,
        /// The node.
        node: String,
    },
    /// Of the object that this host was enrolled for.
    Host {
        /// The API server, without a token.
        config: Config,
        /// Namespace of the accounts.
        namespace: String,
        name: String,
        /// File of its token.
        token: PathBuf,
    },
}

/// A token as an enrolled host keeps it.
#[derive(Serialize, Deserialize)]
struct SavedToken {
    token: Zeroizing<String>,
    expires: Timestamp,
    renew_at: Timestamp,
}

impl Account {
    pub fn config(&self) -> &Config {
        match self {
            Account::Node { config, .. } | Account::Host { config, .. } => config,
        }
    }

    /// Name of the account, and of its assignment.
    pub fn name(&self) -> String {
        match self {
            Account::Node { node, .. } => of_node(node),
            Account::Host { name, .. } => name.clone(),
        }
    }

    /// Namespace of the account, and of its assignment.
    pub fn namespace(&self) -> &str {
        match self {
            Account::Node { namespace, .. } | Account::Host { namespace, .. } => namespace,
        }
    }

    /// A token: where the server `refused` the last one, a new one, whatever is in the file.
    ///
    /// # Errors
    /// What is wrong and what to do, for the log.
    pub async fn token(&self, refused: bool, clock: &Clock) -> Result<Token, String> {
        match self {
            Account::Node { config, namespace, node } => {
                // Made anew each time, so that it reads the pod's own token anew.
                let client =
                    Client::try_from(config.clone()).map_err(|error| format!("failed to make a client: {error}"))?;
                let account = of_node(node);
                let minted = mint(&client, (namespace, &account), Some(node), NODE_TOKEN_DURATION, clock).await;
                minted.map_err(|error| of_node_token(&MintError::of(&error), node, &format!("{namespace}/{account}")))
            }
            Account::Host { config, namespace, name, token } => {
                host_token(config, (namespace, name), token, refused, clock).await
            }
        }
    }
}

async fn host_token(
    config: &Config,
    at: (&str, &str),
    file: &Path,
    refused: bool,
    clock: &Clock,
) -> Result<Token, String> {
    let kept = read(file)?;
    let now = clock.now();
    let token = Token { text: kept.token, expires: kept.expires, renew_at: kept.renew_at };
    if now < token.renew_at && !refused {
        return Ok(token);
    }
    let client = client(config.clone(), &token.text).map_err(|error| format!("failed to make a client: {error}"))?;
    // Asked even if it seems to have expired: this host's clock may be wrong, and the server knows.
    match mint(&client, at, None, HOST_TOKEN_DURATION, clock).await {
        Ok(minted) => {
            // Without the file the token is used until this process ends.
            let kept = keep(file, &minted);
            let _ = kept.inspect_err(|error| tracing::error!(%error, "failed to write the new token of this host"));
            Ok(minted)
        }
        Err(error) => {
            let error = MintError::of(&error);
            let why = of_host_token(&error, Some(token.expires).filter(|expires| now >= *expires));
            let ended = matches!(error, MintError::Unauthenticated(_) | MintError::NoAccount(_));
            if ended || now >= token.expires || refused {
                return Err(why);
            }
            // It is still valid, and renewed later.
            tracing::warn!(error = why, expires = %token.expires, "the token of this host is used until it expires");
            let left = token.expires.duration_since(now) / 3;
            Ok(Token { renew_at: crate::pki::lifecycle::saturating(now, left), ..token })
        }
    }
}

/// What is wrong where a pod gets no token of its node's account, and what to do.
fn of_node_token(error: &MintError, node: &str, account: &str) -> String {
    match error {
        MintError::Unauthenticated(why) => format!(
            "the API server does not accept this pod's own token ({why}): delete the pod, so that it gets a new one; if \
             that does not help, compare the clocks of this node and of the API server"
        ),
        MintError::Forbidden(why) => format!(
            "this node has no account until a DockerHostCert names it in spec.delivery.nodeName; where one does, its \
             condition Delivered says what is missing: failed to mint a token of {account}: {why}"
        ),
        MintError::NoAccount(why) => format!(
            "the account {account} of this node is missing ({why}): the controller makes it again; if it does not, read \
             the controller's log"
        ),
        MintError::NoNode(why) => {
            format!("the cluster has no Node {node} ({why}): its companion gets a token once the Node is there again")
        }
        MintError::Denied(why) => format!("the cluster refuses a token of {account}: {why}"),
        MintError::Failing(why) => format!("the API server has a fault and mints no token of {account}: {why}"),
        MintError::Unreachable(why) => format!("failed to reach the API server for a token of {account}: {why}"),
    }
}

/// What is wrong where an enrolled host cannot renew its token, and what to do; with the instant at which it `expired`.
fn of_host_token(error: &MintError, expired: Option<Timestamp>) -> String {
    match (error, expired) {
        (MintError::Unauthenticated(_) | MintError::NoAccount(_), Some(expired)) => format!(
            "the token of this host expired at {expired} (the host was off, or could not reach the API server, for too \
             long): run dockseal enroll again on a machine with a kubeconfig, and the line that it prints here"
        ),
        (MintError::Unauthenticated(why) | MintError::NoAccount(why), None) => format!(
            "this host is no longer enrolled ({why}): run dockseal enroll again on a machine with a kubeconfig, and the \
             line that it prints here; or remove the companion: systemctl disable --now dockseal-companion"
        ),
        (MintError::Forbidden(why), _) => format!(
            "failed to renew the token of this host, whose account has no right to it: the condition Delivered of its \
             DockerHostCert says what is missing, else read the controller's log: {why}"
        ),
        (MintError::Denied(why) | MintError::NoNode(why), _) => {
            format!("failed to renew the token of this host, since the cluster refuses it: {why}")
        }
        (MintError::Failing(why), _) => {
            format!("failed to renew the token of this host, since the API server has a fault: {why}")
        }
        (MintError::Unreachable(why), _) => {
            format!("failed to renew the token of this host, since the API server does not answer: {why}")
        }
    }
}

fn read(file: &Path) -> Result<SavedToken, String> {
    let entry = system_files::read(file).map_err(|error| error.to_string())?;
    let text = entry
        .bytes()
        .ok_or_else(|| format!("{} is missing: run dockseal enroll again for this host", file.display()))?;
    serde_json::from_slice(text)
        .map_err(|_| format!("failed to read {}: run dockseal enroll again for this host", file.display()))
}

/// The token in the file; none where there is no file.
///
/// # Errors
/// What is wrong and what to do.
pub fn kept(file: &Path) -> Result<Option<Zeroizing<String>>, String> {
    match system_files::read(file) {
        Ok(PathEntry::Absent) => Ok(None),
        _ => read(file).map(|kept| Some(kept.token)),
    }
}

/// Writes a token to its file, which only root can read.
///
/// # Errors
/// [`FileError`].
pub fn keep(file: &Path, token: &Token) -> Result<(), FileError> {
    let kept = SavedToken { token: token.text.clone(), expires: token.expires, renew_at: token.renew_at };
    let bytes = serde_json::to_vec(&kept).expect("a token of text and instants encodes");
    system_files::put(file, &PathEntry::File { bytes, mode: 0o600, uid: 0, gid: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of a real API server (1.34) to a request for a token.
    fn answer(code: u16, kind: &str, message: &str) -> kube::Error {
        let status = serde_json::json!({"code": code, "message": message, "details": {"kind": kind}});
        kube::Error::Api(serde_json::from_value(status).expect("a status"))
    }

    const RBAC: &str = "serviceaccounts \"node-pandora\" is forbidden: User \"system:serviceaccount:c:dockseal-companion\" \
                        cannot create resource \"serviceaccounts/token\" in API group \"\" in the namespace \"c\"";
    const POLICY: &str = "serviceaccounts \"node-pandora\" is forbidden: ValidatingAdmissionPolicy 'dockseal-tokens' with \
                          binding 'dockseal-tokens' denied request: a companion's token is for the API server only";

    #[test]
    fn each_cause_has_a_sentence_of_its_own() {
        let no_account = "this node has no account until a DockerHostCert names it";
        for (error, of_node, of_host) in [
            (answer(403, "serviceaccounts", RBAC), no_account, "whose account has no right to it"),
            (answer(401, "", "Unauthorized"), "does not accept this pod's own token", "is no longer enrolled"),
            (answer(404, "serviceaccounts", "not found"), "is missing (not found)", "is no longer enrolled"),
            (answer(404, "nodes", "nodes not found"), "the cluster has no Node pandora", "the cluster refuses it"),
            (answer(422, "serviceaccounts", POLICY), "the cluster refuses a token", "the cluster refuses it"),
            (answer(403, "serviceaccounts", POLICY), "the cluster refuses a token", "the cluster refuses it"),
            (answer(403, "", "admission webhook \"x\" denied the request: no"), "the cluster refuses", "refuses it"),
            (answer(400, "", "bad"), "the cluster refuses a token", "the cluster refuses it"),
            (answer(429, "", "too many"), "the API server has a fault", "the API server has a fault"),
            (answer(500, "", "etcdserver"), "the API server has a fault", "the API server has a fault"),
            (answer(503, "", "apiserver not ready"), "the API server has a fault", "the API server has a fault"),
            (kube::Error::Service("refused".into()), "failed to reach the API server", "does not answer"),
        ] {
            let error = MintError::of(&error);
            let said = of_node_token(&error, "pandora", "c/node-pandora");
            assert!(said.contains(of_node), "{error:?}: {said}");
            assert_eq!(said.contains(no_account), of_node == no_account, "{error:?}: {said}");
            let said = of_host_token(&error, None);
            assert!(said.contains(of_host), "{error:?}: {said}");
            let expired = of_host_token(&error, Some(Timestamp::UNIX_EPOCH));
            assert_eq!(
                expired.contains("expired at 1970-"),
                said.contains("no longer enrolled"),
                "{error:?}: {expired}"
            );
        }
    }
}
