//! `dockseal adopt`: a directory of openssl files, or a Portainer server in; manifests on standard output. It changes
//! nothing.

use super::args::AdoptArgs;
use super::exit::{CliError, Exit};
use super::output::print_bytes;
use super::progress::with_progress;
use super::source::block_on;
use crate::adapters::disk::atomic_files::{is_directory, read_text};
use crate::adapters::disk::import_directory::{self, ImportDirectory};
use crate::adapters::portainer::{Access, PortainerApi, PortainerServer, RequestTimeouts, ServerCredential};
use crate::adapters::terminal::printable;
use crate::adapters::{Clock, terminal};
use crate::decide::adoption::openssl::Passphrase;
use crate::decide::adoption::portainer::{PortainerAdoption, adopt};
use crate::decide::adoption::{Adopted, Finding, FindingKind, openssl};
use crate::decide::registration::ServerSnapshot;
use anyhow::{Context, bail};
use std::path::Path;
use std::process::ExitCode;
use zeroize::Zeroizing;

const HEADER: &str = "\
# Manifests of what is there already, made by `dockseal adopt`. They may hold private keys.
";

pub fn run(args: &AdoptArgs) -> anyhow::Result<ExitCode> {
    let adopted = match (&args.openssl, &args.portainer) {
        (Some(directory), _) => of_openssl(directory, args)?,
        (_, Some(url)) => block_on(of_portainer(url, args))?,
        _ => unreachable!("one of the two is required"),
    };
    print(&adopted)
}

fn of_openssl(directory: &Path, args: &AdoptArgs) -> anyhow::Result<Adopted> {
    if !is_directory(directory) {
        return Err(CliError::not_found(format!("{} is not a directory", directory.display())));
    }
    let ImportDirectory { files, skipped } = import_directory::read(directory)?;
    if let Some(others) = openssl::without_certificates(&files) {
        let skipped = skipped.iter().map(|(path, why)| format!("{path}: {why}"));
        others.into_iter().chain(skipped).for_each(|found| {
            eprintln!("{:<9} {}", FindingKind::LeftOut.as_str(), printable(&found));
        });
        return Err(CliError::not_found(format!("{} holds no certificate in PEM", directory.display())));
    }
    let encrypted = openssl::encrypted(&files);
    let passphrase = match &args.passphrase_file {
        Some(file) => Some(Passphrase { text: first_line(file)?, is_printed: true }),
        None if encrypted.is_empty() => None,
        None => {
            let typed = terminal::passphrase(&format!("Passphrase of {}: ", encrypted.join(", ")));
            let typed = typed.context("failed to ask for the passphrase on the terminal: give --passphrase-file")?;
            typed.map(|text| Passphrase { text, is_printed: false })
        }
    };
    let adoption = openssl::OpensslAdoption { name: args.name.clone(), passphrase };
    let mut adopted = openssl::adopt(&files, &adoption, Clock::system().now());
    let kind = FindingKind::LeftOut;
    adopted.findings.extend(skipped.into_iter().map(|(about, why)| Finding { kind, about, text: why.to_owned() }));
    Ok(adopted)
}

async fn of_portainer(url: &str, args: &AdoptArgs) -> anyhow::Result<Adopted> {
    let url = url.trim_end_matches('/');
    if url.starts_with("http://") && !args.allow_http {
        return Err(CliError::usage("http:// sends the API key in the clear: give https://, or --allow-http"));
    }
    let given = args.credentials_file.as_deref().map(first_line).transpose()?;
    let named = std::env::var("PORTAINER_API_KEY").ok().map(Zeroizing::new);
    let Some(key) = given.clone().or(named).filter(|key| !key.trim().is_empty()) else {
        return Err(CliError::usage("there is no API key: set PORTAINER_API_KEY, or give --credentials-file"));
    };
    let roots_pem = args.ca_file.as_deref().map(read_text).transpose()?;
    let access = Access {
        url: url.to_owned(),
        roots: roots_pem.as_ref().map(|pem| pem.as_bytes().to_vec()),
        server_name: args.server_name.clone(),
        timeouts: RequestTimeouts::default(),
    };
    let key = Zeroizing::new(key.trim().to_owned());
    let portainer = PortainerApi::new(&access, ServerCredential::ApiKey(key))?;
    let snapshot = with_progress(url, snapshot(&portainer)).await?;
    let adoption = PortainerAdoption {
        name: args.name.clone(),
        authority: args.ca.clone(),
        url: url.to_owned(),
        roots_pem: roots_pem.map(|pem| pem.to_string()),
        server_name: args.server_name.clone(),
        printed_key: given,
    };
    Ok(adopt(&snapshot, &adoption))
}

/// What a server has. Nothing but GET is sent.
async fn snapshot(portainer: &PortainerApi) -> anyhow::Result<ServerSnapshot> {
    let status = portainer.status().await?;
    let me = portainer.me().await?;
    if !me.is_administrator() {
        bail!(
            "{} is not an administrator of Portainer and sees only its own environments: use an administrator's API key",
            me.username
        );
    }
    let (groups, tags) = (portainer.groups().await?, portainer.tags().await?);
    let environments = portainer.environments().await?;
    Ok(ServerSnapshot {
        instance: status.instance_id,
        version: status.version,
        environments: environments.into_iter().map(|environment| (environment.id, environment)).collect(),
        groups,
        tags,
    })
}

/// A secret in a file: its first line.
fn first_line(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let text = read_text(file)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn print(adopted: &Adopted) -> anyhow::Result<ExitCode> {
    for finding in &adopted.findings {
        eprintln!("{:<9} {}: {}", finding.kind.as_str(), printable(&finding.about), printable(&finding.text));
    }
    if adopted.manifests.is_empty() {
        eprintln!("dockseal: there is nothing to adopt");
        return Ok(Exit::Failed.into());
    }
    let mut text = Zeroizing::new(HEADER.to_owned());
    for manifest in &adopted.manifests {
        text.push_str("---\n");
        text.push_str(&Zeroizing::new(serde_saphyr::to_string(manifest)?));
    }
    print_bytes(text.as_bytes())?;
    Ok(Exit::Done.into())
}
