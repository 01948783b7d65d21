//! Changes of files, as soon as the system tells of them. It says that something changed, never what.

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// A watch over files and directories, until it is dropped.
pub struct Watch {
    changed: Arc<Notify>,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches the directories that `files` are in, and everything below `tree`. The second value says why the system
    /// cannot, where it cannot: then nothing is ever told.
    pub fn over(files: &[PathBuf], tree: &Path) -> (Watch, Option<String>) {
        let changed = Arc::new(Notify::new());
        match watcher(files, tree, &changed) {
            Ok(watcher) => (Watch { changed, _watcher: Some(watcher) }, None),
            Err(error) => (Watch { changed, _watcher: None }, Some(error.to_string())),
        }
    }

    /// Waits for a change since the last one that was waited for.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn watcher(files: &[PathBuf], tree: &Path, changed: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(event.kind)) {
            changed.notify_one();
        }
    })?;
    for file in files.iter().filter(|file| *file != Path::new("-")) {
        let parent = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    watcher.watch(tree, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Our own reading is none.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
