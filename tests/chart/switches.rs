//! Each value of the chart does what it says, and values that contradict each other are refused with a sentence.

use super::{of_kind, only, place, pod, text, texts};
use crate::helm::{NAMESPACE, helm, objects, render};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn rendered(set: &str) -> anyhow::Result<Vec<Value>> {
    let (flag, said) = if set.contains(['{', '[']) && set.contains(':') { ("--set-json", set) } else { ("--set", set) };
    render(&[flag, said])
}

fn container(owner: &Value) -> &Value {
    &pod(owner)["containers"][0]
}

/// A value, the kind that it shows in, a path in there, and what stands there by default and with it.
#[test]
fn each_value_arrives_where_it_belongs() -> anyhow::Result<()> {
    const POD: &str = "/spec/template/spec";
    const BOX: &str = "/spec/template/spec/containers/0";
    let digest = format!("sha256:{}", "a".repeat(64));
    let none = || Value::Null;
    let linux = json!({"kubernetes.io/os": "linux"});
    let on_nodes = json!({"kubernetes.io/os": "linux", "dockseal.dev/companion": "true"});
    let spread = json!([{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "dockseal", "app.kubernetes.io/component": "controller"}}}]);
    let (deployment, daemon_set) = ("Deployment", "DaemonSet");
    let rows: Vec<(&str, &str, String, Value, Value)> = vec![
        ("controller.replicas=3", deployment, "/spec/replicas".into(), json!(1), json!(3)),
        (
            "controller.strategy.type=Recreate",
            deployment,
            "/spec/strategy".into(),
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
            json!({"type": "Recreate"}),
        ),
        ("controller.priorityClassName=high", deployment, format!("{POD}/priorityClassName"), none(), json!("high")),
        ("companion.priorityClassName=high", daemon_set, format!("{POD}/priorityClassName"), none(), json!("high")),
        (
            r#"controller.nodeSelector={"a":"b","kubernetes.io/os":"windows"}"#,
            deployment,
            format!("{POD}/nodeSelector"),
            linux,
            json!({"a": "b", "kubernetes.io/os": "linux"}),
        ),
        (
            r#"companion.nodeSelector={"a":"b","dockseal.dev/companion":"no"}"#,
            daemon_set,
            format!("{POD}/nodeSelector"),
            on_nodes,
            json!({"a": "b", "kubernetes.io/os": "linux", "dockseal.dev/companion": "true"}),
        ),
        (
            r#"controller.tolerations=[{"key":"k"}]"#,
            deployment,
            format!("{POD}/tolerations"),
            none(),
            json!([{"key": "k"}]),
        ),
        (
            r#"companion.tolerations=[{"key":"k"}]"#,
            daemon_set,
            format!("{POD}/tolerations"),
            none(),
            json!([{"key": "k"}]),
        ),
        (
            r#"controller.affinity={"nodeAffinity":{}}"#,
            deployment,
            format!("{POD}/affinity"),
            none(),
            json!({"nodeAffinity": {}}),
        ),
        (
            r#"controller.topologySpreadConstraints=[{"maxSkew":2}]"#,
            deployment,
            format!("{POD}/topologySpreadConstraints"),
            spread,
            json!([{"maxSkew": 2}]),
        ),
        (
            r#"image.pullSecrets=[{"name":"s"}]"#,
            deployment,
            format!("{POD}/imagePullSecrets"),
            none(),
            json!([{"name": "s"}]),
        ),
        (
            r#"image.pullSecrets=[{"name":"s"}]"#,
            daemon_set,
            format!("{POD}/imagePullSecrets"),
            none(),
            json!([{"name": "s"}]),
        ),
        ("image.pullPolicy=Never", deployment, format!("{BOX}/imagePullPolicy"), json!("IfNotPresent"), json!("Never")),
        ("image.pullPolicy=Never", daemon_set, format!("{BOX}/imagePullPolicy"), json!("IfNotPresent"), json!("Never")),
        ("image.tag=v7", deployment, format!("{BOX}/image"), json!("dockseal:0.1.0"), json!("dockseal:v7")),
        (
            r#"controller.extraEnv=[{"name":"A","value":"b"}]"#,
            deployment,
            format!("{BOX}/env"),
            none(),
            json!([{"name": "A", "value": "b"}]),
        ),
        (
            r#"companion.extraEnv=[{"name":"A","value":"b"}]"#,
            daemon_set,
            format!("{BOX}/env/2/name"),
            none(),
            json!("A"),
        ),
        (
            "controller.resources.limits.memory=1Gi",
            deployment,
            format!("{BOX}/resources/limits/memory"),
            json!("256Mi"),
            json!("1Gi"),
        ),
        (
            "companion.resources.limits.memory=1Gi",
            daemon_set,
            format!("{BOX}/resources/limits/memory"),
            json!("64Mi"),
            json!("1Gi"),
        ),
        (
            "companion.maxUnavailable=10%",
            daemon_set,
            "/spec/updateStrategy/rollingUpdate/maxUnavailable".into(),
            json!(1),
            json!("10%"),
        ),
        ("companion.hostNetwork=true", daemon_set, format!("{POD}/hostNetwork"), none(), json!(true)),
        ("companion.hostNetwork=true", daemon_set, format!("{BOX}/env/1/name"), json!("NODE_ADDRESS"), none()),
        (
            r#"companion.seLinuxOptions={"type":"spc_t"}"#,
            daemon_set,
            format!("{POD}/securityContext/seLinuxOptions"),
            none(),
            json!({"type": "spc_t"}),
        ),
        (
            "controller.podAnnotations.a=b",
            deployment,
            "/spec/template/metadata/annotations".into(),
            none(),
            json!({"a": "b"}),
        ),
        (
            "companion.podAnnotations.a=b",
            daemon_set,
            "/spec/template/metadata/annotations".into(),
            none(),
            json!({"a": "b"}),
        ),
        ("controller.podLabels.a=b", deployment, "/spec/template/metadata/labels/a".into(), none(), json!("b")),
        ("companion.podLabels.a=b", daemon_set, "/spec/template/metadata/labels/a".into(), none(), json!("b")),
        ("controller.service.port=80", "Service", "/spec/ports/0/port".into(), json!(8080), json!(80)),
        ("controller.service.annotations.a=b", "Service", "/metadata/annotations".into(), none(), json!({"a": "b"})),
    ];
    let defaults = render(&[])?;
    for (set, kind, at, before, after) in rows {
        let there = |chart: &[Value]| anyhow::Ok(only(chart, kind)?.pointer(&at).cloned().unwrap_or_default());
        ensure!(there(&defaults)? == before, "{kind}{at}: {} by default", there(&defaults)?);
        let with = rendered(set)?;
        ensure!(there(&with)? == after, "{set}: {kind}{at}: {}", there(&with)?);
    }
    assert_eq!(
        rendered("companion.namespaces=null,companion.tolerations=null")?,
        defaults,
        "a list is emptied by null"
    );
    let slash = rendered("image.registry=registry.example/")?;
    assert_eq!(container(only(&slash, deployment)?)["image"], "registry.example/dockseal:0.1.0");
    let pinned = render(&["--set", &format!("image.registry=registry.example,image.tag=v7,image.digest={digest}")])?;
    for kind in [deployment, daemon_set] {
        assert_eq!(container(only(&pinned, kind)?)["image"], format!("registry.example/dockseal@{digest}"));
    }
    Ok(())
}

