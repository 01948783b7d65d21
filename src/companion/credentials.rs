//! The account of a companion, and its tokens: a pod mints tokens of its node's account, an enrolled host renews the one
//! in its file. A token never goes into a log.

use crate::adapters::Clock;
use crate::adapters::disk::atomic_files::FileError;
use crate::adapters::host::system_files::{self, PathEntry};
use crate::adapters::kube::companion_api::{client, message};
use crate::adapters::kube::token::{Token, mint};
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
                minted.map_err(|error| {
                    let hint = match &error {
                        kube::Error::Api(_) => {
                            "this node has no account until a DockerHostCert names it in spec.delivery.nodeName: "
                        }
                        _ => "",
                    };
                    format!("{hint}failed to mint a token of {namespace}/{account}: {}", message(&error))
                })
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
        Err(error) if is_revoked(&error) => Err(match now >= token.expires {
            true => format!(
                "the token of this host expired at {} (the host was off, or could not reach the API server, for too \
                 long): run dockseal enroll again on a machine with a kubeconfig, and the line that it prints here",
                token.expires
            ),
            false => format!(
                "this host is no longer enrolled ({}): run dockseal enroll again on a machine with a kubeconfig, and the \
                 line that it prints here; or remove the companion: systemctl disable --now dockseal-companion",
                message(&error)
            ),
        }),
        Err(error) if now >= token.expires || refused => {
            Err(format!("failed to renew the token of this host: {}", message(&error)))
        }
        // It is still valid, and renewed later.
        Err(error) => {
            tracing::warn!(error = message(&error), expires = %token.expires, "failed to renew the token of this host");
            let left = token.expires.duration_since(now) / 3;
            Ok(Token { renew_at: crate::pki::lifecycle::saturating(now, left), ..token })
        }
    }
}

fn is_revoked(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 404))
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
