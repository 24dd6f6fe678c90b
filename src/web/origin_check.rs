//! Origin check and security headers for every request to a page, before any route sees it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};

use super::pages::layout::{Page, PageKind, STYLE};
use super::problem::{Problem, wants_page};
use crate::model::text::shown;

/// Characters shown of a host's name in the log.
const MAX_HOST_CHARS: usize = 80;

/// Origins that we have handed out for one listener, e.g. `http://127.0.0.1:8971`. No other name of
/// the same place counts, unless made by [`Self::of_machine`]. Clones share origins that are added
/// later.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<Names>);

#[derive(Debug, Default)]
struct Names {
    all: RwLock<BTreeSet<String>>,
    /// Whether every loopback name counts too, with any port.
    any_loopback_port: bool,
    /// Whether the log already mentions requests for another host. One warning is enough: any
    /// client can send such requests.
    has_warned: AtomicBool,
}

/// Origin of a host and a port without TLS, as browsers write it: without the default port, in both
/// `Host` and `Origin` (RFC 6454 §6.2).
pub fn http_origin(host: &str, port: u16) -> String {
    match port {
        80 => format!("http://{host}"),
        port => format!("http://{host}:{port}"),
    }
}

impl Origins {
    /// Accepts exactly these origins of one place.
    pub fn of(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let all = RwLock::new(names.into_iter().map(Into::into).collect());
        Self(Arc::new(Names { all, ..Names::default() }))
    }

    /// Like [`Self::of`] and, if one of them is a loopback name, also accepts loopback names with
    /// any port: clients that come through a port forward (`ssh -L`, a container, a tap) name the
    /// port at its other end.
    pub fn of_machine(names: &[String]) -> Self {
        let any_loopback_port = names.iter().any(|name| is_loopback(authority(name)));
        let all = RwLock::new(names.iter().cloned().collect());
        Self(Arc::new(Names { all, any_loopback_port, ..Names::default() }))
    }

    /// Adds an origin, for all clones.
    pub fn add(&self, origin: impl Into<String>) {
        self.0.all.write().insert(origin.into());
    }

    /// Returns the origin that a request is meant for. The request names it in `Host` and, if its
    /// target is absolute, there too: the target outranks the header (RFC 9112 §3.2.2), so both
    /// must be right.
    pub(super) fn requested(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
        let host = host.to_str().unwrap_or_default();
        let Some(named) = self.with_host(host) else {
            if !self.0.has_warned.swap(true, Ordering::Relaxed) {
                let host = shown(host, MAX_HOST_CHARS);
                tracing::warn!(
                    host,
                    "refused a request for another host. A proxy must pass on `Host`. Add more names for /mcp to `allowed_hosts` in [server]"
                );
            }
            return None;
        };
        let is_target =
            |target: &Authority| self.with_host(target.as_str()).as_ref() == Some(&named);
        uri.authority().is_none_or(is_target).then_some(named)
    }

    /// Returns the origin with this host and port.
    fn with_host(&self, host: &str) -> Option<String> {
        let is_named = |origin: &&String| authority(origin).eq_ignore_ascii_case(host);
        let named = self.0.all.read().iter().find(is_named).cloned();
        let is_forwarded = || self.0.any_loopback_port && is_loopback(host);
        named.or_else(|| is_forwarded().then(|| format!("http://{}", host.to_ascii_lowercase())))
    }

    /// Returns the scheme of these origins: `https` if one of them has it.
    pub(super) fn scheme(&self) -> &'static str {
        let is_https = self.0.all.read().iter().any(|origin| origin.starts_with("https://"));
        if is_https { "https" } else { "http" }
    }

    /// Whether an `Origin` is one of ours that other machines reach, even if the request names
    /// another host: some proxies do not pass `Host` on.
    pub(super) fn is_public(&self, origin: &str) -> bool {
        let is_it = |own: &String| own.eq_ignore_ascii_case(origin) && !is_loopback(authority(own));
        self.0.all.read().iter().any(is_it)
    }
}

/// Host and port of an origin.
fn authority(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, authority)| authority)
}

/// Whether a `Host` names this machine's loopback address, with or without a port. No resolver maps
/// `localhost` (RFC 6761 §6.3) or an address to another machine.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let is_name = name.eq_ignore_ascii_case("localhost") || name == "[::1]";
    has_port && (is_name || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()))
}

