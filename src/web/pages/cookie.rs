//! Identifies the browser of a request by one cookie, which also protects its forms.
//!
//! The cookie is 256 random bits and has no meaning of its own. After a sign-in, a session is kept
//! under its keyed hash ([`crate::broker::sign_in`]); the tokens of our forms are made from it
//! ([`super::csrf`]). It gets a new value at each sign-in and sign-out, so that a value planted
//! before is worthless afterwards (session fixation).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::model::authorization::UNCLAIMED_LIFETIME;
use crate::model::secret;
use crate::web::origin_check::Origins;

/// Lifetime of the cookie: an hour longer than anything waits for it. The session decides how long
/// its user stays signed in.
const COOKIE_LIFETIME: Duration = UNCLAIMED_LIFETIME.saturating_add(Duration::from_hours(1));

/// Length of [`secret::random`], in characters.
const COOKIE_CHARS: usize = 43;

/// The browser that a request came from.
#[derive(Clone)]
pub struct Browser(Arc<Identified>);

struct Identified {
    cookie: SecretString,
    /// Whether the request came without a valid cookie.
    is_new: bool,
    /// The cookie that the answer sets.
    next: Mutex<Option<SecretString>>,
}

impl Browser {
    fn of(headers: &HeaderMap, name: &str) -> Self {
        let brought = cookie(headers, name).filter(|value| value.len() == COOKIE_CHARS);
        let is_new = brought.is_none();
        let cookie = brought.map_or_else(secret::random, SecretString::from);
        Self(Arc::new(Identified { cookie, is_new, next: Mutex::default() }))
    }

    /// The cookie's value, if the browser sent a valid one.
    pub fn cookie(&self) -> Option<&SecretString> {
        (!self.0.is_new).then_some(&self.0.cookie)
    }

    /// The cookie's value. A browser without a cookie gets it with the answer.
    pub(in crate::web) fn cookie_or_new(&self) -> &SecretString {
        if self.0.is_new {
            self.set_cookie(self.0.cookie.clone());
        }
        &self.0.cookie
    }

    /// Gives the cookie this value with the answer.
    pub(in crate::web) fn set_cookie(&self, cookie: SecretString) {
        *self.0.next.lock() = Some(cookie);
    }
}

/// Puts the [`Browser`] into the request's extensions, and sets the cookie that the handler
/// chooses.
pub(in crate::web) async fn identify_browser(
    State(origins): State<Origins>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(origin) = origins.requested(request.uri(), request.headers()) else {
        return next.run(request).await;
    };
    let name = cookie_name(&origin);
    let browser = Browser::of(request.headers(), &name);
    request.extensions_mut().insert(browser.clone());
    let mut response = next.run(request).await;
    if let Some(value) = browser.0.next.lock().take() {
        let set = set_cookie(&name, &value, "/", COOKIE_LIFETIME.as_secs());
        response.headers_mut().extend(set.map(|set| (SET_COOKIE, set)));
    }
    response
}

/// Name of the cookie for this origin. On https, the prefix keeps other hosts and plain-HTTP pages
/// from setting it (draft-ietf-httpbis-rfc6265bis §4.1.3.2). On loopback, ports share cookies, so
/// the name tells them apart.
fn cookie_name(origin: &str) -> String {
    let port = Url::parse(origin).ok().and_then(|url| url.port_or_known_default());
    match port {
        _ if origin.starts_with("https://") => format!("{HOST_PREFIX}countersign"),
        Some(port) => format!("countersign_{port}"),
        None => "countersign".into(),
    }
}

/// Prefix of cookies that a browser accepts only with `Secure`, `Path=/` and without `Domain`.
const HOST_PREFIX: &str = "__Host-";

/// Builds a `Set-Cookie` value. `Lax`: the cookie must return with a provider's or issuer's
/// top-level GET, and with nothing else from another site. `Secure` if the name demands it; the
/// loopback listener is plain HTTP (RFC 8252 §8.3).
pub(in crate::web) fn set_cookie(
    name: &str,
    value: &SecretString,
    path: &str,
    seconds: u64,
) -> Option<HeaderValue> {
    let secure = if name.starts_with(HOST_PREFIX) { "; Secure" } else { "" };
    let value = value.expose_secret();
    let set =
        format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(set).ok()
}

/// Returns the value of a cookie that occurs once. Two of one name mean that one was planted.
///
/// Names and values are compared as bytes, pair by pair: browsers also send the cookies of other
/// programs on this host (ports share them), in any encoding, and only a pair that is not text
/// itself is skipped.
pub(in crate::web) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (cookie, value) = (pair.get(..at)?, pair.get(at + 1..)?);
            let value = std::str::from_utf8(value.trim_ascii()).ok()?;
            (cookie.trim_ascii() == name.as_bytes()).then(|| value.to_owned())
        });
    match (found.next(), found.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &str) -> HeaderMap {
        [(COOKIE, HeaderValue::try_from(cookies).unwrap())].into_iter().collect()
    }

    #[test]
    fn a_cookie_counts_only_if_it_is_the_only_one_of_its_name() {
        assert_eq!(cookie(&headers("a=1; b=2"), "b").as_deref(), Some("2"));
        assert_eq!(cookie(&headers("b=1; b=2"), "b"), None);
        assert_eq!(cookie(&headers("ab=1"), "b"), None);
        let mut two = headers("b=1");
        two.append(COOKIE, HeaderValue::from_static("b=1"));
        assert_eq!(cookie(&two, "b"), None);
    }

    #[test]
    fn a_cookie_of_another_program_hides_nothing() {
        let bytes = |cookies: &[&[u8]]| -> HeaderMap {
            cookies.iter().map(|it| (COOKIE, HeaderValue::from_bytes(it).unwrap())).collect()
        };
        for foreign in
            ["é=1".as_bytes(), "name=é".as_bytes(), b"x=\xff\xfe", b"\xe9", b"", b"=", b"; ;"]
        {
            let before = [foreign, b"; b=1"].concat();
            let after = [b"b=1;", foreign].concat();
            assert_eq!(cookie(&bytes(&[&before]), "b").as_deref(), Some("1"), "{foreign:?}");
            assert_eq!(cookie(&bytes(&[&after]), "b").as_deref(), Some("1"), "{foreign:?}");
            assert_eq!(
                cookie(&bytes(&[foreign, b"b=1"]), "b").as_deref(),
                Some("1"),
                "{foreign:?}"
            );
        }
        // A value that is not text cannot be ours, so it is skipped.
        assert_eq!(cookie(&bytes(&[b"b=\xff; b=1"]), "b").as_deref(), Some("1"));
    }

    #[test]
    fn a_browser_is_known_by_a_whole_cookie_only() {
        let whole = "x".repeat(COOKIE_CHARS);
        let known = |cookies: &str| Browser::of(&headers(cookies), "c").cookie().is_some();
        assert!(known(&format!("c={whole}")));
        for other in ["c=".to_owned(), "c=x".to_owned(), format!("c={whole}; c={whole}")] {
            assert!(!known(&other), "{other}");
        }
    }

    #[test]
    fn the_name_keeps_others_from_setting_it_and_ports_apart() {
        assert_eq!(cookie_name("https://tools.example"), "__Host-countersign");
        assert_eq!(cookie_name("http://127.0.0.1:8971"), "countersign_8971");
        let set = |name| {
            let set = set_cookie(name, &"v".into(), "/", 60).unwrap();
            set.to_str().unwrap().to_owned()
        };
        let plain = "c=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax";
        assert_eq!(set("c"), plain);
        assert_eq!(set("__Host-c"), format!("__Host-{plain}; Secure"));
    }
}
