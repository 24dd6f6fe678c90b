//! Connections as Nango's API answers them, collected into one file:
//! `GET /connections/{connection_id}?provider_config_key=…&refresh_token=true`, one after the other or
//! as a list.
//!
//! Source: <https://nango.dev/docs/reference/backend/http-api/connection/get>

use serde_json::Value;

use super::entry::{Defaults, Entry, Written, first_of, text_at};
use super::file::json_entries;

/// Reads the connections.
pub(super) fn entries(text: &str, defaults: &Defaults) -> anyhow::Result<Vec<Entry>> {
    let connections = json_entries(text, "connections")?;
    let numbered = connections.iter().enumerate();
    Ok(numbered.map(|(at, connection)| entry(at + 1, connection, defaults)).collect())
}

fn entry(number: usize, connection: &Value, defaults: &Defaults) -> Entry {
    let at = format!("entry {number}");
    let user = match &defaults.user {
        Some(place) => text_at(connection, place),
        None => first_of(connection, &["end_user.id", "tags.end_user_id"]),
    };
    let of = |places: &[&str]| first_of(connection, places);
    let written = Written {
        user,
        provider: of(&["provider_config_key"]),
        client_id: None,
        access: of(&["credentials.access_token", "credentials.raw.access_token"]).map(Into::into),
        refresh: of(&["credentials.refresh_token", "credentials.raw.refresh_token"])
            .map(Into::into),
        // Providers write it in many ways, and Nango keeps what they write.
        token_type: None,
        expires_at: of(&["credentials.expires_at"]),
        scopes: of(&["credentials.raw.scope", "credentials.raw.scopes"]),
        ..Written::default()
    };
    match text_at(connection, "credentials.type").as_deref() {
        None => Entry::unusable(
            at,
            &written,
            "it has no credentials",
            "fetch each connection with `GET /connections/{connection_id}?provider_config_key=…&refresh_token=true`: the list of Nango has none",
        ),
        Some("OAUTH2") => Entry::new(at, written, defaults),
        Some(_) => Entry::unusable(
            at,
            &written,
            "it is no OAuth 2 connection",
            "let the user paste the key or password here",
        ),
    }
}
