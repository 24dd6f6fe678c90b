//! What holds for every request before any route sees it.

use std::sync::{Arc, LazyLock};

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::page::{Kind, Page, STYLE};

/// The values of `Host` under which we are meant, e.g. `127.0.0.1:8971`.
#[derive(Clone, Debug)]
pub struct Hosts(Arc<[String]>);

impl Hosts {
    pub fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        Self(hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect())
    }

    fn admit(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        host.to_str().is_ok_and(|host| self.0.iter().any(|known| known.eq_ignore_ascii_case(host)))
    }

    /// Whether an `Origin` is one of ours.
    fn is_own_origin(&self, origin: &str) -> bool {
        origin
            .split_once("://")
            .is_some_and(|(_, host)| self.0.iter().any(|known| known.eq_ignore_ascii_case(host)))
    }
}

pub(super) async fn shield(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&hosts, &request) {
        Some(page) => page.into_response(),
        None => next.run(request).await,
    };
    harden(response.headers_mut());
    response
}

fn refusal(hosts: &Hosts, request: &Request) -> Option<Page> {
    let refuse = |status, line: &str| {
        Some(Page::new(status, Kind::Bad, "This request was refused", vec![line.to_owned()]))
    };
    // DNS rebinding: a page of evil.example, whose name has come to mean 127.0.0.1, still says
    // `Host: evil.example`.
    if !hosts.admit(request.headers()) {
        return refuse(StatusCode::MISDIRECTED_REQUEST, "It was meant for another host.");
    }
    // A HEAD would run the GET's handler, and so use a `state` up for a link preview.
    if request.method() == Method::HEAD {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "Only GET and POST are answered.");
    }
    // Cross-site request forgery. `Origin: null` is what browsers send from our own pages, since
    // these carry `Referrer-Policy: no-referrer`; `Sec-Fetch-Site` then tells ours from others'.
    if request.method() == Method::POST && !is_same_site(hosts, request.headers()) {
        return refuse(StatusCode::FORBIDDEN, "It came from another site's page.");
    }
    None
}

fn is_same_site(hosts: &Hosts, headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site_fits = match text(HeaderName::from_static("sec-fetch-site")) {
        Some(site) => site == "same-origin",
        None => true,
    };
    let origin_fits = match text(header::ORIGIN) {
        None | Some("null") => true,
        Some(origin) => hosts.is_own_origin(origin),
    };
    site_fits && origin_fits
}

/// No `form-action`: Chromium applies it to the redirect after the form as well, and would stop
/// the browser on its way to the provider.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

fn harden(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    for (name, value) in [
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The address of a connect page is a secret.
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_the_exact_host_is_ours() {
        let hosts = Hosts::new(["127.0.0.1:8971".to_owned()]);
        assert!(hosts.admit(&headers(&[("host", "127.0.0.1:8971")])));
        for other in
            ["evil.example", "evil.example:8971", "127.0.0.1", "127.0.0.1:80", "localhost:8971"]
        {
            let mut map = HeaderMap::new();
            map.insert(header::HOST, HeaderValue::from_static(other));
            assert!(!hosts.admit(&map), "{other}");
            map.append(header::HOST, HeaderValue::from_static("127.0.0.1:8971"));
            assert!(!hosts.admit(&map), "two hosts");
        }
        assert!(!hosts.admit(&HeaderMap::new()));
    }

    #[test]
    fn a_form_of_another_site_is_refused() {
        let hosts = Hosts::new(["127.0.0.1:8971".to_owned()]);
        let same = |pairs: &[(&'static str, &'static str)]| is_same_site(&hosts, &headers(pairs));
        assert!(same(&[]));
        assert!(same(&[("origin", "http://127.0.0.1:8971")]));
        assert!(same(&[("origin", "null"), ("sec-fetch-site", "same-origin")]));
        assert!(!same(&[("origin", "null"), ("sec-fetch-site", "cross-site")]));
        assert!(!same(&[("origin", "http://127.0.0.1:9999"), ("sec-fetch-site", "same-site")]));
        assert!(!same(&[("origin", "https://evil.example")]));
        assert!(!same(&[("origin", "http://127.0.0.1:8971.evil.example")]));
    }
}
