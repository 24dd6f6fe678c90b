//! Pages of a connect link, by the state of the link.

#[cfg(test)]
mod earlier_reasons;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::broker::consent::visit::{Invitation, PasteWhat, Proof};
use crate::model::authorization::Status;
use crate::model::reason::{ConsentFailure, LinkProblem, RevocationResult};
use crate::model::requester::{ClientName, Requesters};
use crate::model::retention::Retention;
use crate::model::text::{quoted, shown};
use crate::model::time::{date, utc};
use crate::model::{Time, ToolName};
use crate::web::pages::error::gone;
use crate::web::pages::layout::{
    ButtonStyle, MAX_LISTED_SCOPES, MAX_NAME_CHARS, Page, PageKind, ScopeLine, html, parts,
    scope_line,
};

/// Tools that a page names; it counts the others.
const MAX_LISTED_TOOLS: usize = 8;

/// The page that asks the user to connect. Opening it changes nothing.
#[derive(Template)]
#[template(path = "connect.html")]
struct Connect {
    title: String,
    initial: char,
    asker: Asker,
    tools: Vec<String>,
    more_tools: usize,
    /// Whether calls may use the access while the user is away.
    away: bool,
    later: Vec<LaterLine>,
    /// The application that gets the access token itself.
    hands_out_to: Option<String>,
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
    /// See [`crate::web::pages::csrf`].
    csrf: String,
    has_changed: bool,
    problem: Option<String>,
    paste: Option<PasteForm>,
    account: Option<String>,
    /// How long the access is kept, if not until further notice.
    until_when: Option<&'static str>,
}

/// A call that is to run while the user is away.
struct LaterLine {
    tool: String,
    /// `15 January 2027, 08:10 UTC`
    when: String,
    /// For programs.
    at: String,
}

impl LaterLine {
    fn of((tool, run_at): &(ToolName, Time)) -> Self {
        Self { tool: tool.to_string(), when: date(*run_at), at: utc(*run_at) }
    }
}

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

/// Notice above a page that is shown once more.
pub(super) enum Notice {
    None,
    /// The user clicked on a page whose content has changed since.
    SinceTheClick,
    /// Why the pasted secret was not kept.
    Problem(String),
}

/// The page of a connect link, in each status of the link. `csrf` is for its form; `application` is
/// the name of the application whose user opens it.
pub(super) fn link_page(
    invitation: &Invitation,
    csrf: String,
    notice: Notice,
    application: Option<&str>,
) -> Response {
    match &invitation.status {
        Status::Pending | Status::OtherAccount { .. } if invitation.is_expired => {
            gone(application).into_response()
        }
        Status::Pending => html(StatusCode::OK, &connect(invitation, csrf, notice)),
        Status::OtherAccount { before, now } => other_account(invitation, csrf, before, now),
        Status::Completed if invitation.refused.is_empty() => connected(invitation, csrf),
        Status::Completed => partly_connected(invitation, csrf),
        Status::Failed(why) => not_connected(invitation, why),
        Status::PreviousAccountKept(before) => Page::new(
            StatusCode::OK,
            PageKind::Good,
            format!("You stay with {before}"),
            vec!["Nothing has changed. You can close this page and go back.".into()],
        )
        .into_response(),
        Status::Undone(result) => disconnected(&invitation.title, result),
    }
}

/// Asks whether the user meant to switch to another account of the provider.
fn other_account(invitation: &Invitation, csrf: String, before: &str, now: &str) -> Response {
    let heading = format!("This is another {} account than before", invitation.title);
    let lines = vec![
        format!("Until now {before} was connected. You have just signed in as {now}."),
        "Nothing has changed yet. If this browser was only signed in with another account there, keep the one from before.".into(),
    ];
    Page::new(StatusCode::OK, PageKind::Question, heading, lines)
        .with_form(&invitation.digest, csrf)
        .choice("confirm", format!("Switch to {now}"), ButtonStyle::Main)
        .choice("keep", format!("Keep {before}"), ButtonStyle::Plain)
        .into_response()
}

