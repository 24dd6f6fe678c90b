//! The built-in providers: every entry loads, points only to the provider's own hosts over HTTPS,
//! and produces the authorization URL of the golden file.

mod cli;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use countersign::catalog;
use countersign::config::{self, Config};
use countersign::model::authorization::redirect_uri;
use countersign::model::credential::Credential;
use countersign::model::hosts::Hosts;
use countersign::model::oauth::{LoopbackRule, OAuthSettings, Revocation};
use countersign::model::{Provider, Scopes};
use countersign::oauth::{AuthorizationRequest, authorization_url};
use countersign::web::loopback::listener::{DEFAULT_PORT, loopback_origin};
use url::Url;

use crate::command::package;

const GOLDEN: &str = "tests/it/fixtures/authorization_urls.txt";

/// Settings that a provider requires besides its app, if any.
fn placeholders(id: &str) -> &'static str {
    match id {
        "salesforce" => r#"host = "acme.my.salesforce.com""#,
        "docusign" => r#"host = "na4.docusign.net""#,
        "okta" => r#"host = "acme.okta.com""#,
        "auth0" => r#"host = "acme.eu.auth0.com""#,
        "keycloak" => "host = \"login.acme.example\"\nrealm = \"staff\"",
        "zendesk" | "pipedrive" => r#"subdomain = "acme""#,
        "shopify" => r#"shop = "acme""#,
        "mailchimp" => r#"region = "us19""#,
        "twitch" => r#"client_id = "our-id""#,
        _ => "",
    }
}

/// Loads the smallest `tools.toml` that uses a provider.
fn load(id: &str, table: &str) -> Result<Config, config::Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tools.toml");
    let tool = format!("[tools.a]\ndescription = \"d\"\nprovider = \"{id}\"\nrequest = \"GET /x\"");
    std::fs::write(&path, format!("[providers.{id}]\n{table}\n{tool}\n")).unwrap();
    config::load(config::environment::find(Some(&path)).unwrap())
}

fn provider(id: &str) -> Arc<Provider> {
    let config = load(id, placeholders(id)).unwrap_or_else(|problems| panic!("{id}: {problems}"));
    Arc::clone(&config.providers[id])
}

fn all() -> impl Iterator<Item = Arc<Provider>> {
    catalog::ids().map(provider)
}

/// OAuth settings; `None` for the few providers that do not use OAuth.
fn oauth(provider: &Provider) -> Option<&OAuthSettings> {
    match &provider.credential {
        Credential::OAuth(settings) => Some(settings),
        Credential::Shared(_) | Credential::Asked(_) => None,
    }
}

fn urls(settings: &OAuthSettings) -> Vec<&Url> {
    let endpoints = &settings.endpoints;
    let revoke = endpoints.revoke.as_ref().map(|revoke| match revoke {
        Revocation::Rfc7009(url)
        | Revocation::AccessToken(url)
        | Revocation::Bearer(url)
        | Revocation::Delete(url)
        | Revocation::GitHub(url) => url,
        Revocation::Request(request) => &request.url,
    });
    [
        &endpoints.issuer,
        &endpoints.authorize,
        &endpoints.token,
        &endpoints.refresh,
        &endpoints.device,
    ]
    .into_iter()
    .flatten()
    .chain(revoke)
    .collect()
}

#[test]
fn each_entry_is_whole() {
    let mut ids = BTreeSet::new();
    for provider in all() {
        let id = &provider.id;
        assert!(ids.insert(id.clone()), "{id} is there twice");
        assert!(!provider.title.is_empty() && provider.console_url.is_some(), "{id}");
        let guide = &provider.guide;
        for text in [&guide.about, &guide.register, &guide.tokens] {
            assert!(!text.is_empty(), "{id} tells too little");
        }
        let sentences = guide.notes.iter().chain([&guide.register, &guide.tokens]);
        for sentence in sentences {
            assert!(sentence.ends_with('.'), "{id}: {sentence}");
        }
        let Some(settings) = oauth(&provider) else { continue };
        let endpoints = &settings.endpoints;
        assert!(endpoints.authorize.is_some() && endpoints.token.is_some(), "{id}");
        assert!(settings.token_auth.is_some() && settings.identity.is_some(), "{id}");
    }
    assert_eq!(ids.len(), 63);
}

#[test]
fn credentials_go_to_the_provider_s_own_hosts_over_https() {
    for provider in all() {
        let id = &provider.id;
        assert!(!provider.hosts.is_empty(), "{id}");
        let base = provider.base_url.as_ref().unwrap();
        assert!(provider.hosts.admit(base), "{id}: `hosts` leaves `base_url` out");
        let Some(settings) = oauth(&provider) else { continue };
        let own = urls(settings);
        for url in own.iter().copied().chain([base]).chain(&provider.console_url) {
            assert_eq!(url.scheme(), "https", "{id}: {url}");
            assert!(url.username().is_empty() && url.password().is_none(), "{id}: {url}");
            assert!(url.port().is_none() && url.fragment().is_none(), "{id}: {url}");
        }
        let own = Hosts::new(own.iter().filter_map(|url| url.host_str()));
        let identity = &settings.identity.as_ref().unwrap().url;
        let is_own = provider.hosts.admit(identity) || own.admit(identity);
        assert!(is_own && identity.scheme() == "https", "{id}: {identity}");
    }
}

