//! A unit's name in, a signal for each of its changes out: over one connection to the bus, which is made again when it ends.

use super::systemd::Systemd;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Tells that a unit was started, stopped, or failed, until it is dropped.
pub struct UnitWatch {
    told: Arc<Notify>,
    task: JoinHandle<()>,
}

impl UnitWatch {
    /// Of that unit, from now on. A bus that is not there, or went, is looked for every `again`.
    pub fn of(unit: &'static str, again: Duration) -> UnitWatch {
        let told = Arc::new(Notify::new());
        UnitWatch { task: tokio::spawn(follow(unit, again, Arc::clone(&told))), told }
    }

    /// Waits for news since the last that was waited for.
    pub async fn changed(&self) {
        self.told.notified().await;
    }
}

impl Drop for UnitWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(unit: &str, again: Duration, told: Arc<Notify>) {
    loop {
        if let Ok(systemd) = Systemd::reach().await
            && let Ok(news) = systemd.news(unit).await
        {
            let mut news = std::pin::pin!(news);
            while news.next().await.is_some() {
                told.notify_one();
            }
        }
        sleep(again).await;
    }
}
