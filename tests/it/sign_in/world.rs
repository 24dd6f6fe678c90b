//! A server for several users in this process, with an issuer and a provider beside it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use countersign::broker::sign_in::SignIn;
use countersign::broker::{Broker, Call, Catalogue, Parts};
use countersign::config;
use countersign::identity::{Authenticator, Login};
use countersign::model::principal::{BrowserProof, ConfirmOrder, Verifier};
use countersign::model::server_auth::{
    Client, KeyHolder, ResolvedAuth, ResolvedIssuer, ResolvedKey,
};
use countersign::model::{Caller, Clock, Outcome, Principal, UserId, secret};
use countersign::net::{Net, Policy};
use countersign::oauth::OAuthClient;
use countersign::registry::Registry;
use countersign::store::{DataFolder, KeySource, LazyStore, MasterKey};
use countersign::upstream::Upstream;
use countersign::upstream::jq::Jq;
use countersign::web;
use futures_util::FutureExt as _;
use reqwest::StatusCode;
use secrecy::SecretString;
use url::Url;

use super::issuer::{Issuer, way_back};
use crate::support::browser::{Browser, Page};
use crate::support::provider::{Act, Server, answer, json};

/// The server's public origin, as behind a proxy, which the tests leave out.
pub(super) const ORIGIN: &str = "https://tools.example";
/// The browser's cookie at this origin.
pub(super) const COOKIE: &str = "__Host-countersign";

pub(super) struct World {
    pub(super) broker: Broker,
    pub(super) issuer: Issuer,
    /// The provider `acme`.
    provider: Server,
    /// The server's real address.
    address: String,
    /// Namespace of the users; empty if each user's key has its own.
    namespace: String,
    browser_proof: BrowserProof,
    now: Arc<AtomicI64>,
    net: Net,
    _folder: tempfile::TempDir,
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
        Self::of(People::Issuer).await
    }

    /// A world whose users have keys of their own: `ana-s-key` and `bob-s-key`.
    pub(super) async fn with_keys() -> Self {
        Self::of(People::Keys).await
    }

    /// A world with the key `ana-s-key`, beside applications of these names that confirm their
    /// users' browsers.
    pub(super) async fn with_keys_beside(applications: &'static [&'static str]) -> Self {
        Self::of(People::KeysBeside(applications)).await
    }

    /// A world whose users belong to an application that confirms them before they consent.
    pub(super) async fn with_application() -> Self {
        Self::of(People::Application(ConfirmOrder::Before)).await
    }

    /// Like [`Self::with_application`], but it confirms them when they come back from the provider.
    pub(super) async fn with_application_after() -> Self {
        Self::of(People::Application(ConfirmOrder::After)).await
    }

    async fn of(people: People) -> Self {
        let now = Arc::new(AtomicI64::new(1_800_000_000_000));
        let clock = Clock::manual(Arc::clone(&now));
        let net = Net::new(Policy::default());
        let issuer = Issuer::new(Arc::clone(&now)).await;
        let provider = Server::start(provide).await;
        let folder = tempfile::tempdir().unwrap();
        let oauth = OAuthClient::new(net.clone(), clock.clone());
        let more = match people {
            People::Issuer | People::Keys | People::KeysBeside(_) => "",
            People::Application(_) => OTHER_TOOL,
        };
        let tools = format!("{}{more}", tools_toml(&provider.origin));
        let broker = broker(&folder, &tools, &oauth, &net, &clock);
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
        let authenticator = authenticator(issuer_settings, keys, &net, &clock);
        let login = authenticator.issuer();
        let login = login.and_then(|issuer| Login::new(issuer, oauth, ORIGIN));
        let usage = web::Usage::of(&authenticator);
        let rest = web::program_routes(broker.clone(), authenticator.clone(), &usage);
        let sign_in = SignIn::new(broker.clone(), authenticator.clone(), login);
        let public = web::PublicPages {
            origins: web::Origins::of([ORIGIN]),
            usage,
            sign_in,
            trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
            clock,
        };
        let router = web::public_pages(broker.clone(), public).merge(rest);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self {
            broker,
            issuer,
            provider,
            address,
            namespace,
            browser_proof,
            now,
            net,
            _folder: folder,
        }
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
        Principal {
            caller: Caller { namespace, user: UserId::new(person) },
            groups: BTreeSet::new(),
            browser_proof: Ok(self.browser_proof.clone()),
        }
    }

    /// Returns the outcome of a call by this person.
    pub(super) async fn call(&self, person: &str) -> Outcome {
        self.call_tool(person, "read").await
    }

    async fn call_tool(&self, person: &str, tool: &str) -> Outcome {
        let principal = &self.principal(person);
        let call = Call { principal, tool, arguments: None, client: None };
        self.broker.call(call).await.expect("the tool exists")
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
        let held = self.broker.store().await.unwrap().by_ticket(ticket).await.unwrap();
        serde_json::to_string(&held.expect("a link").value).unwrap()
    }

    pub(super) async fn accounts(&self, person: &str) -> usize {
        self.broker.accounts(&self.principal(person).caller).await.unwrap().len()
    }

    /// Number of codes exchanged at the provider.
    pub(super) fn exchanges(&self) -> usize {
        let requests = self.provider.requests();
        requests.iter().filter(|request| request.starts_with("POST /token ")).count()
    }

    /// Number of tokens revoked at the provider.
    pub(super) fn revocations(&self) -> usize {
        let requests = self.provider.requests();
        requests.iter().filter(|request| request.starts_with("POST /revoke ")).count()
    }

    /// Lets time pass.
    pub(super) fn pass(&self, span: Duration) {
        self.now.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
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
        let clock = Clock::manual(Arc::clone(&self.now));
        let authenticator = authenticator(None, vec![key], &self.net, &clock);
        SignIn::new(self.broker.clone(), authenticator, None)
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
    let holder = KeyHolder::Application { verifier_url: None, confirm: ConfirmOrder::Before };
    ResolvedKey { name: name.into(), values: vec![format!("{name}-s-key").into()], holder }
}