fn connected(invitation: &Invitation, csrf: String) -> Response {
    let title = &invitation.title;
    let heading = match &invitation.connected_as {
        Some(account) => format!("{title} is connected as {account}"),
        None => format!("{title} is connected"),
    };
    let mut lines = vec![kept(invitation), go_back(invitation)];
    if !invitation.spared.is_empty() {
        lines.push(format!("Not granted: {}.", invitation.spared.join(", ")));
    }
    lines.extend(invitation.ends.clone());
    undoable(Page::new(StatusCode::OK, PageKind::Good, heading, lines), invitation, csrf)
}

fn partly_connected(invitation: &Invitation, csrf: String) -> Response {
    let heading = format!("{} is connected, but not for everything", invitation.title);
    let missing = [&*invitation.refused, &*invitation.spared].concat().join(", ");
    let mut lines = vec![
        format!("Not granted: {missing}."),
        format!(
            "{} Tools that need more will not work until you grant it: go back and call the tool again to be asked once more.",
            kept(invitation)
        ),
    ];
    lines.extend(invitation.ends.clone());
    undoable(Page::new(StatusCode::OK, PageKind::Partial, heading, lines), invitation, csrf)
}

fn not_connected(invitation: &Invitation, why: &ConsentFailure) -> Response {
    let title = &invitation.title;
    let lines = vec![
        failure(title, why),
        "Nothing was kept, and what was connected before stays as it was. If you change your mind, go back and ask again.".into(),
    ];
    Page::new(StatusCode::OK, PageKind::Neutral, format!("{title} was not connected"), lines)
        .said(invitation.said.as_deref())
        .into_response()
}

fn disconnected(title: &str, result: &RevocationResult) -> Response {
    let lines = vec![
        end_at_provider(title, result),
        "If you change your mind, go back and ask again.".into(),
    ];
    Page::new(StatusCode::OK, PageKind::Neutral, format!("{title} is disconnected"), lines)
        .into_response()
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

fn connect(invitation: &Invitation, csrf: String, notice: Notice) -> Connect {
    let line = |(scope, words): &(String, Option<String>)| scope_line(scope, words.as_deref());
    let mut scopes: Vec<ScopeLine> = invitation.scopes.iter().map(line).collect();
    let mut granted: Vec<ScopeLine> = invitation.granted.iter().map(line).collect();
    // Folds no new scope away: a program could push it out of sight with harmless names. A single
    // granted scope takes no more room than the line that unfolds it.
    let is_short = scopes.len() + granted.len() <= MAX_LISTED_SCOPES + 1;
    if is_short || granted.len() == 1 {
        scopes.append(&mut granted);
        scopes.sort();
    }
    Connect {
        title: invitation.title.clone(),
        initial: invitation.title.chars().next().unwrap_or('·'),
        asker: asker(invitation),
        tools: invitation.tools.iter().take(MAX_LISTED_TOOLS).map(ToString::to_string).collect(),
        more_tools: invitation.tools.len().saturating_sub(MAX_LISTED_TOOLS),
        away: invitation.away,
        later: invitation.later.iter().map(LaterLine::of).collect(),
        hands_out_to: invitation.hands_out_to.clone(),
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
        has_changed: matches!(notice, Notice::SinceTheClick),
        problem: match notice {
            Notice::Problem(problem) => Some(problem),
            Notice::None | Notice::SinceTheClick => {
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
        page = page.with_form(&invitation.digest, csrf).choice(
            "disconnect",
            "Disconnect",
            ButtonStyle::Danger,
        );
    } else {
        let account = invitation.account.as_ref().map(|name| format!("--account={name}"));
        let account = account.map(|option| format!(" {}", quoted(&option))).unwrap_or_default();
        let user = invitation.user_option.as_ref().map(|option| format!(" {option}"));
        let (provider, user) = (&invitation.provider, user.unwrap_or_default());
        page = page.line(format!(
            "To disconnect it, run `countersign auth revoke {provider}{account}{user}` in a terminal."
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
        let name = shown(name.as_str(), MAX_NAME_CHARS);
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
