//! What is not as we wrote it: seen, refused in words, never followed, never changed.

use super::actor::needs_root;
use super::test_dir::*;
use dockseal::adapters::host::cert_dir::{CertDir, DeliveryError, Overwrite, PublicName};
use rustix::fs::{AtFlags, CWD, Mode, Uid, chownat, mkfifoat};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

const NOBODY: u32 = 65534;

fn open_error(place: &TestDir) -> DeliveryError {
    CertDir::open(&place.roots(), &place.certs()).unwrap_err()
}

#[test]
fn a_linked_directory_is_refused_below_the_root_and_followed_above_where_it_is_roots() {
    needs_root();
    let place = TestDir::new("linked");
    let canary = place.canary();
    symlink(&canary.path, place.certs()).unwrap();
    let refused = open_error(&place);
    assert!(refused.to_string().contains("allowed/certs is a symbolic link"), "{refused}");
    canary.assert_untouched();

    symlink("allowed", place.path("relative")).unwrap();
    symlink(place.path("relative/../relative"), place.path("absolute")).unwrap();
    let linked = CertDir::open(&[place.path("absolute")], &place.path("absolute/below")).unwrap();
    linked.claim(&marker(), None).unwrap();
    assert!(place.path("allowed/below/.dockseal/owner").exists());

    let nobody = Some(Uid::from_raw(NOBODY));
    chownat(CWD, place.path("relative"), nobody, None, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let refused = CertDir::open(&[place.path("absolute")], &place.path("absolute/below")).unwrap_err();
    assert!(refused.to_string().contains("relative belongs to uid 65534"), "{refused}");
    symlink("round", place.path("round")).unwrap();
    let refused = CertDir::open(&[place.path("round")], &place.path("round")).unwrap_err();
    assert!(matches!(refused, DeliveryError::InTheWay { .. }), "{refused}");
}

#[test]
fn a_directory_that_others_can_change_is_refused_by_name() {
    needs_root();
    let place = TestDir::new("insecure");
    drop(place.open());
    for (below, mode, words) in [
        ("allowed/certs", 0o777, "allowed/certs may be written by others (mode 0777): chmod go-w"),
        ("allowed/certs", 0o1777, "allowed/certs may be written by others (mode 1777): chmod go-w"),
        ("allowed/certs", 0o775, "allowed/certs may be written by others (mode 0775): chmod go-w"),
        ("allowed", 0o777, "allowed may be written by others (mode 0777): chmod go-w"),
        ("", 0o757, "may be written by others (mode 0757): chmod go-w"),
    ] {
        make(&place.path(below), mode);
        let refused = open_error(&place).to_string();
        assert!(refused.contains(words), "{refused}");
        make(&place.path(below), 0o755);
    }
    make(&place.path("allowed"), 0o1777);
    drop(place.open());
    for below in ["allowed/certs", "allowed", ""] {
        chown(place.path(below), Some(NOBODY), None).unwrap();
        let refused = open_error(&place).to_string();
        assert!(refused.contains("belongs to uid 65534, who could replace it: chown 0"), "{refused}");
        chown(place.path(below), Some(0), None).unwrap();
    }
    fs::remove_dir(place.certs()).unwrap();
    fs::write(place.certs(), "").unwrap();
    assert!(open_error(&place).to_string().contains("allowed/certs is not a directory"));
}

type Call = fn(&CertDir) -> Result<(), DeliveryError>;

#[test]
fn our_own_directory_is_never_a_link_and_never_anothers() {
    needs_root();
    let place = TestDir::new("keep");
    let canary = place.canary();
    let directory = place.open();
    let keep = place.certs().join(".dockseal");
    symlink(&canary.path, &keep).unwrap();
    let all: [(&str, Call); 8] = [
        ("look", |directory| directory.contents(NAME).map(drop)),
        ("claim", |directory| directory.claim(&marker(), None)),
        ("write", |directory| directory.write_generation(NAME, &FileSet::new("one").files()).map(drop)),
        ("point", |directory| directory.set_current(1)),
        ("link", |directory| directory.link_names(NAME, Overwrite::Always)),
        ("retire", |directory| directory.prune(&[])),
        ("tidy", CertDir::remove_leftovers),
        ("release", |directory| directory.release(NAME)),
    ];
    for (verb, call) in all {
        let refused = call(&directory).unwrap_err();
        assert!(refused.to_string().contains(".dockseal is a symbolic link"), "{verb}: {refused}");
    }
    fs::remove_file(&keep).unwrap();
    make(&keep, 0o755);
    chown(&keep, Some(NOBODY), None).unwrap();
    for (verb, call) in all {
        let refused = call(&directory).unwrap_err();
        assert!(matches!(refused, DeliveryError::Insecure { .. }), "{verb}: {refused}");
    }
    assert_eq!(tree(&place.certs()), [".dockseal"]);
    canary.assert_untouched();
}

fn write(file: &Path, mode: u32) {
    fs::write(file, "").unwrap();
    fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

/// Puts something else in the place of a file.
type Spoil = fn(&Path, &Path);

#[test]
fn a_file_that_is_not_as_we_wrote_it_is_a_flaw_and_nobody_reads_it() {
    needs_root();
    let place = TestDir::new("flaws");
    let canary = place.canary();
    let spoils: [(&str, Spoil); 7] = [
        ("is a symbolic link", |file, elsewhere| symlink(elsewhere, file).unwrap()),
        ("has 2 hard links", |file, _| {
            write(file, 0o400);
            fs::hard_link(file, file.with_extension("twin")).unwrap();
        }),
        ("is not a regular file", |file, _| {
            mkfifoat(CWD, file, Mode::from_raw_mode(0o400)).unwrap();
        }),
        ("is a directory", |file, _| fs::create_dir(file).unwrap()),
        ("is larger than 1 MiB", |file, _| fs::write(file, vec![b'.'; (1 << 20) + 1]).unwrap()),
        ("has the permissions 0644", |file, _| write(file, 0o644)),
        ("belongs to uid 65534", |file, _| {
            write(file, 0o400);
            chown(file, Some(NOBODY), None).unwrap();
        }),
    ];
    let canary_file = canary.path.join("ca.pem");
    for (words, spoil) in spoils {
        let _ = fs::remove_dir_all(place.certs());
        round(&place.certs(), "one", false).unwrap();
        for name in [".probe.key", "pandora.key", "ca.pem"] {
            let file = place.certs().join(".dockseal/1").join(name);
            fs::remove_file(&file).unwrap();
            spoil(&file, &canary_file);
        }
        let seen = place.open().contents(NAME).unwrap();
        let found = seen.current_generation().unwrap();
        assert_eq!((&found.key, &found.ca, &found.probe_key), (&None, &None, &None));
        assert!(
            found.problems.len() == 3 && found.problems.iter().all(|flaw| flaw.contains(words)),
            "{:?}",
            found.problems
        );
        round(&place.certs(), "one", false).unwrap();
        place.open().prune(&[]).unwrap();
        let seen = place.open().contents(NAME).unwrap();
        assert_eq!(
            (seen.current, seen.generations.len(), shown(&place.certs())),
            (Some(2), 1, vec!["one".to_owned(); 3])
        );
    }
    canary.assert_untouched();
}

#[test]
fn a_generation_that_others_can_change_is_replaced() {
    needs_root();
    let place = TestDir::new("generation");
    let canary = place.canary();
    let keep = place.certs().join(".dockseal");
    let spoils: [(&str, Spoil); 3] = [
        ("may be written by others", |dir, _| make(dir, 0o777)),
        ("belongs to uid 65534", |dir, _| chown(dir, Some(NOBODY), None).unwrap()),
        ("is a symbolic link", |dir, elsewhere| {
            fs::remove_dir_all(dir).unwrap();
            symlink(elsewhere, dir).unwrap();
        }),
    ];
    for (number, (words, spoil)) in (1..).zip(spoils) {
        round(&place.certs(), "one", false).unwrap();
        spoil(&keep.join(number.to_string()), &canary.path);
        fs::remove_file(place.certs().join("ca.pem")).unwrap();
        fs::write(place.certs().join("ca.pem"), "edited").unwrap();
        let seen = place.open().contents(NAME).unwrap();
        assert!(seen.current_generation().unwrap().problems[0].contains(words), "{:?}", seen.current_generation());
        round(&place.certs(), "one", false).unwrap();
        place.open().prune(&[]).unwrap();
        assert_eq!(
            (shown(&place.certs()), names_are_ours(&place.open().contents(NAME).unwrap())),
            (vec!["one".to_owned(); 3], true)
        );
    }
    canary.assert_untouched();
}

#[test]
fn what_is_removed_is_not_followed() {
    let place = TestDir::new("removal");
    let canary = place.canary();
    round(&place.certs(), "one", false).unwrap();
    let keep = place.certs().join(".dockseal");
    for name in [".aside-link", ".aside-file", ".aside-2", ".aside-x", "7"] {
        symlink(&canary.path, keep.join(name)).unwrap();
    }
    fs::create_dir_all(keep.join("8/deep/er")).unwrap();
    symlink(&canary.path, keep.join("8/deep/er/link")).unwrap();
    let directory = place.open();
    assert!(directory.contents(NAME).unwrap().leftovers);
    assert!(matches!(directory.set_current(7), Err(DeliveryError::InTheWay { .. })));
    assert!(matches!(directory.set_current(9), Err(DeliveryError::NoGeneration(_))));
    let number = directory.write_generation(NAME, &FileSet::new("two").files()).unwrap();
    assert_eq!(number, 9);
    directory.set_current(number).unwrap();
    directory.prune(&[]).unwrap();
    let seen = directory.contents(NAME).unwrap();
    assert_eq!((seen.generations.len(), seen.leftovers, shown(&place.certs())), (1, false, vec!["two".to_owned(); 3]));
    canary.assert_untouched();
}

#[test]
fn a_current_that_leads_elsewhere_is_none_and_is_put_right() {
    let place = TestDir::new("current");
    let canary = place.canary();
    let current = place.certs().join(".dockseal/current");
    for target in ["../../../elsewhere", "01", "1/", "./1", "x"] {
        round(&place.certs(), "one", false).unwrap();
        fs::remove_file(&current).unwrap();
        symlink(target, &current).unwrap();
        let directory = place.open();
        assert_eq!(directory.contents(NAME).unwrap().current, None, "{target}");
        directory.set_current(1).unwrap();
        assert_eq!(shown(&place.certs()), ["one"; 3]);
    }
    canary.assert_untouched();
}

#[test]
fn what_is_no_plain_file_is_not_taken_over() {
    let place = TestDir::new("foreign");
    let canary = place.canary();
    make(&place.certs(), 0o755);
    let name = place.certs().join("ca.pem");
    symlink(canary.path.join("ca.pem"), &name).unwrap();
    let directory = place.open();
    assert_eq!(directory.contents(NAME).unwrap().ca, PublicName::Link(canary.path.join("ca.pem")));
    let refused = directory.take_over(NAME).unwrap_err();
    assert!(refused.to_string().contains("it is a link to"), "{refused}");
    fs::remove_file(&name).unwrap();
    mkfifoat(CWD, &name, Mode::from_raw_mode(0o644)).unwrap();
    assert!(matches!(directory.contents(NAME).unwrap().ca, PublicName::Unreadable(_)));
    assert!(matches!(directory.take_over(NAME), Err(DeliveryError::TakeOver { .. })));
    assert!(fs::symlink_metadata(&name).is_ok());
    canary.assert_untouched();
}