fn confirming(name: &str, confirm: ConfirmOrder) -> ResolvedKey {
    let holder = KeyHolder::Application { verifier_url: Some(verifier(name)), confirm };
    ResolvedKey { holder, ..application(name) }
}

/// The verifier page of an application.
pub(super) fn verifier(name: &str) -> Url {
    format!("https://{name}.example/verify?from=countersign").parse().unwrap()
}

fn authenticator(
    issuer: Option<ResolvedIssuer>,
    keys: Vec<ResolvedKey>,
    net: &Net,
    clock: &Clock,
) -> Authenticator {
    let resource = format!("{ORIGIN}/mcp").parse().unwrap();
    Authenticator::new(ResolvedAuth { issuer, keys }, resource, net, clock).unwrap()
}

fn broker(
    folder: &tempfile::TempDir,
    tools: &str,
    oauth: &OAuthClient,
    net: &Net,
    clock: &Clock,
) -> Broker {
    let path = folder.path().join("tools.toml");
    std::fs::write(&path, tools).unwrap();
    let config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    let data = DataFolder {
        path: folder.path().join("data"),
        runtime: folder.path().join("run"),
        purpose: "test",
        clock: clock.clone(),
    };
    let key: SecretString = MasterKey::generate().to_base64();
    let (store, tables) = LazyStore::new(data, KeySource::Given(key)).into_tables();
    let parts = Parts {
        catalogue: Catalogue::new(Registry::new(config.tools), config.providers).into(),
        store,
        oauth: oauth.clone(),
        upstream: Upstream::new(net.clone(), Jq::new(env!("CARGO_BIN_EXE_countersign").into())),
        clock: clock.clone(),
        origin: Box::new(|_, _| std::future::ready(Ok(ORIGIN.into())).boxed()),
        listen_address: None,
        after_connect: None,
        keeper: Box::new(|_| std::future::ready(true).boxed()),
        is_short_lived: false,
    };
    Broker::new(parts, tables)
}

fn provide(request: &str) -> Act {
    Act::Say(match request.split(' ').nth(1).unwrap() {
        // Another token for each authorization attempt.
        "/token" => {
            let verifier = request.split_once("code_verifier=").map_or("none", |(_, rest)| rest);
            let token: String = verifier.chars().take(20).collect();
            json(format!(r#"{{"access_token":"{token}"}}"#))
        }
        "/revoke" => json("{}"),
        "/read" => json(r#"{"ok":true}"#),
        _ => answer("404 Not Found", "", ""),
    })
}

const OTHER_TOOL: &str = r#"
[tools.other_read]
description = "Reads elsewhere."
provider    = "other"
request     = "GET /read"
"#;

fn tools_toml(origin: &str) -> String {
    let provider = |name: &str| {
        format!(
            r#"
            [providers.{name}]
            title     = "Acme Notes"
            base_url  = "{origin}"
            client_id = "us"
            [providers.{name}.oauth]
            authorize_url = "{origin}/authorize"
            token_url     = "{origin}/token"
            revoke_url    = "{origin}/revoke"
            loopback      = "any-port"
            "#
        )
    };
    format!(
        r#"{}{}
        [tools.read]
        description = "Reads."
        provider    = "acme"
        scopes      = ["notes:read"]
        request     = "GET /read"
        "#,
        provider("acme"),
        provider("other"),
    )
}
