//! Says which consent is needed, and how it ended.

use std::fmt::Write as _;

use crate::model::authorization::MAX_REFUSALS_PER_HOUR;
use crate::model::text::quoted;
use crate::model::unasked_place::UnaskedPlace;
use crate::model::{ConnectPrompt, PromptReason, Refused};

/// Says which consent is needed and why, without the link.
pub fn consent_needed(prompt: &ConnectPrompt) -> String {
    let title = &prompt.title;
    let account = match &prompt.account {
        account if account.is_default() => String::new(),
        account => format!(" for the account `{account}`"),
    };
    let what = match &prompt.tool {
        Some(tool) => format!("{title} access{account} is needed before {tool} can run."),
        None => format!("{title} access{account} is needed."),
    };
    let mut text = match prompt.reason {
        PromptReason::NotConnected => what,
        PromptReason::MoreScopes => {
            format!("{what} {title} is connected, but not yet for this.")
        }
        PromptReason::NotGranted => {
            format!("{what} {title} is connected, but this was not granted: {}.", prompt.scopes)
        }
        PromptReason::WhileAway => {
            format!("{what} {title} is connected, but not for calls while the user is away.")
        }
        PromptReason::ForToken => format!(
            "{what} {title} is connected, but the user has not agreed that the application gets the access token itself."
        ),
        PromptReason::NotRenewed => format!(
            "{what} {title} does not renew the earlier consent and gives no reason, so a new one is needed; the earlier one is kept until then."
        ),
        PromptReason::Ended => match &prompt.ended {
            Some(why) => format!(
                "{what} The earlier consent has ended, so it must be given again. It {why}."
            ),
            None => format!("{what} The earlier consent has ended, so it must be given again."),
        },
    };
    text.push_str(&details(prompt));
    text
}

/// Says what the link asks for, and what else the user must know of it; empty, or begins with a
/// space.
pub(super) fn details(prompt: &ConnectPrompt) -> String {
    let mut text = String::new();
    if !prompt.scopes.is_empty() {
        let _ = write!(text, " Asked for: {}.", asked_for(prompt));
    }
    if !prompt.connected.is_empty() {
        let _ =
            write!(text, " Accounts that are connected already: {}.", prompt.connected.join(", "));
    }
    if let Some(notice) = &prompt.notice {
        let _ = write!(text, " Note: {notice}.");
    }
    if prompt.ends_with_server {
        let _ = write!(
            text,
            " The link works only while this server runs. If it has stopped, the user can run `{}` in a terminal instead.",
            login_command(prompt)
        );
    }
    text
}

/// Returns the command that connects the account without a host.
fn login_command(ConnectPrompt { provider, account, unasked_place, .. }: &ConnectPrompt) -> String {
    let mut command = format!("countersign auth login {provider}");
    if !account.is_default() {
        // Joined by `=`, since a name may begin with a dash.
        let _ = write!(command, " {}", quoted(&format!("--account={account}")));
    }
    if let UnaskedPlace::Command { user: Some(user) } = unasked_place {
        let _ = write!(command, " {user}");
    }
    command
}

/// Names the command or the page by which a user connects an account of their own accord.
pub(super) fn place(place: &UnaskedPlace) -> String {
    match place {
        UnaskedPlace::ConnectionsPage => "on this server's page /connections".into(),
        UnaskedPlace::Command { user } => {
            let user = user.as_ref().map(|user| format!(" {user}")).unwrap_or_default();
            format!("with Countersign's command `auth login{user}`")
        }
    }
}

fn asked_for(prompt: &ConnectPrompt) -> String {
    if prompt.scope_words.is_empty() {
        return prompt.scopes.join(", ");
    }
    format!("{} ({})", prompt.scope_words.join("; "), prompt.scopes.join(", "))
}

/// Returns what the user has to do on the page that the link leads to.
pub fn how_to_connect(prompt: &ConnectPrompt) -> &'static str {
    if prompt.is_pasted() {
        "paste their own key or password there (never in this chat)"
    } else {
        "approve"
    }
}

/// Says that the user has refused more than once; a tool that keeps asking wears users down.
pub fn consent_refused(refused: &Refused) -> String {
    let Refused { title, provider, tool, account, .. } = refused;
    let account = match account {
        account if account.is_default() => String::new(),
        account => format!(" for the account `{account}`"),
    };
    format!(
        "{title} access{account} is needed before {tool} can run, but the user has refused it {MAX_REFUSALS_PER_HOUR} times within the last hour, so they are not asked again. Do not call this tool again unless the user wants to. A user who changes their mind can connect `{provider}` {}, or wait until the hour is over.",
        place(&refused.unasked_place)
    )
}
