//! Drops extra slashes from the paths of routes for programs.

use axum::http::Uri;

use super::with_path;
use crate::web::routes::{ROUTES, Spelling};

/// Removes extra slashes from the target: at its end, and all but one of several in a row. A
/// redirect would say the same, but many clients lose the body of a POST then. `None` if the target
/// is right, or is no route for programs; pages have one address each.
pub(super) fn without_extra_slashes(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.ends_with('/') && !path.contains("//") {
        return None;
    }
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let lenient = ROUTES.iter().filter(|route| route.spelling == Spelling::ExtraSlashes);
    let mut paths = lenient.map(|route| route.path);
    let route = paths.find(|path| segments.clone().eq(path.split('/').skip(1)))?;
    with_path(uri, route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_for_programs_is_known_by_its_segments() {
        let target =
            |text: &str| without_extra_slashes(&text.parse().unwrap()).map(|uri| uri.to_string());
        for (written, meant) in [
            ("/mcp/", "/mcp"),
            ("/mcp//", "/mcp"),
            ("//mcp", "/mcp"),
            ("/mcp/?consent=text", "/mcp?consent=text"),
            ("/messages/?sessionId=x", "/messages?sessionId=x"),
            ("http://127.0.0.1:8080/sse/", "http://127.0.0.1:8080/sse"),
            (
                "/.well-known/oauth-protected-resource/mcp/",
                "/.well-known/oauth-protected-resource/mcp",
            ),
            ("/.well-known/oauth-protected-resource/", "/.well-known/oauth-protected-resource"),
        ] {
            assert_eq!(target(written).as_deref(), Some(meant), "{written}");
        }
        for other in ["/mcp", "/", "/mcp/x/", "/x/mcp/", "/connections/", "/connect/abc/", "/MCP/"]
        {
            assert_eq!(target(other), None, "{other}");
        }
    }
}
