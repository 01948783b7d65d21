//! Names are resolved by the static binary itself, in the image's own files and with nothing else there.

use crate::made::Image;
use crate::portainer::Portainer;
use crate::resolver::Resolver;
use anyhow::ensure;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output};

/// As Kubernetes writes it into pods.
const SEARCH: &str = "search tools.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

/// `up` registers in a Portainer of that name, in the image's root, as its user. Kubernetes and Docker put both files
/// there; without a text, /etc/hosts is absent.
fn up(url: &str, key: &str, resolv_conf: &str, hosts: Option<&str>, patience: &str) -> anyhow::Result<Output> {
    let image = Image::make()?;
    let write = |name: &str, text: &str| std::fs::write(image.root().join(name), text);
    write("etc/resolv.conf", resolv_conf)?;
    hosts.map(|hosts| write("etc/hosts", hosts)).transpose()?;
    write("home.yaml", &home(url, key))?;
    std::fs::set_permissions(image.root(), PermissionsExt::from_mode(0o755))?;
    std::fs::create_dir(image.root().join("state"))?;
    chown(image.root().join("state"), Some(65532), Some(65532))?;
    let mut command = Command::new("chroot");
    command.arg("--userspec=65532:65532").arg(image.root()).arg("/usr/bin/dockseal");
    command.args(["up", "/home.yaml", "--state=/state", "--once", "--timeout", patience]).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin"); // chroot's own way
    Ok(command.output()?)
}

fn home(url: &str, key: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: Secret
metadata: {{name: admin}}
stringData: {{apiKey: {key}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {{name: homelab}}
spec: {{subject: {{commonName: Docker CA}}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: PortainerClient
metadata: {{name: portainer}}
spec:
  caRef: {{name: homelab}}
  commonName: portainer
  server: {{url: "{url}", allowHTTP: true, credentialsSecretRef: {{name: admin}}}}
  hostSelector: {{matchLabels: {{portainer: fleet}}}}
"#
    )
}

/// `up` with a Portainer of that name: how it ended, and what the resolver was asked for.
fn asked(name: &str, resolv_conf: &str, hosts: Option<&str>, patience: &str) -> anyhow::Result<(Output, Vec<String>)> {
    let portainer = Portainer::start()?;
    let resolver = Resolver::on_loopback()?;
    for known in ["portainer.test", "portainer.tools.svc.cluster.local"] {
        resolver.knows(known, Ipv4Addr::LOCALHOST);
    }
    let resolv_conf = format!("nameserver {}\n{resolv_conf}", resolver.address());
    let url = format!("http://{name}:{}", portainer.address().port());
    let done = up(&url, portainer.admin_key(), &resolv_conf, hosts, patience)?;
    Ok((done, resolver.asked()))
}

/// The same where Portainer is reached.
fn reached(name: &str, resolv_conf: &str, hosts: Option<&str>) -> anyhow::Result<Vec<String>> {
    let (done, asked) = asked(name, resolv_conf, hosts, "90s")?;
    ensure!(done.status.success(), "{}", said(&done));
    Ok(asked)
}

/// It is not reached, since the name has no address; the resolver was asked for it.
fn unresolved(name: &str) -> anyhow::Result<()> {
    let (done, asked) = asked(name, "", None, "15s")?;
    ensure!(done.status.code() == Some(4), "{}", said(&done));
    let words = format!("PortainerUnreachable  Portainer cannot be reached: {name}: ");
    ensure!(said(&done).contains(&words), "{}", said(&done));
    ensure!(asked.contains(&name.to_owned()), "{asked:?}");
    Ok(())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_name_comes_from_the_resolver() -> anyhow::Result<()> {
    let asked = reached("portainer.test", "", None)?;
    ensure!(asked.contains(&"portainer.test".to_owned()), "{asked:?}");
    Ok(())
}

#[test]
fn a_services_name_comes_from_the_search_list_of_its_pod() -> anyhow::Result<()> {
    let asked = reached("portainer.tools", SEARCH, None)?;
    ensure!(asked.contains(&"portainer.tools.svc.cluster.local".to_owned()), "{asked:?}");
    Ok(())
}

#[test]
fn a_name_in_etc_hosts_is_asked_of_nobody() -> anyhow::Result<()> {
    let asked = reached("portainer.lan", "", Some("127.0.0.1 localhost\n127.0.0.1 portainer.lan\n"))?;
    ensure!(asked.is_empty(), "{asked:?}");
    Ok(())
}

/// Engines and kubelets write /etc/hosts. Who runs it without one has a resolver that is asked for localhost, too.
#[test]
fn localhost_without_etc_hosts_is_a_name_like_others() -> anyhow::Result<()> {
    unresolved("localhost")
}

#[test]
fn a_name_that_nobody_knows_is_said() -> anyhow::Result<()> {
    unresolved("nowhere.test")
}
