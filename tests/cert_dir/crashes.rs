//! Killed between any two steps that change something, and told of any error at each: the public names show one whole
//! set, and the next round ends where it should.

use super::actor::{REFUSED, actor};
use super::test_dir::*;
use dockseal::adapters::host::cert_dir::DeliveryError;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

/// The calls that change something.
const STEPS: [&str; 7] = ["mkdirat", "fchmod", "write", "fsync", "renameat,renameat2", "symlinkat", "unlinkat"];

/// Runs a part whose `number`th call of that kind meets `fate`; none where there are fewer calls.
fn traced(part: &str, certs: &Path, call: &str, fate: &str, number: usize) -> Option<Output> {
    let log = certs.parent().unwrap().parent().unwrap().join("trace");
    let inject = format!("inject={call}:{fate}:when={number}");
    let strace = ["strace", "-f", "-qq", "-o", log.to_str().unwrap(), "-e", &format!("trace={call}"), "-e", &inject];
    let output = actor(&strace, part, certs).output().expect("strace is there: apt-get install strace");
    let met = fs::read_to_string(&log).unwrap();
    (met.contains("(INJECTED)") || met.contains("killed by SIGKILL")).then_some(output)
}

/// The state before, what runs, and what must hold whenever it is killed.
struct CrashCase {
    before: fn(&Path),
    part: &'static str,
    holds: fn(&Path),
}

