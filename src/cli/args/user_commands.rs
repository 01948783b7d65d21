//! Arguments of the commands that people type: objects, where to read them, and the form of the output.

use super::values::span;
use crate::cli::selector;
use clap::ValueEnum;
use kube::core::Selector;
use std::path::PathBuf;
use std::time::Duration;

/// Where objects are looked for: a cluster, or a state directory of `up`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Where to look")]
pub struct SourceArgs {
    /// Namespace; default the context's, or all of a state directory
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    pub namespace: Option<String>,
    /// Every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Kubeconfig; default KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// State directory of `up`, instead of a cluster; default DOCKSEAL_STATE where that is a directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "context"])]
    pub state: Option<PathBuf>,
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Columns.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// One JSON document.
    Json,
    /// The same as YAML.
    Yaml,
    /// KIND/NAME, a line each.
    Name,
}

/// Arguments of `dockseal status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal status                                       # every object of the namespace
  dockseal status pandora                               # one of them
  dockseal status -A -l site=home -o wide               # hosts of all namespaces by label
  dockseal status --state dockseal-state -o json        # without a cluster, for programs

Exit code 0 where all of them are Ready, 4 where one is not, 3 where there is none of that name.")]
pub struct StatusArgs {
    /// KIND/NAME, NAME or KIND; default everything
    #[arg(value_name = "KIND/NAME")]
    pub objects: Vec<String>,
    /// Form of the output
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub output: Form,
    /// Labels, like site=home,tier!=test
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = selector::parse)]
    pub selector: Option<Selector>,
    /// Print the JSON Schema of -o json instead
    #[arg(long, exclusive = true)]
    pub schema: bool,
    /// Where to look
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Arguments of `dockseal renew`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal renew pandora --wait                         # and wait until the new certificate is there
  dockseal renew dhc --all -l site=home                 # every host with that label

Each of them gets the annotation dockseal.dev/renew-requested-at; the controller issues within a moment.
An authority renews itself, with the same key, so that what it signed stays good.")]
pub struct RenewArgs {
    /// KIND/NAME or NAME; with --all KIND
    #[arg(value_name = "KIND/NAME", required_unless_present = "all")]
    pub objects: Vec<String>,
    /// Every object of that kind, or of all kinds, that --selector and the namespace leave
    #[arg(long)]
    pub all: bool,
    /// With --all: labels, like site=home,tier!=test
    #[arg(short = 'l', long, value_name = "SELECTOR", requires = "all", value_parser = selector::parse)]
    pub selector: Option<Selector>,
    /// Wait until the new certificates are issued
    #[arg(long)]
    pub wait: bool,
    /// How long --wait waits: seconds, minutes or hours, like 60s, 5m or 1h
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = span, requires = "wait")]
    pub timeout: Duration,
    /// Form of the output
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub output: Form,
    /// Where to look
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Arguments of `dockseal bundle`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("to").required(true)))]
#[command(after_help = "Examples:
  dockseal bundle ci -o .                               # ./tls-client-certs-ci.tar.gz: ca.pem, cert.pem, key.pem
  dockseal bundle dhc/pandora -o - | ssh root@pandora 'mkdir -p /etc/docker/certs && tar -xz -C /etc/docker/certs'
  dockseal bundle ci --install                          # into ~/.docker, for the Docker CLI of this user

The files hold a private key: with a client's, anyone is root on every host of its authority.")]
pub struct BundleArgs {
    /// KIND/NAME or NAME of a DockerClientCert, PortainerClient or DockerHostCert
    #[arg(value_name = "KIND/NAME")]
    pub object: String,
    /// File to make; a directory takes tls-client-certs-NAME.tar.gz, - is standard output
    #[arg(short, long, value_name = "FILE", group = "to")]
    pub output: Option<PathBuf>,
    /// Put ca.pem, cert.pem and key.pem into that directory instead; default ~/.docker
    #[arg(long, value_name = "DIR", num_args = 0..=1, group = "to")]
    pub install: Option<Option<PathBuf>>,
    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
    /// Where to look
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Arguments of `dockseal context`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal context ci pandora && docker context import pandora ci.dockercontext
  dockseal context pandora pandora --client ci --install   # from then on: docker -c pandora ps

The file holds a private key: with it, anyone is root on every host of the client's authority.")]
pub struct ContextArgs {
    /// Name of the context, and of the DockerClientCert where --client names no other
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Name of the DockerHostCert
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Name of the DockerClientCert
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,
    /// File to make; default NAME.dockercontext, - is standard output
    #[arg(short, long, value_name = "FILE", conflicts_with = "install")]
    pub output: Option<PathBuf>,
    /// Make or update the Docker CLI's context instead
    #[arg(long)]
    pub install: bool,
    /// Replace a file, or a context that is another host's
    #[arg(long)]
    pub force: bool,
    /// Where to look
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Arguments of `dockseal completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal completions bash > /etc/bash_completion.d/dockseal
  dockseal completions zsh > \"${fpath[1]}/_dockseal\"
  dockseal completions fish > ~/.config/fish/completions/dockseal.fish
  dockseal completions kubectl > /usr/local/bin/kubectl_complete-dockseal    # executable, beside kubectl-dockseal")]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
    /// The program that kubectl asks about `kubectl dockseal`.
    Kubectl,
}

/// Arguments of `dockseal man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal man status | man -l -                        # the page of a verb
  dockseal man --dir /usr/local/share/man/man1          # all of them")]
pub struct ManArgs {
    /// A verb; default dockseal itself
    #[arg(value_name = "VERB")]
    pub verb: Option<String>,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    pub dir: Option<PathBuf>,
}
