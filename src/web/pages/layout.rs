//! The pages: server-rendered, no script, one inline stylesheet.

#[cfg(test)]
mod earlier_reasons;

use askama::Template;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};

use crate::broker::consent::visit::{Invitation, PasteWhat, Proof};
use crate::model::authorization::Status;
use crate::model::reason::{ConsentFailure, LinkProblem, RevocationResult};
use crate::model::requester::{ClientName, Requesters};
use crate::model::retention::Retention;
use crate::model::text::{quoted, shown};
use crate::model::time::utc;

pub(in crate::web) const STYLE: &str = include_str!("templates/page.css");

/// Characters shown of the name that a program gives itself.
const LONGEST_NAME: usize = 60;
/// Characters shown of a scope.
const LONGEST_SCOPE: usize = 200;
/// Tools that a page names; it counts the others.
const MOST_TOOLS: usize = 8;
/// Scopes that a page lists beside a line that unfolds more. If there are more, the page folds the
/// granted ones away, so that the buttons stay above the fold.
pub(in crate::web) const SCOPES_SHOWN: usize = 5;

/// The page that asks the user to connect. Opening it changes nothing.
#[derive(Template)]
#[template(path = "connect.html")]
struct Connect {
    title: String,
    initial: char,
    asker: Asker,
    tools: Vec<String>,
    more_tools: usize,
    /// Includes every scope that is not granted yet.
    scopes: Vec<ScopeLine>,
    /// Granted before, and folded away.
    granted: Vec<ScopeLine>,
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
    /// How long the access is kept, if not until further notice.
    until_when: Option<&'static str>,
}

/// A scope and, if known, its meaning.
pub(in crate::web) type ScopeLine = (String, Option<String>);

/// The requesters that the page names.
enum Asker {
    /// The user who reads the page started this outside any call.
    Oneself,
    /// Every program that has asked. The names are the programs' own claims.
    Programs {
        names: Vec<String>,
        has_unnamed: bool,
        /// More programs have asked than are recorded.
        has_more: bool,
        /// The user has started it as well.
        has_user: bool,
    },
}

/// The form for a key or password.
struct PasteForm {
    words: String,
    label: &'static str,
    /// [`Self::label`] inside a sentence.
    noun: &'static str,
    wants_user: bool,
}

/// A page that reports an outcome, an error or a question.
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
    /// Address and label of the link to the next page.
    next: Option<(String, &'static str)>,
    incident: Option<String>,
}

/// A button: what it sends, and what it says.
struct Choice {
    answer: &'static str,
    label: String,
    weight: Weight,
}

/// How strongly a button is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Weight {
    /// The expected next step.
    Main,
    Plain,
    /// Ends an access.
    Danger,
    /// Ends an access, and is what the page is about.
    MainDanger,
}

impl Weight {
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
pub(in crate::web) enum Kind {
    Good,
    /// Connected, but not for everything.
    Partial,
    /// Not connected, or not any more.
    Neutral,
    /// The page asks a question.
    Question,
    /// The user must continue in another program.
    Elsewhere,
    Bad,
}

impl Kind {
    pub(in crate::web) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Partial | Self::Neutral | Self::Question | Self::Elsewhere => "neutral",
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
            Self::Elsewhere => "→",
            Self::Bad => "!",
        }
    }

    fn role(self) -> &'static str {
        match self {
            Self::Good | Self::Partial | Self::Neutral | Self::Question | Self::Elsewhere => {
                "status"
            }
            Self::Bad => "alert",
        }
    }
}

/// A page with its status.
pub(in crate::web) struct Page {
    status: StatusCode,
    ended: Ended,
}

impl Page {
    pub(in crate::web) fn new(
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

    /// Sets the digest of what the page shows and the form token, which the choices below send
    /// back.
    pub(in crate::web) fn of(mut self, digest: &str, csrf: String) -> Self {
        digest.clone_into(&mut self.ended.digest);
        self.ended.csrf = csrf;
        self
    }

    pub(in crate::web) fn choice(
        mut self,
        answer: &'static str,
        label: impl Into<String>,
        weight: Weight,
    ) -> Self {
        self.ended.choices.push(Choice { answer, label: label.into(), weight });
        self
    }

    pub(in crate::web) fn again(self, link: impl Into<String>) -> Self {
        self.next(link, "Try again")
    }

    pub(in crate::web) fn next(mut self, link: impl Into<String>, words: &'static str) -> Self {
        self.ended.next = Some((link.into(), words));
        self
    }

    pub(in crate::web) fn incident(mut self, id: impl Into<String>) -> Self {
        self.ended.incident = Some(id.into());
        self
    }
}

/// Splits a line into parts; `true` marks those between backticks, which are names of things.
pub(in crate::web) fn parts(line: &str) -> impl Iterator<Item = (bool, &str)> {
    line.split('`').enumerate().map(|(at, part)| (at % 2 == 1, part))
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        html(self.status, &self.ended)
    }
}

