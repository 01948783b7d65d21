//! Another user of the host, who swaps, links and races wherever they may write, against root who delivers there.

use super::actor::{actor_from, needs_root};
use super::test_dir::*;
use dockseal::adapters::host::cert_dir::{CertDir, DeliveryError, Overwrite};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

const NOBODY: u32 = 65534;
/// How long each attack lasts.
const LASTS: Duration = Duration::from_secs(5);
/// How long at most, until it met everything that it is there to meet, on a busy machine too.
const AT_MOST: Duration = Duration::from_secs(90);

/// The attacker's process, ended when dropped.
struct Attacker(Child);

impl Attacker {
    fn start(place: &TestDir, part: &str, at: &Path) -> Attacker {
        needs_root();
        let binary = place.path("binary"); // where the other user can run it
        fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        loop {
            match actor_from(&[], &binary, part, at).uid(NOBODY).gid(NOBODY).spawn() {
                // Another test's thread was starting a program while the copy was written, and has it open still.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                child => return Attacker(child.unwrap()),
            }
        }
    }

    fn assert_still_at_it(&mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "the attacker ended, or got what they wanted");
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything another user can try at `certs` and beside it, again and again. Ends only where a secret was read.
pub fn attack(certs: &Path) -> Result<(), DeliveryError> {
    assert_eq!(rustix::process::geteuid().as_raw(), NOBODY);
    let parent = certs.parent().unwrap();
    let elsewhere = parent.parent().unwrap().join("elsewhere");
    let (mine, trap) = (parent.join("mine"), parent.join("trap"));
    let inside: Vec<PathBuf> = [
        ".dockseal",
        "ca.pem",
        "pandora.pem",
        "pandora.key",
        ".dockseal/current",
        ".dockseal/owner",
        ".dockseal/1",
        ".dockseal/2",
        ".dockseal/.aside-1",
        ".dockseal/.aside-2",
        ".dockseal/.aside-link",
        ".dockseal/1/pandora.key",
    ]
    .iter()
    .map(|name| certs.join(name))
    .collect();
    loop {
        let _ = fs::create_dir(&mine);
        let _ = symlink(&elsewhere, &trap);
        // the directory itself: swapped for a link to the canary, for one of theirs, moved away
        let _ = fs::rename(certs, parent.join("stolen"));
        let _ = fs::rename(&trap, certs);
        let _ = fs::rename(certs, &trap);
        let _ = fs::rename(&mine, certs);
        for path in &inside {
            let _ = symlink(&elsewhere, path);
            let _ = fs::rename(path, parent.join("stolen"));
            let _ = fs::hard_link(elsewhere.join("ca.pem"), path);
            let _ = fs::hard_link(path, parent.join("twin"));
            let _ = fs::remove_file(path);
        }
        let _ = fs::rename(certs, &mine);
        for name in ["stolen", "twin", "trap", "mine"] {
            let _ = fs::remove_file(parent.join(name)).or_else(|_| fs::remove_dir_all(parent.join(name)));
        }
        if reads_a_secret(certs) {
            return Ok(());
        }
    }
}

/// Reads what it can of the keys and waits for its chance to hold the lock. Ends only where it got one.
pub fn peek(certs: &Path) -> Result<(), DeliveryError> {
    loop {
        if reads_a_secret(certs) || fs::File::open(certs.join(".dockseal/lock")).is_ok() {
            return Ok(());
        }
    }
}

fn reads_a_secret(certs: &Path) -> bool {
    let keep = certs.join(".dockseal");
    let folders = fs::read_dir(&keep).into_iter().flatten().flatten().map(|entry| entry.path());
    folders.chain([certs.to_owned()]).any(|dir| {
        let read = |name: &str| fs::read(dir.join(name)).is_ok_and(|bytes| bytes.ends_with(b"key\n"));
        read("pandora.key") || read(".probe.key")
    })
}

/// Delivers until the attack is over, which is not before `enough` was delivered and refused; how often each was.
fn deliver_under_attack(
    certs: &Path,
    swapped: &Path,
    mut attacker: Attacker,
    enough: (usize, usize),
) -> (usize, usize) {
    let (mut delivered, mut refused) = (0, 0);
    let begun = Instant::now();
    let over = |delivered, refused| delivered >= enough.0 && refused >= enough.1 && begun.elapsed() > LASTS;
    while !over(delivered, refused) && begun.elapsed() < AT_MOST {
        let done = round(certs, &format!("set {delivered}"), false).and_then(|()| {
            assert_eq!(fs::symlink_metadata(certs).unwrap().uid(), 0);
            assert_eq!(
                shown(certs),
                [format!("set {delivered}"), format!("set {delivered}"), format!("set {delivered}")]
            );
            release(certs)
        });
        match done {
            Ok(()) => {
                delivered += 1;
                fs::remove_dir_all(swapped).unwrap(); // so that the way there is to be made again
                if delivered % 2 == 0 {
                    until_taken(swapped);
                }
            }
            Err(error) => {
                let expected = matches!(
                    error,
                    DeliveryError::Insecure { .. } | DeliveryError::InTheWay { .. } | DeliveryError::File(_)
                );
                assert!(expected, "{error}");
                refused += 1;
            }
        }
        attacker.assert_still_at_it();
    }
    println!("{delivered} delivered, {refused} refused");
    (delivered, refused)
}

/// Lets the attacker be the first for once.
fn until_taken(path: &Path) {
    let until = Instant::now() + AT_MOST;
    while fs::symlink_metadata(path).is_err() {
        assert!(Instant::now() < until, "the attacker puts nothing there");
    }
}

#[test]
fn races_in_a_sticky_directory_that_all_may_write_redirect_nothing() {
    let place = TestDir::new("sticky");
    let canary = place.canary();
    make(&place.path("allowed"), 0o1777);
    let attacker = Attacker::start(&place, "attack", &place.certs());
    let (delivered, refused) = deliver_under_attack(&place.certs(), &place.certs(), attacker, (1, 1));
    assert!(delivered > 0 && refused > 0, "no race: {delivered} delivered, {refused} refused");
    canary.assert_untouched();
}

#[test]
fn races_for_an_allowed_directory_that_is_missing_redirect_nothing() {
    let place = TestDir::new("root");
    let canary = place.canary();
    make(&place.path("sticky"), 0o1777);
    let root = place.path("sticky/root");
    let attacker = Attacker::start(&place, "attack", &root);
    let (delivered, refused) = deliver_under_attack(&root.join("certs"), &root, attacker, (1, 1));
    assert!(delivered > 0 && refused > 0, "no race: {delivered} delivered, {refused} refused");
    canary.assert_untouched();
}

#[test]
fn a_directory_within_anothers_is_refused_whatever_they_do() {
    let place = TestDir::new("within");
    let canary = place.canary();
    needs_root();
    std::os::unix::fs::chown(place.path("allowed"), Some(NOBODY), None).unwrap();
    let attacker = Attacker::start(&place, "attack", &place.certs());
    let (delivered, refused) = deliver_under_attack(&place.certs(), &place.certs(), attacker, (0, 101));
    assert!(delivered == 0 && refused > 100, "{delivered} delivered, {refused} refused");
    canary.assert_untouched();
}

#[test]
fn nobody_else_reads_a_key_or_holds_the_lock_while_files_are_written() {
    let place = TestDir::new("peek");
    make(&place.path("allowed"), 0o755);
    let mut attacker = Attacker::start(&place, "peek", &place.certs());
    let until = Instant::now() + LASTS;
    for number in 0.. {
        round(&place.certs(), &number.to_string(), false).unwrap();
        attacker.assert_still_at_it();
        if Instant::now() > until {
            break;
        }
    }
}

#[test]
fn what_others_planted_before_the_directory_was_closed_to_them_is_no_way_in() {
    needs_root();
    let place = TestDir::new("planted");
    let canary = place.canary();
    make(&place.certs(), 0o777);
    let planted = format!(
        "cd {certs} && mkdir .dockseal && ln -s {canary} .dockseal/current && ln -s {canary} .dockseal/1 && \
         ln -s {canary}/ca.pem ca.pem && touch pandora.pem",
        certs = place.certs().display(),
        canary = canary.path.display()
    );
    let done = std::process::Command::new("sh").args(["-ec", &planted]).uid(NOBODY).gid(NOBODY).status().unwrap();
    assert!(done.success());
    make(&place.certs(), 0o755);
    let directory = CertDir::open(&place.roots(), &place.certs()).unwrap();
    assert!(matches!(directory.contents(NAME), Err(DeliveryError::Insecure { .. })));
    assert!(matches!(directory.link_names(NAME, Overwrite::Always), Err(DeliveryError::Insecure { .. })));
    fs::remove_dir_all(place.certs().join(".dockseal")).unwrap();
    assert!(matches!(directory.take_over(NAME), Err(DeliveryError::TakeOver { .. })));
    let number = directory.write_generation(NAME, &FileSet::new("one").files()).unwrap();
    directory.set_current(number).unwrap();
    directory.link_names(NAME, Overwrite::Always).unwrap();
    assert_eq!(shown(&place.certs()), ["one"; 3]);
    canary.assert_untouched();
}
