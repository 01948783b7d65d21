//! `dockseal enroll`: allows one host outside the cluster to fetch its own Secret, and prints the command to run there.

use super::args::EnrollArgs;
use super::exit::CliError;
use super::kubeconfig::kubeconfig;
use super::output::print_bytes;
use super::progress::with_progress;
use super::source::block_on;
use crate::adapters::Clock;
use crate::adapters::kube::reader::KubeReader;
use crate::api::assignment::ENROLLED_ANNOTATION;
use crate::api::docker_host_cert::Target;
use crate::api::{Kind, NamespacedName, ObjectName, ObjectRef};
use crate::companion::install::is_url;
use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::SignedDuration;
use kube::Config;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

/// How long a bootstrap token is valid.
const BOOTSTRAP_LIFE: SignedDuration = SignedDuration::from_mins(15);
/// What `companion install` allows unless it is told otherwise.
const DIRECTORY: &str = "/etc/docker/certs";
/// How long the controller may take to create or remove the account.
const TIMEOUT: Duration = Duration::from_secs(30);

pub fn run(args: EnrollArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        let config = kubeconfig(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let enrolment = with_progress("the cluster", Enrolment::of(&args, &config, namespace)).await?;
        match args.revoke {
            true => enrolment.revoke().await,
            false => enrolment.enroll(&args, &config).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

struct Enrolment {
    cluster: KubeReader,
    at: ObjectRef,
    account: NamespacedName,
    directory: String,
}

impl Enrolment {
    async fn of(args: &EnrollArgs, config: &Config, namespace: String) -> anyhow::Result<Enrolment> {
        let cluster = KubeReader::connect(config.clone()).await?;
        let found = cluster.object(Kind::DockerHostCert, &namespace, &args.host).await?;
        let absent = || {
            let words = format!("there is no DockerHostCert {} in namespace {namespace}", args.host);
            CliError::not_found(words + ": `dockseal status -A` shows what is there")
        };
        let host = found.ok_or_else(absent)?;
        let (account, delivery) = (host.account(), host.delivery().cloned().unwrap_or_default());
        ensure!(
            delivery.target == Some(Target::Enrolled),
            "{} is not delivered by an enrolled host: set spec.delivery.target: Enrolled first",
            host.at
        );
        let account = ObjectName::parse(&account.context("an enrolled host has an account")?)?;
        let account = NamespacedName::new(&args.companion_namespace, account);
        let directory = delivery.directory;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        ensure!(
            directory.bytes().all(plain),
            "spec.delivery.directory of {} holds characters that a shell would interpret: use letters, digits, /, ., _ and -",
            host.at
        );
        Ok(Enrolment { cluster, at: host.at, account, directory })
    }

    async fn annotate(&self, value: Option<String>) -> anyhow::Result<()> {
        Ok(self.cluster.annotate(&self.at, ENROLLED_ANNOTATION, value.as_deref()).await?)
    }

    async fn enroll(&self, args: &EnrollArgs, config: &Config) -> anyhow::Result<()> {
        // Everything is checked before an account is asked for.
        let server = args.server.clone().unwrap_or_else(|| config.cluster_url.to_string());
        let server = server.trim_end_matches('/');
        ensure!(is_url(server), "{server:?} is not a URL of the form https://ADDRESS:PORT: give --server");
        let ca = STANDARD.encode(authorities(config)?);
        let now = Clock::system().now();
        self.annotate(Some(now.round(k8s_openapi::jiff::Unit::Second)?.to_string())).await?;
        ensure!(
            self.wait(true).await?,
            "the controller made no account {} within {} seconds: does it run, with --companion-namespace {}?",
            self.account,
            TIMEOUT.as_secs(),
            self.account.namespace
        );
        let token = self.cluster.token(&self.account, BOOTSTRAP_LIFE, &Clock::system()).await?;
        if ["://127.", "://localhost", "://[::1]"].iter().any(|local| server.contains(local)) {
            eprintln!(
                "{server} is this machine's own address: give --server URL, the API server as the host reaches it"
            );
        }
        let directory = match self.directory.as_str() {
            DIRECTORY => String::new(),
            directory => format!(" --directory {directory}"),
        };
        eprintln!("Run this on {} as root; the token in it is valid for 15 minutes:", self.at.name);
        let line = Zeroizing::new(format!(
            "dockseal companion install --server {server} --namespace {} --account {}{directory} --ca-data {ca} <<'END'\n{}\nEND\n",
            self.account.namespace,
            self.account.name,
            token.text.as_str()
        ));
        print_bytes(line.as_bytes())
    }

    async fn revoke(&self) -> anyhow::Result<()> {
        self.annotate(None).await?;
        ensure!(
            self.wait(false).await?,
            "the controller did not remove the account {} within {} seconds: does it run? Until then: kubectl delete \
             serviceaccount -n {} {}",
            self.account,
            TIMEOUT.as_secs(),
            self.account.namespace,
            self.account.name
        );
        eprintln!("{} is no longer enrolled: its tokens are refused. What was delivered there stays.", self.at.name);
        Ok(())
    }

    /// Whether the account is there, or gone, in time.
    async fn wait(&self, there: bool) -> anyhow::Result<bool> {
        with_progress("the controller", async {
            let deadline = Instant::now() + TIMEOUT;
            while self.cluster.has_account(&self.account).await? != there {
                if Instant::now() > deadline {
                    return Ok(false);
                }
                sleep(Duration::from_millis(200)).await;
            }
            Ok(true)
        })
        .await
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
