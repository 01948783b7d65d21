//! Full, small and read-only file systems, mount points, and two that write at once.

use super::actor::{needs_root, plays};
use super::test_dir::*;
use dockseal::adapters::host::cert_dir::{CertDir, DeliveryError};
use std::fs;
use std::path::Path;
use std::process::Command;

fn mount(words: &[&str], at: &Path) {
    let output = Command::new("mount").args(words).arg(at).output().unwrap();
    assert!(output.status.success(), "mount {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The parts that run in a mount namespace of their own.
pub fn play(part: &str, certs: &Path) -> Result<(), DeliveryError> {
    match part {
        "a full disk" => full_disk(certs),
        "a full table of files" => full_table(certs),
        "a read-only mount" => read_only(certs),
        "a round on a read-only mount" => idle_round(certs),
        "a mount point" => mount_point(certs),
        _ => panic!("there is no part {part}"),
    }
}

fn apart(part: &str) {
    needs_root();
    let place = TestDir::new("apart");
    plays(&["unshare", "--mount", "--propagation", "private"], part, &place.certs());
}

#[test]
fn a_full_disk_is_noticed_before_anything_is_touched() {
    apart("a full disk");
}

fn full_disk(certs: &Path) -> Result<(), DeliveryError> {
    let allowed = certs.parent().unwrap();
    mount(&["-t", "tmpfs", "-o", "size=64k,mode=755", "none"], allowed);
    round(certs, "one", false)?;
    let directory = open(certs)?;
    let two = directory.write_generation(NAME, &FileSet::new("two").files())?;
    let before = facts(certs);
    let refused = directory.write_generation(NAME, &FileSet::of_size("two", 12_000).files()).unwrap_err();
    assert!(matches!(refused, DeliveryError::NoSpace { .. }), "{refused}");
    assert!(refused.to_string().contains("76 KiB are needed, 20 are free: remove some files there"), "{refused}");
    fs::write(allowed.join("filler"), vec![0; 64 << 10]).unwrap_err();
    let refused = directory.write_generation(NAME, &FileSet::new("three").files()).unwrap_err();
    assert!(matches!(refused, DeliveryError::NoSpace { .. }), "{refused}");
    assert_eq!((facts(certs), shown(certs)), (before, vec!["one".to_owned(); 3]));
    directory.claim(&marker(), None)?; // nor does what is so already
    for (number, word) in [(two, "two"), (1, "one")] {
        directory.set_current(number)?; // a rollback needs no space
        assert_eq!(shown(certs), [word; 3]);
    }
    fs::remove_file(allowed.join("filler")).unwrap();
    directory.prune(&[])?;
    round(certs, "three", false)?;
    assert_eq!(shown(certs), ["three"; 3]);
    Ok(())
}

#[test]
fn a_full_table_of_files_is_noticed_before_anything_is_touched() {
    apart("a full table of files");
}

fn full_table(certs: &Path) -> Result<(), DeliveryError> {
    let allowed = certs.parent().unwrap();
    mount(&["-t", "tmpfs", "-o", "size=1m,nr_inodes=24,mode=755", "none"], allowed);
    round(certs, "one", false)?;
    let before = facts(certs);
    (0..8).for_each(|number| fs::write(allowed.join(number.to_string()), "").unwrap_or_default());
    let refused = open(certs)?.write_generation(NAME, &FileSet::new("two").files()).unwrap_err();
    assert!(refused.to_string().contains("9 more files are needed"), "{refused}");
    assert_eq!((facts(certs), shown(certs)), (before, vec!["one".to_owned(); 3]));
    (0..8).for_each(|number| fs::remove_file(allowed.join(number.to_string())).unwrap_or_default());
    round(certs, "two", false)
}

#[test]
fn a_read_only_mount_is_noticed_before_anything_is_touched() {
    apart("a read-only mount");
}

fn read_only(certs: &Path) -> Result<(), DeliveryError> {
    let allowed = certs.parent().unwrap();
    round(certs, "one", false)?;
    let two = open(certs)?.write_generation(NAME, &FileSet::new("two").files())?;
    fs::write(certs.join(".dockseal/.aside-x"), "").unwrap();
    mount(&["-o", "bind", allowed.to_str().unwrap()], allowed);
    mount(&["-o", "remount,bind,ro"], allowed);
    let directory = open(certs)?;
    let before = facts(certs);
    for refused in [
        directory.write_generation(NAME, &FileSet::new("three").files()).unwrap_err(),
        directory.set_current(two).unwrap_err(),
        directory.remove_leftovers().unwrap_err(),
        directory.prune(&[]).unwrap_err(),
        directory.release(NAME).unwrap_err(),
        CertDir::open(&[allowed.to_owned()], &allowed.join("new")).unwrap_err(),
    ] {
        assert!(refused.to_string().contains("is mounted read-only: mount it writable"), "{refused}");
    }
    assert_eq!((facts(certs), shown(certs)), (before, vec!["one".to_owned(); 3]));
    Ok(())
}

#[test]
fn a_round_without_news_needs_nothing_to_be_writable() {
    apart("a round on a read-only mount");
}

fn idle_round(certs: &Path) -> Result<(), DeliveryError> {
    let allowed = certs.parent().unwrap();
    round(certs, "one", true)?;
    mount(&["-o", "bind", allowed.to_str().unwrap()], allowed);
    mount(&["-o", "remount,bind,ro"], allowed);
    round(certs, "one", true)?;
    assert_eq!(open(certs)?.take_over(NAME)?, None);
    open(certs)?.set_current(1)
}

#[test]
fn a_mount_point_is_delivered_to() {
    apart("a mount point");
}

fn mount_point(certs: &Path) -> Result<(), DeliveryError> {
    make(certs, 0o755);
    mount(&["-t", "tmpfs", "-o", "size=1m,mode=755", "none"], certs);
    fs::write(certs.join("ca.pem"), "old\n").unwrap();
    for roots in [certs, certs.parent().unwrap()] {
        let directory = CertDir::open(&[roots.to_owned()], certs)?;
        directory.remove_leftovers()?;
    }
    round(certs, "one", true)?;
    round(certs, "two", true)?;
    assert_eq!(shown(certs), ["two"; 3]);
    release(certs)?;
    assert_eq!(tree(certs), [] as [&str; 0]);
    Ok(())
}

#[test]
fn two_that_write_at_once_wait_for_each_other() {
    let place = TestDir::new("turns");
    let certs = place.certs();
    let write = |word: String| {
        for _ in 0..10 {
            match round(&certs, &word, false) {
                // The other one's round ended between our writing and our pointing, and retired what it did not know.
                Ok(()) | Err(DeliveryError::NoGeneration(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|threads| {
        for number in 0..3 {
            threads.spawn(move || write(format!("writer {number}")));
        }
    });
    let shown = shown(&certs);
    assert!(shown.len() == 3 && shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:?}");
    assert!(!place.open().contents(NAME).unwrap().leftovers);
}
