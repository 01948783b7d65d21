//! The main job: examples become Ready, restarts change nothing, what is lost or edited is put right.

use crate::fixture::{Namespace, base64, fails, find, homelab, host, is, secret_bytes, serial, versions};
use crate::support::controller::Controller;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::path::Path;

const PANDORA: &str = "dockerhostcert/pandora";
const SECRET: &str = "secret/pandora-docker-host";
const CA: &str = "dockerca/homelab";
const CA_SECRET: &str = "secret/homelab-docker-ca";

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn every_example_becomes_ready_and_neither_restart_nor_upgrade_changes_anything() -> anyhow::Result<()> {
    let namespace = Namespace::new("examples").await?;
    let first = namespace.controller("first").await?;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for example in std::fs::read_dir(examples)? {
        let example = example?.path();
        if example.ends_with("portainer.yaml") {
            continue; // it needs a Portainer: portainer/journey.rs
        }
        namespace.apply(&std::fs::read_to_string(example)?).await?;
    }
    namespace.all_ready().await?;
    first.stop()?;
    let before = versions(&namespace.written().await?);
    let second = namespace.controller("second").await?;
    second.ready("leading").await?;
    second.stop()?;
    assert_eq!(versions(&namespace.written().await?), before);
    let upgrade = another_version(namespace.cluster.dir())?;
    let config = namespace.cluster.kubeconfig();
    let third = Controller::start_binary(&upgrade, namespace.cluster, &config, "third", &namespace.scope()).await?;
    third.ready("leading").await?;
    third.stop()?;
    assert_eq!(versions(&namespace.written().await?), before);
    Ok(())
}

/// A copy of the binary in which its version, wherever it stands, is another one of the same length.
fn another_version(directory: &Path) -> anyhow::Result<std::path::PathBuf> {
    let (version, other) = (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_VERSION").replace(char::is_numeric, "9"));
    let mut binary = std::fs::read(env!("CARGO_BIN_EXE_dockseal"))?;
    let places: Vec<_> = places_of(&binary, version.as_bytes());
    for at in places {
        binary[at..at + version.len()].copy_from_slice(other.as_bytes());
    }
    let (bytes, path) = (directory.join("bytes-of-another-version"), directory.join("dockseal-of-another-version"));
    std::fs::write(&bytes, binary)?;
    crate::support::scratch::copied(&bytes, &path)?;
    let output = std::process::Command::new(&path).arg("--version").output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(said.contains(&other), "the copy still says {said}");
    Ok(path)
}

fn places_of(haystack: &[u8], needle: &[u8]) -> Vec<usize> {
    haystack.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle).map(|(at, _)| at).collect()
}

#[tokio::test]
async fn what_is_lost_or_edited_is_put_right() -> anyhow::Result<()> {
    let namespace = Namespace::new("put-right").await?;
    let _controller = namespace.controller("put-right").await?;
    namespace.apply(&homelab(&["pandora"])).await?;
    namespace.all_ready().await?;
    let original = namespace.get(SECRET).await?;
    let first = serial(&namespace.get(PANDORA).await?);
    // What does not touch the pair is written again beside it.
    for patch in [
        json!({"metadata": {"labels": {"dockseal.dev/managed": null}}}),
        json!({"data": {"cert.pem": base64("edited")}}),
        json!({"data": {"key.pem": null}}),
        json!({"data": {"ca.crt": base64("edited")}}),
        json!({"data": {"ca.pem": null}}),
    ] {
        namespace.merge(SECRET, patch.clone()).await?;
        namespace
            .until(SECRET, |now| {
                now["data"] == original["data"] && now["metadata"]["labels"] == original["metadata"]["labels"]
            })
            .await
            .with_context(|| patch.to_string())?;
    }
    assert_eq!(serial(&namespace.get(PANDORA).await?), first);
    // A pair that is broken or gone is made again.
    let crt = String::from_utf8(secret_bytes(&original, "tls.crt"))?;
    let mut last = first.clone();
    for (patch, reason) in [
        (json!({"data": {"tls.crt": base64("edited")}}), "SecretDamaged"),
        (json!({"data": {"tls.crt": base64(&crt[..crt.len() / 2])}}), "SecretDamaged"),
        (json!({"data": {"tls.crt": ""}}), "SecretDamaged"),
        (json!({"data": {"tls.key": secret_key_of_another()}}), "SecretDamaged"),
        (Value::Null, "SecretMissing"),
    ] {
        match patch.is_null() {
            true => namespace.delete(SECRET).await?,
            false => namespace.merge(SECRET, patch.clone()).await?,
        };
        let again = namespace
            .until(PANDORA, |host| serial(host) != last && is(host, "Ready", "True"))
            .await
            .with_context(|| patch.to_string())?;
        last = serial(&again);
        assert_sound(&namespace.get(SECRET).await?)?;
        namespace.event("pandora", reason).await?;
    }
    // The public bundle.
    let bundle = namespace.get("configmap/homelab-ca-bundle").await?;
    namespace.delete("configmap/homelab-ca-bundle").await?;
    namespace.until("configmap/homelab-ca-bundle", |now| now["data"] == bundle["data"]).await?;
    namespace.merge("configmap/homelab-ca-bundle", json!({"data": {"ca.crt": "edited"}})).await?;
    namespace.until("configmap/homelab-ca-bundle", |now| now["data"] == bundle["data"]).await?;
    // The authority's own.
    let authority = namespace.get(CA_SECRET).await?;
    namespace.merge(CA_SECRET, json!({"data": {"ca.crt": base64("edited")}})).await?;
    namespace.until(CA_SECRET, |now| now["data"] == authority["data"]).await?;
    let ready = namespace.all_ready().await?;
    assert!(ready.iter().any(|object| serial(object) == last), "nothing else was issued");
    Ok(())
}