#[test]
fn arguments_come_after_the_charts_own() -> anyhow::Result<()> {
    for (kind, set) in [("Deployment", "controller.extraArgs"), ("DaemonSet", "companion.extraArgs")] {
        let chart = render(&["--set", &format!("{set}={{--one=a b,--two}},log.level=debug,log.format=text")])?;
        let said = container(only(&chart, kind)?)["args"].as_array().context("it has arguments")?.clone();
        assert_eq!(said[1..3], [json!("--log-format=text"), json!("--log-level=debug")]);
        assert_eq!(said[said.len() - 2..], [json!("--one=a b"), json!("--two")]);
    }
    Ok(())
}

#[test]
fn labels_of_pods_never_part_them_from_what_selects_them() -> anyhow::Result<()> {
    let mine = r#"{"app.kubernetes.io/name":"mine","app.kubernetes.io/component":"mine"}"#;
    let (controller, companion) = (format!("controller.podLabels={mine}"), format!("companion.podLabels={mine}"));
    let more = ["--set=networkPolicy.enabled=true", "--set-json", &controller, "--set-json", &companion];
    let chart = render(&more)?;
    for kind in ["Deployment", "DaemonSet"] {
        let owner = only(&chart, kind)?;
        assert_eq!(owner["spec"]["selector"]["matchLabels"], owner["spec"]["template"]["metadata"]["labels"]);
    }
    let controller = &only(&chart, "Deployment")?["spec"]["template"];
    let labels = &controller["metadata"]["labels"];
    assert_eq!(only(&chart, "Service")?["spec"]["selector"], *labels);
    assert_eq!(only(&chart, "Service")?["spec"]["ports"][0]["targetPort"], container_port(controller));
    assert_eq!(only(&chart, "PodDisruptionBudget")?["spec"]["selector"]["matchLabels"], *labels);
    for policy in of_kind(&chart, "NetworkPolicy") {
        let owner = only(&chart, if place(policy).ends_with("controller") { "Deployment" } else { "DaemonSet" })?;
        assert_eq!(policy["spec"]["podSelector"]["matchLabels"], owner["spec"]["selector"]["matchLabels"]);
        assert_eq!(policy["metadata"]["namespace"], owner["metadata"]["namespace"]);
    }
    Ok(())
}

