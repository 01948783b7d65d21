//! What a controller shows to the outside: metrics, health, logs, events and statuses, and never a secret in them.

use crate::fixture::{Namespace, SOON, base64, homelab, secret_bytes};
use crate::support::controller::Controller;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const PASSPHRASE: &str = "canary-passphrase-7c1f0e";

#[tokio::test]
async fn no_key_and_no_passphrase_is_ever_told() -> anyhow::Result<()> {
    let namespace = Namespace::new("canary").await?;
    let config = namespace.cluster.kubeconfig();
    let arguments = [&namespace.scope()[..], &["--log-level", "trace"]].concat();
    let controller = Controller::start(namespace.cluster, &config, "canary", &arguments).await?;
    let pass = |passphrase: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pass"}, "data": {"passphrase": base64(passphrase)}});
    namespace.create(&pass(PASSPHRASE)).await?;
    let authority = json!({
        "apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerCA", "metadata": {"name": "homelab"},
        "spec": {"subject": {"commonName": "Docker CA"}, "passphraseSecretRef": {"name": "pass", "key": "passphrase"}}
    });
    namespace.create(&authority).await?;
    let hosts = homelab(&["pandora", "janus"]);
    namespace.apply(hosts.split_once("---\n").map(|(_, hosts)| hosts).unwrap_or_default()).await?;
    namespace.all_ready().await?;
    let mut secrets = namespace.list(&["secret"]).await?;
    // Everything that makes it speak: damage, a wrong passphrase, a key that does not fit, an authority to adopt that
    // cannot be.
    namespace.merge("secret/pandora-docker-host", json!({"data": {"tls.crt": base64("-----BEGIN nonsense")}})).await?;
    namespace.merge("secret/janus-docker-host", json!({"data": {"tls.key": secrets[0]["data"]["tls.key"]}})).await?;
    let adopt = json!({
        "apiVersion": "dockseal.dev/v1alpha1", "kind": "DockerCA", "metadata": {"name": "adopted"},
        "spec": {"existing": {"secretRef": {"name": "pass"}}, "passphraseSecretRef": {"name": "pass", "key": "passphrase"}}
    });
    namespace.create(&adopt).await?;
    namespace.until("dockerca/adopted", |ca| crate::fixture::fails(ca, "Ready", "ExistingUnusable")).await?;
    namespace.merge("secret/pass", pass("canary-passphrase-wrong")).await?;
    namespace.until("dockerca/homelab", |ca| crate::fixture::fails(ca, "Ready", "PassphraseWrong")).await?;
    namespace.merge("secret/pass", pass(PASSPHRASE)).await?;
    namespace.until("dockerca/homelab", |ca| crate::fixture::is(ca, "Ready", "True")).await?;
    secrets.extend(namespace.list(&["secret"]).await?);
    let (_, metrics) = controller.get("/metrics").await?;
    let mut places = vec![("the log", controller.log()), ("the metrics", metrics)];
    places.push(("events", Value::from(namespace.list(&["event"]).await?).to_string()));
    places.push(("objects", Value::from(namespace.objects().await?).to_string()));
    places.push(("config maps", Value::from(namespace.list(&["configmap"]).await?).to_string()));
    places.push(("the lease", namespace.get("lease/dockseal-controller").await?.to_string()));
    let canaries = canaries(&secrets);
    assert!(canaries.len() > 10 && places.iter().all(|(_, text)| text.len() > 100));
    for (place, text) in &places {
        for canary in &canaries {
            assert!(!text.contains(canary), "{place} tell a secret that begins with {:.12}", canary);
        }
    }
    Ok(())
}

/// A tenant names the controller's own machine, in several ways, as a Portainer: nobody is asked, and one reason is told.
#[tokio::test]
async fn a_portainer_on_the_controllers_machine_is_not_asked() -> anyhow::Result<()> {
    let namespace = Namespace::new("inward").await?;
    let (config, scope) = (namespace.cluster.kubeconfig(), namespace.scope());
    let arguments = [&scope[..], &["--allowed-destination", "0.0.0.0/0", "--allowed-destination", "::/0"]].concat();
    let controller = Controller::start(namespace.cluster, &config, "inward", &arguments).await?;
    let listener = std::net::TcpListener::bind("0.0.0.0:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": {"apiKey": base64("ptr_a")}});
    namespace.create(&secret).await?;
    namespace.apply(&homelab(&[])).await?;
    let hosts = ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433"];
    for (number, host) in hosts.iter().enumerate() {
        let server =
            json!({"url": format!("http://{host}:{port}"), "allowHTTP": true, "credentialsSecretRef": {"name": "key"}});
        let client = json!({
            "apiVersion": "dockseal.dev/v1alpha1", "kind": "PortainerClient", "metadata": {"name": format!("inward-{number}")},
            "spec": {"caRef": {"name": "homelab"}, "commonName": "portainer", "server": server}
        });
        namespace.create(&client).await?;
    }
    for (number, host) in hosts.iter().enumerate() {
        let refused = |client: &Value| crate::fixture::fails(client, "Registered", "DestinationRefused");
        let at = format!("portainerclient/inward-{number}");
        namespace.until(&at, refused).await.with_context(|| format!("{host}: {}", controller.log()))?;
    }
    let asked = listener.accept().map(|(_, from)| from);
    ensure!(asked.is_err(), "a connection was made: {asked:?}");
    Ok(())
}

