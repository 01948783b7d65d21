//! A Portainer: its environments as manifests, what is said of them, and that they are taken over in the end.

use super::{CommandOutput, dockseal};
use crate::support::docker_like::{DockerLike, Material};
use crate::support::portainer::Portainer;
use crate::support::scratch::Scratch;

fn adopt(scratch: &Scratch, portainer: &Portainer, words: &[&str]) -> CommandOutput {
    let url = portainer.url();
    let words = [&["adopt", "--portainer", &url, "--allow-http"], words].concat();
    dockseal(scratch.path(), &words, &[("PORTAINER_API_KEY", portainer.admin_key())])
}

#[test]
fn each_docker_host_over_tcp_is_one_and_the_rest_says_why_not() -> anyhow::Result<()> {
    let (portainer, scratch) = (Portainer::start()?, Scratch::new("takeover")?);
    let (group, tag) = (portainer.add_group("homelab"), portainer.add_tag("site-home"));
    let sound = portainer.add_environment("pandora", "tcp://pandora.bodkys.house:2376");
    portainer.equip(sound, "ca", "cert", "key");
    portainer.edit(sound, |environment| {
        (environment.group, environment.tags) = (group, vec![tag]);
        environment.public_url = "pandora.example".into();
    });
    let loose = portainer.add_environment("My NAS", "tcp://192.168.1.7:12376");
    portainer.equip(loose, "ca", "cert", "key");
    portainer.edit(loose, |environment| environment.tls.skip_verify = true);
    portainer.add_environment("plain", "tcp://192.168.1.8:2375");
    for (name, url, kind) in [
        ("local", "unix:///var/run/docker.sock", 1),
        ("agent", "tcp://192.168.1.9:9001", 2),
        ("edge", "tcp://portainer:8000", 4),
        ("twin", "tcp://PANDORA.bodkys.house:2376/", 1),
    ] {
        let id = portainer.add_environment(name, url);
        portainer.edit(id, |environment| environment.kind = kind);
    }
    let ours = portainer.add_environment("ours", "tcp://192.168.1.10:2376");
    let mark = portainer.add_tag("dockseal/home/portainer/12345678");
    portainer.edit(ours, |environment| environment.tags = vec![mark]);

    let said = adopt(&scratch, &portainer, &["--ca", "homelab", "--name", "main"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(portainer.calls().iter().all(|call| call.method == http::Method::GET) && !portainer.calls().is_empty());
    for words in [
        "insecure  http://",
        "insecure  environment My NAS (number 2): TLS without verification of the host",
        "insecure  environment plain (number 3): no TLS: anyone who reaches its port is root there",
        "left out  environment local (number 4): it is a socket",
        "left out  environment agent (number 5): it is reached by Portainer's agent",
        "left out  environment edge (number 6): it is reached by an edge agent",
        "left out  environment twin (number 7): environment pandora (number 1) has the same address",
        "left out  environment ours (number 8): it is Dockseal's already",
        "note      environment plain (number 3): its address, tcp://192.168.1.8:2375, is not the one of TLS",
        "Portainer 2.33.5\n",
    ] {
        assert!(said.err.contains(words), "{words}\n{}", said.err);
    }
    assert!(!said.err.contains("pandora (number 1): "), "it is sound: {}", said.err);
    assert!(!said.out.contains(portainer.admin_key()) && !said.err.contains(portainer.admin_key()));
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&said.out)?;
    let found = |kind: &str| documents.iter().filter(|one| one["kind"] == kind).cloned().collect::<Vec<_>>();
    let wanted = [
        serde_json::json!({ "caRef": { "name": "homelab" }, "hostname": "pandora.bodkys.house",
            "portainer": { "publicURL": "pandora.example", "group": "homelab", "tags": ["site-home"] } }),
        serde_json::json!({ "caRef": { "name": "homelab" }, "ipAddresses": ["192.168.1.7"],
            "address": { "port": 12376 }, "portainer": { "name": "My NAS" } }),
        serde_json::json!({ "caRef": { "name": "homelab" }, "ipAddresses": ["192.168.1.8"] }),
    ];
    let hosts = found("DockerHostCert");
    assert_eq!(hosts.iter().map(|host| host["spec"].clone()).collect::<Vec<_>>(), wanted);
    assert!(hosts.iter().all(|host| host["metadata"]["labels"]["portainer"] == "main"));
    let client = &found("PortainerClient")[0];
    assert_eq!((&client["metadata"]["name"], &client["spec"]["adoption"]), (&"main".into(), &"MatchingURL".into()));
    assert_eq!(client["spec"]["hostSelector"]["matchLabels"]["portainer"], "main");
    Ok(())
}

#[test]
fn who_may_not_see_them_is_told() -> anyhow::Result<()> {
    let (portainer, scratch) = (Portainer::start()?, Scratch::new("takeover")?);
    portainer.add_environment("pandora", "tcp://pandora:2376");
    let url = portainer.url();
    let ask = |words: &[&str], key: &str| {
        dockseal(scratch.path(), &[&["adopt", "--portainer", &url], words].concat(), &[("PORTAINER_API_KEY", key)])
    };
    let standard = ask(&["--allow-http"], &portainer.add_user("standard", 2));
    assert_eq!((standard.code, standard.out.as_str()), (1, ""));
    assert!(standard.err.contains("standard is not an administrator"), "{}", standard.err);
    let wrong = ask(&["--allow-http"], "ptr_wrong");
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("it rejects the credential") && !wrong.err.contains("ptr_wrong"), "{}", wrong.err);
    assert_eq!(ask(&["--allow-http"], "").code, 2);
    let clear = ask(&[], portainer.admin_key());
    assert_eq!(clear.code, 2, "{}", clear.err);
    assert!(portainer.calls().iter().all(|call| !call.is_write()));
    Ok(())
}

