//! A whole server in this process, a provider beside it, and a minimal browser.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::app::{App, Links, Settings};
use countersign::broker::Call;
use countersign::broker::accounts::list::Account;
use countersign::config;
use countersign::model::{Caller, Clock, ConnectPrompt, Outcome, Principal, Time, UserId};
use countersign::store::{DataFolder, KeySource, LazyStore, MasterKey, Tables};
use countersign::web;
use countersign::web::port::local_peer::AllowedUsers;
use countersign::web::port::serve::Port;
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::shown::Shown;
use crate::support::browser::{Browser, Page};
use crate::support::provider::{Act, Server, answer, json};

/// Controls the provider: its token endpoint, and its API.
#[derive(Clone)]
pub(super) struct Provider {
    now: Arc<AtomicI64>,
    tokens: Arc<Mutex<Box<TokenEndpoint>>>,
    /// The bearer tokens that the API accepts.
    accepted: Arc<Mutex<Vec<String>>>,
    grants: Arc<Mutex<Vec<String>>>,
    /// Milliseconds that the API takes to refuse a token.
    hesitation: Arc<AtomicI64>,
    /// Replaces the API's behaviour, its check of tokens included.
    api: Arc<Mutex<Option<Box<TokenEndpoint>>>>,
    /// Requests that reached the API.
    calls: Arc<Mutex<Vec<String>>>,
}

type TokenEndpoint = dyn FnMut(&str) -> Act + Send;

