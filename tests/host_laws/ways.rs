//! Whatever a host was made to do before a take-over: its clients are kept, or it is refused by name and left as it is.

use super::*;
use sim::host::Machine;
use std::sync::LazyLock;

/// Another how-to's authority.
static LATER: LazyLock<Authority> = LazyLock::new(|| authority("Later CA"));

const LISTEN: &str = "/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2376";
const PAIR: &str = "--tlscert=/srv/old/cert.pem --tlskey=/srv/old/key.pem";

/// How a host was made to serve a how-to's clients, and how that ends.
struct Way {
    /// Lines of docker.service, with the command line.
    service: String,
    /// What else is written before dockerd starts.
    before: Box<dyn Fn(&mut Machine)>,
    /// What is done while it runs.
    after: Box<dyn Fn(&mut Machine)>,
    /// A word of the refusal; none where it is taken over.
    refused: Option<&'static str>,
}

impl Way {
    fn of(service: impl Into<String>) -> Way {
        Way { service: service.into(), before: Box::new(|_| ()), after: Box::new(|_| ()), refused: None }
    }

    /// That command line.
    fn exec(flags: &str) -> Way {
        Way::of(format!("ExecStart={LISTEN} {PAIR} {flags}"))
    }

    /// As a how-to's files would have it, found by a variable.
    fn variables(lines: &str, flags: &str) -> Way {
        Way::of(format!("{lines}\nExecStart={LISTEN} {PAIR} {flags}"))
    }

