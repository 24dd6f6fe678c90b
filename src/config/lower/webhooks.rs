//! `[webhooks]`

use std::collections::BTreeSet;

use url::Url;

use super::super::file::server::AuthTable;
use super::super::file::webhook::WebhookTable;
use super::super::findings::Findings;
use super::super::read::Named;
use super::super::secret_ref::written;
use super::super::secrets;
use super::super::span::{At, Text};
use super::{Depth, address, choice, secret};
use crate::model::secret_ref::SecretRef;
use crate::model::signing_keys::SigningKeys;
use crate::model::text::nearest;
use crate::model::webhook::{ConnectionChange, Webhook};

/// Bytes of a webhook's name; a longer one is an error. The name is part of storage keys, and
/// appears in logs.
const MAX_NAME_BYTES: usize = 64;
const NAME_CODE: &str = "webhooks::name";
const KEY_CODE: &str = "webhooks::key";

/// Names of the keys in `[[server.auth.api_keys]]`.
#[derive(Default)]
struct KeyNames {
    applications: Vec<String>,
    persons: Vec<String>,
}

impl KeyNames {
    fn of(auth: Option<&AuthTable>) -> Self {
        let keys =
            auth.and_then(|auth| auth.api_keys.as_ref()).into_iter().flat_map(|it| &it.value);
        let mut names = Self::default();
        for key in keys {
            let Some(name) = &key.name else { continue };
            let list =
                if key.user.is_some() { &mut names.persons } else { &mut names.applications };
            list.push(name.value.clone());
        }
        names
    }
}

pub(super) fn webhooks(
    written: Option<Named<WebhookTable>>,
    auth: Option<&AuthTable>,
    depth: Depth,
    find: &mut Findings<'_>,
) -> Vec<Webhook> {
    let keys = KeyNames::of(auth);
    let written = written.unwrap_or_default().entries.into_iter();
    written.filter_map(|(name, table)| webhook(&name, &table, &keys, depth, find)).collect()
}

fn webhook(
    name: &Text,
    table: &WebhookTable,
    keys: &KeyNames,
    depth: Depth,
    find: &mut Findings<'_>,
) -> Option<Webhook> {
    let name = self::name(name, find);
    let url = match &table.url {
        Some(text) => url(text, find),
        None => missing(table, "url", "e.g. `url = \"https://app.example.com/webhooks\"`", find),
    };
    let secret = match &table.secret {
        Some(text) => signing_secret(text, depth, find),
        None => missing(table, "secret", "e.g. `secret = \"env:MY_APP_WEBHOOK_SECRET\"`", find),
    };
    let key = match &table.key {
        Some(text) => key(text, keys, find),
        None => missing(
            table,
            "key",
            "name a key of [[server.auth.api_keys]], e.g. `key = \"my-app\"`",
            find,
        ),
    };
    let events = events(table.events.as_ref(), find);
    Some(Webhook { name: name?, url: url?, secret: secret?, key: key?, events })
}

fn missing<T>(table: &WebhookTable, key: &str, hint: &str, find: &mut Findings<'_>) -> Option<T> {
    find.missing(&table.span, key, hint);
    None
}

fn name(text: &Text, find: &mut Findings<'_>) -> Option<String> {
    let name = text.as_str();
    let is_fit = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_fit {
        return Some(name.to_owned());
    }
    let message =
        format!("a webhook's name has 1 to {MAX_NAME_BYTES} letters, digits, `_` and `-`");
    find.error(NAME_CODE, &text.span, message).hint("e.g. [webhooks.my-app]");
    None
}

/// Reads the receiver's URL. Events name users, so nothing on the way may read them.
fn url(text: &Text, find: &mut Findings<'_>) -> Option<Url> {
    let url = address::url(text, find)?;
    if url.scheme() == "https" || url.host().is_some_and(|host| address::is_loopback(&host)) {
        return Some(url);
    }
    let span = text.part(0..text.value.len(), find.source());
    find.error(address::CODE, &span, "events are sent by `https://` only")
        .label("everybody on the way can read this")
        .hint("write `https://`; `http://` is for this machine's own address, e.g. `http://127.0.0.1:8080/webhooks`");
    None
}

fn signing_secret(text: &Text, depth: Depth, find: &mut Findings<'_>) -> Option<SecretRef> {
    let reference = secret::secret(text, "env:MY_APP_WEBHOOK_SECRET", find)?;
    if depth != Depth::Check {
        return Some(reference);
    }
    if let Some(error) = secrets::is_missing(&reference) {
        find.warning("secret::unset", &text.span, error.to_string())
            .label("the events of this webhook wait for it")
            .hint(error.hint());
        return Some(reference);
    }
    if let Some(value) = secrets::readable(&reference)
        && let Err(problem) = SigningKeys::parse(&value)
    {
        let place = written(&reference);
        find.error("webhooks::secret", &text.span, format!("`{place}` leads to no secret of a webhook: {problem}"))
            .hint("make one with `echo \"whsec_$(openssl rand -base64 32)\"`, and give it to the receiver too");
    }
    Some(reference)
}

fn key(text: &Text, keys: &KeyNames, find: &mut Findings<'_>) -> Option<String> {
    let name = text.as_str();
    if keys.applications.iter().any(|key| key == name) {
        return Some(name.to_owned());
    }
    if keys.persons.iter().any(|key| key == name) {
        find.error(KEY_CODE, &text.span, format!("`{name}` is the key of a person"))
            .label("persons have no webhooks")
            .hint("name the key of an application: one without `user`");
        return None;
    }
    let near = nearest(name, keys.applications.iter().map(String::as_str));
    let draft = find
        .error(
            KEY_CODE,
            &text.span,
            format!("there is no key `{name}` in [[server.auth.api_keys]]"),
        )
        .label("no such key");
    match near {
        Some(near) => draft.hint(format!("did you mean `{near}`?")),
        None => draft
            .hint("write the `name` of the application's key; events of its users are sent here"),
    };
    None
}

fn events(list: Option<&At<Vec<Text>>>, find: &mut Findings<'_>) -> BTreeSet<ConnectionChange> {
    let Some(list) = list else { return ConnectionChange::ALL.into() };
    if list.value.is_empty() && !find.has_error_within(&list.span) {
        find.warning("webhooks::events", &list.span, "this webhook is sent no event")
            .hint("name events, or remove `events` to have all of them sent");
    }
    let choices = ConnectionChange::ALL.map(|change| (change.event(), change));
    list.value.iter().filter_map(|text| choice(text, &choices, find)).collect()
}
