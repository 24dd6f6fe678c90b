//! Journey 2 as pages and redirects.

use axum::extract::{Path, RawQuery, State};
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::page::{self, Change, Kind, Page};
use crate::broker::Broker;
use crate::broker::callback::{Callback, CallbackError};
use crate::broker::invitation::{Departure, Paste, PasteWhat};
use crate::broker::paste::PasteError;
use crate::broker::secret::Pasted;
use crate::broker::{ConnectError, Visitor};
use crate::model::authorization::LIFETIME;
use crate::model::text::{incident, sentence};

pub(super) async fn show(
    State(broker): State<Broker>,
    Extension(visitor): Extension<Visitor>,
    Path(ticket): Path<String>,
) -> Response {
    render(&broker, &ticket, &visitor, Change::None).await
}

async fn render(broker: &Broker, ticket: &str, visitor: &Visitor, change: Change) -> Response {
    match broker.invitation(ticket, visitor).await {
        Ok(invitation) => page::invitation(&invitation, String::new(), change),
        Err(error) => refused(&error).into_response(),
    }
}

#[derive(Deserialize)]
pub(super) struct Answered {
    /// `continue` or `decline`, `confirm` or `keep`, `disconnect`; anything else shows the page
    /// again.
    #[serde(default)]
    answer: String,
    /// The digest of the page that was answered.
    #[serde(default)]
    shown: String,
    /// What was pasted, where the page asks for it.
    #[serde(default, with = "crate::model::secret::exposed_option")]
    secret: Option<SecretString>,
    /// The user that belongs to a password.
    user: Option<String>,
}

pub(super) async fn answer(
    State(broker): State<Broker>,
    Extension(visitor): Extension<Visitor>,
    Path(ticket): Path<String>,
    Form(form): Form<Answered>,
) -> Response {
    match form.answer.as_str() {
        "continue" => {}
        "decline" => {
            return match broker.decline(&ticket, &visitor).await {
                Ok(()) => see_other(&format!("/connect/{ticket}")),
                Err(error) => refused(&error).into_response(),
            };
        }
        "confirm" | "keep" => {
            let is_meant = form.answer == "confirm";
            return match broker.confirm(&ticket, &visitor, &form.shown, is_meant).await {
                Ok(arrival) => see_other(&arrival.next),
                Err(error) => again(&broker, &ticket, &visitor, error).await,
            };
        }
        "disconnect" => {
            return match broker.undo(&ticket, &visitor, &form.shown).await {
                Ok(()) => see_other(&format!("/connect/{ticket}")),
                Err(error) => again(&broker, &ticket, &visitor, error).await,
            };
        }
        _ => return render(&broker, &ticket, &visitor, Change::None).await,
    }
    if let Some(secret) = form.secret {
        return paste(&broker, &ticket, &visitor, &form.shown, secret, form.user).await;
    }
    match broker.depart(&ticket, &visitor, &form.shown).await {
        Ok(departure) => depart(&departure),
        Err(error) => again(&broker, &ticket, &visitor, error).await,
    }
}

/// What was pasted goes no further than the broker: it is never shown again.
async fn paste(
    broker: &Broker,
    ticket: &str,
    visitor: &Visitor,
    shown: &str,
    secret: SecretString,
    user: Option<String>,
) -> Response {
    let pasted = match broker.invitation(ticket, visitor).await.map(|invitation| invitation.paste) {
        Ok(Some(Paste { what: PasteWhat::Key, .. })) => Pasted::Key(secret),
        Ok(Some(Paste { what: PasteWhat::Password | PasteWhat::UserAndPassword, .. })) => {
            Pasted::Basic { user, password: secret }
        }
        Ok(None) => return refused(&ConnectError::Unknown).into_response(),
        Err(error) => return refused(&error).into_response(),
    };
    match broker.paste(ticket, visitor, shown, pasted).await {
        Ok(arrival) => see_other(&arrival.next),
        Err(PasteError::Connect(error)) => again(broker, ticket, visitor, error).await,
        Err(error) => {
            let text = format!("{} {}", sentence(&error.to_string()), sentence(&error.hint()));
            render(broker, ticket, visitor, Change::Problem(text)).await
        }
    }
}

/// The page once more where that helps.
async fn again(broker: &Broker, ticket: &str, visitor: &Visitor, error: ConnectError) -> Response {
    match error {
        ConnectError::Unknown => render(broker, ticket, visitor, Change::None).await,
        ConnectError::Changed => render(broker, ticket, visitor, Change::SinceTheClick).await,
        error => refused(&error).into_response(),
    }
}

