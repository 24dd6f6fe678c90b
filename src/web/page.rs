//! The pages: server-rendered, no script, one inline stylesheet.

use askama::Template;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};

use crate::broker::invitation::{Invitation, PasteWhat, Proof};
use crate::model::authorization::Status;
use crate::model::credential::Retention;
use crate::model::text::{quoted, shown};
use crate::model::time::utc;

pub(super) const STYLE: &str = include_str!("templates/page.css");

/// Of a name that a program gives itself.
const LONGEST_NAME: usize = 60;
const LONGEST_SCOPE: usize = 200;
/// Tools that are named one by one.
const MOST_TOOLS: usize = 8;

/// Asks the person. Opening it changes nothing.
#[derive(Template)]
#[template(path = "connect.html")]
struct Connect {
    title: String,
    initial: char,
    asker: Asker,
    tools: Vec<String>,
    more_tools: usize,
    scopes: Vec<(String, Option<String>)>,
    user: String,
    proof: Proof,
    hosts: Vec<String>,
    after: Option<String>,
    until: String,
    minutes: u64,
    digest: String,
    /// See [`super::csrf`].
    csrf: String,
    has_changed: bool,
    problem: Option<String>,
    paste: Option<PasteForm>,
    account: Option<String>,
    /// How long it is kept, if not until further notice.
    until_when: Option<&'static str>,
}

/// On whose behalf the page asks.
enum Asker {
    /// Whoever reads it began this outside any call.
    Oneself,
    /// Which says that this is its name.
    Program(Option<String>),
}

/// What is to be pasted.
struct PasteForm {
    words: String,
    label: &'static str,
    wants_user: bool,
}

/// Says how it ended.
#[derive(Template)]
#[template(path = "result.html")]
struct Ended {
    kind: Kind,
    heading: String,
    lines: Vec<String>,
    /// The provider's own words.
    said: Option<String>,
    choices: Vec<Choice>,
    digest: String,
    csrf: String,
    /// Where to go on, and what that is called.
    next: Option<(String, &'static str)>,
    incident: Option<String>,
}

/// A button: what it sends, and what it says.
struct Choice {
    answer: &'static str,
    label: String,
    is_main: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Good,
    Neutral,
    /// It asks for something.
    Question,
    Bad,
}

impl Kind {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Neutral | Self::Question => "neutral",
            Self::Bad => "bad",
        }
    }

    /// State is told in words as well; the sign is for the eye.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Neutral => "–",
            Self::Question => "?",
            Self::Bad => "!",
        }
    }

    fn role(self) -> &'static str {
        match self {
            Self::Good | Self::Neutral | Self::Question => "status",
            Self::Bad => "alert",
        }
    }
}

/// A page about to be sent.
pub(super) struct Page {
    status: StatusCode,
    ended: Ended,
}

impl Page {
    pub(super) fn new(
        status: StatusCode,
        kind: Kind,
        heading: impl Into<String>,
        lines: Vec<String>,
    ) -> Self {
        let ended = Ended {
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
        Self { status, ended }
    }

    fn said(mut self, words: Option<&str>) -> Self {
        self.ended.said = words.map(str::to_owned);
        self
    }

    /// The page that the choices below are made on.
    pub(super) fn of(mut self, digest: &str, csrf: String) -> Self {
        digest.clone_into(&mut self.ended.digest);
        self.ended.csrf = csrf;
        self
    }

    pub(super) fn choice(
        mut self,
        answer: &'static str,
        label: impl Into<String>,
        is_main: bool,
    ) -> Self {
        self.ended.choices.push(Choice { answer, label: label.into(), is_main });
        self
    }

    pub(super) fn again(self, link: impl Into<String>) -> Self {
        self.next(link, "Try again")
    }

    pub(super) fn next(mut self, link: impl Into<String>, words: &'static str) -> Self {
        self.ended.next = Some((link.into(), words));
        self
    }

    pub(super) fn incident(mut self, id: impl Into<String>) -> Self {
        self.ended.incident = Some(id.into());
        self
    }
}

/// A line in parts; those between backticks are names of things, and true.
fn parts(line: &str) -> impl Iterator<Item = (bool, &str)> {
    line.split('`').enumerate().map(|(at, part)| (at % 2 == 1, part))
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        html(self.status, &self.ended)
    }
}