fn secret_key_of_another() -> String {
    let key =
        std::process::Command::new("openssl").args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"]).output();
    base64(key.expect("openssl runs").stdout)
}

/// The pair matches and the copies are its own.
fn assert_sound(secret: &Value) -> anyhow::Result<()> {
    ensure!(secret["type"] == "kubernetes.io/tls", "{:#}", secret["type"]);
    for (one, other) in [("tls.crt", "cert.pem"), ("tls.key", "key.pem"), ("ca.crt", "ca.pem")] {
        ensure!(secret["data"][one] == secret["data"][other], "{one} and {other} differ");
    }
    let certificate = dockseal::pki::Certificate::from_pem(&secret_bytes(secret, "tls.crt"))?;
    let key = dockseal::pki::PrivateKey::from_pem(&secret_bytes(secret, "tls.key"), None)?;
    ensure!(certificate.public_key == key.public_der(), "key and certificate do not match");
    Ok(())
}

#[tokio::test]
async fn a_secret_of_somebody_else_stays_untouched() -> anyhow::Result<()> {
    let namespace = Namespace::new("conflicts").await?;
    let _controller = namespace.controller("conflicts").await?;
    let labelled = "metadata: {name: two-docker-host, labels: {dockseal.dev/managed: 'true'}}";
    namespace
        .apply(&format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: one-docker-host}}, stringData: {{mine: very}}}}\n---\n\
             {{apiVersion: v1, kind: Secret, {labelled}, stringData: {{mine: very}}}}\n"
        ))
        .await?;
    let foreign = ["secret/one-docker-host", "secret/two-docker-host"];
    let before = (namespace.get(foreign[0]).await?, namespace.get(foreign[1]).await?);
    namespace.apply(&homelab(&["one", "two"])).await?;
    for name in ["dockerhostcert/one", "dockerhostcert/two"] {
        namespace.until(name, |host| fails(host, "Issued", "SecretConflict")).await?;
    }
    // Of two objects that want one Secret the older has it.
    namespace.apply(&host("older", "secretName: shared")).await?;
    namespace.until("dockerhostcert/older", |host| is(host, "Ready", "True")).await?;
    namespace.apply(&host("younger", "secretName: shared")).await?;
    let younger = namespace.until("dockerhostcert/younger", |host| fails(host, "Ready", "SecretConflict")).await?;
    assert!(string(&find(&younger, "Issued").context("Issued")?["message"]).contains("older"));
    assert!(is(&namespace.get("dockerhostcert/older").await?, "Ready", "True"));
    assert_eq!((namespace.get(foreign[0]).await?, namespace.get(foreign[1]).await?), before);
    // Once they are out of the way: no watch shows that, so it takes up to a minute.
    for secret in foreign {
        namespace.delete(secret).await?;
    }
    namespace.until("dockerhostcert/one", |host| is(host, "Ready", "True")).await?;
    namespace.until("dockerhostcert/two", |host| is(host, "Ready", "True")).await?;
    Ok(())
}

