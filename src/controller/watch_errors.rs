//! What a watch's failure means, in words for whoever reads the log.

use crate::adapters::kube::reader::innermost;
use kube::runtime::watcher;

/// What the server said, and what to do about it where that is known.
pub fn words(error: &watcher::Error) -> String {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        other => return innermost(other),
    };
    match status.code {
        404 => format!("{}: are the CRDs installed? dockseal crds | kubectl apply --server-side -f -", status.message),
        403 => format!("{}: its account lacks that right", status.message),
        _ => status.message.clone(),
    }
}
