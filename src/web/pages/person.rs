//! The person at the browser, as the router found them out.

use std::sync::Arc;

use crate::model::Principal;

/// The person at the browser. The router puts it into the request's extensions; if it is missing,
/// the user must sign in.
#[derive(Clone)]
pub(in crate::web) struct PageUser {
    pub principal: Arc<Principal>,
    /// Whether they can sign out.
    pub has_signed_in: bool,
}