fn container_port(template: &Value) -> Value {
    template["spec"]["containers"][0]["ports"][0]["name"].clone()
}

#[test]
fn budgets_are_as_they_are_said_and_never_keep_a_node() -> anyhow::Result<()> {
    let budget = |set: &str| anyhow::Ok(only(&rendered(set)?, "PodDisruptionBudget")?["spec"].clone());
    assert_eq!(budget("controller.replicas=1")?["maxUnavailable"], 1);
    let least = budget(
        "controller.replicas=3,controller.podDisruptionBudget.maxUnavailable=null,controller.podDisruptionBudget.minAvailable=2",
    )?;
    assert_eq!((&least["minAvailable"], &least["maxUnavailable"]), (&json!(2), &Value::Null));
    let off = rendered("controller.podDisruptionBudget.enabled=false")?;
    assert!(of_kind(&off, "PodDisruptionBudget").is_empty());
    Ok(())
}

#[test]
fn monitors_ask_the_port_that_is_there() -> anyhow::Result<()> {
    let kinds = ["ServiceMonitor", "PodMonitor"];
    let none = render(&[])?;
    assert!(kinds.iter().all(|kind| of_kind(&none, kind).is_empty()));
    for (kind, value, endpoints) in
        [(kinds[0], "serviceMonitor", "endpoints"), (kinds[1], "podMonitor", "podMetricsEndpoints")]
    {
        let at = format!("prometheus.{value}");
        let chart = render(&[
            &format!("--set={at}.enabled=true,{at}.interval=30s,{at}.scrapeTimeout=9s,{at}.labels.release=prometheus"),
            &format!("--set={at}.relabelings[0].action=a,{at}.metricRelabelings[0].action=b"),
        ])?;
        let monitor = only(&chart, kind)?;
        let endpoint = json!({"port": "admin", "path": "/metrics", "honorLabels": true, "interval": "30s", "scrapeTimeout": "9s",
            "relabelings": [{"action": "a"}], "metricRelabelings": [{"action": "b"}]});
        assert_eq!(monitor["spec"][endpoints], json!([endpoint]));
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
        let asked = match kind {
            "ServiceMonitor" => only(&chart, "Service")?["metadata"]["labels"].clone(),
            _ => only(&chart, "Deployment")?["spec"]["template"]["metadata"]["labels"].clone(),
        };
        let selected = monitor["spec"]["selector"]["matchLabels"].as_object().context("it selects by labels")?;
        assert!(selected.iter().all(|(label, value)| asked[label] == *value), "{selected:?} selects nothing: {asked}");
        assert_eq!(only(&chart, "Service")?["spec"]["ports"][0]["name"], "admin");
    }
    Ok(())
}

