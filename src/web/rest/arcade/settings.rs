//! `/v1/admin/settings/session_verification`: the page that confirms an application's users. It is
//! set in `tools.toml`, and read only here: a key that leaks must not be able to move it.

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem;
use crate::identity::RestCaller;
use crate::model::face::Face;
use crate::web::rest::answer::{ErrorName, json};
use crate::web::rest::body;

pub(in crate::web) const PATH: &str = "/v1/admin/settings/session_verification";

/// How an application confirms the browsers of its users.
#[derive(PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::web) struct SessionVerification {
    verifier_url: Option<String>,
    /// Whether links work without a confirmation: never.
    unsafe_skip_verification: bool,
    /// Whether that could be chosen: never.
    unsafe_skip_verification_choice_allowed: bool,
}

/// A setting that a client asks for.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct WrittenSessionVerification {
    verifier_url: Option<String>,
    #[serde(default)]
    unsafe_skip_verification: bool,
    #[serde(default)]
    unsafe_skip_verification_choice_allowed: bool,
}

impl SessionVerification {
    fn of(caller: &RestCaller) -> Self {
        let verifier = match caller {
            RestCaller::Application(application) => application.verifier(),
            RestCaller::Machine { .. } | RestCaller::Person(_) => None,
        };
        Self {
            verifier_url: verifier.map(|verifier| verifier.url.to_string()),
            unsafe_skip_verification: false,
            unsafe_skip_verification_choice_allowed: false,
        }
    }
}

pub(in crate::web) async fn get(Extension(caller): Extension<RestCaller>) -> Response {
    json(StatusCode::OK, &SessionVerification::of(&caller))
}

/// Accepts the setting as it is, and no other.
pub(in crate::web) async fn put(
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let WrittenSessionVerification {
        verifier_url,
        unsafe_skip_verification,
        unsafe_skip_verification_choice_allowed,
    } = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    let asked = SessionVerification {
        verifier_url,
        unsafe_skip_verification,
        unsafe_skip_verification_choice_allowed,
    };
    let set = SessionVerification::of(&caller);
    if asked == set {
        return json(StatusCode::OK, &set);
    }
    let message = "this setting is read only here; the operator sets `verifier_url` in [[server.auth.api_keys]] of tools.toml";
    problem(StatusCode::FORBIDDEN, ErrorName::ReadOnly, message)
}
