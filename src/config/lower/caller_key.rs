//! `[[server.auth.api_keys]]`

use super::super::file::server::CallerKeyTable;
use super::super::findings::Findings;
use super::super::span::Text;
use super::references::References;
use super::secret::variable;
use super::{address, choice, secret};
use crate::model::UserId;
use crate::model::principal::ConfirmOrder;
use crate::model::secret_ref::SecretRef;
use crate::model::server_auth::{ApiKey, ApplicationSettings, KeyHolder};

/// Characters of a key's name; a longer one is an error. The name is part of the storage key of a
/// user's grants, and appears in logs.
const MAX_NAME_CHARS: usize = 64;

pub(super) fn keys(
    written: Vec<CallerKeyTable>,
    has_issuer: bool,
    names_by_sub: bool,
    references: &mut References,
    find: &mut Findings<'_>,
) -> Vec<ApiKey> {
    let mut keys: Vec<ApiKey> = Vec::with_capacity(written.len());
    let mut earlier = Earlier::default();
    for table in written {
        let name = name(&table, &mut earlier, find);
        let key = key(&table, name.as_deref(), &mut earlier, references, find);
        let holder = holder(&table, name.as_deref(), find);
        match &holder {
            Some(KeyHolder::Person(user)) if names_by_sub => warn_of_other_name(&table, user, find),
            Some(KeyHolder::Person(user)) if !has_issuer => {
                warn_of_two_keys(&table, user, &keys, find);
            }
            _ => {}
        }
        if let (Some(name), Some(key), Some(holder)) = (name, key, holder) {
            keys.push(ApiKey { name, key, holder });
        }
    }
    keys
}

/// Names and references already taken, also by keys with other mistakes.
#[derive(Default)]
struct Earlier {
    names: Vec<String>,
    /// Each with the name of its key, for messages.
    references: Vec<(SecretRef, String)>,
}

fn name(table: &CallerKeyTable, earlier: &mut Earlier, find: &mut Findings<'_>) -> Option<String> {
    const CODE: &str = "auth::key_name";
    let Some(text) = &table.name else {
        find.missing(&table.span, "name", "e.g. `name = \"my-app\"`");
        return None;
    };
    let name = text.as_str();
    let is_fit = (1..=MAX_NAME_CHARS).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !is_fit {
        find.error(
            CODE,
            &text.span,
            format!("a key's name has 1 to {MAX_NAME_CHARS} letters, digits, `_` and `-`"),
        )
        .hint("e.g. `my-app`");
        return None;
    }
    if let Some(other) = earlier.names.iter().find(|other| other.eq_ignore_ascii_case(name)) {
        let message = if other == name {
            format!("there is a key `{name}` already")
        } else {
            format!("`{name}` and `{other}` differ by case only")
        };
        find.error(CODE, &text.span, message)
            .label("second one")
            .hint("give it another name: the name keeps its users apart from those of other keys");
        return None;
    }
    earlier.names.push(name.to_owned());
    Some(name.to_owned())
}

fn key(
    table: &CallerKeyTable,
    name: Option<&str>,
    earlier: &mut Earlier,
    references: &mut References,
    find: &mut Findings<'_>,
) -> Option<SecretRef> {
    let suggestion = format!("env:{}_KEY", variable(name.unwrap_or("my-app")));
    let Some(text) = &table.key else {
        find.missing(
            &table.span,
            "key",
            format!("write a reference, e.g. `key = \"{suggestion}\"`"),
        );
        return None;
    };
    let reference = secret::secret(text, &suggestion, find)?;
    if let Some((_, other)) = earlier.references.iter().find(|(other, _)| *other == reference) {
        find.error("auth::key", &text.span, format!("this is the key of {other} already"))
            .label("whose is it?")
            .hint("a key stands for one person or application: refer to another one");
        return None;
    }
    let whose = name.map_or_else(|| "another table".into(), |name| format!("`{name}`"));
    earlier.references.push((reference.clone(), whose));
    references.add_key(&reference, text);
    Some(reference)
}

fn holder(
    table: &CallerKeyTable,
    name: Option<&str>,
    find: &mut Findings<'_>,
) -> Option<KeyHolder> {
    let verifier_url = table.verifier_url.as_ref().map(|text| verifier_url(text, find));
    let settings = ApplicationSettings {
        confirm: confirm(table, find),
        admin: table.admin.as_ref().is_some_and(|it| it.value),
        tokens: table.tokens.as_ref().is_some_and(|it| it.value),
        deposit: table.deposit.as_ref().is_some_and(|it| it.value),
        next_origins: table
            .next_uris
            .iter()
            .flatten()
            .filter_map(|text| next_origin(text, find))
            .collect(),
        verifier_url: None,
    };
    match (&table.user, verifier_url) {
        (Some(user), None) => {
            report_rights_of_person(table, find);
            person(user, find).map(KeyHolder::Person)
        }
        (None, Some(url)) => {
            let verifier_url = Some(url?);
            Some(KeyHolder::Application(ApplicationSettings { verifier_url, ..settings }))
        }
        (Some(user), Some(_)) => {
            find.error(
                "auth::key",
                &user.span,
                "`user` makes this one person's key, and `verifier_url` an application's",
            )
            .hint("keep one of them");
            None
        }
        (None, None) => {
            let may_be_there = |key| find.may_be_there(&table.span, key);
            if !may_be_there("user") && !may_be_there("verifier_url") {
                warn_of_no_verifier(table, name, find);
            }
            Some(KeyHolder::Application(settings))
        }
    }
}

