//! Threads that serve connections, one for each processor.
//!
//! A connection stays on its thread, and so does all work for its requests: reading, calling, the
//! connection to the API ([`crate::net::Net`] has clients for each thread). A runtime that moves
//! tasks between threads wakes a second thread at every step of a call, which costs as much as the
//! call, and spreads work no better where each request takes some tens of microseconds.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Interval of `tick`: below the time limits of requests, and so long that an idle thread costs
/// nothing.
const TICK_INTERVAL: Duration = Duration::from_secs(4);

/// The threads. Dropping this ends them, along with any work that still runs on them.
pub(in crate::web) struct Workers {
    workers: Vec<Worker>,
    _end: Option<DropGuard>,
}

struct Worker {
    runtime: Handle,
    /// Each of its connections holds a clone.
    busy: Arc<()>,
}

impl Workers {
    /// No threads: connections are served where they are accepted.
    pub(in crate::web) fn none() -> Self {
        Self { workers: Vec::new(), _end: None }
    }

    /// Starts a thread for each processor, and none if there is only one processor.
    pub(in crate::web) fn start() -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, Into::into);
        if processors == 1 {
            return Ok(Self::none());
        }
        let end = CancellationToken::new();
        let workers = (0..processors).map(|at| Worker::start(at, end.clone()));
        Ok(Self { workers: workers.collect::<io::Result<_>>()?, _end: Some(end.drop_guard()) })
    }

    /// Serves a connection on the thread that has the fewest connections.
    pub(in crate::web) fn serve<F: Future<Output = ()> + Send + 'static>(
        &self,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) {
        let fewest = self.workers.iter().min_by_key(|worker| Arc::strong_count(&worker.busy));
        let Some(Worker { runtime, busy }) = fewest else {
            tokio::spawn(serve(stream));
            return;
        };
        let busy = Arc::clone(busy);
        // A stream is bound to the runtime that waits for it.
        let moved = stream.into_std();
        runtime.spawn(async move {
            match moved.and_then(TcpStream::from_std) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::debug!(%error, "a connection could not be handed over"),
            }
            drop(busy);
        });
    }
}

impl Worker {
    fn start(at: usize, end: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new().name(format!("serve-{at}")).spawn(move || {
            runtime.block_on(end.run_until_cancelled(tick()));
            // Does not wait for blocking work, which may hang for any length of time.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, busy: Arc::default() })
    }
}

/// Keeps one timer due before those of calls. Tokio wakes its own driver, by two system calls, for
/// every timer that is due before all others, and calls have timers of seconds.
async fn tick() {
    loop {
        tokio::time::sleep(TICK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn connections_are_spread_and_end_with_their_threads() {
        let workers = Workers::start().unwrap();
        let many = workers.workers.len().max(1);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (to, mut served_by) = mpsc::unbounded_channel();
        let mut clients = Vec::new();
        for _ in 0..2 * many {
            clients.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
            let (stream, _) = listener.accept().await.unwrap();
            let to = to.clone();
            workers.serve(stream, async move |_stream| {
                to.send(thread::current().id()).unwrap();
                std::future::pending::<()>().await;
            });
        }
        let mut connections: HashMap<_, usize> = HashMap::new();
        for _ in 0..2 * many {
            *connections.entry(served_by.recv().await.unwrap()).or_default() += 1;
        }
        assert_eq!(connections.len(), many);
        assert!(connections.values().all(|each| *each == 2), "{connections:?}");
        if many > 1 {
            drop(workers);
            for mut client in clients {
                let end = tokio::time::timeout(Duration::from_secs(10), client.read_u8());
                assert!(end.await.unwrap().is_err(), "its thread has ended");
            }
        }
    }
}
