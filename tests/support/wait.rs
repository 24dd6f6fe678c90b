//! Bounded waits for what no event tells a test: each polls, and fails with what it waited for.

use std::time::Duration;

use tokio::time::Instant;

use super::PATIENCE;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `is` holds. Panics after [`PATIENCE`] with `what` it waited for.
#[track_caller]
pub fn wait_until(what: &str, is: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, is);
}

/// Like [`wait_until`], with a limit of the test's own.
#[track_caller]
pub fn wait_within(limit: Duration, what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < limit, "{limit:?} without {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Like [`wait_until`], in a test whose other tasks go on meanwhile.
pub async fn wait_until_async(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is().await {
        assert!(begun.elapsed() < PATIENCE, "{PATIENCE:?} without {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
