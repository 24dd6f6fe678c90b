//! Consents that an earlier version kept until the application answered. This version no longer
//! makes such records, but must not lose them: the user has consented, and the code is good for one
//! exchange.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use futures_util::FutureExt as _;

use super::*;
use crate::broker::{Broker, Catalogue, Parts};
use crate::config;
use crate::identity::Authenticator;
use crate::model::authorization::CONFIRMATION_LIFETIME;
use crate::model::run::DocumentLimits;
use crate::model::server_auth::{ApplicationSettings, KeyHolder, ResolvedAuth, ResolvedKey};
use crate::model::{Caller, Clock};
use crate::net::{Net, Policy};
use crate::oauth::OAuthClient;
use crate::registry::Registry;
use crate::store::{KeySource, LazyStore, MasterKey, Memory};
use crate::upstream::Upstream;
use crate::upstream::jq::Jq;

/// As an earlier version wrote it, with placeholders for the provider and the browser.
const PARKED_CODE: &str = include_str!("parked_code.json");
const ORIGIN: &str = "https://tools.example";
const COOKIE: &str = "cookie-of-ana";
const FLOW: &str = "flow-of-ana";

struct World {
    broker: Broker,
    authenticator: Authenticator,
    now: Arc<AtomicI64>,
    exchanges: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl World {
    /// Creates a world whose store holds the record.
    async fn new() -> Self {
        let exchanges = Arc::new(AtomicUsize::new(0));
        let provider = provider(Arc::clone(&exchanges));
        let folder = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(1_800_000_000_000));
        let clock = Clock::manual(Arc::clone(&now));
        let net = Net::new(Policy::default());
        let path = folder.path().join("tools.toml");
        std::fs::write(&path, tools(&provider)).unwrap();
        let config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        let keys = KeySource::Given(MasterKey::generate().to_base64());
        let store = LazyStore::in_memory(Memory::default(), keys, clock.clone());
        let (store, tables) = store.into_tables();
        let parts = Parts {
            catalogue: Catalogue::new(Registry::new(config.tools), config.providers).into(),
            store,
            oauth: OAuthClient::new(net.clone(), clock.clone()),
            upstream: Upstream::new(net.clone(), Jq::new("countersign".into())),
            clock: clock.clone(),
            origin: Box::new(|_, _| std::future::ready(Ok(ORIGIN.into())).boxed()),
            listen_address: None,
            after_connect: None,
            keeper: Box::new(|_| std::future::ready(true).boxed()),
            keep_runs: std::time::Duration::from_hours(24),
            document_limits: DocumentLimits::default(),
            rest_rules: crate::config::RestRules::default(),
            webhooks: Vec::new(),
            config: String::new(),
            is_short_lived: false,
        };
        let broker = Broker::new(parts, tables);
        let keys = ["app", "other"].map(|name| ResolvedKey {
            name: name.into(),
            values: vec![format!("key-of-{name}").into()],
            holder: KeyHolder::Application(ApplicationSettings {
                verifier_url: Some(format!("https://{name}.example/verify").parse().unwrap()),
                ..ApplicationSettings::default()
            }),
        });
        let auth = ResolvedAuth { issuer: None, keys: keys.into() };
        let resource = format!("{ORIGIN}/mcp").parse().unwrap();
        let authenticator = Authenticator::new(auth, resource, &net, &clock).unwrap();
        let parked = PARKED_CODE
            .replace("PROVIDER", &provider)
            .replace("BROWSER", &secret::fingerprint(COOKIE));
        broker.store().await.unwrap().plant_unconfirmed(FLOW, parked.as_bytes()).await;
        Self { broker, authenticator, now, exchanges, _folder: folder }
    }

    async fn confirm(&self, application: &str, user: &str) -> Result<Confirmed, ConfirmationError> {
        let applications = self.authenticator.applications();
        let application = applications.get(application).unwrap();
        self.broker.consents().confirm_user(application, &FLOW.into(), &UserId::new(user)).await
    }

