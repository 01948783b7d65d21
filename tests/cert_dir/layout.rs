//! Where everything is, who may read it, and what is seen.

use super::actor::{needs_root, plays};
use super::test_dir::*;
use dockseal::adapters::host::cert_dir::{CertDir, DeliveryError, Overwrite, PublicName};
use dockseal::api::marker::Marker;
use std::fs;
use std::path::Path;

const LAYOUT: [(&str, u32); 10] = [
    (".dockseal", 0o755),
    (".dockseal/1", 0o755),
    (".dockseal/1/.probe.key", 0o400),
    (".dockseal/1/.probe.pem", 0o444),
    (".dockseal/1/ca.pem", 0o444),
    (".dockseal/1/pandora.key", 0o400),
    (".dockseal/1/pandora.pem", 0o444),
    (".dockseal/lock", 0o600),
    (".dockseal/owner", 0o444),
    ("", 0o755),
];

#[test]
fn a_delivery_has_its_layout_and_modes_under_any_umask() {
    for umask in ["077", "000"] {
        let place = TestDir::new("layout");
        let certs = place.certs();
        plays(&[], &format!("round under umask {umask}"), &certs);
        let links = [".dockseal/current", "ca.pem", "pandora.key", "pandora.pem"];
        let mut wanted: Vec<_> =
            LAYOUT.iter().map(|(name, _)| *name).chain(links).filter(|name| !name.is_empty()).collect();
        wanted.sort_unstable();
        assert_eq!(tree(&certs), wanted);
        for (name, wanted) in LAYOUT {
            assert_eq!(format!("{:o}", mode(&certs.join(name))), format!("{wanted:o}"), "{name:?}, umask {umask}");
        }
        assert_eq!(fs::read_link(certs.join(links[0])).unwrap(), Path::new("1"));
        for name in PUBLIC {
            assert_eq!(fs::read_link(certs.join(name)).unwrap(), Path::new(".dockseal/current").join(name));
        }
        assert_eq!(shown(&certs), ["one"; 3]);
    }
}

#[test]
fn root_without_capabilities_can_do_all_of_it() {
    needs_root();
    let place = TestDir::new("bare");
    make(&place.certs(), 0o755);
    for name in PUBLIC {
        fs::write(place.certs().join(name), "old\n").unwrap();
    }
    let bare = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"];
    plays(&bare, "round without capabilities", &place.certs());
    assert_eq!(tree(&place.certs()), [] as [&str; 0]);
}

#[test]
fn what_was_written_is_seen() {
    let place = TestDir::new("seen");
    let directory = place.open();
    assert_eq!(directory.contents(NAME).unwrap(), Default::default());
    round(&place.certs(), "one", false).unwrap();
    round(&place.certs(), "two", false).unwrap();
    let seen = directory.contents(NAME).unwrap();
    assert_eq!((seen.marker.as_ref(), seen.current, seen.leftovers), (Some(&marker()), Some(2), false));
    assert!(names_are_ours(&seen) && seen.is_delivered_by(&marker()));
    assert_eq!(seen.generations.iter().map(|generation| generation.number).collect::<Vec<_>>(), [1, 2]);
    let current = seen.current_generation().unwrap();
    assert_eq!((current.number, current.key.as_deref()), (2, Some(&b"two\nkey\n"[..])));
    assert_eq!((current.probe_cert.as_deref(), &current.problems[..]), (Some(&b"two\nprobe cert\n"[..]), &[][..]));
    assert!(!format!("{seen:?}").contains("two"), "what is in a file does not reach a log");
}

#[test]
fn a_directory_has_one_owner() {
    let place = TestDir::new("owner");
    let directory = place.open();
    directory.claim(&marker(), None).unwrap();
    let other = Marker { object: "DockerHostCert/home/other".to_owned(), ..Marker::default() };
    let refused = directory.claim(&other, None).unwrap_err();
    assert!(refused.to_string().contains("DockerHostCert/home/pandora"), "{refused}");
    directory.claim(&other, Some(&marker())).unwrap();
    assert_eq!(directory.contents(NAME).unwrap().marker, Some(other));
    assert!(matches!(directory.claim(&marker(), Some(&marker())), Err(DeliveryError::Claimed { .. })));
}