#[test]
fn scopes_are_spoken_of_in_one_language() {
    for provider in all() {
        let id = &provider.id;
        let Some(settings) = oauth(&provider) else { continue };
        for scope in settings.scopes.iter().chain(provider.scope_words.keys().map(String::as_str)) {
            let separator = settings.scope_separator.as_str();
            assert!(!scope.contains(separator) && !scope.contains(' '), "{id}: `{scope}`");
        }
        for scope in settings.scopes.iter() {
            assert!(provider.scope_words.contains_key(scope), "{id}: `{scope}` has no words");
        }
        // A scope that implies itself would be a mistake.
        for (wide, narrow) in &settings.implied {
            assert!(!narrow.contains(wide), "{id}: `{wide}`");
        }
    }
}

#[test]
fn a_missing_tenant_or_host_is_named() {
    for id in catalog::ids().filter(|id| !placeholders(id).is_empty()) {
        let problems = load(id, "").expect_err(id);
        for line in placeholders(id).lines() {
            let key = line.split(' ').next().unwrap();
            let named = format!("`{id}` needs `{key}`");
            assert!(problems.errors().any(|problem| problem.message == named), "{id}: {problems}");
        }
        assert_eq!(problems.errors().count(), placeholders(id).lines().count(), "{id}: {problems}");
    }
}

#[test]
fn a_tenant_or_host_cannot_lead_elsewhere() {
    let attacks =
        ["evil.example/", ":80@evil.example/", "a.b", "..", "a?b", "a#b", "", "*", "{host}"];
    for attack in attacks {
        for (id, key) in [("shopify", "shop"), ("zendesk", "subdomain"), ("pipedrive", "subdomain")]
        {
            let refused = load(id, &format!("{key} = {attack:?}")).expect_err(attack);
            assert!(refused.errors().all(|problem| problem.code == "provider::placeholder"));
        }
    }
    for attack in ["evil.example/", ":80@evil.example/", "*.evil.example", "a?b", "a b"] {
        for id in ["salesforce", "okta", "docusign", "gitlab"] {
            assert!(load(id, &format!("host = {attack:?}")).is_err(), "{id}: {attack}");
        }
    }
    let realm = |realm: &str| load("keycloak", &format!("host = \"a.example\"\nrealm = {realm:?}"));
    assert!(realm("My_realm-2").is_ok());
    for attack in ["..", ".", "a/b", "%2e%2e", ""] {
        assert!(realm(attack).is_err(), "{attack}");
    }
}

/// Formats the authorization URL, built by the code that sends the browser to the provider.
fn golden(provider: &Provider, settings: &OAuthSettings) -> String {
    let redirect_uri =
        redirect_uri(&loopback_origin(settings.loopback, DEFAULT_PORT), &provider.id);
    let some = provider.scope_words.keys().filter(|scope| !settings.scopes.contains(scope));
    let scopes = settings.scopes.union(&Scopes::new(some.take(2)));
    let url = authorization_url(&AuthorizationRequest {
        endpoint: settings.endpoints.authorize.as_ref().unwrap(),
        client_id: "our-id",
        redirect_uri: &redirect_uri,
        state: &"the-state".into(),
        verifier: settings
            .pkce
            .then(|| "a-verifier-of-43-characters-or-more-0123456789".into())
            .as_ref(),
        scope: (&settings.scope_parameter, scopes.join(&settings.scope_separator)),
        params: &settings.params,
    })
    .unwrap();
    let mut block = format!("{}\n  {}\n", provider.id, url.as_str().split('?').next().unwrap());
    let mut names = BTreeSet::new();
    for (name, value) in url.query_pairs() {
        assert!(names.insert(name.to_string()), "{}: `{name}` is sent twice", provider.id);
        let _ = writeln!(block, "    {name} = {value}");
    }
    if settings.loopback == LoopbackRule::Refused {
        block.push_str("  and wants https for its redirect URI\n");
    }
    block
}

#[test]
fn each_authorization_url_is_the_golden_one() {
    let blocks: Vec<String> = all()
        .filter_map(|provider| oauth(&provider).map(|settings| golden(&provider, settings)))
        .collect();
    let found = blocks.join("\n");
    let path = package(GOLDEN);
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    if found != wanted {
        // Written beside the binary, not into the sources: a golden file that updates itself proves
        // nothing.
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authorization_urls.txt");
        std::fs::write(&fresh, &found).unwrap();
        let by_id = |text: &str| -> BTreeMap<String, String> {
            let blocks = text.split("\n\n").map(|block| {
                let id = block.lines().next().unwrap_or_default();
                (id.to_owned(), block.trim().to_owned())
            });
            blocks.collect()
        };
        let (wanted, found) = (by_id(&wanted), by_id(&found));
        let differ = found.iter().filter(|(id, block)| wanted.get(*id) != Some(*block));
        let differ: Vec<&String> = differ.map(|(id, _)| id).collect();
        panic!(
            "{differ:?} differ from {GOLDEN}; if they should, replace it by {}",
            fresh.display()
        );
    }
}
