//! Faults of this program.

use std::error::Error;

use rmcp::ErrorData;

use crate::model::chain;
use crate::model::text::incident;

/// A mistake in this program that has no error type of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Mistake(pub(super) &'static str);

/// Returns a generic error with an incident id, and logs the error chain once under that id.
pub(super) fn internal_error(error: impl Error) -> ErrorData {
    let incident = incident();
    tracing::error!(incident, error = %chain(&error), "internal error");
    ErrorData::internal_error(
        format!("internal error {incident}; see the server's log for this id"),
        None,
    )
}
