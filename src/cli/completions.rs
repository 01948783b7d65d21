//! `dockseal completions`.

use super::args::user_commands::Shell;
use super::args::{self, CompletionsArgs};
use super::exit::Exit;
use super::output::Output;
use anyhow::Context;
use std::process::ExitCode;

/// What kubectl runs to have a plugin completed: each candidate in a line, and at the end that no file is one.
const OF_KUBECTL: &str = r#"#!/usr/bin/env bash
# Put this into the path as kubectl_complete-dockseal: kubectl asks it how `kubectl dockseal ...` may go on.
. <(kubectl-dockseal completions bash)
COMP_WORDS=(kubectl-dockseal "$@")
COMP_CWORD=$#
_dockseal kubectl-dockseal "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}" :4
"#;

/// Prints what lets a shell complete commands.
pub fn run(args: &CompletionsArgs, plugin: bool) -> anyhow::Result<ExitCode> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Kubectl => {
            Output::standard().print(OF_KUBECTL)?;
            return Ok(Exit::Done.into());
        }
    };
    let name = if plugin { "kubectl-dockseal" } else { "dockseal" };
    // Bash's script loses its way in a name with a hyphen; what it completes is named at its end alone.
    let within = if shell == clap_complete::Shell::Bash { "dockseal" } else { name };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut of_people(within), within, &mut script);
    let script = String::from_utf8(script).context("a script is text")?;
    Output::standard().print(&script.replace("-o default dockseal\n", &format!("-o default {name}\n")))?;
    Ok(Exit::Done.into())
}

/// Without the verbs that only machines run, which clap would offer.
fn of_people(name: &'static str) -> clap::Command {
    let whole = args::command(false);
    let shown = whole.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    clap::Command::default().name(name).version(env!("CARGO_PKG_VERSION")).propagate_version(true).subcommands(shown)
}
