//! Error pages: what happened, what was kept or not, and what to do now.

use axum::http::StatusCode;

use super::layout::{MAX_NAME_CHARS, Page, PageKind};
use crate::broker::consent::callback::CallbackError;
use crate::broker::{ConnectError, VisitingBrowser};
use crate::model::text::{incident, sentence, shown};
use crate::oauth::{AnswerError, Verdict};

/// Reader of an error page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// The person whose machine and `tools.toml` this is.
    Operator,
    /// Any user with a browser. How the server is set up is neither their concern nor useful to
    /// them.
    Anybody,
}

impl Reader {
    pub(super) fn at(visitor: &VisitingBrowser) -> Self {
        match visitor {
            VisitingBrowser::Loopback => Self::Operator,
            VisitingBrowser::Public { .. } => Self::Anybody,
        }
    }
}

/// Advice for every user about a server that fails.
pub(super) const LATER: &str =
    "Try again in a few minutes. If it still fails, tell the operator of this server.";
const UNCHANGED: &str = "Nothing was connected or changed.";

/// One page for unknown, expired and replaced links, which are not told apart. `application`: the
/// application that the user came from.
pub(super) fn gone(application: Option<&str>) -> Page {
    let back = match application {
        Some(name) => format!("Go back to {} and ask again", shown(name, MAX_NAME_CHARS)),
        None => "Go back to where you got it and ask again".into(),
    };
    Page::new(
        StatusCode::GONE,
        PageKind::Bad,
        "This link no longer works",
        vec![
            "It was used, replaced by a newer one, or its 15 minutes are over.".into(),
            format!("Nothing was changed by opening it. {back}; you will get a new link."),
        ],
    )
}

/// The page for a link that does not work, or could not be made.
pub(super) fn link(error: &ConnectError, reader: Reader) -> Page {
    let (status, heading) = match error {
        ConnectError::Unknown => return gone(None),
        ConnectError::Exhausted => {
            (StatusCode::TOO_MANY_REQUESTS, "This link was opened too often")
        }
        ConnectError::TooManyLinks => {
            (StatusCode::TOO_MANY_REQUESTS, "You have too many open links")
        }
        ConnectError::TooManyScopes => {
            (StatusCode::TOO_MANY_REQUESTS, "Your open link asks for too much already")
        }
        ConnectError::RefusedOften => (StatusCode::FORBIDDEN, "This was refused too often"),
        ConnectError::Changed => (StatusCode::CONFLICT, "This page is out of date"),
        ConnectError::GrantedMeanwhile => (StatusCode::CONFLICT, "This has just been connected"),
        ConnectError::Setup(error) if error.is_passing() => {
            (StatusCode::BAD_GATEWAY, "The provider could not be reached")
        }
        ConnectError::Setup(_)
        | ConnectError::Address(_)
        | ConnectError::NoBrowserProof(_)
        | ConnectError::Origin(_) => {
            (StatusCode::BAD_GATEWAY, "This server is not set up for that")
        }
        ConnectError::NotYours(_) => (StatusCode::FORBIDDEN, "This link is for another browser"),
        ConnectError::Store(_) | ConnectError::Ending => {
            (StatusCode::SERVICE_UNAVAILABLE, "This server cannot do that now")
        }
    };
    let kept = match error {
        ConnectError::Store(_) | ConnectError::Ending => "Nothing that was kept before is lost.",
        _ => UNCHANGED,
    };
    let about_the_server = match error {
        ConnectError::Setup(error) if error.is_passing() => Some(
            "The provider did not say where to sign in. Try again in a few minutes. If it still fails, tell the operator of this server.",
        ),
        ConnectError::Setup(_)
        | ConnectError::Address(_)
        | ConnectError::NoBrowserProof(_)
        | ConnectError::Origin(_) => Some("The operator of this server must fix its settings."),
        ConnectError::Store(_) | ConnectError::Ending => Some(LATER),
        _ => None,
    };
    let mut lines = match (reader, about_the_server) {
        (Reader::Anybody, Some(words)) => vec![words.to_owned()],
        _ => vec![sentence(&error.to_string()), sentence(&error.hint())],
    };
    lines.insert(lines.len().min(1), kept.to_owned());
    Page::new(status, PageKind::Bad, heading, lines).incident(logged(error))
}

