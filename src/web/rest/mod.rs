//! REST APIs for other servers. Each folder speaks the contract of one product. A route is a row of
//! [`super::routes`], like that of a page.

pub mod arcade;

use crate::broker::Broker;
use crate::identity::Authenticator;

/// State of the routes that an application calls with its key.
#[derive(Clone)]
pub(super) struct RestState {
    pub(super) broker: Broker,
    pub(super) authenticator: Authenticator,
}
