//! Which events there are, for whom, and what they say.

use std::time::Duration;

use countersign::model::event::EndedBy;
use countersign::model::{Caller, ProviderId, UserId};
use serde_json::json;

use super::receiver::{Delivery, KEYS, Receiver, connect, connect_for, end, nothing_waits, world};
use crate::rest::world::{World, key_of};
use crate::support::provider::{Act, answer, json as said};

#[tokio::test]
async fn an_application_is_told_of_a_consent() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    connect(&world, "app", "bob").await;
    let [delivery] = &receiver.got(1).await[..] else { panic!("more than one") };
    let listed = world.get(&key_of("app"), "/v1/admin/user_connections").await.ok();
    assert_eq!(
        delivery.json(),
        json!({
            "type": "connection.created",
            "timestamp": "2027-01-15T08:00:00Z",
            "data": {
                "id": listed["items"][0]["id"], "user_id": "bob", "provider_id": "acme",
                "connection_id": "default", "scopes": ["notes:read"],
            },
        })
    );
    assert!(delivery.id.starts_with("msg_"), "{delivery:?}");
    assert_eq!(delivery.timestamp, 1_800_000_000);
    nothing_waits(&world, "main").await;
}

#[tokio::test]
async fn each_application_is_told_of_its_own_users_only() {
    let (of_app, of_other) = (Receiver::start().await, Receiver::start().await);
    let tables = [of_app.table("app-hook", "app"), of_other.table("other-hook", "other")];
    let world = World::for_many_and(&format!("{KEYS}{}", tables.concat())).await;
    connect(&world, "app", "bob").await;
    connect(&world, "other", "bob").await;
    connect(&world, "plain", "bob").await;
    connect(&world, "other", "eve").await;
    assert_eq!(of_other.outlines(2).await, ["created bob", "created eve"]);
    assert_eq!(of_app.outlines(1).await, ["created bob"]);
    assert_eq!(world.broker().webhooks().list().await.unwrap().len(), 2);
}

/// A user of `app`.
fn of_app(user: &str) -> Caller {
    Caller { namespace: Caller::namespace_of_key("app"), user: UserId::new(user) }
}

/// Answers a code with these members beside a token, and a refresh token with this refusal.
fn issues(world: &World, members: &str, refusal: &'static str) {
    let issued = format!(r#"{{"access_token":"hush-hush-access"{members}}}"#);
    world.provider.tokens(move |body| {
        if body.contains("grant_type=refresh_token") {
            let json = "Content-Type: application/json\r\n";
            return Act::Say(answer("400 Bad Request", json, refusal));
        }
        Act::Say(said(&issued))
    });
}

/// Calls a tool with the consent of `connect`.
async fn call(world: &World, user: &str) -> u16 {
    let body = json!({"tool_name": "Notes.Read", "user_id": user, "input": {"id": 1}});
    world.post(&key_of("app"), "/v1/tools/execute", body).await.status.as_u16()
}

#[tokio::test]
async fn a_consent_for_more_is_told_as_such_and_names_the_one_before() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    connect(&world, "app", "bob").await;
    connect_for(&world, "app", "bob", "Notes.Write").await;
    let got = receiver.got(2).await;
    let (first, second) = (&got[0].json()["data"], &got[1].json()["data"]);
    assert_eq!(got[1].json()["type"], "connection.widened");
    assert_eq!(second["scopes"], json!(["notes:read", "notes:write"]));
    assert_eq!(second["replaces"], first["id"]);
    assert_ne!(second["id"], first["id"]);
}

#[tokio::test]
async fn the_end_of_a_connection_says_who_ended_it() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    let (broker, acme) = (world.broker(), ProviderId::new("acme"));
    for user in ["ana", "bob", "eve"] {
        connect(&world, "app", user).await;
    }
    broker.accounts().end_at(&of_app("ana"), &acme, None, EndedBy::User).await.unwrap();
    broker.users().end_access(&of_app("bob"), EndedBy::Operator).await.unwrap();
    end(&world, "app", "eve").await;
    nothing_waits(&world, "main").await;
    let all = receiver.deliveries();
    let outlines: Vec<String> = all.iter().map(Delivery::outline).collect();
    for expected in
        ["disconnected ana (user)", "revoked bob (operator)", "revoked eve (application)"]
    {
        let told = outlines.iter().filter(|outline| *outline == expected).count();
        assert_eq!(told, 1, "{expected}: {outlines:?}");
    }
    // The event names the connection that has ended.
    let of_bob: Vec<_> = all.iter().filter(|it| it.outline().contains("bob")).collect();
    assert_eq!(of_bob[0].json()["data"]["id"], of_bob[1].json()["data"]["id"]);
}

