//! `dockseal controller`.

use super::args::ControllerArgs;
use super::logging;
use crate::controller::{self, Settings};
use crate::decide::delivery::Listing;
use crate::world::{Clock, entropy};
use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the controller until SIGTERM or SIGINT.
pub fn run(args: ControllerArgs) -> anyhow::Result<ExitCode> {
    logging::start(&args.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut config = config(&args).await?;
        // Every failure comes back to the queue, which waits longer each time and says so; nothing waits in silence.
        config.default_retry = false;
        let settings = settings(&args, &config);
        let client = Client::try_from(config).context("failed to make a client from the kubeconfig")?;
        controller::run(client, settings, Clock::system(), stop()?).await?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn config(args: &ControllerArgs) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    if let Some(file) = &args.kubeconfig {
        let kubeconfig = Kubeconfig::read_from(file).with_context(|| format!("failed to read {}", file.display()))?;
        return Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("failed to use {}", file.display()));
    }
    if args.context.is_some() {
        return Config::from_kubeconfig(&options).await.context("failed to use that context of the kubeconfig");
    }
    Config::infer().await.context("there is no cluster: give --kubeconfig, set KUBECONFIG, or run in a pod")
}

fn settings(args: &ControllerArgs, config: &Config) -> Settings {
    Settings {
        namespaces: args.namespaces.iter().filter(|name| !name.is_empty()).cloned().collect(),
        admin: args.admin_address,
        lease_namespace: args.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone()),
        listing: Listing {
            companions: args.companion_namespace.clone().filter(|name| !name.is_empty()),
            sources: args.companion_source_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect(),
            directories: args.companion_directories.clone(),
        },
        identity: args.identity.clone().unwrap_or_else(entropy::identity),
    }
}

fn stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
