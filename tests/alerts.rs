//! What is measured, judged by Prometheus' own promtool: the exposition, the alert rules as the chart renders them, and
//! the queries of the dashboard. The documents name exactly the metrics that there are.
#![allow(clippy::disallowed_methods, reason = "helm and promtool are programs, and documents are files")]

#[path = "support/helm.rs"]
#[allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]
mod helm;
#[path = "support/scratch.rs"]
#[allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]
mod scratch;

use anyhow::{Context, ensure};
use dockseal::adapters::StoreError;
use dockseal::adapters::portainer::{Operation, Outcome};
use dockseal::api::condition::Reason;
use dockseal::api::{Kind, Object, ObjectRef};
use dockseal::controller::index::Index;
use dockseal::controller::metrics::{LeaderState, Metrics};
use dockseal::controller::workqueue::WorkQueues;
use dockseal::reconcile::registration::Registrations;
use helm::render;
use scratch::Scratch;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(project().join(path)).with_context(|| format!("failed to read {path}"))
}

/// Runs promtool in a directory, with that on its standard input; what it says.
fn promtool(directory: &Path, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let program = FOUND.get_or_init(|| {
        let script = project().join("tests/needs.sh");
        let output = Command::new("bash").arg(script).arg("promtool").stderr(Stdio::inherit()).output();
        let output = output.expect("bash starts");
        assert!(output.status.success(), "there is no promtool; needs.sh said why above");
        PathBuf::from(String::from_utf8_lossy(&output.stdout).lines().last().expect("it prints a path"))
    });
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("failed to start promtool")?;
    child.stdin.take().context("it has an input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
    Ok(said)
}

/// Each family's type, by its name.
fn families(exposition: &str) -> BTreeMap<String, String> {
    let types = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, type_)| (name.to_owned(), type_.to_owned())).collect()
}

/// The names that queries know, with what the table of the documents calls each.
fn names() -> anyhow::Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for (name, type_) in families(&measured()?.0.exposition()) {
        let suffixes: &[&str] = match type_.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let told = if type_ == "counter" { format!("{name}_total") } else { name.clone() };
        names.extend(suffixes.iter().map(|suffix| (format!("{name}{suffix}"), told.clone())));
    }
    Ok(names)
}

/// Every metric of ours in a query.
fn used(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("dockseal_")).map(str::to_owned).collect()
}

/// Everything that is asked of Prometheus in a value.
fn queries<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str));
            fields.values().for_each(|field| queries(field, found));
        }
        _ => {}
    }
}

fn of_kind(chart: &[Value], kind: &str) -> anyhow::Result<Value> {
    let found: Vec<_> = chart.iter().filter(|object| object["kind"] == kind).collect();
    let [one] = found[..] else { anyhow::bail!("there is not one {kind}") };
    Ok(one.clone())
}

fn rules() -> anyhow::Result<Value> {
    of_kind(&render(&["--set=prometheus.rules.enabled=true"])?, "PrometheusRule")
}

#[test]
fn alerts_fire_when_they_should_and_not_before() -> anyhow::Result<()> {
    let scratch = Scratch::new("alerts")?;
    std::fs::write(scratch.path().join("rules.yaml"), rules()?["spec"].to_string())?;
    std::fs::write(scratch.path().join("tests.yaml"), read("tests/alerts/rules.yaml")?)?;
    let checked = promtool(scratch.path(), &["check", "rules", "rules.yaml"], "")?;
    ensure!(checked.contains("12 rules found"), "{checked}");
    let tested = promtool(scratch.path(), &["test", "rules", "tests.yaml"], "")?;
    ensure!(tested.contains("SUCCESS"), "{tested}");
    Ok(())
}

