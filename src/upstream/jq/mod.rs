//! Runs jq filters over responses, bounded in time and memory.
//!
//! A filter runs in this process, in microseconds, if its cost is known from its text (`linear.rs`)
//! and small for the given response. Any other filter runs in a worker process (`worker.rs`), which
//! can be killed.

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

/// Maximum work of a filter inside the server: its cost times the response size in bytes. It takes
/// about ten milliseconds in the worst case, during which no other call runs on the thread. A
/// filter with more work runs in a worker.
const MAX_INLINE_WORK: u64 = 256 * 1024;

/// Checks a filter without running it.
///
/// # Errors
/// The first problem, with its place in the filter.
pub fn compile_check(filter: &str) -> Result<(), JqProblem> {
    Compiled::new(filter).map(|_| ())
}

/// Why a filter gave no result.
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
    /// Kind of the failure, for the log. It contains no part of the filtered value.
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

/// Runs filters and caches their plans.
pub struct Jq {
    plans: RwLock<HashMap<Box<str>, Arc<Plan>>>,
    pool: Pool,
}

/// How a filter runs: in this process as long as its cost allows, or always in a worker.
enum Plan {
    Linear { compiled: Compiled, cost: u64 },
    Unbounded,
}

impl Jq {
    /// Creates a runner. `program` is this product's executable, from which workers start.
    pub fn new(program: PathBuf) -> Self {
        Self { plans: RwLock::default(), pool: Pool::new(program) }
    }

    /// Compiles a filter, once for all its runs.
    ///
    /// # Errors
    /// The first problem, with its place in the filter.
    pub fn compile(&self, filter: &str) -> Result<(), JqProblem> {
        self.plan(filter).map(|_| ())
    }

    /// Runs a filter for the server itself, which waits up to an hour for a worker, and returns all
    /// outputs. `size` is the value's approximate size in bytes of JSON.
    ///
    /// # Errors
    /// [`JqError`] if the filter gives no result; the caller's value stays unchanged.
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

    /// Runs a filter and returns all its outputs. `size` is the value's approximate size in bytes
    /// of JSON.
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
    u64::try_from(size).is_ok_and(|size| cost.saturating_mul(size) <= MAX_INLINE_WORK)
}

fn run_here(compiled: &Compiled, value: &Value) -> Result<Vec<Value>, JqError> {
    let run = || {
        let mut outputs = Outputs::new();
        compiled.run(to_jq(value)?, |output| outputs.push(&output))?;
        Ok(outputs.into_values())
    };
    // A panic inside the interpreter would end the call's task, and the client would wait forever.
    // The interpreter shares only the compiled filter, which it cannot change.
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(run));
    let outcome = outcome.unwrap_or_else(|_| Err("it cannot handle one of the values".into()));
    outcome.map_err(JqError::Failed)
}

/// Path of this executable, from which workers start.
///
/// On Linux this is the kernel's own link, which still leads to the right file after an update has
/// replaced it.
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
