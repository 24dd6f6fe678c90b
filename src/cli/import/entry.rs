//! One connection of a file.

use std::collections::HashMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::report::Line;
use crate::broker::deposit::ForeignTokens;
use crate::model::deposit::Deposit;
use crate::model::text::shown;
use crate::model::time::{self};
use crate::model::{AccountName, Scopes, Time, UserId};

/// Characters shown of a name from a file; the rest is cut.
const MAX_NAME_CHARS: usize = 100;

/// Settings of the command line for all entries. Each list has pairs of a name, or none for every
/// entry, and a value.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) providers: Vec<(Option<String>, String)>,
    pub(super) client_ids: Vec<(Option<String>, String)>,
    /// Column or place of the user id.
    pub(super) user: Option<String>,
    pub(super) scopes: Option<Scopes>,
    pub(super) away: bool,
}

/// One connection of a file.
pub(super) struct Entry {
    /// Its place, e.g. `line 3`.
    at: String,
    /// The user and the provider as the file names them, for the report.
    user: String,
    provider: String,
    /// Or why it cannot be moved in, and what helps.
    pub(super) fields: Result<Fields, (String, String)>,
}

/// A connection to move in.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) user: UserId,
    /// The provider's name in tools.toml.
    pub(super) provider: String,
    pub(super) tokens: ForeignTokens,
}

/// The parts of a connection, as a file writes them. An empty part is absent.
#[derive(Default)]
pub(super) struct Written {
    pub(super) user: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) access: Option<SecretString>,
    pub(super) refresh: Option<SecretString>,
    pub(super) token_type: Option<String>,
    pub(super) expires_at: Option<String>,
    pub(super) scopes: Option<String>,
    pub(super) account: Option<String>,
    pub(super) connection_id: Option<String>,
    pub(super) away: bool,
}

impl Entry {
    /// Reads a connection.
    pub(super) fn new(at: String, written: Written, defaults: &Defaults) -> Self {
        let user = name(written.user.as_ref(), &written);
        let provider = name(written.provider.as_ref(), &written);
        Self { at, user, provider, fields: fields(written, defaults) }
    }

    /// A connection that cannot be moved in.
    pub(super) fn unusable(at: String, written: &Written, why: &str, help: &str) -> Self {
        let user = name(written.user.as_ref(), written);
        let provider = name(written.provider.as_ref(), written);
        Self { at, user, provider, fields: Err((why.to_owned(), help.to_owned())) }
    }

    fn fields(&self) -> Option<&Fields> {
        self.fields.as_ref().ok()
    }

    /// The beginning of its line in the report.
    pub(super) fn line(&self) -> Line {
        let provider = match &self.fields {
            Ok(fields) => {
                let ForeignTokens { access, refresh, .. } = &fields.tokens;
                name_beside([access, refresh], Some(&fields.provider))
            }
            Err(_) => self.provider.clone(),
        };
        Line::new(self.at.clone(), self.user.clone(), provider)
    }
}

/// A name of a file for the report; `?` if it may be a token in the wrong place.
fn name(name: Option<&String>, Written { access, refresh, .. }: &Written) -> String {
    name_beside([access, refresh], name)
}

fn name_beside(tokens: [&Option<SecretString>; 2], name: Option<&String>) -> String {
    let is_token = |name: &str| {
        let mut tokens = tokens.iter().copied().flatten().map(ExposeSecret::expose_secret);
        tokens.any(|token| !token.is_empty() && name.contains(token))
    };
    let name = name.filter(|it| it.chars().nth(MAX_NAME_CHARS).is_none() && !is_token(it));
    name.map_or_else(|| "?".into(), |name| shown(name, MAX_NAME_CHARS))
}