/// What is said above a page that is shown once more.
pub(super) enum Change {
    None,
    /// A click was made on a page that said something else than this one.
    SinceTheClick,
    /// What was pasted was not kept; why.
    Problem(String),
}

/// The page behind a connect link, whatever has become of it. `csrf` is for its form.
pub(super) fn invitation(invitation: &Invitation, csrf: String, change: Change) -> Response {
    let title = &invitation.title;
    match &invitation.status {
        Status::Pending | Status::OtherAccount { .. } if invitation.is_expired => {
            gone().into_response()
        }
        Status::Pending => html(StatusCode::OK, &connect(invitation, csrf, change)),
        Status::OtherAccount { before, now } => Page::new(
            StatusCode::OK,
            Kind::Question,
            format!("This is another {title} account than before"),
            vec![
                format!("Until now {before} was connected. You have just signed in as {now}."),
                "Nothing has changed yet. If this browser was merely signed in as somebody else, keep the one from before.".into(),
            ],
        )
        .of(&invitation.digest, csrf)
        .choice("confirm", format!("Switch to {now}"), true)
        .choice("keep", format!("Keep {before}"), false)
        .into_response(),
        Status::Completed if invitation.refused.is_empty() => {
            let heading = match &invitation.connected_as {
                Some(account) => format!("{title} is connected as {account}"),
                None => format!("{title} is connected"),
            };
            let mut lines = vec![kept(invitation), go_back(invitation)];
            if !invitation.spared.is_empty() {
                lines.push(format!("Not granted: {}.", invitation.spared.join(", ")));
            }
            lines.extend(invitation.ends.clone());
            undoable(Page::new(StatusCode::OK, Kind::Good, heading, lines), invitation, csrf)
        }
        Status::Completed => {
            let mut lines = vec![
                format!("Not granted: {}.", [&*invitation.refused, &*invitation.spared].concat().join(", ")),
                format!("{} Tools that need more will not work until you grant it: go back and call the tool again to be asked once more.", kept(invitation)),
            ];
            lines.extend(invitation.ends.clone());
            let heading = format!("{title} is connected, but not for everything");
            undoable(Page::new(StatusCode::OK, Kind::Neutral, heading, lines), invitation, csrf)
        }
        Status::Failed(why) => Page::new(
            StatusCode::OK,
            Kind::Neutral,
            format!("{title} was not connected"),
            vec![
                why.clone(),
                "Nothing was kept, and what was connected before stays as it was. If you change your mind, go back and ask again.".into(),
            ],
        )
        .said(invitation.said.as_deref())
        .into_response(),
        Status::Stayed(before) => Page::new(
            StatusCode::OK,
            Kind::Neutral,
            format!("You stay with {before}"),
            vec!["Nothing has changed. You can close this page and go back.".into()],
        )
        .into_response(),
        Status::Undone(how) => Page::new(
            StatusCode::OK,
            Kind::Neutral,
            format!("{title} is disconnected"),
            vec![how.clone(), "If you change your mind, go back and ask again.".into()],
        )
        .into_response(),
    }
}

