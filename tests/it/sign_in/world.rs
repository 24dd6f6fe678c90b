//! A server for several users in this process, with an issuer and a provider beside it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use countersign::app::App;
use countersign::broker::Call;
use countersign::broker::sign_in::SignIn;
use countersign::model::principal::{BrowserProof, ConfirmOrder, Verifier};
use countersign::model::server_auth::{
    ApplicationSettings, Client, KeyHolder, ResolvedAuth, ResolvedIssuer, ResolvedKey,
};
use countersign::model::{Caller, Outcome, Principal, UserId, secret};
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

use super::issuer::{Issuer, way_back};
use crate::support::browser::{Browser, Page};
use crate::support::provider::{Act, answer, json as said};
use crate::support::world::provider::Provider;
use crate::support::world::{self, TestClock};

/// The server's public origin, as behind a proxy, which the tests leave out.
pub(super) const ORIGIN: &str = "https://tools.example";
/// The browser's cookie at this origin.
pub(super) const COOKIE: &str = "__Host-countersign";

pub(super) struct World {
    pub(super) app: Arc<App>,
    pub(super) issuer: Issuer,
    /// The provider `acme`.
    provider: Provider,
    server: world::World,
    /// The server's real address.
    address: String,
    /// Namespace of the users; empty if each user's key has its own.
    namespace: String,
    browser_proof: BrowserProof,
}

/// How the users of a world are known.
enum People {
    Issuer,
    Keys,
    /// Like `Keys`, beside applications of these names that confirm browsers.
    KeysBeside(&'static [&'static str]),
    /// Users of the application `app`; there is another one, `other`.
    Application(ConfirmOrder),
}

impl World {
    /// A world whose users sign in at an issuer.
    pub(super) async fn new() -> Self {
        Self::of(People::Issuer, json!({})).await
    }

    /// Like [`Self::new`], with these changes to the issuer's discovery document; `null` removes a
    /// field.
    pub(super) async fn with_issuer(metadata: Value) -> Self {
        Self::of(People::Issuer, metadata).await
    }

    /// A world whose users have keys of their own: `ana-s-key` and `bob-s-key`.
    pub(super) async fn with_keys() -> Self {
        Self::of(People::Keys, json!({})).await
    }

