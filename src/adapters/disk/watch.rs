//! Changes of files, as soon as the system reports them: that something changed, never what.

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// A watch over files and directories, until it is dropped.
pub struct FileWatch {
    changed: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    kept: BTreeSet<PathBuf>,
}

impl FileWatch {
    /// Watches the directories that `files` are in, and everything below `tree`. The second value says why the system
    /// cannot watch, where it cannot: then no change is reported.
    pub fn over(files: &[PathBuf], tree: &Path) -> (FileWatch, Option<String>) {
        let changed = Arc::new(Notify::new());
        match watcher(files, tree, &changed) {
            Ok(watcher) => (FileWatch { changed, watcher: Some(watcher), kept: BTreeSet::new() }, None),
            Err(error) => (FileWatch { changed, watcher: None, kept: BTreeSet::new() }, Some(error.to_string())),
        }
    }

    /// Watches nothing yet; see [`FileWatch::keep_to`]. Paths that end in one of `silent` are ignored.
    pub fn new(silent: &'static [&'static str]) -> FileWatch {
        let changed = Arc::new(Notify::new());
        let told = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let loud = |path: &PathBuf| !silent.iter().any(|name| path.ends_with(name));
            if event.is_ok_and(|event| is_change(event.kind) && event.paths.iter().any(loud)) {
                told.notify_one();
            }
        });
        FileWatch { changed, watcher: watcher.ok(), kept: BTreeSet::new() }
    }

    /// From now on watches the entries of those directories, where they exist, and nothing else. To be called again
    /// whenever one of them may have been created anew: the system watches directories, not names. Links are followed,
    /// so that each directory has one name.
    #[expect(clippy::disallowed_methods, reason = "paths are resolved here")]
    pub fn keep_to(&mut self, directories: impl IntoIterator<Item = PathBuf>) {
        let directories: BTreeSet<PathBuf> =
            directories.into_iter().filter_map(|path| std::fs::canonicalize(path).ok()).collect();
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.kept.difference(&directories) {
            let _ = watcher.unwatch(gone);
        }
        for directory in &directories {
            // A directory that is missing now is created by a delivery, after which this is called again.
            let _ = watcher.watch(directory, RecursiveMode::NonRecursive);
        }
        self.kept = directories;
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

/// Reading is not a change.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
