//! Request bodies and refusals. A refusal is an HTTP status with a JSON-RPC error, so that a client
//! which looks at either of them understands.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rmcp::model::{ErrorCode, RequestId};
use serde_json::{Value, json};

use crate::mcp::internal_error::{Mistake, internal_error};
use crate::mcp::malformed::Malformed;

/// Longest body in bytes; a longer one is refused with 413. A call is a name and arguments.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// How long a body may take to arrive; then it is refused with 408.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// `Retry-After` in seconds when the server is busy.
const RETRY_AFTER_BUSY_SECONDS: u32 = 1;
/// `Retry-After` in seconds when only the end of a stream makes room.
const RETRY_AFTER_FULL_SECONDS: u32 = 60;
/// Longest refusal of rmcp in bytes; the message of a longer one is left out.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
/// Code of refusals, from the range that JSON-RPC leaves to servers.
pub(super) const REFUSED: ErrorCode = ErrorCode(-32000);

/// Refusal of a request: an HTTP status and a JSON-RPC error.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    body: Value,
    /// `Retry-After` in seconds, sent with 503.
    retry_after: u32,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, why: &'static str) -> Self {
        Self::with(status, REFUSED, why, Value::Null)
    }

    fn with(status: StatusCode, code: ErrorCode, why: &'static str, id: Value) -> Self {
        let body = Malformed { code, why, id, is_quiet: false }.answer();
        Self { status, body, retry_after: RETRY_AFTER_BUSY_SECONDS }
    }

    /// 503: the server is busy; neither it nor the request is at fault.
    pub(super) fn busy(why: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// 503 as for [`Self::busy`], but with a longer `Retry-After`: only the end of a stream helps.
    pub(super) fn full(why: &'static str) -> Self {
        Self { retry_after: RETRY_AFTER_FULL_SECONDS, ..Self::busy(why) }
    }

    /// 405: no event follows on the stream that a GET wants to resume.
    pub(super) fn finished() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this stream has ended with its answer")
    }

    pub(super) fn not_acceptable(why: &'static str) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, why)
    }

    pub(super) fn no_session() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such session; begin a new one")
    }

    pub(super) fn unauthenticated() -> Self {
        Self::internal_error(Mistake("a route let an unauthenticated request through"))
    }

    pub(super) fn internal_error(error: impl Error) -> Self {
        let body = json!({ "jsonrpc": "2.0", "id": null, "error": internal_error(error) });
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            body,
            retry_after: RETRY_AFTER_BUSY_SECONDS,
        }
    }

    /// Returns the refusal as the body of an answer to the request with this id.
    pub(super) fn answering(mut self, id: Option<RequestId>) -> Bytes {
        if let (Some(id), Some(own)) = (id, self.body.get_mut("id")) {
            *own = json!(id);
        }
        self.body.to_string().into()
    }

    /// 400 for a body that is no message.
    pub(super) fn malformed(body: &[u8]) -> Self {
        let body = Malformed::of(body).answer();
        Self { status: StatusCode::BAD_REQUEST, body, retry_after: RETRY_AFTER_BUSY_SECONDS }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = self.body.to_string();
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, self.retry_after.into());
            }
            // RFC 9110 §12.5.3
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                let identity = HeaderValue::from_static("identity");
                headers.insert(header::ACCEPT_ENCODING, identity);
            }
            // RFC 9110 §15.5.6
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST, DELETE"));
            }
            // The rest of the body is not read.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// Reads the whole body of a POST, whose Content-Type must be JSON.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    read_within(BODY_TIMEOUT, headers, body).await
}

