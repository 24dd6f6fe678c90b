//! From the tables of `tools.toml` to the assertion that is signed, including files.

use countersign::broker::client::assertion::{AssertionError, assertion};
use countersign::config;
use countersign::model::credential::Credential;
use countersign::model::oauth::GrantType;
use countersign::oauth::{Assertion, KeyError};

/// The assertion of a provider with this `assertion` table; `{folder}` holds `key.pem` and
/// `sa.json`.
async fn of(table: &str) -> Result<Assertion, AssertionError> {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().display();
    let key = include_str!("../fixtures/rsa.pem");
    let account = serde_json::json!({
        "type": "service_account", "client_email": "robot@acme.example", "private_key": key,
        "token_uri": "https://login.acme.example/token",
    });
    std::fs::write(folder.path().join("key.pem"), key).expect("written");
    std::fs::write(folder.path().join("sa.json"), account.to_string()).expect("written");
    let tools = folder.path().join("tools.toml");
    let table = table.replace("{folder}", &at.to_string());
    std::fs::write(&tools, format!("[providers.acme]\nclient_id = \"us\"\n[providers.acme.oauth]\ntoken_url = \"https://login.acme.example/token\"\ngrant = \"jwt_bearer\"\nassertion = {{ {table} }}\n")).expect("written");
    let config = config::load(&tools).expect("a configuration");
    let Credential::OAuth(settings) = &config.providers["acme"].credential else { panic!("OAuth") };
    let GrantType::JwtBearer { assertion: written, .. } = &settings.grant else { panic!("JWT") };
    assertion(settings, written, settings.endpoints.token.as_ref().expect("a URL")).await
}

#[tokio::test]
async fn who_asserts_is_the_client_unless_it_is_written() {
    let own = of("private_key = \"file:{folder}/key.pem\"").await.expect("an assertion");
    assert_eq!((own.issuer.as_str(), own.subject.as_deref()), ("us", Some("us")));
    assert_eq!(own.audience, "https://login.acme.example/token");
    assert!(!own.claims_scope);
    let told = of(
        "private_key = \"file:{folder}/key.pem\", issuer = \"them\", subject = \"ana\", audience = \"aud\"",
    );
    let told = told.await.expect("an assertion");
    assert_eq!((told.issuer.as_str(), told.subject.as_deref()), ("them", Some("ana")));
    assert_eq!(told.audience, "aud");
}

#[tokio::test]
async fn a_service_account_acts_as_itself_unless_a_subject_is_written() {
    let own = of("service_account = \"file:{folder}/sa.json\"").await.expect("an assertion");
    assert_eq!((own.issuer.as_str(), own.subject), ("robot@acme.example", None));
    assert!(own.claims_scope);
    let delegated =
        of("service_account = \"file:{folder}/sa.json\", subject = \"ana@acme.example\"");
    assert_eq!(delegated.await.expect("one").subject.as_deref(), Some("ana@acme.example"));
}

#[tokio::test]
async fn a_key_that_is_none_is_the_operator_s_to_mend() {
    let no_file = of("private_key = \"file:{folder}/none.pem\"").await.unwrap_err();
    assert!(matches!(no_file, AssertionError::Secret(_)) && !no_file.hint().is_empty());
    let other = of("private_key = \"file:{folder}/sa.json\"").await.unwrap_err();
    assert!(
        matches!(other, AssertionError::Key(KeyError::NoKey | KeyError::Unfit { .. })),
        "{other}"
    );
    let curve =
        of("private_key = \"file:{folder}/key.pem\", algorithm = \"ES256\"").await.unwrap_err();
    assert!(matches!(curve, AssertionError::Key(KeyError::Unfit { .. })), "{curve}");
    let none = of("service_account = \"file:{folder}/key.pem\"").await.unwrap_err();
    assert!(matches!(none, AssertionError::Key(KeyError::NoServiceAccount)), "{none}");
}
