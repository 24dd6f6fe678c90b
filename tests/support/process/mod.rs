//! Processes on a machine of their own.

pub mod home;
pub mod keepers;
pub mod running;
