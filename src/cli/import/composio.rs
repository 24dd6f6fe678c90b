//! Connected accounts as Composio's API answers them, collected into one file:
//! `GET /api/v3/connected_accounts/{id}`, one after the other or as a list.
//!
//! Composio masks the tokens unless the project's setting `mask_secret_keys_in_connected_account` is
//! off. Tokens that were issued to Composio's own client cannot be used by another one.
//!
//! Source: <https://docs.composio.dev/docs/auth-configuration/connected-accounts>

use serde_json::Value;

use super::entry::{Defaults, Entry, Written, first_of, text_at};
use super::file::json_entries;

/// Characters from which on a token is taken for a whole one.
const MIN_TOKEN_CHARS: usize = 16;

/// Reads the connected accounts.
pub(super) fn entries(text: &str, defaults: &Defaults) -> anyhow::Result<Vec<Entry>> {
    let accounts = json_entries(text, "items")?;
    let numbered = accounts.iter().enumerate();
    Ok(numbered.map(|(at, account)| entry(at + 1, account, defaults)).collect())
}

fn entry(number: usize, account: &Value, defaults: &Defaults) -> Entry {
    let at = format!("entry {number}");
    let user = match &defaults.user {
        Some(place) => text_at(account, place),
        None => first_of(account, &["user_id", "entity_id", "clientUniqueUserId"]),
    };
    let of =
        |field: &str| first_of(account, &[&format!("state.val.{field}"), &format!("data.{field}")]);
    let (access, refresh) = (of("access_token"), of("refresh_token"));
    let is_masked = [&access, &refresh].into_iter().flatten().any(|token| is_masked(token));
    let written = Written {
        user,
        provider: first_of(account, &["toolkit.slug", "appName"]),
        client_id: of("client_id").filter(|id| !is_masked_text(id)),
        access: access.map(Into::into),
        refresh: refresh.map(Into::into),
        scopes: of("scope"),
        ..Written::default()
    };
    let scheme = first_of(account, &["state.authScheme", "auth_config.auth_scheme"]);
    let is_managed = account.pointer("/auth_config/is_composio_managed");
    let unusable = |why, help| Entry::unusable(at.clone(), &written, why, help);
    if scheme.is_some_and(|scheme| scheme != "OAUTH2") {
        return unusable("it is no OAuth 2 account", "let the user paste the key or password here");
    }
    if is_managed == Some(&Value::Bool(true)) {
        return unusable(
            "its tokens were issued to Composio's own client, and work for no other",
            "let the user consent here",
        );
    }
    if is_masked {
        return unusable(
            "Composio has masked its tokens",
            "switch `mask_secret_keys_in_connected_account` off in the project's settings (PATCH /api/v3/org/project/config), fetch the accounts anew, and switch it on again",
        );
    }
    Entry::new(at, written, defaults)
}

/// Whether this is the beginning of a token, or a word in its place.
fn is_masked(token: &str) -> bool {
    is_masked_text(token) || token.len() < MIN_TOKEN_CHARS
}

fn is_masked_text(text: &str) -> bool {
    text.contains("...") || text.contains('*') || text.contains('…') || text == "REDACTED"
}
