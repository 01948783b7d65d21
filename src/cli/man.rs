//! `dockseal man`.

use super::args::{self, ManArgs};
use super::exit::{CliError, Exit};
use super::output::print_bytes;
use crate::adapters::disk::atomic_files::print_file;
use clap::Command;
use clap_mangen::Man;
use std::process::ExitCode;

/// Prints the page of dockseal or of a verb, or writes all of them.
pub fn run(args: &ManArgs, plugin: bool) -> anyhow::Result<ExitCode> {
    let mut pages = Vec::new();
    let mut command = args::command(plugin).disable_help_subcommand(true);
    command.build();
    collect(&command, &mut pages);
    if let Some(dir) = &args.dir {
        for page in &pages {
            print_file(&dir.join(format!("{}.1", name(page))), &text(page)?)?;
        }
        return Ok(Exit::Done.into());
    }
    let wanted = match &args.verb {
        None => name(&command),
        Some(verb) => format!("{}-{verb}", name(&command)),
    };
    match pages.iter().find(|page| name(page) == wanted) {
        Some(page) => print_bytes(&text(page)?)?,
        None => {
            return Err(CliError::usage(format!("there is no command {}", args.verb.as_deref().unwrap_or_default())));
        }
    }
    Ok(Exit::Done.into())
}

/// A command and those below it, but for the hidden ones.
fn collect(command: &Command, pages: &mut Vec<Command>) {
    pages.push(command.clone());
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, pages);
    }
}

fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

fn text(page: &Command) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(page.clone()).title(name(page)).render(&mut text)?;
    Ok(text)
}
