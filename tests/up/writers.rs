//! Two `up` on one machine, each with a state directory of its own, as two processes.

use crate::fixture::{CA, Fixture, host};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A machine's directory of certificates, and the state directories of those who would deliver to it.
struct Machine {
    fixture: Fixture,
    certs: PathBuf,
}

impl Machine {
    fn new() -> Machine {
        let fixture = Fixture::new("");
        let certs = fixture.root.join("certs");
        Machine { fixture, certs }
    }

    /// `up --once --host lathe`, with takeOver, and with that consent.
    fn up(&self, state: &str, consent: Option<&str>, timeout: &str) -> Output {
        let delivery = format!("delivery: {{mode: Files, directory: {}, takeOver: true}}", self.certs.display());
        let yaml = format!("{CA}{}", host("lathe", &format!("hostname: lathe.lan, {delivery}")));
        let annotated = consent.map(|id| format!("{{name: lathe, annotations: {{dockseal.dev/take-from: {id}}}}}"));
        let yaml = annotated.map_or(yaml.clone(), |annotated| yaml.replace("{name: lathe}", &annotated));
        let file = self.fixture.root.join(format!("{state}.yaml"));
        std::fs::write(&file, yaml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockseal"));
        command.arg("up").arg(&file).args(["--host", "lathe", "--once", "--state"]).arg(self.fixture.root.join(state));
        command.args(["--timeout", timeout]).output().unwrap()
    }

    fn ready(&self, state: &str, consent: Option<&str>) {
        let ended = self.up(state, consent, "120s");
        assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    }

    /// Is not Ready, and writes nothing; a busy machine may not have come that far in two seconds.
    fn refused(&self, state: &str, consent: Option<&str>) -> String {
        let before = self.shown();
        for timeout in ["2s", "10s", "60s"] {
            let ended = self.up(state, consent, timeout);
            assert_eq!(ended.status.code(), Some(4), "{}", said(&ended));
            assert_eq!(self.shown(), before, "it wrote something");
            if said(&ended).contains("HostConflict") {
                return said(&ended);
            }
        }
        panic!("it does not say why");
    }

    fn id(&self, state: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.fixture.root.join(state).join("writer")).ok()?;
        Some(text.trim().to_owned())
    }

    fn marker(&self) -> String {
        std::fs::read_to_string(self.certs.join(".dockseal/owner")).unwrap()
    }

    fn set_marker(&self, text: &str) {
        let path = self.certs.join(".dockseal/owner");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, text).unwrap();
    }

    fn shown(&self) -> Vec<Vec<u8>> {
        ["ca.pem", "lathe.pem", ".dockseal/owner"].map(|name| std::fs::read(self.certs.join(name)).unwrap()).to_vec()
    }

    fn authority(&self, state: &str) -> String {
        let file = self.fixture.root.join(state).join("authorities/default/homelab");
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }
}

fn said(ended: &Output) -> String {
    String::from_utf8_lossy(&[&ended.stdout[..], &ended.stderr[..]].concat()).into_owned()
}

#[test]
fn two_that_both_take_over_make_one_change_in_all() {
    let machine = Machine::new();
    machine.ready("one", None);
    assert!(machine.marker().contains(&machine.authority("one")), "{}", machine.marker());
    let one = machine.id("one").unwrap();
    let mut exported = Vec::new();
    dockseal::local::export(&machine.fixture.root.join("one"), &mut exported).unwrap();
    let consent = format!("#   kubectl annotate dockerhostcerts --all -A dockseal.dev/take-from={one}\n");
    assert!(String::from_utf8(exported).unwrap().contains(&consent), "a cluster's hosts are told by it");
    let message = machine.refused("two", None);
    let two = machine.id("two").unwrap();
    for words in [&one, &two, &format!("dockseal.dev/take-from: {one}")] {
        assert!(message.contains(words.as_str()), "{message}");
    }
    machine.ready("one", None);
    machine.refused("two", Some(&two)); // its own id is no consent
    machine.ready("two", Some(&one));
    assert!(machine.marker().contains(&machine.authority("two")));
    machine.refused("one", None);
    machine.ready("two", Some(&one)); // nothing is left to take
    machine.ready("one", Some(&two));
    let message = machine.refused("two", Some(&one));
    assert!(message.contains(&format!("dockseal.dev/take-from: {one}/2")), "{message}");
    machine.ready("two", Some(&format!("{one}/2")));
}

/// A marker of 0.1 says neither which state directory wrote it nor which authority it had.
#[test]
fn a_marker_of_0_1_is_the_state_directorys_whose_authority_is_there() {
    let machine = Machine::new();
    machine.ready("one", None);
    machine.set_marker("DockerHostCert/default/lathe\n\n");
    let message = machine.refused("two", None);
    assert!(message.contains("dockseal.dev/take-from: marker-"), "{message}");
    machine.ready("one", None);
    assert!(machine.marker().contains(&machine.id("one").unwrap()), "it is named from now on");
    machine.set_marker("DockerHostCert/default/lathe\n5b1b3b9e-0001-4a41-9a6c-3f2b5a1d9c00\n");
    machine.refused("one", None); // a cluster's
}

/// One that runs holds the directory: also against a copy of its own state directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_one_is_not_joined_by_its_copy() {
    let machine = Machine::new();
    machine.ready("one", None);
    let copied = Command::new("cp")
        .arg("-a")
        .args([machine.fixture.root.join("one"), machine.fixture.root.join("copy")])
        .status();
    assert!(copied.unwrap().success());
    let mut running = Command::new(env!("CARGO_BIN_EXE_dockseal"))
        .arg("up")
        .arg(machine.fixture.root.join("one.yaml"))
        .args(["--host", "lathe", "--state"])
        .arg(machine.fixture.root.join("one"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lock = machine.certs.join(".dockseal/running");
    let held = || std::fs::File::open(&lock).is_ok_and(|file| file.try_lock().is_err());
    machine.fixture.until("held", held).await;
    let message = machine.refused("copy", None);
    assert!(message.contains(&format!("another dockseal (pid {}) delivers to", running.id())), "{message}");
    running.kill().unwrap();
    running.wait().unwrap();
    machine.ready("copy", None);
}
