//! Work on large answers, kept off the async thread.

/// Bytes of an answer that are parsed, scrubbed and cut in about a millisecond.
const SMALL: usize = 256 * 1024;

/// Does pure work on an answer of `size` bytes: here where it is quick, else on a thread of its own.
/// Ten megabytes would make everybody else wait whose calls run on the same async thread.
pub(super) async fn run<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if size <= SMALL {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // It was never begun, since the process is about to end: nobody waits any more.
            Err(_) => std::future::pending().await,
        },
    }
}
