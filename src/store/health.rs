//! A store that cannot be written or read: logged once, with its causes, and reported to readiness
//! checks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::backend::BackendError;
use crate::model::chain;

/// Minimum time between tries of a failing store for health checks, which any client may send;
/// earlier checks report a failing store.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Whether the store works, as far as this process has seen.
#[derive(Default)]
pub(super) struct Health {
    is_failing: AtomicBool,
    probed_at: Mutex<Option<Instant>>,
}

impl Health {
    /// Records the result of a read. A successful read says nothing about the next write.
    ///
    /// # Errors
    /// The error of the read.
    pub(super) fn noted_read<T>(&self, read: Result<T, BackendError>) -> Result<T, BackendError> {
        if let Err(error) = &read
            && error.is_of_the_whole_store()
        {
            self.note(Some(error));
        }
        read
    }

    /// Records the result of a swap.
    ///
    /// # Errors
    /// The error of the swap.
    pub(super) fn noted_swap(
        &self,
        swapped: Result<bool, BackendError>,
    ) -> Result<bool, BackendError> {
        match &swapped {
            Ok(true) => self.note(None),
            Err(error) if error.is_of_the_whole_store() => self.note(Some(error)),
            Ok(false) | Err(_) => {}
        }
        swapped
    }

    /// Whether the last operation that concerned the whole store failed.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::SeqCst)
    }

    /// Records the result of an operation. Logs the first failure, and the first success after it.
    pub(super) fn note(&self, failure: Option<&BackendError>) {
        let is_failure = failure.is_some();
        if self.is_failing.swap(is_failure, Ordering::SeqCst) == is_failure {
            return;
        }
        if let Some(error) = failure {
            let (error, hint) = (chain(error), error.hint());
            tracing::error!(error, hint, "the store cannot be used");
        } else {
            tracing::info!("the store can be used again");
        }
    }

    /// Whether [`PROBE_INTERVAL`] has passed since the last probe; if so, this is the next one.
    pub(super) fn may_probe(&self) -> bool {
        let now = Instant::now();
        let mut probed_at = self.probed_at.lock();
        let is_due = probed_at.is_none_or(|at| now.duration_since(at) >= PROBE_INTERVAL);
        if is_due {
            *probed_at = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_begins_with_a_failure_of_the_whole_store_and_ends_with_a_success() {
        let health = Health::default();
        health.note(None);
        assert!(!health.is_failing());
        let full = || health.noted_read::<()>(Err(BackendError::Full));
        assert!(full().is_err() && full().is_err());
        assert!(health.is_failing());
        assert!(health.noted_swap(Ok(false)).is_ok());
        assert!(health.is_failing(), "nothing was written");
        assert!(health.noted_swap(Ok(true)).is_ok());
        assert!(!health.is_failing());
        assert!(health.noted_read::<()>(Err(BackendError::Damaged)).is_err());
        assert!(!health.is_failing(), "one record");
        let cause = std::io::Error::from_raw_os_error(5).into();
        let error = BackendError::Failed { cause, hint: "" };
        assert!(error.is_of_the_whole_store());
        assert!(!error.to_string().contains("os error"), "{error}");
        assert!(chain(&error).contains("os error 5"), "{}", chain(&error));
    }
}
