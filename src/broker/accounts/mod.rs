//! The accounts that users have connected.
//!
//! - [`list`]: what a user has connected, and ending it
//! - [`by_name`]: which account a call means
//! - [`connect`]: connecting outside any call

pub(super) mod by_name;
mod connect;
pub mod list;
