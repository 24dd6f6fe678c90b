//! A server with REST faces in this process, a provider beside it, and programs that call.

use std::time::Duration;

use countersign::app::Access;
use countersign::broker::Broker;
use countersign::model::principal::ConfirmOrder;
use countersign::model::server_auth::{ApplicationSettings, KeyHolder, ResolvedAuth, ResolvedKey};
use countersign::model::{Caller, ProviderId, Time, UserId};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::document::Exchange;
use crate::support::browser::{Browser, Page};
use crate::support::http::client;
use crate::support::provider::{Act, json as answer};
use crate::support::world::provider::Provider;
use crate::support::world::{self, TestClock};

/// The server's public origin, where several people use it.
const ORIGIN: &str = "https://tools.example";
/// Token of `serve --token`.
pub(super) const TOKEN: &str = "the-token";

pub(super) struct World {
    pub(super) provider: Provider,
    pub(super) server: world::World,
    address: String,
    /// Ends the server, whose task this is.
    end: CancellationToken,
    served: JoinHandle<()>,
    http: reqwest::Client,
    /// Whether applications call, for users whose browsers they confirm.
    is_for_many: bool,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Null if the body is empty.
    pub(super) json: Value,
}

impl Reply {
    /// Returns the body of an answer with this status.
    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.json
    }

    /// Checks an error of Arcade's contract; returns its message.
    #[track_caller]
    pub(super) fn is_refused(&self, status: u16, name: &str) -> &str {
        assert_eq!((self.status.as_u16(), &self.json["name"]), (status, &json!(name)), "{self:?}");
        self.json["message"].as_str().unwrap()
    }
}

impl World {
    /// A server of one's own machine, whose user is `ana`.
    pub(super) async fn on_machine() -> Self {
        Self::of(None, TOOLS, |_| Access::Local(ana())).await
    }

    /// Like [`Self::on_machine`], with these lines in `tools.toml` beside the usual ones.
    pub(super) async fn on_machine_with(more: &str) -> Self {
        Self::of(None, &format!("{TOOLS}{more}"), |_| Access::Local(ana())).await
    }

    /// Like [`Self::on_machine`], with `--token`.
    pub(super) async fn with_token() -> Self {
        Self::of(None, TOOLS, |_| Access::Token(ana(), TOKEN.into())).await
    }

    /// A server with keys: those of the applications `app`, which gets its users' tokens and may
    /// administer, `other_admin`, which may administer, `plain` and `other`, which may not, `after`, which gets tokens and
    /// confirms browsers afterwards, and the one of the user `ana`.
    /// The key of each is its name, followed by `-s-key`.
    pub(super) async fn for_many() -> Self {
        Self::for_many_at("", TOOLS).await
    }

    /// Like [`Self::for_many`], with these lines in `[server]`.
    pub(super) async fn for_many_with(server: &str) -> Self {
        Self::for_many_at(server, TOOLS).await
    }

    /// Like [`Self::for_many`], with these lines in `tools.toml` beside the usual ones.
    pub(super) async fn for_many_and(more: &str) -> Self {
        Self::for_many_at("", &format!("{TOOLS}{more}")).await
    }

