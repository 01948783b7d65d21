//! Arguments of `dockseal adopt`.

use std::path::PathBuf;

/// Arguments of `dockseal adopt`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("from").required(true)))]
#[command(after_help = "Examples:
  dockseal adopt --openssl ~/docker-certs --passphrase-file ca.pass > adopted.yaml
  dockseal adopt --portainer https://portainer.bodkys.house --ca homelab > hosts.yaml

Manifests go to standard output, what is insecure or left out to standard error; nothing is changed anywhere, and
Portainer is asked with GET alone, by the API key in PORTAINER_API_KEY. Read them, then `kubectl apply -f` or
`dockseal up` them. What was given in a file (passphrase, API key) stands in a Secret among them; for what was typed,
or came by the environment, there is a placeholder to fill in. The authority's private key is among them as it is.

Exit code 0 where there is something to adopt, 1 where there is nothing, 3 where the directory holds no certificate.")]
pub struct AdoptArgs {
    /// Directory of the openssl how-tos: CA, host and client certificates and keys, under any names
    #[arg(long, value_name = "DIR", group = "from")]
    pub openssl: Option<PathBuf>,
    /// Portainer server, whose Docker environments are listed; an API key is read from PORTAINER_API_KEY
    #[arg(long, value_name = "URL", group = "from")]
    pub portainer: Option<String>,
    /// Name of the DockerCA (--openssl) or of the PortainerClient (--portainer); default by what is found
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// With --openssl: file with the passphrase of the private keys; default it is asked for on a terminal
    #[arg(long, value_name = "FILE", requires = "openssl")]
    pub passphrase_file: Option<PathBuf>,
    /// With --portainer: name of the DockerCA that is to sign
    #[arg(long, value_name = "NAME", default_value = "docker-ca")]
    pub ca: String,
    /// With --portainer: file with an API key of an administrator, instead of PORTAINER_API_KEY
    #[arg(long, value_name = "FILE", requires = "portainer")]
    pub credentials_file: Option<PathBuf>,
    /// With --portainer: what its own certificate is verified by, PEM; default the system's authorities
    #[arg(long, value_name = "FILE", requires = "portainer")]
    pub ca_file: Option<PathBuf>,
    /// With --portainer: name in its own certificate, where that is not the one in URL
    #[arg(long, value_name = "NAME", requires = "portainer")]
    pub server_name: Option<String>,
    /// With --portainer: URL may be http://, which sends the API key in the clear
    #[arg(long, requires = "portainer")]
    pub allow_http: bool,
}
