//! `dockseal bundle`: a certificate, its key and the authority's certificate, as one file or in place for the Docker
//! CLI.

use super::args::BundleArgs;
use super::credential::Credential;
use super::exit::{CliError, Exit};
use super::object_arg::Reference;
use super::output::{Output, print_bytes};
use super::progress::with_progress;
use super::source::{Source, block_on};
use crate::adapters::disk::atomic_files::{is_directory, read};
use crate::adapters::disk::credential_files::{self, is_there};
use crate::api::Kind;
use crate::docker::archive::{Entry, tar};
use crate::pki::material::{self, Data};
use anyhow::Context;
use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Kinds whose certificate a user may take elsewhere.
const KINDS: [Kind; 3] = [Kind::DockerHostCert, Kind::DockerClientCert, Kind::PortainerClient];
/// File beside the installed ones that names their object.
const NOTE: &str = ".dockseal.json";

pub fn run(args: &BundleArgs) -> anyhow::Result<ExitCode> {
    if args.output.as_deref() == Some(Path::new("-")) && std::io::stdout().is_terminal() {
        return Err(CliError::usage(
            "a private key is not printed on a terminal: give -o FILE, or redirect standard output",
        ));
    }
    let reference = Reference::parse(&args.object)?;
    let credential = block_on(with_progress("the certificate", async {
        let source = Source::open(&args.source).await?;
        Credential::of(&source, source.object(&reference, &KINDS).await?).await
    }))?;
    match (&args.install, &args.output) {
        (Some(directory), _) => install(&credential, directory.as_deref(), args.force)?,
        (None, Some(output)) if output == Path::new("-") => print_bytes(&packed(&credential)?)?,
        (None, Some(output)) => {
            let path = if is_directory(output) { output.join(file_name(&credential)) } else { output.clone() };
            credential_files::write(&path, &packed(&credential)?, args.force)?;
            eprintln!("{} holds the certificate and the private key of {}", path.display(), credential.object.at);
        }
        (None, None) => unreachable!("clap demands one of the two"),
    }
    Ok(Exit::Done.into())
}

fn is_host(credential: &Credential) -> bool {
    credential.object.at.kind == Kind::DockerHostCert
}

fn file_name(credential: &Credential) -> String {
    let side = if is_host(credential) { "host" } else { "client" };
    format!("tls-{side}-certs-{}.tar.gz", credential.object.at.name)
}

/// The archive: a host's files are named and may be read as delivery has it, a client's as the Docker CLI has it.
fn packed(credential: &Credential) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let (files, name) = (credential.files(), &credential.object.at.name);
    let (cert, key, public) = match is_host(credential) {
        true => (format!("{name}.pem"), format!("{name}.key"), 0o444),
        false => ("cert.pem".to_owned(), "key.pem".to_owned(), 0o600),
    };
    let entries = [
        Entry { path: "ca.pem", mode: public, bytes: files.ca },
        Entry { path: &cert, mode: public, bytes: files.cert },
        Entry { path: &key, mode: 0o400, bytes: files.key },
    ];
    let archive = tar(&entries, credential.time());
    let room = Vec::with_capacity(archive.len() + 64); // what grows leaves copies behind
    let mut packer = GzBuilder::new().mtime(0).write(room, Compression::best());
    packer.write_all(&archive)?;
    Ok(Zeroizing::new(packer.finish()?))
}

/// The object whose files were installed in a directory, and their digest.
#[derive(Serialize, Deserialize)]
struct InstalledNote {
    owner: String,
    digest: String,
}

/// Installs the files for the Docker CLI. Files that were installed before and not changed since are replaced.
fn install(credential: &Credential, directory: Option<&Path>, force: bool) -> anyhow::Result<()> {
    if is_host(credential) {
        return Err(CliError::usage(format!(
            "{} is a host's certificate, and the Docker CLI needs a client's: name a DockerClientCert, or give -o FILE",
            credential.object.at
        )));
    }
    let directory = match directory {
        Some(directory) => std::path::absolute(directory)?,
        None => home()?.join(".docker"),
    };
    let files = credential.files();
    let files = [("ca.pem", files.ca), ("cert.pem", files.cert), ("key.pem", files.key)];
    let owner = credential.object.at.to_string();
    let replace = force || is_ours(&directory, &owner)?;
    if let Some(path) = files.iter().map(|(name, _)| directory.join(name)).find(|path| !replace && is_there(path)) {
        return Err(credential_files::CredentialFileError::Occupied(path).into());
    }
    credential_files::make_directory(&directory)?;
    for (name, bytes) in files {
        credential_files::write(&directory.join(name), bytes, replace)?;
    }
    let digest = material::digest(&files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect());
    credential_files::write(&directory.join(NOTE), &serde_json::to_vec(&InstalledNote { owner, digest })?, true)?;
    eprintln!("{} has the certificate of {}; the Docker CLI uses it with", directory.display(), credential.object.at);
    let quoted = format!("'{}'", directory.display().to_string().replace('\'', "'\\''"));
    Output::standard().print(&format!("export DOCKER_TLS_VERIFY=1\nexport DOCKER_CERT_PATH={quoted}\n"))?;
    eprintln!("and with DOCKER_HOST=tcp://HOST:2376, or docker -H tcp://HOST:2376 ps");
    Ok(())
}

/// Whether the files there were installed for the same object and not changed since.
fn is_ours(directory: &Path, owner: &str) -> anyhow::Result<bool> {
    let note = read(&directory.join(NOTE))?.and_then(|bytes| serde_json::from_slice::<InstalledNote>(&bytes).ok());
    let Some(note) = note.filter(|note| note.owner == owner) else { return Ok(false) };
    let mut data = Data::default();
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        let Some(bytes) = read(&directory.join(name))? else { continue };
        data.insert(name, bytes);
    }
    Ok(material::digest(&data) == note.digest)
}

fn home() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    home.context("HOME is not set: name the directory, --install DIR")
}