    /// A world with the key `ana-s-key`, beside applications of these names that confirm their
    /// users' browsers.
    pub(super) async fn with_keys_beside(applications: &'static [&'static str]) -> Self {
        Self::of(People::KeysBeside(applications), json!({})).await
    }

    /// A world whose users belong to an application that confirms them before they consent.
    pub(super) async fn with_application() -> Self {
        Self::of(People::Application(ConfirmOrder::Before), json!({})).await
    }

    /// Like [`Self::with_application`], but it confirms them when they come back from the provider.
    pub(super) async fn with_application_after() -> Self {
        Self::of(People::Application(ConfirmOrder::After), json!({})).await
    }

    async fn of(people: People, metadata: Value) -> Self {
        let clock = TestClock::new();
        let issuer = Issuer::new(&clock, metadata).await;
        let provider = provider(&clock).await;
        let more = match people {
            People::Issuer | People::Keys | People::KeysBeside(_) => "",
            People::Application(_) => OTHER_TOOL,
        };
        let origin = provider.origin();
        let tools = format!("{}{more}{}", tools_toml(origin), world::payments(origin));
        let server = world::World::altered(Some(ORIGIN), &clock, &tools, world::confirm_payments);
        let (issuer_settings, keys, namespace) = match people {
            People::Issuer => (Some(settings(&issuer.origin)), Vec::new(), issuer.origin.clone()),
            People::Keys => {
                let keys = vec![person("ana"), person("bob"), application("app")];
                (None, keys, String::new())
            }
            People::KeysBeside(applications) => {
                let confirming = |name: &&str| confirming(name, ConfirmOrder::Before);
                let keys = [person("ana")].into_iter().chain(applications.iter().map(confirming));
                (None, keys.collect(), String::new())
            }
            People::Application(confirm) => {
                let keys = vec![confirming("app", confirm), confirming("other", confirm)];
                (None, keys, "key:app".into())
            }
        };
        let browser_proof = match people {
            People::Issuer | People::Keys | People::KeysBeside(_) => BrowserProof::SignedIn,
            People::Application(confirm) => BrowserProof::Application(Verifier {
                key: "app".into(),
                url: verifier("app"),
                confirm,
            }),
        };
        let auth = ResolvedAuth { issuer: issuer_settings, keys };
        let address = server.serve(server.for_many(auth));
        let app = Arc::clone(&server.app);
        Self { app, issuer, provider, server, address, namespace, browser_proof }
    }

    /// Another browser.
    pub(super) fn browser(&self) -> Browser {
        Browser::behind(ORIGIN, &self.address)
    }

    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    /// A browser in which this person has signed in.
    pub(super) async fn browser_of(&self, person: &str) -> Browser {
        let browser = self.browser();
        let arrived = self.sign_in_with(&browser, person).await;
        assert_eq!(arrived.status, StatusCode::SEE_OTHER, "{}", arrived.text);
        browser
    }

    /// Signs in without another destination.
    pub(super) async fn sign_in_with(&self, browser: &Browser, person: &str) -> Page {
        let departure = self.departs(browser, "/connections").await;
        let brought = self.issuer.signs_in(&departure, person);
        self.comes_back(browser, &departure, &brought).await
    }

    /// Leaves for the issuer; returns the redirect.
    pub(super) async fn departs(&self, browser: &Browser, to: &str) -> Page {
        let departure = browser.post(&at("/signin"), &[("to", to)]).await;
        assert_eq!(departure.status, StatusCode::SEE_OTHER, "{}", departure.text);
        departure
    }

    /// Comes back from the issuer with this query.
    pub(super) async fn comes_back(
        &self,
        browser: &Browser,
        departure: &Page,
        query: &str,
    ) -> Page {
        browser.get(&format!("{}?{query}", way_back(departure))).await
    }

    /// The principal of a call by this person.
    pub(super) fn principal(&self, person: &str) -> Principal {
        let namespace = match self.namespace.as_str() {
            "" => format!("key:{person}"),
            issuer => issuer.to_owned(),
        };
        let caller = Caller { namespace, user: UserId::new(person) };
        Principal::new(caller, BTreeSet::new(), Ok(self.browser_proof.clone()))
    }

    /// Returns the outcome of a call by this person.
    pub(super) async fn call(&self, person: &str) -> Outcome {
        self.call_tool(person, "read").await
    }

    async fn call_tool(&self, person: &str, tool: &str) -> Outcome {
        let principal = &self.principal(person);
        let call = Call::new(principal, tool);
        self.app.broker.call(call).await.expect("the tool exists")
    }

    /// Returns the link that a call by this person gets.
    pub(super) async fn link(&self, person: &str) -> String {
        self.link_of(person, "read").await
    }

    /// Returns the link that a call of this tool gets.
    pub(super) async fn link_of(&self, person: &str, tool: &str) -> String {
        match self.call_tool(person, tool).await {
            Outcome::AuthorizationRequired(prompt) => prompt.url,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the stored record of a link.
    pub(super) async fn record(&self, link: &str) -> String {
        let ticket = link.rsplit('/').next().unwrap();
        let held = self.app.broker.store().await.unwrap().by_ticket(ticket).await.unwrap();
        serde_json::to_string(&held.expect("a link").value).unwrap()
    }

    pub(super) async fn accounts(&self, person: &str) -> usize {
        self.app.broker.accounts().list(&self.principal(person).caller).await.unwrap().len()
    }

    /// Number of codes exchanged at the provider.
    pub(super) fn exchanges(&self) -> usize {
        self.provider.received("POST /token ")
    }

    /// Number of tokens revoked at the provider.
    pub(super) fn revocations(&self) -> usize {
        self.provider.received("POST /revoke ")
    }

    /// Lets time pass.
    pub(super) fn pass(&self, span: Duration) {
        self.server.clock.pass(span);
    }

    /// The server after its operator has removed all keys but this person's.
    pub(super) fn with_only_the_key_of(&self, name: &str) -> SignIn {
        self.with_only(person(name))
    }

    /// The server after its operator has given this person another key and removed all others.
    pub(super) fn with_another_key_of(&self, name: &str) -> SignIn {
        self.with_only(ResolvedKey { values: vec!["another-key".into()], ..person(name) })
    }

    /// The server where the application has this key and no other.
    pub(super) fn with_keys_of_app(&self, key: &str) -> SignIn {
        let application = confirming("app", ConfirmOrder::Before);
        self.with_only(ResolvedKey { values: vec![key.into()], ..application })
    }

    fn with_only(&self, key: ResolvedKey) -> SignIn {
        let access = self.server.for_many(ResolvedAuth { issuer: None, keys: vec![key] });
        SignIn::new(self.app.broker.clone(), self.app.authenticator(access).unwrap(), None)
    }
}

/// Sends a form with the token of this browser's own pages, which the browser's owner can compute.
pub(super) async fn own_form(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Page {
    let cookie = browser.cookie(COOKIE).expect("a browser that was here before");
    let token = secret::fingerprint(&format!("form {cookie} {path}"));
    browser.post_bare(&at(path), &[&[("csrf", token.as_str())], fields].concat()).await
}

/// An address of the server.
pub(super) fn at(path: &str) -> String {
    format!("{ORIGIN}{path}")
}

fn settings(issuer: &str) -> ResolvedIssuer {
    ResolvedIssuer {
        client: Some(Client { id: "us".into(), secret: Some("our-secret".into()) }),
        ..ResolvedIssuer::of(issuer.parse().unwrap())
    }
}

fn person(name: &str) -> ResolvedKey {
    let holder = KeyHolder::Person(UserId::new(name));
    ResolvedKey { name: name.into(), values: vec![format!("{name}-s-key").into()], holder }
}

fn application(name: &str) -> ResolvedKey {
    let holder = KeyHolder::Application(ApplicationSettings::default());
    ResolvedKey { name: name.into(), values: vec![format!("{name}-s-key").into()], holder }
}

fn confirming(name: &str, confirm: ConfirmOrder) -> ResolvedKey {
    let verifier_url = Some(verifier(name));
    let settings = ApplicationSettings { verifier_url, confirm, ..ApplicationSettings::default() };
    let holder = KeyHolder::Application(settings);
    ResolvedKey { holder, ..application(name) }
}

/// The verifier page of an application.
pub(super) fn verifier(name: &str) -> Url {
    format!("https://{name}.example/verify?from=countersign").parse().unwrap()
}

/// A provider that issues another token for each authorization attempt.
async fn provider(clock: &TestClock) -> Provider {
    let provider = Provider::start(clock).await;
    provider.tokens(|body| {
        Act::Say(match body.split_once("code_verifier=") {
            Some((_, verifier)) => {
                let token: String = verifier.chars().take(20).collect();
                said(format!(r#"{{"access_token":"{token}"}}"#))
            }
            None => said("{}"),
        })
    });
    provider.api(|request| {
        let is_known = matches!(request.split(' ').nth(1), Some("/read" | "/pay"));
        let unknown = || answer("404 Not Found", "", "");
        Act::Say(if is_known { said(r#"{"ok":true}"#) } else { unknown() })
    });
    provider
}

const OTHER_TOOL: &str = r#"
[tools.other_read]
description = "Reads elsewhere."
provider    = "other"
request     = "GET /read"
"#;

fn tools_toml(origin: &str) -> String {
    // Two clients: the accounts of one may be the same.
    let provider = |name: &str, client: &str| {
        format!(
            r#"
            [providers.{name}]
            title     = "Acme Notes"
            base_url  = "{origin}"
            client_id = "{client}"
            [providers.{name}.oauth]
            authorize_url = "{origin}/authorize"
            token_url     = "{origin}/token"
            revoke_url    = "{origin}/revoke"
            loopback      = "any-port"
            "#
        )
    };
    format!(
        r#"
        [server]
        # Of the browsers' proxy.
        trusted_proxies = ["127.0.0.1"]
        {}{}
        [tools.read]
        description = "Reads."
        provider    = "acme"
        scopes      = ["notes:read"]
        request     = "GET /read"
        "#,
        provider("acme", "us"),
        provider("other", "us-there"),
    )
}