/// The passphrases and every line of every private key, each plain and in base64.
fn canaries(secrets: &[Value]) -> Vec<String> {
    let mut found = vec!["canary-passphrase".to_owned(), base64(PASSPHRASE), base64("canary-passphrase-wrong")];
    for secret in secrets {
        for key in ["tls.key", "key.pem"] {
            let pem = secret_bytes(secret, key);
            found.extend(secret["data"][key].as_str().map(|text| text.chars().take(400).skip(60).collect()));
            let pem = String::from_utf8_lossy(&pem).into_owned();
            found.extend(pem.lines().filter(|line| !line.starts_with("-----") && line.len() >= 16).map(str::to_owned));
        }
    }
    found.retain(|canary| canary.len() >= 16);
    found
}

#[tokio::test]
async fn health_and_metrics_say_how_it_is() -> anyhow::Result<()> {
    let namespace = Namespace::new("metrics").await?;
    let controller = namespace.controller("metrics").await?;
    controller.ready("leading").await?;
    let standing_by = namespace.controller("metrics-two").await?;
    standing_by.ready("standing by").await?;
    namespace.apply(&homelab(&["pandora"])).await?;
    let objects = namespace.all_ready().await?;
    assert_eq!(controller.get("/healthz").await?, (200, "ok\n".to_owned()));
    assert_eq!(controller.get("/nothing").await?.0, 404);
    assert_eq!(samples(&standing_by.get("/metrics").await?.1)["dockseal_leader"], 0.0);
    // A reconcile is counted when it has ended, a moment after its last write.
    let deadline = Instant::now() + SOON;
    while let Err(differs) = tell(&samples(&controller.get("/metrics").await?.1), &objects) {
        ensure!(Instant::now() < deadline, "{differs}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // No object, no series.
    namespace.delete("dockerhostcert/pandora").await?;
    namespace.gone("dockerhostcert/pandora").await?;
    while controller.get("/metrics").await?.1.contains("name=\"pandora\"") {
        ensure!(Instant::now() < deadline, "an object that is gone has series still");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The samples of a leader that issued these, each for the first time.
fn tell(samples: &HashMap<String, f64>, objects: &[Value]) -> anyhow::Result<()> {
    let is = |series: &str, value: f64| {
        let told = samples.get(series).copied();
        ensure!(told == Some(value), "{series}: {told:?} instead of {value}");
        Ok(())
    };
    is("dockseal_leader", 1.0)?;
    is("dockseal_issuances_total{kind=\"DockerHostCert\",reason=\"FirstIssuance\"}", 1.0)?;
    for object in objects {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        let labels = format!("{{kind=\"{kind}\",namespace=\"metrics\",name=\"{name}\"}}");
        let seconds = |field: &str| {
            let instant: k8s_openapi::jiff::Timestamp = text(&object["status"][field]).parse().expect("an instant");
            instant.as_second() as f64
        };
        is(&format!("dockseal_certificate_not_after_timestamp_seconds{labels}"), seconds("notAfter"))?;
        is(&format!("dockseal_certificate_renew_at_timestamp_seconds{labels}"), seconds("renewAt"))?;
        is(&format!("dockseal_condition{}", labels.replace('}', ",condition=\"Ready\"}")), 1.0)?;
    }
    Ok(())
}

/// Reads OpenMetrics text strictly: every sample of a described family, each once, an end.
fn samples(text: &str) -> HashMap<String, f64> {
    let mut families: Vec<String> = Vec::new();
    let mut samples = HashMap::new();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            assert!(["HELP", "TYPE", "UNIT"].contains(&word) && words.next().is_some(), "{line}");
            if word == "TYPE" {
                assert!(!families.contains(&name.to_owned()), "{name} is described twice");
                families.push(name.to_owned());
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let name = series.split('{').next().unwrap_or_default();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        assert!(families.iter().any(|family| name.starts_with(family.as_str())), "{name} is not described");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} is there twice");
    }
    samples
}
