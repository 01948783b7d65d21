//! `dockseal context`: a context of the Docker CLI for one client and one host, as a file or in its store.

use super::args::ContextArgs;
use super::credential::Credential;
use super::exit::{CliError, Exit};
use super::object_arg::Reference;
use super::output::print_bytes;
use super::progress::with_progress;
use super::source::{Source, block_on};
use crate::adapters::disk::credential_files::{self, PrivateTempDir, docker, docker_output};
use crate::api::{Kind, Object, Spec};
use crate::decide::registration::dialled_url;
use crate::docker::context::{context, is_context_name};
use anyhow::{Context, bail, ensure};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(args: &ContextArgs) -> anyhow::Result<ExitCode> {
    if args.output.as_deref() == Some(Path::new("-")) && std::io::stdout().is_terminal() {
        return Err(CliError::usage(
            "a private key is not printed on a terminal: give -o FILE, or redirect standard output",
        ));
    }
    if !is_context_name(&args.name) {
        return Err(CliError::usage(format!(
            "{:?} is not a context name: the Docker CLI takes two or more letters, digits, _ . + and -, and not default",
            args.name
        )));
    }
    let (host, client) = block_on(with_progress("the certificate", both(args)))?;
    let (url, description) = (url(&host)?, format!("Dockseal: {} to {}", client.object.at, host.at));
    if args.install {
        install(args, &url, &description, &client)?;
        return Ok(Exit::Done.into());
    }
    let archive = context(&args.name, &description, &url, client.files(), client.time());
    let default = || PathBuf::from(format!("{}.dockercontext", args.name));
    match args.output.clone().unwrap_or_else(default) {
        output if output == Path::new("-") => print_bytes(&archive)?,
        output => {
            credential_files::write(&output, &archive, args.force)?;
            eprintln!("{0} is for {url}: docker context import {1} {0}", output.display(), args.name);
        }
    }
    Ok(Exit::Done.into())
}

async fn both(args: &ContextArgs) -> anyhow::Result<(Object, Credential)> {
    let source = Source::open(&args.source).await?;
    let named = |name: &str| Reference::parse(name);
    let host = source.object(&named(&args.host)?, &[Kind::DockerHostCert]).await?;
    let client = named(args.client.as_deref().unwrap_or(&args.name))?;
    let client = match source.object(&client, &[Kind::DockerClientCert]).await {
        Err(error) if args.client.is_none() && super::exit::of(&error) == Exit::NotFound => {
            return Err(CliError::not_found(format!("{error}; where the client is called otherwise, give --client")));
        }
        client => client?,
    };
    // A DockerCA of the same name in another namespace is another authority.
    ensure!(
        client.authority() == host.authority(),
        "{} and {} have different authorities: {} would refuse that client",
        client.at,
        host.at,
        args.host
    );
    Ok((host, Credential::of(&source, client).await?))
}

fn url(host: &Object) -> anyhow::Result<String> {
    let Spec::Host(spec) = &host.spec else { bail!("{} is not a host", host.at) };
    dialled_url(spec).with_context(|| format!("{} says no address", host.at))
}

/// Creates or updates the Docker CLI's context. Keys are passed on standard input or in files of this user alone: never
/// as arguments, which every user of the machine can read.
fn install(args: &ContextArgs, url: &str, description: &str, client: &Credential) -> anyhow::Result<()> {
    let name = args.name.as_str();
    let inspected = docker(&["context", "inspect", name, "--format", "{{json .Endpoints.docker.Host}}"], &[])?;
    if !inspected.status.success() {
        let archive = context(name, description, url, client.files(), client.time());
        docker_output(&["context", "import", name, "-"], &archive)?;
        eprintln!("made the context {name} for {url}: docker --context {name} version");
        return warn_of_docker_host();
    }
    let there: Option<String> = serde_json::from_slice(&inspected.stdout).ok();
    let there = there.unwrap_or_default();
    ensure!(
        there == url || args.force,
        "the Docker CLI has a context {name} for {there}, and this is {url}: choose another name, or give --force"
    );
    let directory = PrivateTempDir::new()?;
    let files = client.files();
    let files = [("ca", files.ca), ("cert", files.cert), ("key", files.key)];
    let mut endpoint = format!("host={url}");
    for (what, bytes) in files {
        let path = directory.put(&format!("{what}.pem"), bytes)?;
        endpoint += &format!(",{what}={}", path.display());
    }
    docker_output(&["context", "update", name, "--description", description, "--docker", &endpoint], &[])?;
    eprintln!("updated the context {name} for {url}: docker --context {name} version");
    warn_of_docker_host()
}

fn warn_of_docker_host() -> anyhow::Result<()> {
    if std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty()) {
        eprintln!("DOCKER_HOST is set and overrides every context: unset DOCKER_HOST");
    }
    Ok(())
}
