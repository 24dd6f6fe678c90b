//! Without an issuer, a browser is known by the key that its user's calls carry.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderName;

use super::world::{COOKIE, World, at};
use crate::support::browser::{Browser, Page};

async fn paste(browser: &Browser, key: &str) -> Page {
    browser.post(&at("/signin"), &[("to", "/connections"), ("key", key)]).await
}

/// Pastes a key, coming from an address behind our proxy.
async fn paste_from(browser: &Browser, forwarded: &str, key: &str) -> StatusCode {
    let token = browser.get(&at("/signin")).await.hidden("csrf").to_owned();
    let fields = [("csrf", token.as_str()), ("key", key)];
    let headers = [(HeaderName::from_static("x-forwarded-for"), forwarded)];
    browser.post_with(&at("/signin"), &headers, &fields).await.status
}

#[tokio::test]
async fn a_key_of_one_s_own_signs_the_browser_in() {
    let world = World::with_keys().await;
    let link = world.link("ana").await;
    let ana = world.browser();
    let page = ana.get(&at("/signin")).await;
    assert!(page.text.contains(r#"type="password" autocomplete="off""#), "{}", page.text);
    let before = ana.cookie(COOKIE).unwrap();
    let path = link.strip_prefix(&at("")).unwrap().to_owned();
    let arrived = ana.post(&at("/signin"), &[("to", &path), ("key", "ana-s-key")]).await;
    assert_eq!(arrived.location(), path);
    assert_ne!(ana.cookie(COOKIE).unwrap(), before);
    assert!(ana.get(&link).await.text.contains("Connect Acme Notes"));
    let bob = world.browser();
    assert_eq!(paste(&bob, "bob-s-key").await.status, StatusCode::SEE_OTHER);
    assert_eq!(bob.get(&link).await.status, StatusCode::FORBIDDEN);
}

/// A swept link of an application's user leads to the page that asks for a key, as an unknown link
/// does. The page tells users without a key what happened.
#[tokio::test]
async fn a_user_of_an_application_with_an_ended_link_is_sent_back_to_it() {
    let ended = "/connect/0123456789abcdefghjkmnpqrs";
    for (applications, words) in [
        (&["my-app"][..], "<bdi>my-app</bdi></strong> sent you here, this link no longer works"),
        (&["my-app", "other"][..], "If an application sent you here, this link no longer works"),
    ] {
        let world = World::with_keys_beside(applications).await;
        let browser = world.browser();
        let to = browser.get(&at(ended)).await.location().to_owned();
        let page = browser.get(&at(&to)).await;
        assert!(page.text.contains(words), "{}", page.text);
        assert!(page.text.contains("ask again"), "{}", page.text);
        let is_named = page.text.contains("my-app");
        assert_eq!(is_named, applications.len() == 1, "names of several are not public");
        // Without an opened link, the page mentions none.
        assert!(!browser.get(&at("/signin")).await.text.contains("no longer works"));
    }
    let world = World::with_keys().await;
    let page = world.browser().get(&at(&format!("/signin?to={ended}"))).await;
    assert!(!page.text.contains("no longer works"), "no application confirms anyone here");
}

#[tokio::test]
async fn what_is_nobody_s_own_key_signs_nobody_in_and_is_not_said_back() {
    let world = World::with_keys().await;
    let browser = world.browser();
    let mut pages = Vec::new();
    // The last one is an application's key, which belongs to no person.
    for key in ["wrong-key", "ana-s-ke", "", "app-s-key"] {
        let page = paste(&browser, key).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{key}");
        assert!(page.text.contains("This server does not know this key."), "{}", page.text);
        assert!(key.is_empty() || !page.text.contains(key), "{}", page.text);
        pages.push(page.text);
    }
    assert!(pages.windows(2).all(|pair| pair[0] == pair[1]), "one answer for all");
    assert_eq!(browser.get(&at("/signin")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn keys_cannot_be_tried_out() {
    let world = World::with_keys().await;
    let mallory = world.browser();
    let mut refused = 0;
    for _ in 0..30 {
        match paste_from(&mallory, "192.0.2.66", "guess").await {
            StatusCode::TOO_MANY_REQUESTS => refused += 1,
            status => assert_eq!(status, StatusCode::FORBIDDEN),
        }
    }
    assert_eq!(refused, 20);
    // Even the right key is not checked, regardless of the other addresses that the request names.
    let spoofed = "198.51.100.7, 192.0.2.66";
    assert_eq!(paste_from(&mallory, spoofed, "ana-s-key").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(paste_from(&world.browser(), "192.0.2.1", "ana-s-key").await, StatusCode::SEE_OTHER);
    world.pass(Duration::from_mins(1));
    assert_eq!(paste_from(&mallory, "192.0.2.66", "ana-s-key").await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn many_addresses_together_cannot_try_keys_out_either() {
    let world = World::with_keys().await;
    let browser = world.browser();
    let mut looked_at = 0;
    for n in 0..1200 {
        let address = format!("198.18.{}.{}", n / 250, n % 250);
        let status = paste_from(&browser, &address, "guess").await;
        looked_at += usize::from(status == StatusCode::FORBIDDEN);
    }
    assert_eq!(looked_at, 1000);
}

#[tokio::test]
async fn who_has_no_key_any_more_is_not_signed_in_any_more() {
    let world = World::with_keys().await;
    let (ana, bob) = (world.browser(), world.browser());
    paste(&ana, "ana-s-key").await;
    paste(&bob, "bob-s-key").await;
    let later = world.with_only_the_key_of("bob");
    let session = async |browser: &Browser| {
        later.session(&browser.cookie(COOKIE).unwrap().into()).await.map(|it| it.caller.user)
    };
    assert_eq!(session(&ana).await, None);
    assert_eq!(session(&bob).await.unwrap().as_str(), "bob");
}

#[tokio::test]
async fn a_browser_that_signed_in_by_a_key_does_not_stay_signed_in_without_it() {
    let world = World::with_keys().await;
    let ana = world.browser();
    paste(&ana, "ana-s-key").await;
    let cookie = ana.cookie(COOKIE).unwrap().into();
    assert!(world.with_only_the_key_of("ana").session(&cookie).await.is_some());
    assert!(world.with_another_key_of("ana").session(&cookie).await.is_none());
}
