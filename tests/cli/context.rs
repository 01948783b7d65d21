//! `dockseal context`: with the real Docker CLIs of this machine, against a real dockerd.

use crate::fixture::{CommandOutput, Fixture, GOOD, MORE, mode};
use crate::support::dockerd::Dockerd;
use crate::support::ports;
use std::process::Command;

/// The Docker CLIs that there are: that of the path, and Debian's.
fn paths() -> Vec<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    vec![path.clone(), format!("/usr/bin:{path}")]
}

struct Cli<'a> {
    fixture: &'a Fixture,
    path: &'a str,
}

impl Cli<'_> {
    fn docker(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = Command::new("docker");
        command.args(arguments).current_dir(self.fixture.0.path()).env_clear().env("PATH", self.path);
        command.env("DOCKER_CONFIG", self.fixture.path("docker")).env("HOME", self.fixture.path("home"));
        command.output().unwrap().into()
    }

    fn dockseal(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = self.fixture.command(&[arguments, &["--state", "state"]].concat());
        command.env("PATH", self.path).env("DOCKER_CONFIG", self.fixture.path("docker"));
        command.output().unwrap().into()
    }

    fn serves(&self, context: &str) {
        let ran = self.docker(&["--context", context, "version", "--format", "{{.Server.Version}}"]);
        assert_eq!(ran.code, Some(0), "{context}: {ran:?}");
    }
}

#[test]
fn the_docker_cli_reaches_a_dockerd_with_it() {
    let port = ports::free().unwrap();
    let fixture = Fixture::of(&GOOD.replace("12376", &port.to_string()));
    let host = fixture.path("state/secrets/default/pandora-docker-host");
    let dockerd = Dockerd::start_on(port, &host.join("cert.pem"), &host.join("key.pem"), &host.join("ca.pem")).unwrap();
    for (number, path) in paths().iter().enumerate() {
        let cli = Cli { fixture: &fixture, path };
        let (file, name) = (format!("file{number}"), format!("installed{number}"));
        cli.dockseal(&["context", &file, "pandora", "--client", "ci"]).ends(0, "docker context import");
        let written = format!("{file}.dockercontext");
        assert_eq!(mode(&fixture.path(&written)), 0o600);
        cli.dockseal(&["context", &file, "pandora", "--client", "ci"]).ends(1, "is there already");
        let imported = cli.docker(&["context", "import", &file, &written]);
        assert_eq!(imported.code, Some(0), "{imported:?}");
        cli.serves(&file);
        cli.dockseal(&["context", &name, "pandora", "--client", "ci", "--install"]).ends(0, "made the context");
        cli.serves(&name);
        // After a renewal the same line updates it: here, what is there is broken, and is whole again then.
        fixture.0.run("find docker/contexts/tls -name key.pem -exec cp objects.yaml {} \\;").unwrap();
        assert_ne!(cli.docker(&["--context", &name, "version"]).code, Some(0));
        cli.dockseal(&["context", &name, "pandora", "--client", "ci", "--install"]).ends(0, "updated the context");
        cli.serves(&name);
        cli.dockseal(&["context", &name, "attic", "--client", "ci", "--install"])
            .ends(1, "choose another name, or give --force");
        cli.serves(&name);
        cli.dockseal(&["context", &name, "attic", "--client", "ci", "--install", "--force"])
            .ends(0, "tcp://[fd00::7]:2376");
    }
    drop(dockerd);
}

#[test]
fn no_key_is_an_argument_or_stays_behind() {
    let fixture = Fixture::good();
    let spy = "#!/bin/sh
echo \"$*\" >> args
case \"$*\" in
  *inspect*) cat there 2>/dev/null || exit 1 ;;
  *import*) cat > imported ;;
  *update*) for word in $(echo \"$*\" | tr ',' ' '); do case $word in key=*) stat -c '%a %n' ${word#key=} >> modes; stat -c %a $(dirname ${word#key=}) >> modes ;; esac; done ;;
esac
";
    std::fs::create_dir(fixture.path("bin")).unwrap();
    fixture.0.program("bin/docker", spy).unwrap();
    std::fs::create_dir(fixture.path("run")).unwrap();
    let path = format!("{}:{}", fixture.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let run = || -> CommandOutput {
        let mut command = fixture.command(&["context", "ci", "pandora", "--install", "--state", "state"]);
        command.env("PATH", &path).env("XDG_RUNTIME_DIR", fixture.path("run")).env("DOCKER_HOST", "tcp://elsewhere");
        command.output().unwrap().into()
    };
    run().ends(0, "DOCKER_HOST is set and overrides every context");
    fixture.0.write("there", "\"tcp://127.0.0.1:12376\"").unwrap();
    run().ends(0, "updated the context ci");
    let read = |name: &str| std::fs::read_to_string(fixture.path(name)).unwrap();
    let modes = read("modes");
    let modes: Vec<&str> = modes.lines().collect();
    assert!(modes[0].starts_with(&format!("600 {}", fixture.path("run").display())) && modes[1] == "700", "{modes:?}");
    assert!(!read("args").contains("PRIVATE") && read("imported").contains("BEGIN PRIVATE KEY"));
    assert_eq!(std::fs::read_dir(fixture.path("run")).unwrap().count(), 0, "nothing stays behind");
}

#[test]
fn it_says_what_does_not_fit() {
    let fixture = Fixture::of(&format!(
        "{GOOD}{MORE}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerCA
metadata: {{name: second}}
spec: {{subject: {{commonName: Second}}}}
---
apiVersion: dockseal.dev/v1alpha1
kind: DockerClientCert
metadata: {{name: stranger}}
spec: {{caRef: {{name: second}}, commonName: stranger}}
"
    ));
    for (arguments, code, words) in [
        (&["context", "ci", "nope"][..], 3, "there is no DockerHostCert nope"),
        (&["context", "nope", "attic"], 3, "where the client is called otherwise, give --client"),
        (&["context", "ci", "pandora"], 2, "name the namespace with -n"),
        (&["context", "a b", "attic", "--client", "ci"], 2, "is not a context name"),
        (&["context", "default", "attic", "--client", "ci"], 2, "is not a context name"),
        (&["context", "stranger", "attic"], 1, "have different authorities"),
        (&["context", "ci", "attic", "--install", "-o", "x"], 2, "cannot be used with"),
        (&["context", "ci"], 2, "HOST"),
    ] {
        fixture.run(arguments).ends(code, words);
    }
    let mut without = fixture.command(&["context", "ci", "attic", "--install", "--state", "state"]);
    let ran: CommandOutput = without.env("PATH", "/nowhere").output().unwrap().into();
    ran.ends(1, "is the Docker CLI installed?");
    let piped = fixture.run(&["context", "ci", "attic", "-o", "-"]);
    assert!(piped.out.starts_with("meta.json\0"), "{piped:?}");
    let ran = fixture.on_terminal(80, "", "context ci attic -o -");
    assert_eq!(ran.code, Some(2));
    assert!(ran.out.contains("a private key is not printed on a terminal"), "{}", ran.out);
}
