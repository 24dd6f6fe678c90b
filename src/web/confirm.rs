//! `POST /v1/auth/confirm_user`: an application says who sat at the browser that it was sent.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::auth;
use super::body;
use crate::broker::Broker;
use crate::broker::callback::CallbackError;
use crate::broker::confirmation::ConfirmationError;
use crate::identity::{Authenticator, Denied};
use crate::model::UserId;
use crate::model::text::incident;

/// Two ids.
const LARGEST: usize = 4096;

/// What the route works with.
#[derive(Clone)]
struct Confirming {
    broker: Broker,
    authenticator: Authenticator,
}

/// The route; it is for servers, so it has none of the shields of pages.
pub fn routes(broker: Broker, authenticator: Authenticator) -> Router {
    Router::new()
        .route("/v1/auth/confirm_user", post(confirm_user))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(Confirming { broker, authenticator })
}

/// `{"flow_id", "user_id"}`: what the verifier page was given, and who the application says that was.
#[derive(Deserialize)]
struct Confirmation {
    #[serde(with = "crate::model::secret::exposed")]
    flow_id: SecretString,
    user_id: String,
}

/// `{"auth_id", "next_uri"}`: which authorization it was, and where the browser shall go.
#[derive(Serialize)]
struct Answer {
    auth_id: String,
    next_uri: String,
}

/// `{"name", "message"}`
#[derive(Serialize)]
struct Problem<'a> {
    name: &'a str,
    message: String,
}

async fn confirm_user(
    State(Confirming { broker, authenticator }): State<Confirming>,
    request: Request,
) -> Response {
    // Before anything is read of the body.
    let application = match authenticator.application(request.headers()) {
        Ok(application) => application,
        Err(denied) => {
            auth::record(broker.events(), denied.reason(), denied.status());
            return refused(&denied);
        }
    };
    let body = match body::whole(request).await {
        Ok(body) => body,
        Err(status) => return problem(status, "malformed_request", "the body could not be read"),
    };
    let Ok(Confirmation { flow_id, user_id }) = serde_json::from_slice(&body) else {
        let message = "the body must be the JSON object {\"flow_id\": …, \"user_id\": …}";
        return problem(StatusCode::BAD_REQUEST, "malformed_request", message);
    };
    let user = match UserId::parse(&user_id) {
        Ok(user) => user,
        Err(error) => {
            let message = format!("`user_id` cannot be used: {error}");
            return problem(StatusCode::BAD_REQUEST, "malformed_request", message);
        }
    };
    match broker.confirm_user(&application.name, &flow_id, &user).await {
        Ok(confirmed) => {
            let answer = Answer { auth_id: confirmed.authorization, next_uri: confirmed.next };
            json(StatusCode::OK, &answer)
        }
        Err(error) => failed(&error),
    }
}

/// Names as Arcade's clients know them, and the status that each deserves.
fn of(error: &ConfirmationError) -> (StatusCode, &'static str) {
    match error {
        ConfirmationError::Unknown => (StatusCode::BAD_REQUEST, "unknown_flow"),
        ConfirmationError::UserMismatch => (StatusCode::BAD_REQUEST, "user_mismatch"),
        ConfirmationError::Declined => (StatusCode::BAD_REQUEST, "declined"),
        ConfirmationError::Callback(error) => match error {
            CallbackError::NoToken { .. } => (StatusCode::BAD_GATEWAY, "no_token"),
            CallbackError::Store(_) | CallbackError::Ending => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            CallbackError::Answer(_)
            | CallbackError::Unknown
            | CallbackError::OtherBrowser
            | CallbackError::Stranger(_)
            | CallbackError::OtherProvider
            | CallbackError::OtherIssuer => (StatusCode::BAD_REQUEST, "unknown_flow"),
        },
    }
}

fn failed(error: &ConfirmationError) -> Response {
    let (status, name) = of(error);
    let mut message = error.to_string();
    if let ConfirmationError::Callback(error) = error {
        let incident = incident();
        tracing::warn!(incident, error = %crate::model::chain(error), "a consent was not confirmed");
        // Neither the places of the store nor the operator's remedy are the application's.
        message = match error {
            CallbackError::Store(_) => {
                format!("this server cannot read or write its store now (incident {incident})")
            }
            error => format!("{message}; {} (incident {incident})", error.hint()),
        };
    }
    problem(status, name, message)
}

pub(super) fn refused(denied: &Denied) -> Response {
    let status = denied.status();
    let name = match status {
        StatusCode::BAD_REQUEST => "malformed_request",
        _ => "invalid_authorization",
    };
    let mut response = problem(status, name, format!("{denied}; {}", denied.hint()));
    auth::explain(denied, None, &mut response);
    response
}

pub(super) fn problem(status: StatusCode, name: &str, message: impl Into<String>) -> Response {
    json(status, &Problem { name, message: message.into() })
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => {
            let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
            (status, headers, body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
