//! `/connections`: the accounts that a person has connected, and the actions on them.
//!
//! | `answer` of a POST | |
//! |---|---|
//! | `connect` | makes a link for an account of `provider`, and redirects the browser there |
//! | `reconnect` | makes a link for the account that was `shown`, and redirects the browser there |
//! | `disconnect` | asks for confirmation |
//! | `end` | disconnects the account that was `shown` |

mod list;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::cookie::Browser;
use super::csrf::OwnForm;
use super::error::{self, Reader};
use super::layout::{ButtonStyle, Page, PageKind, html, see_other};
use super::person::PageUser;
use super::sign_in::{self, SignInPages};
use crate::broker::consent::end::{Disconnected, Ended};
use crate::broker::{Broker, ConnectError};
use crate::model::AccountName;
use crate::model::event::EndedBy;
use crate::model::session::Destination;
use crate::model::text::sentence;
use crate::web::ended::why_it_may_stand;
use list::{List, called};

pub(in crate::web) const PATH: &str = "/connections";

/// A request for the accounts page of one person.
pub(in crate::web) struct Accounts {
    broker: Broker,
    person: PageUser,
    browser: Browser,
}

impl FromRequestParts<Broker> for Accounts {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, broker: &Broker) -> Result<Self, Response> {
        let application = sign_in::application(parts.uri.query());
        let needed = || sign_in::needed(Some(&Destination::default()), application.as_deref());
        let (person, browser) =
            (parts.extensions.get::<PageUser>(), parts.extensions.get::<Browser>());
        let (Some(person), Some(browser)) = (person.cloned(), browser.cloned()) else {
            tracing::error!("a route let a browser through whose user is not known");
            return Err(StatusCode::INTERNAL_SERVER_ERROR.into_response());
        };
        // An application sends its users here under its name. A browser that is signed in as
        // another application's user must sign in through this one.
        let is_elsewhere = application.as_deref().is_some_and(|name| {
            let pages = parts.extensions.get::<Arc<SignInPages>>();
            let application = pages.and_then(|pages| pages.sign_in.application(name));
            application.is_some_and(|application| !application.is_of(&person.principal.caller))
        });
        if is_elsewhere {
            return Err(needed());
        }
        Ok(Self { broker: broker.clone(), person, browser })
    }
}

pub(in crate::web) async fn show(accounts: Accounts) -> Response {
    accounts.page(None).await
}

#[derive(Deserialize)]
pub(in crate::web) struct AccountsForm {
    #[serde(default)]
    answer: String,
    /// The digest of the account that the form is about.
    #[serde(default)]
    shown: String,
    #[serde(default)]
    provider: String,
    /// The name of an additional account.
    account: Option<String>,
}

pub(in crate::web) async fn answer(
    accounts: Accounts,
    OwnForm(form): OwnForm<AccountsForm>,
) -> Response {
    let Accounts { broker, person, .. } = &accounts;
    let prompt = match form.answer.as_str() {
        "connect" => {
            let account = form.account.as_deref().map(AccountName::parse).transpose();
            match account.map(Option::unwrap_or_default) {
                Ok(account) => {
                    broker.accounts().connect(&person.principal, &form.provider, &account).await
                }
                Err(problem) => {
                    return accounts.page(Some(&sentence(&problem.to_string()))).await;
                }
            }
        }
        "reconnect" => broker.accounts().reconnect(&person.principal, &form.shown).await,
        "disconnect" => return accounts.ask(&form.shown).await,
        "end" => return accounts.end(&form.shown).await,
        _ => return accounts.page(None).await,
    };
    match prompt {
        Ok(prompt) => see_other(&prompt.url),
        Err(error) => accounts.failed(&error).await,
    }
}

impl Accounts {
    /// Shows all accounts, below the reason why the last click was not carried out, if there is
    /// one.
    async fn page(&self, problem: Option<&str>) -> Response {
        let Self { broker, person, browser } = self;
        let accounts = match broker.accounts().list(&person.principal.caller).await {
            Ok(accounts) => accounts,
            Err(error) => return self.refused(&error.into()),
        };
        let status = if problem.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
        let signout = person.has_signed_in.then(|| browser.form_token("/signout"));
        html(
            status,
            &List::of(broker, person, &accounts, browser.form_token(PATH), signout, problem),
        )
    }

    /// Asks for confirmation: only a new consent brings the access back.
    async fn ask(&self, shown: &str) -> Response {
        let accounts = match self.broker.accounts().list(&self.person.principal.caller).await {
            Ok(accounts) => accounts,
            Err(error) => return self.refused(&error.into()),
        };
        let meant = accounts.into_iter().find(|it| it.digest == shown && !it.is_of_the_server);
        let Some(account) = meant else { return self.failed(&ConnectError::Changed).await };
        let name = called(&account.title, &account.account, account.label.as_deref());
        let lines = vec![
            format!(
                "Programs can no longer use {name}, and {} is asked to end the access. Nothing else changes there.",
                account.title
            ),
            "To use it again, you must connect it again.".into(),
        ];
        Page::new(StatusCode::OK, PageKind::Question, format!("Disconnect {name}?"), lines)
            .with_form(&account.digest, self.browser.form_token(PATH))
            .choice("end", "Yes, disconnect", ButtonStyle::MainDanger)
            .next(PATH, "No, back to your accounts")
            .into_response()
    }

    async fn end(&self, shown: &str) -> Response {
        let ended = match self
            .broker
            .accounts()
            .end(&self.person.principal.caller, shown, EndedBy::User)
            .await
        {
            Ok(ended) => ended,
            Err(error) => return self.failed(&error).await,
        };
        let Ended { provider: _, title, account, label, how } = ended;
        let name = called(&title, &account, label.as_deref());
        let page = match why_it_may_stand(&how) {
            _ if how == Disconnected::Pasted => {
                let line = format!(
                    "The key is deleted here. It still works at {title}; delete it there too."
                );
                let heading = format!("{name} is disconnected");
                Page::new(StatusCode::OK, PageKind::Neutral, heading, vec![line])
            }
            None => {
                let lines =
                    vec![format!("{title} has ended the access, and nothing is kept here.")];
                Page::new(
                    StatusCode::OK,
                    PageKind::Neutral,
                    format!("{name} is disconnected"),
                    lines,
                )
            }
            Some(why) => {
                let lines = vec![
                    format!(
                        "Nothing is kept here any more. Your consent at {title} may still be active: {why}."
                    ),
                    format!("Remove the app in your {title} settings as well."),
                ];
                let heading = format!("{name} is forgotten here");
                Page::new(StatusCode::OK, PageKind::Neutral, heading, lines)
            }
        };
        page.next(PATH, "Back to your accounts").into_response()
    }

    async fn failed(&self, error: &ConnectError) -> Response {
        match error {
            ConnectError::Changed | ConnectError::Unknown => {
                let problem =
                    "This page was out of date, so nothing was done. Check it and try again.";
                self.page(Some(problem)).await
            }
            error => self.refused(error),
        }
    }

    fn refused(&self, error: &ConnectError) -> Response {
        let is_local = self.person.principal.is_local();
        let reader = if is_local { Reader::Operator } else { Reader::Anybody };
        error::link(error, reader).next(PATH, "Back to your accounts").into_response()
    }
}
