//! Gives memory that the allocator keeps back to the system.
//!
//! glibc returns memory from the end of each arena only, so one block in use there keeps all that
//! was freed below it: after 1,000 sessions had ended, their 59 MiB stayed in the process for good.
//! `malloc_trim` returns the free pages in between too. It takes some milliseconds and one arena's
//! lock after the other, so it is called only after the process has grown. Other allocators do this
//! by themselves.

/// Returns free memory whenever the process has grown. Ends only where there is nothing to do.
pub(super) async fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::give_back().await;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::fs;
    use std::time::Duration;

    use tokio::task::spawn_blocking;
    use tokio::time::{Instant, sleep};

    /// How often the process looks at its size, which takes a read of some bytes.
    const CHECK_INTERVAL: Duration = Duration::from_secs(10);

    /// How long after growth each look trims: answers to clients that have gone are kept for two
    /// minutes.
    const TRIM_PERIOD: Duration = Duration::from_mins(3);

    /// Pages by which the process has grown since the last look that is worth a trim: 8 MiB where a
    /// page has 4 KiB.
    const MIN_GROWTH_PAGES: u64 = 2048;

    pub(super) async fn give_back() {
        // The size that growth is measured from: the least since the last trim.
        let Some(mut least) = resident_pages() else { return };
        let mut settled_at = Instant::now();
        loop {
            sleep(CHECK_INTERVAL).await;
            let Some(now) = resident_pages() else { return };
            if now >= least.saturating_add(MIN_GROWTH_PAGES) {
                settled_at = Instant::now() + TRIM_PERIOD;
            }
            if Instant::now() >= settled_at {
                least = least.min(now);
            } else if spawn_blocking(trim).await.is_ok() {
                least = resident_pages().unwrap_or(now);
            }
        }
    }

    /// The second field of `/proc/self/statm` (proc_pid_statm(5)).
    fn resident_pages() -> Option<u64> {
        fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()
    }

    #[expect(unsafe_code, reason = "libc declares every foreign function as unsafe")]
    fn trim() {
        // SAFETY: it takes no pointer, moves no block that is in use, and may be called by any
        // thread at any time (malloc_trim(3): MT-Safe).
        unsafe { libc::malloc_trim(0) };
    }
}
