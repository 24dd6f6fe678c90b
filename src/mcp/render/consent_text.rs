//! Asks for a consent in words, and says how it ended.

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::json;

use crate::mcp::unanswered::Unanswered;
use crate::model::{ConnectPrompt, Refused};
use crate::words::{consent_needed, consent_refused, how_to_connect};

/// Renders the text with the link: for people through the model, and again as data for programs.
pub(in crate::mcp) fn text(prompt: &ConnectPrompt) -> CallToolResult {
    text_after(prompt, None)
}

/// Like [`text`], for a client that was asked before and did not ask its user.
pub(in crate::mcp) fn text_after(
    prompt: &ConnectPrompt,
    unanswered: Option<Unanswered>,
) -> CallToolResult {
    let message = consent_needed(prompt);
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
    let act_there = how_to_connect(prompt);
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

/// Says that the user has refused more than once; a tool that keeps asking wears users down.
pub(in crate::mcp) fn refused(refused: &Refused) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(consent_refused(refused))])
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
