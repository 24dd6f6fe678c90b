//! Layout shared by all pages: server-rendered, no script, one inline stylesheet.

use askama::Template;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};

use crate::model::text::shown;

pub(in crate::web) const STYLE: &str = include_str!("templates/page.css");

/// Characters shown of a name of a program or application; the rest is cut.
pub(super) const MAX_NAME_CHARS: usize = 60;
/// Characters shown of a scope; the rest is cut.
const MAX_SCOPE_CHARS: usize = 200;
/// Scopes that a page lists beside a line that unfolds more. If there are more, the page folds the
/// granted ones away, so that the buttons stay above the fold.
pub(super) const MAX_LISTED_SCOPES: usize = 5;

/// A page that reports an outcome, an error or a question.
#[derive(Template)]
#[template(path = "result.html")]
struct MessagePage {
    kind: PageKind,
    heading: String,
    lines: Vec<String>,
    /// The provider's own words.
    said: Option<String>,
    choices: Vec<Button>,
    digest: String,
    csrf: String,
    /// Address and label of the link to the next page.
    next: Option<(String, &'static str)>,
    incident: Option<String>,
}

/// A button: what it sends, and what it says.
struct Button {
    answer: &'static str,
    label: String,
    weight: ButtonStyle,
}

/// How strongly a button is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum ButtonStyle {
    /// The expected next step.
    Main,
    Plain,
    /// Ends an access.
    Danger,
    /// Ends an access, and is what the page is about.
    MainDanger,
}

impl ButtonStyle {
    fn class(self) -> Option<&'static str> {
        match self {
            Self::Main => Some("main"),
            Self::Plain => None,
            Self::Danger => Some("danger"),
            Self::MainDanger => Some("main danger"),
        }
    }
}

/// Kind of message on a page. Each has its own sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum PageKind {
    Good,
    /// Connected, but not for everything.
    Partial,
    /// Not connected, or not any more.
    Neutral,
    /// The page asks a question.
    Question,
    /// The user must continue in another program.
    OtherApp,
    Bad,
}

impl PageKind {
    pub(in crate::web) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Partial | Self::Neutral | Self::Question | Self::OtherApp => "neutral",
            Self::Bad => "bad",
        }
    }

    /// A symbol for the eye; words state the same.
    pub(in crate::web) fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Partial => "◐",
            Self::Neutral => "–",
            Self::Question => "?",
            Self::OtherApp => "→",
            Self::Bad => "!",
        }
    }

    fn role(self) -> &'static str {
        match self {
            Self::Good | Self::Partial | Self::Neutral | Self::Question | Self::OtherApp => {
                "status"
            }
            Self::Bad => "alert",
        }
    }
}

/// A page with its status.
pub(in crate::web) struct Page {
    status: StatusCode,
    content: MessagePage,
}

impl Page {
    pub(in crate::web) fn new(
        status: StatusCode,
        kind: PageKind,
        heading: impl Into<String>,
        lines: Vec<String>,
    ) -> Self {
        let content = MessagePage {
            kind,
            heading: heading.into(),
            lines,
            said: None,
            choices: Vec::new(),
            digest: String::new(),
            csrf: String::new(),
            next: None,
            incident: None,
        };
        Self { status, content }
    }

    pub(super) fn said(mut self, words: Option<&str>) -> Self {
        self.content.said = words.map(str::to_owned);
        self
    }

    /// Sets the digest of what the page shows and the form token, which the choices below send
    /// back.
    pub(in crate::web) fn with_form(mut self, digest: &str, csrf: String) -> Self {
        digest.clone_into(&mut self.content.digest);
        self.content.csrf = csrf;
        self
    }

    /// Adds a paragraph.
    pub(super) fn line(mut self, line: String) -> Self {
        self.content.lines.push(line);
        self
    }

    pub(super) fn choice(
        mut self,
        answer: &'static str,
        label: impl Into<String>,
        weight: ButtonStyle,
    ) -> Self {
        self.content.choices.push(Button { answer, label: label.into(), weight });
        self
    }

    pub(super) fn again(self, link: impl Into<String>) -> Self {
        self.next(link, "Try again")
    }

    pub(in crate::web) fn next(mut self, link: impl Into<String>, words: &'static str) -> Self {
        self.content.next = Some((link.into(), words));
        self
    }

    pub(in crate::web) fn incident(mut self, id: impl Into<String>) -> Self {
        self.content.incident = Some(id.into());
        self
    }
}

/// Splits a line into parts; `true` marks those between backticks, which are names of things.
pub(in crate::web) fn parts(line: &str) -> impl Iterator<Item = (bool, &str)> {
    line.split('`').enumerate().map(|(at, part)| (at % 2 == 1, part))
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        html(self.status, &self.content)
    }
}

/// Redirects the browser to this address (303).
pub(in crate::web) fn see_other(to: &str) -> Response {
    match HeaderValue::try_from(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(in crate::web) fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(body) => (status, Html(body)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A scope and, if known, its meaning.
pub(super) type ScopeLine = (String, Option<String>);

/// A scope and, if the catalogue knows it, its meaning. An API may have named the scope, in the
/// challenge of a refusal.
pub(super) fn scope_line(scope: &str, words: Option<&str>) -> ScopeLine {
    (shown(scope, MAX_SCOPE_CHARS), words.map(str::to_owned))
}
