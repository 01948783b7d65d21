//! Arguments of `dockseal verify`.

use super::user_commands::SourceArgs;
use clap::ValueEnum;
use std::path::PathBuf;

/// Form of the verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum VerdictForm {
    /// A line each, and what to do.
    #[default]
    Table,
    /// The certificate that is served, too.
    Wide,
    /// One JSON document, whose schema is docs/schema/verify.json.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Arguments of `dockseal verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dockseal verify pandora                               # by its DockerHostCert, with a client of the same DockerCA
  dockseal verify pandora --address 127.0.0.1:12376 -o json   # through a tunnel, for programs
  dockseal verify --file ca.pem --address 192.168.1.7:2376 --client-cert cert.pem --client-key key.pem

It asks the live address and changes nothing there: is the port open, is plain HTTP refused, and a client without
certificate, with a self-signed one, and with one of another authority of the same name; is ours accepted; chain, names,
dates, key usage, TLS versions; is what is served what is stored; is port 2375 beside it closed.

Exit code 0 where all is ok, 1 where anything is FAIL, 4 where something is only a warning or unknown, 3 where there is
no DockerHostCert of that name. A certificate is a warning within 30 days of its end.")]
pub struct VerifyArgs {
    /// Name of the DockerHostCert
    #[arg(value_name = "HOST", required_unless_present_any = ["file", "schema"])]
    pub host: Option<String>,
    /// Address to ask, HOST:PORT; default what the DockerHostCert has clients dial; the port is 2376 where it is left out
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// Name of the DockerClientCert or PortainerClient to be accepted; default one of the same DockerCA
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub client: Option<String>,
    /// Trust bundle, PEM: without any cluster or state directory, only what can be known then
    #[arg(long, value_name = "FILE", requires = "address", conflicts_with = "host")]
    pub file: Option<PathBuf>,
    /// With --file: client certificate to be accepted, PEM
    #[arg(long, value_name = "FILE", requires = "file", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// With --file: its key, PEM, not encrypted
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub output: VerdictForm,
    /// Print the JSON Schema of -o json instead
    #[arg(long, exclusive = true)]
    pub schema: bool,
    /// Where to look
    #[command(flatten)]
    pub source: SourceArgs,
}
