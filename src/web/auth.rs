//! Who calls: the gate before `/mcp`, `/sse` and `/messages`.
//!
//! In this order, each before anything is read of the body: for which host the request is meant,
//! which site's page sent it, who sends it. What is behind the gate finds an `Arc<Principal>` in the
//! request's extensions.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use url::Url;

use super::{Origins, well_known};
use crate::identity::{Authenticator, Denied};
use crate::model::chain;

/// How soon an issuer that could not be asked may be asked again, in seconds.
const SOON: HeaderValue = HeaderValue::from_static("10");

/// What a request has to pass.
#[derive(Clone)]
pub struct Gate {
    origins: Origins,
    authenticator: Authenticator,
    /// Where clients without a token learn how to get one (RFC 9728 §3).
    metadata: Option<Url>,
}

impl Gate {
    /// `names` are scheme, host and port of every name of this server.
    pub fn new(names: &[String], authenticator: Authenticator) -> Self {
        let origins = Origins::of(names);
        let metadata = authenticator
            .resource_metadata()
            .and_then(|metadata| metadata.resource.join(well_known::RESOURCE).ok());
        Self { origins, authenticator, metadata }
    }
}

pub async fn gate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    // It would run what GET runs, and open a stream that nobody reads.
    if request.method() == Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if let Some(refusal) = elsewhere(&gate.origins, request.uri(), request.headers()) {
        return refusal;
    }
    match gate.authenticator.authenticate(request.headers()).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(denied) => refusal(&denied, gate.metadata.as_ref()),
    }
}

/// Why a request should not have come here.
fn elsewhere(origins: &Origins, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    // DNS rebinding: a page of evil.example, whose name has come to mean 127.0.0.1, still says
    // `Host: evil.example`.
    if origins.asked(uri, headers).is_none() {
        return Some(
            (StatusCode::MISDIRECTED_REQUEST, "it was meant for another host").into_response(),
        );
    }
    // A script of any page but ours (basic/transports/streamable-http, security warning).
    let is_foreign = |origin: &HeaderValue| !origin.to_str().is_ok_and(|it| origins.contain(it));
    if headers.get_all(header::ORIGIN).iter().any(is_foreign) {
        return Some((StatusCode::FORBIDDEN, "it came from another site's page").into_response());
    }
    None
}

fn refusal(denied: &Denied, metadata: Option<&Url>) -> Response {
    if let Denied::Unavailable(error) = denied {
        tracing::warn!(error = %chain(error.as_ref()), "the issuer cannot be asked");
    }
    let said = format!("{denied}; {}", denied.hint());
    let mut response = (denied.status(), said).into_response();
    explain(denied, metadata, &mut response);
    response
}

/// Adds the headers that belong to it. `metadata` is where this resource describes itself (RFC 9728
/// §5.1), if it does.
pub(super) fn explain(denied: &Denied, metadata: Option<&Url>, response: &mut Response) {
    let headers = response.headers_mut();
    if matches!(denied, Denied::Unavailable(_)) {
        headers.insert(header::RETRY_AFTER, SOON);
    }
    if let Some(Ok(challenge)) = denied.challenge(metadata).map(HeaderValue::try_from) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(target: &str, pairs: &[(&'static str, &'static str)]) -> Option<u16> {
        let origins = Origins::of(["http://127.0.0.1:8080"]);
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let uri = target.parse().unwrap();
        elsewhere(&origins, &uri, &headers).map(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn only_requests_for_us_and_of_nobodys_page_get_through() {
        let ours = ("host", "127.0.0.1:8080");
        assert_eq!(refused("/mcp", &[ours]), None);
        assert_eq!(refused("/mcp", &[ours, ("origin", "http://127.0.0.1:8080")]), None);
        assert_eq!(refused("http://127.0.0.1:8080/mcp", &[ours]), None);
        assert_eq!(refused("http://evil.example/mcp", &[ours]), Some(421));
        for other in ["evil.example", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8080.evil.example"] {
            assert_eq!(refused("/mcp", &[("host", other)]), Some(421), "{other}");
        }
        assert_eq!(refused("/mcp", &[]), Some(421));
        for origin in
            ["null", "", "https://evil.example", "http://127.0.0.1", "https://127.0.0.1:8080"]
        {
            assert_eq!(refused("/mcp", &[ours, ("origin", origin)]), Some(403), "{origin}");
            let two = [ours, ("origin", "http://127.0.0.1:8080"), ("origin", origin)];
            assert_eq!(refused("/mcp", &two), Some(403), "after ours: {origin}");
        }
    }
}
