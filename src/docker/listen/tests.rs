//! Addresses in tables, and under arbitrary text.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Listen {
    Listen::parse(text).expect(text)
}

#[test]
fn an_address_is_listened_on_and_dialled() {
    let rows = [
        ("192.168.1.7:2376", "192.168.1.7:2376", "192.168.1.7:2376"),
        ("0.0.0.0:2376", "0.0.0.0:2376", "127.0.0.1:2376"),
        ("[::]:2376", "[::]:2376", "[::1]:2376"),
        ("[::1]:2376", "[::1]:2376", "[::1]:2376"),
        ("[FD00:0::7]:02376", "[fd00::7]:2376", "[fd00::7]:2376"),
        ("[::ffff:10.0.0.1]:1", "10.0.0.1:1", "10.0.0.1:1"),
        ("2376", "2376", "127.0.0.1:2376"),
        ("65535", "65535", "127.0.0.1:65535"),
    ];
    for (text, stream, dial) in rows {
        let listen = parse(text);
        assert_eq!((listen.stream().as_str(), listen.dial().to_string().as_str()), (stream, dial));
        assert_eq!(parse(&listen.stream()), listen);
    }
    assert_eq!(parse("2376"), Listen::all(2376));
    assert_eq!(parse("[::1]:7").port(), 7);
}

#[test]
fn what_nothing_listens_on_is_refused() {
    let malformed = ["", " ", "x", "localhost:2376", "192.168.1.7", "192.168.1.7:", ":2376", "65536", "[::1]:65536"];
    let more =
        ["[fe80::1%eth0]:2376", "[fe80::1%2]:2376", "192.168.01.7:1", "::1:1", "tcp://1.2.3.4:1", "1.2.3.4:1\n", "+1"];
    for text in malformed.into_iter().chain(more) {
        assert_eq!(Listen::parse(text), Err(ListenAddressError::Malformed(text.into())));
    }
    for text in ["0", "00", "192.168.1.7:0", "[::1]:0"] {
        assert_eq!(Listen::parse(text), Err(ListenAddressError::PortZero(text.into())));
    }
    assert_eq!(Listen::parse("[fe80::1]:2376"), Err(ListenAddressError::LinkLocal("[fe80::1]:2376".into())));
    for text in ["224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1"] {
        assert_eq!(Listen::parse(text), Err(ListenAddressError::Multicast(text.into())));
    }
}

#[test]
fn one_socket_for_each_address() {
    let rows: [(&[&str], &[&str]); 7] = [
        (&[], &[]),
        (&["10.0.0.1:2", "10.0.0.1:2", "10.0.0.1:1"], &["10.0.0.1:1", "10.0.0.1:2"]),
        (&["[fd00::1]:1", "10.0.0.1:1"], &["10.0.0.1:1", "[fd00::1]:1"]),
        (&["10.0.0.1:1", "0.0.0.0:1", "[fd00::1]:1"], &["0.0.0.0:1", "[fd00::1]:1"]),
        (&["10.0.0.1:1", "[::]:1", "0.0.0.0:1", "[fd00::1]:1", "10.0.0.1:2"], &["[::]:1", "10.0.0.1:2"]),
        (&["[::]:1", "1"], &["1"]),
        (&["1", "2", "10.0.0.1:1"], &["1", "2"]),
    ];
    for (texts, left) in rows {
        let mut distinct = Listen::distinct(texts.iter().map(|text| parse(text)));
        distinct.sort_by_key(|listen| left.iter().position(|text| *text == listen.stream()));
        let streams: Vec<String> = distinct.iter().map(Listen::stream).collect();
        assert_eq!(streams, left, "{texts:?}");
    }
}

