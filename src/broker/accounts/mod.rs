//! The accounts that users have connected.
//!
//! - [`list`]: what a user has connected; [`disconnect`]: ends it
//! - [`by_name`]: which account a call means
//! - [`connect`]: connecting outside any call

pub(super) mod by_name;
mod connect;
pub mod disconnect;
pub mod list;
