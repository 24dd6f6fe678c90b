//! Bodies of forms and of applications' requests: read whole, within a time limit.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request};
use axum::http::StatusCode;

/// Time limit for a body to arrive; beyond it, the client gets 408. A connection whose body never
/// arrives would keep its place for ever, and any client may send one.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a whole body, up to the size limit of its route.
///
/// # Errors
/// 413 for a body that is too long, 408 for one that does not arrive in time, 400 for one that
/// breaks off.
pub(super) async fn whole(request: Request) -> Result<Bytes, StatusCode> {
    whole_within(BODY_TIMEOUT, request).await
}

/// Like [`whole`], with this time limit.
pub(super) async fn whole_within(limit: Duration, request: Request) -> Result<Bytes, StatusCode> {
    match tokio::time::timeout(limit, Bytes::from_request(request, &())).await {
        Ok(read) => read.map_err(|unread| unread.status()),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never =
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>());
        let limit = Duration::from_millis(10);
        let read = whole_within(limit, Request::new(never)).await;
        assert_eq!(read.unwrap_err(), StatusCode::REQUEST_TIMEOUT);
        let read = whole_within(limit, Request::new(Body::from("all"))).await;
        assert_eq!(read.unwrap(), "all");
    }
}
