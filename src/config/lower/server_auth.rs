//! `[server.auth]`: the issuer; [`super::caller_key`] reads the keys.

use std::time::Duration;

use super::super::environment;
use super::super::file::server::AuthTable;
use super::super::findings::Findings;
use super::super::span::{Span, Text};
use super::references::References;
use super::{Depth, address, caller_key, secret, within};
use crate::model::secret_ref::Setting;
use crate::model::server_auth::{DEFAULT_INTROSPECTION_CACHE, DEFAULT_SCOPE, Issuer, ServerAuth};

/// Claims that are the same for many people, or different for each token (RFC 7519 §4.1, RFC 9068
/// §2.2): using one as `user_claim` would let users read each other's accounts.
const NOBODYS_CLAIMS: [&str; 13] = [
    "iss",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "azp",
    "client_id",
    "scope",
    "nonce",
    "sid",
    "groups",
    "roles",
];
/// Claims that people can change, or that can pass from one person to another (OpenID Connect Core
/// §5.7).
const PASSING_CLAIMS: [&str; 8] = [
    "email",
    "preferred_username",
    "name",
    "nickname",
    "given_name",
    "family_name",
    "phone_number",
    "upn",
];

pub(super) fn server_auth(table: &AuthTable, depth: Depth, find: &mut Findings<'_>) -> ServerAuth {
    let mut references = References::default();
    let span = &table.span;
    let keys = table.api_keys.clone().unwrap_or_default().value;
    let has_issuer = table.issuer.is_some();
    if !has_issuer {
        report_nobody(table, find);
    }
    let names_by_sub =
        has_issuer && table.user_claim.as_ref().is_none_or(|claim| claim.as_str() == "sub");
    let auth = ServerAuth {
        issuer: issuer(table, span, &mut references, find),
        keys: caller_key::keys(keys, has_issuer, names_by_sub, &mut references, find),
    };
    if depth == Depth::Check {
        references.warn_of_missing(find);
        if environment::key().is_none() && environment::key_file().is_none() {
            find.warning("secret::unset", span, "neither COUNTERSIGN_KEY nor COUNTERSIGN_KEY_FILE is set")
                .label("a server for many people keeps its key elsewhere than beside its store")
                .hint("set COUNTERSIGN_KEY where the server runs to what `countersign key generate` prints");
        }
    }
    auth
}

/// Reports mistakes in a table without an issuer: settings that need one, or no accepted callers.
fn report_nobody(table: &AuthTable, find: &mut Findings<'_>) {
    let span = |text: &Option<Text>| text.as_ref().map(|text| text.span.clone());
    let about_it = [
        ("audience", span(&table.audience)),
        ("client_id", span(&table.client_id)),
        ("client_secret", span(&table.client_secret)),
        ("user_claim", span(&table.user_claim)),
        ("groups_claim", span(&table.groups_claim)),
        ("introspect", table.introspect.as_ref().map(|it| it.span.clone())),
        ("introspection_cache", table.introspection_cache.as_ref().map(|it| it.span.clone())),
        ("scopes", table.scopes.as_ref().map(|it| it.span.clone())),
        (
            "allowed_clients",
            table.allowed_clients.iter().flatten().next().map(|it| it.span.clone()),
        ),
    ];
    let about_it = about_it.into_iter().find_map(|(key, span)| Some((key, span?)));
    let may_be_there = |key| find.may_be_there(&table.span, key);
    if may_be_there("issuer") || may_be_there("api_keys") {
        return;
    }
    if let Some((key, span)) = about_it {
        find.error("auth::issuer", &span, format!("`{key}` is about an issuer, and there is none"))
            .hint("write `issuer = \"https://…\"` beside it, or remove it");
        return;
    }
    let keys = table.api_keys.as_ref();
    if keys.is_none_or(|keys| keys.value.is_empty() && !find.has_error_within(&keys.span)) {
        find.error("auth::nobody", &table.span, "nothing says whose calls are accepted")
            .label("neither an issuer nor a key")
            .hint("write `issuer = \"https://…\"`, or a [[server.auth.api_keys]] with `name` and `key`");
    }
}