/// The page for a browser that came back from a provider without a result.
pub(super) fn callback(error: &CallbackError, reader: Reader) -> Page {
    let (status, heading) = match error {
        CallbackError::Answer(AnswerError::ErrorWithoutState { .. }) => {
            (StatusCode::BAD_REQUEST, "The provider sent an error")
        }
        CallbackError::Answer(_) => {
            (StatusCode::BAD_REQUEST, "The provider's answer is incomplete")
        }
        CallbackError::Unknown => (StatusCode::GONE, "This step is finished or has expired"),
        CallbackError::OtherBrowser | CallbackError::NotYours(_) => {
            (StatusCode::FORBIDDEN, "This was started in another browser")
        }
        // Nothing of such an answer is shown (RFC 9207 §2.4).
        CallbackError::Denied { .. } => (StatusCode::FORBIDDEN, "Nothing was approved"),
        CallbackError::OtherProvider | CallbackError::OtherIssuer => {
            (StatusCode::BAD_REQUEST, "This answer was not accepted")
        }
        CallbackError::NoToken { .. } => {
            (StatusCode::BAD_GATEWAY, "The provider did not issue a token")
        }
        CallbackError::Store(_) | CallbackError::Ending => {
            (StatusCode::SERVICE_UNAVAILABLE, "This could not be saved")
        }
    };
    let what = match error {
        CallbackError::Store(_) if reader == Reader::Anybody => {
            "This server could not save it.".to_owned()
        }
        error => sentence(&error.to_string()),
    };
    let kept = match error {
        // The grant may have been kept just before the failure; the link's own page knows.
        CallbackError::Store(_) | CallbackError::Ending => {
            "Open the link again to see whether it was connected."
        }
        _ => "Nothing was connected.",
    };
    let now = match error {
        CallbackError::NoToken { source, .. } if source.verdict() != Verdict::Operator => {
            "Nothing is wrong with what you did.".to_owned()
        }
        CallbackError::Store(_) | CallbackError::Ending if reader == Reader::Anybody => {
            "If it keeps failing, tell the operator of this server.".to_owned()
        }
        error => sentence(&error.hint()),
    };
    let page = Page::new(status, PageKind::Bad, heading, vec![what, kept.to_owned(), now]);
    match error {
        // Any web page can make a browser come here, with an `<img>`, as often as it likes: that
        // must not fill the log.
        CallbackError::Answer(_) | CallbackError::Unknown | CallbackError::Denied { .. } => {
            tracing::debug!(%error, "a browser was turned away");
            page
        }
        CallbackError::NoToken { link, .. } => page.incident(logged(error)).again(link),
        _ => page.incident(logged(error)),
    }
}

/// Writes the whole error chain to the log under an id, and returns the id for the page.
pub(super) fn logged(error: &dyn std::error::Error) -> String {
    let incident = incident();
    tracing::warn!(incident, error = %crate::model::chain(error), "a browser was turned away");
    incident
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    async fn text(page: Page) -> String {
        let body = page.into_response().into_body();
        let body = axum::body::to_bytes(body, 100_000).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn only_the_operator_is_told_to_start_the_server_again() {
        for (reader, is_told) in [(Reader::Operator, true), (Reader::Anybody, false)] {
            let pages = [
                text(link(&ConnectError::Ending, reader)).await,
                text(callback(&CallbackError::Ending, reader)).await,
            ];
            for page in pages {
                assert_eq!(page.contains("Start Countersign again"), is_told, "{page}");
            }
        }
    }
}
