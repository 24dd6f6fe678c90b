//! The parent's side of the workers. A few workers are kept, and each serves one call at a time.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::super::share::Share;
use super::super::{Turn, offload};
use super::JqError;
use super::worker::{DONE, WORKER_ARGUMENT};

/// Maximum workers at a time; further calls wait. A single-user machine has few processors, and a
/// filter that needs a worker uses most of one.
const MAX_WORKERS: usize = 2;
/// Time limit for a filter in its worker; beyond it, the worker is killed.
const FILTER_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum bytes of a worker's response; a longer one fails the call. The worker's own limit is
/// lower.
const MAX_RESPONSE_BYTES: u32 = 64 * 1024 * 1024;

pub(super) struct Pool {
    program: PathBuf,
    idle: Mutex<Vec<Worker>>,
    places: Share,
}

/// A running worker. Dropping it kills the process, so a cancelled or overlong call stops its
/// filter.
struct Worker {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Pool {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, idle: Mutex::new(Vec::new()), places: Share::new(MAX_WORKERS, MAX_WORKERS) }
    }

    /// Runs a filter in a worker. Callers are served in turn, and no filter starts after its
    /// deadline. After any failure except the filter's own, the worker is dropped.
    pub(super) async fn run(
        &self,
        turn: &Turn<'_>,
        filter: &str,
        value: &Arc<Value>,
        size: usize,
    ) -> Result<Vec<Value>, JqError> {
        let value = Arc::clone(value);
        let json = offload::run(size, move || serde_json::to_vec(&value)).await;
        let json = json.map_err(|error| JqError::Failed(error.to_string()))?;
        let place = self.places.take(turn.caller, 1);
        let _place =
            tokio::time::timeout_at(turn.deadline, place).await.map_err(|_| JqError::Busy)?;
        let mut worker = match self.kept() {
            Some(worker) => worker,
            None => Worker::start(&self.program)?,
        };
        let result = worker.serve(filter, &json).await;
        if matches!(result, Ok(_) | Err(JqError::Failed(_))) {
            self.idle.lock().push(worker);
        }
        result
    }

    /// Returns an idle worker that is still alive. A filter can harm its worker only before the
    /// response, so an idle worker that is gone was killed from outside, such as by a system short
    /// of memory.
    fn kept(&self) -> Option<Worker> {
        let mut idle = self.idle.lock();
        while let Some(mut worker) = idle.pop() {
            if matches!(worker.child.try_wait(), Ok(None)) {
                return Some(worker);
            }
        }
        None
    }
}

impl Worker {
    fn start(program: &Path) -> Result<Self, JqError> {
        let unavailable = |error: io::Error| JqError::Unavailable(error.to_string());
        let mut child = Command::new(program)
            .arg(WORKER_ARGUMENT)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(unavailable)?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Self { child, input, output }),
            _ => Err(JqError::Unavailable("it has no pipes".into())),
        }
    }

    async fn serve(&mut self, filter: &str, json: &[u8]) -> Result<Vec<Value>, JqError> {
        match tokio::time::timeout(FILTER_TIMEOUT, self.exchange(filter, json)).await {
            Ok(Ok(result)) => result,
            // The pipe broke: the worker is dead or about to be.
            Ok(Err(_)) => Err(self.cause_of_death().await),
            Err(_) => Err(JqError::TimedOut),
        }
    }

    async fn exchange(
        &mut self,
        filter: &str,
        json: &[u8],
    ) -> io::Result<Result<Vec<Value>, JqError>> {
        let mut head = Vec::with_capacity(filter.len() + 8);
        for length in [filter.len(), json.len()] {
            let length = u32::try_from(length).map_err(io::Error::other)?;
            head.extend_from_slice(&length.to_le_bytes());
            if head.len() == 4 {
                head.extend_from_slice(filter.as_bytes());
            }
        }
        self.input.write_all(&head).await?;
        self.input.write_all(json).await?;
        self.input.flush().await?;
        let status = self.output.read_u8().await?;
        let length = self.output.read_u32_le().await?;
        if length > MAX_RESPONSE_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut payload = Vec::new();
        (&mut self.output).take(u64::from(length)).read_to_end(&mut payload).await?;
        if payload.len() as u64 != u64::from(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if status == DONE {
            let outputs =
                offload::run(payload.len(), move || serde_json::from_slice(&payload)).await;
            return outputs.map(Ok).map_err(io::Error::other);
        }
        Ok(Err(JqError::Failed(String::from_utf8_lossy(&payload).into_owned())))
    }

    /// Returns the error for a dead worker. The CPU time limit kills it by a specific signal; any
    /// other death that a filter can cause is due to memory or stack.
    async fn cause_of_death(&mut self) -> JqError {
        let Ok(Ok(status)) = tokio::time::timeout(FILTER_TIMEOUT, self.child.wait()).await else {
            return JqError::Crashed;
        };
        #[cfg(unix)]
        {
            use std::os::unix::process::ExitStatusExt as _;
            if status.signal() == Some(rustix::process::Signal::XCPU.as_raw()) {
                return JqError::TimedOut;
            }
        }
        let _ = status;
        JqError::Crashed
    }
}
