//! It boots, reboots, loses power and keeps its containers as a host does.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::support::hostbox::HostBox;

/// As long as a busy machine may need.
const SOON: Duration = Duration::from_secs(90);

/// Waits until something is so.
fn eventually(what: &str, mut so: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while !so() {
        ensure!(Instant::now() < deadline, "not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn it_boots_to_a_docker_that_answers_and_again_after_a_reboot() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    assert_eq!(host.sh("systemctl is-system-running")?, "running\n", "{}", host.sh("systemctl --failed")?);
    assert_eq!(host.sh("cat /proc/1/comm")?, "systemd\n");
    assert_eq!(host.docker(&["info", "--format", "{{.Driver}} {{.CgroupDriver}}"])?, "vfs systemd\n");
    assert!(host.journal("docker.service")?.contains("API listen on /run/docker.sock"));
    let boot = host.read("/proc/sys/kernel/random/boot_id")?;
    host.write("/etc/dockseal/kept", "kept", 0o640)?;
    host.write("/run/lost", "lost", 0o600)?;

    host.poweroff()?;
    assert!(!host.is_on());
    assert!(host.exec(&["true"]).is_err(), "it is off");
    assert!(host.docker_ping().is_err(), "it is off");
    assert_eq!(std::fs::read_to_string(host.root().join("etc/dockseal/kept"))?, "kept");
    assert_eq!(host.read("/etc/dockseal/kept")?, "kept");
    assert!(host.journal("docker.service")?.contains("Stopped docker.service"));
    host.start()?;

    host.docker_ready()?;
    assert_ne!(host.read("/proc/sys/kernel/random/boot_id")?, boot);
    assert_eq!(host.sh("stat -c %a /etc/dockseal/kept")?, "640\n");
    assert!(host.read("/run/lost").is_err(), "a machine's /run does not outlive it");
    let starts = |journal: String| journal.matches("Started docker.service").count();
    assert_eq!(starts(host.journal("docker.service")?), 1, "only this boot's");
    assert_eq!(starts(host.sh("journalctl --no-pager -u docker.service")?), 2, "the journal persists");
    Ok(())
}

#[test]
fn it_comes_back_after_a_power_cut() -> Result<()> {
    let host = HostBox::boot()?;
    host.docker_ready()?;
    host.run_container("before")?;
    let mut program = host.spawn(&["sleep", "1000"])?;
    host.crash()?;
    assert!(!host.is_on());
    program.wait(SOON)?;
    host.start()?;
    host.docker_ready()?;
    assert_eq!(host.docker(&["inspect", "--format", "{{.State.Running}}", "before"])?, "false\n");
    host.docker(&["start", "before"])?;
    host.container_pid("before")?;
    Ok(())
}

#[test]
fn a_container_outlives_dockerd_under_live_restore() -> Result<()> {
    let host = HostBox::boot_with(|host| host.daemon_json(json!({"live-restore": true})))?;
    host.docker_ready()?;
    host.run_container("kept")?;
    let before = host.container_pid("kept")?;
    host.restart(&["docker.service"])?;
    host.restart(&["docker.socket", "docker.service"])?;
    let dockerd = host.sh("systemctl show -p MainPID --value docker.service")?;
    host.sh(&format!("kill -9 {dockerd}"))?;
    eventually("systemd started another dockerd", || {
        host.sh("systemctl show -p MainPID --value docker.service").is_ok_and(|now| now != dockerd && now != "0\n")
    })?;
    host.docker_ready()?;
    assert_eq!(host.container_pid("kept")?, before);
    Ok(())
}

#[test]
fn what_is_installed_and_started_inside_is_there_and_ends() -> Result<()> {
    let host = HostBox::boot_with(|host| host.install("/bin/sh".as_ref(), "/opt/dockseal/bin/early"))?;
    host.install("/bin/sh".as_ref(), "/usr/local/bin/late")?;
    host.install(env!("CARGO_BIN_EXE_dockseal").as_ref(), "/usr/local/bin/dockseal")?;
    assert!(host.sh("dockseal --version")?.starts_with("dockseal "), "the product runs in it");
    let mut program = host.spawn(&["/opt/dockseal/bin/early", "-c", "echo here $$; while :; do sleep 1; done"])?;
    program.says("here ", SOON)?;
    let inside = program.log().trim().trim_start_matches("here ").to_owned();
    assert_eq!(host.sh(&format!("cat /proc/{inside}/comm"))?, "early\n");
    host.install("/bin/sh".as_ref(), "/opt/dockseal/bin/early")?;
    program.signal("TERM")?;
    program.wait(SOON)?;
    let other = host.spawn(&["late", "-c", "exec sleep 4321"])?;
    let there = || host.exec(&["pgrep", "-xf", "sleep 4321"]).is_ok_and(|output| output.status.success());
    eventually("it runs", there)?;
    drop(other);
    eventually("it is killed", || !there())
}

#[test]
fn two_at_a_time_are_apart() -> Result<()> {
    let [one, other] = HostBox::boot_pair()?;
    ensure!(one.ip() != other.ip(), "they share an address");
    one.docker_ready()?;
    other.docker_ready()?;
    one.run_container("here")?;
    assert_eq!(other.docker(&["ps", "--quiet"])?, "");
    other.crash()?;
    one.container_pid("here")?;
    assert_ne!(one.read("/etc/machine-id")?, other.read("/etc/machine-id")?);
    Ok(())
}

/// The process that is to be killed is this binary once more, with this test in another part.
#[test]
fn nothing_is_left_of_a_test_process_that_was_killed() -> Result<()> {
    const PART: &str = "DOCKSEAL_TEST_IS_TO_BE_KILLED";
    if std::env::var_os(PART).is_some() {
        let host = HostBox::boot()?;
        println!("\nbooted {}", host.root().display());
        std::thread::sleep(Duration::from_secs(600));
        return Ok(());
    }
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["--exact", "--nocapture", "faithful::nothing_is_left_of_a_test_process_that_was_killed"])
        .env(PART, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let said = BufReader::new(victim.stdout.take().context("its stdout is piped")?);
    let root = said.lines().find_map(|line| line.ok()?.strip_prefix("booted ").map(PathBuf::from));
    victim.kill()?; // SIGKILL
    victim.wait()?;
    let dir = root.as_deref().and_then(Path::parent).context("it did not boot")?;
    let number = dir.file_name().and_then(|name| name.to_str()).context("a box has a number")?;
    eventually("its box is gone", || !dir.exists())?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    assert!(!mounts.contains(&format!("{}/", dir.display())), "{mounts}");
    let netns = Command::new("ip").args(["netns", "list"]).output()?;
    let netns = String::from_utf8_lossy(&netns.stdout).into_owned();
    assert!(!netns.split_whitespace().any(|word| word == format!("dockseal-{number}")), "{netns}");
    Ok(())
}
