//! A crash at each point of a change, and the next process, which finishes or drops the event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use super::Webhooks;
use super::outbox::{GrantChange, Outbox, Prepared};
use crate::broker::events::Events;
use crate::broker::{Catalogue, Parts};
use crate::model::event::EndedBy;
use crate::model::run::DocumentLimits;
use crate::model::secret_ref::SecretRef;
use crate::model::webhook::{ConnectionChange, Webhook};
use crate::model::{Caller, Clock, Grant, Time, UserId};
use crate::net::{Net, Policy};
use crate::oauth::OAuthClient;
use crate::registry::Registry;
use crate::store::{Held, KeySource, LazyStore, MasterKey, Memory, Table};
use crate::upstream::Upstream;
use crate::upstream::jq::Jq;

/// A machine on which one process after the other runs.
struct Machine {
    memory: Memory,
    key: secrecy::SecretString,
    millis: Arc<AtomicI64>,
}

/// A process. It is killed by dropping it: nothing of it runs any more.
struct Process {
    webhooks: Webhooks,
    outbox: Outbox,
    grants: Table<Grant>,
    store: Arc<LazyStore>,
}

fn bob() -> Caller {
    Caller { namespace: Caller::namespace_of_key("app"), user: UserId::new("bob") }
}

fn grant(connected_at: i64) -> Grant {
    let stored = json!({
        "provider": "acme",
        "binding": {
            "client_id": "us", "hosts": ["api.acme.example"],
            "authorize_endpoint": "https://login.acme.example/authorize",
            "token_endpoint": "https://login.acme.example/token",
        },
        "tokens": {"access": "a", "refresh": "r", "expires_at": null, "received_at": 0},
        "scopes": ["notes"], "refused": [], "connected_at": connected_at, "refreshed_at": null,
        "revocation": null, "ended": null,
    });
    serde_json::from_value(stored).unwrap()
}

fn parts(store: Arc<LazyStore>, clock: Clock, webhooks: Vec<Webhook>) -> Parts {
    let net = Net::new(Policy::default());
    Parts {
        catalogue: Catalogue::new(Registry::new(Vec::new()), BTreeMap::new()).into(),
        store,
        oauth: OAuthClient::new(net.clone(), clock.clone()),
        upstream: Upstream::new(net, Jq::new("countersign".into())),
        clock,
        origin: Box::new(|_, _| std::future::ready(Ok(String::new())).boxed()),
        listen_address: None,
        after_connect: None,
        keeper: Box::new(|_| std::future::ready(true).boxed()),
        keep_runs: Duration::from_hours(24),
        document_limits: DocumentLimits::default(),
        rest_rules: crate::config::RestRules::default(),
        webhooks,
        config: String::new(),
        is_short_lived: false,
    }
}

impl Machine {
    fn new() -> Self {
        let key = MasterKey::generate().to_base64();
        Self { memory: Memory::default(), key, millis: Arc::new(AtomicI64::new(1_000_000)) }
    }

    fn process(&self) -> Process {
        let clock = Clock::manual(Arc::clone(&self.millis));
        let keys = KeySource::Given(self.key.clone());
        let store = LazyStore::in_memory(self.memory.clone(), keys, clock.clone());
        let (store, tables) = store.into_tables();
        let webhook = Webhook {
            name: "main".into(),
            url: "https://app.example.com/".parse().unwrap(),
            secret: SecretRef::Env("UNSET".into()),
            key: "app".into(),
            events: ConnectionChange::ALL.into(),
        };
        let parts = Arc::new(parts(Arc::clone(&store), clock, vec![webhook]));
        let outbox = Outbox::new(tables.webhooks, &parts);
        let webhooks = Webhooks::new(outbox.clone(), &parts, Events::default());
        Process { webhooks, outbox, grants: tables.grants, store }
    }

