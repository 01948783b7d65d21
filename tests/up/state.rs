//! State directories that cannot be used, and those that cannot be used for long.

use crate::fixture::{CA, Fixture, host};
use dockseal::adapters::Clock;
use dockseal::local::run_on;
use notify::Watcher;
use notify::event::CreateKind;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn good() -> String {
    format!("{CA}{}", host("pandora", "hostname: pandora.lan"))
}

async fn error(fixture: &Fixture) -> String {
    fixture.once(Duration::from_secs(2)).await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time() {
    let fixture = Fixture::new(&good());
    let running = tokio::spawn(run_on(fixture.settings(false, Duration::ZERO), fixture.console(), Clock::system()));
    fixture.until("running", || fixture.path("status/DockerHostCert/default/pandora.yaml").exists()).await;
    let second = run_on(fixture.settings(true, Duration::from_secs(2)), fixture.console(), Clock::system()).await;
    let said = second.unwrap_err().to_string();
    assert!(said.contains(&format!("another dockseal (pid {}) uses ", std::process::id())), "{said}");
    running.abort();
    let _ = running.await;
    fixture.ready().await;
}

#[tokio::test]
async fn what_is_no_state_directory_is_refused() {
    let fixture = Fixture::new(&good());
    std::fs::create_dir(&fixture.state).unwrap();
    std::fs::write(fixture.path("letter.txt"), "dear").unwrap();
    let before = fixture.tree();
    let said = error(&fixture).await;
    assert!(said.contains("holds files and is not a state directory of dockseal"), "{said}");
    assert_eq!(before, fixture.tree());
    std::fs::remove_dir_all(&fixture.state).unwrap();
    std::fs::write(&fixture.state, "").unwrap();
    assert!(error(&fixture).await.contains("is not a directory"));
    let mut fixture = Fixture::new(&good());
    fixture.state = fixture.root.join("a/b");
    let said = error(&fixture).await;
    assert!(said.contains("failed to make ") && said.contains("a/b: "), "{said}");
}

#[tokio::test]
async fn somebody_elses_is_refused() {
    let fixture = Fixture::new(&good());
    fixture.ready().await;
    if std::os::unix::fs::chown(&fixture.state, Some(12345), None).is_err() {
        return println!("skipped: only root gives directories away");
    }
    let before = fixture.tree();
    let said = error(&fixture).await;
    assert!(said.contains("belongs to uid 12345"), "{said}");
    assert_eq!(before, fixture.tree());
}

#[tokio::test]
async fn one_that_others_can_read_or_change_is_closed_and_that_is_said() {
    let fixture = Fixture::new(&good());
    fixture.ready().await;
    let mode = || std::fs::metadata(&fixture.state).unwrap().permissions().mode() & 0o7777;
    for (loose, closed) in [(0o700, 0o700), (0o750, 0o750), (0o755, 0o700), (0o770, 0o700), (0o701, 0o700)] {
        std::fs::set_permissions(&fixture.state, Permissions::from_mode(loose)).unwrap();
        fixture.ready().await;
        assert_eq!(mode(), closed, "{loose:o}");
        let told = fixture.err.text().contains(&format!("could be read or changed by others (mode {loose:04o})"));
        assert_eq!(told, loose != closed, "{loose:o}: {}", fixture.err.text());
    }
}

#[tokio::test]
async fn somebody_elses_link_to_ours_is_refused() {
    let mut fixture = Fixture::new(&good());
    fixture.ready().await;
    let link = fixture.root.join("link");
    std::os::unix::fs::symlink(&fixture.state, &link).unwrap();
    if std::os::unix::fs::lchown(&link, Some(12345), None).is_err() {
        return println!("skipped: only root gives links away");
    }
    fixture.state = link;
    assert!(error(&fixture).await.contains("belongs to uid 12345"));
}

/// A small file system, unmounted when dropped.
struct SmallFileSystem(PathBuf);

impl SmallFileSystem {
    fn mount(at: &Path) -> Option<SmallFileSystem> {
        std::fs::create_dir_all(at).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "dockseal"]).arg(at).output();
        if done.is_ok_and(|done| done.status.success()) {
            return Some(SmallFileSystem(at.to_owned()));
        }
        println!("skipped: no file system can be mounted here");
        None
    }

    fn read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_one_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let fixture = Fixture::new(&good());
    let Some(_small) = SmallFileSystem::mount(&fixture.state) else { return };
    fixture.ready().await;
    let filler = fixture.root.join("state/lost+found");
    let before = fixture.tree();
    let mut full = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut full, &[0; 512]).is_ok() {}
    drop(full);
    fixture.write(&format!("{}{}", good(), host("attic", "hostname: attic.lan")));
    fixture.refused(&["DockerHostCert default/attic: failed to write ", "free some space"]).await;
    for (path, print) in &before {
        let now = fixture.tree();
        assert!(path.is_dir() || now.get(path) == Some(print), "{}", path.display());
    }
    assert!(!fixture.tree().keys().any(|path| path.to_string_lossy().contains(".dockseal-")), "no leftovers");
    std::fs::remove_file(&filler).unwrap();
    fixture.ready().await;
}

