//! This test binary again, as another process: under another umask, without capabilities, traced, killed, or as
//! an attacker.

use super::test_dir::*;
use super::{attacks, crashes, limits};
use dockseal::adapters::host::cert_dir::DeliveryError;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};

const PART: &str = "DOCKSEAL_TEST_PART";
const WHERE: &str = "DOCKSEAL_TEST_WHERE";
/// The exit code of a part that was refused or failed as the product says it.
pub const REFUSED: i32 = 3;

/// A program that runs `part` on a directory, behind the words of another program that starts it.
pub fn actor(before: &[&str], part: &str, place: &Path) -> Command {
    actor_from(before, &std::env::current_exe().unwrap(), part, place)
}

pub fn actor_from(before: &[&str], binary: &Path, part: &str, place: &Path) -> Command {
    let mut words = before.iter().map(Into::into).chain([binary.as_os_str().to_owned()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", "actor::another_process_of_these_tests", "--nocapture", "--test-threads=1"]);
    command.env(PART, part).env(WHERE, place).env("RUST_BACKTRACE", "0").stdout(Stdio::null()).stdin(Stdio::null());
    command
}

/// Runs it to its end, which must be a good one.
pub fn plays(before: &[&str], part: &str, place: &Path) {
    let output = actor(before, part, place).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{before:?} {part}: {}\n{said}", output.status);
}

pub fn needs_root() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root: run it as root, in a container if you like");
}

#[test]
fn another_process_of_these_tests() {
    let Ok(part) = std::env::var(PART) else { return };
    let place = PathBuf::from(std::env::var_os(WHERE).unwrap());
    match play(&part, &place) {
        Ok(()) => exit(0),
        Err(error) => {
            eprintln!("{error}");
            exit(REFUSED)
        }
    }
}

fn play(part: &str, place: &Path) -> Result<(), DeliveryError> {
    match part {
        "round under umask 077" => under_umask(0o077, place),
        "round under umask 000" => under_umask(0o000, place),
        "round without capabilities" => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            assert!(status.contains("CapEff:\t0000000000000000\n"), "there are capabilities left: {status}");
            round(place, "one", true)?;
            round(place, "two", true)?;
            release(place)
        }
        "renew" => round(place, "new", true),
        "release" => release(place),
        "write" => open(place)?.write_generation(NAME, &FileSet::new("new").files()).map(drop),
        "churn" => crashes::churn(place),
        "attack" => attacks::attack(place),
        "peek" => attacks::peek(place),
        _ => limits::play(part, place),
    }
}

fn under_umask(mask: u32, place: &Path) -> Result<(), DeliveryError> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    round(place, "one", false)
}
