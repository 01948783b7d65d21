//! `dockseal enroll`: lets one host outside the cluster fetch what is its own, and prints the line to run there.

use super::args::EnrollArgs;
use super::source::block_on;
use crate::api::assignment::{ENROLLED_ANNOTATION, account};
use crate::api::docker_host_cert::Target;
use crate::api::{DockerHostCert, Kind, ObjectRef};
use crate::companion::install::is_url;
use crate::world::Clock;
use crate::world::token::mint;
use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::jiff::SignedDuration;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Config};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A bootstrap token is good for so long.
const BOOTSTRAP_LIFE: SignedDuration = SignedDuration::from_mins(15);
/// What `companion install` allows unless it is told otherwise.
const DIRECTORY: &str = "/etc/docker/certs";
/// The controller makes or removes the account within a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// Enrolls, or revokes.
pub fn run(args: EnrollArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        let config = super::kubeconfig(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let enrolment = Enrolment::of(&args, &config, namespace).await?;
        match args.revoke {
            true => enrolment.revoke().await,
            false => enrolment.enroll(&args, &config).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

struct Enrolment {
    hosts: Api<DockerHostCert>,
    accounts: Api<ServiceAccount>,
    client: Client,
    at: ObjectRef,
    account: String,
    companions: String,
    directory: String,
}

impl Enrolment {
    async fn of(args: &EnrollArgs, config: &Config, namespace: String) -> anyhow::Result<Enrolment> {
        let client = Client::try_from(config.clone()).context("failed to make a client from the kubeconfig")?;
        let hosts: Api<DockerHostCert> = Api::namespaced(client.clone(), &namespace);
        let at = ObjectRef::new(Kind::DockerHostCert, &namespace, &args.host);
        let found = hosts.get_opt(&args.host).await.with_context(|| format!("failed to read {at}"))?;
        let host =
            found.with_context(|| format!("there is no DockerHostCert {} in namespace {namespace}", args.host))?;
        let delivery = host.spec.delivery.clone().unwrap_or_default();
        if delivery.target != Some(Target::Enrolled) {
            bail!("{at} is not delivered by an enrolled host: set spec.delivery.target: Enrolled first");
        }
        let account = account(&at, &delivery).context("an enrolled host has an account")?;
        let accounts = Api::namespaced(client.clone(), &args.companion_namespace);
        let directory = delivery.directory;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        ensure!(
            directory.bytes().all(plain),
            "spec.delivery.directory of {at} holds characters that a shell would read"
        );
        Ok(Enrolment { hosts, accounts, client, at, account, companions: args.companion_namespace.clone(), directory })
    }

    async fn annotate(&self, value: Option<String>) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { ENROLLED_ANNOTATION: value } } }));
        let done = self.hosts.patch(&self.at.name, &PatchParams::default(), &patch).await;
        done.map(|_| ()).with_context(|| format!("failed to annotate {}", self.at))
    }

    async fn enroll(&self, args: &EnrollArgs, config: &Config) -> anyhow::Result<()> {
        // All that can be wrong is looked at before an account is asked for.
        let server = args.server.clone().unwrap_or_else(|| config.cluster_url.to_string());
        let server = server.trim_end_matches('/');
        ensure!(is_url(server), "{server:?} is no URL of the form https://ADDRESS:PORT: give --server");
        let ca = STANDARD.encode(authorities(config)?);
        let now = Clock::system().now();
        self.annotate(Some(now.round(k8s_openapi::jiff::Unit::Second)?.to_string())).await?;
        ensure!(
            self.wait(true).await?,
            "the controller made no account {}/{} within {} seconds: does it run, with --companion-namespace {}?",
            self.companions,
            self.account,
            PATIENCE.as_secs(),
            self.companions
        );
        let at = (self.companions.as_str(), self.account.as_str());
        let token = mint(&self.client, at, None, BOOTSTRAP_LIFE, &Clock::system()).await;
        let token = token.with_context(|| format!("failed to mint a token of {}/{}", self.companions, self.account))?;
        if ["://127.", "://localhost", "://[::1]"].iter().any(|local| server.contains(local)) {
            eprintln!(
                "{server} is this machine's own address: give --server URL, the API server as the host reaches it"
            );
        }
        let directory = match self.directory.as_str() {
            DIRECTORY => String::new(),
            directory => format!(" --directory {directory}"),
        };
        eprintln!("Run this on {} as root; the token in it is good for 15 minutes:", self.at.name);
        println!(
            "dockseal companion install --server {server} --namespace {} --account {}{directory} --ca-data {ca} <<'END'",
            self.companions, self.account
        );
        println!("{}\nEND", token.text.as_str());
        Ok(())
    }

    async fn revoke(&self) -> anyhow::Result<()> {
        self.annotate(None).await?;
        ensure!(
            self.wait(false).await?,
            "the controller did not remove the account {}/{} within {} seconds: does it run? Until then: kubectl delete \
             serviceaccount -n {} {}",
            self.companions,
            self.account,
            PATIENCE.as_secs(),
            self.companions,
            self.account
        );
        eprintln!("{} is no longer enrolled: its tokens are refused. What was delivered there stays.", self.at.name);
        Ok(())
    }

    /// Whether the account is there, or gone, in time.
    async fn wait(&self, there: bool) -> anyhow::Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.accounts.get_metadata_opt(&self.account).await;
            let found = found.with_context(|| format!("failed to look for {}/{}", self.companions, self.account))?;
            if found.is_some() == there {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The authorities of the API server's certificate, PEM.
fn authorities(config: &Config) -> anyhow::Result<String> {
    let ders = config.root_cert.clone().unwrap_or_default();
    ensure!(
        !ders.is_empty(),
        "the kubeconfig names no certificate-authority, which the host needs to know the API server by"
    );
    Ok(ders.into_iter().map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der))).collect())
}
