//! `GET /v1/auth/status`: how far a consent has come; waits for its end if asked to.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use url::form_urlencoded;

use super::authorization::{AuthorizationAnswer, AuthorizationId, token_for};
use super::{malformed, problem, unavailable, unready};
use crate::broker::ready::authorize::{AuthorizationView, ViewState};
use crate::identity::RestCaller;
use crate::model::Principal;
use crate::web::rest::RestState;
use crate::web::rest::answer::{ErrorName, json};
use crate::words;

pub(in crate::web) const PATH: &str = "/v1/auth/status";

/// Longest wait, in seconds. Arcade's clients give up after a minute.
const MAX_WAIT: u64 = 59;
/// Longest wait of a caller with too many.
const SHORT_WAIT: Duration = Duration::from_secs(2);

/// Parameters of the query; others are ignored.
struct StatusQuery {
    id: String,
    wait: Duration,
}

impl StatusQuery {
    fn parse(uri: &Uri) -> Result<Self, &'static str> {
        let mut query = Self { id: String::new(), wait: Duration::ZERO };
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "id" => query.id = value.into_owned(),
                "wait" => {
                    let seconds = value.parse().ok().filter(|seconds| *seconds <= MAX_WAIT);
                    let seconds =
                        seconds.ok_or("`wait` must be a number of seconds from 0 to 59")?;
                    query.wait = Duration::from_secs(seconds);
                }
                _ => {}
            }
        }
        if query.id.is_empty() { Err("`id` must name the authorization") } else { Ok(query) }
    }
}

pub(in crate::web) async fn status(
    State(state): State<RestState>,
    Extension(caller): Extension<RestCaller>,
    uri: Uri,
) -> Response {
    let StatusQuery { id, wait } = match StatusQuery::parse(&uri) {
        Ok(query) => query,
        Err(message) => return malformed(message),
    };
    // A client may have made the id up: its user is looked for among this caller's own.
    let known = AuthorizationId::parse(&id);
    let known = known.and_then(|known| Some((caller.principal(Some(known.user())).ok()?, known)));
    let Some((principal, known)) = known else { return unknown() };
    match state.view(&caller, &principal, &known, wait).await {
        Ok(Some(view)) => state.answer(&principal, &id, view).await,
        Ok(None) => unknown(),
        Err(response) => *response,
    }
}

fn unknown() -> Response {
    let message = "none of your users has such an authorization, or its link has expired";
    problem(StatusCode::NOT_FOUND, ErrorName::NotFound, message)
}

impl RestState {
    async fn view(
        &self,
        caller: &RestCaller,
        principal: &Principal,
        id: &AuthorizationId,
        wait: Duration,
    ) -> Result<Option<AuthorizationView>, Box<Response>> {
        match id {
            AuthorizationId::Connection { provider: None, .. } => {
                Ok(Some(AuthorizationView::unneeded(principal.caller.clone())))
            }
            AuthorizationId::Connection { provider: Some(provider), account, .. } => {
                let view = self.broker.connection_status(principal, provider, account.as_ref());
                view.await.map_err(|failure| Box::new(unready(&failure)))
            }
            AuthorizationId::Link { link, .. } => {
                let poll = if wait > SHORT_WAIT { self.limits.poll(caller) } else { None };
                let wait = if poll.is_some() { wait } else { wait.min(SHORT_WAIT) };
                let look = |wait| self.broker.authorization_status(&principal.caller, link, wait);
                let view = tokio::select! {
                    view = look(wait) => view,
                    () = self.limits.ending() => look(Duration::ZERO).await,
                };
                view.map_err(|error| Box::new(unavailable(&error)))
            }
        }
    }

    /// Name of a consent's provider; its name in requests if it is gone.
    async fn title(&self, view: &AuthorizationView) -> String {
        let Some(id) = &view.provider else { return String::new() };
        let found = self.broker.provider_of(&view.caller, id).await;
        let found = found.ok().flatten().map(|provider| provider.title.clone());
        found.unwrap_or_else(|| id.public_name().to_owned())
    }

    async fn answer(&self, principal: &Principal, id: &str, view: AuthorizationView) -> Response {
        if let ViewState::Failed(why) = &view.state
            && !self.failures.is_new(&principal.caller, id)
        {
            // The loops of Arcade's clients end with an error only: those that have seen `failed`
            // ask again at once.
            let title = self.title(&view).await;
            let why = words::not_connected(&title, why);
            let message = format!("the user has not given access to {title}. {why}");
            return problem(StatusCode::BAD_REQUEST, ErrorName::AuthorizationFailed, message);
        }
        match token_for(&self.broker, principal, &view).await {
            Ok(token) => {
                let has_failed = matches!(view.state, ViewState::Failed(_));
                let answer = AuthorizationAnswer::of(view, token);
                let answer = if has_failed { answer.under(id.to_owned()) } else { answer };
                json(StatusCode::OK, &answer)
            }
            Err(failure) => unready(&failure),
        }
    }
}
