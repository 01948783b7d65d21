//! A companion as a service on a host outside the cluster: its configuration, token, binary and unit. Safe to repeat.

use super::credentials::{self, Account};
use crate::adapters::Clock;
use crate::adapters::disk::atomic_files::FileError;
use crate::adapters::host::system_files::{self, PathEntry};
use crate::adapters::host::systemd::{Systemd, SystemdError, Verb};
use crate::adapters::kube::companion_api::{client, words};
use crate::adapters::kube::token::{Token, mint};
use crate::decide::delays::{RIGHTS_RETRY_INTERVAL, RIGHTS_TIMEOUT};
use crate::pki::certificate::all_from_pem;
use kube::Config;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

/// Where the configuration is.
pub const CONFIG: &str = "/etc/dockseal/companion.json";
/// Where the token is.
pub const TOKEN: &str = "/var/lib/dockseal/token.json";
/// Where the program is.
pub const PROGRAM: &str = "/usr/local/bin/dockseal";
const UNIT: &str = "dockseal-companion.service";
const UNIT_FILE: &str = "/etc/systemd/system/dockseal-companion.service";
const UNIT_WANT: &str = "/etc/systemd/system/multi-user.target.wants/dockseal-companion.service";

/// What an enrolled host knows of its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    /// URL of the API server.
    pub server: String,
    /// Authorities of its certificate, PEM.
    pub ca: String,
    /// Namespace of the account.
    pub namespace: String,
    /// The account.
    pub account: String,
    /// Directories that may be delivered to.
    pub directories: Vec<PathBuf>,
}

/// Why a host could not be enrolled.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// What the enrolment says is of no use.
    #[error("{0}")]
    Enrolment(String),
    /// The API server refuses the token.
    #[error(
        "the API server at {server} does not take the token: {why}. Nothing was changed. A line of dockseal enroll is \
         good for 15 minutes: run dockseal enroll again"
    )]
    Refused {
        /// Its URL.
        server: String,
        /// Its words.
        why: String,
    },
    /// There is no API server, or another one than the line says.
    #[error(
        "failed to reach the API server at {server}: {why}. Nothing was changed. Give dockseal enroll the address by \
         which this host reaches it: --server https://ADDRESS:PORT, a name or address that its certificate holds"
    )]
    Unreachable {
        /// Its URL.
        server: String,
        /// What happened.
        why: String,
    },
    /// The service could not be started.
    #[error("everything is in place, but the service did not start: {0}; see journalctl -u dockseal-companion")]
    Start(#[from] SystemdError),
}

impl Enrolled {
    /// Reads what `companion install` wrote; none where it did not.
    ///
    /// # Errors
    /// [`InstallError`] where it is there and cannot be read.
    pub fn read(file: &Path) -> Result<Option<Enrolled>, InstallError> {
        let entry = system_files::read(file)?;
        let Some(bytes) = entry.bytes() else { return Ok(None) };
        let read = serde_json::from_slice(bytes);
        read.map(Some).map_err(|error| InstallError::Enrolment(format!("{} cannot be read: {error}", file.display())))
    }

    /// The account that it names.
    ///
    /// # Errors
    /// [`InstallError::Enrolment`] where its URL or its authorities are none.
    pub fn account(&self) -> Result<Account, InstallError> {
        let none = || InstallError::Enrolment(format!("{:?} is no URL of the form https://ADDRESS:PORT", self.server));
        let url = self.server.parse().ok().filter(|_| is_url(&self.server)).ok_or_else(none)?;
        let mut config = Config::new(url);
        let authorities = all_from_pem(self.ca.as_bytes()).ok().filter(|authorities| !authorities.is_empty());
        let none = "--ca-data holds no certificate: take the whole line that dockseal enroll printed";
        let authorities = authorities.ok_or_else(|| InstallError::Enrolment(none.into()))?;
        config.root_cert = Some(authorities.into_iter().map(|authority| authority.der).collect());
        Ok(Account::Host { config, namespace: self.namespace.clone(), name: self.account.clone(), token: TOKEN.into() })
    }
}

/// Whether that may be an API server's URL: a token is never sent over plain HTTP, and a shell reads it as one word.
pub fn is_url(server: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-_[]%".contains(&byte);
    let address = server.strip_prefix("https://").unwrap_or_default();
    address.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[') && address.bytes().all(plain)
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The service runs.
    Service,
    /// There is no systemd: cron has to run `companion --once`.
    WithoutSystemd,
}

/// Installs. A token of this host's own is minted first, by the bootstrap token or by the one that is there, so that
/// nothing is changed where the enrolment is of no use.
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

/// The token that is there, for the same account of the same cluster: no other cluster is shown it.
fn kept(enrolled: &Enrolled) -> Result<Zeroizing<String>, InstallError> {
    let refused = |why: &str| {
        InstallError::Enrolment(format!(
            "there is no token on standard input, and {why}: run the whole line of dockseal enroll. Nothing was changed"
        ))
    };
    let before = Enrolled::read(CONFIG.as_ref())?.ok_or_else(|| refused("this host was not enrolled before"))?;
    let same =
        (&before.ca, &before.namespace, &before.account) == (&enrolled.ca, &enrolled.namespace, &enrolled.account);
    if !same {
        return Err(refused("this host's own is for another account or cluster"));
    }
    let kept = credentials::kept(TOKEN.as_ref()).map_err(InstallError::Enrolment)?;
    kept.ok_or_else(|| refused("this host has none of its own"))
}

/// A token of this host's own for another one. The account's rights may come a moment after the account.
async fn exchange(
    enrolled: &Enrolled,
    account: &Account,
    by: &Zeroizing<String>,
    clock: &Clock,
) -> Result<Token, InstallError> {
    let server = enrolled.server.clone();
    let none = |error: kube::Error| InstallError::Enrolment(format!("failed to make a client: {}", words(&error)));
    let client = client(account.config().clone(), by).map_err(none)?;
    let at = (enrolled.namespace.as_str(), enrolled.account.as_str());
    let deadline = Instant::now() + RIGHTS_TIMEOUT;
    loop {
        let error = match mint(&client, at, None, credentials::HOST_LIFE, clock).await {
            Ok(minted) => return Ok(minted),
            Err(error) => error,
        };
        let early = matches!(&error, kube::Error::Api(status) if status.code == 403) && Instant::now() < deadline;
        match error {
            _ if early => sleep(RIGHTS_RETRY_INTERVAL).await,
            kube::Error::Api(status) => return Err(InstallError::Refused { server, why: status.message.clone() }),
            error => return Err(InstallError::Unreachable { server, why: chain(&error) }),
        }
    }
}

/// An error and what is behind it, where that says more.
fn chain(error: &kube::Error) -> String {
    let mut said = words(error);
    let mut source = std::error::Error::source(error);
    while let Some(behind) = source {
        let words = behind.to_string();
        if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        source = behind.source();
    }
    said
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
