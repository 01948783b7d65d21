//! Command lines in tables and under arbitrary words.

use super::*;
use crate::docker::Listen;
use proptest::prelude::*;

fn parse(line: &str) -> ExecLine {
    ExecLine::parse(line).expect(line)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn over(line: &str) -> String {
    parse(line).taken_over().render()
}

/// Read by systemd 252 and 257 too: a program that writes down its arguments was started with each.
#[test]
fn words_are_what_systemd_starts() {
    let rows: [(&str, &[&str]); 12] = [
        ("/a", &["/a"]),
        ("  /a \t b  c ", &["/a", "b", "c"]),
        (r#"/a foo'bar baz' "x y"'z'"#, &["/a", "foobar baz", "x yz"]),
        (r#"/a "" ''"#, &["/a", "", ""]),
        (r#"/a \x41\101\u00e4\U0001F600\303\244 \s\t\" '\''"#, &["/a", "AAä😀ä", " \t\"", "'"]),
        (r"/a \x00 \x4 \400 \q \u12 \e", &["/a", r"\x00", r"\x4", r"\400", r"\q", r"\u12", r"\e"]),
        (r"/a tail\", &["/a", r"tail\"]),
        (r#"/a \; ";" x; \;x"#, &["/a", ";", ";", "x;", r"\;x"]),
        (r"/a %% %h $A ${A} $$", &["/a", "%", "%h", "$A", "${A}", "$$"]),
        ("-@:/a name b", &["/a", "b"]),
        (r#""-/a b/c" d"#, &["/a b/c", "d"]),
        ("/a # é", &["/a", "#", "é"]),
    ];
    for (line, argv) in rows {
        let read = parse(line);
        assert_eq!(read.argv(), argv, "{line}");
        assert_eq!(parse(&read.render()), read, "{line}");
    }
    let errors = [
        ("", ExecError::Empty),
        (" \t", ExecError::Empty),
        ("-", ExecError::Empty),
        ("@/a", ExecError::Empty),
        ("/a 'b", ExecError::Unbalanced),
        ("/a \"b\\", ExecError::Unbalanced),
        ("/a ; /b", ExecError::MoreThanOne),
        ("/a ;", ExecError::MoreThanOne),
        (r"/a \xff", ExecError::NotText),
        ("/a b\0", ExecError::NotText),
        (r"/a \ud800", ExecError::NotText),
    ];
    for (line, error) in errors {
        assert_eq!(ExecLine::parse(line), Err(error), "{line}");
    }
}

#[test]
fn what_d_bus_says_is_written_for_a_unit() {
    let argv = words("/usr/sbin/dockerd -H fd:// $DOCKER_OPTS 100%");
    let line = ExecLine::from_argv(&argv).expect("a line");
    assert_eq!(line.render(), "/usr/sbin/dockerd -H fd:// $DOCKER_OPTS 100%%");
    assert_eq!(line.argv(), argv);
    let odd: Vec<String> = ["/a", "", "a b", "'\"\\", "\n\t\u{1}", ";", "é%", "#"].map(str::to_owned).into();
    let line = ExecLine::from_argv(&odd).expect("a line");
    assert_eq!(line.render(), r##"/a "" "a b" "'\"\\" "\n\t\x01" ";" é%% "#""##);
    let named =
        ExecLine::from_exec("/a b", &words("dockerd -D"), &["ignore-failure", "no-env-expand"]).expect("a line");
    assert_eq!(named.render(), r#""-:@/a b" dockerd -D"#);
    assert_eq!(named.argv(), ["/a b", "-D"]);
    assert_eq!(ExecLine::from_argv(&[]), Err(ExecError::Empty));
    assert_eq!(ExecLine::from_argv(&words("/a b\0")), Err(ExecError::NotText));
    assert_eq!(ExecLine::from_argv(&words("-a")), Err(ExecError::NotAProgram("-a".into())));
    let unknown = ExecLine::from_exec("/a", &words("/a"), &["via-shell"]);
    assert_eq!(unknown, Err(ExecError::UnknownFlag("via-shell".into())));
}

/// The forms that dockerd 20.10 was started with.
#[test]
fn listeners_are_found_as_pflag_finds_them() {
    let rows: [(&str, &[&str]); 22] = [
        ("-H fd://", &["fd://"]),
        ("-H=0.0.0.0:2376", &["0.0.0.0:2376"]),
        ("-Htcp://a", &["tcp://a"]),
        ("--host x --host=y -H z", &["x", "y", "z"]),
        ("-DH tcp://a", &["tcp://a"]),
        ("-DH=tcp://a -DHb", &["tcp://a", "b"]),
        ("-Dl debug -H a", &["a"]),
        ("-Dldebug -H a", &["a"]),
        ("-lDH a", &[]),
        ("-D=false -H a", &["a"]),
        ("-HD a", &["D"]),
        ("-H=", &["="]),
        ("--host=", &[""]),
        ("-H", &[]),
        ("--label -H=a -H b", &["b"]),
        ("--debug -H a", &["a"]),
        ("--live-restore -H a", &["a"]),
        ("--new-in-2030 -H a", &["a"]),
        ("-H a -- -H b", &["a"]),
        ("-- -H b", &[]),
        ("- x -H a", &["a"]),
        ("-x -H a", &["a"]),
    ];
    for (flags, listeners) in rows {
        assert_eq!(parse(&format!("/usr/bin/dockerd {flags}")).listeners(), listeners, "{flags}");
    }
    assert_eq!(parse("@/usr/bin/dockerd -H -H a%%$$b").listeners(), ["a%$b"], "the name is no flag");
}

#[test]
fn tls_and_the_file_are_found() {
    let line =
        parse("/d --tls --tlsverify=false --tlscacert /a --tlscert=/b --tlskey --config-file=/x --config-file /y");
    let said: Vec<_> = line.tls_flags().into_iter().map(|flag| (flag.name, flag.value)).collect();
    let value = |text: &str| Some(text.to_owned());
    let expected = [
        ("tls", None),
        ("tlsverify", value("false")),
        ("tlscacert", value("/a")),
        ("tlscert", value("/b")),
        ("tlskey", value("--config-file=/x")),
    ];
    assert_eq!(said, expected);
    assert_eq!(line.config_file(), value("/y"));
    assert_eq!(parse("/d -H fd://").config_file(), None);
    assert!(!parse("/d -H fd:// --debug").must_change() && !parse("/d --host=fd://").must_change());
    for flags in ["", "-H fd:// -H a", "-H a", "-H fd:// --tls", "-H fd:// --tlscert=/a"] {
        assert!(parse(&format!("/d {flags}")).must_change(), "{flags}");
    }
}

#[test]
fn what_each_how_to_leaves_is_taken_over() {
    let rows = [
        (
            "/usr/bin/dockerd -H fd:// -H tcp://0.0.0.0:2376 --tlsverify --tlscacert=/a --tlscert /b --tlskey=/c \
             --containerd=/run/containerd/containerd.sock",
            "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock",
        ),
        ("/usr/bin/dockerd -H=0.0.0.0:2376", "/usr/bin/dockerd -H fd://"),
        ("/usr/bin/dockerd", "/usr/bin/dockerd -H fd://"),
        ("/usr/bin/dockerd --containerd=/x $DOCKER_OPTS", "/usr/bin/dockerd -H fd:// --containerd=/x $DOCKER_OPTS"),
        ("/d --label a=b -DH tcp://x --tls -l info", "/d --label a=b -D -H fd:// -l info"),
        ("/d --label --tls -H", "/d --label --tls -H fd://"),
        ("/d -- -H b", "/d -H fd:// -- -H b"),
        ("/d --tls -Ha -- -H b", "/d -H fd:// -- -H b"),
        ("-@/d name --tls x", "-@/d name -H fd:// x"),
        ("@/d name", "@/d name -H fd://"),
        ("/d -H fd:// -H", "/d -H fd://"),
    ];
    for (before, after) in rows {
        assert_eq!(over(before), after, "{before}");
        assert_eq!(over(after), after, "once is enough");
    }
}

#[test]
fn variables_are_inlined_where_flags_of_theirs_must_go() {
    let environment = "DOCKER_OPTS=\"--dns 8.8.8.8 -H tcp://0.0.0.0:2375 '--label=a b' 5%$\"\nDNS=--dns=1.1.1.1\nADDRESS=tcp://x\nEMPTY=\nLABEL=--label\n";
    let variables = |name: &str| variable(environment, name);
    let inlined = |line: &str| parse(line).inlined(&variables).render();
    assert_eq!(
        inlined("/d -H fd:// $DNS $DOCKER_OPTS"),
        r#"/d -H fd:// $DNS --dns 8.8.8.8 -H tcp://0.0.0.0:2375 "--label=a b" 5%%$$"#
    );
    let same = [
        "/d -H fd:// $DNS",
        "/d $EMPTY $MISSING ${DNS} -D",
        "/d --label ${ADDRESS} -H fd://",
        ":/d $DOCKER_OPTS",
        "$DOCKER_OPTS -D",
    ];
    for line in same {
        assert_eq!(inlined(line), line);
    }
    assert_eq!(inlined("/d $LABEL --tls $DNS -H x"), "/d --label --tls --dns=1.1.1.1 -H x", "it takes the next word");
    assert_eq!(inlined("/d -H ${ADDRESS}:1 $DNS"), "/d -H tcp://x:1 $DNS");
    assert_eq!(inlined("/d -H $ADDRESS -D"), "/d -H tcp://x -D");
    assert_eq!(parse("/d $DNS $DOCKER_OPTS").inlined(&variables).taken_over().render(), {
        r#"/d $DNS --dns 8.8.8.8 -H fd:// "--label=a b" 5%%$$"#
    });
    let whole = parse("/d ${DNS}x $DNS $MISSING ${MISSING} ${A:b} ${DNS $$ $").expanded(&variables);
    assert_eq!(whole.argv(), ["/d", "--dns=1.1.1.1x", "--dns=1.1.1.1", "", "$${A:b}", "$${DNS", "$$"]);
}

/// Read by systemd 252 and 257 too.
#[test]
fn an_environment_file_is_read_as_systemd_reads_it() {
    let rows = [
        ("", None),
        ("#A=1\n;A=2\n  # A=3\nB=1", None),
        ("A=1", Some("1")),
        ("A=1\nA=2\nB=3\n", Some("2")),
        ("A=x y \t\nB=1", Some("x y")),
        (" A = 5 \n", Some("5")),
        ("A=\nB=1", Some("")),
        ("A B=1\nexport A=2\nA", None),
        ("A=\"q\\\"r\\$s\\n\" z\n", Some("q\"r$s\\nz")),
        ("A='s\\q'  \n", Some("s\\q")),
        ("A=\"a\"b\"c\"\n", Some("ab\"c\"")),
        ("A=a\\ b\\\nc\n", Some("a bc")),
        ("A=\"-D \\\n -H x\"\n", Some("-D  -H x")),
        ("A=\"a\nb\"\n", Some("a\nb")),
        ("A=x \\\\ \nB=", Some("x \\")),
        ("A=x\\", Some("x")),
        ("A=x \\\n", Some("x ")),
        ("A=--dns 8.8.8.8 # x\r\n", Some("--dns 8.8.8.8 # x")),
        ("# why \\\nA=1\n", Some("1")),
    ];
    for (text, value) in rows {
        assert_eq!(variable(text, "A").as_deref(), value, "{text:?}");
    }
}

#[test]
fn files_of_ours_say_what_they_are() {
    let socket = socket_unit(&[Listen::all(2376), Listen::parse("[fd00::7]:2377").expect("an address")]);
    assert!(socket.contains("\nListenStream=2376\nListenStream=[fd00::7]:2377\n"), "{socket}");
    let drop_in_with = drop_in(Some(&parse("/usr/bin/dockerd -H fd:// \"a b\"")));
    assert!(
        drop_in_with
            .contains("[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H fd:// \"a b\"\nExecStartPre=/bin/sh")
    );
    assert!(!drop_in(None).contains("ExecStart="));
    let unix = docker_socket_drop_in(&["/run/docker.sock".to_owned(), "%t/docker.sock".to_owned()]);
    assert!(
        unix.ends_with("[Socket]\nListenStream=\nListenStream=/run/docker.sock\nListenStream=%t/docker.sock\n"),
        "{unix}"
    );
    for text in [socket, drop_in_with, drop_in(None), unix] {
        assert!(text.starts_with("# Written by Dockseal: ") && text.ends_with('\n'), "{text}");
        assert!(!text.contains("ExecStartPre=-"), "{text}");
    }
}

/// Words as people write them, and any others.
fn word() -> impl Strategy<Value = String> {
    let known = vec![
        "-H",
        "--host",
        "-H=a",
        "-Hb",
        "--host=c",
        "-DH",
        "-D",
        "-Dl",
        "-l",
        "--tls",
        "--tlsverify=false",
        "--tlscert",
        "--tlskey=/k",
        "--label",
        "--debug",
        "--",
        "-",
        "fd://",
        "tcp://x",
        "$OPTS",
        "${OPTS}",
        "%%",
        "$$",
        ";",
        "",
    ];
    prop_oneof![3 => prop::sample::select(known).prop_map(str::to_owned), 1 => "[^\0]{0,6}"]
}

fn argv() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(word(), 0..10).prop_map(|mut words| {
        words.insert(0, "/usr/bin/dockerd".into());
        words
    })
}

/// Is `few` in `many`, in this order? A cluster may have lost its -H.
fn in_order(few: &[String], many: &[String]) -> bool {
    let mut many = many.iter();
    few.iter().all(|word| many.any(|other| other == word || (word == "-D" && other.starts_with("-DH"))))
}

proptest! {
    #[test]
    fn every_argv_survives_a_unit(argv in argv(), other in "[^\0]{1,8}", flags in 0..4usize) {
        let line = ExecLine::from_argv(&argv).expect("a program");
        prop_assert_eq!(line.argv(), argv.clone());
        prop_assert_eq!(ExecLine::parse(&line.render()), Ok(line));
        let flags = &["ignore-failure", "no-env-expand", "privileged"][..flags];
        let named = ExecLine::from_exec(&format!("/{other}"), &argv, flags).expect("a program");
        prop_assert_eq!(ExecLine::parse(&named.render()), Ok(named));
    }

    #[test]
    fn what_is_taken_over_listens_on_systemd_alone(argv in argv()) {
        let before = ExecLine::from_argv(&argv).expect("a program");
        let after = before.taken_over();
        prop_assert_eq!(after.listeners(), ["fd://"]);
        prop_assert!(after.tls_flags().is_empty() && !after.must_change());
        prop_assert_eq!(&after.taken_over(), &after);
        let (words, kept) = (before.argv(), after.argv());
        let without = |at: usize| [&kept[..at], &kept[at + 2..]].concat();
        let mut pairs = (0..kept.len() - 1).filter(|at| kept[*at..at + 2] == ["-H", "fd://"]);
        prop_assert!(pairs.any(|at| in_order(&without(at), &words)), "{:?} of {:?}", kept, words);
        let gone = words.len() + 2 - kept.len();
        let named = before.listeners().len() + before.tls_flags().len();
        prop_assert!(gone <= 2 * named + 1, "{:?} of {:?}", kept, words);
    }

    #[test]
    fn what_is_inlined_starts_dockerd_with_the_same_words(argv in argv(), value in prop::collection::vec(word(), 0..4)) {
        let value = value.join(" ");
        let variables = |name: &str| (name == "OPTS").then(|| value.clone());
        let line = ExecLine::from_argv(&argv).expect("a program");
        let inlined = line.inlined(&variables);
        let expanded = line.expanded(&variables);
        prop_assert_eq!(&inlined.expanded(&variables), &expanded);
        prop_assert_eq!(inlined.taken_over().expanded(&variables), expanded.taken_over());
    }

    #[test]
    fn any_line_is_read_as_it_is_written_again(line in "[ -~\té\\\\\"']{0,24}") {
        if let Ok(read) = ExecLine::parse(&line) {
            prop_assert_eq!(ExecLine::parse(&read.render()), Ok(read));
        }
    }

    #[test]
    fn any_environment_is_read(text in "[A=\"'\\\\ \n#;$x]{0,24}") {
        let _ = variable(&text, "A");
    }
}
