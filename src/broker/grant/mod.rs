//! Grants: kept fresh, used, and written.
//!
//! - [`access`]: the single owner of token freshness; [`refresh`] renews
//! - [`server_token`]: grants of the server itself
//! - [`last_used`]: when a grant was last used
//! - [`put`]: outcome of storing a grant

pub(super) mod access;
pub(super) mod last_used;
pub(super) mod put;
pub(super) mod refresh;
mod server_token;
