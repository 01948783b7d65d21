//! The chart as the real Helm renders it: accounts and policies that belong together, profiles, and what is refused.
#![allow(clippy::disallowed_methods, reason = "helm and make are programs")]

#[path = "support/helm.rs"]
#[allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]
mod helm;
#[path = "support/scratch.rs"]
#[allow(dead_code, reason = "every test binary compiles all of it and uses only a part")]
mod scratch;
#[path = "chart/switches.rs"]
mod switches;
#[path = "chart/values.rs"]
mod values;

use anyhow::{Context, ensure};
use helm::{helm, objects, render};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

fn of_kind<'a>(chart: &'a [Value], kind: &str) -> Vec<&'a Value> {
    chart.iter().filter(|object| object["kind"] == kind).collect()
}

fn only<'a>(chart: &'a [Value], kind: &str) -> anyhow::Result<&'a Value> {
    let [one] = of_kind(chart, kind)[..] else { anyhow::bail!("there is not one {kind}") };
    Ok(one)
}

/// Namespace and name of a namespaced object.
fn place(object: &Value) -> String {
    format!("{}:{}", text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn pod(owner: &Value) -> &Value {
    &owner["spec"]["template"]["spec"]
}

/// What follows a word in a text, each time up to the quote.
fn after<'a>(policy: &'a str, word: &'a str) -> Vec<&'a str> {
    policy.split(word).skip(1).map(|rest| rest.split('\'').next().unwrap_or_default()).collect()
}

/// Every text in a value, joined.
fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text}\n"),
        Value::Array(items) => items.iter().map(texts).collect(),
        Value::Object(fields) => fields.values().map(texts).collect(),
        _ => String::new(),
    }
}

/// A policy that names an account which is not there matches nothing, and nobody would notice.
#[test]
fn policies_name_the_charts_own_accounts_and_namespaces() -> anyhow::Result<()> {
    for arguments in [&[][..], &["--set=companion.namespace=hosts", "--namespace=tls"]] {
        let chart = render(arguments)?;
        let accounts: BTreeSet<String> = of_kind(&chart, "ServiceAccount").into_iter().map(place).collect();
        let (daemon_set, deployment) = (only(&chart, "DaemonSet")?, only(&chart, "Deployment")?);
        let account_of = |owner: &Value| {
            let namespace = text(&owner["metadata"]["namespace"]);
            format!("{namespace}:{}", text(&pod(owner)["serviceAccountName"]))
        };
        assert_eq!(accounts, BTreeSet::from([account_of(daemon_set), account_of(deployment)]), "{arguments:?}");
        let companions = text(&daemon_set["metadata"]["namespace"]);
        let named = |user: &str| {
            accounts.contains(user)
                || [format!("{companions}:"), format!("{companions}:host-")].contains(&user.to_owned())
        };
        let policies = of_kind(&chart, "ValidatingAdmissionPolicy");
        let all: String = policies.iter().map(|policy| texts(&policy["spec"])).collect();
        for user in after(&all, SERVICE_ACCOUNT) {
            assert!(named(user), "{arguments:?}: a policy names {user}, which is none of {accounts:?}");
        }
        for account in &accounts {
            assert!(after(&all, SERVICE_ACCOUNT).contains(&account.as_str()), "no policy names {account}");
        }
        assert_eq!(
            all.matches("system:").count(),
            all.matches(SERVICE_ACCOUNT).count(),
            "another user or group is named"
        );
        assert!(after(&all, "request.namespace == '").iter().all(|namespace| *namespace == companions));
        let prefix = format!("{SERVICE_ACCOUNT}{companions}:").len();
        let cuts = all.split(".substring(").skip(1).map(|rest| rest.split(')').next().unwrap_or_default());
        let cuts: Vec<usize> = cuts.map(str::parse).collect::<Result<_, _>>()?;
        assert_eq!(cuts, [prefix; 2], "the account's name is cut out elsewhere");
    }
    Ok(())
}

