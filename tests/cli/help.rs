//! Help, completions and manual pages of every command.

use crate::fixture::{CommandOutput, Fixture};
use clap::Command;
use dockseal::cli::args;

/// Every command that people see, with the words that name it.
fn commands(command: &Command, words: &[String]) -> Vec<(Vec<String>, Command)> {
    let words = [words, &[command.get_name().to_owned()]].concat();
    let below = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    let below: Vec<_> = below.flat_map(|below| commands(below, &words)).collect();
    [vec![(words, command.clone())], below].concat()
}

/// What is typed in the lines of the examples: of each the part that is dockseal's own.
fn examples(command: &Command) -> Vec<Vec<String>> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().skip_while(|line| !line.starts_with("Examples"));
    let ours = lines.filter_map(|line| line.strip_prefix("  ").map(|line| line.trim_start_matches("sudo ").to_owned()));
    let typed = ours.filter(|line| line.starts_with("dockseal "));
    let end = |word: &&str| !["|", ">", "&&", "#", "<<'END'"].contains(word);
    typed
        .map(|line| line.split(' ').filter(|word| !word.is_empty()).take_while(end).map(str::to_owned).collect())
        .collect()
}

#[test]
fn every_command_has_two_examples_that_can_be_typed() {
    let commands = commands(&args::command(false), &[]);
    assert!(commands.len() >= 14, "the walk finds them: {commands:?}");
    for (words, command) in commands {
        let examples = examples(&command);
        assert!(examples.len() >= 2, "{words:?} --help has {} examples", examples.len());
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Examples"), "{words:?}");
        for example in examples {
            assert!(words.len() == 1 || example.starts_with(&words), "{words:?}: {example:?}");
            let parsed = args::command(false).try_get_matches_from(&example);
            assert!(parsed.is_ok(), "{example:?}: {}", parsed.unwrap_err());
        }
    }
}

#[test]
fn the_plugin_of_kubectl_says_what_is_typed() {
    let fixture = Fixture::of(crate::fixture::GOOD);
    fixture.0.run(&format!("ln -s '{}' kubectl-dockseal", env!("CARGO_BIN_EXE_dockseal"))).unwrap();
    let plugin = |arguments: &[&str]| -> CommandOutput {
        let mut command = std::process::Command::new(fixture.path("kubectl-dockseal"));
        command.args(arguments).current_dir(fixture.0.path()).env_clear().output().unwrap().into()
    };
    for arguments in [&["--help"][..], &["status", "--help"], &["companion", "install", "--help"]] {
        let ran = plugin(arguments);
        assert!(ran.out.contains("Usage: kubectl dockseal"), "{}", ran.out);
        assert!(ran.out.contains("\n  kubectl dockseal ") && !ran.out.contains("\n  dockseal "), "{}", ran.out);
    }
    plugin(&["status", "--nope"]).ends(2, "Usage: kubectl dockseal status");
    plugin(&["status", "--state", "state"]).ends(0, "");
    let own = fixture.run(&["status", "--nope"]);
    own.ends(2, "Usage: dockseal status");
}

#[test]
fn shells_complete_with_it() {
    let fixture = Fixture(crate::support::scratch::Scratch::new("cli").unwrap());
    for shell in ["bash", "zsh", "fish"] {
        let ran: CommandOutput = fixture.command(&["completions", shell]).output().unwrap().into();
        ran.ends(0, "");
        for word in ["status", "kubeconfig", "all-namespaces", "wide"] {
            assert!(ran.out.contains(word), "{shell}: {word}");
        }
        fixture.0.write(shell, &ran.out).unwrap();
    }
    let bash =
        ". ./bash; COMP_WORDS=(dockseal stat); COMP_CWORD=1; _dockseal dockseal stat dockseal; echo ${COMPREPLY[@]}";
    fixture.0.write("try", bash).unwrap();
    assert_eq!(fixture.0.run("bash try").unwrap(), "status\n");
    let all = bash.replace("dockseal stat)", "dockseal '')").replace("dockseal stat dockseal", "dockseal '' dockseal");
    fixture.0.write("try", all).unwrap();
    let offered = fixture.0.run("bash try").unwrap();
    assert!(offered.contains(" enroll ") && !offered.contains("guard"), "what machines run is offered: {offered}");
    let ran: CommandOutput = fixture.command(&["completions", "tcsh"]).output().unwrap().into();
    ran.ends(2, "invalid value");
}

/// As kubectl 1.26 and newer has plugins completed: the words in, a candidate a line and a directive out.
#[test]
fn kubectl_completes_with_it() {
    let fixture = Fixture(crate::support::scratch::Scratch::new("cli").unwrap());
    let ran: CommandOutput = fixture.command(&["completions", "kubectl"]).output().unwrap().into();
    ran.ends(0, "");
    fixture.0.write("kubectl_complete-dockseal", &ran.out).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dockseal"), fixture.path("kubectl-dockseal")).unwrap();
    for (words, candidates) in [
        ("stat", "status\n:4\n"),
        ("status --o", "--output\n:4\n"),
        ("status --output w", "wide\n:4\n"),
        ("companion ins", "install\n:4\n"),
    ] {
        let told = fixture.0.run(&format!("PATH=.:$PATH bash kubectl_complete-dockseal {words}")).unwrap();
        assert_eq!(told, candidates, "{words}");
    }
    let own = "PATH=.:$PATH; kubectl-dockseal completions bash | tail -n 2 | head -n 1";
    assert!(fixture.0.run(own).unwrap().ends_with(" kubectl-dockseal\n"), "it completes that word");
    let verbs = fixture.0.run("PATH=.:$PATH bash kubectl_complete-dockseal ''").unwrap();
    assert!(verbs.contains("\nrenew\n") && !verbs.contains("guard"), "{verbs}");
}

#[test]
fn every_command_has_a_manual_page() {
    let fixture = Fixture(crate::support::scratch::Scratch::new("cli").unwrap());
    std::fs::create_dir(fixture.path("man1")).unwrap();
    let all: CommandOutput = fixture.command(&["man", "--dir", "man1"]).output().unwrap().into();
    all.ends(0, "");
    let commands = commands(&args::command(false), &[]);
    assert_eq!(std::fs::read_dir(fixture.path("man1")).unwrap().count(), commands.len());
    for (words, command) in commands {
        let page = std::fs::read_to_string(fixture.path(&format!("man1/{}.1", words.join("-")))).unwrap();
        assert!(page.contains(".TH") && page.contains("Examples"), "{words:?}");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let first = about.split([',', '-', '\'', '`']).next().unwrap_or_default().to_owned();
        assert!(page.contains(&first), "{words:?}: {first}: {page}");
    }
    let one: CommandOutput = fixture.command(&["man", "status"]).output().unwrap().into();
    one.ends(0, "");
    assert_eq!(one.out, std::fs::read_to_string(fixture.path("man1/dockseal-status.1")).unwrap());
    let own: CommandOutput = fixture.command(&["man"]).output().unwrap().into();
    assert_eq!(own.out, std::fs::read_to_string(fixture.path("man1/dockseal.1")).unwrap());
    let none: CommandOutput = fixture.command(&["man", "nope"]).output().unwrap().into();
    none.ends(2, "there is no command nope");
}
