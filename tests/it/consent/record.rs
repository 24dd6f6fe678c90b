//! Events that record a person's access.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::broker::Call;
use countersign::model::event::{
    CallOutcome, ConsentOutcome, EndOutcome, EndedBy, EventKind, RenewalOutcome,
};
use countersign::model::{Event, Principal};
use serde_json::Map;

use super::world::{World, ana, tokens};
use crate::support::provider::{Act, answer};
use crate::support::wait_until_async;

/// A world, and the events of its server.
async fn recorded() -> (World, Record) {
    let world = World::new().await;
    let record = Record::of(&world);
    (world, record)
}

/// The events of a server.
#[derive(Default)]
pub(super) struct Record(Arc<Mutex<Vec<Event>>>);

impl Record {
    /// Records the events of this world from now on.
    pub(super) fn of(world: &World) -> Self {
        let record = Self::default();
        let events = Arc::clone(&record.0);
        world.app.broker.events().observe(move |event| events.lock().unwrap().push(event.clone()));
        record
    }

    /// Returns the events since the last call.
    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    pub(super) fn kinds(&self) -> Vec<EventKind> {
        self.take().into_iter().map(|event| event.kind).collect()
    }
}

const CONNECTED: &str =
    r#"{"access_token":"first","refresh_token":"again","expires_in":3600,"scope":"notes:read"}"#;

#[tokio::test]
async fn a_consent_and_what_follows_are_one_event_each() {
    let (world, record) = recorded().await;
    world.provider.says(tokens(CONNECTED));
    world.provider.accepts(&["first", "second"]);

    let link = world.prompt().await.url;
    assert_eq!(record.kinds(), [EventKind::Link, EventKind::Call(CallOutcome::ConsentRequired)]);
    world.prompt().await;
    assert_eq!(record.kinds(), [EventKind::Call(CallOutcome::ConsentRequired)], "the same link");
    world.consent_by(&link).await;
    assert_eq!(
        record.kinds(),
        [ConsentOutcome::SentToProvider, ConsentOutcome::Connected].map(EventKind::Consent)
    );
    world.result().await;
    let events = record.take();
    let [call] = &*events else { panic!("{events:?}") };
    assert_eq!(call.caller, Some(ana()));
    assert_eq!(call.provider.as_ref().unwrap().as_str(), "acme");
    assert_eq!(call.tool.as_ref().unwrap().as_str(), "read");
    assert_eq!(call.kind, EventKind::Call(CallOutcome::Ok));
    assert!(call.took.is_some());

    world.pass(Duration::from_hours(2));
    world.provider.says(tokens(r#"{"access_token":"second","expires_in":3600}"#));
    world.result().await;
    assert_eq!(
        record.kinds(),
        [EventKind::Renewal(RenewalOutcome::Renewed), EventKind::Call(CallOutcome::Ok)]
    );

    world.app.broker.accounts().revoke(&ana(), "acme", None).await.unwrap();
    let outcome = EndOutcome::NoRevocation;
    assert_eq!(record.kinds(), [EventKind::End { by: EndedBy::User, outcome }]);
}

#[tokio::test]
async fn what_goes_wrong_is_named() {
    let (world, record) = recorded().await;
    let link = world.prompt().await.url;
    record.take();

    let departure = world.click(&link).await;
    world.come_back(&departure, "error=access_denied").await;
    let consent = [ConsentOutcome::SentToProvider, ConsentOutcome::Declined];
    assert_eq!(record.kinds(), consent.map(EventKind::Consent));

    let link = world.prompt().await.url;
    record.take();
    world.provider.says(answer("500 Internal Server Error", "", ""));
    let departure = world.click(&link).await;
    world.come_back(&departure, "code=c").await;
    let consent = [ConsentOutcome::SentToProvider, ConsentOutcome::NoToken];
    assert_eq!(record.kinds(), consent.map(EventKind::Consent));

    world.provider.says(tokens(CONNECTED));
    world.provider.accepts(&["first"]);
    world.consent_by(&link).await;
    record.take();
    world.provider.api(|_| Act::Say(answer("404 Not Found", "", "")));
    world.result().await;
    assert_eq!(record.kinds(), [EventKind::Call(CallOutcome::ApiFailure)]);

    let principal = &Principal::local(ana());
    let arguments = Some(Map::from_iter([("no-such".into(), "x".into())]));
    let call = Call { arguments, ..Call::new(principal, "read") };
    world.app.broker.call(call).await.unwrap();
    assert_eq!(record.kinds(), [EventKind::Call(CallOutcome::InvalidArguments)]);

    let call = Call::new(principal, "nothing");
    assert!(world.app.broker.call(call).await.is_err());
    let events = record.take();
    assert_eq!(events[0].kind, EventKind::Call(CallOutcome::UnknownTool));
    assert_eq!(events[0].tool, None, "it is the client's text");

    // A grant that the provider has ended.
    world.pass(Duration::from_hours(2));
    let refused = r#"{"error":"invalid_grant"}"#;
    let head = "Content-Type: application/json\r\n";
    world.provider.says(answer("400 Bad Request", head, refused));
    world.prompt().await;
    assert_eq!(
        record.kinds(),
        [
            EventKind::Renewal(RenewalOutcome::GrantEnded),
            EventKind::Link,
            EventKind::Call(CallOutcome::ConsentRequired),
        ]
    );
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled() {
    let (world, record) = recorded().await;
    world.provider.says(tokens(CONNECTED));
    world.consent().await;
    record.take();
    world.provider.api(|_| Act::Stall(Vec::new()));
    let before = world.provider.calls().len();
    let arrived = async || world.provider.calls().len() > before;
    tokio::select! {
        result = world.result() => panic!("the API never answers: {result:?}"),
        () = wait_until_async("the call at the API", arrived) => {}
    }
    assert_eq!(record.kinds(), [EventKind::Call(CallOutcome::Cancelled)]);
}
