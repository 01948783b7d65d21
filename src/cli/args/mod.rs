//! Arguments and their help, without any meaning yet. Commands that people type are in `user_commands`, those that
//! machines run are here.

pub mod adopt;
pub mod user_commands;
mod values;
pub mod verify;

pub use adopt::AdoptArgs;
pub use user_commands::{BundleArgs, CompletionsArgs, ContextArgs, ManArgs, RenewArgs, SourceArgs, StatusArgs};
pub use verify::{VerdictForm, VerifyArgs};

use crate::adapters::net::destinations::Cidr;
use crate::api::ObjectName;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use values::{absolute, span};

/// Mutual TLS for Docker hosts, run by Kubernetes or by one machine alone.
#[derive(Debug, Parser)]
#[command(name = "dockseal", version, propagate_version = true)]
#[command(after_help = "Examples:
  dockseal up examples/homelab.yaml                     # without a cluster
  dockseal status -A                                    # with one: where everything stands, and what to do

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not Ready.")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Whether the program was started as a plugin of kubectl.
pub fn is_plugin(program: Option<&OsStr>) -> bool {
    program.and_then(|path| Path::new(path).file_stem()).is_some_and(|name| name == "kubectl-dockseal")
}

/// Every command with its help: as users of `dockseal`, or of `kubectl dockseal`, type it.
pub fn command(plugin: bool) -> clap::Command {
    let command = Args::command();
    if plugin { as_plugin(command).bin_name("kubectl dockseal").display_name("kubectl-dockseal") } else { command }
}

/// Its examples say what is typed, too.
fn as_plugin(command: clap::Command) -> clap::Command {
    let help = command.get_after_help().map(|help| help.to_string().replace("  dockseal ", "  kubectl dockseal "));
    let command = command.mut_subcommands(as_plugin);
    match help {
        Some(help) => command.after_help(help),
        None => command,
    }
}

/// Reads the arguments, or ends with help, or with what is wrong.
pub fn parse(plugin: bool) -> Args {
    let matches = command(plugin).get_matches();
    Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Where each object stands, when it expires, and what to do
    Status(StatusArgs),
    /// Ask a live host what it serves and which clients it accepts, with a verdict each
    Verify(VerifyArgs),
    /// Have certificates issued anew, now
    Renew(RenewArgs),
    /// Hand out a certificate, its key and the authority's certificate
    Bundle(BundleArgs),
    /// Make a context of the Docker CLI for a host
    Context(ContextArgs),
    /// Print what openssl how-tos left, or what a Portainer has, as manifests
    Adopt(AdoptArgs),
    /// Issue and renew on this machine, without a cluster
    Up(UpArgs),
    /// Print a state directory of `up` as manifests, to move into a cluster
    Export(ExportArgs),
    /// Issue and renew in a cluster
    Controller(ControllerArgs),
    /// Deliver certificates to this host, have dockerd serve them, and prove it
    Companion(CompanionArgs),
    /// Let a host outside the cluster fetch its certificate, and print the line to run there
    Enroll(EnrollArgs),
    /// Print the CustomResourceDefinitions
    Crds(CrdsArgs),
    /// Print what lets a shell complete commands
    Completions(CompletionsArgs),
    /// Print a manual page
    Man(ManArgs),
    /// Fails unless dockerd would demand client certificates; docker.service asks before each start
    #[command(hide = true)]
    Guard,
    /// Takes the step that a companion asked for, on the host
    #[command(hide = true)]
    DaemonStep,
    /// Asks a controller's /readyz; `helm test` does
    #[command(hide = true)]
    Probe(ProbeArgs),
}

/// Arguments of `dockseal probe`.
#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    /// Address, like `http://dockseal-controller.dockseal:8080/readyz`
    #[arg(value_name = "URL")]
    pub url: hyper::Uri,
    /// How long it asks: seconds, minutes or hours, like 60s, 5m or 1h
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = span)]
    pub timeout: Duration,
}

/// Arguments of `dockseal up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal up examples/homelab.yaml                     # issue, then renew while it runs
  dockseal up home.yaml passphrase.yaml --once          # issue and end; exit code 4 where not all is Ready
  sudo dockseal up home.yaml --host pandora             # this machine is pandora: deliver here, have dockerd serve

