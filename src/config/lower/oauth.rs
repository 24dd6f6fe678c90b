//! `[providers.*.oauth]` and the OAuth app's id and secret.

use url::Url;

use super::super::file::{OAuthTable, ProviderTable, RevokeRequestTable};
use super::super::problem::Findings;
use super::super::read::Named;
use super::super::span::{Span, Text};
use super::request::Api;
use super::scope_rule::ScopeRule;
use super::secret::variable;
use super::{address, assertion, body, choice, identity, refresh, secret};
use crate::model::hosts::Hosts;
use crate::model::oauth::{
    Endpoints, GrantType, LoopbackRule, OAuthSettings, Revocation, RevocationRequest, TokenAuth,
    TokenBody, TokenResponseShape,
};
use crate::model::scope::Implied;
use crate::model::secret_ref::{SecretRef, Setting};

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
const REVOCATIONS: [(&str, MakeRevocation); 5] = [
    ("rfc7009", Revocation::Rfc7009),
    ("access-token", Revocation::AccessToken),
    ("bearer", Revocation::Bearer),
    ("delete", Revocation::Delete),
    ("github", Revocation::GitHub),
];
type MakeRevocation = fn(Url) -> Revocation;
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
    let may_be_there = find.may_be_there(&table.span, "oauth")
        || ["issuer", "authorize_url", "token_url"]
            .iter()
            .any(|key| find.may_be_there(&oauth.span, key));
    let grant = assertion::grant(&mut oauth, table.client_id.is_some(), find);
    let token_auth = oauth.token_auth.as_ref().and_then(|text| choice(text, &TOKEN_AUTHS, find));
    let client = Client::for_grant(grant.as_ref()?, id, table, token_auth, is_built_in, find);
    let own_scopes = scopes.apply(table.scopes.as_deref().unwrap_or_default(), find);
    let params =
        assertion::pairs(oauth.params.unwrap_or_default(), &OWN_PARAMS, "provider::params", find);
    let token_params = assertion::pairs(
        oauth.token_params.unwrap_or_default(),
        &OWN_TOKEN_PARAMS,
        "oauth::token_params",
        find,
    );
    let token_header =
        oauth.token_header.filter(|name| body::is_header_name(name, find)).map(|name| name.value);
    let identity = identity::identity(oauth.identity, oauth.userinfo_url, api.base_url, find);
    let client = client?;
    let token_body = oauth.token_body.as_ref().and_then(|text| choice(text, &TOKEN_BODIES, find));
    let loopback = oauth.loopback.as_ref().and_then(|text| choice(text, &LOOPBACKS, find));
    let texts = EndpointTexts {
        issuer: oauth.issuer,
        authorize: oauth.authorize_url,
        token: oauth.token_url,
        revoke: oauth.revoke_url,
        revocation: oauth.revoke,
        revocation_request: oauth.revoke_request,
        refresh: oauth.refresh_url,
        device: oauth.device_url,
    };
    let settings = OAuthSettings {
        token_body: token_body.unwrap_or_default(),
        loopback: loopback.unwrap_or_default(),
        endpoints: endpoints(id, &table.span, texts, may_be_there, grant.as_ref()?, find)?,
        grant: grant?,
        client_id: client.id,
        client_secret: client.secret,
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

/// Positions of the endpoints that receive tokens or the client secret and that a grant is not
/// bound to. They must be at the origin of an endpoint that it is bound to, or, except for
/// `device_url`, at one of the provider's `hosts`. Otherwise a `tools.toml` with this server's
/// client, endpoints and hosts could name an endpoint of its own and be sent the tokens that others
/// have granted.
struct Places {
    identity: Option<Span>,
    revoke: Option<Span>,
    device: Option<Span>,
}

impl Places {
    fn of(oauth: &OAuthTable) -> Self {
        let span = |text: &Option<Text>| text.as_ref().map(|text| text.span.clone());
        let identity = oauth.identity.as_ref().map(|table| table.span.clone());
        Self {
            identity: identity.or_else(|| span(&oauth.userinfo_url)),
            revoke: span(&oauth.revoke_url),
            device: span(&oauth.device_url),
        }
    }

    fn check(&self, settings: &OAuthSettings, hosts: &Hosts, find: &mut Findings<'_>) {
        let Endpoints { issuer, authorize, token, revoke, device, .. } = &settings.endpoints;
        let bound = [issuer, authorize, token];
        let is_beside =
            |url: &Url| bound.into_iter().flatten().any(|bound| bound.origin() == url.origin());
        let identity = settings.identity.as_ref().map(|identity| &identity.url);
        let revoke = revoke.as_ref().map(Revocation::url);
        for (key, span, url, may_be_host) in [
            ("identity", &self.identity, identity, true),
            ("revoke_url", &self.revoke, revoke, true),
            // It receives the client secret, and shows users where to go.
            ("device_url", &self.device, device.as_ref(), false),
        ] {
            let (Some(span), Some(url)) = (span, url) else { continue };
            if is_beside(url) || (may_be_host && hosts.admit(url)) {
                continue;
            }
            let host = crate::net::host_of(url);
            let hint = if may_be_host {
                format!(
                    "it is given tokens: name a place at the token endpoint's host, or add \"{host}\" to `hosts`"
                )
            } else {
                "it is given the client secret: name a place at the token endpoint's host"
                    .to_owned()
            };
            find.error(
                "oauth::places",
                span,
                format!("`{key}` is at {host}, of which nothing else speaks"),
            )
            .hint(hint);
        }
    }
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

/// This server's registration at the provider, as written.
struct Client {
    id: Option<Setting>,
    secret: Option<SecretRef>,
}

impl Client {
    /// Reads what the grant needs of it.
    fn for_grant(
        grant: &GrantType,
        id: &Text,
        table: &ProviderTable,
        token_auth: Option<TokenAuth>,
        is_built_in: bool,
        find: &mut Findings<'_>,
    ) -> Option<Self> {
        let name = variable(id.as_str());
        match grant {
            GrantType::JwtBearer { .. } => Self::asserting(table, &name, find),
            GrantType::Code => Self::read(id, table, token_auth, is_built_in, &name, find),
            GrantType::ClientCredentials => {
                let client = Self::read(id, table, token_auth, is_built_in, &name, find);
                if table.client_secret.is_none() && !is_built_in {
                    // RFC 6749 §4.4: only for clients that can authenticate.
                    find.missing(
                        &id.span,
                        "client_secret",
                        "a client without a secret has no credentials to be granted anything for",
                    );
                }
                client
            }
        }
    }

    fn read(
        id: &Text,
        table: &ProviderTable,
        token_auth: Option<TokenAuth>,
        is_built_in: bool,
        name: &str,
        find: &mut Findings<'_>,
    ) -> Option<Self> {
        let client_id = client_id(id, table, is_built_in, name, find);
        let secret = client_secret(table, token_auth, is_built_in, name, find);
        Some(Self { id: Some(client_id?), secret })
    }

    /// Reads only an id and secret that are written: an assertion needs none (RFC 7523 §3.1), and
    /// the usual variables belong to the app that users consent to.
    fn asserting(table: &ProviderTable, name: &str, find: &mut Findings<'_>) -> Option<Self> {
        let id = match &table.client_id {
            Some(text) => Some(secret::setting(text, "client id", find)?),
            None => None,
        };
        let secret = table.client_secret.as_ref();
        let secret = secret
            .and_then(|text| secret::secret(text, &format!("env:{name}_CLIENT_SECRET"), find));
        Some(Self { id, secret })
    }
}

fn client_id(
    id: &Text,
    table: &ProviderTable,
    is_built_in: bool,
    name: &str,
    find: &mut Findings<'_>,
) -> Option<Setting> {
    match &table.client_id {
        Some(text) => secret::setting(text, "client id", find),
        None if is_built_in => Some(Setting::Secret(SecretRef::Env(format!("{name}_CLIENT_ID")))),
        None => {
            find.missing(
                &id.span,
                "client_id",
                format!("write it, or a reference like `client_id = \"env:{name}_CLIENT_ID\"`"),
            );
            None
        }
    }
}

/// Reads the client secret. A public client has none; for a built-in provider it defaults to the
/// usual variable.
fn client_secret(
    table: &ProviderTable,
    token_auth: Option<TokenAuth>,
    is_built_in: bool,
    name: &str,
    find: &mut Findings<'_>,
) -> Option<SecretRef> {
    let usual = format!("{name}_CLIENT_SECRET");
    match &table.client_secret {
        Some(text) => {
            if token_auth == Some(TokenAuth::None) {
                find.error(
                    "provider::credential",
                    &text.span,
                    "a client with `token_auth = \"none\"` has no secret",
                )
                .hint("remove one of the two");
            }
            secret::secret(text, &format!("env:{usual}"), find)
        }
        None if is_built_in && token_auth != Some(TokenAuth::None) => Some(SecretRef::Env(usual)),
        None => None,
    }
}

struct EndpointTexts {
    issuer: Option<Text>,
    authorize: Option<Text>,
    token: Option<Text>,
    revoke: Option<Text>,
    revocation: Option<Text>,
    revocation_request: Option<RevokeRequestTable>,
    refresh: Option<Text>,
    device: Option<Text>,
}

fn endpoints(
    id: &Text,
    table: &super::super::span::Span,
    texts: EndpointTexts,
    may_be_there: bool,
    grant: &GrantType,
    find: &mut Findings<'_>,
) -> Option<Endpoints> {
    let mut url = |text: &Option<Text>| text.as_ref().and_then(|text| address::url(text, find));
    let mut endpoints = Endpoints {
        issuer: url(&texts.issuer),
        authorize: url(&texts.authorize),
        token: url(&texts.token),
        refresh: url(&texts.refresh),
        revoke: None,
        device: url(&texts.device),
    };
    let revoke = url(&texts.revoke);
    endpoints.revoke = if let Some(request) = texts.revocation_request {
        revoke.and_then(|url| revocation_request(url, request, find))
    } else {
        let kind = texts.revocation.as_ref().and_then(|text| choice(text, &REVOCATIONS, find));
        revoke.map(kind.unwrap_or(Revocation::Rfc7009))
    };
    let lacks_authorize = grant.is_by_consent() && texts.authorize.is_none();
    if texts.issuer.is_none() && (lacks_authorize || texts.token.is_none()) {
        if !may_be_there && !find.is_damaged(table.start) {
            find.error(
                "provider::endpoints",
                &id.span,
                format!("nothing says where `{}` grants access", id.value),
            )
            .hint(format!(
                "add `issuer` to [providers.{}.oauth], or {}`token_url`",
                id.value,
                if grant.is_by_consent() { "`authorize_url` and " } else { "" }
            ));
        }
        return None;
    }
    Some(endpoints)
}

fn revocation_request(
    url: Url,
    table: RevokeRequestTable,
    find: &mut Findings<'_>,
) -> Option<Revocation> {
    let (body, fields) = match (table.body, table.form) {
        (Some(fields), None) => (TokenBody::Json, fields),
        (None, Some(fields)) => (TokenBody::Form, fields),
        _ => {
            find.error("provider::revoke", &table.span, "what is posted?")
                .hint("write either `body = { … }` or `form = { … }`");
            return None;
        }
    };
    let values = fields.entries.iter().map(|(_, value)| value).chain(&table.authorization);
    for text in values {
        let known = ["{client_id}", "{client_secret}", "{access_token}"];
        if known.iter().fold(text.value.clone(), |text, name| text.replace(name, "")).contains('{')
        {
            find.error("provider::revoke", &text.span, "nothing is known by this name").hint(
                "there are `{client_id}`, `{client_secret}` and `{access_token}`, and no other braces",
            );
        }
    }
    let fields = fields.entries.into_iter().map(|(name, value)| (name.value, value.value));
    Some(Revocation::Request(RevocationRequest {
        url,
        authorization: table.authorization.map(|text| text.value),
        fields: fields.collect(),
        body,
    }))
}
