//! The served port and its connections: who may connect, how long a client may take, which thread
//! answers.

pub(super) mod client_address;
pub(super) mod crowd;
mod extra_slashes;
pub mod local_peer;
mod rest_alias;
pub mod serve;
pub(super) mod workers;

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// Returns a target with another path and the same query.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}
