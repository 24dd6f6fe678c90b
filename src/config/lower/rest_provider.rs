//! A provider that an administrator makes over REST, read by the rules of `[providers.*]`.
//!
//! Its fields are written into a table as an operator would write them. Three things differ: no text
//! is a reference to a secret, which would lead to the secrets of the operator; every endpoint is
//! public and reached by https; and the only hosts that get its tokens are those of its endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use url::Url;

use super::super::file::{IdentityTable, OAuthTable, ProviderTable};
use super::super::findings::Findings;
use super::super::problem::Severity;
use super::super::read::Named;
use super::super::secret_ref;
use super::super::span::{At, Span, Text};
use super::provider::{self, Client};
use super::rest_request::{self, Requests, UnfitField};
use super::{address, built_in};
use crate::catalog;
use crate::model::credential::Credential;
use crate::model::oauth::{ClientSecret, OAuthSettings};
use crate::model::rest_provider::{OAuthApp, RestProvider};
use crate::model::retention::Retention;
use crate::model::secret::ExposeSecret as _;
use crate::model::{Provider, text};
use crate::net::host_of;

/// Fields, by the names that their administrator knows. Stands for the source text in which
/// [`Findings`] have their places: the span of a value is that of its field's name.
const SOURCE: &str = "\
id
provider_id
oauth2
oauth2.client_id
oauth2.client_secret
oauth2.scope_delimiter
oauth2.pkce.code_challenge_method
oauth2.authorize_request.endpoint
oauth2.authorize_request.params
oauth2.token_request.endpoint
oauth2.token_request.params
oauth2.refresh_request.endpoint
oauth2.user_info_request.endpoint
oauth2.user_info_request.response_map
";
/// Characters of the host in a provider's title: as many as a name can have in the DNS (RFC 1035
/// §2.3.4). Of a longer one, which no resolver finds, the end is shown.
const MAX_HOST_CHARS: usize = 253;

/// Rules of the operator for providers that administrators make over REST.
#[derive(Clone, Copy, Debug, Default)]
pub struct RestRules {
    /// How consents are kept, as for providers of `tools.toml` that do not say it.
    pub retention: Retention,
    /// Whether the operator lets hosts that are learnt from outside have any private address; then
    /// each request checks which.
    pub may_be_private: bool,
}

/// Returns the provider that a record describes.
///
/// # Errors
/// [`UnfitField`] for the first field that cannot be used.
pub fn rest_provider(record: &RestProvider, rules: RestRules) -> Result<Provider, UnfitField> {
    let app = &record.app;
    check_texts(record)?;
    let requests = Requests::read(app)?;
    let is_whole = requests.authorize.is_some() && requests.token.is_some();
    let built_in = match &record.built_in {
        None => None,
        Some(id) => Some(built_in::provider(id).ok_or_else(|| no_built_in(id))?),
    };
    if built_in.is_none() && !is_whole {
        let message = "names no `authorize_request` and `token_request`; without them, `provider_id` must name a built-in provider";
        return Err(UnfitField::new("oauth2", message));
    }
    // Before the rules of `tools.toml`, which let an operator name an own machine.
    for (field, endpoint) in requests.endpoints() {
        check_public(field, endpoint, rules)?;
    }
    let mut find = Findings::new(SOURCE);
    let table = table(record, requests, built_in.is_some());
    let client = Client::Written;
    let known = provider::merged(
        &place("id", &record.name),
        table,
        built_in,
        client,
        rules.retention,
        &mut find,
    );
    if let Some(unfit) = first(find) {
        return Err(unfit);
    }
    let known = known.ok_or_else(|| UnfitField::new("oauth2", "cannot be used"))?;
    let provider = Provider { id: record.provider_id(), ..Arc::unwrap_or_clone(known.provider) };
    match provider.credential {
        Credential::OAuth(settings) => {
            let credential = Credential::OAuth(Box::new(learnt(*settings, app)));
            Ok(Provider { credential, ..provider })
        }
        Credential::Shared(_) | Credential::Asked(_) => {
            let message = "names a provider that is not connected by OAuth";
            Err(UnfitField::new("provider_id", message))
        }
    }
}

