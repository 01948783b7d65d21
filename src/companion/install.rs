//! Installs a companion as a systemd service on a host outside the cluster: what `dockseal enroll` printed comes in; a
//! configuration, a token, the program and a unit go out. It can be repeated. Nothing is written before the API server
//! has accepted the enrolment.

use super::credentials::{self, Account};
use crate::adapters::Clock;
use crate::adapters::disk::atomic_files::FileError;
use crate::adapters::host::system_files::{self, PathEntry};
use crate::adapters::host::systemd::{Systemd, SystemdError, Verb};
use crate::adapters::kube::companion_api::{client, message};
use crate::adapters::kube::token::{MintError, Token, mint};
use crate::decide::delays::{RIGHTS_RETRY_INTERVAL, RIGHTS_TIMEOUT};
use crate::pki::certificate::all_from_pem;
use kube::Config;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

pub const CONFIG: &str = "/etc/dockseal/companion.json";
pub const TOKEN: &str = "/var/lib/dockseal/token.json";
pub const PROGRAM: &str = "/usr/local/bin/dockseal";
const UNIT: &str = "dockseal-companion.service";
const UNIT_FILE: &str = "/etc/systemd/system/dockseal-companion.service";
const UNIT_WANT: &str = "/etc/systemd/system/multi-user.target.wants/dockseal-companion.service";

/// The configuration of an enrolled host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    /// URL of the API server.
    pub server: String,
    /// Authorities of its certificate, in PEM.
    pub ca: String,
    /// Namespace of the account.
    pub namespace: String,
    pub account: String,
    /// Directories that may be delivered to.
    pub directories: Vec<PathBuf>,
}

/// Why a host could not be enrolled.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}")]
    Enrolment(String),
    #[error(
        "the API server at {server} refuses the token: {why}. Nothing was changed. The line that dockseal enroll \
         prints is valid for 15 minutes: run dockseal enroll again"
    )]
    Refused {
        /// Its URL.
        server: String,
        /// Its message.
        why: String,
    },
    #[error(
        "the API server at {server} refuses the token for this account: {why}. Nothing was changed. Run the whole line \
         that dockseal enroll printed for this host; if that was done, the controller has to give the account its \
         rights: does it run?"
    )]
    Forbidden {
        /// Its URL.
        server: String,
        /// Its message.
        why: String,
    },
    #[error("the cluster at {server} refuses the token of this host: {why}. Nothing was changed")]
    Denied {
        /// Its URL.
        server: String,
        /// Its message.
        why: String,
    },
    #[error(
        "the API server at {server} has a fault: {why}. Nothing was changed. Run the same line again; it is valid for \
         15 minutes"
    )]
    Failing {
        /// Its URL.
        server: String,
        /// Its message.
        why: String,
    },
    #[error(
        "failed to reach the API server at {server}: {why}. Nothing was changed. Give dockseal enroll the address by \
         which this host reaches it: --server https://ADDRESS:PORT, a name or address that is in its certificate"
    )]
    Unreachable {
        /// Its URL.
        server: String,
        /// What happened.
        why: String,
    },
    #[error("everything is in place, but the service did not start: {0}; see journalctl -u dockseal-companion")]
    Start(#[from] SystemdError),
}

impl Enrolled {
    /// Reads what `companion install` wrote; none where it was not run.
    ///
    /// # Errors
    /// [`InstallError`] where the file cannot be read.
    pub fn read(file: &Path) -> Result<Option<Enrolled>, InstallError> {
        let entry = system_files::read(file)?;
        let Some(bytes) = entry.bytes() else { return Ok(None) };
        let read = serde_json::from_slice(bytes);
        read.map(Some).map_err(|error| InstallError::Enrolment(format!("failed to read {}: {error}", file.display())))
    }

    /// The account that it names.
    ///
    /// # Errors
    /// [`InstallError::Enrolment`] where its URL or its authorities cannot be read.
    pub fn account(&self) -> Result<Account, InstallError> {
        let none = || {
            InstallError::Enrolment(format!(
                "--server {:?} must be a URL of the form https://ADDRESS:PORT",
                self.server
            ))
        };
        let url = self.server.parse().ok().filter(|_| is_url(&self.server)).ok_or_else(none)?;
        let mut config = Config::new(url);
        let authorities = all_from_pem(self.ca.as_bytes()).ok().filter(|authorities| !authorities.is_empty());
        let none = "--ca-data must hold a certificate: copy the whole line that dockseal enroll printed";
        let authorities = authorities.ok_or_else(|| InstallError::Enrolment(none.into()))?;
        config.root_cert = Some(authorities.into_iter().map(|authority| authority.der).collect());
        Ok(Account::Host { config, namespace: self.namespace.clone(), name: self.account.clone(), token: TOKEN.into() })
    }
}