impl Provider {
    fn answer(&self, request: &str) -> Act {
        if request.starts_with("POST /token") || request.starts_with("POST /revoke") {
            let body = request.rsplit("\r\n\r\n").next().unwrap_or_default();
            self.grants.lock().unwrap().push(body.to_owned());
            return (self.tokens.lock().unwrap())(body);
        }
        self.calls.lock().unwrap().push(request.to_owned());
        if let Some(api) = &mut *self.api.lock().unwrap() {
            return api(request);
        }
        if request.starts_with("GET /barred") {
            let challenge = "WWW-Authenticate: Bearer error=insufficient_scope\r\n";
            return Act::Say(answer("403 Forbidden", challenge, ""));
        }
        let accepted = self.accepted.lock().unwrap();
        let is_accepted = accepted.iter().any(|token| {
            request.to_ascii_lowercase().contains(&format!("authorization: bearer {token}\r\n"))
        });
        Act::Say(if is_accepted {
            json(r#"{"ok":true}"#)
        } else {
            self.now.fetch_add(self.hesitation.load(Ordering::SeqCst), Ordering::SeqCst);
            answer("401 Unauthorized", "", "")
        })
    }

    /// Sets the behaviour of the token and revocation endpoints from now on.
    pub(super) fn tokens(&self, endpoint: impl FnMut(&str) -> Act + Send + 'static) {
        *self.tokens.lock().unwrap() = Box::new(endpoint);
    }

    /// Makes the token endpoint answer with these bytes from now on.
    pub(super) fn says(&self, bytes: Vec<u8>) {
        self.tokens(move |_| Act::Say(bytes.clone()));
    }

    /// Makes the API accept exactly these tokens from now on.
    pub(super) fn accepts(&self, tokens: &[&str]) {
        *self.accepted.lock().unwrap() = tokens.iter().map(|&token| token.to_owned()).collect();
    }

    /// Makes the API take this long to refuse a token from now on.
    pub(super) fn hesitates(&self, span: Duration) {
        self.hesitation.store(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Sets the API's behaviour from now on.
    pub(super) fn api(&self, api: impl FnMut(&str) -> Act + Send + 'static) {
        *self.api.lock().unwrap() = Some(Box::new(api));
    }

    /// The requests that reached the API, head and body.
    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// Bodies sent to the token and revocation endpoints.
    pub(super) fn requests(&self) -> Vec<String> {
        self.grants.lock().unwrap().clone()
    }

    pub(super) fn refreshes(&self) -> usize {
        let requests = self.grants.lock().unwrap();
        requests.iter().filter(|body| body.contains("grant_type=refresh_token")).count()
    }
}

pub(super) struct World {
    pub(super) app: App,
    pub(super) provider: Provider,
    /// The provider's origin.
    pub(super) origin: String,
    server: Server,
    now: Arc<AtomicI64>,
    browser: Browser,
    key: SecretString,
    folder: tempfile::TempDir,
}

/// The default caller of these tests.
pub(super) fn ana() -> Caller {
    Caller::local(UserId::new("ana"))
}

/// A token response.
pub(super) fn tokens(body: &str) -> Vec<u8> {
    json(body)
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// A world with these lines in `[server]`.
    pub(super) async fn with(server: &str) -> Self {
        Self::of(|origin| format!("[server]\n{server}\n{}", tools_toml(origin))).await
    }

    /// A world with this `tools.toml`, built from the provider's origin.
    pub(super) async fn of(tools: impl FnOnce(&str) -> String) -> Self {
        Self::at(None, tools).await
    }

    /// A world whose links lead to this public address.
    pub(super) async fn at(public: Option<&str>, tools: impl FnOnce(&str) -> String) -> Self {
        let now = Arc::new(AtomicI64::new(1_800_000_000_000));
        let provider = Provider {
            now: Arc::clone(&now),
            tokens: Arc::new(Mutex::new(Box::new(|_| panic!("no token was to be asked for")))),
            accepted: Arc::default(),
            grants: Arc::default(),
            hesitation: Arc::default(),
            api: Arc::default(),
            calls: Arc::default(),
        };
        let behind = provider.clone();
        let upstream = Server::start(move |request| behind.answer(request)).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tools.toml"), tools(&upstream.origin)).unwrap();
        let key = MasterKey::generate().to_base64();
        Self {
            app: app(&folder, "data", &key, &now, public),
            provider,
            origin: upstream.origin.clone(),
            server: upstream,
            now,
            browser: Browser::new(),
            key,
            folder,
        }
    }

    /// Like a restart with the same data, after `written` in tools.toml has become `instead`.
    pub(super) async fn restarted(self, written: &str, instead: &str) -> Self {
        let path = self.folder.path().join("tools.toml");
        let tools = std::fs::read_to_string(&path).unwrap();
        assert!(tools.contains(written));
        std::fs::write(&path, tools.replace(written, instead)).unwrap();
        self.app.close().await;
        // Copy the folder, because it stays locked while any part of this process holds the store.
        copy(&self.folder.path().join("data"), &self.folder.path().join("later"));
        Self { app: app(&self.folder, "later", &self.key, &self.now, None), ..self }
    }

    /// Connections that the provider has got.
    pub(super) fn opened_connections(&self) -> usize {
        self.server.connections()
    }

    /// Sets the clock back.
    pub(super) fn set_back(&self, span: Duration) {
        self.now.fetch_sub(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// The store's folder.
    pub(super) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// The tables of another process that shares the data folder.
    pub(super) fn tables_of_a_peer(&self) -> Tables {
        let data = data_folder(&self.folder, "data", &self.now);
        LazyStore::new(data, KeySource::Given(self.key.clone())).into_tables().1
    }

    /// Lets time pass.
    pub(super) fn pass(&self, span: Duration) {
        self.now.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(super) async fn call(&self) -> Outcome {
        self.call_tool("read", None).await
    }

    pub(super) async fn call_tool(&self, tool: &str, client: Option<&str>) -> Outcome {
        self.call_with(tool, client, None).await
    }

    /// Calls `read` with this account, if any.
    pub(super) async fn call_as(&self, account: Option<&str>) -> Outcome {
        let arguments = account.map(|name| Map::from_iter([("account".into(), name.into())]));
        self.call_with("read", None, arguments).await
    }

    async fn call_with(
        &self,
        tool: &str,
        client: Option<&str>,
        arguments: Option<Map<String, Value>>,
    ) -> Outcome {
        let caller = &ana();
        let principal = &Principal::local(caller.clone());
        let call = Call { principal, tool, arguments, client: client.map(str::to_owned) };
        self.app.broker.call(call).await.expect("the tool exists")
    }

    pub(super) async fn result(&self) -> Shown {
        self.result_of("read").await
    }

    pub(super) async fn result_of(&self, tool: &str) -> Shown {
        match self.call_tool(tool, None).await {
            Outcome::Complete(result) => result.into(),
            Outcome::Failed(failure) => failure.into(),
            Outcome::AuthorizationRequired(prompt) => panic!("asked again: {:?}", prompt.reason),
            Outcome::Refused(_) => panic!("refused"),
        }
    }

    pub(super) async fn prompt(&self) -> ConnectPrompt {
        self.prompt_as(None).await
    }

    pub(super) async fn prompt_as(&self, account: Option<&str>) -> ConnectPrompt {
        match self.call_as(account).await {
            Outcome::AuthorizationRequired(prompt) => prompt,
            other => panic!("{other:?}"),
        }
    }

    /// Makes the browser also send this cookie, which another program on this host has set.
    pub(super) fn foreign_cookie(&self, name: &str, value: &str) {
        self.browser.set(name, value);
    }

    pub(super) async fn get(&self, url: &str) -> Page {
        self.browser.get(url).await
    }

    /// Opens the link and clicks "Continue"; returns the redirect to the provider.
    pub(super) async fn click(&self, link: &str) -> Page {
        let page = self.get(link).await;
        self.click_on(&page, link).await
    }

    /// Clicks "Continue" on a page that was opened before.
    pub(super) async fn click_on(&self, page: &Page, link: &str) -> Page {
        self.press_on(page, link, "continue").await
    }

    /// Opens the link and presses the button of this answer.
    pub(super) async fn press(&self, link: &str, answer: &str) -> Page {
        let page = self.get(link).await;
        self.press_on(&page, link, answer).await
    }

    /// Presses a button of a page that was opened before.
    pub(super) async fn press_on(&self, page: &Page, link: &str, answer: &str) -> Page {
        self.post(link, &[("answer", answer), ("shown", page.shown())]).await
    }

    /// Opens the link, fills in the form and continues.
    pub(super) async fn paste(&self, link: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.get(link).await;
        let own = [("answer", "continue"), ("shown", page.shown())];
        self.post(link, &[&own, fields].concat()).await
    }

    pub(super) async fn post(&self, link: &str, fields: &[(&str, &str)]) -> Page {
        self.browser.post(link, fields).await
    }

    /// Comes back from the provider with these parameters beside the state.
    pub(super) async fn come_back(&self, departure: &Page, parameters: &str) -> Page {
        let redirect = departure.parameter("redirect_uri");
        let state = departure.parameter("state");
        self.browser.get(&format!("{redirect}?state={state}&{parameters}")).await
    }

    /// Runs the whole consent; the test must have set the token endpoint's answer.
    pub(super) async fn consent(&self) -> Page {
        let link = self.prompt().await.url;
        self.consent_by(&link).await
    }

    pub(super) async fn consent_by(&self, link: &str) -> Page {
        let departure = self.click(link).await;
        assert_eq!(departure.status, StatusCode::SEE_OTHER);
        self.come_back(&departure, "code=c0de").await
    }

    /// Serves this person's own pages until the test ends; returns the address of the accounts
    /// page.
    pub(super) fn connections(&self, whose: Caller) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let principal = Arc::new(Principal::local(whose));
        let pages = web::local_pages(
            self.app.broker.clone(),
            std::sync::Arc::clone(&principal),
            std::slice::from_ref(&origin),
            &web::Usage::of(&countersign::identity::Authenticator::local((*principal).clone())),
        );
        Port::serve(listener, pages, AllowedUsers::of_this_user()).unwrap();
        format!("{origin}/connections")
    }

    /// Returns all of ana's accounts.
    pub(super) async fn accounts(&self) -> Vec<Account> {
        self.app.broker.accounts(&ana()).await.unwrap()
    }

    pub(super) fn time(&self) -> Time {
        Time::from_millis(self.now.load(Ordering::SeqCst))
    }
}

fn data_folder(folder: &tempfile::TempDir, data: &str, now: &Arc<AtomicI64>) -> DataFolder {
    DataFolder {
        path: folder.path().join(data),
        runtime: folder.path().join("run"),
        purpose: "test",
        clock: Clock::manual(Arc::clone(now)),
    }
}

fn app(
    folder: &tempfile::TempDir,
    data: &str,
    key: &SecretString,
    now: &Arc<AtomicI64>,
    public: Option<&str>,
) -> App {
    let path = folder.path().join("tools.toml");
    let config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    let clock = Clock::manual(Arc::clone(now));
    let settings = Settings {
        data: data_folder(folder, data, now),
        keys: KeySource::Given(key.clone()),
        clock,
        public: public.map(str::to_owned),
        worker: env!("CARGO_BIN_EXE_countersign").into(),
        links: Links::default(),
    };
    App::new(config, settings)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    // Only its owner may access the data folder.
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub(crate) fn tools_toml(origin: &str) -> String {
    let host = origin.trim_start_matches("http://");
    format!(
        r#"
        [providers.acme]
        base_url  = "{origin}"
        client_id = "us"
        hosts     = ["{host}"]
        [providers.acme.oauth]
        authorize_url = "{origin}/authorize"
        token_url     = "{origin}/token"
        loopback      = "any-port"

        [tools.read]
        description = "Reads."
        provider    = "acme"
        scopes      = ["notes:read"]
        request     = "GET /read"

        [tools.write]
        description = "Writes."
        provider    = "acme"
        scopes      = ["notes:write"]
        request     = "GET /write"
        "#
    )
}
