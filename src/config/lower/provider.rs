//! `[providers.*]`: tables as written, merged over those of the catalogue.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::super::file::{FailureTable, ProviderTable};
use super::super::findings::Findings;
use super::super::read::Named;
use super::super::secrets::{self, SecretError};
use super::super::span::Text;
use super::credential::Kind;
use super::request::Api;
use super::scope_rule::ScopeRule;
use super::{
    Depth, Surroundings, address, body, built_in, credential, guide, json_pointer, oauth,
    placeholder, server,
};
use crate::catalog;
use crate::model::credential::Credential;
use crate::model::hosts::Hosts;
use crate::model::oauth::LoopbackRule;
use crate::model::provider::FailureConvention;
use crate::model::retention::Retention;
use crate::model::secret_ref::SecretRef;
use crate::model::text::nearest;
use crate::model::{Provider, ProviderId, Scopes};

/// A provider, and the data that lowering its tools needs.
pub(super) struct Known {
    pub(super) provider: Arc<Provider>,
    pub(super) scopes: ScopeRule,
    /// Secrets whose presence has not been checked yet.
    unchecked: Vec<SecretRef>,
}

impl Known {
    /// Returns the API to which the credential may be sent.
    pub(super) fn api(&self) -> Api<'_> {
        let Provider { id, base_url, hosts, .. } = &*self.provider;
        Api { id: id.as_str(), base_url: base_url.as_ref(), hosts }
    }
}

/// Returns the most similar id of a provider that is configured or built in.
pub(super) fn nearest_to(id: &str, around: &Surroundings) -> Option<String> {
    let configured = around.providers.keys().cloned();
    let known: Vec<String> = configured.chain(catalog::ids().map(str::to_owned)).collect();
    nearest(id, known.iter().map(String::as_str)).map(str::to_owned)
}

/// Whether a provider with this id is configured or built in.
pub(super) fn exists(id: &str, around: &Surroundings) -> bool {
    around.providers.contains_key(id) || catalog::is_built_in(id)
}

/// Ensures that a tool's provider is among `around`, also a built-in one without a table. Reports
/// an unknown one.
pub(super) fn ensure(id: &Text, around: &mut Surroundings, find: &mut Findings<'_>) {
    if !around.providers.contains_key(id.as_str()) {
        if !catalog::is_built_in(id.as_str()) {
            let near = nearest_to(id.as_str(), around);
            let draft = find
                .error("tool::provider", &id.span, format!("there is no provider `{}`", id.value))
                .label("no such provider");
            match near {
                Some(near) => draft.hint(format!("did you mean `{near}`?")),
                None => draft.hint(format!("describe it in [providers.{}]", id.value)),
            };
            around.providers.insert(id.value.clone(), None);
            return;
        }
        let known = provider(id, None, around.retention, find);
        around.providers.insert(id.value.clone(), known);
    }
    if around.depth == Depth::Check
        && let Some(Some(known)) = around.providers.get_mut(id.as_str())
    {
        if !around.https {
            warn_of_no_way_back(id, known, find);
        }
        warn_of_missing_secrets(id, known, find);
    }
}

/// Warns, once for each provider that a tool uses, that no browser could come back from it.
fn warn_of_no_way_back(id: &Text, known: &Known, find: &mut Findings<'_>) {
    let Credential::OAuth(settings) = &known.provider.credential else { return };
    // `unchecked` is emptied at the provider's first tool.
    if settings.grant.is_by_consent()
        && settings.loopback == LoopbackRule::Refused
        && !known.unchecked.is_empty()
    {
        let message = format!(
            "`{}` accepts only https redirect URIs, which a server for one machine cannot offer",
            id.value
        );
        let hint = format!(
            "if your app may use a loopback address, write `loopback = \"localhost-exact\"` (or another rule) in [providers.{}.oauth]; a server with [server.auth] has an https `public_url`",
            id.value
        );
        find.warning("provider::loopback", &id.span, message)
            .label("cannot be connected")
            .hint(hint);
    }
}

