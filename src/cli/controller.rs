//! `dockseal controller`.

use super::args::ControllerArgs;
use super::kubeconfig::kubeconfig;
use super::logging;
use super::signals::stop;
use crate::adapters::kube::reader::{KubeReader, ReadError};
use crate::adapters::net::destinations::Destinations;
use crate::adapters::{Clock, descriptors, random};
use crate::api::ObjectName;
use crate::controller::{self, ControllerSettings};
use crate::decide::delivery::Allowlist;
use anyhow::Context;
use kube::{Client, Config};
use std::process::ExitCode;

/// Runs the controller until SIGTERM or SIGINT.
pub fn run(args: ControllerArgs) -> anyhow::Result<ExitCode> {
    logging::start(&args.log);
    descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut config = kubeconfig(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
        // The work queue retries with backoff and logs it; the client must not retry in silence.
        config.default_retry = false;
        // A server that does not answer may come up; one that is too old never has the watches that are needed.
        if let Err(error @ ReadError::TooOld { .. }) = KubeReader::connect(config.clone()).await {
            return Err(error.into());
        }
        let companions = args.companion_namespace.as_deref().filter(|name| !name.is_empty());
        companions
            .map(ObjectName::parse)
            .transpose()
            .context("--companion-namespace is not the name of a namespace")?;
        let settings = settings(&args, &config);
        let client = Client::try_from(config).context("failed to make a client from the kubeconfig")?;
        controller::run(client, settings, Clock::system(), stop()?).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn settings(args: &ControllerArgs, config: &Config) -> ControllerSettings {
    let (server, secure) = (&config.cluster_url, config.cluster_url.scheme_str() == Some("https"));
    let port = server.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let api_server = (server.host().unwrap_or_default(), port);
    ControllerSettings {
        destinations: Destinations::only(args.allowed_destinations.clone(), api_server),
        namespaces: args.namespaces.iter().filter(|name| !name.is_empty()).cloned().collect(),
        admin: args.admin_address,
        probes: args.probe_address,
        lease_namespace: args.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone()),
        allowlist: Allowlist {
            companions: args.companion_namespace.clone().filter(|name| !name.is_empty()),
            sources: args.companion_source_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect(),
            directories: args.companion_directories.clone(),
            portainer: args.companion_portainer,
        },
        identity: args.identity.clone().unwrap_or_else(random::identity),
    }
}