async fn read_within(limit: Duration, headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    // A form or a script of another site can send text without a CORS preflight, but not JSON.
    if !is_json(headers) {
        let why = "the Content-Type must be application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    // A few compressed bytes can expand to gigabytes.
    if headers.contains_key(header::CONTENT_ENCODING) {
        let why = "a body must not be compressed";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let too_large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 1 MiB");
    let announced = axum::body::HttpBody::size_hint(&body).lower();
    if announced > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(limit, axum::body::to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "the connection closed before the end of the body",
        )),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

fn is_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>)
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), None) = (all.next(), all.next()) else { return false };
    let kind = kind.to_str().unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Returns a refusal that rmcp wrote as plain text as a JSON-RPC error with the same head and
/// message, like every other refusal; any other response as it is.
pub(super) async fn as_json_rpc(response: Response) -> Response {
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    if !is_refusal || is_json(response.headers()) {
        return response;
    }
    let (mut head, text) = response.into_parts();
    let text = axum::body::to_bytes(text, MAX_REFUSAL_BYTES).await.unwrap_or_default();
    let error = json!({ "code": REFUSED, "message": String::from_utf8_lossy(&text) });
    let body = json!({ "jsonrpc": "2.0", "id": null, "error": error });
    head.headers.remove(header::CONTENT_LENGTH);
    let json = HeaderValue::from_static("application/json");
    head.headers.insert(header::CONTENT_TYPE, json);
    Response::from_parts(head, body.to_string().into())
}

/// Returns a JSON response.
pub(super) fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[tokio::test]
    async fn only_plain_json_is_read_and_not_too_much_of_it() {
        let json = ("content-type", "application/json");
        let read = async |pairs: &[_], body: Body| {
            read(&headers(pairs), body).await.map_err(|refusal| refusal.status.as_u16())
        };
        assert_eq!(read(&[json], "{}".into()).await.unwrap(), "{}");
        let charset = ("content-type", "Application/JSON; charset=utf-8");
        assert!(read(&[charset], "{}".into()).await.is_ok());
        for pairs in [
            &[][..],
            &[("content-type", "text/plain")],
            &[("content-type", "application/json-seq")],
            &[json, ("content-type", "text/plain")],
            &[json, ("content-encoding", "gzip")],
        ] {
            assert_eq!(read(pairs, "{}".into()).await, Err(415), "{pairs:?}");
        }
        let long = vec![b' '; MAX_BODY_BYTES + 1];
        assert_eq!(read(&[json], long.clone().into()).await, Err(413));
        let chunks = futures_util::stream::iter(long.chunks(4096).map(<[u8]>::to_vec).map(Ok));
        let chunks = chunks.collect::<Vec<Result<_, std::io::Error>>>().await;
        let unannounced = Body::from_stream(futures_util::stream::iter(chunks));
        assert_eq!(read(&[json], unannounced).await, Err(413));
        assert!(read(&[json], vec![b' '; MAX_BODY_BYTES].into()).await.is_ok());
    }

    #[tokio::test]
    async fn a_refusal_in_plain_text_becomes_a_json_rpc_error() {
        let allow = [("allow", "GET, POST, DELETE")];
        let plain = (StatusCode::METHOD_NOT_ALLOWED, allow, "Method \"Not\" Allowed");
        let refusal = as_json_rpc(plain.into_response()).await;
        assert_eq!(refusal.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refusal.headers()["allow"], "GET, POST, DELETE");
        assert_eq!(refusal.headers()["content-type"], "application/json");
        let body = axum::body::to_bytes(refusal.into_body(), 1000).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let error = json!({ "code": -32000, "message": "Method \"Not\" Allowed" });
        assert_eq!(body, json!({ "jsonrpc": "2.0", "id": null, "error": error }));
        let accepted = as_json_rpc((StatusCode::ACCEPTED, "Accepted").into_response()).await;
        let body = axum::body::to_bytes(accepted.into_body(), 1000).await.unwrap();
        assert_eq!(&body[..], b"Accepted");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never =
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>());
        let json = headers(&[("content-type", "application/json")]);
        let refusal = read_within(Duration::from_millis(10), &json, never).await.unwrap_err();
        assert_eq!(refusal.status, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(refusal.into_response().headers()["connection"], "close");
    }
}
