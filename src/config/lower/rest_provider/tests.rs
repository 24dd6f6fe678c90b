use serde_json::{Value, json};

use super::*;
use crate::model::Time;
use crate::model::oauth::{LoopbackRule, TokenAuth, TokenBody};

fn record(built_in: Option<&str>, app: Value) -> RestProvider {
    RestProvider {
        name: "hooli".into(),
        space: "key:app".into(),
        description: None,
        external_id: None,
        built_in: built_in.map(str::to_owned),
        is_active: true,
        is_ending: false,
        app: serde_json::from_value(app).unwrap(),
        revision: "r".into(),
        created_at: Time::from_millis(0),
        updated_at: Time::from_millis(0),
    }
}

fn good(built_in: Option<&str>, app: Value) -> (Provider, OAuthSettings) {
    let provider = rest_provider(&record(built_in, app), RestRules::default()).unwrap();
    let Credential::OAuth(settings) = provider.credential.clone() else { panic!("OAuth") };
    (provider, *settings)
}

/// The least app, with these settings in place of its own.
fn app(more: Value) -> Value {
    let request = |path: &str| json!({ "endpoint": format!("https://id.example.com/{path}") });
    let mut app = json!({
        "client_id": "us", "client_secret": "s3cr3t",
        "authorize_request": request("authorize"), "token_request": request("token"),
    });
    let Value::Object(more) = more else { panic!("an object") };
    for (key, value) in more {
        app[key] = value;
    }
    app
}

#[test]
fn an_app_becomes_a_provider_whose_endpoints_are_learnt() {
    let written = app(json!({
        "scope_delimiter": ",",
        "pkce": { "enabled": false },
        "authorize_request": {
            "endpoint": "https://id.example.com/authorize",
            "params": {
                "client_id": "{{client_id}}", "redirect_uri": "{{redirect_uri}}", "response_type": "code",
                "state": "{{state}}", "user_scope": "{{scopes}} {{existing_scopes}}", "prompt": "consent",
            },
        },
        "token_request": {
            "endpoint": "https://id.example.com/token", "method": "POST",
            "auth_method": "client_secret_basic", "request_content_type": "application/json",
            "params": { "grant_type": "authorization_code", "code": "{{code}}", "audience": "api" },
            "response_map": { "access_token": "$.authed_user.access_token" },
        },
        "refresh_request": {
            "endpoint": "https://id.example.com/refresh",
            "params": { "grant_type": "refresh_token", "refresh_token": "{{refresh_token}}", "audience": "api" },
        },
        "user_info_request": {
            "endpoint": "https://api.example.com:8443/me", "auth_method": "bearer_access_token",
            "response_map": { "sub": "$.data.id", "email": "$.data.mail" },
        },
    }));
    let (provider, settings) = good(None, written);
    assert_eq!((provider.id.as_str(), &*provider.title), ("~app~hooli", "Hooli (id.example.com)"));
    // Every host that gets the code or a token: the page names them.
    let mut hosts: Vec<&str> = provider.hosts.iter().collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["api.example.com:8443", "id.example.com"]);
    assert!(settings.is_learnt);
    let Some(ClientSecret::Stored(secret)) = &settings.client_secret else { panic!("a secret") };
    assert_eq!(secret.expose_secret(), "s3cr3t");
    let url = |url: &Option<Url>| url.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!(url(&settings.endpoints.authorize), "https://id.example.com/authorize");
    assert_eq!(url(&settings.endpoints.token), "https://id.example.com/token");
    assert_eq!(url(&settings.endpoints.refresh), "https://id.example.com/refresh");
    assert_eq!(
        (settings.token_auth, settings.token_body),
        (Some(TokenAuth::Basic), TokenBody::Json)
    );
    assert_eq!((&*settings.scope_separator, &*settings.scope_parameter), (",", "user_scope"));
    assert_eq!(settings.params, [("prompt".to_owned(), "consent".to_owned())]);
    assert_eq!(settings.token_params, [("audience".to_owned(), "api".to_owned())]);
    assert_eq!(settings.response.nested.as_deref(), Some("authed_user"));
    assert!(!settings.pkce);
    assert_eq!(settings.loopback, LoopbackRule::Exact);
    let identity = settings.identity.unwrap();
    assert!(identity.is_learnt);
    assert_eq!((&*identity.id, &*identity.label), ("/data/id", &["/data/mail".to_owned()][..]));
    let tool = identity.tool(&provider.id);
    let request = tool.action.request().expect("a request");
    assert!(request.is_untrusted);
}

