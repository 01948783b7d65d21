//! A line for a user who waits at a terminal. Elsewhere nothing is printed.

use std::io::IsTerminal;
use std::pin::pin;
use std::time::Duration;
use tokio::time::sleep;

/// Nothing is printed about a shorter wait.
const SHORT: Duration = Duration::from_secs(1);

/// Waits for something, and says so on a terminal where it takes its time.
pub async fn with_progress<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let mut wait = pin!(wait);
    tokio::select! {
        done = &mut wait => return done,
        () = sleep(SHORT) => {}
    }
    if std::io::stderr().is_terminal() {
        eprintln!("waiting for {what} …");
    }
    wait.await
}
