//! Variable parts of a path.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::answer::{ErrorName, face_of, problem};

/// Parts of the path. The answer to parts that cannot be read is JSON, as every error: Portia's
/// clients repeat a request after an error that is not.
pub(in crate::web) struct InPath<T>(pub(in crate::web) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let read = Path::from_request_parts(parts, state).await;
        read.map(|Path(parts)| Self(parts)).map_err(|_| {
            let (status, name) = (StatusCode::BAD_REQUEST, ErrorName::MalformedRequest);
            problem(face_of(&parts.uri), status, name, "the path is not UTF-8")
        })
    }
}