/// Two processes: the second takes the directory while the first is at work.
#[test]
fn who_lost_a_directory_writes_nothing_more() {
    let place = TestDir::new("lost");
    let [first, second] = [(); 2].map(|()| place.open());
    let write = |directory: &CertDir, word: &str| directory.write_generation(NAME, &FileSet::new(word).files());
    first.claim(&marker(), None).unwrap();
    first.set_current(write(&first, "one").unwrap()).unwrap();
    let number = write(&first, "two").unwrap();
    let other = Marker { writer: Some("state-other".to_owned()), ..marker() };
    second.claim(&other, Some(&marker())).unwrap();
    let before = tree(&place.certs());
    let lost =
        |done: Result<(), DeliveryError>| assert!(matches!(done, Err(DeliveryError::Claimed { .. })), "{done:?}");
    lost(first.set_current(number));
    lost(write(&first, "three").map(drop));
    lost(first.link_names(NAME, Overwrite::Always));
    lost(first.prune(&[]));
    lost(first.release(NAME));
    lost(first.claim(&marker(), Some(&marker())));
    assert_eq!(tree(&place.certs()), before);
    second.set_current(number).unwrap();
}

#[test]
fn a_round_without_news_touches_nothing() {
    let place = TestDir::new("idle");
    round(&place.certs(), "one", true).unwrap();
    let before = facts(&place.certs());
    round(&place.certs(), "one", true).unwrap();
    assert_eq!(facts(&place.certs()), before);
}

#[test]
fn what_is_removed_is_ours_alone() {
    let place = TestDir::new("release");
    let directory = place.open();
    for word in ["one", "two", "three"] {
        round(&place.certs(), word, false).unwrap();
    }
    assert_eq!(directory.contents(NAME).unwrap().generations.len(), 2, "the one before stays");
    directory.prune(&[]).unwrap();
    let seen = directory.contents(NAME).unwrap();
    assert_eq!((seen.generations.len(), seen.current_generation().map(|current| current.number)), (1, Some(3)));
    fs::write(place.certs().join("ca-key.pem"), "not ours").unwrap();
    fs::remove_file(place.certs().join("pandora.pem")).unwrap();
    fs::write(place.certs().join("pandora.pem"), "not ours").unwrap();
    directory.release(NAME).unwrap();
    assert_eq!(tree(&place.certs()), ["ca-key.pem", "pandora.pem"]);
    directory.release(NAME).unwrap();
    directory.remove_leftovers().unwrap();
    directory.prune(&[]).unwrap();
    assert_eq!(tree(&place.certs()), ["ca-key.pem", "pandora.pem"]);
}

#[test]
fn files_of_others_stay_until_they_are_taken_over() {
    let place = TestDir::new("takeover");
    make(&place.certs(), 0o755);
    for name in PUBLIC {
        fs::write(place.certs().join(name), format!("old\n{name}\n")).unwrap();
    }
    let directory = place.open();
    assert!(matches!(directory.contents(NAME).unwrap().ca, PublicName::File(_)));
    let number = directory.write_generation(NAME, &FileSet::new("new").files()).unwrap();
    directory.set_current(number).unwrap();
    for over in [Overwrite::Never, Overwrite::IfSame] {
        assert!(matches!(directory.link_names(NAME, over), Err(DeliveryError::FileExists(_))));
    }
    assert_eq!(shown(&place.certs()), ["old"; 3]);
    let old = directory.take_over(NAME).unwrap();
    assert_eq!((old, directory.contents(NAME).unwrap().current), (Some(2), Some(2)));
    assert_eq!(shown(&place.certs()), ["old"; 3]);
    assert!(names_are_ours(&directory.contents(NAME).unwrap()));
    assert_eq!(directory.take_over(NAME).unwrap(), None);
    round(&place.certs(), "new", false).unwrap();
    assert_eq!(shown(&place.certs()), ["new"; 3]);
}

