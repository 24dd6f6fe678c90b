//! Says which accounts are connected, and what tools still need: in words, and as data.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::consent::details;
use super::failure_text;
use crate::broker::accounts::list::{Account, AccountState};
use crate::broker::ready::connections::{Connections, UnknownName};
use crate::broker::ready::{ConsentState, ProviderConsent};
use crate::model::authorization::MAX_REFUSALS_PER_HOUR;
use crate::model::text::{label, sentence, shown};
use crate::model::time::utc;
use crate::model::{ConnectPrompt, PromptReason, ToolName};
use crate::registry::{UnknownTool, Unserved, to_serve};

/// Most characters of an account's label.
const MAX_LABEL_CHARS: usize = 200;

/// Returns the words: first the links, then the other needs, the accounts and the tools that can
/// run. `how_to_connect` is the sentence for needs that have no link because none was asked for.
pub fn connections_text(connections: &Connections, how_to_connect: &str) -> String {
    let Connections { accounts, needed, ready, unknown } = connections;
    let mut text = String::new();
    let links: Vec<(&ProviderConsent, &ConnectPrompt)> =
        needed.iter().filter_map(|consent| Some((consent, prompt(consent)?))).collect();
    if !links.is_empty() {
        text.push_str(
            "Ask the user to open each of these links in a browser and to follow its page:\n",
        );
        for (consent, prompt) in &links {
            let _ = writeln!(text, "- {}: {}\n  {}", prompt.title, prompt.url, message(consent));
        }
        let minutes = links.iter().map(|(_, prompt)| prompt.lives_minutes).min().unwrap_or(0);
        let plural = if minutes == 1 { "" } else { "s" };
        let _ = writeln!(
            text,
            "Links work for {minutes} minute{plural}. Give them to the user exactly as they are; do not open them yourself. A user who declines one can still use the tools of the others. Call this tool again with the same arguments to see what is connected by then.\n"
        );
    }
    let others: Vec<&ProviderConsent> =
        needed.iter().filter(|consent| prompt(consent).is_none()).collect();
    for consent in &others {
        let _ = writeln!(text, "{}", message(consent));
    }
    if others.iter().any(|consent| matches!(consent.state, ConsentState::Needed { .. })) {
        let _ = writeln!(text, "{how_to_connect}");
    }
    if !others.is_empty() {
        text.push('\n');
    }
    if accounts.is_empty() {
        text.push_str("The user has connected no account.\n");
    } else {
        text.push_str("Connected:\n");
        for connected in accounts {
            let _ = writeln!(text, "- {}", account(connected));
        }
    }
    if !ready.is_empty() {
        let _ = writeln!(text, "Ready to run: {}.", list(ready));
    }
    for unknown in unknown {
        let _ = writeln!(text, "There is no tool {}.{}", label(&unknown.name), meant(unknown));
    }
    text.trim_end().to_owned()
}

/// Says which tool is probably meant by a name; empty, or begins with a space.
fn meant(unknown: &UnknownName) -> String {
    match &unknown.meant {
        UnknownTool { shipped: Some(Unserved::ForOperator(tool)), .. } => {
            format!(" `{}` is {}.", tool.name, to_serve(tool))
        }
        UnknownTool { nearest: Some(near), .. } => format!(" Did you mean `{near}`?"),
        UnknownTool { nearest: None, .. } => String::new(),
    }
}

/// Returns the data, for the output schema of the tool `connections`.
pub fn connections_data(connections: &Connections) -> Value {
    let Connections { accounts, needed, ready, unknown } = connections;
    json!({
        "connected": accounts.iter().map(connected_data).collect::<Vec<_>>(),
        "needed": needed.iter().map(needed_data).collect::<Vec<_>>(),
        "ready": ready,
        "unknown": unknown.iter().map(|unknown| &unknown.name).collect::<Vec<_>>(),
    })
}

fn connected_data(account: &Account) -> Value {
    let mut data = Map::from_iter([
        ("provider".to_owned(), json!(account.provider)),
        ("title".to_owned(), json!(account.title)),
        ("account".to_owned(), json!(account.account)),
    ]);
    if let Some(label) = &account.label {
        data.insert("label".to_owned(), shown(label, MAX_LABEL_CHARS).into());
    }
    data.insert("scopes".to_owned(), json!(account.scopes));
    data.insert("works".to_owned(), (account.state == AccountState::Connected).into());
    if let Some(ends) = &account.ends {
        data.insert("ends".to_owned(), utc(ends.at).into());
    }
    data.into()
}

