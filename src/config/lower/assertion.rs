//! `grant` and `assertion` of `[providers.*.oauth]`: how a grant is obtained.

use std::time::Duration;

use super::super::file::{AssertionTable, OAuthTable};
use super::super::findings::Findings;
use super::super::read::Named;
use super::super::span::{Span, Text};
use super::{choice, secret, within};
use crate::model::assertion::{Algorithm, AssertionKey, AssertionSettings};
use crate::model::oauth::GrantType;

#[derive(Clone, Copy)]
enum Grant {
    Code,
    ClientCredentials,
    JwtBearer,
}

const GRANTS: [(&str, Grant); 3] = [
    ("code", Grant::Code),
    ("client_credentials", Grant::ClientCredentials),
    ("jwt_bearer", Grant::JwtBearer),
];
/// Lifetime of an assertion in seconds.
const DEFAULT_LIFETIME_SECONDS: u64 = 300;
/// Claims that Countersign sets for each assertion (RFC 7519 §4.1); writing one is an error.
const OWN_CLAIMS: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// Reads how the grant is obtained; `None` after reporting a problem.
pub(super) fn grant(
    table: &mut OAuthTable,
    has_client_id: bool,
    find: &mut Findings<'_>,
) -> Option<GrantType> {
    let grant = match &table.grant {
        Some(text) => choice(text, &GRANTS, find)?,
        None => Grant::Code,
    };
    if let (Grant::Code | Grant::ClientCredentials, Some(assertion)) = (grant, &table.assertion) {
        find.error("oauth::assertion", &assertion.span, "nothing asks for this assertion")
            .hint("write `grant = \"jwt_bearer\"`, or remove it");
    }
    Some(match grant {
        Grant::Code => GrantType::Code,
        Grant::ClientCredentials => GrantType::ClientCredentials,
        Grant::JwtBearer => {
            let Some(assertion) = table.assertion.take() else {
                let place = table.grant.as_ref().map_or(&table.span, |grant| &grant.span);
                find.missing(
                    place,
                    "assertion",
                    "add [providers.….oauth.assertion] with `private_key` or `service_account`",
                );
                return None;
            };
            GrantType::JwtBearer { assertion: Box::new(settings(assertion, has_client_id, find)?) }
        }
    })
}

fn settings(
    table: AssertionTable,
    has_client_id: bool,
    find: &mut Findings<'_>,
) -> Option<AssertionSettings> {
    let claims =
        pairs(table.claims.clone().unwrap_or_default(), &OWN_CLAIMS, "oauth::claims", find);
    let lifetime = match &table.lifetime {
        Some(given) => u64::try_from(within("lifetime", 30..=3600, given, find)?).ok()?,
        None => DEFAULT_LIFETIME_SECONDS,
    };
    let subject = match &table.subject {
        Some(text) => Some(secret::setting(text, "subject", find)?),
        None => None,
    };
    let key = match &table.service_account {
        Some(file) => service_account(file, &table, find),
        None => private_key(&table, has_client_id, find),
    };
    Some(AssertionSettings {
        key: key?,
        subject,
        audience: table.audience.map(|text| text.value),
        lifetime: Duration::from_secs(lifetime),
        claims,
    })
}

fn service_account(
    file: &Text,
    table: &AssertionTable,
    find: &mut Findings<'_>,
) -> Option<AssertionKey> {
    let brought = [
        ("private_key", &table.private_key),
        ("algorithm", &table.algorithm),
        ("key_id", &table.key_id),
        ("issuer", &table.issuer),
    ];
    for (key, text) in brought {
        let Some(text) = text else { continue };
        if key == "private_key" {
            secret::secret(text, "file:/run/secrets/key.pem", find);
        }
        find.error("oauth::assertion", &text.span, format!("`service_account` brings `{key}`"))
            .hint("remove one of the two");
    }
    let file = secret::secret(file, "file:/run/secrets/service-account.json", find)?;
    Some(AssertionKey::ServiceAccount(file))
}

fn private_key(
    table: &AssertionTable,
    has_client_id: bool,
    find: &mut Findings<'_>,
) -> Option<AssertionKey> {
    let algorithms = Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
    let algorithm = match &table.algorithm {
        Some(text) => choice(text, &algorithms, find),
        None => Some(Algorithm::RS256),
    };
    let issuer = match &table.issuer {
        Some(text) => Some(secret::setting(text, "issuer", find)?),
        None if has_client_id => None,
        None => {
            find.missing(&table.span, "issuer", "write who asserts, or a `client_id`");
            return None;
        }
    };
    let Some(key) = &table.private_key else {
        find.missing(
            &table.span,
            "private_key",
            "write a reference, e.g. `private_key = \"file:/run/secrets/key.pem\"`, or `service_account`",
        );
        return None;
    };
    let key = secret::secret(key, "file:/run/secrets/key.pem", find)?;
    let key_id = table.key_id.as_ref().map(|text| text.value.clone());
    Some(AssertionKey::PrivateKey { key, algorithm: algorithm?, key_id, issuer })
}

/// Reads names and strings, and reports the names in `own`, which only Countersign may set.
pub(super) fn pairs(
    table: Named<Text>,
    own: &[&str],
    code: &'static str,
    find: &mut Findings<'_>,
) -> Vec<(String, String)> {
    for (name, _) in &table.entries {
        if own.contains(&name.as_str()) {
            report_own(code, name.as_str(), &name.span, find);
        }
    }
    table.entries.into_iter().map(|(name, value)| (name.value, value.value)).collect()
}

fn report_own(code: &'static str, name: &str, span: &Span, find: &mut Findings<'_>) {
    find.error(code, span, format!("`{name}` is not free to be set"))
        .hint("remove it: it is made for each request");
}
