//! A companion as a service on a host outside the cluster: its configuration, token, binary and unit. Safe to repeat.

use super::account::{self, Account};
use crate::world::Clock;
use crate::world::companion_api::{client, words};
use crate::world::daemon_host::{self, Entry};
use crate::world::synced_files::FileError;
use crate::world::systemd::{Systemd, SystemdError, Verb};
use crate::world::token::mint;
use kube::Config;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
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
        "the API server at {server} does not take the token: {why}; it is good for 15 minutes: run dockseal enroll again"
    )]
    Refused {
        /// Its URL.
        server: String,
        /// Its words.
        why: String,
    },
    /// The service could not be started.
    #[error("everything is in place, but the service did not start: {0}")]
    Start(#[from] SystemdError),
}

impl Enrolled {
    /// Reads what `companion install` wrote; none where it did not.
    ///
    /// # Errors
    /// [`InstallError`] where it is there and cannot be read.
    pub fn read(file: &Path) -> Result<Option<Enrolled>, InstallError> {
        let entry = daemon_host::read(file)?;
        let Some(bytes) = entry.bytes() else { return Ok(None) };
        let read = serde_json::from_slice(bytes);
        read.map(Some).map_err(|error| InstallError::Enrolment(format!("{} cannot be read: {error}", file.display())))
    }

    /// The account that it names.
    ///
    /// # Errors
    /// [`InstallError::Enrolment`] where its URL or its authorities are none.
    pub fn account(&self) -> Result<Account, InstallError> {
        let url = self.server.parse().map_err(|_| InstallError::Enrolment(format!("{} is no URL", self.server)))?;
        let mut config = Config::new(url);
        let blocks = pem::parse_many(&self.ca).unwrap_or_default();
        if blocks.is_empty() {
            return Err(InstallError::Enrolment("the API server's authority holds no certificate in PEM".into()));
        }
        config.root_cert = Some(blocks.into_iter().map(pem::Pem::into_contents).collect());
        Ok(Account::Host { config, namespace: self.namespace.clone(), name: self.account.clone(), token: TOKEN.into() })
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The service runs.
    Service,
    /// There is no systemd: cron has to run `companion --once`.
    WithoutSystemd,
}

/// Installs. A bootstrap token is exchanged for one of this host's own first, so that nothing is written where it is of
/// no use; without one, the token that is there goes on.
///
/// # Errors
/// [`InstallError`].
pub async fn install(
    enrolled: &Enrolled,
    bootstrap: Option<&Zeroizing<String>>,
    clock: &Clock,
) -> Result<Installed, InstallError> {
    let account = enrolled.account()?;
    let token = match bootstrap {
        Some(bootstrap) => {
            let refused =
                |error: kube::Error| InstallError::Refused { server: enrolled.server.clone(), why: words(&error) };
            let client = client(account.config().clone(), bootstrap).map_err(refused)?;
            let at = (enrolled.namespace.as_str(), enrolled.account.as_str());
            Some(mint(&client, at, None, account::HOST_LIFE, clock).await.map_err(refused)?)
        }
        None => None,
    };
    let text = serde_json::to_string_pretty(enrolled).expect("a configuration of texts encodes") + "\n";
    daemon_host::install_binary(Path::new(PROGRAM))?;
    daemon_host::put(CONFIG.as_ref(), &Entry::public(&text))?;
    if let Some(token) = token {
        account::keep(TOKEN.as_ref(), &token)?;
    }
    let Ok(systemd) = Systemd::reach().await else { return Ok(Installed::WithoutSystemd) };
    daemon_host::put(UNIT_FILE.as_ref(), &Entry::public(&unit()))?;
    daemon_host::put(UNIT_WANT.as_ref(), &Entry::Link(UNIT_FILE.into()))?;
    systemd.reload().await?;
    systemd.run(Verb::Restart, UNIT).await?;
    Ok(Installed::Service)
}

fn unit() -> String {
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
         ProtectHome=yes\n\
         PrivateTmp=yes\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}