pub(super) async fn check_origin(
    State(origins): State<Origins>,
    request: Request,
    next: Next,
) -> Response {
    // DNS rebinding: a page of evil.example, whose name now resolves to 127.0.0.1, still sends
    // `Host: evil.example`.
    let origin = origins.requested(request.uri(), request.headers());
    let refusal = match &origin {
        None => Some((StatusCode::MISDIRECTED_REQUEST, "It was meant for another host.")),
        Some(origin) => refusal(origin, &request),
    };
    let mut response = match refusal {
        Some((status, line)) => refuse(request.headers(), status, line),
        None => next.run(request).await,
    };
    harden(response.headers_mut());
    if origin.is_some_and(|origin| origin.starts_with("https://")) {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, ONLY_HTTPS);
    }
    response
}

fn refuse(headers: &HeaderMap, status: StatusCode, line: &str) -> Response {
    if wants_page(headers) {
        let heading = "This request was refused";
        Page::new(status, PageKind::Bad, heading, vec![line.to_owned()]).into_response()
    } else {
        Problem::new(status, line).into_response()
    }
}

fn refusal(origin: &str, request: &Request) -> Option<(StatusCode, &'static str)> {
    // HEAD would run the GET handler, and so a link preview would use up a `state`.
    if request.method() == Method::HEAD {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "Only GET and POST are answered."));
    }
    // Cross-site request forgery.
    if request.method() == Method::POST && !is_same_origin(origin, request.headers()) {
        return Some((StatusCode::FORBIDDEN, "It came from another site's page."));
    }
    None
}

/// Whether a form came from a page of the origin that the request is meant for, scheme included: a
/// page of `https://127.0.0.1:8971` belongs to another program.
fn is_same_origin(own: &str, headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_said_to_be = match text(HeaderName::from_static("sec-fetch-site")) {
        Some("same-origin") => Some(true),
        Some(_) => Some(false),
        None => None,
    };
    match text(header::ORIGIN) {
        // Browsers send `null` from our own pages, since these carry
        // `Referrer-Policy: no-referrer`, but also from a sandboxed frame of any site: accept it
        // only with `Sec-Fetch-Site: same-origin`.
        Some("null") => is_said_to_be == Some(true),
        Some(origin) => is_said_to_be != Some(false) && own.eq_ignore_ascii_case(origin),
        // Without either header, the client is no browser, so no page sent the form.
        None => is_said_to_be != Some(false),
    }
}

/// Content security policy. It has no `form-action`: Chromium applies that to the redirect after
/// the form as well, and would stop the browser before it reaches the provider.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// HSTS (RFC 6797) for this host alone: the other hosts of its domain are not ours to decide about.
const ONLY_HTTPS: HeaderValue = HeaderValue::from_static("max-age=31536000");

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

    fn origins() -> Origins {
        Origins::of(["http://127.0.0.1:8971"])
    }

    #[test]
    fn only_a_host_that_was_handed_out_is_ours() {
        let origins = origins();
        let requested =
            |target: &str, map: &HeaderMap| origins.requested(&target.parse().unwrap(), map);
        let ours = headers(&[("host", "127.0.0.1:8971")]);
        assert!(requested("/", &ours).is_some());
        assert!(requested("http://127.0.0.1:8971/", &ours).is_some());
        assert!(requested("http://evil.example/", &ours).is_none());
        for other in [
            "evil.example",
            "evil.example:8971",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:8971",
            "[::1]:8971",
        ] {
            let mut map = headers(&[("host", other)]);
            assert!(requested("/", &map).is_none(), "{other}");
            map.append(header::HOST, HeaderValue::from_static("127.0.0.1:8971"));
            assert!(requested("/", &map).is_none(), "two hosts");
        }
        assert!(requested("/", &HeaderMap::new()).is_none());
        origins.clone().add("http://localhost:8971");
        let other_name = headers(&[("host", "localhost:8971")]);
        assert!(requested("/", &other_name).is_some());
        assert!(requested("http://127.0.0.1:8971/", &other_name).is_none(), "two of our names");
    }

    #[test]
    fn a_form_of_another_site_is_refused() {
        let own = "http://127.0.0.1:8971";
        let same = |pairs: &[(&'static str, &'static str)]| is_same_origin(own, &headers(pairs));
        assert!(same(&[]));
        assert!(same(&[("origin", own)]));
        assert!(same(&[("origin", own), ("sec-fetch-site", "same-origin")]));
        assert!(same(&[("origin", "null"), ("sec-fetch-site", "same-origin")]));
        assert!(!same(&[("origin", "null")]));
        assert!(!same(&[("origin", "null"), ("sec-fetch-site", "cross-site")]));
        assert!(!same(&[("sec-fetch-site", "cross-site")]));
        for other in [
            "http://127.0.0.1:9999",
            "https://127.0.0.1:8971",
            "https://evil.example",
            "http://127.0.0.1:8971.evil.example",
        ] {
            assert!(!same(&[("origin", other)]), "{other}");
            assert!(!same(&[("origin", other), ("sec-fetch-site", "same-origin")]), "{other}");
        }
    }
}