#[tokio::test]
async fn a_passphrase_may_come_later_and_a_wrong_one_is_said() -> anyhow::Result<()> {
    let namespace = Namespace::new("passphrase").await?;
    let _controller = namespace.controller("passphrase").await?;
    let authority = "{apiVersion: dockseal.dev/v1alpha1, kind: DockerCA, metadata: {name: homelab}, spec: {subject: {commonName: Docker CA}, passphraseSecretRef: {name: pass, key: passphrase}}}\n";
    namespace.apply(&(authority.to_owned() + &host("pandora", ""))).await?;
    namespace.until(CA, |ca| fails(ca, "Issued", "PassphraseNotFound")).await?;
    namespace.until(PANDORA, |host| fails(host, "Issued", "AuthorityNotReady")).await?;
    namespace.apply("{apiVersion: v1, kind: Secret, metadata: {name: pass}, stringData: {passphrase: right}}").await?;
    namespace.all_ready().await?;
    let key = secret_bytes(&namespace.get(CA_SECRET).await?, "tls.key");
    assert!(String::from_utf8_lossy(&key).starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let issued = serial(&namespace.get(PANDORA).await?);
    namespace.merge("secret/pass", json!({"data": {"passphrase": base64("wrong")}})).await?;
    namespace.until(CA, |ca| fails(ca, "Issued", "PassphraseWrong")).await?;
    let host_now = namespace.get(PANDORA).await?;
    assert!(is(&host_now, "Issued", "True") && serial(&host_now) == issued, "{:#}", host_now["status"]);
    namespace.delete("secret/pass").await?;
    namespace.until(CA, |ca| fails(ca, "Issued", "PassphraseNotFound")).await?;
    namespace
        .apply("{apiVersion: v1, kind: Secret, metadata: {name: pass}, stringData: {passphrase: \"right\\n\"}}")
        .await?;
    let ready = namespace.all_ready().await?;
    assert!(ready.iter().any(|object| serial(object) == issued));
    assert_eq!(secret_bytes(&namespace.get(CA_SECRET).await?, "tls.key"), key);
    Ok(())
}

/// As a backup has it: without what the API server adds.
pub fn cleaned(mut object: Value) -> Value {
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"] {
        object["metadata"].as_object_mut().map(|metadata| metadata.remove(field));
    }
    object.as_object_mut().map(|object| object.remove("status"));
    object
}

#[tokio::test]
async fn a_lost_authority_is_never_silently_replaced() -> anyhow::Result<()> {
    let namespace = Namespace::new("lost").await?;
    let _controller = namespace.controller("lost").await?;
    namespace.apply(&homelab(&["pandora", "janus"])).await?;
    namespace.all_ready().await?;
    let (authority, leaf) = (namespace.get(CA_SECRET).await?, namespace.get(SECRET).await?);
    let fingerprint = string(&namespace.get(CA).await?["status"]["fingerprint"]);
    namespace.delete(CA_SECRET).await?;
    let lost = namespace.until(CA, |ca| fails(ca, "Issued", "AuthorityLost")).await?;
    assert!(string(&find(&lost, "Issued").context("Issued")?["message"]).contains(&fingerprint));
    assert_eq!(string(&lost["metadata"]["annotations"]["dockseal.dev/authority"]), fingerprint);
    assert!(is(&namespace.get(PANDORA).await?, "Issued", "True"));
    assert_eq!(namespace.get(SECRET).await?["metadata"]["resourceVersion"], leaf["metadata"]["resourceVersion"]);
    // Another one, asked for with the wrong fingerprint, is not made.
    namespace.annotate(CA, "dockseal.dev/replace-authority", "0000").await?;
    namespace.create(&cleaned(authority)).await?;
    namespace.all_ready().await?;
    assert_eq!(string(&namespace.get(CA).await?["status"]["fingerprint"]), fingerprint);
    assert_eq!(namespace.get(SECRET).await?["metadata"]["resourceVersion"], leaf["metadata"]["resourceVersion"]);
    // Gone for good.
    namespace.delete(CA_SECRET).await?;
    namespace.until(CA, |ca| fails(ca, "Issued", "AuthorityLost")).await?;
    namespace.annotate(CA, "dockseal.dev/replace-authority", &fingerprint).await?;
    let other = |object: &Value| is(object, "Ready", "True") && object["status"]["issuerFingerprint"] != fingerprint;
    let replaced = namespace.until(CA, other).await?;
    for host in [PANDORA, "dockerhostcert/janus"] {
        let host = namespace.until(host, other).await?;
        assert_eq!(host["status"]["issuerFingerprint"], replaced["status"]["fingerprint"]);
    }
    namespace.event("pandora", "IssuerChanged").await?;
    namespace.event("homelab", "AuthorityReplaced").await.map(drop)
}

