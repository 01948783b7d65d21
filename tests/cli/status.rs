//! `dockseal status` over a state directory.

use crate::fixture::{CommandOutput, Fixture, GOOD};
use crate::schema::faults;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

fn json(out: &str) -> Value {
    let value = serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {out}"));
    assert_eq!(faults(&value), Vec::<String>::new());
    value
}

fn names(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let objects = value["objects"].as_array().unwrap().iter();
    objects
        .map(|object| format!("{}/{}/{}", text(&object["kind"]), text(&object["namespace"]), text(&object["name"])))
        .collect()
}

#[test]
fn all_that_is_ready_is_a_line_each_and_code_0() {
    let fixture = Fixture::good();
    let ran = fixture.run(&["status"]);
    ran.ends(0, "");
    assert_eq!(ran.err, "", "nothing to say is nothing said");
    let lines: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(ran.out.lines().next(), Some("all 5 objects are Ready"));
    assert_eq!(lines[2], ["NAME", "ISSUED", "DELIVERED", "SERVED", "REGISTERED", "EXPIRES", "WHAT"]);
    let first: Vec<&str> = lines[3..].iter().map(|line| line[0]).collect();
    assert_eq!(first, ["dhc/attic", "dhc/pandora", "dca/homelab", "dcc/ci", "ptc/portainer"]);
    assert_eq!(lines[4][1..5], ["yes", "-", "-", "-"]);
    assert_eq!(lines[4][6..], ["in", "364d"], "what is Ready needs no word");
    assert!(!ran.out.contains('\x1b'), "no terminal, no colour");
}

#[test]
fn what_is_not_ready_comes_first_with_its_sentence_and_code_4() {
    let fixture = Fixture::mixed();
    let ran = fixture.run(&["status"]);
    ran.ends(4, "");
    assert!(ran.out.starts_with("8 of 9 objects are Ready\n"), "{}", ran.out);
    let line = ran.out.lines().nth(3).unwrap();
    assert!(line.starts_with("default    dhc/broken") && line.contains("  no "), "{}", ran.out);
    assert!(
        line.contains("AuthorityNotFound: ") && line.contains("nowhere"),
        "whole where there is no terminal: {line}"
    );
    fixture.run(&["status", "dcc"]).ends(0, "");
    fixture.run(&["status", "broken"]).ends(4, "");
    fixture.run(&["status", "dhc/pandora"]).ends(0, "");
}

#[test]
fn objects_are_chosen_by_kind_name_namespace_and_label() {
    let fixture = Fixture::mixed();
    let chosen = |arguments: &[&str]| {
        let ran = fixture.run(&[&["status", "-o", "json"], arguments].concat());
        names(&json(&ran.out))
    };
    assert_eq!(chosen(&["pandora"]), ["DockerHostCert/default/pandora", "DockerHostCert/lab/pandora"]);
    assert_eq!(chosen(&["pandora", "-n", "lab"]), ["DockerHostCert/lab/pandora"]);
    assert_eq!(chosen(&["attic"]), ["DockerHostCert/default/attic", "DockerClientCert/default/attic"]);
    assert_eq!(chosen(&["dhc/attic", "ptc"]), ["DockerHostCert/default/attic", "PortainerClient/default/portainer"]);
    assert_eq!(chosen(&["-l", "site=home"]), ["DockerHostCert/default/pandora"]);
    assert_eq!(chosen(&["dhc", "-l", "site notin (home)", "-n", "lab"]), ["DockerHostCert/lab/pandora"]);
    assert_eq!(chosen(&["-A"]).len(), 9);
    for (arguments, code, words) in [
        (&["status", "nope"][..], 3, "there is no object nope in state"),
        (&["status", "dcc/pandora"], 3, "there is no DockerClientCert pandora in state"),
        (&["status", "-l", "site=moon"], 3, "there is no object of Dockseal in state that fits"),
        (&["status", "-l", "site=moon=x"], 2, "is no label"),
        (&["status", "pod/pandora"], 2, "\"pod\" is not a kind"),
        (&["status", "-n", "a", "-A"], 2, "cannot be used with"),
        (&["status", "-o", "xml"], 2, "invalid value"),
    ] {
        fixture.run(arguments).ends(code, words);
    }
    let empty = fixture.run(&["status", "-n", "moon"]);
    empty.ends(0, "there is no object of Dockseal in namespace moon of state");
    assert_eq!(empty.out, "");
    assert_eq!(names(&json(&fixture.run(&["status", "-n", "moon", "-o", "json"]).out)), Vec::<String>::new());
}

