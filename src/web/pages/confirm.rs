//! The page on which a user confirms or declines a call.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::csrf::OwnForm;
use super::error::gone;
use super::layout::{MAX_NAME_CHARS, Page, PageKind, html, see_other};
use super::link::Link;
use crate::broker::ConnectError;
use crate::broker::confirm::page::ConfirmationView;
use crate::model::call_confirmation::{ConfirmationState, ShownArgument};
use crate::model::text::shown;
use crate::model::time::utc;
use crate::model::{AccountName, Destination};

/// The page that asks. Opening it changes nothing.
#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm<'a> {
    title: &'a str,
    tool: &'a str,
    host: &'a str,
    /// The program, by its own name.
    client: Option<String>,
    question: &'a str,
    /// The account, if it is not the default one.
    account: Option<&'a str>,
    arguments: &'a [ShownArgument],
    /// The user, if the server has several.
    user: Option<&'a str>,
    until: String,
    minutes: u64,
    has_changed: bool,
    digest: &'a str,
    /// See [`crate::web::pages::csrf`].
    csrf: String,
}

pub(in crate::web) async fn show(link: Link) -> Response {
    page(&link, false).await
}

#[derive(Deserialize)]
pub(in crate::web) struct ConfirmForm {
    /// `run` or `decline`; anything else shows the page again.
    #[serde(default)]
    answer: String,
    /// The digest of the page that was answered.
    #[serde(default)]
    shown: String,
}

pub(in crate::web) async fn answer(link: Link, OwnForm(form): OwnForm<ConfirmForm>) -> Response {
    let is_confirmed = match form.answer.as_str() {
        "run" => true,
        "decline" => false,
        _ => return page(&link, false).await,
    };
    let Link { broker, visitor, ticket, .. } = &link;
    match broker.confirmations().answer(ticket, visitor, &form.shown, is_confirmed).await {
        Ok(()) => see_other(&format!("/confirm/{ticket}")),
        Err(ConnectError::Changed) => page(&link, true).await,
        Err(error) => refused(&link, &error).await,
    }
}

async fn page(link: &Link, has_changed: bool) -> Response {
    let view = match link.broker.confirmations().view(&link.ticket, &link.visitor).await {
        Ok(view) => view,
        Err(error) => return refused(link, &error).await,
    };
    let (heading, kind, lines) = match view.state {
        ConfirmationState::Open if view.is_open => {
            let csrf = link.browser.form_token(&format!("/confirm/{}", link.ticket));
            return html(StatusCode::OK, &ask(&view, csrf, has_changed));
        }
        ConfirmationState::Open => return gone(link.application()).into_response(),
        state => answered(&view.content.title, state),
    };
    Page::new(StatusCode::OK, kind, heading, lines).into_response()
}

async fn refused(link: &Link, error: &ConnectError) -> Response {
    link.refused(Destination::confirmation(&link.ticket), error).await
}

fn ask(view: &ConfirmationView, csrf: String, has_changed: bool) -> Confirm<'_> {
    let content = &view.content;
    let client = view.client.as_ref().map(|name| shown(name.as_str(), MAX_NAME_CHARS));
    Confirm {
        title: &content.title,
        tool: content.tool.as_str(),
        host: &content.host,
        client: client.filter(|name| !name.trim().is_empty()),
        question: &content.question,
        account: content.account.as_ref().filter(|it| !it.is_default()).map(AccountName::as_str),
        arguments: &content.arguments,
        user: Some(&*view.user).filter(|user| *user != "default"),
        until: utc(view.expires_at),
        minutes: view.lives_minutes,
        has_changed,
        digest: &view.digest,
        csrf,
    }
}

/// The page of a question that was answered.
fn answered(title: &str, state: ConfirmationState) -> (String, PageKind, Vec<String>) {
    match state {
        ConfirmationState::Open | ConfirmationState::Confirmed { .. } => (
            format!("You confirmed: {title}"),
            PageKind::Good,
            vec![
                "It may run once, with what you saw, within an hour.".into(),
                "You can close this page and go back; the tool can go on now.".into(),
            ],
        ),
        ConfirmationState::Declined { .. } => (
            format!("You declined: {title}"),
            PageKind::Neutral,
            vec!["Nothing was sent. You can close this page and go back.".into()],
        ),
        ConfirmationState::Used => (
            format!("Called: {title}"),
            PageKind::Good,
            vec!["The tool was called. The program that asked has the result.".into()],
        ),
    }
}