#[tokio::test]
async fn a_request_and_a_changed_spec_reissue_once_and_a_changed_duration_never() -> anyhow::Result<()> {
    let namespace = Namespace::new("requests").await?;
    let _controller = namespace.controller("requests").await?;
    namespace.apply(&homelab(&["pandora"])).await?;
    namespace.all_ready().await?;
    let mut last = serial(&namespace.get(PANDORA).await?);
    let later = k8s_openapi::jiff::Timestamp::now() + k8s_openapi::jiff::SignedDuration::from_secs(2);
    namespace.annotate(PANDORA, "dockseal.dev/renew-requested-at", &later.to_string()).await?;
    for (spec, reason) in [
        (None, "Requested"),
        (Some(json!({"spec": {"ipAddresses": ["192.168.1.7"]}})), "SpecChanged"),
        (Some(json!({"spec": {"privateKey": {"algorithm": "Ed25519"}}})), "SpecChanged"),
        (Some(json!({"spec": {"includeLoopback": false}})), "SpecChanged"),
    ] {
        if let Some(spec) = spec {
            namespace.merge(PANDORA, spec).await?;
        }
        let now = namespace.until(PANDORA, |host| serial(host) != last && is(host, "Ready", "True")).await?;
        last = serial(&now);
        namespace.event("pandora", reason).await?;
    }
    // The order of names, and dates, are no reason; the walks that follow show that once was once.
    for spec in [json!({"spec": {"duration": "30d"}}), json!({"spec": {"duration": "90d", "renewBefore": "1d"}})] {
        let generation = namespace.merge(PANDORA, spec).await?["metadata"]["generation"].clone();
        let seen = |host: &Value| find(host, "Ready").is_some_and(|ready| ready["observedGeneration"] == generation);
        let now = namespace.until(PANDORA, seen).await?;
        assert_eq!(serial(&now), last);
        assert!(is(&now, "Ready", "True"));
    }
    Ok(())
}

#[tokio::test]
async fn references_are_followed_by_watches() -> anyhow::Result<()> {
    let namespace = Namespace::new("references").await?;
    let _controller = namespace.controller("references").await?;
    namespace.apply(&host("pandora", "")).await?;
    namespace.until(PANDORA, |host| fails(host, "Accepted", "AuthorityNotFound")).await?;
    namespace.apply(&homelab(&[])).await?;
    namespace.all_ready().await?;
    let before = namespace.get(SECRET).await?;
    let issued = serial(&namespace.get(PANDORA).await?);
    namespace.merge(CA, json!({"spec": {"additionalTrust": [{"secretRef": {"name": "older"}}]}})).await?;
    namespace.until(CA, |ca| fails(ca, "Accepted", "TrustNotFound")).await?;
    let mut bundle = secret_bytes(&before, "ca.crt");
    for name in ["older", "oldest"] {
        let pem = openssl_authority(name)?;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "older"}, "data": {"ca.pem": base64(&pem)}});
        match namespace.get("secret/older").await {
            Ok(_) => namespace.merge("secret/older", json!({"data": secret["data"]})).await?,
            Err(_) => namespace.create(&secret).await?,
        };
        let now = namespace.until(SECRET, |now| secret_bytes(now, "ca.crt") != bundle).await?;
        bundle = secret_bytes(&now, "ca.crt");
        assert_eq!(String::from_utf8_lossy(&bundle).matches("BEGIN CERTIFICATE").count(), 2, "its own and that one");
        assert_eq!(now["data"]["tls.crt"], before["data"]["tls.crt"]);
        let same = |public: &Value| string(&public["data"]["ca.crt"]).as_bytes() == bundle;
        namespace.until("configmap/homelab-ca-bundle", same).await?;
    }
    let ready = namespace.all_ready().await?;
    assert!(ready.iter().any(|object| serial(object) == issued));
    Ok(())
}

