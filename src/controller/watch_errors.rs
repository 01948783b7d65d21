//! What a failure of a watch means: an error comes in, a message for the log goes out.

use crate::adapters::kube::reader::innermost;
use kube::runtime::watcher;

/// What the server said and, where that is known, what to do.
pub fn message(error: &watcher::Error) -> String {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        other => return innermost(other),
    };
    match status.code {
        404 => format!("{}: are the CRDs installed? dockseal crds | kubectl apply --server-side -f -", status.message),
        403 => format!("{}: the ServiceAccount of the controller lacks that right", status.message),
        _ => status.message.clone(),
    }
}