/// Bindings, too: to an account or a Role that is not there they give nothing, or to another account later.
#[test]
fn bindings_name_what_is_there_and_policies_are_bound_to_deny() -> anyhow::Result<()> {
    let chart = render(&[])?;
    let accounts: BTreeSet<String> = of_kind(&chart, "ServiceAccount").into_iter().map(place).collect();
    let roles: BTreeSet<String> =
        [of_kind(&chart, "Role"), of_kind(&chart, "ClusterRole")].concat().into_iter().map(place).collect();
    for binding in [of_kind(&chart, "RoleBinding"), of_kind(&chart, "ClusterRoleBinding")].concat() {
        for subject in binding["subjects"].as_array().context("a binding has subjects")? {
            let subject = format!("{}:{}", text(&subject["namespace"]), text(&subject["name"]));
            assert!(accounts.contains(&subject), "{}: {subject} is no account", place(binding));
        }
        let role = format!("{}:{}", text(&binding["metadata"]["namespace"]), text(&binding["roleRef"]["name"]));
        // The controller makes this one, since it lists the nodes' accounts.
        assert!(role == "dockseal-companions:dockseal-companion-mint" || roles.contains(&role), "{role} is not there");
    }
    let names = |kind| of_kind(&chart, kind).into_iter().map(place).collect::<BTreeSet<_>>();
    assert_eq!(names("ValidatingAdmissionPolicy"), names("ValidatingAdmissionPolicyBinding"));
    for binding in of_kind(&chart, "ValidatingAdmissionPolicyBinding") {
        assert_eq!(binding["spec"]["policyName"], binding["metadata"]["name"]);
        assert_eq!(binding["spec"]["validationActions"], serde_json::json!(["Deny"]));
    }
    for policy in of_kind(&chart, "ValidatingAdmissionPolicy") {
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    }
    Ok(())
}

