//! The metrics as text, made at most once a second, however often and however slowly they are read.

use super::metrics::Metrics;
use hyper::body::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

const LIFETIME: Duration = Duration::from_secs(1);
/// So many texts are in memory, the newest and those that are still being sent.
const MAX_TEXTS: usize = 3;

pub struct CachedExposition {
    metrics: Arc<Metrics>,
    newest: Mutex<Option<(Instant, Bytes)>>,
    texts: Arc<Semaphore>,
}

/// One text; its permit is free when nobody reads it any longer.
struct Text {
    text: String,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl CachedExposition {
    pub fn new(metrics: Arc<Metrics>) -> CachedExposition {
        CachedExposition { metrics, newest: Mutex::default(), texts: Arc::new(Semaphore::new(MAX_TEXTS)) }
    }

    /// The newest text; an older one while too many are being sent.
    pub async fn text(&self) -> Bytes {
        let mut newest = self.newest.lock().await;
        let fresh = newest.as_ref().filter(|(made, _)| made.elapsed() < LIFETIME);
        if let Some((_, text)) = fresh {
            return text.clone();
        }
        let permit = match (Arc::clone(&self.texts).try_acquire_owned(), newest.as_ref()) {
            (Ok(permit), _) => permit,
            (Err(_), Some((_, text))) => return text.clone(),
            (Err(_), None) => unreachable!("who holds a text has made it the newest"),
        };
        let metrics = Arc::clone(&self.metrics);
        let made = tokio::task::spawn_blocking(move || metrics.exposition()).await;
        let text = Bytes::from_owner(Text { text: made.expect("encoding does not panic"), _permit: permit });
        *newest = Some((Instant::now(), text.clone()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_made_once_a_second_and_no_more_texts_are_kept_than_three() {
        let exposition = CachedExposition::new(Arc::default());
        let age = async || {
            if let Some((made, _)) = exposition.newest.lock().await.as_mut() {
                *made -= 2 * LIFETIME;
            }
        };
        let first = exposition.text().await;
        assert_eq!(first.as_ptr(), exposition.text().await.as_ptr(), "it is the same text");
        age().await;
        let second = exposition.text().await;
        assert_ne!(first.as_ptr(), second.as_ptr(), "it is made anew");
        age().await;
        let third = exposition.text().await;
        age().await;
        assert_eq!(third.as_ptr(), exposition.text().await.as_ptr(), "three are being sent");
        drop((first, second));
        assert_ne!(third.as_ptr(), exposition.text().await.as_ptr(), "some are sent");
    }
}
