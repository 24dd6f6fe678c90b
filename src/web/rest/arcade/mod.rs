//! The part of Arcade's REST API that applications call here, in the shapes that Arcade's clients
//! know.

pub mod confirm_user;
mod response;
pub mod user_connections;