fn openssl_authority(name: &str) -> anyhow::Result<Vec<u8>> {
    let subject = format!("/CN={name}");
    let words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"];
    let output = std::process::Command::new("openssl")
        .args(words)
        .args(["/dev/null", "-days", "30", "-subj", &subject])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

#[tokio::test]
async fn secrets_go_only_where_the_policy_says_so() -> anyhow::Result<()> {
    let namespace = Namespace::new("deletion").await?;
    let _controller = namespace.controller("deletion").await?;
    namespace.apply(&(homelab(&["kept"]) + &host("goes", "secretDeletionPolicy: Delete"))).await?;
    namespace.merge(CA, json!({"spec": {"secretDeletionPolicy": "Delete"}})).await?;
    namespace.all_ready().await?;
    namespace.until(CA, |ca| ca["metadata"]["finalizers"] == json!(["dockseal.dev/secret"])).await?;
    namespace.delete("dockerhostcert/goes").await?;
    namespace.gone("dockerhostcert/goes").await?;
    namespace.gone("secret/goes-docker-host").await?;
    namespace.delete(CA).await?;
    namespace.until(CA, |ca| fails(ca, "Ready", "InUse")).await?;
    assert!(namespace.get(CA_SECRET).await.is_ok());
    let kept = namespace.get("secret/kept-docker-host").await?;
    namespace.delete("dockerhostcert/kept").await?;
    namespace.gone(CA).await?;
    namespace.gone(CA_SECRET).await?;
    namespace.gone("configmap/homelab-ca-bundle").await?;
    assert_eq!(namespace.get("secret/kept-docker-host").await?, kept);
    Ok(())
}

#[tokio::test]
async fn a_portainer_without_its_credential_is_said_and_the_certificate_issued() -> anyhow::Result<()> {
    let namespace = Namespace::new("no-credential").await?;
    let _controller = namespace.controller("no-credential").await?;
    let client = "---\n{apiVersion: dockseal.dev/v1alpha1, kind: PortainerClient, metadata: {name: portainer}, spec: {caRef: {name: homelab}, commonName: portainer.bodkys.house, hostSelector: {matchLabels: {site: home}}, server: {url: 'https://portainer.bodkys.house', credentialsSecretRef: {name: admin}}}}\n";
    namespace.apply(&homelab(&["selected", "other"])).await?;
    namespace.merge("dockerhostcert/other", json!({"metadata": {"labels": {"site": "office"}}})).await?;
    namespace.apply(client).await?;
    for what in ["portainerclient/portainer", "dockerhostcert/selected"] {
        let object = namespace.until(what, |object| fails(object, "Registered", "CredentialsNotFound")).await?;
        assert!(
            is(&object, "Issued", "True")
                && fails(&object, "Ready", "CredentialsNotFound")
                && !serial(&object).is_empty()
        );
    }
    let other = namespace.until("dockerhostcert/other", |host| is(host, "Ready", "True")).await?;
    assert!(find(&other, "Registered").is_none());
    // The condition is removed with what asked for it.
    namespace.delete("portainerclient/portainer").await?;
    namespace
        .until("dockerhostcert/selected", |host| is(host, "Ready", "True") && find(host, "Registered").is_none())
        .await?;
    namespace.all_ready().await.map(|_| ())
}

#[tokio::test]
async fn slow_keys_hold_up_nobody() -> anyhow::Result<()> {
    let namespace = Namespace::new("slow-keys").await?;
    let _controller = namespace.controller("slow-keys").await?;
    namespace.apply(&homelab(&[])).await?;
    namespace.all_ready().await?;
    let names: Vec<String> = (0..20).map(|number| format!("rsa-{number}")).collect();
    let slow: String = names.iter().map(|name| host(name, "privateKey: {algorithm: RSA, size: 4096}")).collect();
    namespace.apply(&(slow + &host("quick", ""))).await?;
    namespace.until("dockerhostcert/quick", |host| is(host, "Ready", "True")).await?;
    let ready = namespace.list(&["dockerhostcert"]).await?.iter().filter(|host| is(host, "Ready", "True")).count();
    assert!(ready < 15, "{ready} of 21 are Ready: the quick one waited for them");
    Ok(())
}

#[tokio::test]
async fn one_leads_and_another_takes_over() -> anyhow::Result<()> {
    let namespace = Namespace::new("leadership").await?;
    let first = namespace.controller("first").await?;
    first.ready("leading").await?;
    let second = namespace.controller("second").await?;
    second.ready("standing by").await?;
    namespace.apply(&homelab(&["one"])).await?;
    namespace.all_ready().await?;
    let before = versions(&namespace.written().await?);
    first.kill();
    second.ready("leading").await?;
    assert_eq!(versions(&namespace.written().await?), before);
    namespace.apply(&host("two", "")).await?;
    namespace.all_ready().await?;
    // A clean end gives the lease up, so the next need not wait for its end.
    second.stop()?;
    let lease = namespace.get("lease/dockseal-controller").await?;
    assert!(lease["spec"]["holderIdentity"].as_str().is_none_or(str::is_empty), "{lease:#}");
    let third = namespace.controller("third").await?;
    third.ready("leading").await?;
    namespace.apply(&host("three", "")).await?;
    namespace.all_ready().await.map(|_| ())
}

#[tokio::test]
async fn a_finalizer_lets_go_when_its_user_says_so() -> anyhow::Result<()> {
    let namespace = Namespace::new("forced").await?;
    let _controller = namespace.controller("forced").await?;
    namespace.apply(&homelab(&["pandora"])).await?;
    namespace.merge(CA, json!({"spec": {"secretDeletionPolicy": "Delete"}})).await?;
    namespace.until(CA, |ca| ca["metadata"]["finalizers"] == json!(["dockseal.dev/secret"])).await?;
    namespace.delete(CA).await?;
    namespace.until(CA, |ca| fails(ca, "Ready", "InUse")).await?;
    namespace.annotate(CA, "dockseal.dev/force-remove", "yes").await?;
    namespace.gone(CA).await?;
    namespace.get(CA_SECRET).await.context("its Secret stays, since a host still needs it")?;
    Ok(())
}

#[tokio::test]
async fn a_config_map_of_somebody_else_stays_and_the_authority_signs_on() -> anyhow::Result<()> {
    let namespace = Namespace::new("config-map").await?;
    let _controller = namespace.controller("config-map").await?;
    namespace.kubectl(&["create", "configmap", "homelab-ca-bundle", "--from-literal=theirs=yes"]).await?;
    namespace.apply(&homelab(&["pandora"])).await?;
    namespace.until(CA, |ca| fails(ca, "Accepted", "ConfigMapConflict")).await?;
    namespace.until(PANDORA, |host| is(host, "Ready", "True")).await?;
    let theirs = namespace.get("configmap/homelab-ca-bundle").await?;
    ensure!(theirs["data"] == json!({"theirs": "yes"}), "it was written: {theirs:#}");
    Ok(())
}

#[tokio::test]
async fn an_authority_that_waits_to_be_deleted_still_signs_after_a_restart() -> anyhow::Result<()> {
    let namespace = Namespace::new("waits").await?;
    let first = namespace.controller("waits-first").await?;
    namespace.apply(&homelab(&["pandora"])).await?;
    namespace.merge(CA, json!({"spec": {"secretDeletionPolicy": "Delete"}})).await?;
    namespace.all_ready().await?;
    namespace.until(CA, |ca| ca["metadata"]["finalizers"] == json!(["dockseal.dev/secret"])).await?;
    namespace.delete(CA).await?;
    namespace.until(CA, |ca| fails(ca, "Ready", "InUse")).await?;
    namespace.delete(SECRET).await?;
    namespace.until(SECRET, |_| true).await?;
    first.stop()?;
    let _second = namespace.controller("waits-second").await?;
    namespace.delete(SECRET).await?;
    namespace.until(SECRET, |_| true).await.map(|_| ())
}