fn needed_data(consent: &ProviderConsent) -> Value {
    let need = &consent.need;
    let scopes = match &consent.state {
        ConsentState::Needed { needed, .. } => needed,
        ConsentState::Ready { .. } | ConsentState::RefusedOften | ConsentState::Failed(_) => {
            &need.scopes
        }
    };
    let mut data = Map::from_iter([
        ("provider".to_owned(), json!(need.provider.id)),
        ("title".to_owned(), json!(need.provider.title)),
        ("tools".to_owned(), json!(need.tools)),
        ("scopes".to_owned(), json!(scopes)),
    ]);
    if let Some(prompt) = prompt(consent) {
        data.insert("authorization_url".to_owned(), json!(prompt.url));
    }
    data.insert("reason".to_owned(), reason(&consent.state).into());
    data.insert("message".to_owned(), message(consent).into());
    data.into()
}

/// The reason as a word for programs.
fn reason(state: &ConsentState) -> &'static str {
    match state {
        ConsentState::Ready { .. } => "ready",
        ConsentState::RefusedOften => "refused",
        ConsentState::Failed(_) => "unavailable",
        ConsentState::Needed { reason, .. } => match reason {
            PromptReason::NotConnected => "not_connected",
            PromptReason::MoreScopes => "more_scopes",
            PromptReason::NotGranted => "not_granted",
            PromptReason::Ended => "ended",
            PromptReason::NotRenewed => "not_renewed",
            PromptReason::WhileAway => "while_away",
            PromptReason::ForToken => "for_token",
        },
    }
}

/// Says what a provider's consent is needed for and why it is missing, in whole sentences.
fn message(consent: &ProviderConsent) -> String {
    let title = &consent.need.provider.title;
    let before = match &*consent.need.tools {
        [] => String::new(),
        tools => format!(" before {} can run", list(tools)),
    };
    let needed = format!("{title} access is needed{before}.");
    match &consent.state {
        ConsentState::Ready { .. } => String::new(),
        ConsentState::RefusedOften => format!(
            "{needed} The user has refused it {MAX_REFUSALS_PER_HOUR} times within the last hour, so they are not asked again. Do not ask for it unless the user wants to."
        ),
        ConsentState::Failed(failure) => {
            let mut text = format!("{title} cannot be used now. {}", failure_text(failure));
            if let Some(hint) = &failure.for_operator {
                let _ = write!(text, " For the operator of this server: {}", sentence(hint));
            }
            text
        }
        ConsentState::Needed { needed: scopes, reason, prompt } => {
            let why = match reason {
                PromptReason::NotConnected => String::new(),
                PromptReason::MoreScopes => format!(" {title} is connected, but not yet for this."),
                PromptReason::NotGranted => {
                    format!(" {title} is connected, but this was not granted: {scopes}.")
                }
                PromptReason::WhileAway => {
                    format!(" {title} is connected, but not for calls while the user is away.")
                }
                PromptReason::ForToken => format!(
                    " {title} is connected, but the user has not agreed that the application gets the access token itself."
                ),
                PromptReason::NotRenewed => {
                    format!(" {title} does not renew the earlier consent and gives no reason.")
                }
                PromptReason::Ended => ended(prompt.as_ref()),
            };
            let what = match prompt {
                Some(prompt) => details(prompt),
                None if scopes.is_empty() => String::new(),
                None => format!(" Missing: {}.", scopes.join(", ")),
            };
            format!("{needed}{why}{what}")
        }
    }
}

fn ended(prompt: Option<&ConnectPrompt>) -> String {
    match prompt.and_then(|prompt| prompt.ended.as_ref()) {
        Some(why) => format!(" The earlier consent has ended. It {why}."),
        None => " The earlier consent has ended.".into(),
    }
}

fn account(account: &Account) -> String {
    let mut text = account.title.clone();
    if !account.account.is_default() {
        let _ = write!(text, ", the account `{}`", account.account);
    }
    if let Some(name) = &account.label {
        let _ = write!(text, ", as {}", label(name));
    }
    match &account.state {
        AccountState::Connected if account.scopes.is_empty() => {}
        AccountState::Connected => {
            let _ = write!(text, ": {}", account.scopes.join(", "));
        }
        AccountState::Ended(why) => {
            let _ = write!(text, ": does not work any more; it {why}");
        }
        AccountState::OtherConfiguration => {
            text.push_str(": not usable now; it was connected under other settings of this server");
        }
        AccountState::NotSetUp(why) if why.is_empty() => {
            text.push_str(": not usable now; the operator of this server must fix its settings");
        }
        AccountState::NotSetUp(why) => {
            let _ = write!(text, ": not usable now; {why}");
        }
    }
    if let Some(ends) = &account.ends {
        let _ = write!(text, " (until {})", utc(ends.at));
    }
    text
}

fn prompt(consent: &ProviderConsent) -> Option<&ConnectPrompt> {
    match &consent.state {
        ConsentState::Needed { prompt, .. } => prompt.as_ref(),
        ConsentState::Ready { .. } | ConsentState::RefusedOften | ConsentState::Failed(_) => None,
    }
}

fn list(tools: &[ToolName]) -> String {
    tools.iter().map(ToolName::as_str).collect::<Vec<_>>().join(", ")
}
