//! State directories that cannot be used, and those that cannot be used for long.

use crate::fixture::{CA, Door, host};
use dockseal::adapters::Clock;
use dockseal::local::run_on;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn good() -> String {
    format!("{CA}{}", host("pandora", "hostname: pandora.lan"))
}

async fn error(door: &Door) -> String {
    door.once(Duration::from_secs(2)).await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time() {
    let door = Door::new(&good());
    let running = tokio::spawn(run_on(door.settings(false, Duration::ZERO), door.console(), Clock::system()));
    door.until("running", || door.path("status/DockerHostCert/default/pandora.yaml").exists()).await;
    let second = run_on(door.settings(true, Duration::from_secs(2)), door.console(), Clock::system()).await;
    let said = second.unwrap_err().to_string();
    assert!(said.contains(&format!("another dockseal (pid {}) uses ", std::process::id())), "{said}");
    running.abort();
    let _ = running.await;
    door.ready().await;
}

#[tokio::test]
async fn what_is_no_state_directory_is_refused() {
    let door = Door::new(&good());
    std::fs::create_dir(&door.state).unwrap();
    std::fs::write(door.path("letter.txt"), "dear").unwrap();
    let before = door.tree();
    let said = error(&door).await;
    assert!(said.contains("holds files and is not a state directory of dockseal"), "{said}");
    assert_eq!(before, door.tree());
    std::fs::remove_dir_all(&door.state).unwrap();
    std::fs::write(&door.state, "").unwrap();
    assert!(error(&door).await.contains("is not a directory"));
    let mut door = Door::new(&good());
    door.state = door.root.join("a/b");
    let said = error(&door).await;
    assert!(said.contains("failed to make ") && said.contains("a/b: "), "{said}");
}

#[tokio::test]
async fn somebody_elses_is_refused() {
    let door = Door::new(&good());
    door.ready().await;
    if std::os::unix::fs::chown(&door.state, Some(12345), None).is_err() {
        return println!("skipped: only root gives directories away");
    }
    let before = door.tree();
    let said = error(&door).await;
    assert!(said.contains("belongs to uid 12345"), "{said}");
    assert_eq!(before, door.tree());
}

/// A small file system, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Small> {
        std::fs::create_dir_all(at).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "dockseal"]).arg(at).output();
        if done.is_ok_and(|done| done.status.success()) {
            return Some(Small(at.to_owned()));
        }
        println!("skipped: no file system can be mounted here");
        None
    }

    fn read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_one_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let door = Door::new(&good());
    let Some(_small) = Small::mount(&door.state) else { return };
    door.ready().await;
    let filler = door.root.join("state/lost+found");
    let before = door.tree();
    let mut full = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut full, &[0; 512]).is_ok() {}
    drop(full);
    door.write(&format!("{}{}", good(), host("attic", "hostname: attic.lan")));
    door.refused(&["DockerHostCert default/attic: failed to write ", "free some space"]).await;
    for (path, print) in &before {
        let now = door.tree();
        assert!(path.is_dir() || now.get(path) == Some(print), "{}", path.display());
    }
    assert!(!door.tree().keys().any(|path| path.to_string_lossy().contains(".dockseal-")), "no leftovers");
    std::fs::remove_file(&filler).unwrap();
    door.ready().await;
}

#[tokio::test]
async fn a_read_only_one_is_refused_or_waited_for() {
    let door = Door::new(&good());
    let Some(small) = Small::mount(&door.state) else { return };
    door.ready().await;
    let before = door.tree();
    small.read_only();
    let said = error(&door).await;
    assert!(said.contains("failed to write ") && said.contains("mount it writable"), "{said}");
    assert_eq!(before, door.tree());
}

#[tokio::test]
async fn an_authority_whose_memory_cannot_be_read_is_not_made_again() {
    let door = Door::new(&good());
    door.ready().await;
    let memory = door.path("authorities/default/homelab");
    std::fs::remove_file(&memory).unwrap();
    std::fs::create_dir(&memory).unwrap();
    std::fs::remove_dir_all(door.path("secrets/default/homelab-docker-ca")).unwrap();
    std::fs::remove_dir_all(door.path("status")).unwrap();
    door.refused(&["DockerCA default/homelab: failed to recall DockerCA/default/homelab: failed to read"]).await;
    assert!(!door.path("secrets/default/homelab-docker-ca").exists());
}