The files hold DockerCA, DockerHostCert, DockerClientCert and PortainerClient objects, and v1 Secrets as inputs
(passphrases, authorities to adopt). Certificates and keys are kept in STATE/secrets/NAMESPACE/NAME.")]
pub struct UpArgs {
    /// YAML files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Directory in which Secrets and statuses are kept
    #[arg(long, value_name = "DIR", default_value = "dockseal-state", env = "DOCKSEAL_STATE")]
    pub state: PathBuf,
    /// End as soon as everything is Ready
    #[arg(long)]
    pub once: bool,
    /// How long --once waits: seconds, minutes or hours, like 60s, 5m or 1h
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = span, requires = "once")]
    pub timeout: Duration,
    /// Deliver the DockerHostCert of that name to this machine, whatever its target
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
}

/// Arguments of `dockseal export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal export | kubectl apply -f -                  # then apply the YAML that `up` was given
  dockseal export --state /srv/dockseal > backup.yaml   # holds private keys")]
pub struct ExportArgs {
    /// Directory in which `up` keeps Secrets and statuses
    #[arg(long, value_name = "DIR", default_value = "dockseal-state", env = "DOCKSEAL_STATE")]
    pub state: PathBuf,
}

/// Arguments of `dockseal companion`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal companion --node pandora                     # in a DaemonSet's pod
  dockseal companion --once                             # on an enrolled host without systemd, from cron")]
#[command(args_conflicts_with_subcommands = true)]
pub struct CompanionArgs {
    /// Something else than delivering
    #[command(subcommand)]
    pub command: Option<CompanionCommand>,
    /// Kubernetes Node that this pod runs on
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node: Option<String>,
    /// IP address of the node, for a pod with a network of its own: there dockerd is probed; default 127.0.0.1
    #[arg(long, value_name = "IP", env = "NODE_ADDRESS")]
    pub node_address: Option<IpAddr>,
    /// Namespace of the companions' accounts; default the pod's own
    #[arg(long, value_name = "NAME", env = "DOCKSEAL_COMPANION_NAMESPACE")]
    pub namespace: Option<String>,
    /// Namespace whose DockerHostCerts may be delivered here; may be given several times
    #[arg(
        long = "source-namespace",
        value_name = "NAME",
        env = "DOCKSEAL_COMPANION_SOURCE_NAMESPACES",
        value_delimiter = ','
    )]
    pub source_namespaces: Vec<String>,
    /// Directory that may be delivered to; may be given several times
    #[arg(
        long = "directory",
        value_name = "DIR",
        env = "DOCKSEAL_COMPANION_DIRECTORIES",
        value_delimiter = ',',
        default_value = "/etc/docker/certs"
    )]
    pub directories: Vec<PathBuf>,
    /// What `companion install` wrote on an enrolled host
    #[arg(long, value_name = "FILE", default_value = "/etc/dockseal/companion.json")]
    pub config: PathBuf,
    /// Deliver once and end; exit code 4 where not everything is delivered
    #[arg(long)]
    pub once: bool,
    /// How logs are written, to standard error
    #[command(flatten)]
    pub log: LogArgs,
}

/// What `dockseal companion` does beside delivering.
#[derive(Debug, Subcommand)]
pub enum CompanionCommand {
    /// Put the companion in place on this host, as a service; safe to repeat
    Install(InstallArgs),
}

/// Arguments of `dockseal companion install`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples, which `dockseal enroll` prints with a host's own values:
  dockseal companion install --server https://10.0.0.1:6443 --namespace dockseal-companions --account host-home.pandora --ca-data LS0t
  dockseal companion install --server https://10.0.0.1:6443 --namespace dockseal-companions --account host-home.pandora --ca-data LS0t --directory /srv/certs

It reads the token that `dockseal enroll` printed from standard input; an empty one keeps the token that is there.")]
pub struct InstallArgs {
    /// URL of the API server
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// Namespace of the companions' accounts
    #[arg(long, value_name = "NAME")]
    pub namespace: String,
    /// Account of this host
    #[arg(long, value_name = "NAME")]
    pub account: String,
    /// Authorities of the API server's certificate: PEM in base64
    #[arg(long, value_name = "BASE64")]
    pub ca_data: String,
    /// Directory that may be delivered to; may be given several times
    #[arg(long = "directory", value_name = "DIR", default_value = "/etc/docker/certs")]
    pub directories: Vec<PathBuf>,
}

/// Arguments of `dockseal enroll`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal enroll pandora --server https://10.0.0.1:6443 | ssh root@pandora sh
  dockseal enroll pandora --revoke                      # its tokens are refused from now on")]