    async fn comes_back(&self, cookie: &str, to: &Confirmed) -> Result<SignedIn, SignInError> {
        let (page, query) = to.next_uri.split_once('?').unwrap();
        assert_eq!(page, format!("{ORIGIN}{NEXT_PATH}"));
        let sign_in = SignIn::new(self.broker.clone(), self.authenticator.clone(), None);
        sign_in.confirmed(Some(&cookie.into()), None, query).await
    }

    async fn accounts(&self) -> usize {
        let ana = Caller { namespace: "key:app".into(), user: UserId::new("ana") };
        self.broker.store().await.unwrap().grants(&ana).await.unwrap().len()
    }

    fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::SeqCst)
    }
}

fn tools(provider: &str) -> String {
    format!(
        r#"
        [providers.acme]
        title     = "Acme Notes"
        base_url  = "{provider}"
        client_id = "us"
        [providers.acme.oauth]
        authorize_url = "{provider}/authorize"
        token_url     = "{provider}/token"
        loopback      = "any-port"
        [tools.read]
        description = "Reads."
        provider    = "acme"
        scopes      = ["notes:read"]
        request     = "GET /read"
        "#
    )
}

/// Starts a token endpoint that counts the exchanges of `c0de`. Returns its origin.
fn provider(exchanges: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(&mut stream.unwrap(), &exchanges);
        }
    });
    origin
}

fn answer(stream: &mut TcpStream, exchanges: &AtomicUsize) {
    let mut request = Vec::new();
    while !String::from_utf8_lossy(&request).contains("code=c0de") {
        let mut some = [0; 1024];
        match stream.read(&mut some) {
            Ok(read @ 1..) => request.extend_from_slice(&some[..read]),
            Ok(0) | Err(_) => return,
        }
    }
    exchanges.fetch_add(1, Ordering::SeqCst);
    let token = r#"{"access_token":"token-of-ana","token_type":"Bearer"}"#;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let length = token.len();
    write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{token}").unwrap();
}

#[tokio::test]
async fn a_parked_consent_counts_once_the_application_and_the_browser_have_come() {
    let world = World::new().await;
    // Another application can neither confirm nor spoil it.
    assert!(matches!(world.confirm("other", "ana").await, Err(ConfirmationError::Unknown)));
    let confirmed = world.confirm("app", "ana").await.unwrap();
    assert_eq!((world.exchanges(), world.accounts().await), (1, 0), "no browser has come yet");
    // An application may send its confirmation again.
    let again = world.confirm("app", "ana").await.unwrap();
    assert_eq!(again.next_uri, confirmed.next_uri);
    let signed_in = world.comes_back(COOKIE, &confirmed).await.unwrap();
    assert!(signed_in.cookie.is_some(), "the browser is known from now on");
    assert!(signed_in.to.contains("/connect/"), "{}", signed_in.to);
    assert_eq!((world.exchanges(), world.accounts().await), (1, 1));
}

#[tokio::test]
async fn a_parked_consent_is_not_attached_to_the_wrong_person() {
    let world = World::new().await;
    let confirmed = world.confirm("app", "ana").await.unwrap();
    let other = world.comes_back("cookie-of-mallory", &confirmed).await;
    assert!(matches!(other, Err(SignInError::OtherBrowser)));
    assert!(world.comes_back(COOKIE, &confirmed).await.is_err(), "the consent is dropped");
    assert_eq!(world.accounts().await, 0);

    let world = World::new().await;
    let mismatch = world.confirm("app", "mallory").await;
    assert!(matches!(mismatch, Err(ConfirmationError::UserMismatch)));
    assert!(matches!(world.confirm("app", "ana").await, Err(ConfirmationError::Unknown)));
    assert_eq!((world.exchanges(), world.accounts().await), (0, 0));
}

#[tokio::test]
async fn a_parked_consent_waits_as_long_as_the_earlier_version_let_it() {
    let world = World::new().await;
    let minutes = i64::try_from(CONFIRMATION_LIFETIME.as_millis()).unwrap();
    world.now.fetch_add(minutes, Ordering::SeqCst);
    assert!(matches!(world.confirm("app", "ana").await, Err(ConfirmationError::Unknown)));
    assert_eq!(world.exchanges(), 0);
}