#[test]
fn every_alert_is_tested_and_says_what_to_do() -> anyhow::Result<()> {
    let rules = rules()?;
    let tests: Value = serde_saphyr::from_str(&read("tests/alerts/rules.yaml")?)?;
    let cases: Vec<&Value> = list(&tests["tests"]).iter().flat_map(|test| list(&test["alert_rule_test"])).collect();
    let documented = read("docs/metrics.md")?;
    let known = names()?;
    for rule in list(&rules["spec"]["groups"]).iter().flat_map(|group| list(&group["rules"])) {
        let name = rule["alert"].as_str().context("every rule is an alert")?;
        let of_it = || cases.iter().filter(|case| case["alertname"] == name);
        ensure!(of_it().any(|case| !list(&case["exp_alerts"]).is_empty()), "{name} is never seen to fire");
        ensure!(of_it().any(|case| list(&case["exp_alerts"]).is_empty()), "{name} is never seen not to fire");
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        ensure!(documented.contains(&format!("| {name} | {severity} |")), "docs/metrics.md says nothing of {name}");
        let text = |field: &str| rule["annotations"][field].as_str().unwrap_or_default().to_owned();
        ensure!(text("summary").len() > 20 && text("description").contains("docs/troubleshooting.md"), "{name}");
        let query = rule["expr"].as_str().unwrap_or_default();
        for metric in used(query) {
            ensure!(known.contains_key(&metric), "{name} asks for {metric}, which is none");
        }
        for reason in query.split("reason=").skip(1).filter_map(|rest| rest.split('"').nth(1)) {
            ensure!(reason.split('|').all(|word| Reason::parse(word).is_some()), "{name}: {reason} is no reason");
        }
    }
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[test]
fn rules_and_dashboard_are_switched_on_by_their_values_alone() -> anyhow::Result<()> {
    let plain = render(&[])?;
    let extra = |switch: &str| -> anyhow::Result<Vec<Value>> {
        Ok(render(&["--set", switch])?.into_iter().filter(|object| !plain.contains(object)).collect())
    };
    let labelled = rules()?;
    assert_eq!(extra("prometheus.rules.enabled=true")?, std::slice::from_ref(&labelled));
    let file: Value = serde_saphyr::from_str(&read("charts/dockseal/files/alerts.yaml")?)?;
    ensure!(labelled["apiVersion"] == "monitoring.coreos.com/v1" && labelled["spec"] == file);
    let both = "prometheus.rules.enabled=true,prometheus.rules.labels.release=monitoring";
    ensure!(extra(both)?[0]["metadata"]["labels"]["release"] == "monitoring");
    let [dashboard] = &extra("grafana.dashboard.enabled=true")?[..] else { anyhow::bail!("there is one object more") };
    ensure!(dashboard["metadata"]["labels"]["grafana_dashboard"] == "1" && dashboard["kind"] == "ConfigMap");
    let text = dashboard["data"]["dockseal.json"].as_str().context("it holds the dashboard")?;
    ensure!(text.trim() == read("charts/dockseal/files/dashboard.json")?.trim(), "Helm changed it");
    Ok(())
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist_in_queries_that_prometheus_reads() -> anyhow::Result<()> {
    let dashboard: Value = serde_json::from_str(&read("charts/dockseal/files/dashboard.json")?)?;
    let (known, mut found, mut shown) = (names()?, Vec::new(), BTreeSet::new());
    queries(&dashboard, &mut found);
    let panels = list(&dashboard["panels"]).len();
    ensure!(panels > 10 && found.len() >= panels, "{panels} panels ask {} queries", found.len());
    let mut rules = Vec::new();
    for (number, query) in found.into_iter().enumerate() {
        for metric in used(query) {
            let told = known.get(&metric).with_context(|| format!("{metric}, which is none, is asked for: {query}"))?;
            shown.insert(told.clone());
        }
        let query = query.replace("$__rate_interval", "5m");
        rules.push(json!({"record": format!("query{number}"), "expr": query}));
    }
    let unseen: Vec<_> = known.values().filter(|told| !shown.contains(*told)).collect();
    ensure!(unseen.is_empty(), "it does not show {unseen:?}");
    let scratch = Scratch::new("dashboard")?;
    let rules = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(scratch.path().join("rules.yaml"), rules.to_string())?;
    promtool(scratch.path(), &["check", "rules", "rules.yaml"], "").map(drop)
}

/// Name, type and labels of each row of the table.
fn documented() -> anyhow::Result<BTreeMap<String, (String, BTreeSet<String>)>> {
    let page = read("docs/metrics.md")?;
    let mut table = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `dockseal_")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, type_, labels, said] = cells[..] else { anyhow::bail!("{row} has not four cells") };
        ensure!(said.len() > 10, "{row} says nothing");
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        ensure!(table.insert(name.trim_matches('`').to_owned(), (type_.to_owned(), labels)).is_none(), "twice: {row}");
    }
    Ok(table)
}

#[test]
fn the_table_names_exactly_the_metrics_that_there_are_with_their_labels() -> anyhow::Result<()> {
    let (metrics, _led) = measured()?;
    let exposition = metrics.exposition();
    let known = names()?;
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, labels, _) in samples(&exposition) {
        let told = known.get(&name).with_context(|| format!("{name} has no family"))?.clone();
        let labels = labels.into_keys().filter(|label| label != "le").collect();
        let before = seen.insert(told, BTreeSet::clone(&labels));
        ensure!(before.is_none_or(|before| before == labels), "the labels of {name} differ");
    }
    let types = families(&exposition);
    let type_of = |told: &str| types.get(told).or_else(|| types.get(told.trim_end_matches("_total"))).cloned();
    let real: BTreeMap<_, _> =
        seen.into_iter().map(|(told, labels)| (told.clone(), (type_of(&told).unwrap_or_default(), labels))).collect();
    assert_eq!(documented()?, real);
    assert_eq!(real.into_keys().collect::<BTreeSet<_>>(), known.into_values().collect());
    Ok(())
}