#[tokio::test]
async fn a_full_one_is_said_once_and_tried_with_rests() {
    let fixture = Fixture::new(&good());
    let Some(_small) = SmallFileSystem::mount(&fixture.state) else { return };
    fixture.ready().await;
    let mut full = std::fs::File::create(fixture.root.join("state/lost+found")).unwrap();
    while std::io::Write::write_all(&mut full, &[0; 512]).is_ok() {}
    fixture.write(&format!("{}{}", good(), host("attic", "hostname: attic.lan")));
    let tries = Arc::new(AtomicU32::new(0));
    let (tried, secrets) = (Arc::clone(&tries), fixture.root.join("state/secrets/default"));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let begun = event.is_ok_and(|event| matches!(event.kind, notify::EventKind::Create(CreateKind::Folder)));
        tried.fetch_add(u32::from(begun), Ordering::SeqCst);
    })
    .unwrap();
    watcher.watch(&secrets, notify::RecursiveMode::NonRecursive).unwrap();
    let run = fixture.run(fixture.settings(false, Duration::from_secs(60)), Clock::system());
    let _ = tokio::time::timeout(Duration::from_secs(6), run).await;
    let (tries, said) = (tries.load(Ordering::SeqCst), fixture.err.text());
    assert!((1..=6).contains(&tries), "{tries} tries in six seconds, after rests of 1, 2 and 4: {said}");
    let mut lines: Vec<&str> = said.lines().filter(|line| line.contains("free some space")).collect();
    lines.sort_unstable();
    assert!(!lines.is_empty() && lines.windows(2).all(|two| two[0] != two[1]), "{said}");
}

#[tokio::test]
async fn a_read_only_one_is_refused_or_waited_for() {
    let fixture = Fixture::new(&good());
    let Some(small) = SmallFileSystem::mount(&fixture.state) else { return };
    fixture.ready().await;
    let before = fixture.tree();
    small.read_only();
    let said = error(&fixture).await;
    assert!(said.contains("failed to write ") && said.contains("mount it writable"), "{said}");
    assert_eq!(before, fixture.tree());
}

#[tokio::test]
async fn an_authority_whose_memory_cannot_be_read_is_not_made_again() {
    let fixture = Fixture::new(&good());
    fixture.ready().await;
    let memory = fixture.path("authorities/default/homelab");
    std::fs::remove_file(&memory).unwrap();
    std::fs::create_dir(&memory).unwrap();
    std::fs::remove_dir_all(fixture.path("secrets/default/homelab-docker-ca")).unwrap();
    std::fs::remove_dir_all(fixture.path("status")).unwrap();
    fixture.refused(&["DockerCA default/homelab: failed to recall DockerCA/default/homelab: failed to read"]).await;
    assert!(!fixture.path("secrets/default/homelab-docker-ca").exists());
}
