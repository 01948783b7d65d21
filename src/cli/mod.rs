//! The command line: arguments in, one file for each command. It decides nothing about certificates.

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
pub mod kubeconfig;
pub mod logging;
pub mod man;
pub mod object_arg;
pub mod output;
pub mod probe;
pub mod progress;
pub mod renew;
pub mod selector;
pub mod signals;
pub mod source;
pub mod status;
pub mod up;
pub mod verify;

use args::Command;
use std::process::ExitCode;

/// Runs the command that the arguments name.
///
/// # Errors
/// What the command could not do; [`exit::of`] has the exit code.
pub fn main() -> anyhow::Result<ExitCode> {
    let plugin = args::is_plugin(std::env::args_os().next().as_deref());
    let args = args::parse(plugin);
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("no provider is installed before this");
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
