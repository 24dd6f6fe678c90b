//! The world outside: an authorization server, and the API whose tokens it issues.

use serde_json::{Value, json};

use super::program::Program;
use crate::support::http::request;
use crate::support::wait_until;

pub struct World {
    authorization: Program,
    api: Program,
}

impl World {
    pub fn start() -> Self {
        Self::with(&json!({}), json!({}))
    }

    /// A world with these options for the authorization server and for the API.
    pub fn with(authorization: &Value, mut api: Value) -> Self {
        let authorization = Program::start("world/authorization_server.mjs", authorization);
        api["authorization_server"] = authorization.url().into();
        let api = Program::start("world/upstream.mjs", &api);
        Self { authorization, api }
    }

    pub fn issuer(&self) -> &str {
        self.authorization.url()
    }

    /// The issuer of assertions that the authorization server accepts.
    pub fn assertion_issuer(&self) -> &str {
        self.authorization.ready["assertions"]["issuer"].as_str().expect("an issuer")
    }

    /// The private key, in PEM, for such assertions; the key's id is the algorithm's name.
    pub fn assertion_key(&self, algorithm: &str) -> &str {
        self.authorization.ready["assertions"]["keys"][algorithm].as_str().expect("a key")
    }

    /// The API's base URL.
    pub fn api(&self) -> &str {
        self.api.url()
    }

    /// Counters of the authorization server.
    pub fn counts(&self) -> Value {
        self.look("counts")
    }

    /// Codes that were exchanged at the authorization server.
    pub fn exchanged(&self) -> u64 {
        self.counts()["token_requests"]["authorization_code"].as_u64().unwrap_or(0)
    }

    /// Refresh requests that reached the authorization server.
    pub fn refreshes(&self) -> u64 {
        self.counts()["token_requests"]["refresh_token"].as_u64().unwrap_or(0)
    }

    /// Requests to end a token that reached the authorization server. A consent that is not kept
    /// ends in the background, so wait for it.
    pub fn revocations(&self) -> u64 {
        self.counts()["revocations"].as_u64().unwrap_or(0)
    }

    /// For each refresh token, the times at which it came: milliseconds since 1970.
    pub fn refresh_token_sends(&self) -> Vec<Vec<u64>> {
        let counts = self.counts();
        let sends = counts["refresh_token_sends"].as_object().expect("sends by token");
        let times = sends.values().map(|times| times.as_array().expect("a list of times"));
        times.map(|times| times.iter().filter_map(Value::as_u64).collect()).collect()
    }

    /// The authorization server's time: milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.look("now").as_u64().expect("a time")
    }

    /// Every secret that the authorization server has issued or received, by kind.
    pub fn issued(&self) -> Value {
        self.look("issued")
    }

    fn look(&self, gauge: &str) -> Value {
        request("GET", &format!("{}/test/{gauge}", self.issuer()), &[], "").json()
    }

    /// Changes the authorization server's behaviour through one of its test endpoints.
    pub fn pull(&self, lever: &str, how: &Value) {
        let url = format!("{}/test/{lever}", self.issuer());
        let reply = request("POST", &url, &[], &how.to_string());
        assert_eq!(reply.status, 200, "{lever}: {}", reply.body);
    }

    /// Waits until a short-lived token has expired.
    pub fn until_expired(&self, token: &str) {
        wait_until("the end of a token's life", || !self.is_active(token));
    }

    /// Whether the authorization server still honours a token.
    pub fn is_active(&self, token: &str) -> bool {
        let headers = [
            ("authorization", "Basic dXBzdHJlYW06dXBzdHJlYW0tc2VjcmV0"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let url = format!("{}/token/introspection", self.issuer());
        request("POST", &url, &headers, &format!("token={token}")).json()["active"] == true
    }

    /// The requests that reached the API, in order.
    pub fn api_log(&self) -> Vec<Value> {
        let log = request("GET", &format!("{}/test/log", self.api()), &[], "").json();
        log.as_array().expect("a log is a list").clone()
    }

    /// The table of the provider `notes`.
    pub fn provider(&self) -> String {
        provider("notes", self.issuer(), self.api())
    }

    /// A `tools.toml` with the provider `notes` and a tool for each thing that the API can do.
    pub fn tools(&self) -> String {
        format!("{}\n{TOOLS}", self.provider())
    }
}

/// The table of a provider whose OAuth app is `web-basic`.
pub fn provider(name: &str, issuer: &str, api: &str) -> String {
    format!(
        r#"
[providers.{name}]
title         = "Notes"
base_url      = "{api}"
client_id     = "web-basic"
client_secret = "env:NOTES_CLIENT_SECRET"
[providers.{name}.oauth]
issuer   = "{issuer}"
loopback = "any-port"
"#
    )
}

const TOOLS: &str = include_str!("tools.toml");
