//! REST APIs for other programs. Each folder speaks the contract of one product. A route is a row
//! of [`super::routes`], like that of a page.
//!
//! [`gate`] stands before every route: it identifies the [`RestCaller`](crate::identity::RestCaller),
//! which handlers find in the request's extensions. [`answer`] writes responses and errors in the
//! form of each contract.

pub(super) mod answer;
pub mod arcade;
pub(super) mod body;
pub(super) mod gate;
pub(in crate::web) mod in_path;
pub(super) mod limits;
pub mod openapi;
mod page;
pub mod portia;
mod value;

use std::sync::Arc;

use arcade::authorization::ToldFailures;
use limits::RestLimits;

use crate::broker::Broker;
use crate::web::gate::Gate;

/// State of the REST routes.
#[derive(Clone)]
pub(super) struct RestState {
    pub(super) broker: Broker,
    pub(super) gate: Gate,
    pub(super) limits: RestLimits,
    /// Consents of Arcade's clients that ended without access.
    pub(super) failures: Arc<ToldFailures>,
}

impl RestState {
    pub(super) fn new(broker: Broker, gate: &Gate, limits: RestLimits) -> Self {
        Self { broker, gate: gate.clone(), limits, failures: Arc::default() }
    }
}