#[test]
fn every_form_says_the_same() {
    let fixture = Fixture::mixed();
    let document = json(&fixture.run(&["status", "-o", "json"]).out);
    assert_eq!((&document["ready"], &document["total"]), (&Value::from(8), &Value::from(9)));
    let broken = &document["objects"].as_array().unwrap().iter().find(|object| object["name"] == "broken").unwrap();
    assert_eq!((&broken["ready"], &broken["issued"]), (&Value::from(false), &Value::from("No")));
    assert_eq!(broken["reason"], "AuthorityNotFound");
    let yaml: Value = serde_saphyr::from_str(&fixture.run(&["status", "-o", "yaml"]).out).unwrap();
    assert_eq!(document, yaml);
    let named = fixture.run(&["status", "-o", "name", "-n", "lab"]);
    assert_eq!(named.out, "dockerhostcert.dockseal.dev/pandora\ndockerca.dockseal.dev/lab\n");
    fixture.run(&["status", "-n", "lab", named.out.lines().next().unwrap()]).ends(0, "");
    let wide = fixture.run(&["status", "-o", "wide", "ci"]);
    let serial = document["objects"].as_array().unwrap().iter().find(|object| object["name"] == "ci").unwrap();
    for field in ["serial", "fingerprint", "namespace"] {
        assert!(wide.out.contains(serial[field].as_str().unwrap()), "{field}: {}", wide.out);
    }
    let renewal = &serial["renewAt"].as_str().unwrap()[..10];
    assert!(wide.out.contains(renewal) && wide.out.contains("ENVIRONMENTS"), "{}", wide.out);
}

#[test]
fn what_ends_soon_and_was_not_renewed_is_said_loudly() {
    let fixture = Fixture::good();
    fixture.date("DockerHostCert/default/pandora.yaml", 12, -60);
    fixture.date("DockerHostCert/default/attic.yaml", 12, 3);
    fixture.date("DockerClientCert/default/ci.yaml", -3, -60);
    let ran = fixture.run(&["status"]);
    ran.ends(0, "");
    let loud: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("!! ")).collect();
    assert_eq!(loud.len(), 2, "{}", ran.out);
    assert!(
        loud[0].starts_with("!! dhc/pandora: THE CERTIFICATE ENDS ") && loud[0].contains("(in 12d)"),
        "{}",
        loud[0]
    );
    assert!(loud[1].starts_with("!! dcc/ci: THE CERTIFICATE ENDED ") && loud[1].contains("(3d ago)"), "{}", loud[1]);
    let marked: Vec<&str> = ran.out.lines().filter(|line| line.ends_with(" !!")).collect();
    assert_eq!(marked.len(), 2, "{}", ran.out);
    assert!(marked[0].starts_with("dhc/pandora") && marked[1].starts_with("dcc/ci"), "{}", ran.out);
    let document = json(&fixture.run(&["status", "-o", "json"]).out);
    let overdue = document["objects"].as_array().unwrap().iter().filter(|object| object["overdue"] == true).count();
    assert_eq!(overdue, 2);
    let named = fixture.run(&["status", "-o", "name"]);
    assert_eq!((named.out.lines().count(), named.err.matches("NOT RENEWED").count()), (5, 2), "{named:?}");
}