/// Marks endpoints as learnt, and adds the secret, which is no reference.
fn learnt(mut settings: OAuthSettings, app: &OAuthApp) -> OAuthSettings {
    settings.is_learnt = true;
    settings.client_secret = app.client_secret.clone().map(ClientSecret::Stored);
    if let Some(identity) = &mut settings.identity {
        identity.is_learnt = true;
    }
    settings
}

fn check_texts(record: &RestProvider) -> Result<(), UnfitField> {
    let app = &record.app;
    let Some(client_id) = &app.client_id else {
        return Err(UnfitField::new("oauth2.client_id", "is missing"));
    };
    // A reference would be resolved to a secret, or the output of a program, of the operator's.
    if secret_ref::looks_like_one(client_id) {
        let message = "begins like a reference to a secret; write the id itself";
        return Err(UnfitField::new("oauth2.client_id", message));
    }
    let is_unfit = |secret: &str| secret.is_empty() || secret.chars().any(char::is_control);
    if app.client_secret.as_ref().is_some_and(|secret| is_unfit(secret.expose_secret())) {
        let message = "must have characters, and no control characters";
        return Err(UnfitField::new("oauth2.client_secret", message));
    }
    if !matches!(app.scope_delimiter.as_deref(), None | Some("," | " ")) {
        return Err(UnfitField::new("oauth2.scope_delimiter", "must be `,` or a space"));
    }
    let method = app.pkce.as_ref().and_then(|pkce| pkce.code_challenge_method.as_deref());
    if !matches!(method, None | Some("" | "S256")) {
        return Err(UnfitField::new("oauth2.pkce.code_challenge_method", "must be `S256`"));
    }
    Ok(())
}

/// Checks an endpoint by its text. Its addresses are checked when a request is sent.
fn check_public(field: &'static str, endpoint: &str, rules: RestRules) -> Result<(), UnfitField> {
    // The rules of `tools.toml` report a text that is no URL.
    let Ok(url) = Url::parse(endpoint) else { return Ok(()) };
    if url.scheme() != "https" {
        return Err(UnfitField::new(field, "must begin with `https://`"));
    }
    let is_private = url.host().is_some_and(|host| address::is_private(&host));
    if is_private && !rules.may_be_private {
        let message = "names a private address; over REST, only public hosts can be named";
        return Err(UnfitField::new(field, message));
    }
    Ok(())
}

fn no_built_in(id: &str) -> UnfitField {
    let message = match text::nearest(id, catalog::ids()) {
        Some(near) => format!("names no built-in provider; did you mean `{near}`?"),
        None => "names no built-in provider".to_owned(),
    };
    UnfitField::new("provider_id", message)
}

/// Writes the table. `is_over`: it is merged over that of a built-in provider.
fn table(record: &RestProvider, requests: Requests, is_over: bool) -> ProviderTable {
    let app = &record.app;
    let Requests { authorize, token, refresh, user_info } = requests;
    // A built-in provider has its own name, unless the endpoints are others.
    let is_moved = !is_over || authorize.is_some() || token.is_some();
    let endpoint = authorize.as_ref().map(|it| it.endpoint.as_str());
    let title = endpoint.filter(|_| is_moved).and_then(|it| title(&record.name, it));
    // The page names every host that gets the code or a token: the application chooses them all.
    let given_to = [
        token.as_ref().map(|it| &it.endpoint),
        refresh.as_ref().map(|it| &it.endpoint),
        user_info.as_ref().map(|it| &it.endpoint),
    ];
    let mut hosts: BTreeSet<String> =
        given_to.into_iter().flatten().filter_map(|it| host_in(it)).collect();
    if !hosts.is_empty() && token.is_none() {
        hosts.extend(record.built_in.as_deref().map(hosts_of_built_in).unwrap_or_default());
    }
    let place_of_host = |host: &String| place("oauth2.token_request.endpoint", host);
    let hosts: Vec<_> = hosts.iter().map(place_of_host).collect();
    let mut oauth = OAuthTable {
        span: span("oauth2"),
        pkce: app.pkce.as_ref().map(|pkce| At::new(pkce.enabled, span("oauth2"))),
        scope_separator: app
            .scope_delimiter
            .as_deref()
            .map(|text| place("oauth2.scope_delimiter", text)),
        refresh_url: refresh.map(|it| place("oauth2.refresh_request.endpoint", &it.endpoint)),
        identity: user_info.map(identity),
        ..OAuthTable::default()
    };
    if let Some(authorize) = authorize {
        oauth.authorize_url = Some(place("oauth2.authorize_request.endpoint", &authorize.endpoint));
        oauth.scope_parameter =
            authorize.scope_parameter.map(|name| place("oauth2.authorize_request.params", &name));
        oauth.params = pairs("oauth2.authorize_request.params", authorize.params);
    }
    if let Some(token) = token {
        oauth.token_url = Some(place("oauth2.token_request.endpoint", &token.endpoint));
        oauth.token_auth = token.auth.map(|word| place("oauth2", word));
        oauth.token_body = token.body.map(|word| place("oauth2", word));
        oauth.token_object = token.object.map(|name| place("oauth2", &name));
        oauth.token_params = pairs("oauth2.token_request.params", token.params);
    }
    ProviderTable {
        span: span("oauth2"),
        title: title.map(|title| place("id", &title)),
        hosts: (!hosts.is_empty()).then_some(hosts),
        client_id: app.client_id.as_deref().map(|id| place("oauth2.client_id", id)),
        oauth: Some(oauth),
        ..ProviderTable::default()
    }
}

