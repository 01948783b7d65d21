//! `dockseal bundle`: what is in it, who may read it, and what it never overwrites.

use crate::fixture::{Fixture, mode};
use std::path::Path;

fn secret(fixture: &Fixture, name: &str, file: &str) -> Vec<u8> {
    std::fs::read(fixture.path("state/secrets/default").join(name).join(file)).unwrap()
}

fn listed(fixture: &Fixture, file: &str) -> Vec<String> {
    let allowlist = fixture.0.run(&format!("tar -tvzf {file}")).unwrap();
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {}", words[0], words[5])
    };
    allowlist.lines().map(entry).collect()
}

#[test]
fn a_clients_files_are_packed_for_its_owner_alone() {
    let fixture = Fixture::good();
    for (what, name, secret_name) in
        [("ci", "ci", "ci-docker-client"), ("ptc/portainer", "portainer", "portainer-portainer-client")]
    {
        let ran = fixture.run(&["bundle", what, "-o", "."]);
        ran.ends(0, "holds the certificate and the private key of");
        assert_eq!(ran.out, "");
        let file = format!("tls-client-certs-{name}.tar.gz");
        assert_eq!(mode(&fixture.path(&file)), 0o600);
        assert_eq!(listed(&fixture, &file), ["-rw------- ca.pem", "-rw------- cert.pem", "-r-------- key.pem"]);
        fixture.0.run(&format!("mkdir {name} && tar -xzf {file} -C {name}")).unwrap();
        for pem in ["ca.pem", "cert.pem", "key.pem"] {
            assert_eq!(
                std::fs::read(fixture.path(name).join(pem)).unwrap(),
                secret(&fixture, secret_name, pem),
                "{pem}"
            );
        }
    }
}

#[test]
fn a_hosts_files_are_named_as_delivery_names_them() {
    let fixture = Fixture::good();
    fixture.run(&["bundle", "dhc/pandora", "-o", "pandora.tgz"]).ends(0, "pandora.tgz holds");
    let names = ["-r--r--r-- ca.pem", "-r--r--r-- pandora.pem", "-r-------- pandora.key"];
    assert_eq!(listed(&fixture, "pandora.tgz"), names);
    let piped = fixture.command(&["bundle", "pandora", "-o", "-", "--state", "state"]).output().unwrap();
    assert_eq!(piped.stdout, std::fs::read(fixture.path("pandora.tgz")).unwrap(), "the same, whoever asks when");
    assert!(piped.stderr.is_empty());
}

#[test]
fn nothing_is_overwritten_unless_it_is_asked_for() {
    let fixture = Fixture::good();
    fixture.0.write("taken", "precious").unwrap();
    fixture.0.run("ln -s precious link; ln -s taken other").unwrap();
    for taken in ["taken", "link", "other"] {
        fixture.run(&["bundle", "ci", "-o", taken]).ends(1, "is there already: give --force to replace it");
    }
    assert_eq!(std::fs::read(fixture.path("taken")).unwrap(), b"precious");
    assert!(!fixture.path("precious").exists(), "a link is not followed");
    fixture.run(&["bundle", "ci", "-o", "other", "--force"]).ends(0, "");
    assert_eq!(
        std::fs::read(fixture.path("taken")).unwrap(),
        b"precious",
        "the link is replaced, not what it leads to"
    );
    fixture.0.run("chmod 644 taken").unwrap();
    fixture.run(&["bundle", "ci", "-o", "taken", "--force"]).ends(0, "");
    assert_eq!(mode(&fixture.path("taken")), 0o600);
    fixture.run(&["bundle", "ci", "-o", "no/such/directory"]).ends(1, "make the directory it is to be in");
    let left = std::fs::read_dir(fixture.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(".dockseal")).collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
}