/// Warns, once for each provider that a tool uses, which of its secrets are missing.
fn warn_of_missing_secrets(id: &Text, known: &mut Known, find: &mut Findings<'_>) {
    let missing = std::mem::take(&mut known.unchecked);
    let missing: Vec<_> = missing.iter().filter_map(secrets::is_missing).collect();
    let (variables, others): (Vec<_>, Vec<_>) =
        missing.iter().partition(|error| matches!(error, SecretError::Unset(_)));
    let mut warn = |message: String, mut hint: String, it: &str| {
        if let Some(console) = &known.provider.console_url {
            let _ = write!(hint, "; an app is registered at {console}");
        }
        find.warning("secret::unset", &id.span, message)
            .label(format!("`{}` needs {it}", id.value))
            .hint(hint);
    };
    match &*variables {
        [] => {}
        [error] => warn(error.to_string(), error.hint(), "it"),
        several => {
            let names: Vec<&str> = several.iter().filter_map(|error| error.variable()).collect();
            let message = format!("the environment variables `{}` are not set", names.join("`, `"));
            warn(message, secrets::set_hint(&names.join(", ")), "them");
        }
    }
    for error in others {
        warn(error.to_string(), error.hint(), "it");
    }
}

/// Lowers one provider; `None` if it cannot be used.
pub(super) fn provider(
    id: &Text,
    table: Option<ProviderTable>,
    retention: Retention,
    find: &mut Findings<'_>,
) -> Option<Known> {
    let built_in = built_in::provider(id.as_str());
    let client = if built_in.is_some() { Client::InVariables } else { Client::Written };
    merged(id, table.unwrap_or_default(), built_in, client, retention, find)
}

/// Place of the OAuth app's id and secret, if the table has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// In the variables that belong to a built-in provider.
    InVariables,
    /// Nowhere.
    Written,
}

/// Lowers a provider whose table is merged over that of a built-in one; `None` if it cannot be
/// used.
pub(super) fn merged(
    id: &Text,
    written: ProviderTable,
    built_in: Option<ProviderTable>,
    client: Client,
    retention: Retention,
    find: &mut Findings<'_>,
) -> Option<Known> {
    check_id(id, find)?;
    let errors_before = find.count_errors();
    let moved = written.base_url.is_some() && written.hosts.is_none();
    let kind = Kind::of(id, &written, find);
    let has_variables = client == Client::InVariables;
    let mut table = merge(written, built_in.map(|table| credential::without_others(table, kind)));
    placeholder::fill(id, &mut table, find);

    let base_url = table.base_url.as_ref().and_then(|text| base_url(text, find));
    // A built-in provider with a new `base_url` does not keep its old hosts.
    let hosts = match (&table.hosts, &base_url) {
        (Some(hosts), _) if !moved => {
            Hosts::new(hosts.iter().filter_map(|host| address::host_pattern(host, find)))
        }
        (_, Some(base)) => Hosts::new([crate::net::host_of(base)]),
        _ => Hosts::default(),
    };
    let scopes = oauth::scope_rule(table.oauth.as_ref());
    let api = Api { id: id.as_str(), base_url: base_url.as_ref(), hosts: &hosts };
    let credential = credential::credential(id, &mut table, has_variables, &scopes, api, find);
    let kept = Kept::read(&table, retention, credential.as_ref(), find);
    let provider = Provider {
        id: ProviderId::new(id.value.clone()),
        title: table.title.map_or_else(|| capitalized(id.as_str()), |title| title.value),
        console_url: table.console_url.as_ref().and_then(|text| address::url(text, find)),
        base_url,
        hosts,
        headers: body::fixed_headers(table.headers.unwrap_or_default(), find),
        credential: credential?,
        failure: failure(table.failure.unwrap_or_default(), find),
        scope_words: words(table.scope_words.unwrap_or_default(), &scopes),
        known_scopes: Scopes::default(),
        accounts: kept.accounts,
        retention: kept.retention,
        guide: guide::guide(table.guide.unwrap_or_default(), find),
    };
    if find.count_errors() > errors_before {
        return None;
    }
    let provider = Provider { known_scopes: spoken_of(&provider), ..provider };
    let unchecked = provider.credential.references();
    Some(Known { provider: Arc::new(provider), scopes, unchecked })
}