#[test]
fn network_policies_let_through_what_each_needs() -> anyhow::Result<()> {
    assert!(of_kind(&render(&[])?, "NetworkPolicy").is_empty());
    let ports = |chart: &[Value], name: &str| -> anyhow::Result<BTreeSet<String>> {
        let policy = of_kind(chart, "NetworkPolicy").into_iter().find(|policy| policy["metadata"]["name"] == name);
        let egress = policy.context("it is there")?["spec"]["egress"].as_array().context("it has rules")?.clone();
        let ports = egress.iter().flat_map(|rule| rule["ports"].as_array().into_iter().flatten());
        Ok(ports.map(|port| format!("{} {}", text(&port["protocol"]), port["port"])).collect())
    };
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    let chart = rendered("networkPolicy.enabled=true")?;
    let dns_api_docker = ["UDP 53", "TCP 53", "UDP 5353", "TCP 5353", "TCP 443", "TCP 6443", "TCP 2376"];
    let all = [&dns_api_docker[..], &["TCP 9000", "TCP 9443"]].concat();
    assert_eq!(ports(&chart, "dockseal-controller")?, set(&all));
    assert_eq!(ports(&chart, "dockseal-companion")?, set(&dns_api_docker));
    let registering = rendered("networkPolicy.enabled=true,companion.portainer.enabled=true")?;
    assert_eq!(ports(&registering, "dockseal-companion")?, set(&all));
    let moved = rendered(
        "networkPolicy.enabled=true,networkPolicy.dockerPorts={2376,12376},networkPolicy.apiServerPorts={8443},networkPolicy.dnsPorts={53},networkPolicy.portainerPorts={1}",
    )?;
    assert_eq!(
        ports(&moved, "dockseal-controller")?,
        set(&["UDP 53", "TCP 53", "TCP 8443", "TCP 2376", "TCP 12376", "TCP 1"])
    );
    let to = |chart: &[Value], name: &str| -> anyhow::Result<Vec<Value>> {
        let policy = of_kind(chart, "NetworkPolicy").into_iter().find(|policy| policy["metadata"]["name"] == name);
        let egress = policy.context("it is there")?["spec"]["egress"].as_array().context("it has rules")?.clone();
        Ok(egress.iter().map(|rule| rule["to"].clone()).collect())
    };
    let anywhere = vec![Value::Null; 3];
    assert_eq!(
        (to(&chart, "dockseal-controller")?, to(&chart, "dockseal-companion")?),
        (anywhere.clone(), anywhere.clone())
    );
    let narrow =
        render(&["--set=networkPolicy.enabled=true,controller.allowedDestinations={192.168.0.0/16,fd00::/8}"])?;
    let networks = json!([{"ipBlock": {"cidr": "192.168.0.0/16"}}, {"ipBlock": {"cidr": "fd00::/8"}}]);
    assert_eq!(to(&narrow, "dockseal-controller")?, [Value::Null, Value::Null, networks]);
    assert_eq!(to(&narrow, "dockseal-companion")?, anywhere);
    let told = container(only(&narrow, "Deployment")?)["args"].to_string();
    assert!(told.contains(r#""--allowed-destination=192.168.0.0/16","--allowed-destination=fd00::/8""#), "{told}");
    let ingress = |chart: &[Value]| {
        let policies = of_kind(chart, "NetworkPolicy").into_iter();
        policies.map(|policy| policy["spec"]["ingress"].clone()).collect::<Vec<_>>()
    };
    let admin = json!([{"protocol": "TCP", "port": "admin"}]);
    let probes = json!([{"protocol": "TCP", "port": "probes"}]);
    assert_eq!(ingress(&chart), [json!([{"ports": admin}, {"ports": probes}]), json!([])]);
    let from = rendered(r#"networkPolicy={"enabled":true,"metricsFrom":[{"namespaceSelector":{}}]}"#)?;
    let peers = &ingress(&from)[0][0]["from"];
    assert_eq!(peers[0], json!({"namespaceSelector": {}}));
    let test = test_pod(&[])?;
    assert!(
        peers[1]["podSelector"]["matchLabels"]
            .as_object()
            .context("helm test may ask")?
            .iter()
            .all(|(label, value)| test["metadata"]["labels"][label] == *value)
    );
    Ok(())
}

#[test]
fn people_get_the_four_kinds_and_no_secrets() -> anyhow::Result<()> {
    let roles = |chart: &[Value]| {
        let roles = of_kind(chart, "ClusterRole").into_iter();
        roles.filter(|role| role["metadata"]["name"] != "dockseal-controller").cloned().collect::<Vec<_>>()
    };
    let kinds = json!(["dockercas", "dockerhostcerts", "dockerclientcerts", "portainerclients"]);
    let (view, edit) = (["view", "edit", "admin"].as_slice(), ["edit", "admin"].as_slice());
    for (set, view, edit) in [
        (&[][..], view, &[][..]), // whoever writes the kinds is root on hosts: that is given out one by one
        (&["--set=rbac.aggregateClusterRoles=false"], &[], &[]),
        (&["--set=rbac.aggregateEdit=true"], view, edit),
        (&["--set=rbac.aggregateClusterRoles=false,rbac.aggregateEdit=true"], &[], edit),
    ] {
        let all = roles(&render(set)?);
        for (name, verbs, into) in [
            ("dockseal-view", json!(["get", "list", "watch"]), view),
            ("dockseal-edit", json!(["create", "patch", "update", "delete"]), edit),
        ] {
            let role = all.iter().find(|role| role["metadata"]["name"] == name).context(name)?;
            assert_eq!(role["rules"], json!([{"apiGroups": ["dockseal.dev"], "resources": kinds, "verbs": verbs}]));
            let labels = role["metadata"]["labels"].as_object().context("it has labels")?;
            let found = labels.keys().filter_map(|label| label.split_once("aggregate-to-")).map(|(_, role)| role);
            assert_eq!(found.collect::<BTreeSet<_>>(), into.iter().copied().collect(), "{name} {set:?}");
        }
        assert_eq!(all.len(), 2);
    }
    Ok(())
}

/// Nothing of it is in `make manifest`, where it would run at once.
fn test_pod(arguments: &[&str]) -> anyhow::Result<Value> {
    let chart = ["template", "dockseal", "charts/dockseal", "--namespace", NAMESPACE];
    let all = objects(&helm(&[&chart, arguments].concat())?)?;
    only(&all, "Pod").cloned()
}

#[test]
fn helm_test_asks_the_service_with_the_images_own_binary() -> anyhow::Result<()> {
    let pod = test_pod(&["--set=controller.service.port=81"])?;
    assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
    let chart = rendered("controller.service.port=81")?;
    let (service, deployment) = (only(&chart, "Service")?, only(&chart, "Deployment")?);
    let place = format!("{}.{}", text(&service["metadata"]["name"]), text(&service["metadata"]["namespace"]));
    let asked = &pod["spec"]["containers"][0];
    assert_eq!(asked["args"], json!(["probe", format!("http://{place}:81/readyz")]));
    assert_eq!(asked["image"], container(deployment)["image"]);
    assert_eq!(asked["securityContext"], container(deployment)["securityContext"]);
    assert_eq!(pod["spec"]["securityContext"], pod_of(deployment)["securityContext"]);
    assert!(of_kind(&chart, "Pod").is_empty());
    Ok(())
}

fn pod_of(owner: &Value) -> &Value {
    pod(owner)
}

/// What `helm install` says at its end.
fn notes(set: &[&str]) -> anyhow::Result<String> {
    let install = ["install", "dockseal", "charts/dockseal", "--namespace", NAMESPACE, "--dry-run=client"];
    let said = helm(&[&install, set].concat())?;
    Ok(said.split_once("NOTES:\n").context("there are notes")?.1.to_owned())
}

#[test]
fn notes_end_with_the_next_object() -> anyhow::Result<()> {
    let plain = notes(&[])?;
    assert!(
        plain.contains("helm test dockseal -n dockseal") && plain.contains("Nothing is delivered to cluster nodes yet")
    );
    assert!(!plain.contains("dockseal crds") && !plain.contains("crds.keep") && !plain.contains("networkPolicy"));
    let (_, object) = plain.split_once("<<END\n").context("an object is at the end")?;
    let object = object.trim_end().strip_suffix("END").context("the object is the end")?;
    let object: Value = serde_saphyr::from_str(object)?;
    assert!(plain.ends_with("\nEND\n") || plain.ends_with("\nEND"), "a shell ends the object at its END: {plain:?}");
    let ca: dockseal::api::DockerCA = serde_json::from_value(object)?;
    assert_eq!(ca.metadata.namespace.as_deref(), Some("default"));
    let listed = notes(&["--set=companion.namespaces={home,lab},companion.profile=daemon,networkPolicy.enabled=true"])?;
    assert!(listed.contains("what home, lab has, and configure dockerd") && listed.contains("kubectl label node NODE"));
    assert!(listed.contains("namespace: home}") && listed.contains("does not hold the companions"));
    let bare = notes(&["--set=crds.enabled=false,crds.keep=false,companion.enabled=false"])?;
    assert!(bare.contains("dockseal crds |") && bare.contains("crds.keep is false") && !bare.contains("cluster nodes"));
    Ok(())
}

#[test]
fn values_that_make_no_sense_are_refused_with_a_sentence() -> anyhow::Result<()> {
    let digest = "image.digest is \"sha256:aa\": give sha256: and 64 lower-case hexadecimal digits";
    let budget = "needs either maxUnavailable or minAvailable: set the other one to null";
    for (value, words) in [
        // names and types: the schema's words
        ("companion.profile=root", "at '/companion/profile': value must be one of 'files', 'daemon'"),
        ("image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of"),
        ("log.level=loud", "at '/log/level': value must be one of 'error', 'warn', 'info', 'debug', 'trace'"),
        ("log.format=xml", "at '/log/format': value must be one of 'json', 'text'"),
        ("replicas=2", "additional properties 'replicas' not allowed"),
        ("controller.replica=2", "at '/controller': additional properties 'replica' not allowed"),
        ("companion.portainer.enable=true", "at '/companion/portainer': additional properties 'enable' not allowed"),
        ("controller.replicas=two", "at '/controller/replicas': got string, want integer"),
        ("crds.keep=perhaps", "at '/crds/keep': got string, want boolean"),
        ("companion.namespaces=home", "at '/companion/namespaces': got string, want array"),
        ("controller.service.port=70000", "at '/controller/service/port': maximum"),
        ("networkPolicy.dockerPorts={docker}", "at '/networkPolicy/dockerPorts/0': got string, want integer"),
        ("image.tag=a b", "at '/image/tag': 'a b' does not match pattern"),
        ("companion.maxUnavailable=some", "at '/companion/maxUnavailable': 'some' does not match pattern"),
        ("prometheus.podMonitor.interval=often", "at '/prometheus/podMonitor/interval': 'often' does not match"),
        ("log=null", "at '': missing property 'log'"),
        ("companion.enabled=null", "at '/companion': missing property 'enabled'"),
        // names and paths: the chart's
        ("companion.namespace=", "companion.namespace is empty"),
        ("companion.namespace=dockseal", "companions need a namespace of their own"),
        ("companion.namespace=a'b", "companion.namespace: \"a'b\" is not the name of a namespace"),
        ("companion.namespaces={Home}", "\"Home\" is not the name of a namespace"),
        ("companion.namespaces={*}", "\"*\" is not the name of a namespace"),
        ("companion.directories={/}", "\"/\" is not a directory to deliver to"),
        ("companion.directories={etc}", "\"etc\" is not a directory to deliver to"),
        ("companion.directories={/etc/}", "\"/etc/\" is not a directory to deliver to"),
        ("companion.directories={/etc//a}", "is not a directory to deliver to"),
        ("companion.directories={/etc/../a}", "is not a directory to deliver to"),
        ("companion.directories={/etc/..}", "is not a directory to deliver to"),
        ("companion.directories={/etc/a'b}", "is not a directory to deliver to"),
        ("companion.directories={/etc/a\nb}", "is not a directory to deliver to"),
        ("companion.directories={/var/lib/dockseal}", "is where the companion has what is its own"),
        ("companion.directories={/run/dbus/certs}", "is where the companion has what is its own"),
        ("image.digest=sha256:aa", digest),
        ("image.repository=", "image.repository is empty: give the name of the image"),
        // contradictions
        ("controller.replicas=0", "controller.replicas is 0: nobody would issue and renew; give 1 or more"),
        ("controller.podDisruptionBudget.minAvailable=1", budget),
        ("controller.podDisruptionBudget.maxUnavailable=null", budget),
        (
            "controller.podDisruptionBudget.maxUnavailable=null,controller.podDisruptionBudget.minAvailable=1",
            "minAvailable is 1 of 1 replicas: no node with one could ever be drained",
        ),
        (
            "controller.podDisruptionBudget.maxUnavailable=null,controller.podDisruptionBudget.minAvailable=100%",
            "minAvailable is 100% of 1 replicas",
        ),
        ("controller.podDisruptionBudget.maxUnavailable=0", "maxUnavailable is 0: no node with a replica"),
        ("companion.directories=null", "companion.directories is empty, and companion.enabled is true"),
        ("companion.enabled=false,companion.profile=daemon", "nothing runs that could work on dockerd"),
        (
            "companion.enabled=false,companion.portainer.enabled=true",
            "enable the companion, or leave it to the controller",
        ),
        ("companion.enabled=false,companion.namespaces={home}", "nothing would deliver; enable the companion"),
        (
            "controller.allowedDestinations=null",
            "controller.allowedDestinations is empty: no Portainer could be reached",
        ),
        (
            "controller.allowedDestinations={10.0.0.7}",
            "at '/controller/allowedDestinations/0': '10.0.0.7' does not match",
        ),
        ("controller.allowedDestinations={portainer.lan/32}", "at '/controller/allowedDestinations/0'"),
        ("companion.audiences=null", "companion.audiences is empty: every token"),
        ("companion.maxUnavailable=0", "companion.maxUnavailable is 0: no upgrade would ever go on"),
        (
            "prometheus.serviceMonitor.enabled=true,prometheus.podMonitor.enabled=true",
            "are both enabled: every replica would be asked twice",
        ),
        ("networkPolicy.enabled=true,networkPolicy.dockerPorts=null", "networkPolicy.dockerPorts is empty"),
        ("networkPolicy.enabled=true,networkPolicy.dnsPorts=null", "networkPolicy.dnsPorts is empty"),
        (
            "controller.extraArgs={--companion-namespace=a}",
            "--companion-namespace is set by the chart: use companion.namespace",
        ),
        (
            "controller.extraArgs={--log-level=debug}",
            "controller.extraArgs: --log-level is set by the chart: use log.level",
        ),
        ("companion.extraArgs={--directory,/srv}", "companion.extraArgs: --directory is set by the chart"),
        ("companion.extraEnv[0].name=NODE_NAME", "companion.extraEnv: NODE_NAME is set by the chart: leave it out"),
    ] {
        let error = render(&["--set", value]).err().with_context(|| format!("{value:?} is rendered"))?.to_string();
        assert!(error.contains(words), "{value:?}: {error}");
    }
    Ok(())
}

/// A chart that has this one below it says things to it that it does not know; strictness there broke such charts.
#[test]
fn charts_around_this_one_may_say_what_is_theirs() -> anyhow::Result<()> {
    assert_eq!(rendered("global.theirs.deep=1,enabled=true")?, render(&[])?);
    ensure!(!texts(&Value::Array(rendered("global.theirs=secret-word")?)).contains("secret-word"));
    Ok(())
}

/// What Artifact Hub shows: it reads YAML in texts, and nobody else complains where that is broken.
#[test]
fn artifact_hub_is_told_of_the_kinds_and_of_the_image_as_they_are() -> anyhow::Result<()> {
    let chart = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/dockseal/Chart.yaml"))?;
    let chart: Value = serde_saphyr::from_str(&chart)?;
    let said = |name: &str| -> anyhow::Result<Vec<Value>> {
        Ok(serde_saphyr::from_str(text(&chart["annotations"][format!("artifacthub.io/{name}")]))?)
    };
    let rendered = render(&[])?;
    let names = |list: Vec<String>| list.into_iter().collect::<BTreeSet<_>>();
    let told = said("crds")?.iter().map(|crd| format!("{}{}{}", crd["name"], crd["kind"], crd["version"])).collect();
    let there = of_kind(&rendered, "CustomResourceDefinition").into_iter().map(|crd| {
        format!("{}{}{}", crd["metadata"]["name"], crd["spec"]["names"]["kind"], crd["spec"]["versions"][0]["name"])
    });
    assert_eq!(names(told), names(there.collect()));
    assert_eq!(said("images")?[0]["image"], container(only(&rendered, "Deployment")?)["image"]);
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    for object in said("crdsExamples")? {
        match text(&object["kind"]) {
            "DockerCA" => drop(serde_json::from_value::<dockseal::api::DockerCA>(object)?),
            "DockerHostCert" => drop(serde_json::from_value::<dockseal::api::DockerHostCert>(object)?),
            "DockerClientCert" => drop(serde_json::from_value::<dockseal::api::DockerClientCert>(object)?),
            other => anyhow::bail!("{other} is no kind"),
        }
    }
    ensure!(!said("links")?.is_empty() && !said("changes")?.is_empty(), "links and changes are lists");
    Ok(())
}
