//! The schemas as the API server holds them: every rule refuses something and lets something pass.

use crate::fixture::Namespace;
use dockseal::api::rules::{self, Rule};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

macro_rules! rules {
    ($($name:ident)*) => { &[$((stringify!($name), rules::$name)),*] };
}

const RULES: &[(&str, Rule)] = rules![
    KEY_SIZE OPTIONAL_DURATION DURATION RENEW_BEFORE SUBJECT_OR_EXISTING EXISTING_ALONE SUBJECT_STAYS PRIVATE_KEY_STAYS
    EXISTING_STAYS PASSPHRASE_STAYS CONSTRAINTS_STAY SECRET_NAME_STAYS RANGES CONSTRAINTS_SAY HOSTNAME HOST_NAMED
    HOSTNAME_FITS ADDRESSES NOT_CA NODE_NAMED DAEMON_MODE DIRECTORY HTTP_ALLOWED UNVERIFIED_ACKNOWLEDGED
    LABEL_KEYS
];

const CA: &str = "DockerCA";
const HOST: &str = "DockerHostCert";
const CLIENT: &str = "DockerClientCert";
const PORTAINER: &str = "PortainerClient";

const A64: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A label whose key has 320 bytes.
const LONG_KEY: &str = concat!(
    "hostSelector: {matchLabels: {\"",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\": x}}"
);

