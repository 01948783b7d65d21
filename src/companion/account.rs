//! By which account a companion works: a pod mints tokens of its own node's account, an enrolled host renews its own.

use crate::world::Clock;
use crate::world::companion_api::{client, words};
use crate::world::daemon_host::{self, Entry};
use crate::world::synced_files::FileError;
use crate::world::token::{Token, mint};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Client, Config};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A pod's token of its node's account.
const NODE_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// A token of an enrolled host.
pub const HOST_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A token this close to its end is no use to begin with.
const TOO_LATE: SignedDuration = SignedDuration::from_secs(10);

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
struct Kept {
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
            Account::Node { node, .. } => format!("node-{node}"),
            Account::Host { name, .. } => name.clone(),
        }
    }

    /// Namespace of the account, and of its assignment.
    pub fn namespace(&self) -> &str {
        match self {
            Account::Node { namespace, .. } | Account::Host { namespace, .. } => namespace,
        }
    }

    /// A token to work by.
    ///
    /// # Errors
    /// What is wrong and what to do, for the log.
    pub async fn token(&mut self, clock: &Clock) -> Result<Token, String> {
        match self {
            Account::Node { config, namespace, node } => {
                let client =
                    Client::try_from(config.clone()).map_err(|error| format!("failed to make a client: {error}"))?;
                let account = format!("node-{node}");
                let minted = mint(&client, (namespace, &account), Some(node), NODE_LIFE, clock).await;
                minted.map_err(|error| {
                    format!(
                        "failed to mint a token of {namespace}/{account}: {}; the account is there as soon as a \
                         DockerHostCert names this node",
                        words(&error)
                    )
                })
            }
            Account::Host { config, namespace, name, token } => {
                host_token(config, (namespace, name), token, clock).await
            }
        }
    }
}

async fn host_token(config: &Config, at: (&str, &str), file: &Path, clock: &Clock) -> Result<Token, String> {
    let kept = read(file)?;
    let now = clock.now();
    if now >= crate::pki::lifecycle::saturating(kept.expires, -TOO_LATE) {
        return Err(format!(
            "this host's token ended at {} (it was off for longer, or the API server was): enroll it again with \
             dockseal enroll, on a machine with a kubeconfig",
            kept.expires
        ));
    }
    let token = Token { text: kept.token, expires: kept.expires, renew_at: kept.renew_at };
    if now < token.renew_at {
        return Ok(token);
    }
    let client = client(config.clone(), &token.text).map_err(|error| format!("failed to make a client: {error}"))?;
    match mint(&client, at, None, HOST_LIFE, clock).await {
        Ok(minted) => {
            keep(file, &minted).map_err(|error| error.to_string())?;
            Ok(minted)
        }
        // Good for a while yet; it is tried again before it ends.
        Err(error) if revoked(&error) => Err(format!(
            "this host is no longer enrolled ({}): enroll it again with dockseal enroll, or remove the companion",
            words(&error)
        )),
        Err(error) => {
            tracing::warn!(error = words(&error), expires = %token.expires, "failed to renew this host's token");
            let left = token.expires.duration_since(now) / 3;
            Ok(Token { renew_at: crate::pki::lifecycle::saturating(now, left), ..token })
        }
    }
}

fn revoked(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 401 || status.code == 404)
}

fn read(file: &Path) -> Result<Kept, String> {
    let entry = daemon_host::read(file).map_err(|error| error.to_string())?;
    let text = entry.bytes().ok_or_else(|| format!("{} is missing: enroll this host again", file.display()))?;
    serde_json::from_slice(text).map_err(|_| format!("{} cannot be read: enroll this host again", file.display()))
}

/// Keeps a token for its owner alone.
///
/// # Errors
/// [`FileError`].
pub fn keep(file: &Path, token: &Token) -> Result<(), FileError> {
    let kept = Kept { token: token.text.clone(), expires: token.expires, renew_at: token.renew_at };
    let bytes = serde_json::to_vec(&kept).expect("a token of text and instants encodes");
    daemon_host::put(file, &Entry::File { bytes, mode: 0o600, uid: 0, gid: 0 })
}
