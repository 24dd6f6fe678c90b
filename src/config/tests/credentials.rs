//! Tests of providers that grant access without a consent.

use std::time::Duration;

use super::*;
use crate::model::assertion::{Algorithm, AssertionKey, AssertionSettings};
use crate::model::credential::{Asked, AskedFor};
use crate::model::oauth::{GrantType, OAuthSettings};
use crate::model::retention::Retention;
use crate::model::tool::Method;

/// Returns the source of the provider `acme` with these keys.
fn with(keys: &str) -> String {
    format!("[providers.acme]\nbase_url = \"https://api.acme.example/v1\"\n{keys}\n")
}

fn provider(keys: &str) -> std::sync::Arc<Provider> {
    std::sync::Arc::clone(&good(&with(keys)).providers["acme"])
}

fn shared(keys: &str) -> Shared {
    match &provider(keys).credential {
        Credential::Shared(shared) => shared.clone(),
        other => panic!("{keys}: {other:?}"),
    }
}

fn asked(keys: &str) -> Asked {
    match &provider(keys).credential {
        Credential::Asked(asked) => asked.clone(),
        other => panic!("{keys}: {other:?}"),
    }
}

fn oauth(keys: &str) -> OAuthSettings {
    match &provider(keys).credential {
        Credential::OAuth(settings) => (**settings).clone(),
        other => panic!("{keys}: {other:?}"),
    }
}

fn env(name: &str) -> SecretRef {
    SecretRef::Env(name.into())
}

#[test]
fn everybody_s_secret_is_a_reference() {
    assert_eq!(
        shared("bearer = \"env:T\""),
        Shared::Key { place: KeyPlace::bearer(), value: env("T") }
    );
    assert_eq!(
        shared("api_key = { header = \"X-Key\", prefix = \"Key \", value = \"env:K\" }"),
        Shared::Key {
            place: KeyPlace::Header { name: "X-Key".into(), prefix: "Key ".into() },
            value: env("K")
        }
    );
    assert_eq!(
        shared("basic = { user = \"ana@acme.example/token\", password = \"env:P\" }"),
        Shared::Basic {
            user: Setting::Literal("ana@acme.example/token".into()),
            password: env("P")
        }
    );
}

#[test]
fn each_person_s_secret_is_asked_for_and_tried() {
    let key = asked("bearer = { ask = \"A key\", test = \"GET /balance?x=1\" }");
    assert_eq!((&key.what, key.words.as_str()), (&AskedFor::Key(KeyPlace::bearer()), "A key"));
    let test = key.test.action.request().expect("a request");
    assert_eq!(test.method, Method::Get);
    assert_eq!(test.origin.as_str(), "https://api.acme.example/");
    assert_eq!(test.path, [text("v1"), text("balance")]);
    assert_eq!(test.query, [("x".to_owned(), text("1"))]);
    let query = asked(
        "api_key = { query = \"k\", ask = \"A key\", test = \"POST https://api.acme.example/me\" }",
    );
    assert_eq!(query.what, AskedFor::Key(KeyPlace::Query("k".into())));
    let both = asked("basic = { ask = \"Your login\", test = \"HEAD /me\" }");
    assert_eq!(both.what, AskedFor::Basic { user: None });
    let password = asked("basic = { user = \"api\", ask = \"A key\", test = \"GET /me\" }");
    let user = Some(Setting::Literal("api".into()));
    assert_eq!(password.what, AskedFor::Basic { user });
}

#[test]
fn a_built_in_provider_may_take_a_key_instead() {
    let config = good(
        "[providers.github]\nbearer = { ask = \"A token\", test = \"GET /user\" }\n\
         [tools.a]\ndescription = \"d\"\nprovider = \"github\"\nrequest = \"GET /user\"",
    );
    assert!(matches!(config.providers["github"].credential, Credential::Asked(_)));
}

#[test]
fn a_grant_of_the_server_s_own_needs_no_browser() {
    let keys = "client_id = \"us\"\nclient_secret = \"env:S\"\noauth = { token_url = \"https://login.acme.example/token\", ";
    let client = oauth(&format!(
        "{keys}grant = \"client_credentials\", token_params = {{ audience = \"https://api\" }} }}"
    ));
    let params = vec![("audience".to_owned(), "https://api".to_owned())];
    assert_eq!((client.grant, client.token_params), (GrantType::ClientCredentials, params));
    let assertion = "assertion = { private_key = \"file:/k.pem\", algorithm = \"ES256\", key_id = \"1\", subject = \"ana\", lifetime = 60, claims = { box_sub_type = \"user\" } }";
    let signed = oauth(&format!("{keys}grant = \"jwt_bearer\", {assertion} }}"));
    let GrantType::JwtBearer { assertion } = &signed.grant else { panic!("an assertion") };
    assert!(signed.token_params.is_empty());
    let expected = AssertionSettings {
        key: AssertionKey::PrivateKey {
            key: SecretRef::File("/k.pem".into()),
            algorithm: Algorithm::ES256,
            key_id: Some("1".into()),
            issuer: None,
        },
        subject: Some(Setting::Literal("ana".into())),
        audience: None,
        lifetime: Duration::from_mins(1),
        claims: vec![("box_sub_type".into(), "user".into())],
    };
    assert_eq!(**assertion, expected);
    assert_eq!(
        signed.assertion_audience(assertion).as_deref(),
        Some("https://login.acme.example/token")
    );
}

