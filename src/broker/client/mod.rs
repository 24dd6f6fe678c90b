//! This server as a client of providers.
//!
//! - [`registration`]: our registrations at providers
//! - [`credential`] and [`assertion`]: keys, passwords and signed assertions, as credentials of a
//!   call
//! - [`token_endpoints`]: which providers are in trouble, or refuse us; [`resend`] spaces retries
//! - [`refusal`]: what a refusal of our client means

pub mod assertion;
pub mod credential;
pub(super) mod refusal;
pub(super) mod registration;
pub(super) mod resend;
pub(super) mod token_endpoints;