    fn json(json: &str) -> Way {
        let json = json.replace("PAIR", r#""tlscert": "/srv/old/cert.pem", "tlskey": "/srv/old/key.pem""#);
        Way::of("ExecStart=/usr/sbin/dockerd").with(DAEMON_JSON, json)
    }

    fn with(self, path: &'static str, text: impl AsRef<[u8]>) -> Way {
        let text = text.as_ref().to_vec();
        self.with_entry(path, file(text))
    }

    fn with_entry(self, path: &'static str, entry: PathEntry) -> Way {
        let before = self.before;
        let both = move |machine: &mut Machine| {
            before(machine);
            machine.set(path, entry.clone());
        };
        Way { before: Box::new(both), ..self }
    }

    fn then(self, after: impl Fn(&mut Machine) + 'static) -> Way {
        Way { after: Box::new(after), ..self }
    }

    fn refused(self, word: &'static str) -> Way {
        Way { refused: Some(word), ..self }
    }

    fn machine(&self, name: &str) -> Machine {
        let mut machine = debian(STOCK);
        old_files(&mut machine, OLD, ["cert.pem", "key.pem"]);
        machine.set(OVERRIDE, file(format!("[Service]\nExecStart=\n{}\n", self.service)));
        (self.before)(&mut machine);
        machine.boot();
        assert!(machine.dockerd.is_some(), "{name}: dockerd does not start: {:?}", machine.last_error);
        (self.after)(&mut machine);
        let served = machine.dockerd.is_none() || !anchors(&admitted(&machine)).is_empty();
        assert!(served || self.refused.is_some(), "{name}: nobody is served");
        machine.begin();
        machine
    }
}

fn link(to: &str) -> PathEntry {
    PathEntry::Link(to.into())
}

/// The how-to's ca.pem in several blocks.
fn blocks(blocks: &[&str]) -> String {
    blocks.concat()
}

fn old_ca() -> String {
    AUTHORITIES[1].certificate.to_pem()
}

/// A block in which a line is missing.
fn damaged() -> String {
    let pem = authority("Damaged CA").certificate.to_pem();
    let lines: Vec<&str> = pem.lines().enumerate().filter(|(at, _)| *at != 2).map(|(_, line)| line).collect();
    lines.join("\n") + "\n"
}

/// Whose clients the dockerd that runs admits.
fn admitted(machine: &Machine) -> Vec<Certificate> {
    let tls = machine.dockerd.as_ref().and_then(|dockerd| dockerd.tls.clone());
    tls.and_then(|tls| tls.anchors).unwrap_or_default()
}

fn restarted(machine: &mut Machine) {
    let _ = machine.run("restart", "docker.service");
    assert!(machine.dockerd.is_some(), "{:?}", machine.last_error);
}

fn flags() -> Vec<(&'static str, Way)> {
    let exec = Way::exec;
    vec![
        ("in two words", exec("--tlsverify --tlscacert /srv/old/ca.pem")),
        ("in quotes of systemd", exec("--tlsverify \"--tlscacert=/srv/old/ca.pem\"")),
        ("in escapes of systemd", exec("--tlsverify --tlscacert=\\x2fsrv/old/ca.pem")),
        ("tls alone", exec("--tls --tlscacert=/srv/old/ca.pem")),
        ("a flag that is repeated", exec("--tlscacert=/nowhere --tlsverify --tlscacert=/srv/old/ca.pem")),
        ("a switch with a value", exec("--tlsverify=true --tlscacert=/srv/old/ca.pem")),
        ("lines that go on", exec("--tlsverify \\\n  # why\n  --tlscacert=/srv/old/ca.pem")),
        ("a path relative to the root", exec("--tlsverify --tlscacert=srv/old/ca.pem")),
        (
            "a path relative to WorkingDirectory=",
            Way::variables("WorkingDirectory=/srv", "--tlsverify --tlscacert=old/ca.pem"),
        ),
        (
            "a path that goes up",
            Way::variables("WorkingDirectory=/srv/other/deep", "--tlsverify --tlscacert=../../old/ca.pem"),
        ),
        ("doubled signs", exec("--tlsverify --tlscacert=/srv/100%%/$$/ca.pem").with("/srv/100%/$/ca.pem", old_ca())),
        (
            "other forms of -H",
            Way::of(format!(
                "ExecStart=/usr/sbin/dockerd -DH fd:// --host=tcp://0.0.0.0:2376 -H=unix:///run/b.sock {PAIR} --tlsverify \
                 --tlscacert=/srv/old/ca.pem"
            )),
        ),
    ]
}

fn variables() -> Vec<(&'static str, Way)> {
    const VERIFY: &str = "--tlsverify";
    const CERTS: &str = "--tlsverify --tlscacert=${CERTS}/ca.pem";
    let options = format!(
        "Environment=\"DOCKER_OPTS=-H tcp://0.0.0.0:2376 {PAIR} --tlsverify --tlscacert=/srv/old/ca.pem\"\n\
         ExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS"
    );
    vec![
        ("all flags in Environment=", Way::of(options).with("/etc/default/docker", "# DOCKER_OPTS=\n")),
        ("DOCKER_CERT_PATH", Way::variables("Environment=DOCKER_CERT_PATH=/srv/old", VERIFY)),
        ("DOCKER_CERT_PATH, relative", Way::variables("Environment=DOCKER_CERT_PATH=srv/other/../old", VERIFY)),
        ("DOCKER_CONFIG", Way::variables("Environment=DOCKER_CONFIG=/srv/old", VERIFY)),
        ("HOME", Way::variables("Environment=HOME=/home/h", VERIFY).with("/home/h/.docker/ca.pem", old_ca())),
        ("no home at all", Way::exec(VERIFY).with("/root/.docker/ca.pem", old_ca())),
        ("a path with a variable", Way::variables("Environment=A=b CERTS=/srv/old", CERTS)),
        (
            "a variable of a file",
            Way::variables("EnvironmentFile=/etc/certs.env", CERTS).with("/etc/certs.env", "CERTS='/srv/old'\n"),
        ),
        (
            "a file that goes over Environment=",
            Way::variables("EnvironmentFile=-/etc/certs.env\nEnvironment=CERTS=/nowhere", CERTS)
                .with("/etc/certs.env", "# CERTS=/a\nCERTS=/srv/\\\nold\n"),
        ),
        (
            "a file that may be missing, and is",
            Way::variables("EnvironmentFile=-/etc/no.env\nEnvironment=CERTS=/srv/old", CERTS),
        ),
        (
            "DOCKER_TLS_VERIFY",
            Way::json(r#"{"hosts": ["fd://", "tcp://0.0.0.0:2376"], "tlsverify": true, PAIR}"#)
                .service("Environment=DOCKER_TLS_VERIFY=0 DOCKER_CERT_PATH=/srv/old\nExecStart=/usr/sbin/dockerd"),
        ),
        (
            "a variable that only systemd knows, and that the process has",
            Way::variables("Environment=STATE_DIRECTORY=/srv/old", "--tlsverify --tlscacert=${STATE_DIRECTORY}/ca.pem"),
        ),
        (
            "a file that is gone by now",
            Way::variables("EnvironmentFile=/etc/certs.env", CERTS)
                .with("/etc/certs.env", "CERTS=/srv/old\n")
                .then(|machine| machine.set("/etc/certs.env", PathEntry::Absent))
                .refused("/etc/certs.env"),
        ),
        (
            "a pattern of files",
            Way::variables("EnvironmentFile=-/etc/docker/*.env", "--tlsverify --tlscacert=/srv/old/ca.pem $MORE")
                .refused("*.env"),
        ),
        (
            "a variable of systemd's own environment",
            Way::variables("PassEnvironment=MORE", "--tlsverify --tlscacert=/srv/old/ca.pem $MORE")
                .refused("PassEnvironment"),
        ),
        (
            "a variable that systemd sets",
            Way::exec("--tlsverify --tlscacert=/srv/old/ca.pem --label=a=${CREDENTIALS_DIRECTORY}")
                .refused("CREDENTIALS_DIRECTORY"),
        ),
    ]
}

impl Way {
    fn service(self, service: &str) -> Way {
        Way { service: service.to_owned(), ..self }
    }
}

fn files() -> Vec<(&'static str, Way)> {
    const FLAGS: &str = "--tlsverify --tlscacert=/srv/ca.pem";
    let with = |text: String| Way::exec(FLAGS).with("/srv/ca.pem", text);
    let (later, damaged) = (LATER.certificate.to_pem(), damaged());
    vec![
        ("a link", Way::exec(FLAGS).with_entry("/srv/ca.pem", link("old/ca.pem"))),
        (
            "a link in the middle of the path",
            Way::exec("--tlsverify --tlscacert=/etc/pki/ca.pem").with_entry("/etc/pki", link("../srv/./old")),
        ),
        ("a damaged block before a good one", with(blocks(&[&damaged, &old_ca()]))),
        ("a damaged block behind a good one", with(blocks(&[&old_ca(), &damaged]))),
        ("text around the blocks", with(blocks(&["Certificate:\n  Subject: CN=x\n", &old_ca(), "\nthe end"]))),
        ("lines as on Windows", with(old_ca().replace('\n', "\r\n"))),
        ("two authorities, of which one is lost", with(blocks(&[&old_ca(), &later])).refused("additionalTrust")),
        (
            "a file that is gone by now",
            with(old_ca()).then(|machine| machine.set("/srv/ca.pem", PathEntry::Absent)).refused("/srv/ca.pem"),
        ),
        (
            "a file that was changed",
            with(later.clone()).then(|machine| machine.set("/srv/ca.pem", file(old_ca()))).refused("/srv/ca.pem"),
        ),
        (
            "a link that was changed",
            Way::exec(FLAGS)
                .with("/srv/later.pem", later.clone())
                .with_entry("/srv/ca.pem", link("later.pem"))
                .then(|machine| machine.set("/srv/ca.pem", link("old/ca.pem")))
                .refused("/srv/ca.pem"),
        ),
        ("a file that is another by now, after a restart", {
            with(later).then(|machine| {
                machine.set("/srv/ca.pem", file(old_ca()));
                restarted(machine);
            })
        }),
    ]
}

fn daemon_json() -> Vec<(&'static str, Way)> {
    const HOSTS: &str = r#""hosts": ["unix:///run/docker.sock", "tcp://0.0.0.0:2376"], PAIR"#;
    let json = |more: &str| Way::json(&format!("{{{HOSTS}, {more}}}"));
    let verify = r#""tlsverify": true, "tlscacert": "/srv/old/ca.pem""#;
    vec![
        ("tlsverify", json(verify)),
        ("tls alone", json(r#""tls": true, "tlscacert": "/srv/old/ca.pem""#)),
        ("names in other letters", json(r#""TLSVerify": true, "tlsCACert": "/srv/old/ca.pem""#)),
        ("a name in escapes", json(r#""tlsverify": true, "tlscacer\u0074": "/srv/old/ca.pem""#)),
        (
            "a relative path",
            json(r#""tlsverify": true, "tlscacert": "old/ca.pem""#)
                .service("WorkingDirectory=/srv\nExecStart=/usr/sbin/dockerd"),
        ),
        (
            "the switch a flag, the file in daemon.json",
            Way::json(r#"{"tlscacert": "/srv/old/ca.pem"}"#).service(&format!("ExecStart={LISTEN} {PAIR} --tlsverify")),
        ),
        ("no file named", json(r#""tlsverify": true"#).refused("tlscacert")),
        (
            "changed since",
            json(&verify.replace("/srv/old", "/srv/later"))
                .with("/srv/later/ca.pem", LATER.certificate.to_pem())
                .then(|machine| {
                    let text = String::from_utf8(machine.bytes(DAEMON_JSON.as_ref()).unwrap()).unwrap();
                    machine.set(DAEMON_JSON, file(text.replace("/srv/later", "/srv/old")));
                })
                .refused("daemon.json was changed"),
        ),
        (
            "removed since",
            json(verify).then(|machine| machine.set(DAEMON_JSON, PathEntry::Absent)).refused("daemon.json was changed"),
        ),
        (
            "emptied since",
            json(verify).then(|machine| machine.set(DAEMON_JSON, file("{}"))).refused("daemon.json was changed"),
        ),
    ]
}

fn units() -> Vec<(&'static str, Way)> {
    let flags = "--tlsverify --tlscacert=/srv/old/ca.pem";
    let script = format!("#!/bin/sh\nexec dockerd -H fd:// -H tcp://0.0.0.0:2376 {PAIR} {flags} \"$@\"\n");
    let edited = |text: &'static str| {
        move |machine: &mut Machine| {
            machine.set(OVERRIDE, file(format!("[Service]\nExecStart=\n{text}\n")));
            machine.reload();
        }
    };
    let later = "ExecStart=/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2376 --tlscert=/srv/old/cert.pem \
                 --tlskey=/srv/old/key.pem --tlsverify --tlscacert=/srv/later/ca.pem";
    vec![
        (
            "a script with flags of its own",
            Way::of("ExecStart=/usr/local/bin/start")
                .with("/usr/local/bin/start", script)
                .refused("/usr/local/bin/start"),
        ),
        (
            "a script that adds nothing",
            Way::of(format!("ExecStart=/usr/local/bin/start -H fd:// -H tcp://0.0.0.0:2376 {PAIR} {flags}"))
                .with("/usr/local/bin/start", "#!/bin/sh\nexec dockerd \"$@\"\n"),
        ),
        ("flags that are gone by now", Way::exec(flags).then(edited("ExecStart=/usr/sbin/dockerd -H fd://"))),
        (
            "flags with another file by now",
            Way::exec(flags)
                .with("/srv/later/ca.pem", LATER.certificate.to_pem())
                .then(edited(later))
                .refused("additionalTrust"),
        ),
        (
            "flags that are yet to come, of a file that is there",
            Way::exec(flags).with("/srv/later/ca.pem", old_ca()).then(edited(later)),
        ),
        ("stopped", Way::exec(flags).then(|machine| machine.run("stop", "docker.service").unwrap())),
        (
            "stopped, and the file is not there",
            Way::exec(flags)
                .then(|machine| {
                    machine.run("stop", "docker.service").unwrap();
                    machine.set("/srv/old/ca.pem", PathEntry::Absent);
                })
                .refused("/srv/old/ca.pem"),
        ),
    ]
}

fn all() -> Vec<(&'static str, Way)> {
    [flags(), variables(), files(), daemon_json(), units()].into_iter().flatten().collect()
}

/// Delivers to a host of that way, and returns it with what is said of dockerd.
fn delivered(way: (&str, &Way), take_over: bool, bundle: &[&Authority]) -> (Machine, SimHost, (String, String)) {
    let machine = way.1.machine(way.0);
    let host = SimHost::of(machine.clone(), clock());
    let mut delivery = delivery(Mode::Daemon);
    (delivery.host.delivery.take_over, delivery.secret) = (take_over, secret(0, bundle));
    let status = settle(&host, &delivery);
    let serving = status.conditions.iter().find(|condition| condition.type_ == "Serving").unwrap().clone();
    (machine, host, (serving.reason, serving.message))
}

/// What is refused leaves the host byte for byte as it was, with the same dockerd.
fn refused(name: &str, (before, host, (reason, message)): (Machine, SimHost, (String, String)), word: &str) {
    assert_eq!(reason, "DaemonConflict", "{name}: {message}");
    assert!(message.contains(word), "{name}: {message}");
    let after = host.open();
    let mut files = after.configuration();
    files.retain(|path, _| !path.starts_with("/var/lib/dockseal"));
    assert_eq!(files, before.configuration(), "{name}");
    let started = |machine: &Machine| machine.dockerd.as_ref().map(|dockerd| dockerd.started);
    assert_eq!(started(&after), started(&before), "{name}: dockerd was restarted");
    let changes = after.log.iter().filter(|change| !change.contains("/var/lib/dockseal"));
    assert_eq!(changes.count(), 0, "{name}: {:?}", after.log);
}

#[test]
fn without_consent_a_host_of_others_is_left_alone() {
    let [ours, old] = &*AUTHORITIES;
    for (name, way) in all() {
        refused(name, delivered((name, &way), false, &[ours, old]), "");
    }
}

#[test]
fn old_clients_that_the_bundle_does_not_admit_are_not_shut_out() {
    for (name, way) in all() {
        let word = way.refused.unwrap_or("additionalTrust");
        refused(name, delivered((name, &way), true, &[&AUTHORITIES[0]]), word);
    }
}

#[test]
fn old_clients_are_served_after_a_take_over() {
    let [ours, old] = &*AUTHORITIES;
    for (name, way) in all() {
        let done = delivered((name, &way), true, &[ours, old]);
        if let Some(word) = way.refused {
            refused(name, done, word);
            continue;
        }
        let (before, host, (reason, message)) = done;
        if before.dockerd.is_none() {
            assert_eq!(reason, "NotServed", "{name}: {message}");
            host.open().run("start", "docker.service").unwrap();
        } else {
            assert_eq!(reason, "Serving", "{name}: {message}");
        }
        let served = anchors(&admitted(&host.open()));
        assert_eq!(served.len(), 2, "{name}: an old client is shut out");
    }
}
