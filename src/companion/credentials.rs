//! By which account a companion works: a pod mints tokens of its own node's account, an enrolled host renews its own.

use crate::adapters::Clock;
use crate::adapters::disk::atomic_files::FileError;
use crate::adapters::host::system_files::{self, PathEntry};
use crate::adapters::kube::companion_api::{client, words};
use crate::adapters::kube::token::{Token, mint};
use crate::api::account::of_node;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Client, Config};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A pod's token of its node's account.
const NODE_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// A token of an enrolled host.
pub const HOST_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// An account.
#[derive(Clone, Debug)]
pub enum Account {
    /// Of the node that this pod runs on.
    Node {
        /// The API server, as the pod's own account.
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
        /// The account.
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
    /// The API server.
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

    /// A token to work by; a fresh one, whatever is kept, where the server `refused` the last one.
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
                let minted = mint(&client, (namespace, &account), Some(node), NODE_LIFE, clock).await;
                minted.map_err(|error| {
                    let waits = match &error {
                        kube::Error::Api(_) => "this node has no account until a DockerHostCert names it: ",
                        _ => "",
                    };
                    format!("{waits}failed to mint a token of {namespace}/{account}: {}", words(&error))
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
    // Asked though it may have ended: whether it has is the server's to say, this host's clock may be wrong.
    match mint(&client, at, None, HOST_LIFE, clock).await {
        Ok(minted) => {
            // What cannot be kept is good until this process ends.
            let kept = keep(file, &minted);
            let _ = kept.inspect_err(|error| tracing::error!(%error, "failed to keep this host's new token"));
            Ok(minted)
        }
        Err(error) if is_revoked(&error) => Err(match now >= token.expires {
            true => format!(
                "this host's token ended at {} (the host was off for longer, or could not reach the API server): run \
                 dockseal enroll again, on a machine with a kubeconfig, and its line here",
                token.expires
            ),
            false => format!(
                "this host is no longer enrolled ({}): run dockseal enroll again, on a machine with a kubeconfig, and \
                 its line here; or take the companion away: systemctl disable --now dockseal-companion",
                words(&error)
            ),
        }),
        Err(error) if now >= token.expires || refused => {
            Err(format!("failed to renew this host's token: {}", words(&error)))
        }
        // Good for a while yet; it is tried again before it ends.
        Err(error) => {
            tracing::warn!(error = words(&error), expires = %token.expires, "failed to renew this host's token");
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
    let text = entry.bytes().ok_or_else(|| format!("{} is missing: enroll this host again", file.display()))?;
    serde_json::from_slice(text).map_err(|_| format!("{} cannot be read: enroll this host again", file.display()))
}

/// The token that is kept, where one is.
///
/// # Errors
/// What is wrong and what to do.
pub fn kept(file: &Path) -> Result<Option<Zeroizing<String>>, String> {
    match system_files::read(file) {
        Ok(PathEntry::Absent) => Ok(None),
        _ => read(file).map(|kept| Some(kept.token)),
    }
}

/// Keeps a token for its owner alone.
///
/// # Errors
/// [`FileError`].
pub fn keep(file: &Path, token: &Token) -> Result<(), FileError> {
    let kept = SavedToken { token: token.text.clone(), expires: token.expires, renew_at: token.renew_at };
    let bytes = serde_json::to_vec(&kept).expect("a token of text and instants encodes");
    system_files::put(file, &PathEntry::File { bytes, mode: 0o600, uid: 0, gid: 0 })
}