#[test]
fn policy_controller_and_companion_are_told_the_same_lists() -> anyhow::Result<()> {
    let chart =
        render(&["--set=companion.namespaces={home,lab}", "--set=companion.directories={/etc/docker/certs,/srv/a}"])?;
    let policy = of_kind(&chart, "ValidatingAdmissionPolicy")
        .into_iter()
        .find(|policy| policy["metadata"]["name"] == "dockseal-deliveries");
    let policy = texts(&policy.context("it is there")?["spec"]);
    assert!(policy.contains(r#"request.namespace in ["home","lab"]"#), "{policy}");
    assert!(policy.contains(r#"["/etc/docker/certs","/srv/a"].exists("#), "{policy}");
    let told = |kind: &str, flags: [&str; 3]| -> anyhow::Result<Vec<String>> {
        let arguments = pod(only(&chart, kind)?)["containers"][0]["args"].clone();
        let arguments: Vec<&str> =
            arguments.as_array().context("it has arguments")?.iter().map(text).collect::<Vec<_>>();
        let found =
            flags.iter().flat_map(|flag| arguments.iter().filter_map(move |argument| argument.strip_prefix(flag)));
        Ok(found.map(str::to_owned).collect())
    };
    let expected = ["dockseal-companions", "home", "lab", "/etc/docker/certs", "/srv/a"];
    assert_eq!(told("DaemonSet", ["--namespace=", "--source-namespace=", "--directory="])?, expected);
    let flags = ["--companion-namespace=", "--companion-source-namespace=", "--companion-directory="];
    assert_eq!(told("Deployment", flags)?, expected);
    Ok(())
}

/// One without the other would refuse every report, or let companions write what nobody reads.
#[test]
fn controller_and_policy_are_told_together_that_companions_register() -> anyhow::Result<()> {
    for allowed in [false, true] {
        let chart = render(&[&format!("--set=companion.portainer.enabled={allowed}")])?;
        let arguments = pod(only(&chart, "Deployment")?)["containers"][0]["args"].clone();
        let told = arguments.as_array().context("it has arguments")?.iter().any(|said| said == "--companion-portainer");
        let policies = of_kind(&chart, "ValidatingAdmissionPolicy");
        let reports = policies.into_iter().find(|policy| policy["metadata"]["name"] == "dockseal-reports");
        let policy = texts(&reports.context("it is there")?["spec"]);
        assert_eq!((told, policy.contains("'conditions', 'environments']")), (allowed, allowed));
    }
    Ok(())
}

#[test]
fn a_profile_has_the_mounts_that_it_needs_and_no_others() -> anyhow::Result<()> {
    let (bus, state) = ("/run/dbus", "/var/lib/dockseal");
    for (profile, expected) in
        [("files", vec!["/etc/docker/certs", "/srv/a"]), ("daemon", vec!["/etc/docker/certs", "/srv/a", bus, state])]
    {
        let profile = format!("--set=companion.profile={profile}");
        let chart = render(&[&profile, "--set=companion.directories={/etc/docker/certs,/srv/a}"])?;
        let daemon_set = only(&chart, "DaemonSet")?;
        let pod = pod(daemon_set);
        let container = &pod["containers"][0];
        let volumes = pod["volumes"].as_array().context("it has volumes")?;
        let paths: Vec<&str> = volumes.iter().filter_map(|volume| volume["hostPath"]["path"].as_str()).collect();
        assert_eq!(paths, expected);
        for volume in volumes.iter().filter(|volume| volume["hostPath"].is_object()) {
            let mounts = container["volumeMounts"].as_array().context("it has mounts")?;
            let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).context("it is mounted")?;
            assert_eq!(mount["mountPath"], volume["hostPath"]["path"], "the host's path is the pod's");
            let made = text(&volume["hostPath"]["path"]) != bus;
            assert_eq!(volume["hostPath"]["type"], if made { "DirectoryOrCreate" } else { "Directory" });
        }
        let rights = serde_json::json!({"privileged": false, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
        assert_eq!(container["securityContext"], rights);
        assert_eq!(pod["securityContext"]["runAsUser"], 0);
        assert_eq!(pod["nodeSelector"]["dockseal.dev/companion"], "true");
        assert_eq!(daemon_set["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"], 0);
        assert_eq!(pod["hostNetwork"] == true, paths.contains(&bus));
        assert!(pod["hostPID"].is_null() && pod["hostIPC"].is_null());
    }
    Ok(())
}

#[test]
fn switches_take_away_what_they_say() -> anyhow::Result<()> {
    let kept = |chart: &[Value]| {
        let crds = of_kind(chart, "CustomResourceDefinition").into_iter();
        crds.map(|crd| crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep").collect::<Vec<_>>()
    };
    assert_eq!(kept(&render(&[])?), [true; 4]);
    assert_eq!(kept(&render(&["--set=crds.keep=false"])?), [false; 4]);
    assert_eq!(kept(&render(&["--set=crds.enabled=false"])?), [false; 0]);
    let without = render(&["--set=companion.enabled=false"])?;
    assert!(of_kind(&without, "DaemonSet").is_empty());
    assert!(!without.iter().any(|object| place(object).ends_with(":dockseal-companion")), "its account is there");
    assert_eq!(of_kind(&without, "ValidatingAdmissionPolicy").len(), 4, "enrolled hosts are held to them, too");
    let namespaces = |arguments: &[&str]| anyhow::Ok(of_kind(&render(arguments)?, "Namespace").len());
    assert_eq!(namespaces(&[])?, 1, "Helm makes the release's");
    assert_eq!(namespaces(&["--set=controller.createNamespace=true"])?, 2);
    assert_eq!(namespaces(&["--set=companion.createNamespace=false"])?, 0);
    Ok(())
}

/// With GENERATE=1 it writes them instead, which `make generate` does.
#[test]
fn schema_and_table_are_made_of_the_values() -> anyhow::Result<()> {
    for (file, text) in values::made()? {
        if std::env::var_os("GENERATE").is_some() {
            std::fs::write(&file, &text)?;
        }
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        ensure!(there == text, "{} is old: make generate", file.display());
    }
    Ok(())
}

#[test]
fn helm_finds_nothing_to_complain_about() -> anyhow::Result<()> {
    for more in [
        "crds.keep=true",
        "companion.profile=daemon,companion.portainer.enabled=true,companion.namespaces={home}",
        "companion.enabled=false,controller.replicas=3,networkPolicy.enabled=true,prometheus.serviceMonitor.enabled=true",
        "prometheus.podMonitor.enabled=true,crds.enabled=false,rbac.aggregateClusterRoles=false",
    ] {
        let said = helm(&["lint", "--strict", "charts/dockseal", "--set", more])?;
        ensure!(said.contains("0 chart(s) failed"), "{said}");
    }
    Ok(())
}

/// `make manifest > file` is how those without Helm get it: nothing else may come out there.
#[test]
fn make_manifest_prints_the_chart_and_nothing_else() -> anyhow::Result<()> {
    let made = Command::new("make")
        .args(["--no-print-directory", "manifest"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("VALUES")
        .env_remove("FILE")
        .env_remove("MAKEFLAGS")
        .output()
        .context("failed to start make")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let printed = objects(&String::from_utf8(made.stdout)?)?;
    assert_eq!(printed, render(&["--set=controller.createNamespace=true"])?);
    Ok(())
}