    async fn for_many_at(server: &str, tools: &str) -> Self {
        let auth = ResolvedAuth { issuer: None, keys: keys() };
        let tools = format!(
            "[server]
trusted_proxies = [\"127.0.0.1\"]
{server}
{tools}"
        );
        Self::of(Some(ORIGIN), &tools, |server| server.for_many(auth)).await
    }

    /// Like [`Self::for_many`], where users may connect several accounts of `acme`.
    pub(super) async fn for_many_with_accounts() -> Self {
        let acme = "title     = \"Acme\"";
        Self::for_many_at("", &TOOLS.replacen(acme, &format!("{acme}\naccounts = true"), 1)).await
    }

    /// Like [`Self::for_many`], where `acme` tells whose a token is.
    pub(super) async fn for_many_with_userinfo() -> Self {
        let token = "token_url     = \"ORIGIN/token\"";
        let userinfo = format!("{token}\nuserinfo_url  = \"ORIGIN/userinfo\"");
        Self::for_many_at("", &TOOLS.replacen(token, &userinfo, 1)).await
    }

    async fn of(
        public: Option<&str>,
        tools: &str,
        access: impl FnOnce(&world::World) -> Access,
    ) -> Self {
        let clock = TestClock::new();
        let provider = Provider::start(&clock).await;
        provider.tokens(|body| {
            let token = body.split("code=").nth(1).and_then(|rest| rest.split('&').next());
            let said = json!({ "access_token": token.unwrap_or("token") });
            Act::Say(answer(said.to_string()))
        });
        provider.api(|_| Act::Say(answer(r#"{"ok":true}"#)));
        let tools = tools.replace("ORIGIN", provider.origin());
        let server = world::World::at(public, &clock, &tools);
        let access = access(&server);
        let end = CancellationToken::new();
        let (address, served) = server.serve_until(access, end.clone().cancelled_owned());
        let http = client().build().unwrap();
        let is_for_many = public.is_some();
        Self { provider, server, address, end, served, http, is_for_many }
    }

    /// Like a restart, after `written` in `tools.toml` has become `instead`.
    pub(super) async fn restarted_with(self, written: &str, instead: &str, down: Duration) -> Self {
        self.served_again(written, instead, keys(), down).await
    }

    /// Like a restart, after the keys of these names have got other values: `…-s-new-key`.
    pub(super) async fn restarted_with_other_keys(self, names: &[&str], down: Duration) -> Self {
        let mut keys = keys();
        for key in keys.iter_mut().filter(|key| names.contains(&key.name.as_str())) {
            key.values = vec![format!("{}-s-new-key", key.name).into()];
        }
        self.served_again("[tools.", "[tools.", keys, down).await
    }

    /// Without `down`, as after a kill: the first server is not awaited. Else that one ends as
    /// it should, and `down` passes while none runs.
    async fn served_again(
        self,
        written: &str,
        instead: &str,
        keys: Vec<ResolvedKey>,
        down: Duration,
    ) -> Self {
        if !down.is_zero() {
            self.end.cancel();
            self.served.await.unwrap();
        }
        let server = self.server.restarted(written, instead).await;
        server.clock.pass(down);
        let access = if self.is_for_many {
            server.for_many(ResolvedAuth { issuer: None, keys })
        } else {
            Access::Local(ana())
        };
        let end = CancellationToken::new();
        let (address, served) = server.serve_until(access, end.clone().cancelled_owned());
        let Self { provider, http, is_for_many, .. } = self;
        Self { provider, server, address, end, served, http, is_for_many }
    }

    /// Serves the same store on another port of this machine, too.
    pub(super) fn serve_once_more(&self) {
        self.server.serve(Access::Local(ana()));
    }

    /// Sends a GET request with this key.
    pub(super) async fn get(&self, key: &str, path: &str) -> Reply {
        self.send(Method::GET, key, path, None, &[]).await
    }

    /// Sends a POST request with this key.
    pub(super) async fn post(&self, key: &str, path: &str, body: Value) -> Reply {
        self.send(Method::POST, key, path, Some(body), &[]).await
    }

    /// Sends a request. `key` is the value of `Authorization`; empty: none.
    pub(super) async fn send(
        &self,
        method: Method,
        key: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.address));
        if self.is_for_many {
            request = request.header(HOST, ORIGIN.trim_start_matches("https://"));
        }
        if !key.is_empty() {
            request = request.header(AUTHORIZATION, key);
        }
        let sent = body.map(|body| body.to_string()).unwrap_or_default();
        if !sent.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(sent.clone());
        }
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request = request.header(name, HeaderValue::try_from(*value).unwrap());
        }
        let reply = request.send().await.unwrap();
        let (status, headers) = (reply.status(), reply.headers().clone());
        let body = reply.bytes().await.unwrap();
        let media_type = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap());
        let exchange = Exchange {
            method: method.as_str(),
            path,
            sent_type: Some("application/json"),
            sent: sent.as_bytes(),
            status: status.as_u16(),
            answered_type: media_type,
            answered: &body,
        };
        exchange.check();
        let json = match body.as_ref() {
            [] => Value::Null,
            body => serde_json::from_slice(body)
                .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(body))),
        };
        Reply { status, headers, json }
    }

    /// Like a restart of a server of one's own machine, with the same data.
    pub(super) async fn restarted(self) -> Self {
        self.restarted_with("[tools.", "[tools.", Duration::ZERO).await
    }

    /// Returns whether the look-up of providers finds this one for a user of an application.
    pub(super) async fn finds(&self, app: &str, provider: &str) -> bool {
        let namespace = Caller::namespace_of_key(app);
        let caller = Caller { namespace, user: UserId::new("bob") };
        let provider = ProviderId::new(provider);
        self.server.app.broker.provider_of(&caller, &provider).await.unwrap().is_some()
    }

    /// The time of the server.
    pub(super) fn now(&self) -> Time {
        self.broker().now()
    }

    /// Lets time pass.
    pub(super) fn pass(&self, span: Duration) {
        self.server.clock.pass(span);
    }

    /// Gives the consent that a link asks for. At a server for several people, `app` confirms the
    /// browser as that of this user. Returns the link's page.
    pub(super) async fn consent(&self, app: &str, user: &str, link: &str) -> Page {
        let (browser, _) = self.consented(app, user, link).await;
        browser.get(link).await
    }

    /// Like [`Self::consent`]; returns the address that the browser is sent to at the end.
    pub(super) async fn consent_and_return(&self, app: &str, user: &str, link: &str) -> String {
        let (_, page) = self.consented(app, user, link).await;
        page.location().to_owned()
    }

    async fn consented(&self, app: &str, user: &str, link: &str) -> (Browser, Page) {
        let browser = self.browser_of(app, user, link).await;
        let page = browser.get(link).await;
        let departure =
            browser.post(link, &[("answer", "continue"), ("shown", page.shown())]).await;
        assert_eq!(departure.status, StatusCode::SEE_OTHER, "{}", departure.text);
        let parameter = |name| departure.parameter(name);
        let back =
            format!("{}?state={}&code=code-{user}", parameter("redirect_uri"), parameter("state"));
        let page = browser.get(&back).await;
        (browser, page)
    }

    /// A browser of which the server knows nothing.
    pub(super) fn browser(&self) -> Browser {
        Browser::behind(ORIGIN, &self.address)
    }

    /// Opens a link in a browser of this user; returns its page.
    pub(super) async fn open(&self, app: &str, user: &str, link: &str) -> Page {
        self.browser_of(app, user, link).await.get(link).await
    }

    /// The broker of the server, for what no program can ask of it.
    pub(super) fn broker(&self) -> &Broker {
        &self.server.app.broker
    }

    /// Declines the consent that a link asks for.
    pub(super) async fn decline(&self, app: &str, user: &str, link: &str) {
        let browser = self.browser_of(app, user, link).await;
        let page = browser.get(link).await;
        browser.post(link, &[("answer", "decline"), ("shown", page.shown())]).await;
    }

    /// A browser in which this user may open the link.
    async fn browser_of(&self, app: &str, user: &str, link: &str) -> Browser {
        if !self.is_for_many {
            return Browser::new();
        }
        let browser = Browser::behind(ORIGIN, &self.address);
        let confirmed = self.confirm(&browser, app, user, link).await;
        browser.get(confirmed["next_uri"].as_str().unwrap()).await;
        browser
    }

    /// Has `app` confirm the browser that opens the link; returns the answer.
    async fn confirm(&self, browser: &Browser, app: &str, user: &str, link: &str) -> Value {
        let sent = browser.get(link).await;
        let sent = Url::parse(sent.location()).unwrap();
        let (_, flow) = sent.query_pairs().find(|(name, _)| name == "flow_id").expect("a flow");
        let body = json!({ "flow_id": flow, "user_id": user });
        self.post(&key_of(app), "/v1/auth/confirm_user", body).await.ok()
    }

    /// Returns the id of the authorization that `app` confirms by this link.
    pub(super) async fn confirmed_id(&self, app: &str, user: &str, link: &str) -> Value {
        let browser = Browser::behind(ORIGIN, &self.address);
        self.confirm(&browser, app, user, link).await["auth_id"].clone()
    }
}