    fn pass(&self, span: Duration) {
        self.millis.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Process {
    async fn there(&self) -> Option<Held<Grant>> {
        let (grant, store) = (grant(0), self.store.get().await.unwrap());
        let binding = grant.binding.fingerprint();
        store.grant(&bob(), &grant.provider, &binding, &grant.account).await.unwrap()
    }

    /// Prepares that a grant is stored. Returns it as it is to be stored.
    async fn prepares(&self, grant: Grant) -> (Prepared, Grant) {
        let before = self.there().await.map(|held| held.value);
        let change = GrantChange::stored(&grant, before.as_ref(), Time::from_millis(0));
        let event = self.outbox.prepare(&bob(), &change).await.unwrap();
        let last_event = event.last_event();
        (event, Grant { last_event, ..grant })
    }

    async fn stores(&self, grant: &Grant) {
        assert!(self.grants.put(&bob(), grant, self.there().await.as_ref()).await.unwrap());
    }

    async fn connects(&self, connected_at: i64) {
        let (event, grant) = self.prepares(grant(connected_at)).await;
        self.stores(&grant).await;
        event.confirm().await;
    }

    async fn prepares_end(&self) -> (Prepared, Held<Grant>) {
        let held = self.there().await.unwrap();
        let change = GrantChange::ended(&held.value, EndedBy::User);
        (self.outbox.prepare(&bob(), &change).await.unwrap(), held)
    }

    /// Ends the process without any step of its own.
    async fn dies(self) {
        self.store.close().await;
    }

    /// Returns the events that can be sent, in order.
    async fn sendable(&self) -> Vec<ConnectionChange> {
        let mut found = Vec::new();
        while let Some(queue) = self.webhooks.claim("main", &bob(), |_, _| true).await.unwrap() {
            let event = queue.next().unwrap().clone();
            found.push(event.change);
            self.outbox.update("main", &bob(), |queue| queue.remove(&event.id)).await.unwrap();
        }
        found
    }

    async fn waiting(&self) -> usize {
        self.webhooks.list().await.unwrap()[0].waiting
    }
}

const GRACE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_kill_before_the_grant_is_stored_leaves_no_event() {
    let machine = Machine::new();
    let process = machine.process();
    let _cut_off = process.prepares(grant(1)).await;
    process.dies().await;
    let next = machine.process();
    assert_eq!(next.sendable().await, []);
    assert_eq!(next.waiting().await, 1, "the write may still be on its way");
    machine.pass(GRACE);
    assert_eq!(next.sendable().await, []);
    assert_eq!(next.waiting().await, 0);
}

#[tokio::test]
async fn a_kill_after_the_grant_is_stored_loses_no_event() {
    let machine = Machine::new();
    let process = machine.process();
    let (_cut_off, grant) = process.prepares(grant(1)).await;
    process.stores(&grant).await;
    process.dies().await;
    assert_eq!(machine.process().sendable().await, [ConnectionChange::Created]);
}

#[tokio::test]
async fn a_kill_after_the_event_is_confirmed_loses_no_event() {
    let machine = Machine::new();
    let process = machine.process();
    process.connects(1).await;
    process.dies().await;
    assert_eq!(machine.process().sendable().await, [ConnectionChange::Created]);
}

#[tokio::test]
async fn an_event_is_not_lost_if_a_later_change_replaces_the_grant_before_anyone_looks() {
    let machine = Machine::new();
    let process = machine.process();
    let (_cut_off, grant) = process.prepares(grant(1)).await;
    process.stores(&grant).await;
    process.dies().await;
    let next = machine.process();
    next.connects(2).await;
    let (ended, held) = next.prepares_end().await;
    assert!(next.grants.delete_with_use(&held).await.unwrap());
    ended.confirm().await;
    let [created, again, disconnected] =
        [ConnectionChange::Created, ConnectionChange::Created, ConnectionChange::Disconnected];
    assert_eq!(next.sendable().await, [created, again, disconnected]);
}

#[tokio::test]
async fn a_kill_while_a_grant_is_deleted_is_told_by_the_grant() {
    for is_deleted in [false, true] {
        let machine = Machine::new();
        let process = machine.process();
        process.connects(1).await;
        let (_cut_off, held) = process.prepares_end().await;
        if is_deleted {
            assert!(process.grants.delete_with_use(&held).await.unwrap());
        }
        process.dies().await;
        machine.pass(GRACE);
        let next = machine.process();
        let mut expected = vec![ConnectionChange::Created];
        expected.extend(is_deleted.then_some(ConnectionChange::Disconnected));
        assert_eq!(next.sendable().await, expected);
        assert_eq!(next.waiting().await, 0);
    }
}

#[tokio::test]
async fn a_deletion_is_told_although_the_user_has_connected_again() {
    let machine = Machine::new();
    let process = machine.process();
    process.connects(1).await;
    let (_cut_off, held) = process.prepares_end().await;
    assert!(process.grants.delete_with_use(&held).await.unwrap());
    process.dies().await;
    let next = machine.process();
    next.connects(2).await;
    let [created, disconnected] = [ConnectionChange::Created, ConnectionChange::Disconnected];
    assert_eq!(next.sendable().await, [created, disconnected, created]);
}

#[tokio::test]
async fn a_change_that_is_being_made_is_waited_for_and_keeps_its_place() {
    let machine = Machine::new();
    let (one, other) = (machine.process(), machine.process());
    let (event, grant) = one.prepares(grant(1)).await;
    assert_eq!(one.sendable().await, []);
    machine.pass(GRACE);
    assert_eq!(other.sendable().await, [], "its process lives");
    assert_eq!(one.sendable().await, [], "it is in progress");
    one.stores(&grant).await;
    event.confirm().await;
    assert_eq!(other.sendable().await, [ConnectionChange::Created]);
}

#[tokio::test]
async fn a_task_that_was_cancelled_half_way_leaves_nothing_open() {
    let machine = Machine::new();
    let process = machine.process();
    drop(process.prepares(grant(1)).await);
    machine.pass(GRACE);
    assert_eq!(process.sendable().await, []);
    assert_eq!(process.waiting().await, 0);
    let (event, grant) = process.prepares(grant(2)).await;
    process.stores(&grant).await;
    drop(event);
    assert_eq!(process.sendable().await, [ConnectionChange::Created]);
}

#[tokio::test]
async fn one_process_sends_the_events_of_a_user_until_it_ends() {
    let machine = Machine::new();
    let (one, other) = (machine.process(), machine.process());
    one.connects(1).await;
    let claimed = async |process: &Process| {
        process.webhooks.claim("main", &bob(), |_, _| true).await.unwrap().is_some()
    };
    assert!(claimed(&one).await);
    assert!(!claimed(&other).await);
    machine.pass(Duration::from_mins(5));
    assert!(claimed(&other).await, "the first one hangs");
    other.dies().await;
    assert!(claimed(&one).await);
}