/// Reports settings of an application beside a `user`.
fn report_rights_of_person(table: &CallerKeyTable, find: &mut Findings<'_>) {
    let rights = [
        ("admin", table.admin.as_ref().map(|it| &it.span)),
        ("tokens", table.tokens.as_ref().map(|it| &it.span)),
        ("deposit", table.deposit.as_ref().map(|it| &it.span)),
        ("next_uris", table.next_uris.iter().flatten().next().map(|it| &it.span)),
    ];
    for (key, span) in rights {
        let Some(span) = span else { continue };
        find.error(
            "auth::key",
            span,
            format!(
                "`{key}` is for the key of an application, and `user` makes this one a person's"
            ),
        )
        .hint(format!("remove `user` or `{key}`"));
    }
}

/// Reads an origin to which browsers may be sent after a consent.
fn next_origin(text: &Text, find: &mut Findings<'_>) -> Option<String> {
    let url = address::browser_url(text, find)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        find.error("auth::next_uris", &text.span, "this is more than an origin")
            .hint("write scheme, host and port only, e.g. `https://app.example.com`; each page of that origin may follow a consent");
        return None;
    }
    Some(url.origin().ascii_serialization())
}

/// Warns about a `user` that is an e-mail address where the issuer names people by `sub`. Only the
/// person whom the issuer calls `user` can open links, and few issuers put an address into `sub`,
/// so the key's holder could open none.
fn warn_of_other_name(table: &CallerKeyTable, user: &UserId, find: &mut Findings<'_>) {
    let Some(text) = table.user.as_ref().filter(|_| user.as_str().contains('@')) else { return };
    find.warning(
        "auth::user",
        &text.span,
        "the issuer names people by `sub`, which is seldom an e-mail address",
    )
    .label("no link can be opened if it is another name")
    .hint("write what the issuer's tokens say in `sub` for this person, or set `user_claim` in [server.auth]");
}

const CONFIRM_ORDERS: [(&str, ConfirmOrder); 2] =
    [("before", ConfirmOrder::Before), ("after", ConfirmOrder::After)];

/// Reads when the application confirms a browser.
fn confirm(table: &CallerKeyTable, find: &mut Findings<'_>) -> ConfirmOrder {
    let Some(text) = &table.confirm else { return ConfirmOrder::default() };
    if table.verifier_url.is_none() && !find.may_be_there(&table.span, "verifier_url") {
        find.error(
            "auth::confirm",
            &text.span,
            "`confirm` is about a `verifier_url`, and there is none",
        )
        .hint("write `verifier_url` beside it, or remove it");
    }
    choice(text, &CONFIRM_ORDERS, find).unwrap_or_default()
}

/// Warns about a second key for a user. Without an issuer only the key's name vouches for its user,
/// so the two keys share no grants.
fn warn_of_two_keys(
    table: &CallerKeyTable,
    user: &UserId,
    earlier: &[ApiKey],
    find: &mut Findings<'_>,
) {
    let is_theirs =
        |key: &&ApiKey| matches!(&key.holder, KeyHolder::Person(other) if other == user);
    let (Some(earlier), Some(text)) = (earlier.iter().find(is_theirs), &table.user) else { return };
    find.warning(
        "auth::user",
        &text.span,
        format!(
            "what `{user}` connects with this key is not there with the key `{}`",
            earlier.name
        ),
    )
    .hint("keep one key for each person; people of an issuer may have several");
}

/// Warns about an application without `verifier_url`: the server cannot tell whether the user who
/// opens a link is the one who requested it.
fn warn_of_no_verifier(table: &CallerKeyTable, name: Option<&str>, find: &mut Findings<'_>) {
    let span = table.name.as_ref().map_or(&table.span, |name| &name.span);
    let whose = name.map_or("this application".into(), |name| format!("`{name}`"));
    find.warning(
        "auth::verifier_url",
        span,
        format!("without `verifier_url` no links are made for users of {whose}"),
    )
    .hint("write `verifier_url`, a page of the application that knows its users; or `user`, if the key is one person's");
}

fn person(text: &Text, find: &mut Findings<'_>) -> Option<UserId> {
    match UserId::parse(text.as_str()) {
        Ok(user) => Some(user),
        Err(error) => {
            find.error("auth::user", &text.span, error.to_string()).hint(
                "e.g. `user = \"ana@example.com\"`; beside an issuer, what its `user_claim` says",
            );
            None
        }
    }
}

/// Reads a `verifier_url`. Its query must not contain `flow_id`, the nonce that the server adds and
/// the application confirms with.
fn verifier_url(text: &Text, find: &mut Findings<'_>) -> Option<url::Url> {
    let url = address::browser_url(text, find)?;
    if url.query_pairs().any(|(name, _)| name == "flow_id") {
        find.error("auth::verifier_url", &text.span, "`flow_id` is not free to be set")
            .hint("remove it: every browser that is sent there brings one of its own");
        return None;
    }
    Some(url)
}