/// Kind, the rule or a piece of the schema's complaint, what is added to a good spec (a null takes a field away).
const REFUSED: &[(&str, &str, &str)] = &[
    (CA, "KEY_SIZE", "privateKey: {algorithm: ECDSA, size: 2048}"),
    (CA, "KEY_SIZE", "privateKey: {algorithm: RSA, size: 1024}"),
    (CA, "KEY_SIZE", "privateKey: {algorithm: RSA, size: 2047}"),
    (CA, "KEY_SIZE", "privateKey: {algorithm: RSA, size: 256}"),
    (CA, "KEY_SIZE", "privateKey: {algorithm: Ed25519, size: 256}"),
    (CA, "KEY_SIZE", "privateKey: {size: 521}"),
    (HOST, "KEY_SIZE", "privateKey: {algorithm: RSA, size: 512}"),
    (CLIENT, "KEY_SIZE", "privateKey: {algorithm: Ed25519, size: 255}"),
    (PORTAINER, "KEY_SIZE", "privateKey: {size: 0}"),
    (CA, "Unsupported value", "privateKey: {algorithm: DSA}"),
    (HOST, "Unsupported value", "privateKey: {rotationPolicy: Sometimes}"),
    (CA, "OPTIONAL_DURATION", "duration: 36526d"),
    (CA, "OPTIONAL_DURATION", "duration: 999999d"),
    (CA, "OPTIONAL_DURATION", "duration: 876601h"),
    (HOST, "DURATION", "duration: 36526d"),
    (CLIENT, "DURATION", "duration: 876601h"),
    (PORTAINER, "DURATION", "duration: 999999h"),
    (CA, "spec.duration", "duration: 0h"),
    (CA, "spec.duration", "duration: 1.5d"),
    (HOST, "spec.duration", "duration: 0h"),
    (HOST, "spec.duration", "duration: 1.5d"),
    (HOST, "spec.duration", "duration: 1h30m"),
    (HOST, "spec.duration", "duration: 60m"),
    (HOST, "spec.duration", "duration: -1d"),
    (HOST, "spec.duration", "duration: ' 1d'"),
    (HOST, "spec.duration", "duration: '1d\n'"),
    (HOST, "spec.duration", "duration: ''"),
    (HOST, "spec.duration", "duration: 1000000h"),
    (CLIENT, "spec.duration", "duration: 365"),
    (PORTAINER, "spec.duration", "duration: 1y"),
    (HOST, "spec.renewBefore", "renewBefore: 0d"),
    (HOST, "RENEW_BEFORE", "{duration: 10d, renewBefore: 10d}"),
    (HOST, "RENEW_BEFORE", "renewBefore: 8760h"),
    (CLIENT, "RENEW_BEFORE", "{duration: 24h, renewBefore: 1d}"),
    (PORTAINER, "RENEW_BEFORE", "renewBefore: 366d"),
    (CA, "SUBJECT_OR_EXISTING", "subject: null"),
    (CA, "SUBJECT_OR_EXISTING", "existing: {secretRef: {name: old}}"),
    (CA, "EXISTING_ALONE", "{subject: null, existing: {secretRef: {name: old}}, duration: 10d}"),
    (CA, "EXISTING_ALONE", "{subject: null, existing: {secretRef: {name: old}}, privateKey: {algorithm: RSA}}"),
    (
        CA,
        "EXISTING_ALONE",
        "{subject: null, existing: {secretRef: {name: old}}, nameConstraints: {permittedDNSDomains: [a]}}",
    ),
    (CA, "RANGES", "nameConstraints: {permittedIPRanges: [192.168.0.0]}"),
    (CA, "RANGES", "nameConstraints: {permittedIPRanges: [10.0.0.0/8, 10.0.0.0/33]}"),
    (CA, "RANGES", "nameConstraints: {permittedIPRanges: [bodkys.house]}"),
    (CA, "CONSTRAINTS_SAY", "nameConstraints: {}"),
    (CA, "CONSTRAINTS_SAY", "nameConstraints: {permittedDNSDomains: [], permittedIPRanges: []}"),
    (CA, "permittedDNSDomains[0]", "nameConstraints: {permittedDNSDomains: [.bodkys.house]}"),
    (CA, "spec.subject.commonName", "subject: {commonName: ''}"),
    (CA, "spec.subject.country", "subject: {commonName: a, country: DEU}"),
    (CA, "spec.subject.country", "subject: {commonName: a, country: D1}"),
    (CA, "spec.subject.emailAddress", "subject: {commonName: a, emailAddress: nobody}"),
    (CA, "spec.subject.emailAddress", "subject: {commonName: a, emailAddress: jürgen@a.example}"),
    (CA, "spec.secretName", "secretName: Upper"),
    (HOST, "spec.secretName", "secretName: a/b"),
    (CLIENT, "spec.secretName", "secretName: ''"),
    (PORTAINER, "spec.secretName", "secretName: a-"),
    (CA, "Unsupported value", "secretDeletionPolicy: Orphan"),
    (HOST, "spec.caRef.name", "caRef: {name: ''}"),
    (HOST, "spec.caRef.name", "caRef: {name: ../victim}"),
    (CA, "spec.passphraseSecretRef.name", "passphraseSecretRef: {name: cred/status, key: passphrase}"),
    (CA, "spec.passphraseSecretRef.key", "passphraseSecretRef: {name: pass, key: a/b}"),
    (CA, "additionalTrust[0].secretRef.name", "additionalTrust: [{secretRef: {name: '?watch=true'}}]"),
    (CA, "existing.secretRef.name", "{subject: null, existing: {secretRef: {name: a%2fb}}}"),
    (CLIENT, "spec.secretName", "secretName: a..b"),
    (HOST, "nodeName", "delivery: {target: Node, nodeName: Pandora}"),
    (PORTAINER, "credentialsSecretRef.name", "server: {url: 'https://a', credentialsSecretRef: {name: '#'}}"),
    (
        PORTAINER,
        "matchLabels.site",
        "hostSelector: {matchLabels: {site: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}",
    ),
    (PORTAINER, "LABEL_KEYS", LONG_KEY),
    (HOST, "HOSTNAME", "hostname: 192.168.1.7"),
    (HOST, "HOST_NAMED", "hostname: null"),
    (HOST, "HOST_NAMED", "{hostname: null, ipAddresses: []}"),
    (HOST, "HOST_NAMED", "{hostname: null, dnsNames: [a.example]}"),
    (HOST, "HOSTNAME_FITS", "hostname: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    (HOST, "spec.hostname", "hostname: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    (HOST, "spec.hostname", "hostname: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    (HOST, "spec.hostname", "hostname: ''"),
    (HOST, "spec.hostname", "hostname: a..b"),
    (HOST, "spec.hostname", "hostname: -a"),
    (HOST, "spec.hostname", "hostname: a b"),
    (HOST, "spec.hostname", "hostname: '*.bodkys.house'"),
    (HOST, "spec.hostname", "hostname: 'tcp://pandora:2376'"),
    (HOST, "spec.hostname", "hostname: 'pandora:2376'"),
    (HOST, "spec.hostname", "hostname: 'fd00::1'"),
    (HOST, "spec.dnsNames[0]", "dnsNames: ['a*.bodkys.house']"),
    (HOST, "spec.dnsNames[1]", "dnsNames: [a, ü.example]"),
    (HOST, "ADDRESSES", "ipAddresses: [192.168.1.256]"),
    (HOST, "ADDRESSES", "ipAddresses: [192.168.1.7, pandora]"),
    (HOST, "ADDRESSES", "ipAddresses: [192.168.1.0/24]"),
    (HOST, "spec.address.port", "address: {port: 0}"),
    (HOST, "spec.address.port", "address: {port: 65536}"),
    (HOST, "spec.address.host", "address: {host: 'tcp://a'}"),
    (HOST, "NOT_CA", ""),
    (HOST, "NODE_NAMED", "delivery: {target: Node}"),
    (HOST, "NODE_NAMED", "delivery: {nodeName: pandora}"),
    (HOST, "NODE_NAMED", "delivery: {target: Enrolled, nodeName: pandora}"),
    (HOST, "DAEMON_MODE", "delivery: {daemon: {}}"),
    (HOST, "DAEMON_MODE", "delivery: {mode: Files, daemon: {restart: Always}}"),
    (HOST, "DIRECTORY", "delivery: {directory: /etc/../root}"),
    (HOST, "DIRECTORY", "delivery: {directory: /etc/./docker}"),
    (HOST, "DIRECTORY", "delivery: {directory: /etc//docker}"),
    (HOST, "DIRECTORY", "delivery: {directory: /etc/docker/}"),
    (HOST, "DIRECTORY", "delivery: {directory: /..}"),
    (HOST, "spec.delivery.directory", "delivery: {directory: etc/docker}"),
    (HOST, "spec.delivery.daemon.listen[0]", "delivery: {mode: Daemon, daemon: {listen: ['2376']}}"),
    (HOST, "spec.delivery.daemon.listen[0]", "delivery: {mode: Daemon, daemon: {listen: ['unix:///a']}}"),
    (HOST, "Unsupported value", "delivery: {mode: Daemon, daemon: {restart: Sometimes}}"),
    (HOST, "Unsupported value", "delivery: {target: Host}"),
    (CLIENT, "spec.commonName", "commonName: ''"),
    (PORTAINER, "spec.commonName", "commonName: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    (PORTAINER, "HTTP_ALLOWED", "server: {url: 'http://a', credentialsSecretRef: {name: a}}"),
    (PORTAINER, "HTTP_ALLOWED", "server: {url: 'http://a', allowHTTP: false, credentialsSecretRef: {name: a}}"),
    (PORTAINER, "spec.server.url", "server: {url: portainer, credentialsSecretRef: {name: a}}"),
    (PORTAINER, "spec.server.url", "server: {url: 'https://admin:secret@a', credentialsSecretRef: {name: a}}"),
    (PORTAINER, "UNVERIFIED_ACKNOWLEDGED", "environment: {tlsVerification: ClientOnly}"),
    (
        PORTAINER,
        "UNVERIFIED_ACKNOWLEDGED",
        "environment: {tlsVerification: ClientOnly, acknowledgeUnverifiedServer: false}",
    ),
    (PORTAINER, "Unsupported value", "environment: {tlsVerification: None}"),
    (PORTAINER, "Unsupported value", "adoption: Always"),
];

/// Kind, the rules that it lets pass, what is added to a good spec.
const PASSES: &[(&str, &str, &str)] = &[
    (
        CA,
        "KEY_SIZE OPTIONAL_DURATION SUBJECT_OR_EXISTING EXISTING_ALONE",
        "{duration: 36525d, privateKey: {algorithm: RSA, size: 3072}}",
    ),
    (CA, "KEY_SIZE OPTIONAL_DURATION", "{duration: 876600h, privateKey: {algorithm: ECDSA, size: 384}}"),
    (CA, "KEY_SIZE", "{duration: 1h, privateKey: {algorithm: Ed25519}}"),
    (
        CA,
        "SUBJECT_OR_EXISTING EXISTING_ALONE",
        "{subject: null, existing: {secretRef: {name: old}}, passphraseSecretRef: {name: a, key: b}}",
    ),
    (CA, "RANGES CONSTRAINTS_SAY", "nameConstraints: {permittedIPRanges: [192.168.0.0/16, 'fd00::/8', 1.2.3.4/32]}"),
    (CA, "CONSTRAINTS_SAY", "nameConstraints: {permittedDNSDomains: [bodkys.house]}"),
    (
        CA,
        "",
        "subject: {commonName: a, organization: , organizationalUnit: , country: , province: , locality: , emailAddress: }",
    ),
    (CA, "", "subject: {commonName: a, organization: '', country: '', emailAddress: ''}"),
    (
        CA,
        "OPTIONAL_DURATION EXISTING_ALONE",
        "{duration: , privateKey: , passphraseSecretRef: , existing: , additionalTrust: , nameConstraints: , secretName: , secretDeletionPolicy: }",
    ),
    (HOST, "KEY_SIZE", "privateKey: {algorithm: RSA}"),
    (
        HOST,
        "KEY_SIZE DURATION RENEW_BEFORE HOSTNAME HOST_NAMED HOSTNAME_FITS NOT_CA",
        "{duration: 36525d, renewBefore: 36524d}",
    ),
    (HOST, "DURATION RENEW_BEFORE", "{duration: 2h, renewBefore: 1h}"),
    (HOST, "HOSTNAME", "hostname: ip-192-168-1-7"),
    (HOST, "HOST_NAMED ADDRESSES", "{hostname: null, ipAddresses: [192.168.1.7, 'fd00::1']}"),
    (HOST, "HOSTNAME_FITS", "hostname: A64"),
    (HOST, "HOSTNAME_FITS", "hostname: A64."),
    (HOST, "HOSTNAME", "hostname: my_nas."),
    (HOST, "", "dnsNames: ['*.bodkys.house', Pandora.]"),
    (HOST, "", "address: {host: 'fd00::1', port: 65535}"),
    (HOST, "NODE_NAMED DIRECTORY", "delivery: {target: Node, nodeName: pandora}"),
    (
        HOST,
        "NODE_NAMED DAEMON_MODE",
        "delivery: {target: Enrolled, mode: Daemon, daemon: {listen: ['192.168.1.7:2376', '[fd00::1]:2376']}}",
    ),
    (HOST, "NODE_NAMED DAEMON_MODE", "delivery: {}"),
    (HOST, "DIRECTORY", "delivery: {directory: /srv/..docker/a.b/...}"),
    (HOST, "DIRECTORY", "delivery: {directory: /}"),
    (
        HOST,
        "HOST_NAMED",
        "{dnsNames: , ipAddresses: , address: , renewBefore: , privateKey: , duration: , secretName: , delivery: , portainer: , includeLoopback: }",
    ),
    (HOST, "", "portainer: {name: pandora, publicURL: , group: , tags: []}"),
    (CLIENT, "KEY_SIZE DURATION RENEW_BEFORE", "{duration: 90d, renewBefore: 30d, privateKey: {size: 384}}"),
    (
        PORTAINER,
        "DURATION RENEW_BEFORE HTTP_ALLOWED",
        "server: {url: 'https://a:9443/portainer', credentialsSecretRef: {name: a}}",
    ),
    (PORTAINER, "HTTP_ALLOWED", "server: {url: 'http://a', allowHTTP: true, credentialsSecretRef: {name: a}}"),
    (
        PORTAINER,
        "UNVERIFIED_ACKNOWLEDGED",
        "environment: {tlsVerification: ClientOnly, acknowledgeUnverifiedServer: true}",
    ),
    (PORTAINER, "UNVERIFIED_ACKNOWLEDGED", "environment: {}"),
    (PORTAINER, "", "{hostSelector: {}, environment: {group: , tags: []}}"),
    (
        PORTAINER,
        "LABEL_KEYS",
        "hostSelector: {matchLabels: {example.com/site: home}, matchExpressions: [{key: a, operator: Exists}]}",
    ),
];

/// Kind, the rule (none where it passes), what is there, what it should become.
const CHANGES: &[(&str, &str, &str, &str)] = &[
    (CA, "SUBJECT_STAYS", "", "subject: {commonName: Another}"),
    (CA, "SUBJECT_STAYS", "", "subject: {commonName: Docker CA, organization: Bodky}"),
    (CA, "SUBJECT_STAYS", "", "{subject: null, existing: {secretRef: {name: old}}}"),
    (CA, "PRIVATE_KEY_STAYS", "", "privateKey: {algorithm: RSA}"),
    (CA, "PRIVATE_KEY_STAYS", "privateKey: {algorithm: RSA}", "privateKey: {algorithm: RSA, size: 2048}"),
    (CA, "PRIVATE_KEY_STAYS", "privateKey: {algorithm: RSA}", "privateKey: null"),
    (
        CA,
        "EXISTING_STAYS",
        "{subject: null, existing: {secretRef: {name: a}}}",
        "{subject: null, existing: {secretRef: {name: b}}}",
    ),
    (CA, "EXISTING_STAYS", "{subject: null, existing: {secretRef: {name: a}}}", ""),
    (CA, "PASSPHRASE_STAYS", "", "passphraseSecretRef: {name: a, key: b}"),
    (CA, "PASSPHRASE_STAYS", "passphraseSecretRef: {name: a, key: b}", "passphraseSecretRef: {name: a, key: c}"),
    (CA, "PASSPHRASE_STAYS", "passphraseSecretRef: {name: a, key: b}", ""),
    (CA, "CONSTRAINTS_STAY", "", "nameConstraints: {permittedDNSDomains: [a]}"),
    (
        CA,
        "CONSTRAINTS_STAY",
        "nameConstraints: {permittedDNSDomains: [a]}",
        "nameConstraints: {permittedDNSDomains: [a, b]}",
    ),
    (CA, "SECRET_NAME_STAYS", "", "secretName: a"),
    (HOST, "SECRET_NAME_STAYS", "secretName: a", "secretName: b"),
    (CLIENT, "SECRET_NAME_STAYS", "secretName: a", ""),
    (PORTAINER, "SECRET_NAME_STAYS", "", "secretName: b"),
    (CA, "", "", "{duration: 10d, additionalTrust: [{secretRef: {name: a}}], secretDeletionPolicy: Delete}"),
    (CA, "", "privateKey: {algorithm: ECDSA}", "privateKey: {algorithm: ECDSA}"),
    (
        CA,
        "",
        "",
        "{duration: null, privateKey: null, passphraseSecretRef: null, nameConstraints: null, secretName: null}",
    ),
    (
        HOST,
        "",
        "",
        "{duration: 10d, hostname: another.example, privateKey: {algorithm: RSA}, delivery: {}, caRef: {name: b}}",
    ),
    (CLIENT, "", "", "{commonName: another, secretDeletionPolicy: Delete}"),
    (PORTAINER, "", "", "{commonName: another, hostSelector: {}}"),
];

fn object(kind: &str, name: &str, changes: &str) -> Value {
    let base = match kind {
        CA => "subject: {commonName: Docker CA}",
        HOST => "{caRef: {name: homelab}, hostname: pandora.bodkys.house}",
        _ => "{caRef: {name: homelab}, commonName: ci}",
    };
    let parse = |text: &str| -> Value {
        let map: Option<Value> = serde_saphyr::from_str(&text.replace("A64", A64)).expect("the tables hold YAML");
        map.unwrap_or_else(|| serde_json::json!({}))
    };
    let mut spec = parse(base);
    for (field, value) in parse(changes).as_object().expect("the tables hold maps") {
        spec[field] = value.clone();
    }
    serde_json::json!({"apiVersion": "dockseal.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn documents(objects: impl IntoIterator<Item = Value>) -> String {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects.into_iter().collect::<Vec<_>>()})
        .to_string()
}

fn says(why: &str) -> &str {
    RULES.iter().find(|(name, _)| *name == why).map_or(why, |(_, (_, message))| message)
}

/// What kubectl says of each object that it could not apply.
async fn complaints(namespace: &Namespace, objects: impl IntoIterator<Item = Value>) -> BTreeMap<String, String> {
    let dry_run = ["-n", &namespace.name, "apply", "--dry-run=server", "-f", "-"];
    let outcome = namespace.cluster.kubectl_stdin(&dry_run, &documents(objects)).await;
    let text = format!("{:#}", outcome.expect_err("something is refused"));
    let parts: Vec<&str> = text.split("\" is invalid: ").collect();
    // A name ends one part, what is said of it begins the next.
    let name = |part: &str| part.rsplit('"').next().unwrap_or_default().to_owned();
    let said = |part: &str| part.split("Error from server").next().unwrap_or_default().to_owned();
    parts.windows(2).map(|pair| (name(pair[0]), said(pair[1]))).collect()
}

#[tokio::test]
async fn every_rule_refuses_with_its_message_and_lets_pass() -> anyhow::Result<()> {
    let namespace = Namespace::new("rules").await?;
    let name = |number: usize, why: &str| if why == "NOT_CA" { "ca".to_owned() } else { format!("case-{number}") };
    let refused = REFUSED.iter().enumerate().map(|(n, (kind, why, changes))| object(kind, &name(n, why), changes));
    let complaints = complaints(&namespace, refused).await;
    let wrong: Vec<_> = REFUSED
        .iter()
        .enumerate()
        .filter(|(n, (_, why, _))| !complaints.get(&name(*n, why)).is_some_and(|text| text.contains(says(why))))
        .map(|(n, (kind, why, changes))| format!("{kind} {changes}: {why}: {:?}", complaints.get(&name(n, why))))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let passing = PASSES.iter().enumerate().map(|(n, (kind, _, changes))| object(kind, &format!("pass-{n}"), changes));
    let dry_run = ["-n", &namespace.name, "apply", "--dry-run=server", "-f", "-"];
    namespace.cluster.kubectl_stdin(&dry_run, &documents(passing)).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_immutable_stays_and_the_rest_may_change() -> anyhow::Result<()> {
    let namespace = Namespace::new("immutable").await?;
    let each = || CHANGES.iter().enumerate().map(|(n, change)| (format!("case-{n}"), change));
    let before = each().map(|(name, (kind, _, before, _))| object(kind, &name, before));
    namespace.apply(&documents(before)).await?;
    let after = each().map(|(name, (kind, _, _, after))| object(kind, &name, after));
    let complaints = complaints(&namespace, after).await;
    for (name, (kind, why, _, after)) in each() {
        let said = complaints.get(&name);
        match *why {
            "" => assert_eq!(said, None, "{kind} {after}"),
            why => assert!(said.is_some_and(|text| text.contains(says(why))), "{kind} {after}: {why}: {said:?}"),
        }
    }
    Ok(())
}

#[test]
fn every_rule_is_in_the_schemas_and_in_the_tables() -> anyhow::Result<()> {
    let source = include_str!("../../src/api/rules.rs");
    let consts = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once(": Rule"));
    let written: BTreeSet<&str> = consts.map(|(name, _)| name).collect();
    assert_eq!(written, RULES.iter().map(|(name, _)| *name).collect());
    let mut crds = String::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crds"))? {
        let crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(file?.path())?)?;
        crds += &crd.to_string();
    }
    let refused: BTreeSet<&str> =
        REFUSED.iter().map(|(_, why, _)| *why).chain(CHANGES.iter().map(|(_, why, ..)| *why)).collect();
    let mut passing: BTreeSet<&str> = PASSES.iter().flat_map(|(_, whys, _)| whys.split(' ')).collect();
    // Objects that change without a complaint pass all of these.
    passing
        .extend(RULES.iter().map(|(name, _)| *name).filter(|name| name.ends_with("STAYS") || name.ends_with("STAY")));
    for (name, (rule, message)) in RULES {
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        assert!(crds.contains(&quoted(rule)) && crds.contains(&quoted(message)), "{name} is in no CRD");
        assert!(refused.contains(name), "{name} refuses nothing in the tables");
        assert!(passing.contains(name), "{name} lets nothing pass in the tables");
    }
    Ok(())
}

#[tokio::test]
async fn unknown_and_missing_fields_are_refused() -> anyhow::Result<()> {
    let namespace = Namespace::new("unknown-fields").await?;
    for (kind, changes, path) in [
        (CA, "subjekt: {}", "spec.subjekt"),
        (HOST, "ipAdresses: [192.168.1.7]", "spec.ipAdresses"),
        (HOST, "delivery: {daemon: {restarts: Always}}", "spec.delivery.daemon.restarts"),
        (PORTAINER, "server: {url: 'https://a', credentialsSecretRef: {name: a, namespace: b}}", "namespace"),
    ] {
        let refused = namespace.apply(&object(kind, "typo", changes).to_string()).await;
        let text = format!("{:#}", refused.expect_err("an unknown field is refused"));
        assert!(text.contains("strict decoding error: unknown field") && text.contains(path), "{text}");
    }
    for (kind, changes, field) in [
        (CA, "{subject: {organization: Bodky}}", "commonName"),
        (HOST, "caRef: null", "caRef"),
        (CLIENT, "commonName: null", "commonName"),
        (PORTAINER, "server: {url: 'https://a'}", "credentialsSecretRef"),
    ] {
        let refused = namespace.apply(&object(kind, "lacking", changes).to_string()).await;
        let text = format!("{:#}", refused.expect_err("a required field is missing"));
        let says = [format!("missing required field \"{field}\""), format!("{field}: Required value")];
        assert!(says.iter().any(|says| text.contains(says)), "{text}");
    }
    Ok(())
}

/// What design and README promise that users may write, in one piece.
const EVERYTHING: &str = r#"
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {name: homelab}
spec:
  subject: {commonName: Docker CA, organization: , organizationalUnit: , country: , province: , locality: , emailAddress: }
  duration: 1825d
  privateKey: {algorithm: ECDSA, size: 256}
  passphraseSecretRef: {name: ca-pass, key: passphrase}
  additionalTrust: [{secretRef: {name: older-ca}}]
  nameConstraints: {permittedDNSDomains: [bodkys.house], permittedIPRanges: [192.168.0.0/16, 127.0.0.0/8, 1.2.3.4/32]}
  secretName: homelab-docker-ca
  secretDeletionPolicy: Retain
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {name: adopted}
spec:
  existing: {secretRef: {name: old-ca}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerHostCert
metadata: {name: pandora, labels: {site: home}}
spec:
  caRef: {name: homelab}
  hostname: pandora.bodkys.house
  dnsNames: []
  ipAddresses: [192.168.1.7]
  address: {host: 1.2.3.4, port: 2376}
  duration: 365d
  renewBefore: 122d
  privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}
  secretName: pandora-docker-host
  delivery:
    target: Node
    nodeName: pandora
    mode: Daemon
    directory: /etc/docker/certs
    takeOver: false
    deletionPolicy: Retain
    daemon: {listen: ["192.168.1.7:2376"], restart: WhenLiveRestore, enableLiveRestore: false}
  portainer: {name: pandora, publicURL: , group: , tags: []}
---
apiVersion: dockseal.dev/v1alpha1
kind: PortainerClient
metadata: {name: portainer}
spec:
  caRef: {name: homelab}
  commonName: portainer.bodkys.house
  duration: 365d
  secretName: portainer-portainer-client
  server:
    url: https://portainer.bodkys.house
    credentialsSecretRef: {name: portainer-admin}
    tls: {caSecretRef: {name: portainer-ca, key: ca.crt}, serverName: localhost}
    initializeAdmin: false
  hostSelector: {matchLabels: {site: home}}
  environment: {group: , tags: [], tlsVerification: ServerAndClient, deletionPolicy: Retain}
  registrar: Controller
  adoption: Never
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerClientCert
metadata: {name: ci}
spec: {caRef: {name: homelab}, commonName: ci, duration: 365d, secretName: ci-docker-client}
"#;

#[tokio::test]
async fn kubectl_shows_what_the_design_promises() -> anyhow::Result<()> {
    let namespace = Namespace::new("kubectl").await?;
    let dry_run = ["-n", &namespace.name, "apply", "--dry-run=server", "-f", "-"];
    namespace.cluster.kubectl_stdin(&dry_run, EVERYTHING).await?;
    namespace.apply(EVERYTHING).await?;
    let explained = namespace.kubectl(&["explain", "dockerhostcert.spec.delivery"]).await?;
    for text in ["How the certificate gets to the host", "directory", "Absolute path of the directory on the host"] {
        assert!(explained.contains(text), "{explained}");
    }
    let all = namespace.kubectl(&["get", "dockseal", "-o", "name"]).await?;
    for (short, name, columns) in [
        ("dca", "dockerca.dockseal.dev/homelab", "NAME READY EXPIRES AGE"),
        ("dhc", "dockerhostcert.dockseal.dev/pandora", "NAME READY HOSTNAME SERVING REGISTERED EXPIRES AGE"),
        ("dcc", "dockerclientcert.dockseal.dev/ci", "NAME READY COMMONNAME EXPIRES AGE"),
        ("ptc", "portainerclient.dockseal.dev/portainer", "NAME READY SERVER REGISTERED EXPIRES AGE"),
    ] {
        assert!(all.contains(name), "kubectl get dockseal has no {name}: {all}");
        let table = namespace.kubectl(&["get", short]).await?;
        let header: Vec<_> = table.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(header.join(" "), columns);
    }
    Ok(())
}