fn connect(invitation: &Invitation, csrf: String, change: Change) -> Connect {
    Connect {
        title: invitation.title.clone(),
        initial: invitation.title.chars().next().unwrap_or('·'),
        asker: asker(invitation),
        tools: invitation.tools.iter().take(MOST_TOOLS).map(ToString::to_string).collect(),
        more_tools: invitation.tools.len().saturating_sub(MOST_TOOLS),
        scopes: invitation
            .scopes
            .iter()
            .map(|(scope, words)| scope_line(scope, words.as_ref()))
            .collect(),
        user: invitation.user.clone(),
        proof: invitation.proof.clone(),
        hosts: invitation.hosts.clone(),
        after: invitation.after.clone(),
        until: utc(invitation.expires_at),
        minutes: invitation.lives_minutes,
        digest: invitation.digest.clone(),
        csrf,
        has_changed: matches!(change, Change::SinceTheClick),
        problem: match change {
            Change::Problem(problem) => Some(problem),
            Change::None | Change::SinceTheClick => invitation.problem.clone(),
        },
        paste: invitation.paste.clone().map(|paste| PasteForm {
            words: paste.words,
            label: match paste.what {
                PasteWhat::Key => "Key",
                PasteWhat::Password | PasteWhat::UserAndPassword => "Password",
            },
            wants_user: paste.what == PasteWhat::UserAndPassword,
        }),
        account: invitation.account.clone(),
        until_when: match invitation.retention {
            Retention::Refresh => None,
            Retention::NoRefresh => Some("until the access runs out"),
            Retention::UseOnce => Some("for one call"),
        },
    }
}

fn kept(invitation: &Invitation) -> String {
    let place = match invitation.proof {
        Proof::SameMachine => "on this computer",
        Proof::SignedIn | Proof::Application(_) => "on this server",
    };
    let whose = match &*invitation.user {
        "default" => String::new(),
        user => format!(", for {user}"),
    };
    format!("The access is kept {place}, encrypted{whose}.")
}

/// The page with a way to disconnect again: here, or by a command where the process that shows the page
/// ends before the person has read it.
fn undoable(mut page: Page, invitation: &Invitation, csrf: String) -> Response {
    if invitation.can_undo {
        page = page.of(&invitation.digest, csrf).choice("disconnect", "Disconnect again", false);
    } else {
        let account = invitation.account.as_ref().map(|name| format!("--account={name}"));
        let account = account.map(|option| format!(" {}", quoted(&option))).unwrap_or_default();
        let provider = &invitation.provider;
        page.ended.lines.push(format!(
            "To disconnect it again, run `countersign auth revoke {provider}{account}` in a terminal."
        ));
    }
    page.into_response()
}

fn go_back(invitation: &Invitation) -> String {
    match &*invitation.tools {
        [] => "You can close this page.".into(),
        _ if waits_for_a_click(invitation) => {
            "You can close this page. Go back to Claude Code; if it still waits there, press Retry now.".into()
        }
        _ => "You can close this page and go back; the tool can go on now.".into(),
    }
}

/// Whether the client is Claude Code, by what it calls itself: it does not act on
/// `notifications/elicitation/complete`, and its dialog waits for a click.
fn waits_for_a_click(invitation: &Invitation) -> bool {
    let name = invitation.client.as_deref().unwrap_or_default();
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect::<String>() == "claudecode"
}

fn asker(invitation: &Invitation) -> Asker {
    let name = invitation.client.as_deref().map(|name| shown(name, LONGEST_NAME));
    match name.filter(|name| !name.trim().is_empty()) {
        None if invitation.tools.is_empty() => Asker::Oneself,
        name => Asker::Program(name),
    }
}

/// A scope and, where the catalogue knows, what it means. An API may name it, in the challenge of a
/// refusal.
pub(super) fn scope_line(scope: &str, words: Option<&String>) -> (String, Option<String>) {
    (shown(scope, LONGEST_SCOPE), words.cloned())
}

/// One page for unknown, expired and replaced links: telling them apart helps nobody honest.
pub(super) fn gone() -> Page {
    Page::new(
        StatusCode::GONE,
        Kind::Bad,
        "This link does not work any more",
        vec![
            "It was used, replaced by a newer one, or its 15 minutes are over.".into(),
            "Nothing was changed by opening it. Go back and ask again; you will get a new link."
                .into(),
        ],
    )
}

/// To where the browser goes on by itself.
pub(super) fn see_other(to: &str) -> Response {
    match HeaderValue::try_from(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

pub(super) fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(body) => (status, Html(body)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