#[test]
fn a_set_that_is_not_whole_is_taken_over_as_it_is() {
    let place = TestDir::new("partial");
    make(&place.certs(), 0o755);
    fs::write(place.certs().join("ca.pem"), "old\n").unwrap();
    fs::write(place.certs().join("pandora.pem"), "old\n-----BEGIN PRIVATE KEY-----\n").unwrap();
    let directory = place.open();
    directory.claim(&marker(), None).unwrap();
    directory.take_over(NAME).unwrap();
    assert_eq!(shown(&place.certs()), ["old"; 2], "no link leads nowhere");
    let copy = place.certs().join(".dockseal/1");
    assert_eq!((mode(&copy.join("ca.pem")), mode(&copy.join("pandora.pem"))), (0o444, 0o400), "a key was in there");
    round(&place.certs(), "new", true).unwrap();
    assert_eq!(shown(&place.certs()), ["new"; 3]);
}

#[test]
fn edits_are_put_right() {
    let place = TestDir::new("edits");
    round(&place.certs(), "one", false).unwrap();
    let broken = |name: &str| {
        fs::remove_file(place.certs().join(name)).unwrap();
        place.certs().join(name)
    };
    fs::write(broken("ca.pem"), "edited").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", broken("pandora.pem")).unwrap();
    broken("pandora.key");
    let seen = place.open().contents(NAME).unwrap();
    assert!(matches!(
        (&seen.ca, &seen.cert, &seen.key),
        (PublicName::File(_), PublicName::Link(_), PublicName::Absent)
    ));
    assert!(seen.is_delivered_by(&marker()));
    round(&place.certs(), "two", false).unwrap();
    assert_eq!(shown(&place.certs()), ["two"; 3]);
    fs::create_dir(broken("ca.pem")).unwrap();
    let refused = round(&place.certs(), "two", false).unwrap_err();
    assert!(matches!(refused, DeliveryError::InTheWay { .. }), "{refused}");
}

#[test]
fn a_directory_that_is_missing_is_made_where_it_is_to_be() {
    let place = TestDir::new("missing");
    assert!(CertDir::find(&place.roots(), &place.certs()).unwrap().is_none());
    assert!(!place.certs().exists());
    let roots = [place.path("far/away")];
    drop(CertDir::open(&roots, &place.path("far/away/below/it")).unwrap());
    for made in ["far", "far/away", "far/away/below", "far/away/below/it"] {
        assert_eq!(mode(&place.path(made)), 0o755);
    }
    for outside in ["far/awayward", "far", "else"] {
        assert!(matches!(CertDir::open(&roots, &place.path(outside)), Err(DeliveryError::Outside { .. })));
    }
    assert!(matches!(CertDir::open(&roots, &place.path("far/away/../x")), Err(DeliveryError::NotCanonical(_))));
    assert!(matches!(CertDir::open(&roots, Path::new("far/away")), Err(DeliveryError::NotCanonical(_))));
}

#[test]
fn a_name_that_would_be_another_file_is_refused() {
    let place = TestDir::new("names");
    for name in ["", "ca", "../x", "a/b", ".x", "A", "a\0", &"a".repeat(252)] {
        assert!(matches!(place.open().contents(name), Err(DeliveryError::Name(_))), "{name:?}");
    }
    for name in ["probe", "current", "owner", "1", "ca.pem", &"a".repeat(251)] {
        let directory = place.open();
        let number = directory.write_generation(name, &FileSet::new("one").files()).unwrap();
        directory.set_current(number).unwrap();
        directory.link_names(name, Overwrite::Never).unwrap();
        assert!(names_are_ours(&directory.contents(name).unwrap()), "{name}");
    }
}
