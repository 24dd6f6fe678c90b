//! A server of one person, a provider beside it, and a minimal browser.

use std::sync::Arc;
use std::time::Duration;

use countersign::app::{Access, App};
use countersign::broker::Call;
use countersign::broker::accounts::list::Account;
use countersign::model::{Caller, ConnectPrompt, Outcome, Principal, Time, UserId};
use countersign::store::Tables;
use reqwest::StatusCode;
use serde_json::{Map, Value};

use crate::shown::Shown;
use crate::support::browser::{Browser, Page};
use crate::support::provider::json;
use crate::support::world::provider::Provider;
use crate::support::world::{self, TestClock};

pub(super) struct World {
    pub(super) app: Arc<App>,
    pub(super) provider: Provider,
    server: world::World,
    browser: Browser,
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
        Self::beside(|clock, origin| world::World::at(public, clock, &tools(origin))).await
    }

    /// A world in which each call of `pay`, which needs no account, of `pay_there`, which needs one,
    /// and of `pay_as_server` and `pay_by_key`, which use the server's own, has to be confirmed.
    pub(super) async fn with_payments() -> Self {
        Self::beside(|clock, origin| {
            let there = format!(
                r#"
                [tools.pay_there]
                description = "Pays there."
                provider    = "acme"
                scopes      = ["notes:read"]
                request     = "GET /pay_there"

                [providers.server]
                base_url        = "{origin}"
                client_id       = "us"
                client_secret   = "cmd:echo s3cret"
                oauth.token_url = "{origin}/token"
                oauth.grant     = "client_credentials"
                [tools.pay_as_server]
                description = "Pays with the server's own token."
                provider    = "server"
                request     = "GET /pay_as_server"

                [providers.keyed]
                base_url = "{origin}"
                api_key  = {{ query = "key", value = "file:/none/such" }}
                [tools.pay_by_key]
                description = "Pays with the server's own key."
                provider    = "keyed"
                request     = "GET /pay_by_key"
            "#
            );
            let tools = format!("{}{}{there}", tools_toml(origin), world::payments(origin));
            world::World::altered(None, clock, &tools, world::confirm_payments)
        })
        .await
    }

    /// A world whose store is in a data folder, and in which each call of `pay` has to be confirmed.
    pub(super) async fn in_folder() -> Self {
        let tools = |origin: &str| format!("{}{}", tools_toml(origin), world::payments(origin));
        Self::beside(|clock, origin| {
            world::World::in_folder(clock, &tools(origin), world::confirm_payments)
        })
        .await
    }

    /// A provider, and the server that is made for its origin.
    async fn beside(server: impl FnOnce(&TestClock, &str) -> world::World) -> Self {
        let clock = TestClock::new();
        let provider = Provider::start(&clock).await;
        let server = server(&clock, provider.origin());
        Self { app: Arc::clone(&server.app), provider, server, browser: Browser::new() }
    }

    /// Like a restart with the same data, after `written` in tools.toml has become `instead`.
    pub(super) async fn restarted(self, written: &str, instead: &str) -> Self {
        let server = self.server.restarted(written, instead).await;
        Self { app: Arc::clone(&server.app), server, ..self }
    }

    /// The provider's origin.
    pub(super) fn origin(&self) -> &str {
        self.provider.origin()
    }

    /// Sets the clock back.
    pub(super) fn set_back(&self, span: Duration) {
        self.server.clock.set_back(span);
    }

    /// The store's folder.
    pub(super) fn data(&self) -> std::path::PathBuf {
        self.server.data()
    }

    /// The tables of another process that shares the data folder.
    pub(super) fn tables_of_a_peer(&self) -> Tables {
        self.server.tables_of_a_peer()
    }

    /// Another process that shares the data folder and knows no tools.
    pub(super) fn keeper(&self) -> App {
        self.server.keeper()
    }

    /// Lets time pass.
    pub(super) fn pass(&self, span: Duration) {
        self.server.clock.pass(span);
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
        let client = client.map(str::to_owned);
        let call = Call { arguments, client, ..Call::new(principal, tool) };
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
            Outcome::InputRequired(required) => panic!("asked: {:?}", required.question),
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

    /// Serves MCP and this person's own pages until the test ends; returns the address of the
    /// accounts page.
    pub(super) fn connections(&self, whose: Caller) -> String {
        format!("{}/connections", self.server.serve(Access::Local(whose)))
    }

    /// Serves these callers until the test ends; returns the port's address.
    pub(super) fn serve(&self, access: Access) -> String {
        self.server.serve(access)
    }

    /// Returns all of ana's accounts.
    pub(super) async fn accounts(&self) -> Vec<Account> {
        self.app.broker.accounts().list(&ana()).await.unwrap()
    }

    pub(super) fn time(&self) -> Time {
        self.server.clock.time()
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
