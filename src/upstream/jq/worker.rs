//! The child process that runs unbounded filters: this executable, started again.
//!
//! A filter that loops, fills the memory or overflows the stack takes down only the worker. The
//! worker has an empty environment, no files except its two pipes, and limits that it sets for
//! itself. It ends when its standard input ends, that is, with its parent.
//!
//! # Frames
//! Lengths are 32-bit, little-endian. Request: length, filter, length, JSON value. Response: status
//! byte, length, JSON array of outputs ([`DONE`]) or error message ([`FAILED`]).

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use jaq_json::Val;
use serde::Deserialize as _;

use super::compile::Compiled;
use super::value::Outputs;

/// Hidden first argument that makes the executable a worker.
pub const WORKER_ARGUMENT: &str = "jq-worker";

pub(super) const DONE: u8 = 0;
pub(super) const FAILED: u8 = 1;

/// Memory limit of a worker in bytes; a filter that needs more ends its worker. The largest input
/// has 10 MiB of JSON, which takes ten times that in jaq.
#[cfg(unix)]
const MAX_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// CPU time limit in seconds for one request; the parent gives up earlier. It ends a worker with a
/// looping filter whose parent was killed; no other process would end it.
#[cfg(unix)]
const MAX_CPU_SECONDS: u64 = 5;
/// Maximum filters kept compiled; at the limit, the cache is cleared.
const MAX_CACHED_FILTERS: usize = 256;

/// Serves requests until standard input ends.
pub fn worker_main() -> ExitCode {
    limit_memory();
    let mut filters = HashMap::new();
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    loop {
        let Ok(Some(request)) = Request::read(&mut input) else { return ExitCode::SUCCESS };
        limit_time();
        let (status, payload) = match answer(&mut filters, &request) {
            Ok(outputs) => (DONE, outputs),
            Err(message) => (FAILED, message.into_bytes()),
        };
        if write_answer(&mut output, status, &payload).is_err() {
            return ExitCode::SUCCESS;
        }
    }
}

struct Request {
    filter: String,
    value: Vec<u8>,
}

impl Request {
    /// Reads a request; `None` at the end of the input.
    fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut length = [0; 4];
        match input.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let filter = String::from_utf8(read_bytes(input, length)?).map_err(io::Error::other)?;
        input.read_exact(&mut length)?;
        Ok(Some(Self { filter, value: read_bytes(input, length)? }))
    }
}

fn read_bytes(input: &mut impl Read, length: [u8; 4]) -> io::Result<Vec<u8>> {
    let length = u64::from(u32::from_le_bytes(length));
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn write_answer(output: &mut impl Write, status: u8, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    output.write_all(&[status])?;
    output.write_all(&length.to_le_bytes())?;
    output.write_all(payload)?;
    output.flush()
}

fn answer(filters: &mut HashMap<String, Compiled>, request: &Request) -> Result<Vec<u8>, String> {
    // `serde_json`'s reader instead of jaq's, for its nesting limit.
    let mut reader = serde_json::Deserializer::from_slice(&request.value);
    let input = Val::deserialize(&mut reader).map_err(|error| error.to_string())?;
    if !filters.contains_key(&request.filter) {
        if filters.len() >= MAX_CACHED_FILTERS {
            filters.clear();
        }
        let compiled = Compiled::new(&request.filter).map_err(|problem| problem.message)?;
        filters.insert(request.filter.clone(), compiled);
    }
    let filter = filters.get(&request.filter).ok_or("the filter is gone")?;
    let mut outputs = Outputs::new();
    filter.run(input, |output| outputs.push(&output))?;
    serde_json::to_vec(&outputs.into_values()).map_err(|error| error.to_string())
}

/// Sets the memory limits. Not every system supports every limit; the parent's timeout works
/// everywhere.
#[cfg(unix)]
fn limit_memory() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let most = Rlimit { current: Some(MAX_MEMORY_BYTES), maximum: Some(MAX_MEMORY_BYTES) };
    let _ = setrlimit(Resource::As, most);
    let _ = setrlimit(Resource::Data, most);
    // A crash here is expected, and a core file would contain the API's response.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Sets the CPU time limit for the next request. The limit counts from the start of the process, so
/// it moves up with each request.
#[cfg(unix)]
fn limit_time() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use rustix::time::{ClockId, clock_gettime};
    let spent = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    let until = u64::try_from(spent).unwrap_or(0) + MAX_CPU_SECONDS;
    let maximum = getrlimit(Resource::Cpu).maximum;
    let _ = setrlimit(Resource::Cpu, Rlimit { current: Some(until), maximum });
}

#[cfg(not(unix))]
fn limit_memory() {}

#[cfg(not(unix))]
fn limit_time() {}
