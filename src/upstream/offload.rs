//! Runs work on large responses outside the async threads.

/// Response size in bytes that is parsed, scrubbed and truncated in about a millisecond. Work on a
/// larger response moves to another thread.
const MAX_INLINE_BYTES: usize = 256 * 1024;

/// Runs pure work on a response of `size` bytes: inline up to [`MAX_INLINE_BYTES`], otherwise on a
/// blocking thread. Ten megabytes would delay all other calls on the same async thread.
pub(super) async fn run<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if size <= MAX_INLINE_BYTES {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The task never started because the process is about to end; no caller waits any more.
            Err(_) => std::future::pending().await,
        },
    }
}
