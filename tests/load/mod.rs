//! Shared by the benchmark and the load tests: an API and clients that cost next to nothing.
//!
//! Both run on the processors of the measured server, so neither parses more than it must: requests
//! are prepared bytes, and answers are searched for the parts that they must contain.

pub mod api;
pub mod figures;
pub mod grants;
pub mod process;
pub mod session;
pub mod wire;