/// From a how-to's directory and a Portainer to a registered host: the environment keeps its number, name and tags.
#[test]
fn what_was_made_by_hand_is_taken_over_in_place() -> anyhow::Result<()> {
    let (portainer, scratch) = (Portainer::start()?, Scratch::new("takeover")?);
    scratch.run(
        "mkdir made; cd made; umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj '/CN=Docker CA' -days 365
for name in server client; do
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
  printf 'extendedKeyUsage=%sAuth\\nsubjectAltName=IP:127.0.0.1\\n' $name >$name.ext
  openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile $name.ext -out $name.pem -days 365
done; rm server.csr client.csr",
    )?;
    let read = |file: &str| std::fs::read_to_string(scratch.path().join(file));
    let old =
        Material { chain: read("made/server.pem")?, key: read("made/server.key")?, clients: read("made/ca.pem")? };
    let docker = DockerLike::start(&old)?;
    let tag = portainer.add_tag("mine");
    let id = portainer.add_environment("Pandora!", &docker.url());
    portainer.equip(id, &read("made/ca.pem")?, &read("made/client.pem")?, &read("made/client.key")?);
    portainer.edit(id, |environment| environment.tags = vec![tag]);

    scratch.write("key", portainer.admin_key())?;
    let hosts = adopt(&scratch, &portainer, &["--ca", "docker-ca", "--credentials-file", "key"]);
    assert_eq!(hosts.code, 0, "{}", hosts.err);
    assert!(!portainer.calls().iter().any(|call| call.is_write()));
    scratch.run("mkdir authority; cp made/ca.* authority")?;
    let authority = dockseal(scratch.path(), &["adopt", "--openssl", "authority"], &[]);
    scratch.write("all.yaml", format!("{}{}", authority.out, hosts.out))?;
    let up = |timeout: &str| {
        let words = ["up", "all.yaml", "--once", "--timeout", timeout, "--state", "state"];
        dockseal(scratch.path(), &words, &[])
    };
    let issued = scratch.path().join("state/secrets/default/pandora-docker-host/cert.pem");
    for timeout in ["3s", "15s", "60s"] {
        let first = up(timeout); // on a busy machine it may not have come that far
        assert_eq!(first.code, 4, "the host serves its old certificate: {}", first.err);
        if issued.exists() {
            break;
        }
    }
    let new = |file: &str| read(&format!("state/secrets/default/pandora-docker-host/{file}"));
    docker.reload(&Material { chain: new("cert.pem")?, key: new("key.pem")?, clients: new("ca.pem")? })?;
    let second = up("120s");
    assert_eq!(second.code, 0, "{}\n{}", second.err, second.out);
    let environments = portainer.environments();
    assert_eq!(environments.len(), 1, "{environments:?}");
    assert_eq!((environments[0].id, environments[0].name.as_str()), (id, "Pandora!"));
    assert!(environments[0].tags.contains(&tag));
    let client = read("state/secrets/default/portainer-portainer-client/cert.pem")?;
    assert_eq!(portainer.tls_file(id, "cert").as_deref(), Some(client.as_str()));
    Ok(())
}
