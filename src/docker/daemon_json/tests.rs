//! daemon.json in tables and under arbitrary documents.

use super::*;
use proptest::prelude::*;

const WANTED: Wanted = Wanted {
    ca: "/etc/docker/certs/ca.pem",
    cert: "/etc/docker/certs/cert.pem",
    key: "/etc/docker/certs/key.pem",
    live_restore: false,
    drop_hosts: false,
};
const OURS: &str = r#""tlscacert":"/etc/docker/certs/ca.pem","tlscert":"/etc/docker/certs/cert.pem","tlskey":"/etc/docker/certs/key.pem""#;

fn ours() -> TlsPaths {
    TlsPaths { ca: WANTED.ca.into(), cert: WANTED.cert.into(), key: WANTED.key.into() }
}

fn parse(text: &str) -> DaemonJson {
    DaemonJson::parse(text.as_bytes()).expect(text)
}

fn text(document: &DaemonJson) -> String {
    String::from_utf8(document.render()).expect("text")
}

fn merged(before: &str) -> String {
    text(&parse(before).merged(&WANTED))
}

#[test]
fn members_keep_their_place_their_bytes_and_their_layout() {
    let added = OURS.replace(",", ",\n  ").replace(":", ": ");
    let rows = [
        ("", format!("{{\n  \"tlsverify\": true,\n  {added}\n}}\n")),
        (" \r\n", format!("{{\n  \"tlsverify\": true,\n  {added}\n}}\n")),
        ("{}", format!("{{\n  \"tlsverify\": true,\n  {added}\n}}\n")),
        (r#"{"a":1}"#, format!("{{\"a\":1,\"tlsverify\":true,{OURS}}}\n")),
        ("{\"a\": 1}\n\n", format!("{{\"a\": 1, \"tlsverify\": true, {}}}\n\n", added.replace("\n  ", " "))),
        (
            "{\n\t\"a\":1e400\n}\n",
            format!("{{\n\t\"a\":1e400,\n\t\"tlsverify\":true,\n\t{}\n}}\n", OURS.replace(",", ",\n\t")),
        ),
        (
            "{\r\n  \"a\": [18446744073709551616]\r\n}",
            format!(
                "{{\r\n  \"a\": [18446744073709551616],\r\n  \"tlsverify\": true,\r\n  {}\r\n}}\n",
                added.replace('\n', "\r\n")
            ),
        ),
        ("{\n  \"hosts\": [\"fd://\"],\n\n\n  \"a\": 1\n}\n", {
            format!("{{\n  \"hosts\": [\"fd://\"],\n\n\n  \"a\": 1,\n  \"tlsverify\": true,\n  {added}\n}}\n")
        }),
        (
            r#"{"tlskey":"/x","b":{"k":1,"k":2},"tlsverify":"no","a":"\u00e9\/","a":2}"#,
            format!(
                r#"{{"tlskey":"/etc/docker/certs/key.pem","b":{{"k":1,"k":2}},"tlsverify":true,"a":"\u00e9\/","a":2,{}}}{}"#,
                &OURS[..OURS.find(r#","tlskey"#).expect("a key")],
                "\n"
            ),
        ),
    ];
    for (before, after) in rows {
        assert_eq!(merged(before), after, "{before}");
        assert_eq!(merged(&after), after, "once is enough: {before}");
    }
}

#[test]
fn what_dockerd_reads_as_ours_is_there_once_and_plainly() {
    let plain = format!("{{\"a\":1,\"tlsverify\":true,{OURS}}}\n");
    let rows = [
        r#"{"tls":true,"a":1}"#,
        r#"{"TLS":true,"a":1,"tlsverify":true,"tls":false}"#,
        r#"{"a":1,"tlsverify":true,"tlsverify":false}"#,
        r#"{"a":1,"tlsverif\u0079":false,"TLSVERIFY":false,"tl\u017fverify":false,"tlſverify":null}"#,
        r#"{"a":1,"tlsverify":true,"tlscacert":1,"tlscert":null,"tls\u212Aey":"/etc\/docker/certs/key.pem"}"#,
    ];
    for before in rows {
        let after = merged(before);
        assert_eq!(after.replace("etc\\/", "etc/"), plain, "{before}");
        assert_eq!(enforces_client_auth(after.as_bytes()), Ok(ours()));
    }
}

#[test]
fn hosts_and_live_restore_change_where_that_is_wanted() {
    let before = parse(r#"{"hosts":["fd://"],"Hosts":[],"live-restore":false,"a":1}"#);
    let after = text(&before.merged(&WANTED));
    assert!(after.starts_with(r#"{"hosts":["fd://"],"Hosts":[],"live-restore":false,"a":1,"#), "{after}");
    let after = text(&before.merged(&Wanted { live_restore: true, drop_hosts: true, ..WANTED }));
    assert_eq!(after, format!("{{\"live-restore\":true,\"a\":1,\"tlsverify\":true,{OURS}}}\n"));
    let after = text(&parse("{}").merged(&Wanted { live_restore: true, ..WANTED }));
    assert!(after.ends_with(",\n  \"live-restore\": true\n}\n"), "{after}");
}

#[test]
fn facts_are_what_dockerd_reads() {
    let read = |text| (parse(text).tls(), parse(text).hosts(), parse(text).live_restore());
    let none = TlsSettings::default();
    let verify = |value| TlsSettings { tlsverify: value, ..none.clone() };
    assert_eq!(read("{}"), (none.clone(), None, None));
    assert_eq!(read(r#"{"hosts":["fd://","tcp://\u0030"]}"#).1, Some(vec!["fd://".into(), "tcp://0".into()]));
    assert_eq!(read(r#"{"hosts":"fd://","live-restore":true}"#), (none.clone(), None, Some(true)));
    assert_eq!(read(r#"{"tlsverify":true,"tlsverify":false}"#).0, verify(Some(false)));
    assert_eq!(read(r#"{"tlsverify":true,"TLSverify":false}"#).0, verify(Some(false)));
    assert_eq!(read(r#"{"tlsverify":true,"tlsverify":null}"#).0, verify(Some(true)));
    assert_eq!(read(r#"{"tlsverify":"true"}"#).0, verify(None));
    assert!(parse(r#"{"tlsverify":"true"}"#).mentions("tlsverify") && !parse(r#"{"a":{"tls":1}}"#).mentions("tls"));
    let whole = TlsSettings {
        tls: Some(true),
        tlsverify: None,
        tlscacert: Some(ours().ca),
        tlscert: Some(ours().cert),
        tlskey: Some(ours().key),
    };
    assert_eq!(read(&format!("{{\"tls\":true,{OURS}}}")).0, whole);
}

#[test]
fn a_file_that_cannot_be_edited_says_what_is_wrong_and_where() {
    let rows: [(&[u8], &str); 12] = [
        (b"\xef\xbb\xbf{}", "it begins with a byte order mark; save it as UTF-8 without one"),
        (b"\xff\xfe{\0}\0", "it begins with a byte order mark; save it as UTF-8 without one"),
        (b"{\n \"a\": \"\xfc\"}", "it is not UTF-8 at line 2 column 8"),
        (b"null", "it must be one JSON object, { ... }: invalid type: null, expected an object at line 1 column 4"),
        (b"[]", "it must be one JSON object, { ... }: invalid type: sequence, expected an object at line 1 column 0"),
        (b"{} {}", "it is not JSON: trailing characters at line 1 column 4"),
        (b"{\n\"a\":1,\n}", "it is not JSON: trailing comma at line 3 column 1"),
        (b"{\n// why\n}", "it is not JSON: key must be a string at line 2 column 1"),
        (b"{\"a\":tru}", "it is not JSON: expected ident at line 1 column 9"),
        (b"{\"a\" 1}", "it is not JSON: expected `:` at line 1 column 6"),
        (b"{\"a\":1", "it is not JSON: EOF while parsing an object at line 1 column 6"),
        (b"\x0b{}", "it is not JSON: expected value at line 1 column 1"),
    ];
    for (text, reason) in rows {
        let error = DaemonJson::parse(text).expect_err(reason).to_string();
        assert_eq!(error, format!("failed to read daemon.json: {reason}"));
    }
}

#[test]
fn only_what_is_certain_is_sealed() {
    let with = |members: &str| format!("{{{members},{OURS}}}").replace(",}", "}").replace("{,", "{");
    for members in
        [r#""tlsverify":true"#, r#""tls":false,"tlsverify":true"#, r#""a":1e400,"tlsverify":true,"a":{"b":"tls"}"#]
    {
        assert_eq!(enforces_client_auth(with(members).as_bytes()), Ok(ours()), "{members}");
    }
    let rows = [
        (with(""), "daemon.json does not say tlsverify"),
        (with(r#""tls":true"#), "daemon.json does not say tlsverify"),
        (with(r#""tlsverify":false"#), "daemon.json says tlsverify is false, which must be true"),
        (with(r#""tlsverify":"true""#), r#"daemon.json says tlsverify is "true", which must be true"#),
        (with(r#""tlsverify":null"#), "daemon.json says tlsverify is null, which must be true"),
        (with(r#""tlsverify":1"#), "daemon.json says tlsverify is 1, which must be true"),
        (with(r#""tlsverify":true,"tlsverify":false"#), "daemon.json says tlsverify more than once"),
        (with(r#""tlsverify":true,"tlsverif\u0079":false"#), "daemon.json says tlsverify more than once"),
        (with(r#""tlsverify":true,"TLSVerify":false"#), "daemon.json says tlsverify more than once"),
        (with(r#""tlsverify":true,"tlſverify":false"#), "daemon.json says tlsverify more than once"),
        (with(r#""tlsverif\u0079":true"#), r#"daemon.json writes tlsverify as "tlsverif\u0079""#),
        (with(r#""TLSVerify":true"#), r#"daemon.json writes tlsverify as "TLSVerify""#),
        (with(r#""features":{"tlsverify":true}"#), r#"daemon.json says tlsverify once more, inside "features""#),
        (with(r#""tlsverify":true,"x":{"Tls":1}"#), r#"daemon.json says tls once more, inside "x""#),
        (with(r#""tlsverify":true,"tls":"true""#), r#"daemon.json says tls is "true", which must be true or false"#),
        (with(r#""tlsverify":true,"tlskey":"/b""#), "daemon.json says tlskey more than once"),
        (r#"{"tlsverify":true,"tlscacert":"/a","tlscert":"/b"}"#.into(), "daemon.json does not say tlskey"),
        (
            r#"{"tlsverify":true,"tlscacert":"a","tlscert":"/b","tlskey":"/c"}"#.into(),
            r#"daemon.json says tlscacert is "a", which must be an absolute path"#,
        ),
        (
            r#"{"tlsverify":true,"tlscacert":"/a","tlscert":"/\u0000","tlskey":"/c"}"#.into(),
            r#"daemon.json says tlscert is "/\u0000", which must be an absolute path"#,
        ),
        (
            r#"{"tlsverify":true,"tlscacert":"/a","tlscert":"/\ud800","tlskey":"/c"}"#.into(),
            r#"daemon.json says tlscert is "/\ud800", which must be an absolute path"#,
        ),
        (String::new(), "daemon.json does not say tlsverify"),
        (
            with(r#""tlsverify":true"#) + "x",
            "failed to read daemon.json: it is not JSON: trailing characters at line 1 column 134",
        ),
    ];
    for (text, reason) in rows {
        assert_eq!(enforces_client_auth(text.as_bytes()).expect_err(&text).to_string(), reason, "{text}");
    }
    let whole = with(r#""tlsverify":true"#);
    assert!(enforces_client_auth(&[b"\xef\xbb\xbf", whole.as_bytes()].concat()).is_err());
    assert!(enforces_client_auth(whole.replace("/etc", "/\u{1}etc").as_bytes()).is_err());
    assert!(enforces_client_auth(&[whole.as_bytes(), b"\xff"].concat()).is_err());
}

#[test]
fn depth_and_number_cost_nothing() {
    let deep = format!("{{\"a\":{}{}, \"tlsverify\":true,{OURS}}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(enforces_client_auth(deep.as_bytes()), Ok(ours()));
    assert!(enforces_client_auth("{\"a\":".repeat(1_000_000).as_bytes()).is_err());
    let many = format!("{{{}\"tlsverify\":true,{OURS}}}", "\"TLS\":1,".repeat(200_000));
    assert!(enforces_client_auth(many.as_bytes()).is_err());
    assert_eq!(merged(&many), format!("{{\"tlsverify\":true,{OURS}}}\n"));
}

#[test]
fn what_is_taken_out_is_ours() {
    let before = "{\n  \"a\": 1,\n  \"b\": {}\n}\n";
    let after = parse(before).merged(&WANTED);
    assert_eq!(after.without_tls(&ours()).map(|left| text(&left)), Ok(before.into()));
    assert_eq!(parse("{}\n").merged(&WANTED).without_tls(&ours()).map(|left| text(&left)), Ok("{\n}\n".into()));
    assert_eq!(parse(before).without_tls(&ours()), Ok(parse(before)));
    let unnamed = parse(r#"{"tlsverify":true}"#);
    assert_eq!(unnamed.without_tls(&ours()), Ok(unnamed.clone()), "whose files these are is not said");
    let theirs = text(&after).replace("certs/key.pem", "mine.pem");
    let refused = NotOurs { key: "tlskey", value: "\"/etc/docker/mine.pem\"".into() };
    assert_eq!(parse(&theirs).without_tls(&ours()), Err(refused));
    let twice = text(&after).replace("\"a\": 1", "\"TLSKEY\": \"/x\"");
    assert!(parse(&twice).without_tls(&ours()).is_err());
}

/// A JSON text of any kind.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1e400".to_owned()),
        Just("-0.0".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just(r#""\ud83d\ude00\u00e9\/\ud800""#.to_owned()),
        Just(r#""/etc/docker/certs/key.pem""#.to_owned()),
        "(true|false|null|[1-9][0-9]{0,30})",
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(" , ")));
        let object = prop::collection::vec((key(), space(), inner), 0..4).prop_map(|members| {
            let members: Vec<String> =
                members.iter().map(|(key, space, value)| format!("{key}:{space}{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        prop_oneof![list, object]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "\"[a-z]{1,3}\"",
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        prop::sample::select(vec!["tls", "TLSVerify", "tlscacert", "tl\\u017fcert", "tlskey", "hosts", "live-restore"])
            .prop_map(|name| format!("\"{name}\"")),
        Just("\"\\ud800\"".to_owned()),
        Just("\"tlsverif\\u0079\"".to_owned()),
    ]
}

fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}

fn document() -> impl Strategy<Value = String> {
    let member = (space(), key(), space(), space(), value(), space());
    (space(), prop::collection::vec(member, 0..8), space(), space()).prop_map(|(before, members, inside, after)| {
        let member = |(a, key, b, c, value, d): &(String, String, String, String, String, String)| {
            format!("{a}{key}{b}:{c}{value}{d}")
        };
        let members: Vec<String> = members.iter().map(member).collect();
        format!("{before}{{{inside}{}}}{after}", members.join(","))
    })
}

fn wanted() -> impl Strategy<Value = Wanted<'static>> {
    any::<(bool, bool)>().prop_map(|(live_restore, drop_hosts)| Wanted { live_restore, drop_hosts, ..WANTED })
}

/// The members that a merge must not touch, as they are written.
fn others(document: &DaemonJson, wanted: &Wanted) -> Vec<(String, String)> {
    let mut ours = vec!["tls", "tlsverify", "tlscacert", "tlscert", "tlskey"];
    ours.extend(wanted.drop_hosts.then_some("hosts"));
    ours.extend(wanted.live_restore.then_some("live-restore"));
    let others = document.members.iter().filter(|member| !ours.iter().any(|key| member.is(key)));
    others.map(|member| (member.key.clone(), member.value.clone())).collect()
}

proptest! {
    #[test]
    fn every_document_is_written_as_it_was_read(document in document()) {
        let read = DaemonJson::parse(document.as_bytes()).expect("a document");
        prop_assert_eq!(text(&read), document);
    }

    #[test]
    fn what_is_not_ours_survives_a_merge(document in document(), wanted in wanted()) {
        let before = parse(&document);
        let after = before.merged(&wanted);
        prop_assert_eq!(others(&after, &wanted), others(&before, &wanted));
        let again = DaemonJson::parse(&after.render()).expect("what was written is read");
        prop_assert_eq!(&again, &after);
        prop_assert_eq!(&again.merged(&wanted), &after);
        prop_assert_eq!(again.hosts().is_some() && wanted.drop_hosts, false);
        prop_assert!(!wanted.live_restore || again.live_restore() == Some(true));
        match enforces_client_auth(&after.render()) {
            Ok(paths) => prop_assert_eq!(paths, ours()),
            Err(reason) => prop_assert!(matches!(reason, NotEnforced::Nested { .. }), "{}", reason),
        }
        let left = after.without_tls(&ours()).expect("ours");
        prop_assert_eq!(others(&left, &wanted), others(&before, &wanted));
        prop_assert!(left.tls() == TlsSettings::default());
    }

    #[test]
    fn no_bytes_are_sealed_that_do_not_say_so(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(enforces_client_auth(&bytes).is_err());
    }
}

#[test]
fn what_was_merged_is_taken_back_and_what_others_wrote_meanwhile_stays() {
    let parse = |text: &str| DaemonJson::parse(text.as_bytes()).unwrap();
    let wanted = Wanted { ca: "/c/ca.pem", cert: "/c/a.pem", key: "/c/a.key", live_restore: true, drop_hosts: true };
    for before in ["", "{}", r#"{"debug": true}"#, r#"{"hosts": ["fd://"], "TLSVerify": false, "debug": true}"#] {
        let before = parse(before);
        let merged = before.merged(&wanted);
        assert!(merged.same_but_ours(&before));
        let back = merged.reverted(&before);
        assert_eq!(back.tls(), before.tls());
        assert_eq!((back.hosts(), back.live_restore()), (before.hosts(), before.live_restore()));
        let edited = parse(&String::from_utf8(merged.render()).unwrap().replacen('{', r#"{"mtu": 1400, "#, 1));
        assert!(!edited.same_but_ours(&before));
        let back = edited.reverted(&before);
        assert!(back.mentions("mtu") && back.tls() == before.tls() && back.hosts() == before.hosts());
        assert_eq!(back.mentions("debug"), before.mentions("debug"));
    }
}
