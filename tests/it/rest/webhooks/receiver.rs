//! A receiver of webhooks that checks every signature, and a server that sends to it.

use std::sync::{Arc, Mutex};

use countersign::model::Time;
use countersign::model::signing_keys::SigningKeys;
use serde_json::{Value, json};

use crate::rest::world::{World, key_of};
use crate::support::provider::{Act, Server, answer};
use crate::support::wait_until_async;

pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwc2VjcmV0";

/// Decides about each request.
type Answers = dyn FnMut(&Delivery) -> Act + Send;

pub(super) struct Receiver {
    server: Server,
    answers: Arc<Mutex<Box<Answers>>>,
}

/// A request to the receiver.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) timestamp: i64,
    pub(super) signature: String,
    body: String,
}

impl Delivery {
    fn of(request: &str) -> Self {
        let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().unwrap_or_else(|| panic!("no {name}: {head}")).1.to_owned()
        };
        assert!(head.starts_with("POST "), "{head}");
        assert_eq!(header("content-type"), "application/json");
        Self {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp").parse().expect("a number"),
            signature: header("webhook-signature"),
            body: body.to_owned(),
        }
    }

    /// Whether one of its signatures is made with this secret.
    pub(super) fn is_signed_with(&self, secret: &str) -> bool {
        let keys = SigningKeys::parse(&secret.into()).expect("a secret");
        let at = Time::from_millis(self.timestamp * 1000);
        let own = keys.sign(&self.id, at, self.body.as_bytes());
        self.signature.split(' ').any(|signature| signature == own)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Type of the event, and the user whom it is about.
    pub(super) fn outline(&self) -> String {
        let event = self.json();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, data) = (word(&event["type"]), &event["data"]);
        let kind = kind.trim_start_matches("connection.");
        match word(&data["reason"]) {
            reason if reason.is_empty() => format!("{kind} {}", word(&data["user_id"])),
            reason => format!("{kind} {} ({reason})", word(&data["user_id"])),
        }
    }
}

pub(super) fn status(line: &str) -> Act {
    Act::Say(answer(line, "", "the receiver's own words"))
}

impl Receiver {
    /// A receiver that takes every event.
    pub(super) async fn start() -> Self {
        let taking: Box<Answers> = Box::new(|_| status("204 No Content"));
        let answers = Arc::new(Mutex::new(taking));
        let behind = Arc::clone(&answers);
        let server = Server::start(move |request| {
            (behind.lock().expect("not poisoned"))(&Delivery::of(request))
        });
        Self { server: server.await, answers }
    }

    /// Sets its behaviour from now on.
    pub(super) fn answers(&self, answer: impl FnMut(&Delivery) -> Act + Send + 'static) {
        *self.answers.lock().expect("not poisoned") = Box::new(answer);
    }

    /// Answers every request with this status from now on.
    pub(super) fn says(&self, line: &'static str) {
        self.answers(move |_| status(line));
    }

    pub(super) fn takes(&self) {
        self.says("204 No Content");
    }

    /// All requests so far, each with a good signature.
    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        let all: Vec<_> = self.server.requests().iter().map(|it| Delivery::of(it)).collect();
        for delivery in &all {
            assert!(delivery.is_signed_with(SECRET), "{delivery:?}");
        }
        all
    }

    /// Returns all requests once there are this many.
    pub(super) async fn got(&self, count: usize) -> Vec<Delivery> {
        self.server.has_got(count).await;
        self.deliveries()
    }

    /// Returns the outlines of all requests once there are this many.
    pub(super) async fn outlines(&self, count: usize) -> Vec<String> {
        self.got(count).await.iter().map(Delivery::outline).collect()
    }

    pub(super) fn origin(&self) -> &str {
        &self.server.origin
    }

    /// Its table in `tools.toml`.
    pub(super) fn table(&self, name: &str, key: &str) -> String {
        let origin = &self.server.origin;
        format!(
            "
            [webhooks.{name}]
            url    = \"{origin}/hooks\"
            secret = \"cmd:echo {SECRET}\"
            key    = \"{key}\"
            "
        )
    }
}

/// The keys that webhooks can name.
pub(super) const KEYS: &str = r#"
    [[server.auth.api_keys]]
    name = "app"
    key  = "env:APP_KEY"
    [[server.auth.api_keys]]
    name = "other"
    key  = "env:OTHER_KEY"
"#;

/// A server with a webhook of `app`.
pub(super) async fn world(receiver: &Receiver) -> World {
    World::for_many_and(&format!("{KEYS}{}", receiver.table("main", "app"))).await
}

/// Connects a user's account for the tool of this name.
pub(super) async fn connect_for(world: &World, app: &str, user: &str, tool: &str) {
    let input = if tool == "Notes.Read" { json!({"id": 1}) } else { json!({"content": "x"}) };
    let call = json!({"tool_name": tool, "user_id": user, "input": input});
    let refused = world.post(&key_of(app), "/v1/tools/execute", call).await;
    let link = refused.json["authorization"]["url"].as_str().expect("a link").to_owned();
    world.consent(app, user, &link).await;
}

/// Connects a user's account.
pub(super) async fn connect(world: &World, app: &str, user: &str) {
    connect_for(world, app, user, "Notes.Read").await;
}

/// Ends all connections of a user.
pub(super) async fn end(world: &World, app: &str, user: &str) {
    let path = format!("/v1/admin/user_connections?user_id={user}");
    let key = key_of(app);
    world.send(reqwest::Method::DELETE, &key, &path, None, &[]).await.ok();
}

/// Number of events that wait for a webhook.
pub(super) async fn waiting(world: &World, name: &str) -> (usize, usize) {
    let list = world.broker().webhooks().list().await.expect("a store");
    let found = list.into_iter().find(|status| status.name == name).expect("the webhook");
    (found.waiting, found.parked)
}

/// Returns once nothing waits for a webhook.
pub(super) async fn nothing_waits(world: &World, name: &str) {
    let is_empty = async || waiting(world, name).await == (0, 0);
    wait_until_async("empty queues", is_empty).await;
}

/// Returns once the server knows that the next events of this many users were not taken. Only then
/// may the clock move: an attempt counts from the time at which it is known to have failed.
pub(super) async fn failing(world: &World, name: &str, users: usize) {
    let is_known = async || {
        let list = world.broker().webhooks().list().await.expect("a store");
        list.iter().any(|status| status.name == name && status.failing == users)
    };
    wait_until_async("failed attempts", is_known).await;
}
