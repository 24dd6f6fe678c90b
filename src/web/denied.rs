//! What HTTP says to a request that is not accepted.

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use url::Url;

use crate::identity::Denied;

/// How soon an issuer that could not be asked may be asked again, in seconds.
const SOON: HeaderValue = HeaderValue::from_static("10");

/// RFC 6750 §3.1.
pub(super) fn status(denied: &Denied) -> StatusCode {
    match denied {
        Denied::Missing | Denied::InvalidToken(_) => StatusCode::UNAUTHORIZED,
        Denied::Malformed(_) => StatusCode::BAD_REQUEST,
        Denied::NotAnApplication => StatusCode::FORBIDDEN,
        Denied::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Adds the headers that belong to it. `metadata` is where this resource describes itself (RFC 9728
/// §5.1), if it does.
pub(super) fn explain(denied: &Denied, metadata: Option<&Url>, response: &mut Response) {
    if matches!(denied, Denied::Unavailable(_)) {
        response.headers_mut().insert(RETRY_AFTER, SOON);
    }
    let challenge = denied.challenge(metadata).map(HeaderValue::try_from);
    if let Some(Ok(challenge)) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
}
