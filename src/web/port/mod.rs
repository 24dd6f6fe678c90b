//! The served port and its connections: who may connect, how long a client may take, which thread
//! answers.

pub(super) mod client_address;
pub(super) mod crowd;
mod extra_slashes;
pub mod local_peer;
mod rest_alias;
pub mod serve;
pub(super) mod workers;