/// What dockerd 20.10 printed as "API listen on" for each, or how it refused.
#[test]
fn docker_hosts_are_read_as_dockerd_reads_them() {
    let tcp = |host: &str, port| DockerHostVariable::Tcp { host: host.into(), port };
    let unix = |path: &str| DockerHostVariable::Unix(path.into());
    let rows = [
        ("fd://", DockerHostVariable::Fd("".into())),
        ("fd://docker.socket", DockerHostVariable::Fd("docker.socket".into())),
        ("", unix("/var/run/docker.sock")),
        ("unix://", unix("/var/run/docker.sock")),
        ("unix:///run/x.sock", unix("/run/x.sock")),
        ("unix://unix:///a", unix("/a")),
        ("tcp://", tcp("localhost", 2375)),
        (":22399", tcp("localhost", 22399)),
        ("127.0.0.1", tcp("127.0.0.1", 2375)),
        (" 127.0.0.1:22399 ", tcp("127.0.0.1", 22399)),
        ("0.0.0.0:2376", tcp("0.0.0.0", 2376)),
        ("127.0.0.1:", tcp("127.0.0.1", 2375)),
        ("127.0.0.1:0", tcp("127.0.0.1", 0)),
        ("[::1]:22399", tcp("::1", 22399)),
        ("tcp://[::1]:", tcp("::1", 2375)),
        ("[::1%25lo]:22399", tcp("::1%lo", 22399)),
        ("localhost", tcp("localhost", 2375)),
        ("tcp://pandora.lan:2376", tcp("pandora.lan", 2376)),
        ("user@127.0.0.1:22399", tcp("127.0.0.1", 22399)),
        ("127.0.0.1:22399?x", tcp("127.0.0.1", 22399)),
        ("tcp://tcp://127.0.0.1:22399", tcp("127.0.0.1", 22399)),
    ];
    for (text, host) in rows {
        assert_eq!(docker_host(text, false), host, "{text}");
    }
    assert_eq!(docker_host("", true), tcp("localhost", 2376));
    assert_eq!(docker_host("tcp://0.0.0.0", true), tcp("0.0.0.0", 2375), "TLS changes no port that is left out");
    let refused = ["::1:22399", "127.0.0.1:99999", "127.0.0.1:+1", "tcp:///x", "127.0.0.1:1/x", "127.0.0.1:http"];
    for text in
        refused.into_iter().chain(["http://127.0.0.1:1", "npipe://", "TCP://127.0.0.1:1", "[::1]1", "[::1", "://"])
    {
        assert_eq!(docker_host(text, false), DockerHostVariable::Other(text.into()));
    }
    assert_eq!(docker_host("[::1%25lo]:1", false).ip(), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    assert_eq!((docker_host("localhost", false).ip(), docker_host("fd://", false).ip()), (None, None));
}

fn listen() -> impl Strategy<Value = Listen> {
    let address = prop_oneof![
        prop::sample::select(vec!["0.0.0.0", "::", "::1", "127.0.0.1"])
            .prop_map(|text| text.parse().expect("an address")),
        any::<IpAddr>(),
    ];
    (prop::option::of(address), 1u16..4).prop_filter_map("listened on", |(address, port)| match address {
        None => Some(Listen::all(port)),
        Some(address) => Listen::parse(&SocketAddr::new(address, port).to_string()).ok(),
    })
}

proptest! {
    #[test]
    fn what_is_read_is_written(listen in listen()) {
        prop_assert_eq!(Listen::parse(&listen.stream()), Ok(listen));
        prop_assert!(!listen.dial().ip().is_unspecified());
    }

    #[test]
    fn distinct_sockets_open_side_by_side(listens in prop::collection::vec(listen(), 0..8)) {
        let distinct = Listen::distinct(listens.clone());
        for one in &distinct {
            prop_assert!(distinct.iter().all(|other| one == other || !one.covers(other)));
        }
        for listen in &listens {
            prop_assert!(distinct.iter().any(|one| one.covers(listen)), "{:?}", listen);
        }
        prop_assert_eq!(Listen::distinct(distinct.clone()), distinct);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "[\\[\\]:%.0-9a-f/@?#tcpunixfd ]{0,24}", tls: bool) {
        let _ = Listen::parse(&text).map(|listen| listen.stream());
        let _ = docker_host(&text, tls).ip();
    }
}
