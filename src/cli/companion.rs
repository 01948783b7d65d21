//! `dockseal companion`, and `dockseal companion install`.

use super::args::{CompanionArgs, CompanionCommand, InstallArgs};
use super::logging;
use super::signals::stop;
use crate::adapters::Clock;
use crate::adapters::disk::atomic_files::read_text;
use crate::adapters::host::system_files;
use crate::api::ObjectName;
use crate::companion::credentials::Account;
use crate::companion::install::{self, Enrolled, Installed};
use crate::companion::{self, CompanionResult, CompanionSettings};
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use std::path::Path;
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Exit code where not everything is delivered.
const NOT_READY: u8 = 4;

/// Runs the companion until SIGTERM or SIGINT, or installs it.
pub fn run(args: CompanionArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(CompanionCommand::Install(args)) = args.command {
        return runtime.block_on(install_here(args));
    }
    logging::start(&args.log);
    runtime.block_on(async {
        let settings = settings(args).await?;
        Ok(match companion::run(settings, Clock::system(), stop()?).await {
            CompanionResult::Delivered | CompanionResult::Stopped => ExitCode::SUCCESS,
            CompanionResult::NotDelivered => ExitCode::from(NOT_READY),
        })
    })
}

async fn settings(args: CompanionArgs) -> anyhow::Result<CompanionSettings> {
    let (account, sources, directories) = match (args.node, Enrolled::read(&args.config)?) {
        (Some(node), _) => {
            let config = Config::infer().await;
            let mut config = config.context("there is no cluster: run this in a pod, or enroll this host")?;
            config.default_retry = false;
            let namespace = args.namespace.unwrap_or_else(|| config.default_namespace.clone());
            if args.source_namespaces.is_empty() {
                // The chart's default, until an administrator lists one: it waits.
                tracing::warn!(
                    "nothing is delivered here: no namespace is listed in companion.namespaces of the chart"
                );
            }
            (Account::Node { config, namespace, node }, args.source_namespaces, args.directories)
        }
        (None, Some(enrolled)) => (enrolled.account()?, Vec::new(), enrolled.directories),
        (None, None) => {
            bail!("give --node in a pod; on a host outside, run dockseal enroll first (no {})", args.config.display())
        }
    };
    let named = [account.namespace(), &account.name()].map(ObjectName::parse);
    if let Some(error) = named.into_iter().find_map(Result::err) {
        bail!("{}/{} cannot be an account: its namespace and name {error}", account.namespace(), account.name());
    }
    let contained = system_files::is_there("/.dockerenv");
    Ok(CompanionSettings { account, sources, directories, contained, address: args.node_address, once: args.once })
}

async fn install_here(args: InstallArgs) -> anyhow::Result<ExitCode> {
    let ca = STANDARD.decode(&args.ca_data).ok().and_then(|pem| String::from_utf8(pem).ok());
    let enrolled = Enrolled {
        server: args.server,
        ca: ca.context("--ca-data is not PEM in base64: copy the whole line that dockseal enroll printed")?,
        namespace: args.namespace,
        account: args.account,
        directories: args.directories,
    };
    let token = Zeroizing::new(read_text(Path::new("-"))?.trim().to_owned());
    let token = Some(token).filter(|token| !token.is_empty());
    match install::install(&enrolled, token, &Clock::system()).await? {
        Installed::Service => {
            println!("dockseal-companion.service runs; what it does: journalctl -u dockseal-companion")
        }
        Installed::WithoutSystemd => println!(
            "this host has no systemd: let cron run this every ten minutes: {} companion --once",
            install::PROGRAM
        ),
    }
    Ok(ExitCode::SUCCESS)
}
