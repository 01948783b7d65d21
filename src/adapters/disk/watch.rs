//! Changes of files, as soon as the system reports them: that something changed, never what. An unfinished write is no
//! change: else a disk that is full would wake whoever tried to write, again and again.

use super::atomic_write::ASIDE;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::ffi::OsString;
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
    /// Watches the directories that `files` are in, and everything below `tree`; of other files beside `files` only that
    /// they come and go, since one may be a link to another. The second value says why the system cannot watch, where it
    /// cannot: then no change is reported.
    pub fn over(files: &[PathBuf], tree: &Path) -> (FileWatch, Option<String>) {
        let changed = Arc::new(Notify::new());
        match watcher(files, tree, &changed) {
            Ok(watcher) => (FileWatch { changed, watcher: Some(watcher), kept: BTreeSet::new() }, None),
            Err(error) => (FileWatch { changed, watcher: None, kept: BTreeSet::new() }, Some(error.to_string())),
        }
    }

    /// Watches nothing yet; see [`FileWatch::keep_to`]. Entries whose name is `ignored` are no change.
    pub fn new(ignored: fn(&str) -> bool) -> FileWatch {
        let changed = Arc::new(Notify::new());
        let is_ignored = move |path: &Path| path.file_name().and_then(|name| name.to_str()).is_some_and(ignored);
        let watcher = notifier(&changed, move |kind, path| is_change(kind) && !is_ignored(path));
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

/// A watcher that tells of each event of which a path is news.
fn notifier(
    changed: &Arc<Notify>,
    is_news: impl Fn(EventKind, &Path) -> bool + Send + 'static,
) -> notify::Result<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let news = |event: &notify::Event| event.paths.iter().any(|path| is_news(event.kind, path));
        if event.is_ok_and(|event| event.need_rescan() || news(&event)) {
            changed.notify_one();
        }
    })
}

fn watcher(files: &[PathBuf], tree: &Path, changed: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let watched = Watched {
        names: files.iter().filter_map(|file| file.file_name()).map(OsString::from).collect(),
        tree: std::path::absolute(tree).map_err(notify::Error::io)?,
    };
    let mut watcher = notifier(changed, move |kind, path| watched.is_news(kind, path))?;
    for file in files.iter().filter(|file| *file != Path::new("-")) {
        let parent = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    watcher.watch(tree, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Files that the user writes, and a tree that this program writes, too.
struct Watched {
    names: BTreeSet<OsString>,
    tree: PathBuf,
}

impl Watched {
    fn is_news(&self, kind: EventKind, path: &Path) -> bool {
        let unfinished = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(ASIDE);
        let written =
            matches!(kind, EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)));
        is_change(kind)
            && match path.strip_prefix(&self.tree) {
                Ok(below) => !below.iter().any(unfinished),
                Err(_) => match path.file_name() {
                    Some(name) => self.names.contains(name) || !(written || unfinished(name)),
                    None => true,
                },
            }
    }
}

/// Reading is not a change.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange, RemoveKind, RenameMode};

    #[test]
    fn news_is_what_has_its_name_and_not_what_is_being_written() {
        let names = [OsString::from("home.yaml")].into();
        let watched = Watched { names, tree: "/home/u/.dockseal-state/secrets".into() };
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let (created, removed) = (EventKind::Create(CreateKind::File), EventKind::Remove(RemoveKind::File));
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        for (kind, path, news) in [
            (written, "/home/u/home.yaml", true),
            (closed, "/home/u/home.yaml", true),
            (opened, "/home/u/home.yaml", false),
            (renamed, "/home/u/..data", true), // what a ConfigMap's files are links to
            (renamed, "/home/u/home.yaml", true),
            (written, "/home/u/up.log", false), // its own output, perhaps
            (closed, "/home/u/up.log", false),
            (created, "/home/u/.dockseal-0123", false),
            (renamed, "/home/u/.dockseal-state/secrets/default/one", true),
            (removed, "/home/u/.dockseal-state/secrets/default/one/tls.crt", true),
            (written, "/home/u/.dockseal-state/secrets/default/one/tls.crt", true),
            (created, "/home/u/.dockseal-state/secrets/default/.dockseal-0123", false),
            (removed, "/home/u/.dockseal-state/secrets/default/.dockseal-0123", false),
            (written, "/home/u/.dockseal-state/secrets/default/.dockseal-0123/tls.crt", false),
            (created, "/home/u/.dockseal-state/secrets/.dockseal-0123", false),
        ] {
            assert_eq!(watched.is_news(kind, Path::new(path)), news, "{kind:?} {path}");
        }
    }
}
