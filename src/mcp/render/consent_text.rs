//! Asks for a consent in words, and says how it ended.

use std::fmt::Write as _;

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::json;

use crate::mcp::unanswered::Unanswered;
use crate::model::authorization::MAX_REFUSALS_PER_HOUR;
use crate::model::text::quoted;
use crate::model::{ConnectPrompt, PromptReason, Refused};

/// Says which consent is needed and why, without the link.
pub(super) fn message(prompt: &ConnectPrompt) -> String {
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
fn login_command(ConnectPrompt { provider, account, .. }: &ConnectPrompt) -> String {
    if account.is_default() {
        return format!("countersign auth login {provider}");
    }
    // Joined by `=`, since a name may begin with a dash.
    format!("countersign auth login {provider} {}", quoted(&format!("--account={account}")))
}

fn asked_for(prompt: &ConnectPrompt) -> String {
    if prompt.scope_words.is_empty() {
        return prompt.scopes.join(", ");
    }
    format!("{} ({})", prompt.scope_words.join("; "), prompt.scopes.join(", "))
}

/// Renders the text with the link: for people through the model, and again as data for programs.
pub(in crate::mcp) fn text(prompt: &ConnectPrompt) -> CallToolResult {
    text_after(prompt, None)
}

/// Like [`text`], for a client that was asked before and did not ask its user.
pub(in crate::mcp) fn text_after(
    prompt: &ConnectPrompt,
    unanswered: Option<Unanswered>,
) -> CallToolResult {
    let message = message(prompt);
    let asked = match unanswered {
        None => "",
        Some(Unanswered::Cancelled) => {
            "\nThe question in this client was dismissed without an answer, so the link is given here."
        }
        Some(Unanswered::DeclinedAtOnce) => {
            "\nThis client declined automatically, before it could ask the user, so the link is given here."
        }
    };
    let minutes = prompt.lives_minutes;
    let plural = if minutes == 1 { "" } else { "s" };
    let act = if prompt.is_pasted() {
        "paste their own key or password there, and never here, to give"
    } else {
        "approve"
    };
    let act_there = act_there(prompt);
    // With a mistyped name, the call asks for an account that does not exist.
    let named = if prompt.connected.is_empty() {
        ""
    } else {
        "\nIf the user means one of the accounts that are connected already, call this tool again with its name as `account` instead."
    };
    // The link comes first: hosts cut off what they quote, one of them after 200 characters.
    let human = format!(
        "Ask the user to open this link in a browser and {act_there}:\n{}\nThen call this tool again with the same arguments.{named}\n\n{message}{asked}\n\nThe link works for {minutes} minute{plural}. Give it to the user exactly as it is; do not open it yourself.",
        prompt.url
    );
    let machine = json!({
        "authorization_url": prompt.url,
        "message": message,
        "llm_instructions": format!(
            "Show the user the authorization_url as a clickable link and ask them to {act} access to {}. Do not fetch the link yourself. Once the user has done so, call this tool again with the same arguments.",
            prompt.title
        ),
    });
    CallToolResult::error(vec![ContentBlock::text(human), ContentBlock::text(machine.to_string())])
}

/// Returns what the user has to do on the page that the link leads to.
pub(super) fn act_there(prompt: &ConnectPrompt) -> &'static str {
    if prompt.is_pasted() {
        "paste their own key or password there (never in this chat)"
    } else {
        "approve"
    }
}

/// Says that the user has refused more than once; a tool that keeps asking wears users down.
pub(in crate::mcp) fn refused(
    Refused { title, provider, tool, account, .. }: &Refused,
) -> CallToolResult {
    let account = match account {
        account if account.is_default() => String::new(),
        account => format!(" for the account `{account}`"),
    };
    CallToolResult::error(vec![ContentBlock::text(format!(
        "{title} access{account} is needed before {tool} can run, but the user has refused it {MAX_REFUSALS_PER_HOUR} times within the last hour, so they are not asked again. Do not call this tool again unless the user wants to. A user who changes their mind can connect `{provider}` with Countersign's command `auth login`, or wait until the hour is over."
    ))])
}

/// Says that the user has not given the consent; `how` is a sentence.
pub(in crate::mcp) fn declined(title: &str, how: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(format!(
        "{title} access was not given: {how} Do not ask again unless the user wants to."
    ))])
}

/// Renders the link again: the user has not finished, and the client does not go on asking for
/// ever.
pub(in crate::mcp) fn still_waiting(prompt: &ConnectPrompt) -> CallToolResult {
    let mut result = text(prompt);
    // After the other two: programs read the link from the second.
    result.content.push(ContentBlock::text(format!(
        "Still waiting for the approval of {} access. Ask the user to finish in the browser.",
        prompt.title
    )));
    result
}