#[test]
fn a_terminal_is_filled_and_coloured_unless_it_must_not_be() {
    let fixture = Fixture::mixed();
    for columns in [70, 120, 200] {
        let ran = fixture.on_terminal(columns, "", "status");
        assert_eq!(ran.code, Some(4), "{ran:?}");
        assert!(ran.out.contains("\x1b[32myes\x1b[0m") && ran.out.contains("\x1b[31mno\x1b[0m"), "{}", ran.out);
        let plain = plain(&ran.out);
        for line in plain.lines() {
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
        let words: Vec<&str> = plain.split_whitespace().collect();
        let whole = fixture.run(&["status", "broken", "-o", "json"]);
        let message = json(&whole.out)["objects"][0]["message"].as_str().unwrap().to_owned();
        assert!(words.join(" ").contains(&message), "{columns}: {plain}");
    }
    for settings in ["NO_COLOR=1", "TERM=dumb"] {
        let ran = fixture.on_terminal(120, settings, "status");
        assert!(!ran.out.contains('\x1b') && ran.out.contains("8 of 9"), "{settings}: {}", ran.out);
    }
    let empty = fixture.on_terminal(120, "NO_COLOR=", "status");
    assert!(empty.out.contains('\x1b'), "an empty NO_COLOR is none: {}", empty.out);
    for form in ["json", "yaml", "name"] {
        let ran = fixture.on_terminal(120, "", &format!("status -o {form}"));
        assert!(!ran.out.contains('\x1b'), "{form}: {}", ran.out);
    }
}

fn plain(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn it_reads_beside_a_running_up() {
    let fixture = Fixture::good();
    let mut up = fixture.command(&["up", "objects.yaml", "--state", "state"]);
    let mut up = up.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(up.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let ran = fixture.run(&["status"]);
    let second: CommandOutput =
        fixture.command(&["up", "objects.yaml", "--once", "--state", "state"]).output().unwrap().into();
    up.kill().unwrap();
    up.wait().unwrap();
    assert!(line.contains("True"), "it holds the directory when it says this: {line}");
    second.ends(1, "another dockseal");
    ran.ends(0, "");
}

#[test]
fn what_left_the_files_is_no_longer_shown() {
    let fixture = Fixture::good();
    fixture.0.write("objects.yaml", GOOD.rsplit_once("---").unwrap().0).unwrap();
    fixture.up();
    let ran = fixture.run(&["status"]);
    ran.ends(0, "");
    assert!(ran.out.starts_with("all 4 objects") && !ran.out.contains("ptc/"), "{}", ran.out);
}

#[test]
fn where_to_look_is_said_or_found_or_asked_for() {
    let fixture = Fixture::good();
    let found = fixture.command(&["status", "ci"]).env("DOCKSEAL_STATE", "state").output().unwrap();
    assert!(found.status.success(), "{found:?}");
    for (settings, arguments, words) in [
        ("nowhere", &["status"][..], "there is no cluster: give --kubeconfig"),
        ("state", &["status", "--kubeconfig", "nowhere"], "failed to use the kubeconfig nowhere"),
        ("state", &["status", "--context", "moon"], "failed to use that context of the kubeconfig"),
    ] {
        let ran: CommandOutput = fixture.command(arguments).env("DOCKSEAL_STATE", settings).output().unwrap().into();
        ran.ends(1, words);
    }
    std::fs::rename(fixture.path("state"), fixture.path("dockseal-state")).unwrap();
    let hinted: CommandOutput = fixture.command(&["status"]).output().unwrap().into();
    hinted.ends(1, "is read with --state dockseal-state");
    let none: CommandOutput = fixture.command(&["status", "--state", "home"]).output().unwrap().into();
    none.ends(1, "home is not a state directory of dockseal");
    std::fs::remove_file(fixture.path("dockseal-state/objects.json")).unwrap();
    let old: CommandOutput = fixture.command(&["status", "--state", "dockseal-state"]).output().unwrap().into();
    old.ends(1, "does not say which objects it is about: run this version's");
}

#[test]
fn a_reader_who_leaves_is_no_fault() {
    let fixture = Fixture::good();
    let line = format!("'{}' status --state state -o json | head -c 1", env!("CARGO_BIN_EXE_dockseal"));
    let ran = fixture.0.try_run(&line).unwrap();
    assert_eq!((ran.stdout.as_slice(), ran.stderr.as_slice()), (&b"{"[..], &b""[..]));
    for verb in ["crds", "crds --fields", "man", "completions zsh"] {
        let line = format!("'{}' {verb} | head -c 0", env!("CARGO_BIN_EXE_dockseal"));
        let ran = fixture.0.try_run(&line).unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{verb}");
    }
}
