//! The page of a person's accounts, and the actions on it.

use std::time::Duration;

use countersign::model::{Caller, UserId};
use reqwest::StatusCode;

use super::world::{World, ana, tokens};
use crate::support::browser::Page;
use crate::support::provider::{Act, answer};

/// A world in which `acme` is connected, and the page that says so.
async fn world() -> (World, String) {
    let world = World::new().await;
    world.provider.says(tokens(
        r#"{"access_token":"first","refresh_token":"r","expires_in":3600,"scope":"notes:read"}"#,
    ));
    world.provider.accepts(&["first"]);
    world.consent().await;
    let page = world.connections(ana());
    (world, page)
}

async fn press(world: &World, address: &str, page: &Page, answer: &str) -> Page {
    world.press_on(page, address, answer).await
}

#[tokio::test]
async fn a_person_sees_what_is_connected_since_when_and_last_used() {
    let (world, address) = world().await;
    let page = world.get(&address).await;
    assert_eq!(page.status, StatusCode::OK);
    for part in [
        "Your accounts",
        "<bdi>ana</bdi>",
        "Acme",
        "Connected",
        "notes:read",
        r#"<time datetime="2027-01-15T08:00:00Z">15 January 2027, 08:00 UTC</time>"#,
        "no use seen since then",
        "it renews itself",
        r#">Disconnect<span class="unseen"> Acme</span>"#,
        r#">Reconnect<span class="unseen"> Acme</span>"#,
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(!page.text.contains("Connect an account"), "{}", page.text);
    world.result().await;
    assert!(world.get(&address).await.text.contains("within the last hour"));
    world.pass(Duration::from_mins(50));
    assert!(world.get(&address).await.text.contains("within the last hour"));
    world.pass(Duration::from_mins(20));
    assert!(world.get(&address).await.text.contains("1 hour ago"));
}

#[tokio::test]
async fn disconnecting_asks_once_more_and_ends_what_was_shown() {
    let (world, address) = world().await;
    world.provider.tokens(|_| Act::Say(answer("200 OK", "", "")));
    let list = world.get(&address).await;
    let asked = press(&world, &address, &list, "disconnect").await;
    assert!(asked.text.contains("<h1>Disconnect Acme?</h1>"), "{}", asked.text);
    assert_eq!(world.accounts().await.len(), 1, "not yet");
    let done = press(&world, &address, &asked, "end").await;
    assert_eq!(done.status, StatusCode::OK);
    // This provider names no revocation endpoint.
    assert!(done.text.contains("Acme is forgotten here"), "{}", done.text);
    assert!(done.text.contains("Remove the app in your Acme settings"), "{}", done.text);
    assert!(world.accounts().await.is_empty());
    world.prompt().await;

    let again = press(&world, &address, &asked, "end").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.text.contains(r#"role="alert""#), "{}", again.text);
    assert!(again.text.contains("Nothing is connected yet"), "{}", again.text);
}

#[tokio::test]
async fn a_click_ends_no_consent_that_was_given_after_its_page() {
    let (world, address) = world().await;
    let old = world.get(&address).await;
    let asked = press(&world, &address, &old, "disconnect").await;
    world.pass(Duration::from_mins(1));
    world.app.broker.accounts().revoke(&ana(), "acme", None).await.unwrap();
    world.consent().await;
    for (page, answer) in [(&old, "disconnect"), (&old, "reconnect"), (&asked, "end")] {
        let refused = press(&world, &address, page, answer).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{answer}");
        assert!(refused.text.contains("nothing was done"), "{answer}: {}", refused.text);
    }
    assert_eq!(world.accounts().await.len(), 1);
}

#[tokio::test]
async fn nobody_sees_or_ends_what_is_somebody_elses() {
    let (world, address) = world().await;
    let bobs = world.connections(Caller::local(UserId::new("bob")));
    let page = world.get(&bobs).await;
    assert!(page.text.contains("Nothing is connected yet"), "{}", page.text);
    assert!(!page.text.contains("notes:read"));
    let anas = world.get(&address).await;
    for answer in ["disconnect", "end", "reconnect"] {
        let refused = press(&world, &bobs, &anas, answer).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{answer}");
    }
    assert_eq!(world.accounts().await.len(), 1);
}

#[tokio::test]
async fn reconnecting_asks_for_what_was_granted() {
    let (world, address) = world().await;
    let list = world.get(&address).await;
    let sent = press(&world, &address, &list, "reconnect").await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    let link = sent.location().to_owned();
    let page = world.get(&link).await;
    assert!(page.text.contains("You asked to connect your Acme account"), "{}", page.text);
    let departure = world.click_on(&page, &link).await;
    assert_eq!(departure.parameter("scope"), "notes:read");
}

#[tokio::test]
async fn what_the_tools_use_can_be_connected_before_one_asks() {
    let world = World::new().await;
    let address = world.connections(ana());
    let page = world.get(&address).await;
    assert!(page.text.contains("Nothing is connected yet"), "{}", page.text);
    let form = [("answer", "connect"), ("provider", "acme")];
    let sent = world.post(&address, &form).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text);
    let departure = world.click(sent.location()).await;
    assert_eq!(departure.parameter("scope"), "notes:read notes:write");

    for (provider, account) in [("evil", None), ("acme", Some("work")), ("acme", Some("\u{202e}"))]
    {
        let mut form = vec![("answer", "connect"), ("provider", provider)];
        form.extend(account.map(|name| ("account", name)));
        let refused = world.post(&address, &form).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{provider}");
    }
}