/// Whether that is a URL for an API server: HTTPS, since a token is sent, and one word for a shell.
pub fn is_url(server: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-_[]%".contains(&byte);
    let address = server.strip_prefix("https://").unwrap_or_default();
    address.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[') && address.bytes().all(plain)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The service runs.
    Service,
    /// There is no systemd: the user must run `companion --once` from cron.
    WithoutSystemd,
}

/// Installs the companion. First it mints a token of this host's own, with the bootstrap token or with the one in the
/// file: nothing is written where that fails.
///
/// # Errors
/// [`InstallError`].
pub async fn install(
    enrolled: &Enrolled,
    bootstrap: Option<Zeroizing<String>>,
    clock: &Clock,
) -> Result<Installed, InstallError> {
    let account = enrolled.account()?;
    let by = match bootstrap {
        Some(bootstrap) => bootstrap,
        None => kept(enrolled)?,
    };
    let token = exchange(enrolled, &account, &by, clock).await?;
    let text = serde_json::to_string_pretty(enrolled).expect("a configuration of texts encodes") + "\n";
    system_files::install_binary(Path::new(PROGRAM))?;
    system_files::put(CONFIG.as_ref(), &PathEntry::public(&text))?;
    credentials::keep(TOKEN.as_ref(), &token)?;
    let Ok(systemd) = Systemd::reach().await else { return Ok(Installed::WithoutSystemd) };
    system_files::put(UNIT_FILE.as_ref(), &PathEntry::public(&unit(&enrolled.directories)))?;
    system_files::put(UNIT_WANT.as_ref(), &PathEntry::Link(UNIT_FILE.into()))?;
    systemd.reload().await?;
    systemd.run(Verb::Restart, UNIT).await?;
    Ok(Installed::Service)
}

/// The token in the file, if it is for the same account of the same cluster: it is not sent to another one.
fn kept(enrolled: &Enrolled) -> Result<Zeroizing<String>, InstallError> {
    let refused = |why: &str| {
        InstallError::Enrolment(format!(
            "there is no token on standard input, and {why}: run the whole line that dockseal enroll printed. Nothing was changed"
        ))
    };
    let before = Enrolled::read(CONFIG.as_ref())?.ok_or_else(|| refused("this host was not enrolled before"))?;
    let same =
        (&before.ca, &before.namespace, &before.account) == (&enrolled.ca, &enrolled.namespace, &enrolled.account);
    if !same {
        return Err(refused("the token of this host is for another account or cluster"));
    }
    let kept = credentials::kept(TOKEN.as_ref()).map_err(InstallError::Enrolment)?;
    kept.ok_or_else(|| refused("this host has no token"))
}

/// Mints a token of this host's own. The account may get its rights a moment after it was created.
async fn exchange(
    enrolled: &Enrolled,
    account: &Account,
    by: &Zeroizing<String>,
    clock: &Clock,
) -> Result<Token, InstallError> {
    let server = enrolled.server.clone();
    let none = |error: kube::Error| InstallError::Enrolment(format!("failed to make a client: {}", message(&error)));
    let client = client(account.config().clone(), by).map_err(none)?;
    let at = (enrolled.namespace.as_str(), enrolled.account.as_str());
    let deadline = Instant::now() + RIGHTS_TIMEOUT;
    loop {
        let error = match mint(&client, at, None, credentials::HOST_TOKEN_DURATION, clock).await {
            Ok(minted) => return Ok(minted),
            Err(error) => error,
        };
        let unreachable = chain(&error);
        return Err(match MintError::of(&error) {
            MintError::Forbidden(_) if Instant::now() < deadline => {
                sleep(RIGHTS_RETRY_INTERVAL).await;
                continue;
            }
            MintError::Unauthenticated(why) | MintError::NoAccount(why) => InstallError::Refused { server, why },
            MintError::Forbidden(why) => InstallError::Forbidden { server, why },
            MintError::Denied(why) | MintError::NoNode(why) => InstallError::Denied { server, why },
            MintError::Failing(why) => InstallError::Failing { server, why },
            MintError::Unreachable(_) => InstallError::Unreachable { server, why: unreachable },
        });
    }
}

/// An error with its causes, where they say more.
fn chain(error: &kube::Error) -> String {
    let mut text = message(error);
    let mut source = std::error::Error::source(error);
    while let Some(behind) = source {
        let cause = behind.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = behind.source();
    }
    text
}

fn unit(directories: &[PathBuf]) -> String {
    let homes = ["/home", "/root", "/run/user"];
    let in_homes = directories.iter().any(|directory| homes.iter().any(|home| directory.starts_with(home)));
    let protect = if in_homes { "" } else { "ProtectHome=yes\n" };
    format!(
        "# Written by dockseal companion install.\n\
         [Unit]\n\
         Description=Dockseal's companion: certificates for this Docker host\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         ExecStart={PROGRAM} companion\n\
         Restart=always\n\
         RestartSec=5\n\
         NoNewPrivileges=yes\n\
         {protect}\
         PrivateTmp=yes\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}
