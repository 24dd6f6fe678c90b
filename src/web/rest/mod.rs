//! REST APIs for other programs. Each folder speaks the contract of one product. A route is a row
//! of [`super::routes`], like that of a page.
//!
//! [`gate`] stands before every route: it identifies the [`RestCaller`], which handlers find in the
//! request's extensions. [`answer`] writes responses and errors in the form of each contract.

pub(super) mod answer;
pub mod arcade;
pub(super) mod body;
pub(super) mod gate;
mod page;
pub mod portia;
mod value;

use crate::broker::Broker;
use crate::web::gate::Gate;

/// State of the REST routes.
#[derive(Clone)]
pub(super) struct RestState {
    pub(super) broker: Broker,
    pub(super) gate: Gate,
}
