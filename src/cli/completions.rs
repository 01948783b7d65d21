//! `dockseal completions`.

use super::args::{self, CompletionsArgs, people::Shell};
use super::exit::Exit;
use std::process::ExitCode;

/// Prints what lets a shell complete commands. kubectl completes its plugins through another program.
pub fn run(args: &CompletionsArgs, plugin: bool) -> anyhow::Result<ExitCode> {
    let mut command = args::command(plugin);
    let name = if plugin { "kubectl-dockseal" } else { "dockseal" };
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, &mut command, name, &mut std::io::stdout().lock());
    Ok(Exit::Done.into())
}
