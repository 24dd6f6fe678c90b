//! Addresses of Arcade's API that name a project.

use axum::http::Uri;

use super::with_path;

/// Returns `/v1/X` for `/v1/orgs/{organization}/projects/{project}/X`: Arcade's MCP server writes the
/// longer address with a key that does not begin with `arc_`. This server has no projects, and the
/// key alone says whose users are meant. `None` for any other target.
pub(super) fn without_project(uri: &Uri) -> Option<Uri> {
    let rest = uri.path().strip_prefix("/v1/orgs/")?;
    let (organization, rest) = rest.split_once("/projects/")?;
    let (project, rest) = rest.split_once('/')?;
    let is_segment = |text: &str| !text.is_empty() && !text.contains('/');
    if !is_segment(organization) || !is_segment(project) || rest.is_empty() {
        return None;
    }
    with_path(uri, &format!("/v1/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_left_out() {
        let target = |text: &str| without_project(&text.parse().unwrap()).map(|it| it.to_string());
        for (written, meant) in [
            ("/v1/orgs/o/projects/p/auth/authorize", "/v1/auth/authorize"),
            ("/v1/orgs/o/projects/p/auth/status?id=a&wait=1", "/v1/auth/status?id=a&wait=1"),
            ("/v1/orgs/o/projects/p/tools/Gmail.ListEmails", "/v1/tools/Gmail.ListEmails"),
            ("/v1/orgs/a%2Fb/projects/p-1/tools", "/v1/tools"),
            ("http://127.0.0.1:8080/v1/orgs/o/projects/p/tools", "http://127.0.0.1:8080/v1/tools"),
        ] {
            assert_eq!(target(written).as_deref(), Some(meant), "{written}");
        }
        for other in [
            "/v1/tools",
            "/v1/orgs/o/projects/p",
            "/v1/orgs/o/projects/p/",
            "/v1/orgs//projects/p/tools",
            "/v1/orgs/o/projects//tools",
            "/v1/orgs/o/x/projects/p/tools",
            "/orgs/o/projects/p/tools",
            "/mcp/v1/orgs/o/projects/p/tools",
        ] {
            assert_eq!(target(other), None, "{other}");
        }
    }
}
