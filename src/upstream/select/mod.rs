//! jq filters over answers, bounded in time and memory.
//!
//! A filter whose cost is known from its text (`linear.rs`) and small for the answer at hand runs
//! here, in microseconds. Any other runs in a worker process (`worker.rs`), which can be killed.

mod compile;
mod linear;
mod pool;
mod value;
mod worker;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serde_json::Value;
use tokio::time::Instant;

pub use compile::JqProblem;
pub use worker::{WORKER_ARGUMENT, worker_main};

use super::Turn;
use crate::model::Caller;
use compile::Compiled;
use pool::Pool;
use value::{Outputs, to_jq};

/// Most work, in multiples of bytes, that a filter may be to run inside the server: some ten
/// milliseconds in the worst case, during which nobody else runs on that thread.
const AT_HAND: u64 = 256 * 1024;

/// Checks a filter without running it.
///
/// # Errors
/// The first problem, with its place in the filter.
pub fn compile_check(filter: &str) -> Result<(), JqProblem> {
    Compiled::new(filter).map(|_| ())
}

/// A filter that gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JqError {
    #[error("the filter is not valid: {0}")]
    Invalid(#[from] JqProblem),
    #[error("the filter failed: {0}")]
    Failed(String),
    #[error("the filter took too long")]
    TimedOut,
    #[error("no worker was free in time")]
    Busy,
    #[error("the filter took too much memory")]
    Crashed,
    #[error("the filter's process cannot be started: {0}")]
    Unavailable(String),
}

impl JqError {
    /// Kind of the failure, for the log: nothing of the value that was filtered.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "does_not_compile",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed_out",
            Self::Busy => "no_free_worker",
            Self::Crashed => "too_much_memory",
            Self::Unavailable(_) => "no_worker",
        }
    }
}

/// Runs filters, and keeps them compiled.
pub struct Jq {
    plans: RwLock<HashMap<Box<str>, Arc<Plan>>>,
    pool: Pool,
}

/// How a filter is run: in here as long as its cost allows it.
enum Plan {
    Linear { compiled: Compiled, cost: u64 },
    Unbounded,
}

impl Jq {
    /// `program` is this product's executable, which is also the worker's.
    pub fn new(program: PathBuf) -> Self {
        Self { plans: RwLock::default(), pool: Pool::new(program) }
    }

    /// Compiles a filter, once for all runs.
    ///
    /// # Errors
    /// The first problem, with its place in the filter.
    pub fn compile(&self, filter: &str) -> Result<(), JqProblem> {
        self.plan(filter).map(|_| ())
    }

    /// Runs a filter for the server itself, which waits as long as it takes; see `run_for`.
    ///
    /// # Errors
    /// [`JqError`]; the caller's value is untouched.
    pub async fn run(
        &self,
        filter: &str,
        value: &Arc<Value>,
        size: usize,
    ) -> Result<Vec<Value>, JqError> {
        let caller = Caller::server();
        let turn = Turn { caller: &caller, deadline: Instant::now() + Duration::from_hours(1) };
        self.run_for(&turn, filter, value, size).await
    }

    /// All outputs of a filter. `size` is about how many bytes of JSON the value has.
    pub(super) async fn run_for(
        &self,
        turn: &Turn<'_>,
        filter: &str,
        value: &Arc<Value>,
        size: usize,
    ) -> Result<Vec<Value>, JqError> {
        let plan = self.plan(filter)?;
        match &*plan {
            Plan::Linear { compiled, cost } if fits(*cost, size) => run_here(compiled, value),
            Plan::Linear { .. } | Plan::Unbounded => self.pool.run(turn, filter, value, size).await,
        }
    }

    fn plan(&self, filter: &str) -> Result<Arc<Plan>, JqProblem> {
        if let Some(plan) = self.plans.read().get(filter) {
            return Ok(Arc::clone(plan));
        }
        let compiled = Compiled::new(filter)?;
        let plan = Arc::new(match linear::cost(filter) {
            Some(cost) => Plan::Linear { compiled, cost },
            None => Plan::Unbounded,
        });
        self.plans.write().insert(filter.into(), Arc::clone(&plan));
        Ok(plan)
    }
}

fn fits(cost: u64, size: usize) -> bool {
    u64::try_from(size).is_ok_and(|size| cost.saturating_mul(size) <= AT_HAND)
}

fn run_here(compiled: &Compiled, value: &Value) -> Result<Vec<Value>, JqError> {
    let run = || {
        let mut outputs = Outputs::new();
        compiled.run(to_jq(value)?, |output| outputs.push(&output))?;
        Ok(outputs.into_values())
    };
    // A panic inside the interpreter would end the call's task, and the client would wait for ever.
    // Nothing is shared with the interpreter but the compiled filter, which it cannot change.
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(run));
    let outcome = outcome.unwrap_or_else(|_| Err("it met a value that it cannot handle".into()));
    outcome.map_err(JqError::Failed)
}

/// This executable, as a worker is started from it.
///
/// On Linux by the kernel's own link, which still leads to the right file after an update has put
/// another one in its place.
pub fn own_program() -> PathBuf {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() {
        link
    } else {
        std::env::current_exe().unwrap_or_else(|_| "countersign".into())
    }
}

#[cfg(test)]
mod tests;