/// 303, so that the browser does not repeat the POST at the provider (RFC 9700 §4.12).
fn depart(departure: &Departure) -> Response {
    let cookie = &departure.cookie;
    // `Lax`: the cookie must return with the provider's top-level GET, and with nothing else from
    // another site. Not `Secure`: the listener is plain HTTP on loopback (RFC 8252 §8.3).
    let set_cookie = format!(
        "{}={}; Path={}; Max-Age={}; HttpOnly; SameSite=Lax",
        cookie.name,
        cookie.value.expose_secret(),
        cookie.path,
        LIFETIME.as_secs(),
    );
    let mut response = see_other(departure.to.as_str());
    if let Ok(value) = HeaderValue::try_from(set_cookie) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response
}

pub(super) async fn callback(
    State(broker): State<Broker>,
    Extension(visitor): Extension<Visitor>,
    Path(provider): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let arrival = broker
        .arrive(Callback {
            provider: &provider,
            query: query.as_deref().unwrap_or_default(),
            cookie: &|name| cookie(&headers, name),
            visitor: &visitor,
        })
        .await;
    match arrival {
        // On to an address without code and state, so that neither stays in the history.
        Ok(arrival) => see_other(&arrival.next),
        Err(error) => failed(&error).into_response(),
    }
}

/// The value of a cookie that occurs once. Two of one name mean that somebody planted one.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(cookie, _)| *cookie == name)
        .map(|(_, value)| value.to_owned());
    match (found.next(), found.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

pub(super) fn see_other(to: &str) -> Response {
    match HeaderValue::try_from(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(super) fn refused(error: &ConnectError) -> Page {
    let status = match error {
        ConnectError::Unknown => return page::gone(),
        ConnectError::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        ConnectError::Changed | ConnectError::GrantedMeanwhile => StatusCode::CONFLICT,
        ConnectError::Setup(_)
        | ConnectError::Address(_)
        | ConnectError::Opener(_)
        | ConnectError::Origin(_) => StatusCode::BAD_GATEWAY,
        ConnectError::RefusedOften | ConnectError::Stranger(_) => StatusCode::FORBIDDEN,
        ConnectError::Store(_) | ConnectError::Ending => StatusCode::SERVICE_UNAVAILABLE,
    };
    let lines = vec![sentence(&error.to_string()), sentence(&error.hint())];
    Page::new(status, Kind::Bad, "This cannot go on", lines).incident(logged(error))
}

fn failed(error: &CallbackError) -> Page {
    let (status, heading) = match error {
        CallbackError::Answer(_) => (StatusCode::BAD_REQUEST, "This address is incomplete"),
        CallbackError::Unknown => (StatusCode::GONE, "This step is over"),
        CallbackError::OtherBrowser | CallbackError::Stranger(_) => {
            (StatusCode::FORBIDDEN, "This was started elsewhere")
        }
        // Nothing of such an answer is shown (RFC 9207 §2.4).
        CallbackError::OtherProvider | CallbackError::OtherIssuer => {
            (StatusCode::BAD_REQUEST, "This answer was not accepted")
        }
        CallbackError::NoToken { .. } => {
            (StatusCode::BAD_GATEWAY, "The provider did not finish its part")
        }
        CallbackError::Store(_) | CallbackError::Ending => {
            (StatusCode::SERVICE_UNAVAILABLE, "This could not be kept")
        }
    };
    let outcome = match error {
        // It may have been kept just before that failed; the link's own page knows.
        CallbackError::Store(_) | CallbackError::Ending => {
            "Open the link again to see whether it was connected."
        }
        _ => "Nothing was connected.",
    };
    let lines = vec![sentence(&error.to_string()), sentence(&error.hint()), outcome.to_owned()];
    let page = Page::new(status, Kind::Bad, heading, lines);
    match error {
        // Any page of the web can make a browser come here, with an `<img>`, as often as it likes:
        // that must not fill the log.
        CallbackError::Answer(_) | CallbackError::Unknown => {
            tracing::debug!(%error, "a browser was turned away");
            page
        }
        CallbackError::NoToken { link, .. } => page.incident(logged(error)).again(link),
        _ => page.incident(logged(error)),
    }
}

/// Writes the whole chain to the log under an id that the page shows.
fn logged(error: &dyn std::error::Error) -> String {
    let incident = incident();
    tracing::warn!(incident, error = %crate::model::chain(error), "a browser was turned away");
    incident
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_counts_only_if_it_is_the_only_one_of_its_name() {
        let headers = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_static(value));
            headers
        };
        assert_eq!(cookie(&headers("a=1; b=2"), "b").as_deref(), Some("2"));
        assert_eq!(cookie(&headers("b=1; b=2"), "b"), None);
        assert_eq!(cookie(&headers("ab=1"), "b"), None);
    }
}