/// Checks a provider's name; `None` if it cannot be used.
fn check_id(id: &Text, find: &mut Findings<'_>) -> Option<()> {
    let is_id_char =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if !id.value.is_empty() && id.value.chars().all(is_id_char) {
        return Some(());
    }
    find.error(
        "provider::name",
        &id.span,
        "a provider's name has lower-case letters, digits, `_` and `-` only",
    )
    .hint("it is part of the redirect URI that you register");
    None
}

/// How the grants and pasted secrets of users are kept.
struct Kept {
    accounts: bool,
    retention: Retention,
}

impl Kept {
    fn read(
        table: &ProviderTable,
        usual: Retention,
        credential: Option<&Credential>,
        find: &mut Findings<'_>,
    ) -> Self {
        let is_of_the_server = credential.is_some_and(|credential| match credential {
            Credential::OAuth(settings) => !settings.grant.is_by_consent(),
            Credential::Shared(_) => true,
            Credential::Asked(_) => false,
        });
        let written = [
            ("accounts", table.accounts.as_ref().filter(|it| it.value).map(|it| &it.span)),
            ("retention", table.retention.as_ref().map(|it| &it.span)),
        ];
        for (key, span) in written {
            if let (true, Some(span)) = (is_of_the_server, span) {
                find.error(
                    "provider::shared",
                    span,
                    format!("`{key}` is for what people grant; this credential is the server's"),
                )
                .hint(format!("remove `{key}`"));
            }
        }
        let retention = table.retention.as_ref().and_then(|text| server::retention(text, find));
        Self {
            accounts: table.accounts.as_ref().is_some_and(|accounts| accounts.value),
            retention: retention.unwrap_or(usual),
        }
    }
}

/// Merges two tables entry by entry; written entries come before built-in ones.
fn merge(mut written: ProviderTable, built_in: Option<ProviderTable>) -> ProviderTable {
    let Some(mut built_in) = built_in else { return written };
    let oauth = match (written.oauth.take(), built_in.oauth.take()) {
        (Some(written), Some(built_in)) => {
            let built_in = oauth::fitting(built_in, &written);
            Some(written.or(built_in))
        }
        (written, built_in) => written.or(built_in),
    };
    let failure = match (written.failure.take(), built_in.failure.take()) {
        (Some(written), Some(built_in)) => Some(written.or(built_in)),
        (written, built_in) => written.or(built_in),
    };
    ProviderTable { oauth, failure, ..written.or(built_in) }
}

fn base_url(text: &Text, find: &mut Findings<'_>) -> Option<url::Url> {
    let url = address::url(text, find)?;
    if url.query().is_some() {
        find.error("provider::base_url", &text.span, "`base_url` has no query")
            .hint("put fixed parameters into `query` of the tools");
        return None;
    }
    Some(url)
}

fn failure(table: FailureTable, find: &mut Findings<'_>) -> FailureConvention {
    let mut pointer = |text: Text| json_pointer::pointer(text, find);
    let texts = |texts: Option<Vec<Text>>| {
        texts.unwrap_or_default().into_iter().map(|text| text.value).collect()
    };
    FailureConvention {
        message: table.message.unwrap_or_default().into_iter().map(&mut pointer).collect(),
        ok: table.ok.map(&mut pointer),
        errors: table.errors.map(&mut pointer),
        code: table.code.map(&mut pointer),
        needed: table.needed.map(&mut pointer),
        expired: texts(table.expired),
        missing_scope: texts(table.missing_scope),
        rate_limited: texts(table.rate_limited),
    }
}

fn words(table: Named<Text>, scopes: &ScopeRule) -> BTreeMap<String, String> {
    table
        .entries
        .into_iter()
        .map(|(scope, words)| (scopes.full(scope.as_str()), words.value))
        .collect()
}

/// Returns the scopes that a provider's own table names.
fn spoken_of(provider: &Provider) -> Scopes {
    let described = Scopes::new(provider.scope_words.keys().map(String::as_str));
    let Credential::OAuth(settings) = &provider.credential else { return described };
    let implied = settings.implied.iter().flat_map(|(wide, narrow)| narrow.iter().chain([wide]));
    described.union(&settings.scopes).union(&Scopes::new(implied.map(String::as_str)))
}

/// Returns a name for people.
pub(super) fn capitalized(id: &str) -> String {
    let mut letters = id.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