fn issuer(
    table: &AuthTable,
    span: &Span,
    references: &mut References,
    find: &mut Findings<'_>,
) -> Option<Issuer> {
    let url = table.issuer.as_ref().and_then(|text| issuer_url(text, find));
    let client_id = table.client_id.as_ref().and_then(|text| {
        let setting = secret::setting(text, "client id", find)?;
        if let Setting::Secret(reference) = &setting {
            references.add(reference, text);
        }
        Some(setting)
    });
    let client_secret = table.client_secret.as_ref().and_then(|text| {
        let reference = secret::secret(text, "env:LOGIN_CLIENT_SECRET", find)?;
        references.add(&reference, text);
        Some(reference)
    });
    let introspect = table.introspect.as_ref().is_some_and(|it| it.value);
    let audience = table.audience.as_ref().and_then(|text| {
        word(text, "`https://tools.example.com/mcp`, or what the issuer calls this server", find)
    });
    let user_claim = table.user_claim.as_ref().and_then(|text| user_claim(text, find));
    let groups_claim = table.groups_claim.as_ref().and_then(|text| word(text, "`groups`", find));
    let allowed_clients = table.allowed_clients.iter().flatten();
    let allowed_clients = allowed_clients
        .filter_map(|text| word(text, "what a token's `client_id` says", find))
        .collect();
    let scopes = match &table.scopes {
        Some(written) => written.value.iter().filter_map(|text| scope(text, find)).collect(),
        None => vec![DEFAULT_SCOPE.to_owned()],
    };
    let introspection_cache = introspection_cache(table, find);
    report_missing_client(table, table.issuer.as_ref()?, introspect, span, find);
    Some(Issuer {
        url: url?,
        audience,
        allowed_clients,
        scopes,
        client_id,
        client_secret,
        user_claim: user_claim.unwrap_or_else(|| "sub".into()),
        groups_claim: groups_claim.unwrap_or_else(|| "groups".into()),
        introspect,
        introspection_cache,
    })
}

/// Reports parts of the client registration that sign-in or introspection needs.
fn report_missing_client(
    table: &AuthTable,
    issuer: &Text,
    introspect: bool,
    span: &Span,
    find: &mut Findings<'_>,
) {
    let has_secret = table.client_secret.is_some();
    if table.client_id.is_none() {
        if introspect || has_secret {
            find.missing(
                span,
                "client_id",
                "write the id that the issuer gave to this server, together with that secret",
            );
        } else if !find.may_be_there(span, "client_id") {
            find.warning("auth::client_id", &issuer.span, "without `client_id` nobody can sign in to open a link, so no links are made")
                .hint("register this server at the issuer with the redirect URI <public_url>/signin/callback, and write its `client_id` in [server.auth]");
        }
    }
    if introspect && !has_secret {
        // RFC 7662 §2.1: otherwise any client could test tokens there.
        find.missing(
            span,
            "client_secret",
            "an issuer is asked about tokens by a client with a secret: write it, e.g. `client_secret = \"env:LOGIN_CLIENT_SECRET\"`, or remove `introspect`",
        );
    }
}

/// Reads a scope that clients are told to request (RFC 6749 §3.3).
fn scope(text: &Text, find: &mut Findings<'_>) -> Option<String> {
    const CODE: &str = "auth::scopes";
    let is_plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if text.value.is_empty() || !text.value.bytes().all(is_plain) {
        find.error(CODE, &text.span, "a scope is one word of ASCII, without quotes")
            .hint("write each scope as a text of its own, e.g. `scopes = [\"openid\", \"tools\"]`");
        return None;
    }
    if text.value == "offline_access" {
        find.error(CODE, &text.span, "`offline_access` is no right at this server").hint(
            "leave it out: a client that wants a refresh token asks the issuer for it by itself",
        );
        return None;
    }
    Some(text.value.clone())
}

fn introspection_cache(table: &AuthTable, find: &mut Findings<'_>) -> Duration {
    let Some(given) = &table.introspection_cache else { return DEFAULT_INTROSPECTION_CACHE };
    if !table.introspect.as_ref().is_some_and(|it| it.value)
        && !find.may_be_there(&table.span, "introspect")
    {
        find.warning(
            "auth::introspection_cache",
            &given.span,
            "`introspection_cache` has no effect without `introspect = true`",
        )
        .hint("remove it, or write `introspect = true` where access tokens are no JWTs");
    }
    let seconds = within("introspection_cache", 0..=3600, given, find);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(DEFAULT_INTROSPECTION_CACHE, Duration::from_secs)
}

/// Reads the issuer's URL (RFC 8414 §2: `https`, without query and fragment).
fn issuer_url(text: &Text, find: &mut Findings<'_>) -> Option<url::Url> {
    let url = address::url(text, find)?;
    if url.query().is_some() {
        find.error("auth::issuer", &text.span, "an issuer has no query")
            .hint("remove `?` and what follows");
        return None;
    }
    Some(url)
}

fn user_claim(text: &Text, find: &mut Findings<'_>) -> Option<String> {
    let claim = word(text, "`sub`", find)?;
    if NOBODYS_CLAIMS.contains(&&*claim) {
        find.error("auth::user_claim", &text.span, format!("`{claim}` is no person's name"))
            .label("many people share it, or it changes")
            .hint("leave it out: `sub` is a person's for good");
        return None;
    }
    if PASSING_CLAIMS.contains(&&*claim) {
        find.warning(
            "auth::user_claim",
            &text.span,
            format!("`{claim}` may pass from one person to another, and with it what they have connected"),
        )
        .hint("leave it out: `sub` is a person's for good");
    }
    Some(claim)
}

/// Reads a string without white space; `example` completes the hint.
fn word(text: &Text, example: &str, find: &mut Findings<'_>) -> Option<String> {
    if text.value.is_empty() || text.value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        find.error("auth::word", &text.span, "one word is wanted here, without white space")
            .hint(format!("e.g. {example}; or leave it out"));
        return None;
    }
    Some(text.value.clone())
}