/// The key of an application or a user.
pub(super) fn key_of(name: &str) -> String {
    format!("{name}-s-key")
}

/// The keys of [`World::for_many`].
fn keys() -> Vec<ResolvedKey> {
    let rights = |name: &str| ApplicationSettings {
        verifier_url: Some(format!("https://{name}.example/verify").parse().unwrap()),
        confirm: if name == "after" { ConfirmOrder::After } else { ConfirmOrder::Before },
        admin: matches!(name, "app" | "other_admin"),
        tokens: matches!(name, "app" | "after"),
        deposit: matches!(name, "app" | "other"),
        next_origins: Vec::new(),
    };
    let application = |name| key(name, KeyHolder::Application(rights(name)));
    vec![
        application("app"),
        application("plain"),
        application("other"),
        application("other_admin"),
        application("after"),
        key("ana", KeyHolder::Person(UserId::new("ana"))),
    ]
}

fn key(name: &str, holder: KeyHolder) -> ResolvedKey {
    ResolvedKey { name: name.into(), values: vec![key_of(name).into()], holder }
}

fn ana() -> Caller {
    Caller::local(UserId::new("ana"))
}

const TOOLS: &str = r#"
[providers.acme]
title     = "Acme"
base_url  = "ORIGIN"
client_id = "us"
[providers.acme.oauth]
authorize_url = "ORIGIN/authorize"
token_url     = "ORIGIN/token"
loopback      = "any-port"

[providers.umbra]
title     = "Umbra"
base_url  = "ORIGIN"
client_id = "us-there"
[providers.umbra.oauth]
authorize_url = "ORIGIN/authorize"
token_url     = "ORIGIN/token"
loopback      = "any-port"

[tools.notes_read]
description = "Reads a note."
provider    = "acme"
scopes      = ["notes:read"]
request     = "GET /notes/{id}"
params.id   = { type = "integer", description = "Number of the note" }

[tools.notes_write]
title       = "Write a note"
description = "Writes a note."
provider    = "acme"
scopes      = ["notes:write"]
effect      = "write"
request     = "POST /notes"
args        = { arcade = { text = "content" } }
params.text = "The note"
params.tags = { type = "array", optional = true, description = "Its tags" }

[tools.umbra_look]
description = "Looks."
provider    = "umbra"
scopes      = ["look"]
request     = "GET /look"

[tools.repo_star]
description = "Stars a repository."
effect      = "write"
request     = "PUT ORIGIN/star/{owner}/{repo}"
ids         = { arcade = "Github.SetStarred" }
args        = { arcade = { "owner/repo" = "repository" } }
params.owner = "Its owner"
params.repo  = "Its name"

[tools.delete_everything]
description = "Deletes it."
request     = "DELETE ORIGIN/everything"
allow       = ["group:operators"]
"#;
