//! What the benchmark and the tests under load share: an API that costs next to nothing, and clients that do too.
//!
//! Both stand on the same processors as the server that is looked at, so neither parses more than it must: requests
//! are bytes made beforehand, answers are searched for what must stand in them.

pub mod api;
pub mod figures;
pub mod grants;
pub mod process;
pub mod session;
pub mod wire;