/// Name of the provider on pages. It says where the user is sent, because its administrator may have
/// called it after another service.
fn title(name: &str, authorize: &str) -> Option<String> {
    let host = text::shown(&host_in(authorize)?, usize::MAX);
    // A host's owner is in its end: a cut there would show `accounts.example.com.…` for a host of
    // another owner.
    let left_out = host.chars().count().saturating_sub(MAX_HOST_CHARS);
    let host = match left_out {
        0 => host,
        _ => format!("…{}", host.chars().skip(left_out).collect::<String>()),
    };
    Some(format!("{} ({host})", provider::capitalized(name)))
}

fn hosts_of_built_in(id: &str) -> Vec<String> {
    let Some(table) = built_in::provider(id) else { return Vec::new() };
    match table.hosts {
        Some(hosts) => hosts.into_iter().map(|host| host.value).collect(),
        None => table.base_url.and_then(|url| host_in(&url.value)).into_iter().collect(),
    }
}

fn host_in(endpoint: &str) -> Option<String> {
    Url::parse(endpoint).ok().filter(Url::has_host).map(|url| host_of(&url))
}

fn identity(request: rest_request::UserInfo) -> IdentityTable {
    let rest_request::UserInfo { endpoint, method, id, label } = request;
    let (at, map) = ("oauth2.user_info_request.endpoint", "oauth2.user_info_request.response_map");
    IdentityTable {
        span: span(at),
        request: Some(place(at, &format!("{method} {endpoint}"))),
        id: Some(place(map, &id)),
        label: Some(label.iter().map(|pointer| place(map, pointer)).collect()),
        ..IdentityTable::default()
    }
}

fn pairs(field: &str, params: BTreeMap<String, String>) -> Option<Named<Text>> {
    let pair = |(name, value): (String, String)| (place(field, &name), place(field, &value));
    let entries: Vec<_> = params.into_iter().map(pair).collect();
    (!entries.is_empty()).then(|| Named { entries, span: span(field) })
}

fn place(field: &str, value: &str) -> Text {
    Text::new(value.to_owned(), span(field))
}

/// Place of a field's name in [`SOURCE`].
fn span(field: &str) -> Span {
    let mut start = 0;
    for line in SOURCE.lines() {
        if line == field {
            return start..start + line.len();
        }
        start += line.len() + 1;
    }
    0..0
}

/// Field whose name stands at an offset in [`SOURCE`].
fn field_at(offset: usize) -> &'static str {
    let mut end = 0;
    let is_there = |line: &&str| {
        end += line.len() + 1;
        offset < end
    };
    SOURCE.lines().find(is_there).unwrap_or("oauth2")
}

fn first(find: Findings<'_>) -> Option<UnfitField> {
    let problems = find.finish(Path::new(""));
    let problem = problems.list.into_iter().find(|it| it.severity == Severity::Error)?;
    let field = problem.span.as_ref().map_or("oauth2", |span| field_at(span.start));
    // Other remedies name keys of `tools.toml`.
    let message = match problem.hint.filter(|_| problem.code == address::CODE) {
        Some(hint) => format!("{}; {hint}", problem.message),
        None => problem.message,
    };
    Some(UnfitField::new(field, message))
}

#[cfg(test)]
mod tests;