fn killed_at_every_step(scene: &CrashCase, end: fn(&Path)) {
    let mut killed = 0;
    for call in STEPS {
        for number in 1.. {
            let place = TestDir::new("killed");
            let certs = place.certs();
            (scene.before)(&certs);
            let Some(output) = traced(scene.part, &certs, call, "signal=SIGKILL", number) else { break };
            assert_eq!(output.status.signal(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
            if certs.exists() {
                (scene.holds)(&certs);
            }
            end(&certs);
            killed += 1;
        }
    }
    assert!(killed > 15, "{killed} kills are too few: are the calls others now?");
    println!("{}: killed {killed} times", scene.part);
}

fn ends_new(certs: &Path) {
    round(certs, "new", true).unwrap();
    assert_eq!(shown(certs), ["new"; 3]);
    let seen = open(certs).unwrap().contents(NAME).unwrap();
    assert!(names_are_ours(&seen) && !seen.leftovers && seen.generations.len() <= 2, "{seen:?}");
}

fn each_whole(certs: &Path) {
    let seen = open(certs).unwrap().contents(NAME).unwrap();
    for generation in &seen.generations {
        let files = [&generation.ca, &generation.cert, &generation.probe_cert, &generation.key, &generation.probe_key];
        let mut words = files.iter().flat_map(|file| file.as_deref().map(word)).collect::<Vec<_>>();
        let full = if words == ["old"; 3] { 3 } else { 5 };
        assert_eq!((words.len(), &generation.problems[..]), (full, &[][..]));
        words.dedup();
        assert_eq!(words.len(), 1, "{words:?}");
    }
}

fn all_old_or_all_new(certs: &Path) {
    let shown = shown(certs);
    assert!(shown == ["old"; 3] || shown == ["new"; 3], "{shown:?}");
    each_whole(certs);
}

#[test]
fn a_first_delivery_that_is_killed_shows_nothing_or_the_set() {
    let holds = |certs: &Path| {
        assert!(shown(certs).iter().all(|word| word == "new"), "{:?}", shown(certs));
        each_whole(certs);
    };
    killed_at_every_step(&CrashCase { before: |_| {}, part: "renew", holds }, ends_new);
}

#[test]
fn a_renewal_that_is_killed_shows_the_old_set_or_the_new_one() {
    let before = |certs: &Path| {
        for word in ["older", "old"] {
            round(certs, word, false).unwrap();
        }
    };
    killed_at_every_step(&CrashCase { before, part: "renew", holds: all_old_or_all_new }, ends_new);
}

#[test]
fn a_takeover_that_is_killed_shows_the_old_set_or_the_new_one() {
    let before = |certs: &Path| {
        make(certs, 0o755);
        PUBLIC.iter().for_each(|name| fs::write(certs.join(name), "old\n").unwrap());
    };
    killed_at_every_step(&CrashCase { before, part: "renew", holds: all_old_or_all_new }, ends_new);
}

#[test]
fn a_removal_that_is_killed_is_ours_until_its_end() {
    let before = |certs: &Path| {
        for word in ["older", "old"] {
            round(certs, word, false).unwrap();
        }
    };
    let holds = |certs: &Path| {
        let left = tree(certs).into_iter().any(|name| name != ".dockseal" && name != ".dockseal/lock");
        let seen = open(certs).unwrap().contents(NAME).unwrap();
        assert_eq!(seen.marker.is_some(), left, "{:?}", tree(certs));
    };
    let end = |certs: &Path| {
        release(certs).unwrap();
        assert_eq!(tree(certs), [] as [&str; 0]);
    };
    killed_at_every_step(&CrashCase { before, part: "release", holds }, end);
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let errors = [
        ("mkdirat", "ENOSPC"),
        ("fchmod", "EPERM"),
        ("write", "ENOSPC"),
        ("write", "EIO"),
        ("fsync", "EIO"),
        ("renameat,renameat2", "EDQUOT"),
    ];
    let mut failed = 0;
    for (call, error) in errors {
        for number in 1.. {
            let place = TestDir::new("failed");
            round(&place.certs(), "old", false).unwrap();
            let before = tree(&place.certs());
            let fate = format!("error={error}");
            let Some(output) = traced("write", &place.certs(), call, &fate, number) else { break };
            let refused = output.status.code() == Some(REFUSED);
            // The test's own words fail to be written too, before anything else is tried.
            assert!(refused || output.status.code() == Some(101) && call == "write", "{call} {error}: {output:?}");
            assert_eq!((tree(&place.certs()), shown(&place.certs())), (before, vec!["old".to_owned(); 3]));
            failed += usize::from(refused);
        }
    }
    assert!(failed > 20, "{failed} failures are too few: are the calls others now?");
}

#[test]
fn what_is_not_read_back_as_it_was_written_does_not_count() {
    let mut noticed = 0;
    for number in 1.. {
        let place = TestDir::new("differs");
        round(&place.certs(), "old", false).unwrap();
        let before = tree(&place.certs());
        let Some(output) = traced("write", &place.certs(), "read", "retval=0", number) else { break };
        if String::from_utf8_lossy(&output.stderr).contains("does not hold what was written") {
            assert_eq!(tree(&place.certs()), before);
            noticed += 1;
        }
    }
    assert!(noticed >= 4, "{noticed} of five files; the loader may trip over its own first read");
}

#[test]
fn without_openat2_nothing_is_done() {
    let place = TestDir::new("enosys");
    for error in ["ENOSYS", "EPERM"] {
        let output = traced("renew", &place.certs(), "openat2", &format!("error={error}"), 1).unwrap();
        assert_eq!(output.status.code(), Some(REFUSED));
        assert!(String::from_utf8_lossy(&output.stderr).contains("use Linux 5.6 or newer"), "{output:?}");
    }
    assert!(!place.certs().exists());
}

/// The calls of a part as strace writes them, with the paths of descriptors.
fn calls(part: &str, certs: &Path) -> Vec<String> {
    let log = certs.parent().unwrap().parent().unwrap().join("trace");
    let calls = "trace=%file,fsync";
    let strace = ["strace", "-f", "-qq", "-y", "-s", "400", "-o", log.to_str().unwrap(), "-e", calls];
    assert!(actor(&strace, part, certs).status().unwrap().success());
    let log = fs::read_to_string(log).unwrap();
    let from = log.find(r#"openat2(AT_FDCWD"#).expect("the product opens / first");
    let lines = log[from..].lines().map(|line| line.split_once(' ').map_or(line, |(_, call)| call.trim()));
    lines.filter(|line| !line.contains(" = -1 ")).map(str::to_owned).collect()
}

#[test]
fn everything_is_synced_before_it_counts() {
    let place = TestDir::new("synced");
    round(&place.certs(), "old", false).unwrap();
    let calls = calls("renew", &place.certs());
    let at = |words: &[&str]| {
        let found = calls.iter().position(|call| words.iter().all(|word| call.contains(word)));
        found.unwrap_or_else(|| panic!("no {words:?} in {calls:#?}"))
    };
    let (named, pointed) = (at(&["rename", "\".aside-2\"", "\"2\""]), at(&["rename", "\"current\""]));
    for file in ["ca.pem>", "pandora.pem>", "pandora.key>", ".probe.pem>", ".probe.key>"] {
        assert!(at(&["fsync(", &format!(".aside-2/{file}")]) < named, "{file}");
    }
    let full = at(&["O_CREAT", ".probe.key"]);
    let synced = |directory: &str, from: usize, to: usize| {
        let words = format!("{directory}>)");
        assert!(calls[from..to].iter().any(|call| call.contains("fsync(") && call.contains(&words)), "{words}");
    };
    synced(".dockseal/.aside-2", full, named);
    synced(".dockseal", named, pointed);
    synced(".dockseal", pointed, calls.len());
}

#[test]
fn no_path_is_asked_for_but_the_root_and_names_in_opened_directories() {
    let place = TestDir::new("paths");
    make(&place.certs(), 0o755);
    fs::write(place.certs().join("ca.pem"), "old\n").unwrap();
    let mut steps = calls("renew", &place.certs());
    steps.extend(calls("release", &place.certs()));
    let mut names = 0;
    for call in steps.iter().filter(|call| !call.starts_with("fsync") && call.contains('(')) {
        assert!(!call.starts_with("open(") && !call.starts_with("stat"), "{call}");
        // Only names are quoted; a link's target is not a name.
        let quoted = call.split('"').skip(1).step_by(2).collect::<Vec<_>>();
        let quoted = if call.starts_with("symlink") { &quoted[1..] } else { &quoted[..1] };
        let plain = quoted.iter().all(|name| !name.contains('/'));
        assert!(plain || call.starts_with(r#"openat2(AT_FDCWD"#) && quoted == ["/"], "{call}");
        let guarded = !call.starts_with("openat(")
            && (!call.starts_with("openat2")
                || quoted == ["/"]
                || call.contains("RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS|RESOLVE_BENEATH"));
        assert!(guarded, "{call}");
        names += quoted.len();
    }
    assert!(names > 50, "{names} names are too few");
}

/// Delivers one set after another until it is killed.
pub fn churn(certs: &Path) -> Result<(), DeliveryError> {
    for number in 0.. {
        let directory = open(certs)?;
        directory.remove_leftovers()?;
        let generation =
            directory.write_generation(NAME, &FileSet::new(&format!("{}-{number}", std::process::id())).files())?;
        directory.set_current(generation)?;
        directory.link_names(NAME, dockseal::adapters::host::cert_dir::Overwrite::Never)?;
        directory.prune(&[generation.saturating_sub(1), generation.saturating_sub(2)])?;
    }
    Ok(())
}

#[test]
fn readers_see_one_set_while_writers_are_killed_at_random() {
    let place = TestDir::new("churn");
    let certs = place.certs();
    round(&certs, "first", false).unwrap();
    let (mut kills, mut reads, mut chance) = (0, 0_u64, std::process::id().wrapping_mul(2_654_435_761));
    let begun = Instant::now();
    // Eight seconds, and longer where the machine is busy.
    let enough = |kills, reads| kills > 10 && reads > 100 && begun.elapsed() > Duration::from_secs(8);
    while !enough(kills, reads) && begun.elapsed() < Duration::from_secs(90) {
        let mut writer = actor(&[], "churn", &certs).spawn().unwrap();
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let killed_at = Instant::now() + Duration::from_micros(8_000 + u64::from(chance >> 16) % 60_000);
        while Instant::now() < killed_at {
            reads += u64::from(read_together(&certs));
        }
        assert_eq!(writer.try_wait().unwrap(), None, "the writer ended by itself");
        writer.kill().unwrap();
        writer.wait().unwrap();
        let shown = shown(&certs);
        assert!(shown.len() == 3 && shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:?}");
        each_whole(&certs);
        kills += 1;
    }
    println!("{kills} writers killed, {reads} sets read");
    assert!(kills > 10 && reads > 100, "{kills} kills, {reads} reads");
    ends_new(&certs);
}

/// Reads the set through one opened directory, and each public name; false where it was retired meanwhile.
fn read_together(certs: &Path) -> bool {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let current = certs.join(".dockseal/current");
    let before = fs::read_link(&current).unwrap();
    let directory = openat(CWD, &current, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let read = |name: &str| {
        let mut text = String::new();
        let file = openat(&directory, name, OFlags::CLOEXEC, Mode::empty()).map(File::from);
        file.map(|mut file| file.read_to_string(&mut text).map(|_| word(text.as_bytes())).unwrap())
    };
    let set = PUBLIC.map(read);
    let public = PUBLIC.map(|name| fs::read(certs.join(name)));
    let moved = fs::read_link(&current).unwrap() != before;
    if moved && (set.iter().any(Result::is_err) || public.iter().any(Result::is_err)) {
        return false;
    }
    let words = set.map(Result::unwrap);
    assert!(words.windows(2).all(|pair| pair[0] == pair[1]), "{words:?}");
    public.into_iter().for_each(|read| assert!(read.is_ok(), "{read:?}"));
    true
}
