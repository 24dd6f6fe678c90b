//! `POST /v1/auth/confirm_user`: an application says which user sits at the browser that it was
//! sent.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::authorization::AuthorizationId;
use super::{malformed, problem};
use crate::broker::consent::confirmation::{ConfirmationError, Confirmed};
use crate::identity::{RestCaller, named_user};
use crate::model::face::Face;
use crate::model::text::incident;
use crate::web::rest::answer::{ErrorName, json};
use crate::web::rest::{RestState, body};

pub(in crate::web) const PATH: &str = "/v1/auth/confirm_user";

/// `{"flow_id", "user_id"}`: the flow that the verifier page was given, and its user by the
/// application's own session.
#[derive(Deserialize, JsonSchema)]
pub(in crate::web) struct ConfirmUser {
    #[serde(with = "crate::model::secret::exposed")]
    #[schemars(with = "String")]
    flow_id: SecretString,
    #[schemars(length(min = 1, max = 256))]
    user_id: String,
}

/// `{"auth_id", "next_uri"}`: the authorization whose link was opened, if one was, and where the
/// application must send the browser.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct ConfirmedUser {
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_id: Option<String>,
    next_uri: String,
}

pub(in crate::web) async fn confirm_user(
    State(RestState { broker, .. }): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    request: Request,
) -> Response {
    let RestCaller::Application(application) = caller else {
        let message = "only an application confirms its users' browsers; use its key, one without `user` in [[server.auth.api_keys]]";
        return problem(StatusCode::FORBIDDEN, ErrorName::Forbidden, message);
    };
    let ConfirmUser { flow_id, user_id } = match body::json(request).await {
        Ok(body) => body,
        Err(problem) => return problem.answer(Face::Arcade),
    };
    let user = match named_user(&user_id) {
        Ok(user) => user,
        Err(error) => {
            return malformed(format!("`user_id` cannot be used: {error}"));
        }
    };
    match broker.consents().confirm_user(&application, &flow_id, &user).await {
        Ok(Confirmed { authorization, next_uri }) => {
            let auth_id = authorization.map(|link| AuthorizationId::of_link(&user, &link));
            json(StatusCode::OK, &ConfirmedUser { auth_id, next_uri })
        }
        Err(error) => failed(&error),
    }
}

/// Answers with the error names that Arcade's clients know.
fn failed(error: &ConfirmationError) -> Response {
    let (status, name) = match error {
        ConfirmationError::Unknown => (StatusCode::BAD_REQUEST, ErrorName::UnknownFlow),
        ConfirmationError::UserMismatch => (StatusCode::BAD_REQUEST, ErrorName::UserMismatch),
        ConfirmationError::Store(_) => {
            let incident = incident();
            tracing::warn!(incident, error = %crate::model::chain(error), "a browser was not confirmed");
            let message = format!(
                "nothing could be read or written now; send it again (incident {incident})"
            );
            return problem(StatusCode::SERVICE_UNAVAILABLE, ErrorName::Unavailable, message);
        }
    };
    problem(status, name, format!("{error}; {}", error.hint()))
}
