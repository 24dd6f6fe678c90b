//! `[providers.*.oauth]`

use super::super::file::{OAuthTable, ProviderTable};
use super::super::findings::Findings;
use super::super::read::Named;
use super::super::span::{Span, Text};
use super::endpoints::{EndpointTexts, Places, endpoints};
use super::oauth_client::OAuthClient;
use super::request::Api;
use super::scope_rule::ScopeRule;
use super::{assertion, body, choice, identity, refresh};
use crate::model::oauth::{
    ClientSecret, LoopbackRule, OAuthSettings, TokenAuth, TokenBody, TokenResponseShape,
};
use crate::model::scope::Implied;

const TOKEN_AUTHS: [(&str, TokenAuth); 4] = [
    ("basic", TokenAuth::Basic),
    ("post", TokenAuth::Post),
    ("bearer", TokenAuth::Bearer),
    ("none", TokenAuth::None),
];
const TOKEN_BODIES: [(&str, TokenBody); 2] = [("form", TokenBody::Form), ("json", TokenBody::Json)];
const LOOPBACKS: [(&str, LoopbackRule); 5] = [
    ("any-port", LoopbackRule::AnyPort),
    ("exact", LoopbackRule::Exact),
    ("localhost-any-port", LoopbackRule::LocalhostAnyPort),
    ("localhost-exact", LoopbackRule::LocalhostExact),
    ("refused", LoopbackRule::Refused),
];
/// Parameters that only Countersign sets in an authorization request (RFC 6749 §4.1.1,
/// RFC 7636 §4.3).
const OWN_PARAMS: [&str; 7] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
];
/// Parameters that only Countersign sets in a token request (RFC 6749 §4 and §6, RFC 7636 §4.5,
/// RFC 7521 §4, RFC 8628 §3.4).
const OWN_TOKEN_PARAMS: [&str; 12] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "assertion",
    "scope",
    "code",
    "code_verifier",
    "device_code",
    "redirect_uri",
    "refresh_token",
];

/// Returns the rule by which this provider's scopes are written in full.
pub(super) fn scope_rule(table: Option<&OAuthTable>) -> ScopeRule {
    let prefix = table.and_then(|table| table.scope_prefix.as_ref());
    let plain = table.and_then(|table| table.plain_scopes.as_ref());
    ScopeRule {
        prefix: prefix.map(|text| text.value.clone()).unwrap_or_default(),
        plain: plain.into_iter().flatten().map(|text| text.value.clone()).collect(),
    }
}

/// Lowers the settings for obtaining a grant; `None` if they cannot be used.
pub(super) fn settings(
    id: &Text,
    table: &mut ProviderTable,
    api: Api<'_>,
    is_built_in: bool,
    scopes: &ScopeRule,
    find: &mut Findings<'_>,
) -> Option<OAuthSettings> {
    let mut oauth = table.oauth.take().unwrap_or_default();
    let places = Places::of(&oauth);
    let may_be_there = may_have_endpoints(&table.span, &oauth.span, find);
    let grant = assertion::grant(&mut oauth, table.client_id.is_some(), find);
    let token_auth = oauth.token_auth.as_ref().and_then(|text| choice(text, &TOKEN_AUTHS, find));
    let client = OAuthClient::for_grant(grant.as_ref()?, id, table, token_auth, is_built_in, find);
    let own_scopes = scopes.apply(table.scopes.as_deref().unwrap_or_default(), find);
    let ExtraParams { params, token_params, token_header } = ExtraParams::take(&mut oauth, find);
    let identity =
        identity::identity(oauth.identity.take(), oauth.userinfo_url.take(), api.base_url, find);
    let client = client?;
    let token_body = oauth.token_body.as_ref().and_then(|text| choice(text, &TOKEN_BODIES, find));
    let loopback = oauth.loopback.as_ref().and_then(|text| choice(text, &LOOPBACKS, find));
    let texts = EndpointTexts::take(&mut oauth);
    let settings = OAuthSettings {
        token_body: token_body.unwrap_or_default(),
        loopback: loopback.unwrap_or_default(),
        endpoints: endpoints(id, &table.span, texts, may_be_there, grant.as_ref()?, find)?,
        grant: grant?,
        client_id: client.id,
        client_secret: client.secret.map(ClientSecret::Reference),
        is_learnt: false,
        token_auth,
        scopes: own_scopes,
        scope_separator: oauth.scope_separator.map_or_else(|| " ".to_owned(), |text| text.value),
        scope_parameter: scope_parameter(oauth.scope_parameter, find),
        implied: implied(oauth.implied.unwrap_or_default(), scopes),
        pkce: oauth.pkce.is_none_or(|pkce| pkce.value),
        params,
        token_params,
        token_header,
        identity,
        refresh_life: oauth.refresh_life.and_then(|table| refresh::life(table, find)),
        offline_prompt: oauth.offline_prompt.is_none_or(|prompt| prompt.value),
        response: TokenResponseShape {
            nested: oauth.token_object.map(|text| text.value),
            refresh_ended: refresh::ended(oauth.refresh_ended.unwrap_or_default(), find),
        },
    };
    // Wrong hosts have already been reported.
    if !api.hosts.is_empty() || !find.has_error_within(&find.table_at(table.span.start)) {
        places.check(&settings, api.hosts, find);
    }
    Some(settings)
}