/// Refuses all entries of one connection, and all entries of one token: which of them is meant is not
/// known, and a token that is sent twice ends its grant where the provider detects the reuse.
pub(super) fn refuse_repeated(entries: &mut [Entry]) {
    let (mut tokens, mut places) = (HashMap::new(), HashMap::new());
    for Fields { user, provider, tokens: its } in entries.iter().filter_map(Entry::fields) {
        for token in [&its.access, &its.refresh].into_iter().flatten() {
            *tokens.entry(Deposit::fingerprint(token)).or_insert(0_u32) += 1;
        }
        let place = (user.clone(), provider.clone(), its.name.clone());
        *places.entry(place).or_insert(0_u32) += 1;
    }
    let is_repeated = |count: Option<&u32>| count.is_some_and(|count| *count > 1);
    for entry in entries {
        let Some(Fields { user, provider, tokens: its }) = entry.fields() else { continue };
        let given = [&its.access, &its.refresh].into_iter().flatten();
        let problem = if given.map(Deposit::fingerprint).any(|it| is_repeated(tokens.get(&it))) {
            ("another entry has the same token", "leave the token only in the entry of its account")
        } else if is_repeated(places.get(&(user.clone(), provider.clone(), its.name.clone()))) {
            ("another entry is for the same connection", "leave only the latest one in the file")
        } else {
            continue;
        };
        entry.fields = Err((problem.0.to_owned(), problem.1.to_owned()));
    }
}

fn fields(written: Written, defaults: &Defaults) -> Result<Fields, (String, String)> {
    let problem = |why: &str, help: &str| (why.to_owned(), help.to_owned());
    let user = written.user.ok_or_else(|| {
        problem(
            "it names no user",
            "write the column or the place of the user id with `--user-column`",
        )
    })?;
    let user = UserId::parse(&user)
        .map_err(|fault| (format!("its user id is not accepted: {fault}"), "correct it".into()))?;
    let theirs = written.provider;
    let provider = named(&defaults.providers, theirs.as_deref()).or(theirs).ok_or_else(|| {
        problem("it names no provider", "write the provider of tools.toml with `--provider`")
    })?;
    let client_id = written.client_id.or_else(|| named(&defaults.client_ids, Some(&provider)));
    let client_id = client_id.ok_or_else(|| {
        problem(
            "it does not say which client its tokens were issued to",
            "write that client id with `--client-id`, or in a column `client_id`",
        )
    })?;
    if written.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(problem("its tokens are no bearer tokens", "let the user consent anew"));
    }
    let expires_at = written.expires_at.map(|text| {
        expiry(&text).ok_or_else(|| {
            problem(
                "its `expires_at` is no time",
                "write a date and time such as `2026-11-21T09:30:00Z`, or seconds since 1970",
            )
        })
    });
    let name = match written.connection_id {
        None => AccountName::default(),
        Some(name) => AccountName::parse(&name)
            .map_err(|fault| (format!("its `connection_id`: {fault}"), "correct it".into()))?,
    };
    let scopes = written.scopes.map(|text| Scopes::parse(&text));
    let tokens = ForeignTokens {
        access: written.access,
        refresh: written.refresh,
        expires_at: expires_at.transpose()?,
        scopes: scopes.filter(|scopes| !scopes.is_empty()).or_else(|| defaults.scopes.clone()),
        client_id,
        account: written.account,
        name,
        away: written.away || defaults.away,
    };
    Ok(Fields { user, provider, tokens })
}

/// The value for a name: its own, else the one for all.
fn named(pairs: &[(Option<String>, String)], name: Option<&str>) -> Option<String> {
    let own = pairs.iter().find(|(of, _)| of.is_some() && of.as_deref() == name);
    let found = own.or_else(|| pairs.iter().find(|(of, _)| of.is_none()));
    found.map(|(_, value)| value.clone())
}

/// Reads the end of a token: a date and time, or seconds since 1970.
fn expiry(text: &str) -> Option<Time> {
    match text.parse::<i64>() {
        Ok(seconds) => seconds.checked_mul(1000).map(Time::from_millis),
        Err(_) => time::parse(text),
    }
}

/// A text or number at a place of JSON such as `end_user.id`; `None` if it is absent or empty.
pub(super) fn text_at(value: &Value, place: &str) -> Option<String> {
    let found = place.split('.').try_fold(value, |value, key| value.get(key))?;
    match found {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            (!texts.is_empty()).then(|| texts.join(" "))
        }
        _ => None,
    }
}

/// The first of several places that holds a text.
pub(super) fn first_of(value: &Value, places: &[&str]) -> Option<String> {
    places.iter().find_map(|place| text_at(value, place))
}
