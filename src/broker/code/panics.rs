//! Panics of a tool's code. Their texts may quote a URL or a header with a token, and Rust's own hook
//! would print them to standard error, where the logs of a service are.

use std::cell::Cell;
use std::panic;
use std::pin::pin;
use std::sync::Once;

use futures_util::future::poll_fn;

thread_local! {
    /// Whether this thread is running the code of a tool.
    static RUNS_CODE: Cell<bool> = const { Cell::new(false) };
}

/// Makes panics of tools' code tell their place only. Other panics are told as before.
pub(super) fn tell_places_only() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if RUNS_CODE.get() {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                tracing::error!(place, "the code of a tool panicked");
            } else {
                usual(info);
            }
        }));
    });
}

/// Polls the code of a tool, and marks the thread meanwhile.
pub(super) async fn marked<T>(code: impl Future<Output = T>) -> T {
    let mut code = pin!(code);
    poll_fn(|context| {
        let _mark = Mark(RUNS_CODE.replace(true));
        code.as_mut().poll(context)
    })
    .await
}

/// Restores the mark, also when the code panics.
struct Mark(bool);

impl Drop for Mark {
    fn drop(&mut self) {
        RUNS_CODE.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_thread_is_marked_while_the_code_runs_and_not_after_a_panic() {
        let seen = marked(async { RUNS_CODE.get() }).now_or_never();
        assert_eq!((seen, RUNS_CODE.get()), (Some(true), false));
        let code = marked(async { assert!(!RUNS_CODE.get(), "it panics") });
        assert!(panic::AssertUnwindSafe(code).catch_unwind().now_or_never().unwrap().is_err());
        assert!(!RUNS_CODE.get());
    }
}