/// Whether the endpoints may be in a part that could not be read.
fn may_have_endpoints(provider: &Span, oauth: &Span, find: &Findings<'_>) -> bool {
    find.may_be_there(provider, "oauth")
        || ["issuer", "authorize_url", "token_url"].iter().any(|key| find.may_be_there(oauth, key))
}

/// Parameters and a header that the provider needs beyond the standard ones.
struct ExtraParams {
    params: Vec<(String, String)>,
    token_params: Vec<(String, String)>,
    token_header: Option<String>,
}

impl ExtraParams {
    fn take(oauth: &mut OAuthTable, find: &mut Findings<'_>) -> Self {
        let params = oauth.params.take().unwrap_or_default();
        let params = assertion::pairs(params, &OWN_PARAMS, "provider::params", find);
        let token_params = oauth.token_params.take().unwrap_or_default();
        let token_params =
            assertion::pairs(token_params, &OWN_TOKEN_PARAMS, "oauth::token_params", find);
        let token_header = oauth.token_header.take();
        let token_header = token_header.filter(|name| body::is_header_name(name, find));
        Self { params, token_params, token_header: token_header.map(|name| name.value) }
    }
}

/// Returns the scopes that each scope contains, all in full.
fn implied(written: Named<Vec<Text>>, scopes: &ScopeRule) -> Implied {
    let full = |(wide, narrow): (Text, Vec<Text>)| {
        let narrow = narrow.iter().map(|scope| scopes.full(scope.as_str()));
        (scopes.full(wide.as_str()), narrow.collect())
    };
    written.entries.into_iter().map(full).collect()
}

/// Reads the parameter that carries the scopes. It must not be another one of [`OWN_PARAMS`].
fn scope_parameter(written: Option<Text>, find: &mut Findings<'_>) -> String {
    let Some(written) = written else { return "scope".to_owned() };
    if written.value != "scope" && OWN_PARAMS.contains(&written.as_str()) {
        find.error(
            "oauth::scope_parameter",
            &written.span,
            format!("`{}` is not free to be set", written.value),
        )
        .hint("remove it, or name the parameter that carries the scopes");
    }
    written.value
}

/// Returns the part of a built-in provider's table that fits the one `written`. If that names
/// another authorization server, only the quirks fit, not the endpoints: another server's tokens
/// must not go to the built-in one's revocation or identity endpoint, nor is its `iss` (RFC 9207)
/// the right one.
pub(super) fn fitting(built_in: OAuthTable, written: &OAuthTable) -> OAuthTable {
    if written.issuer.is_none() && written.authorize_url.is_none() && written.token_url.is_none() {
        return built_in;
    }
    OAuthTable {
        issuer: None,
        authorize_url: None,
        token_url: None,
        refresh_url: None,
        revoke_url: None,
        revoke: None,
        revoke_request: None,
        device_url: None,
        userinfo_url: None,
        identity: None,
        ..built_in
    }
}