#[test]
fn a_service_account_needs_no_client() {
    let config = good(
        "[providers.google]\noauth = { grant = \"jwt_bearer\", assertion = { service_account = \"file:/sa.json\" } }",
    );
    let Credential::OAuth(google) = &config.providers["google"].credential else { panic!("OAuth") };
    assert!(google.client_id.is_none() && google.client_secret.is_none());
    let GrantType::JwtBearer { assertion } = &google.grant else { panic!("an assertion") };
    assert_eq!(assertion.key, AssertionKey::ServiceAccount(SecretRef::File("/sa.json".into())));
    assert_eq!(
        google.assertion_audience(assertion).as_deref(),
        Some("https://oauth2.googleapis.com/token")
    );
}

#[test]
fn an_audience_that_is_not_written_is_the_issuer_and_nothing_that_was_discovered() {
    let settings = oauth(
        "oauth = { issuer = \"https://login.acme.example\", grant = \"jwt_bearer\", assertion = { issuer = \"us\", private_key = \"file:/k.pem\" } }",
    );
    let GrantType::JwtBearer { assertion } = &settings.grant else { panic!("an assertion") };
    let audience = settings.assertion_audience(assertion);
    assert_eq!(audience.as_deref(), Some("https://login.acme.example"));
}

#[test]
fn retention_is_the_store_s_unless_the_provider_says_otherwise() {
    let ask = "bearer = { ask = \"A key\", test = \"GET /me\" }";
    let store = "[store]\nretention = \"no_refresh\"\n";
    let retention = |source: String| good(&source).providers["acme"].retention;
    assert_eq!(retention(with(ask)), Retention::Refresh);
    assert_eq!(retention(format!("{store}{}", with(ask))), Retention::NoRefresh);
    let own = format!("{ask}\nretention = \"use_once\"");
    assert_eq!(retention(format!("{store}{}", with(&own))), Retention::UseOnce);
    let config = good(&format!(
        "{store}[tools.a]\ndescription = \"d\"\nprovider = \"github\"\nrequest = \"GET /user\""
    ));
    assert_eq!(config.providers["github"].retention, Retention::NoRefresh);
}

#[test]
fn tools_of_a_provider_with_accounts_take_one() {
    let config = good(&format!(
        "{}[tools.a]\ndescription = \"d\"\nprovider = \"acme\"\nrequest = \"GET /x\"\n\
         [tools.b]\ndescription = \"d\"\nprovider = \"github\"\nrequest = \"GET /user\"",
        with("accounts = true\nbearer = { ask = \"A key\", test = \"GET /me\" }")
    ));
    assert!(config.providers["acme"].accounts);
    let accounts: Vec<bool> = config.tools.iter().map(|tool| tool.accounts).collect();
    assert_eq!(accounts, [true, false]);
}