/// The end of a host says whose it is; a cut there would show another owner's host.
#[test]
fn the_title_shows_whose_host_it_is() {
    let title_at = |host: &str| {
        let endpoint = |path| json!({ "endpoint": format!("https://{host}/{path}") });
        let requests =
            json!({ "authorize_request": endpoint("a"), "token_request": endpoint("t") });
        good(None, app(requests)).0.title.clone()
    };
    let long = format!("accounts.example.com.{}evil.example", "a".repeat(60) + ".");
    assert_eq!(title_at(&long), format!("Hooli ({long})"));
    let longer = format!("accounts.example.com.{}evil.example", ("a".repeat(60) + ".").repeat(5));
    let title = title_at(&longer);
    assert!(title.starts_with("Hooli (…a") && title.ends_with(".evil.example)"), "{title}");
}

#[test]
fn what_is_absent_is_as_in_tools_toml() {
    let (provider, settings) = good(None, app(json!({})));
    assert!(provider.hosts.iter().eq(["id.example.com"]));
    assert!(settings.pkce && settings.endpoints.refresh.is_none() && settings.identity.is_none());
    assert_eq!((settings.token_auth, &*settings.scope_parameter), (None, "scope"));
    let rules = RestRules { retention: Retention::NoRefresh, ..RestRules::default() };
    let provider = rest_provider(&record(None, app(json!({}))), rules).unwrap();
    assert_eq!(provider.retention, Retention::NoRefresh);
}

#[test]
fn a_built_in_provider_lends_its_settings() {
    let own = json!({ "client_id": "us", "client_secret": "s" });
    let (provider, settings) = good(Some("github"), own);
    assert_eq!((provider.id.as_str(), &*provider.title), ("~app~hooli", "GitHub"));
    assert!(provider.hosts.iter().any(|host| host == "api.github.com"));
    assert!(settings.is_learnt && settings.identity.unwrap().is_learnt);
    // Without a secret, it must not be that of the operator's own app.
    let (_, public) = good(Some("github"), json!({ "client_id": "us" }));
    assert!(public.client_secret.is_none());
    // With other endpoints, it is another service, and says so.
    let (moved, settings) = good(Some("github"), app(json!({})));
    assert_eq!(moved.title, "Hooli (id.example.com)");
    assert!(moved.hosts.iter().eq(["id.example.com"]));
    assert!(settings.endpoints.revoke.is_none() && settings.identity.is_none());
    // The refresh token goes to a host of the application's choice: the page names it too.
    let elsewhere = json!({
        "client_id": "us", "client_secret": "s",
        "refresh_request": { "endpoint": "https://id.example.com/refresh" },
    });
    let (provider, _) = good(Some("github"), elsewhere);
    for host in ["api.github.com", "id.example.com"] {
        assert!(provider.hosts.iter().any(|named| named == host), "{host}");
    }
}

#[track_caller]
fn refused(built_in: Option<&str>, app: Value) -> UnfitField {
    rest_provider(&record(built_in, app), RestRules::default()).unwrap_err()
}