#[test]
fn it_says_what_it_has_not() {
    let fixture = Fixture::mixed();
    for (arguments, code, words) in [
        (&["bundle", "nope", "-o", "x"][..], 3, "there is no DockerHostCert, DockerClientCert or PortainerClient nope"),
        (&["bundle", "dca/homelab", "-o", "x"], 2, "it must be a DockerHostCert, DockerClientCert or PortainerClient"),
        (&["bundle", "broken", "-o", "x"], 4, "has no certificate yet: there is no Secret default/broken-docker-host"),
        (&["bundle", "ci"], 2, "<--output <FILE>|--install [<DIR>]>"),
        (&["bundle", "ci", "-o", "x", "--install"], 2, "cannot be used with"),
        (&["bundle", "attic", "-o", "x"], 2, "name the kind"),
        (&["bundle", "dhc/attic", "--install"], 2, "the Docker CLI needs a client's"),
    ] {
        fixture.run(arguments).ends(code, words);
        assert!(!fixture.path("x").exists());
    }
    let ran = fixture.run(&["up", "nope.yaml"]);
    ran.ends(1, "failed to read nope.yaml: No such file or directory (os error 2)\n");
    let ran = fixture.on_terminal(80, "", "bundle ci -o -");
    assert_eq!(ran.code, Some(2));
    assert!(ran.out.contains("a private key is not printed on a terminal") && !ran.out.contains('\x1f'), "{}", ran.out);
    // A Secret that is another's, and one that is damaged.
    std::fs::rename(fixture.path("state/secrets/default/ci-docker-client"), fixture.path("ci")).unwrap();
    fixture.0.run("cp -r state/secrets/default/attic-docker-client state/secrets/default/ci-docker-client").unwrap();
    fixture
        .run(&["bundle", "ci", "-o", "x"])
        .ends(4, "Secret default/ci-docker-client is not that of DockerClientCert/default/ci");
    fixture
        .0
        .run("rm -rf state/secrets/default/ci-docker-client && mv ci state/secrets/default/ci-docker-client")
        .unwrap();
    fixture
        .0
        .run("cd state/secrets/default/ci-docker-client && rm tls.key && cp ../attic-docker-client/tls.key .")
        .unwrap();
    fixture.run(&["bundle", "ci", "-o", "x"]).ends(4, "is damaged");
}

#[test]
fn files_are_installed_for_the_docker_cli() {
    let fixture = Fixture::mixed();
    let files =
        |directory: &Path| ["ca.pem", "cert.pem", "key.pem"].map(|name| std::fs::read(directory.join(name)).unwrap());
    let ran = fixture.run(&["bundle", "ci", "--install"]);
    ran.ends(0, "DOCKER_HOST=tcp://HOST:2376");
    let docker = fixture.path("home/.docker");
    assert_eq!(ran.out, format!("export DOCKER_TLS_VERIFY=1\nexport DOCKER_CERT_PATH='{}'\n", docker.display()));
    assert_eq!(mode(&docker), 0o700);
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        assert_eq!(mode(&docker.join(name)), 0o600, "{name}");
        assert_eq!(std::fs::read(docker.join(name)).unwrap(), secret(&fixture, "ci-docker-client", name));
    }
    // The same again, as after a renewal, and another's instead.
    fixture.run(&["bundle", "ci", "--install"]).ends(0, "");
    let before = files(&docker);
    fixture.run(&["bundle", "dcc/attic", "--install"]).ends(1, "is there already: give --force to replace it");
    assert_eq!(files(&docker), before);
    fixture.run(&["bundle", "dcc/attic", "--install", "--force"]).ends(0, "");
    assert_ne!(files(&docker), before);
    // What the user put there since is the user's.
    fixture.0.write("home/.docker/key.pem", "mine").unwrap();
    fixture.run(&["bundle", "dcc/attic", "--install"]).ends(1, "is there already");
    assert_eq!(std::fs::read(docker.join("key.pem")).unwrap(), b"mine");
    // A directory with a quote in its name goes through a shell.
    let ran = fixture.run(&["bundle", "ci", "--install", "it's/here"]);
    ran.ends(0, "");
    fixture.0.write("exports", &ran.out).unwrap();
    let there = fixture.0.run(". ./exports && cat \"$DOCKER_CERT_PATH/cert.pem\" && echo $DOCKER_TLS_VERIFY").unwrap();
    assert!(there.ends_with("-----END CERTIFICATE-----\n1\n"), "{there}");
    let homeless =
        fixture.command(&["bundle", "ci", "--install", "--state", "state"]).env_remove("HOME").output().unwrap();
    assert_eq!(homeless.status.code(), Some(1));
}