/// A sample: its name, labels and value. No label of ours holds a quote or a comma.
fn samples(exposition: &str) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
        let labels = labels.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect();
        (name.to_owned(), labels, value.parse().expect("a value is a number"))
    };
    lines.map(sample).collect()
}

fn object(kind: Kind, name: &str, spec: &Value, status: &Value) -> anyhow::Result<Object> {
    let manifest = json!({"apiVersion": "dockseal.dev/v1alpha1", "kind": kind.as_str(), "spec": spec, "status": status,
        "metadata": {"namespace": "home", "name": name, "resourceVersion": "1"}});
    Object::from_manifest(manifest).with_context(|| format!("{kind} {name} is no object"))
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// What a companion reports that is not to be believed is in it: an environment of nobody's, and a reason of its own.
fn measured() -> anyhow::Result<(Metrics, LeaderState)> {
    let report = |client: &str, registrar: &str, reason: &str| json!({"portainerClient": client, "registrar": registrar, "reason": reason, "provedFingerprint": "bb"});
    let status = |fingerprint: &str, served: Value, conditions: Value, environments: Value| {
        json!({"notAfter": "2027-01-01T00:00:00Z", "renewAt": "2026-09-01T00:00:00Z", "fingerprint": fingerprint,
            "conditions": conditions, "host": served, "environments": environments})
    };
    let ready = || json!([condition("Ready", "True", "Ready")]);
    let open = json!([
        condition("Serving", "False", "ExposedByOthers"),
        condition("Delivered", "False", "made-up"),
        condition("Ready", "False", "ExposedByOthers")
    ]);
    let environments =
        json!([report("portainer", "Controller", "Registered"), report("nobody", "Companion", "Registered")]);
    let served = |fingerprint: &str| json!({"servedFingerprint": fingerprint});
    let (host, client) = (json!({"caRef": {"name": "homelab"}, "hostname": "a.example"}), portainer());
    let asked = json!([report("portainer", "Controller", "EnvironmentUnreachable")]);
    let parted = json!([report("portainer", "Controller", "Deregistered")]);
    let mut index = Index::default();
    for object in [
        object(Kind::DockerHostCert, "pandora", &host, &status("aa", served("aa"), ready(), environments))?,
        object(Kind::DockerHostCert, "janus", &host, &status("aa", served("bb"), open, json!([])))?,
        object(Kind::DockerHostCert, "attic", &host, &status("bb", Value::Null, ready(), asked))?,
        object(Kind::DockerHostCert, "cellar", &host, &status("bb", Value::Null, ready(), parted))?,
        object(Kind::PortainerClient, "portainer", &client, &status("cc", Value::Null, ready(), json!([])))?,
        object(Kind::PortainerClient, "far", &by_companions(), &status("cc", Value::Null, ready(), json!([])))?,
    ] {
        index.put(object);
    }
    let registrations = Arc::new(Registrations::default());
    let requests = registrations.request_metrics(&ObjectRef::new(Kind::PortainerClient, "home", "portainer"));
    for operation in Operation::ALL {
        for outcome in Outcome::ALL {
            requests.note(*operation, *outcome, Duration::from_millis(70));
        }
    }
    requests.note(Operation::List, Outcome::Ok, Duration::from_mins(5));
    let queues = WorkQueues::default();
    queues.objects.add(ObjectRef::new(Kind::DockerCA, "home", "homelab"));
    let led = LeaderState { index: Arc::new(index.into()), registrations, queues };
    let metrics = Metrics::default();
    metrics.set_leader_state(Some(led.clone()));
    metrics.reconciled("DockerHostCert", Ok(Some(Reason::Renewal)), Duration::from_millis(3));
    let error = StoreError::Gone(ObjectRef::new(Kind::DockerHostCert, "home", "pandora"));
    metrics.reconciled("DockerHostCert", Err(&error), Duration::from_secs(100));
    Ok((metrics, led))
}

fn portainer() -> Value {
    json!({"caRef": {"name": "homelab"}, "commonName": "p.example", "server": {"url": "https://p.example", "credentialsSecretRef": {"name": "key"}},
        "hostSelector": {}})
}

/// Of that one's server the controller may reach nothing, and nothing is wrong.
fn by_companions() -> Value {
    let mut spec = portainer();
    spec["registrar"] = json!("Companion");
    spec["hostSelector"] = json!({"matchLabels": {"site": "far"}});
    spec
}

#[test]
fn what_sockets_serve_and_portainers_reach_is_told_by_name() -> anyhow::Result<()> {
    let (metrics, _led) = measured()?;
    let samples = samples(&metrics.exposition());
    let of = |family: &str, labels: &[(&str, &str)]| -> Vec<f64> {
        let all = samples.iter().filter(|(name, ..)| name == &format!("dockseal_{family}"));
        let fit =
            all.filter(|(_, has, _)| labels.iter().all(|(key, value)| has.get(*key).is_some_and(|is| is == value)));
        fit.map(|(_, _, value)| *value).collect()
    };
    for (family, labels, expected) in [
        ("leader", &[][..], &[1.0][..]),
        ("condition", &[("name", "pandora"), ("condition", "Ready")], &[1.0]),
        ("condition", &[("name", "janus"), ("condition", "Ready")], &[0.0]),
        ("condition_reason", &[("name", "janus"), ("reason", "ExposedByOthers")], &[1.0, 1.0]),
        ("condition_reason", &[("name", "janus"), ("condition", "Delivered"), ("reason", "Unknown")], &[1.0]),
        ("host_served", &[("name", "pandora"), ("seen_by", "companion")], &[1.0]),
        ("host_served", &[("name", "janus"), ("seen_by", "companion")], &[0.0]),
        ("host_served", &[("name", "attic"), ("seen_by", "registration")], &[1.0]),
        ("host_served", &[("name", "cellar")], &[]),
        ("host_served_not_after_timestamp_seconds", &[("name", "pandora")], &[1_798_761_600.0]),
        ("host_served_not_after_timestamp_seconds", &[("name", "janus")], &[]),
        ("environment_registered", &[("name", "pandora"), ("portainer_client", "portainer")], &[1.0]),
        ("environment_registered", &[("name", "attic"), ("portainer_client", "portainer")], &[0.0]),
        ("environment_registered", &[], &[0.0, 1.0]), // neither nobody's, nor what was parted from
        ("portainer_last_look_timestamp_seconds", &[("name", "portainer")], &[0.0]),
        ("portainer_last_look_timestamp_seconds", &[("name", "far")], &[]),
        ("portainer_requests_total", &[("name", "portainer"), ("operation", "list"), ("outcome", "ok")], &[2.0]),
        ("portainer_request_duration_seconds_count", &[("operation", "list")], &[6.0]),
        ("portainer_request_duration_seconds_bucket", &[("operation", "list"), ("le", "0.05")], &[0.0]),
        ("portainer_request_duration_seconds_bucket", &[("operation", "list"), ("le", "150.0")], &[5.0]),
        ("portainer_request_duration_seconds_bucket", &[("operation", "list"), ("le", "+Inf")], &[6.0]),
        ("issuances_total", &[("kind", "DockerHostCert"), ("reason", "Renewal")], &[1.0]),
        ("reconciles_total", &[("kind", "DockerHostCert"), ("outcome", "gone")], &[1.0]),
        ("reconciles_total", &[("kind", "CompanionAccount"), ("outcome", "failed")], &[0.0]),
    ] {
        assert_eq!(of(family, labels), expected, "{family} {labels:?}");
    }
    Ok(())
}

/// Portainer's counters go with their PortainerClient, and all else with its object.
#[test]
fn no_object_no_series() -> anyhow::Result<()> {
    let (metrics, led) = measured()?;
    let described = families(&metrics.exposition());
    let about = |name: &str| metrics.exposition().matches(&format!("\"{name}\"")).count();
    for (kind, name, most) in [(Kind::PortainerClient, "portainer", 260), (Kind::DockerHostCert, "pandora", 25)] {
        assert!((6..most).contains(&about(name)), "{name} has {} series", about(name));
        led.index.write().remove(&ObjectRef::new(kind, "home", name));
        assert_eq!(about(name), 0, "{name}: {}", metrics.exposition());
    }
    assert!(about("janus") > 5);
    metrics.set_leader_state(None);
    assert_eq!(about("home"), 0, "who does not lead shows no objects");
    assert_eq!(families(&metrics.exposition()), described);
    Ok(())
}

#[test]
fn prometheus_reads_the_exposition_and_finds_no_fault_with_the_names() -> anyhow::Result<()> {
    let (metrics, _led) = measured()?;
    let exposition = metrics.exposition();
    let scratch = Scratch::new("exposition")?;
    // What it reads as OpenMetrics into a database must have instants.
    let stamp = |line: &str| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} 1790000000\n") };
    std::fs::write(scratch.path().join("open.txt"), exposition.lines().map(stamp).collect::<String>())?;
    promtool(scratch.path(), &["tsdb", "create-blocks-from", "openmetrics", "open.txt", "blocks"], "")?;
    // Names are judged by a reader of the older format, in which a counter's family has its whole name.
    let counters: Vec<String> =
        families(&exposition).into_iter().filter(|(_, type_)| type_ == "counter").map(|(name, _)| name).collect();
    let older = |line: &str| match line.split(' ').nth(2).filter(|_| line.starts_with("# ")) {
        Some(name) if counters.iter().any(|counter| counter == name) => {
            format!("{}\n", line.replacen(name, &format!("{name}_total"), 1))
        }
        _ => format!("{line}\n"),
    };
    let older: String = exposition.lines().filter(|line| !line.starts_with("# UNIT")).map(older).collect();
    let said = promtool(scratch.path(), &["check", "metrics"], &older.replace("# EOF\n", ""))?;
    ensure!(said.trim().is_empty(), "{said}");
    Ok(())
}