#[test]
fn no_private_host_is_named_over_rest() {
    for endpoint in [
        "http://id.example.com/x",
        "http://127.0.0.1:9/x",
        "https://127.0.0.1:9/x",
        "https://localhost/x",
        "https://10.0.0.1/x",
        "https://[::1]/x",
        "https://169.254.169.254/latest",
        "https://intranet/x",
        "https://a.internal/x",
        "https://user:pass@id.example.com/x",
        "https://0x7f.1/x",
    ] {
        for request in
            ["authorize_request", "token_request", "refresh_request", "user_info_request"]
        {
            let unfit = refused(None, app(json!({ request: { "endpoint": endpoint } })));
            assert_eq!(unfit.field, format!("oauth2.{request}.endpoint"), "{endpoint}: {unfit}");
            assert!(!unfit.message.contains("pass@"), "{unfit}");
        }
    }
    // The operator may allow private addresses; they are still reached by https.
    let rules = RestRules { may_be_private: true, ..RestRules::default() };
    let at =
        |endpoint: &str| record(None, app(json!({ "token_request": { "endpoint": endpoint } })));
    assert!(rest_provider(&at("https://localhost:9/token"), rules).is_ok());
    assert!(rest_provider(&at("http://localhost:9/token"), rules).is_err());
}

#[test]
fn no_setting_leads_to_a_secret_of_the_operator() {
    for id in ["env:HOME", "file:/etc/passwd", "cmd:id", "keyring:x"] {
        let unfit = refused(None, app(json!({ "client_id": id })));
        assert_eq!(unfit.field, "oauth2.client_id");
    }
    let (_, settings) = good(None, app(json!({ "client_secret": "cmd:id" })));
    assert!(matches!(settings.client_secret, Some(ClientSecret::Stored(_))));
    assert!(Credential::OAuth(Box::new(settings)).references().is_empty());
}

#[test]
fn a_field_that_has_no_counterpart_is_named() {
    let token = |more: Value| {
        let mut request = json!({ "endpoint": "https://id.example.com/token" });
        for (key, value) in more.as_object().unwrap() {
            request[key] = value.clone();
        }
        app(json!({ "token_request": request }))
    };
    let authorize = |params: Value| {
        let endpoint = "https://id.example.com/authorize";
        app(json!({ "authorize_request": { "endpoint": endpoint, "params": params } }))
    };
    let cases = [
        (json!({}), "oauth2.client_id"),
        (json!({ "client_id": "us" }), "oauth2"),
        (app(json!({ "client_id": "a b" })), "oauth2.client_id"),
        (app(json!({ "client_secret": "" })), "oauth2.client_secret"),
        (app(json!({ "scope_delimiter": ";" })), "oauth2.scope_delimiter"),
        (
            app(json!({ "pkce": { "enabled": true, "code_challenge_method": "plain" } })),
            "oauth2.pkce.code_challenge_method",
        ),
        (token(json!({ "endpoint": "no URL" })), "oauth2.token_request.endpoint"),
        (token(json!({ "endpoint": "" })), "oauth2.token_request.endpoint"),
        (token(json!({ "method": "GET" })), "oauth2.token_request.method"),
        (token(json!({ "auth_method": "private_key_jwt" })), "oauth2.token_request.auth_method"),
        (token(json!({ "params": { "code": "x" } })), "oauth2.token_request.params"),
        (token(json!({ "params": { "scope": "x" } })), "oauth2.token_request.params"),
        (token(json!({ "params": { "x": "{{client_secret}}" } })), "oauth2.token_request.params"),
        (
            token(json!({ "response_map": { "access_token": "jwt_decode('$.a','$.b')" } })),
            "oauth2.token_request.response_map",
        ),
        (
            token(
                json!({ "response_map": { "access_token": "$.a.access_token", "scope": "$.scope" } }),
            ),
            "oauth2.token_request.response_map",
        ),
        (authorize(json!({ "state": "fixed" })), "oauth2.authorize_request.params"),
        (authorize(json!({ "code_challenge": "x" })), "oauth2.authorize_request.params"),
        (
            authorize(json!({ "scope": "{{scopes}}", "user_scope": "{{scopes}}" })),
            "oauth2.authorize_request.params",
        ),
    ];
    for (app, field) in cases {
        let unfit = refused(None, app.clone());
        assert_eq!(unfit.field, field, "{app}: {unfit}");
        assert!(!unfit.to_string().contains("tools.toml"), "{unfit}");
    }
    let unfit = refused(Some("gitub"), app(json!({})));
    assert_eq!((&*unfit.field, unfit.message.contains("`github`")), ("provider_id", true));
    assert_eq!(refused(Some("shopify"), json!({ "client_id": "us" })).field, "id");
}