#[tokio::test]
async fn a_refused_refresh_token_is_told_once_and_a_new_consent_follows() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    issues(
        &world,
        r#","refresh_token":"hush-hush-refresh","expires_in":3600"#,
        r#"{"error":"invalid_grant"}"#,
    );
    connect(&world, "app", "bob").await;
    world.pass(Duration::from_hours(2));
    for _ in 0..3 {
        assert_eq!(call(&world, "bob").await, 403);
    }
    connect(&world, "app", "bob").await;
    let told = receiver.outlines(3).await;
    assert_eq!(told, ["created bob", "needs_consent bob (refresh_token_refused)", "created bob"]);
    nothing_waits(&world, "main").await;
    assert_eq!(receiver.deliveries().len(), 3);
    for delivery in receiver.deliveries() {
        assert!(!format!("{delivery:?}").contains("hush-hush"), "{delivery:?}");
    }
}

#[tokio::test]
async fn a_provider_that_keeps_refusing_without_a_reason_is_told_once() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    issues(&world, r#","refresh_token":"r","expires_in":3600"#, r#"{"error":"nope"}"#);
    connect(&world, "app", "bob").await;
    world.pass(Duration::from_hours(2));
    for _ in 0..6 {
        call(&world, "bob").await;
        world.pass(Duration::from_mins(2));
    }
    assert_eq!(receiver.outlines(2).await, ["created bob", "needs_consent bob (not_renewed)"]);
    nothing_waits(&world, "main").await;
    assert_eq!(receiver.deliveries().len(), 2);
}

#[tokio::test]
async fn a_token_that_expires_for_good_is_told_once_by_a_call_or_within_a_day() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    issues(&world, r#","expires_in":3600"#, "");
    connect(&world, "app", "bob").await;
    connect(&world, "app", "eve").await;
    world.pass(Duration::from_hours(2));
    for _ in 0..2 {
        assert_eq!(call(&world, "bob").await, 403);
    }
    assert_eq!(receiver.outlines(3).await[2], "needs_consent bob (expired)");
    world.pass(Duration::from_hours(25));
    // A new link has the server look for what has expired.
    assert_eq!(call(&world, "zoe").await, 403);
    assert_eq!(receiver.outlines(4).await[3], "needs_consent eve (expired)");
    nothing_waits(&world, "main").await;
    assert_eq!(receiver.deliveries().len(), 4);
}

#[tokio::test]
async fn a_token_that_the_api_refuses_is_told_once() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    connect(&world, "app", "bob").await;
    world.pass(Duration::from_hours(2));
    world.provider.api(|_| Act::Say(answer("401 Unauthorized", "", "")));
    for _ in 0..2 {
        assert_eq!(call(&world, "bob").await, 403);
    }
    let told = receiver.outlines(2).await;
    assert_eq!(told, ["created bob", "needs_consent bob (access_token_refused)"]);
    nothing_waits(&world, "main").await;
    assert_eq!(receiver.deliveries().len(), 2);
}

#[tokio::test]
async fn a_consent_for_one_use_is_told_when_it_is_used() {
    let receiver = Receiver::start().await;
    let tables =
        format!("{KEYS}{}[store]\nretention = \"use_once\"", receiver.table("main", "app"));
    let world = World::for_many_and(&tables).await;
    connect(&world, "app", "bob").await;
    assert_eq!(call(&world, "bob").await, 200);
    let told = receiver.outlines(2).await;
    assert_eq!(told, ["created bob", "needs_consent bob (used_once)"]);
}

#[tokio::test]
async fn only_the_chosen_events_are_sent() {
    let receiver = Receiver::start().await;
    let events = "events = [\"connection.revoked\"]";
    let tables = format!("{KEYS}{}{events}\n", receiver.table("main", "app"));
    let world = World::for_many_and(&tables).await;
    connect(&world, "app", "bob").await;
    connect_for(&world, "app", "bob", "Notes.Write").await;
    end(&world, "app", "bob").await;
    assert_eq!(receiver.outlines(1).await, ["revoked bob (application)"]);
    nothing_waits(&world, "main").await;
}

#[tokio::test]
async fn a_deposit_is_told_once_it_is_a_connection_and_a_dead_one_is_not() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    issues(&world, "", r#"{"error":"invalid_grant"}"#);
    let deposit = async |user: &str| {
        let body = json!({
            "user_id": user, "provider": "acme", "client_id": "us", "refresh_token": user,
            "scopes": ["notes:read"],
        });
        world.post(&key_of("app"), "/v1/connections", body).await
    };
    assert!(deposit("eve").await.status.is_client_error());
    let issued = r#"{"access_token":"a","refresh_token":"r","expires_in":3600}"#;
    world.provider.tokens(move |_| Act::Say(said(issued)));
    let moved = deposit("bob").await.ok();
    let [delivery] = &receiver.got(1).await[..] else { panic!("one event") };
    assert_eq!(delivery.outline(), "created bob");
    assert_eq!(delivery.json()["data"]["id"], moved["id"]);
    assert_eq!(delivery.json()["data"]["replaces"], json!(null));
    assert_eq!(deposit("bob").await.ok()["id"], moved["id"]);
    end(&world, "app", "bob").await;
    assert_eq!(receiver.outlines(2).await[1], "revoked bob (application)");
    nothing_waits(&world, "main").await;
    assert_eq!(receiver.deliveries().len(), 2);
}
