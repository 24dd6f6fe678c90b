//! Records of an earlier version, which stored its sentences as reasons: the pages still say them.

use std::sync::Arc;

use futures_util::FutureExt as _;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::*;
use crate::broker::accounts::list::AccountState;
use crate::broker::{Broker, Catalogue, Parts, VisitingBrowser};
use crate::model::authorization::State;
use crate::model::reason::GrantEnd;
use crate::model::run::DocumentLimits;
use crate::model::{Authorization, Caller, Clock, Grant, UserId};
use crate::net::{Net, Policy};
use crate::oauth::OAuthClient;
use crate::store::{KeySource, LazyStore, MasterKey, Memory};
use crate::upstream::Upstream;
use crate::upstream::jq::Jq;

/// Records as an earlier version wrote them, one a line: authorizations that came to nothing or
/// whose last redirect failed, and grants that have ended.
const RECORDS: &str = include_str!("earlier_reasons.jsonl");

struct World {
    broker: Broker,
}

impl World {
    fn new() -> Self {
        let clock = Clock::manual(Arc::new(1_800_000_060_000.into()));
        let net = Net::new(Policy::default());
        let keys = KeySource::Given(MasterKey::generate().to_base64());
        let store = LazyStore::in_memory(Memory::default(), keys, clock.clone());
        let (store, tables) = store.into_tables();
        let parts = Parts {
            catalogue: Catalogue::default().into(),
            store,
            oauth: OAuthClient::new(net.clone(), clock.clone()),
            upstream: Upstream::new(net, Jq::new("countersign".into())),
            clock,
            origin: Box::new(|_, _| std::future::ready(Ok(String::new())).boxed()),
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
        Self { broker: Broker::new(parts, tables) }
    }

    /// The page behind the link of a stored authorization.
    async fn page(&self, record: &str) -> String {
        self.broker.store().await.unwrap().plant_authorization(record.as_bytes()).await;
        let authorization: Authorization = data(record);
        let ticket = authorization.link().ticket.expose_secret();
        let shown =
            self.broker.consents().invitation(ticket, &VisitingBrowser::Loopback).await.unwrap();
        let page = link_page(&shown, String::new(), Notice::None, None);
        let body = axum::body::to_bytes(page.into_body(), usize::MAX).await.unwrap();
        let page = String::from_utf8(body.to_vec()).unwrap();
        page.replace("<code>", "`").replace("</code>", "`").replace("&#39;", "'")
    }

    /// The state of a stored grant's account.
    async fn state(&self, record: &str) -> AccountState {
        let ana = Caller::local(UserId::new("ana"));
        self.broker.store().await.unwrap().plant_grant(&ana, record.as_bytes()).await;
        self.broker.accounts().list(&ana).await.unwrap().remove(0).state
    }
}

/// The record without its version.
fn data<T: serde::de::DeserializeOwned>(record: &str) -> T {
    let record: Value = serde_json::from_str(record).unwrap();
    serde_json::from_value(record["d"].clone()).unwrap()
}

fn records(field: &str) -> impl Iterator<Item = (&'static str, Value)> {
    RECORDS.lines().filter_map(move |line| {
        let stored = data::<Value>(line).get(field).cloned()?;
        Some((line, stored))
    })
}

#[tokio::test]
async fn a_page_says_the_sentence_that_an_earlier_version_stored() {
    let mut unnamed = 0;
    for (record, status) in records("status") {
        let Some((outcome, sentence)) = status.as_object().and_then(|it| it.iter().next()) else {
            continue;
        };
        let sentence = sentence.as_str().unwrap();
        let page = World::new().page(record).await;
        match outcome.as_str() {
            "Stayed" => assert!(page.contains(&format!("You stay with {sentence}<")), "{page}"),
            _ => assert!(page.contains(&format!("{sentence}</p>")), "{sentence}: {page}"),
        }
        let status = data::<Authorization>(record).status();
        unnamed += usize::from(matches!(
            status,
            Status::Failed(ConsentFailure::Other(_)) | Status::Undone(RevocationResult::Other(_))
        ));
    }
    assert_eq!(unnamed, 1, "each sentence of ours names a reason");
}

#[tokio::test]
async fn a_link_says_why_its_last_redirect_failed_in_an_earlier_version() {
    let mut seen = 0;
    for (record, problem) in records("problem") {
        let Some(sentence) = problem.as_str() else { continue };
        let page = World::new().page(record).await;
        assert!(page.contains(&format!(">{sentence}</p>")), "{page}");
        let authorization = data::<Authorization>(record);
        let state = authorization.state();
        let is_named =
            matches!(state, State::Pending { problem: Some(LinkProblem::NoToken { .. }) });
        assert!(is_named, "{state:?}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[tokio::test]
async fn an_account_says_why_an_earlier_version_ended_it() {
    let mut unnamed = 0;
    for (record, why) in records("ended") {
        let state = World::new().state(record).await;
        assert_eq!(state, AccountState::Ended(format!("ended: {}", why.as_str().unwrap())));
        unnamed += usize::from(matches!(data::<Grant>(record).ended, Some(GrantEnd::Other(_))));
    }
    assert_eq!(unnamed, 1, "each sentence of ours names a reason");
}