/// Notice above a page that is shown once more.
pub(in crate::web) enum Change {
    None,
    /// The user clicked on a page whose content has changed since.
    SinceTheClick,
    /// Why the pasted secret was not kept.
    Problem(String),
}

/// The page of a connect link, in each status of the link. `csrf` is for its form; `application` is
/// the name of the application whose user opens it.
pub(in crate::web) fn invitation(
    invitation: &Invitation,
    csrf: String,
    change: Change,
    application: Option<&str>,
) -> Response {
    let title = &invitation.title;
    match &invitation.status {
        Status::Pending | Status::OtherAccount { .. } if invitation.is_expired => {
            gone(application).into_response()
        }
        Status::Pending => html(StatusCode::OK, &connect(invitation, csrf, change)),
        Status::OtherAccount { before, now } => Page::new(
            StatusCode::OK,
            Kind::Question,
            format!("This is another {title} account than before"),
            vec![
                format!("Until now {before} was connected. You have just signed in as {now}."),
                "Nothing has changed yet. If this browser was only signed in with another account there, keep the one from before.".into(),
            ],
        )
        .of(&invitation.digest, csrf)
        .choice("confirm", format!("Switch to {now}"), Weight::Main)
        .choice("keep", format!("Keep {before}"), Weight::Plain)
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
            undoable(Page::new(StatusCode::OK, Kind::Partial, heading, lines), invitation, csrf)
        }
        Status::Failed(why) => Page::new(
            StatusCode::OK,
            Kind::Neutral,
            format!("{title} was not connected"),
            vec![
                failure(title, why),
                "Nothing was kept, and what was connected before stays as it was. If you change your mind, go back and ask again.".into(),
            ],
        )
        .said(invitation.said.as_deref())
        .into_response(),
        Status::Stayed(before) => Page::new(
            StatusCode::OK,
            Kind::Good,
            format!("You stay with {before}"),
            vec!["Nothing has changed. You can close this page and go back.".into()],
        )
        .into_response(),
        Status::Undone(result) => Page::new(
            StatusCode::OK,
            Kind::Neutral,
            format!("{title} is disconnected"),
            vec![end_at_provider(title, result), "If you change your mind, go back and ask again.".into()],
        )
        .into_response(),
    }
}

/// Why nothing was connected, for the user who reads the page. `title` is the provider's.
fn failure(title: &str, why: &ConsentFailure) -> String {
    match why {
        ConsentFailure::Declined => "You said no.".into(),
        ConsentFailure::DeclinedAtProvider => "You said no at the provider.".into(),
        ConsentFailure::ProviderError { code } => format!("The provider answered: {code}."),
        ConsentFailure::ClientRefused { code } => {
            let code = code.as_ref().map(|code| format!(" (`{code}`)")).unwrap_or_default();
            format!(
                "{title} does not accept this server's app{code}. The operator of this server must check the app's client_id, client_secret and redirect URI at {title}."
            )
        }
        ConsentFailure::Other(sentence) => sentence.clone(),
    }
}

/// Why the user has to try again. `title` is the provider's.
fn problem(title: &str, why: &LinkProblem) -> String {
    match why {
        LinkProblem::NoToken { error, incident } => format!(
            "{title} handed out no token: {error} (incident `{incident}`). Nothing was connected, and nothing is wrong with what you did. Try again."
        ),
        LinkProblem::Other(sentence) => sentence.clone(),
    }
}

/// Result of a disconnection at the provider, and what the user must do there.
fn end_at_provider(title: &str, result: &RevocationResult) -> String {
    match result {
        RevocationResult::Revoked => format!("{title} has ended the access."),
        RevocationResult::NoRevocation => format!(
            "It is forgotten here. {title} has no way for us to end the access there: remove it in your account's settings."
        ),
        RevocationResult::NotConfirmed | RevocationResult::Unreachable => format!(
            "It is forgotten here, but {title} did not confirm the end of the access: look into your account's settings there."
        ),
        RevocationResult::Pasted => format!(
            "What you pasted is deleted here. It still works at {title}; delete it there too."
        ),
        RevocationResult::Other(sentence) => sentence.clone(),
    }
}