pub struct EnrollArgs {
    /// Name of the DockerHostCert, with spec.delivery.target: Enrolled
    #[arg(value_name = "HOST")]
    pub host: String,
    /// The API server as the host reaches it; default the kubeconfig's
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Take the host's account away again
    #[arg(long, conflicts_with = "server")]
    pub revoke: bool,
    /// Namespace of the DockerHostCert; default the context's
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Namespace of the companions' accounts
    #[arg(long, value_name = "NAME", default_value = "dockseal-companions", env = "DOCKSEAL_COMPANION_NAMESPACE")]
    pub companion_namespace: ObjectName,
    /// Kubeconfig; default KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Arguments of `dockseal controller`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal controller                                   # in a pod, or with your own kubeconfig; all namespaces
  dockseal controller --namespace home --namespace lab  # only these

It leads where it holds the Lease dockseal-controller, and stands by elsewhere.")]
pub struct ControllerArgs {
    /// Kubeconfig; default KUBECONFIG, ~/.kube/config, or the pod's own account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace to serve; may be given several times; default all
    #[arg(short, long = "namespace", value_name = "NAME", env = "DOCKSEAL_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Namespace of the companions' accounts and assignments, this controller's alone; default none: nothing is delivered
    #[arg(long, value_name = "NAME", env = "DOCKSEAL_COMPANION_NAMESPACE")]
    pub companion_namespace: Option<String>,
    /// Namespace whose hosts are delivered to nodes; may be given several times; default none
    #[arg(
        long = "companion-source-namespace",
        value_name = "NAME",
        env = "DOCKSEAL_COMPANION_SOURCE_NAMESPACES",
        value_delimiter = ','
    )]
    pub companion_source_namespaces: Vec<String>,
    /// Directory below which nodes are written; may be given several times
    #[arg(
        long = "companion-directory",
        value_name = "DIR",
        default_value = "/etc/docker/certs",
        env = "DOCKSEAL_COMPANION_DIRECTORIES",
        value_delimiter = ',',
        value_parser = absolute
    )]
    pub companion_directories: Vec<String>,
    /// Let companions on nodes register their own host in Portainer, where a PortainerClient says registrar: Companion:
    /// the node then reads Portainer's credential
    #[arg(long, env = "DOCKSEAL_COMPANION_PORTAINER")]
    pub companion_portainer: bool,
    /// Network in which it may connect to Portainer servers and Docker hosts, like 192.168.0.0/16; may be given several
    /// times; default all. Loopback, link-local and metadata addresses and the API server need one of their own, like
    /// 127.0.0.0/8
    #[arg(
        long = "allowed-destination",
        value_name = "CIDR",
        default_value = "0.0.0.0/0,::/0",
        hide_default_value = true,
        env = "DOCKSEAL_ALLOWED_DESTINATIONS",
        value_delimiter = ','
    )]
    pub allowed_destinations: Vec<Cidr>,
    /// Namespace of the Lease; default the pod's own, else the context's
    #[arg(long, value_name = "NAME", env = "DOCKSEAL_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Name of this replica in the Lease; default the host name and a random number
    #[arg(long, value_name = "NAME", env = "DOCKSEAL_IDENTITY")]
    pub identity: Option<String>,
    /// Address of /healthz, /readyz and /metrics; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080", env = "DOCKSEAL_ADMIN_ADDRESS")]
    pub admin_address: SocketAddr,
    /// Address of /healthz and /readyz alone, so that whoever asks for metrics delays no probe; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", env = "DOCKSEAL_PROBE_ADDRESS")]
    pub probe_address: Option<SocketAddr>,
    /// How logs are written, to standard error
    #[command(flatten)]
    pub log: LogArgs,
}

/// How logs are written.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// Form of the logs
    #[arg(long, value_name = "FORM", default_value = "text", env = "DOCKSEAL_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Least level: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "DOCKSEAL_LOG_LEVEL")]
    pub log_level: tracing::Level,
}

/// Form of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line of words.
    Text,
    /// A JSON object a line.
    Json,
}

/// Arguments of `dockseal crds`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal crds | kubectl apply --server-side -f -
  dockseal crds --dir crds                              # a file for each kind")]
pub struct CrdsArgs {
    /// Write a file for each kind into this directory instead
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// As templates of the Helm chart
    #[arg(long, hide = true)]
    pub templates: bool,
    /// As docs/fields.md
    #[arg(long, hide = true, exclusive = true)]
    pub fields: bool,
}
