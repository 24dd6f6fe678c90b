//! Follows redirects within one origin only.
//!
//! Following a redirect to another origin would give the credential, arguments and body to any
//! server that the API names. Within one scheme, host and port they reach the server that already
//! has them, so an API may move its resources (GitHub does when a repository is renamed).

use http::{Method, StatusCode};
use url::{Origin, Url};

use crate::model::failure::NotFollowed;

/// Maximum redirects followed in one call; one more fails the call.
pub(super) const MAX_REDIRECTS: usize = 5;

/// Method and URL of the request that follows a redirect.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) method: Method,
    pub(super) url: Url,
}

/// Returns the target of a redirect, or why it is not followed; `None` if the response is not a
/// redirect.
///
/// Reads follow 301 and 302; 303 becomes a GET; 307 and 308 keep the method and body
/// (RFC 9110 §15.4).
pub(super) fn follow(
    status: StatusCode,
    location: Option<&[u8]>,
    method: &Method,
    url: &Url,
) -> Option<Result<Target, NotFollowed>> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let method = match status.as_u16() {
        301 | 302 if is_read => method.clone(),
        301 | 302 => return Some(Err(NotFollowed::Ambiguous)),
        303 if *method == Method::HEAD => Method::HEAD,
        303 => Method::GET,
        307 | 308 => method.clone(),
        _ => return None,
    };
    let target = location
        .and_then(|location| std::str::from_utf8(location).ok())
        .and_then(|location| url.join(location.trim()).ok());
    let Some(mut target) = target else { return Some(Err(NotFollowed::NoTarget)) };
    if !is_same_origin(&target, url) {
        return Some(Err(NotFollowed::OtherOrigin(crate::net::host_of(&target))));
    }
    target.set_fragment(None);
    Some(Ok(Target { method, url: target }))
}

/// Whether scheme, host and port are equal (RFC 6454 §4) and the target has no user information.
fn is_same_origin(target: &Url, url: &Url) -> bool {
    matches!(target.origin(), Origin::Tuple(..))
        && target.origin() == url.origin()
        && target.username().is_empty()
        && target.password().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://api.acme.example/v1/old?page=2";

    fn follow_from(
        status: u16,
        method: &Method,
        location: &str,
    ) -> Option<Result<Target, NotFollowed>> {
        let status = StatusCode::from_u16(status).expect("a status");
        follow(status, Some(location.as_bytes()), method, &Url::parse(HERE).expect("a URL"))
    }

    #[allow(clippy::unnecessary_wraps, reason = "compared with what `follow` returns")]
    fn target(method: Method, url: &str) -> Option<Result<Target, NotFollowed>> {
        Some(Ok(Target { method, url: Url::parse(url).expect("a URL") }))
    }

    #[test]
    fn the_method_is_kept_as_rfc_9110_says() {
        let moved = "https://api.acme.example/new";
        for status in [301, 302, 303, 307, 308] {
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(follow_from(status, &method, "/new"), target(method, moved), "{status}");
            }
        }
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for status in [301, 302] {
                let refused = Some(Err(NotFollowed::Ambiguous));
                assert_eq!(follow_from(status, &method, "/new"), refused, "{status} {method}");
            }
            assert_eq!(follow_from(303, &method, "/new"), target(Method::GET, moved), "{method}");
            for status in [307, 308] {
                assert_eq!(follow_from(status, &method, "/new"), target(method.clone(), moved));
            }
        }
        for status in [200, 300, 304, 305, 404] {
            assert_eq!(follow_from(status, &Method::GET, "/new"), None, "{status}");
        }
    }

    #[test]
    fn only_the_same_scheme_host_and_port_is_followed() {
        for (location, url) in [
            ("new?a=b#part", "https://api.acme.example/v1/new?a=b"),
            ("//api.acme.example/x", "https://api.acme.example/x"),
            ("HTTPS://API.acme.example:443/x", "https://api.acme.example/x"),
            ("?page=3", "https://api.acme.example/v1/old?page=3"),
        ] {
            assert_eq!(follow_from(301, &Method::GET, location), target(Method::GET, url));
        }
        for location in [
            "http://api.acme.example/x",
            "https://api.acme.example:8443/x",
            "https://acme.example/x",
            "https://api.acme.example.evil.example/x",
            "//evil.example/x",
            "\\\\evil.example\\x",
            "https://user@api.acme.example/x",
            "https://:password@api.acme.example/x",
            "https://api.acme.example@evil.example/x",
            "file:///etc/passwd",
            "data:text/plain,x",
        ] {
            let followed = follow_from(301, &Method::GET, location);
            assert!(matches!(followed, Some(Err(NotFollowed::OtherOrigin(_)))), "{location}");
        }
        for location in ["https://", "http://[", "https://a b/"] {
            let followed = follow_from(301, &Method::GET, location);
            assert_eq!(followed, Some(Err(NotFollowed::NoTarget)), "{location}");
        }
        let url = Url::parse(HERE).expect("a URL");
        let nowhere = follow(StatusCode::FOUND, None, &Method::GET, &url);
        assert_eq!(nowhere, Some(Err(NotFollowed::NoTarget)));
    }

    #[test]
    fn a_target_is_named_by_its_host_only() {
        let Some(Err(problem)) =
            follow_from(302, &Method::GET, "https://login.example/x?token=canary")
        else {
            panic!("another origin")
        };
        assert_eq!(problem, NotFollowed::OtherOrigin("login.example".into()));
    }
}