fn connect(invitation: &Invitation, csrf: String, change: Change) -> Connect {
    let line = |(scope, words): &(String, Option<String>)| scope_line(scope, words.as_deref());
    let mut scopes: Vec<ScopeLine> = invitation.scopes.iter().map(line).collect();
    let mut granted: Vec<ScopeLine> = invitation.granted.iter().map(line).collect();
    // Folds no new scope away: a program could push it out of sight with harmless names. A single
    // granted scope takes no more room than the line that unfolds it.
    let is_short = scopes.len() + granted.len() <= SCOPES_SHOWN + 1;
    if is_short || granted.len() == 1 {
        scopes.append(&mut granted);
        scopes.sort();
    }
    Connect {
        title: invitation.title.clone(),
        initial: invitation.title.chars().next().unwrap_or('·'),
        asker: asker(invitation),
        tools: invitation.tools.iter().take(MOST_TOOLS).map(ToString::to_string).collect(),
        more_tools: invitation.tools.len().saturating_sub(MOST_TOOLS),
        scopes,
        granted,
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
            Change::None | Change::SinceTheClick => {
                invitation.problem.as_ref().map(|why| problem(&invitation.title, why))
            }
        },
        paste: invitation.paste.clone().map(|paste| PasteForm {
            words: paste.words,
            label: match paste.what {
                PasteWhat::Key => "Key",
                PasteWhat::Password | PasteWhat::UserAndPassword => "Password",
            },
            noun: match paste.what {
                PasteWhat::Key => "key",
                PasteWhat::Password | PasteWhat::UserAndPassword => "password",
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

/// Adds a way to disconnect again: a button, or a command if the process that shows the page ends
/// before the person has read it.
fn undoable(mut page: Page, invitation: &Invitation, csrf: String) -> Response {
    if invitation.can_undo {
        page = page.of(&invitation.digest, csrf).choice("disconnect", "Disconnect", Weight::Danger);
    } else {
        let account = invitation.account.as_ref().map(|name| format!("--account={name}"));
        let account = account.map(|option| format!(" {}", quoted(&option))).unwrap_or_default();
        let provider = &invitation.provider;
        page.ended.lines.push(format!(
            "To disconnect it, run `countersign auth revoke {provider}{account}` in a terminal."
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

/// Whether the client calls itself Claude Code, which does not act on
/// `notifications/elicitation/complete` and whose dialog waits for a click.
fn waits_for_a_click(invitation: &Invitation) -> bool {
    let is_it = |name: &ClientName| {
        let letters = name.as_str().chars().filter(char::is_ascii_alphanumeric);
        letters.map(|letter| letter.to_ascii_lowercase()).collect::<String>() == "claudecode"
    };
    invitation.requesters.names.iter().any(is_it)
}

fn asker(invitation: &Invitation) -> Asker {
    let Requesters { names, has_unnamed, has_more, has_user } = &invitation.requesters;
    let mut shown_names: Vec<String> = Vec::new();
    let mut has_unnamed = *has_unnamed;
    for name in names {
        let name = shown(name.as_str(), LONGEST_NAME);
        if name.trim().is_empty() {
            has_unnamed = true;
        } else if !shown_names.contains(&name) {
            shown_names.push(name);
        }
    }
    if shown_names.is_empty() && invitation.tools.is_empty() {
        return Asker::Oneself;
    }
    let (has_more, has_user) = (*has_more, *has_user);
    Asker::Programs { names: shown_names, has_unnamed, has_more, has_user }
}

/// A scope and, if the catalogue knows it, its meaning. An API may have named the scope, in the
/// challenge of a refusal.
pub(in crate::web) fn scope_line(scope: &str, words: Option<&str>) -> ScopeLine {
    (shown(scope, LONGEST_SCOPE), words.map(str::to_owned))
}

/// One page for unknown, expired and replaced links, which are not told apart. `application`: the
/// application that the user came from.
pub(in crate::web) fn gone(application: Option<&str>) -> Page {
    let back = match application {
        Some(name) => format!("Go back to {} and ask again", shown(name, LONGEST_NAME)),
        None => "Go back to where you got it and ask again".into(),
    };
    Page::new(
        StatusCode::GONE,
        Kind::Bad,
        "This link no longer works",
        vec![
            "It was used, replaced by a newer one, or its 15 minutes are over.".into(),
            format!("Nothing was changed by opening it. {back}; you will get a new link."),
        ],
    )
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