#[test]
fn mistakes_in_keys_and_passwords() {
    let ask = |test: &str| with(&format!("bearer = {{ ask = \"A key\", test = \"{test}\" }}"));
    expect_each(&[
        (with("bearer = \"hunter2\""), "3:10", "a secret stands here"),
        (with("bearer = 5"), "3:10", "`bearer` is a text, not a whole number"),
        (with("bearer = { ask = \"A key\" }"), "3:10", "`test` is missing"),
        (with("bearer = { test = \"GET /me\" }"), "3:10", "`ask` is missing"),
        (with("bearer = { ask = \" \", test = \"GET /me\" }"), "3:18", "no words"),
        (with("bearer = { vaule = \"hunter2\" }"), "3:12", "unknown key"),
        (
            with("bearer = \"env:T\"\napi_key = { header = \"X\", value = \"env:K\" }"),
            "4:11",
            "`bearer` and `api_key` both say how `acme` grants access",
        ),
        (
            with("client_id = \"x\"\nbasic = { user = \"u\", password = \"env:K\" }"),
            "4:9",
            "`client_id` and `basic` both say",
        ),
        (
            with("bearer = \"env:T\"\n[providers.acme.oauth]\nissuer = \"https://a.example\""),
            "4:1",
            "`bearer` and `oauth` both say",
        ),
        (ask("GET me"), "3:39", "neither a path nor a URL"),
        (ask("DELETE /me"), "3:34", "a test changes nothing"),
        (ask("GET /me/{id}"), "3:43", "no argument reaches `{id}`"),
        (ask("GET https://other.example/me"), "3:39", "would not be sent to `other.example`"),
        (with("api_key = { header = \"X-Key\" }"), "3:11", "`value` is missing"),
        (
            with("api_key = { header = \"X-Key\", value = \"env:K\", test = \"GET /me\" }"),
            "3:55",
            "`test` is for what people paste",
        ),
        (
            with(
                "api_key = { header = \"X-Key\", value = \"env:K\", ask = \"x\", test = \"GET /me\" }",
            ),
            "3:54",
            "`value` is for everybody",
        ),
        (with("basic = { user = \"u\", password = \"hunter2\" }"), "3:34", "a secret stands here"),
        (with("basic = { password = \"env:P\" }"), "3:9", "`user` is missing"),
        (with("basic = { user = \"u\" }"), "3:9", "`password` is missing"),
        (with("basic = { user = \"u:hunter2\", password = \"env:P\" }"), "3:18", "has no `:`"),
        (
            with("bearer = \"env:T\"\naccounts = true"),
            "4:12",
            "`accounts` is for what people grant",
        ),
        (
            with("bearer = \"env:T\"\nretention = \"use_once\""),
            "4:13",
            "`retention` is for what people grant",
        ),
        (
            with("bearer = { ask = \"x\", test = \"GET /me\" }\nretention = \"once\""),
            "4:13",
            "`once` is not a retention",
        ),
        (
            format!(
                "{}[tools.a]\ndescription = \"d\"\nprovider = \"acme\"\nrequest = \"GET /x\"\nparams.account = \"A\"",
                with("accounts = true\nbearer = { ask = \"x\", test = \"GET /me\" }")
            ),
            "9:8",
            "which of the person's accounts",
        ),
    ]);
}

#[test]
fn mistakes_in_grants_of_the_server() {
    let client = "client_id = \"us\"\nclient_secret = \"env:S\"\n";
    let token = "token_url = \"https://l.example/t\"";
    let grant = |more: &str| with(&format!("{client}oauth = {{ {token}, {more} }}"));
    let assert = |more: &str| grant(&format!("grant = \"jwt_bearer\", assertion = {{ {more} }}"));
    let key = "private_key = \"file:/k.pem\"";
    expect_each(&[
        (grant("grant = \"password\""), "5:54", "`password` is not a grant"),
        (grant("pkce = true"), "1:12", "where `acme` grants access"),
        (grant("grant = \"jwt_bearer\""), "5:54", "`assertion` is missing"),
        (
            grant("grant = \"client_credentials\", assertion = { private_key = \"env:K\" }"),
            "5:88",
            "nothing asks for this assertion",
        ),
        (
            grant("grant = \"client_credentials\", token_params = { scope = \"x\" }"),
            "5:93",
            "`scope` is not free",
        ),
        (
            with(&format!(
                "client_id = \"us\"\noauth = {{ {token}, grant = \"client_credentials\" }}"
            )),
            "1:12",
            "`client_secret` is missing",
        ),
        (assert("key_id = \"1\""), "5:80", "`private_key` is missing"),
        (assert("private_key = \"hunter2\""), "5:96", "a secret stands here"),
        (assert(&format!("{key}, algorithm = \"HS256\"")), "5:123", "`HS256` is not an algorithm"),
        (
            assert(&format!("{key}, lifetime = 7200")),
            "5:122",
            "`lifetime` lies between 30 and 3600",
        ),
        (assert(&format!("{key}, claims = {{ aud = \"x\" }}")), "5:122", "`aud` is not free"),
        (
            assert("service_account = \"file:/sa.json\", key_id = \"1\""),
            "5:126",
            "`service_account` brings `key_id`",
        ),
        (
            with(&format!(
                "oauth = {{ {token}, grant = \"jwt_bearer\", assertion = {{ {key} }} }}"
            )),
            "3:80",
            "`issuer` is missing",
        ),
    ]);
}

#[test]
fn a_found_file_that_names_a_key_file_needs_trust() {
    let source = with(
        "oauth = { token_url = \"https://l.example/t\", grant = \"jwt_bearer\", assertion = { service_account = \"file:/sa.json\" } }",
    );
    let found = super::super::parse(
        Path::new("tools.toml"),
        &source,
        &[],
        FoundBy::WorkingFolder,
        Depth::Serve,
    );
    let problems = found.expect_err("not trusted");
    assert_eq!(problems.list[0].code, "config::trust");
}
