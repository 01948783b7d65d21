//! The command line: what was said, what it means, and the commands.

pub mod adopt;
pub mod args;
pub mod bundle;
pub mod companion;
pub mod completions;
pub mod context;
pub mod controller;
pub mod crds;
pub mod credential;
pub mod daemon_step;
pub mod enroll;
pub mod exit;
pub mod export;
pub mod field_docs;
pub mod logging;
pub mod man;
pub mod object_arg;
pub mod output;
pub mod probe;
pub mod progress;
pub mod renew;
pub mod selector;
pub mod source;
pub mod status;
pub mod up;
pub mod verify;

use anyhow::{anyhow, bail};
use args::Command;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the command that the arguments name.
///
/// # Errors
/// Whatever the command could not do, as a sentence: exit code 1.
pub fn main() -> anyhow::Result<ExitCode> {
    let plugin = args::is_plugin(std::env::args_os().next().as_deref());
    let args = args::parse(plugin);
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nobody installed a provider before");
    match args.command {
        Command::Status(args) => status::run(&args),
        Command::Adopt(args) => adopt::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Renew(args) => renew::run(&args),
        Command::Bundle(args) => bundle::run(&args),
        Command::Context(args) => context::run(&args),
        Command::Completions(args) => completions::run(&args, plugin),
        Command::Man(args) => man::run(&args, plugin),
        Command::Up(args) => up::run(args),
        Command::Export(args) => export::run(&args),
        Command::Controller(args) => controller::run(args),
        Command::Companion(args) => companion::run(args),
        Command::Enroll(args) => enroll::run(args),
        Command::Crds(args) => crds::run(&args),
        Command::Guard => daemon_step::guard(),
        Command::DaemonStep => daemon_step::run(),
        Command::Probe(args) => probe::run(&args),
    }
}

/// Ready at SIGTERM or SIGINT.
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

/// The cluster that a kubeconfig names, or that this pod runs in.
async fn kubeconfig(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    // Their words hold those of what caused them.
    if let Some(file) = file {
        let words = |error| anyhow!("failed to use the kubeconfig {}: {error}", file.display());
        let kubeconfig = Kubeconfig::read_from(file).map_err(words)?;
        return Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(words);
    }
    if context.is_some() {
        let words = |error| anyhow!("failed to use that context of the kubeconfig: {error}");
        return Config::from_kubeconfig(&options).await.map_err(words);
    }
    if let Ok(config) = Config::infer().await {
        return Ok(config);
    }
    let why = Config::from_kubeconfig(&options).await.err().map(|error| format!(": {error}")).unwrap_or_default();
    bail!("there is no cluster: give --kubeconfig, set KUBECONFIG, or run in a pod{why}")
}
