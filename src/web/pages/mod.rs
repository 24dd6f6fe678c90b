//! Pages for browsers: a link's page and its callback, the confirmation of a call, a user's accounts,
//! signing in and out.

pub(super) mod accounts;
pub(super) mod confirm;
pub(super) mod connect;
pub(super) mod cookie;
mod csrf;
pub(super) mod docs;
mod error;
pub(super) mod layout;
mod link;
pub(super) mod person;
pub(super) mod sign_in;
