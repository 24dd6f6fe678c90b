//! A browser's sign-in at the issuer, and the answers that may come back.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;

use super::world::{COOKIE, World, at, own_form};

#[tokio::test]
async fn the_issuer_is_asked_for_no_more_than_who_it_is() {
    let world = World::new().await;
    let departure = world.departs(&world.browser(), "/connections").await;
    assert_eq!(departure.parameter("scope"), "openid");
    assert_eq!(departure.parameter("response_type"), "code");
    assert_eq!(departure.parameter("redirect_uri"), at("/signin/callback"));
}

#[tokio::test]
async fn an_answer_counts_once() {
    let world = World::new().await;
    let browser = world.browser();
    let departure = world.departs(&browser, "/connections").await;
    let query = world.issuer.signs_in(&departure, "ana");
    let first = world.comes_back(&browser, &departure, &query).await;
    assert_eq!(first.location(), "/connections");
    let cookie = browser.cookie(COOKIE);
    let second = world.comes_back(&browser, &departure, &query).await;
    assert_eq!(second.status, StatusCode::GONE);
    assert_eq!(browser.cookie(COOKIE), cookie);
    assert_eq!(world.issuer.exchanges(), 1);
}

#[tokio::test]
async fn of_many_answers_at_once_one_counts() {
    let world = World::new().await;
    let browser = world.browser();
    let departure = world.departs(&browser, "/connections").await;
    let query = world.issuer.signs_in(&departure, "ana");
    let answers =
        (0..8).map(|_| world.comes_back(&browser, &departure, &query)).collect::<Vec<_>>();
    let answers = futures_util::future::join_all(answers).await;
    let good = answers.iter().filter(|page| page.status == StatusCode::SEE_OTHER).count();
    assert_eq!((good, world.issuer.exchanges()), (1, 1));
}

/// Mallory wants Bob to continue as Mallory, and so to finish Mallory's link.
#[tokio::test]
async fn an_answer_counts_in_the_browser_that_asked_for_it_only() {
    let world = World::new().await;
    let mallory = world.browser();
    let departure = world.departs(&mallory, "/connections").await;
    let query = world.issuer.signs_in(&departure, "mallory");
    let bob = world.browser();
    bob.get(&at("/signin")).await;
    let back = world.comes_back(&bob, &departure, &query).await;
    assert_eq!(back.status, StatusCode::FORBIDDEN);
    assert!(back.text.contains("started in another browser"), "{}", back.text);
    assert!(back.cookies.is_empty());
    let nobody = world.browser();
    let departure = world.departs(&mallory, "/connections").await;
    let query = world.issuer.signs_in(&departure, "mallory");
    assert_eq!(world.comes_back(&nobody, &departure, &query).await.status, StatusCode::FORBIDDEN);
    // The first try has used the sign-in up.
    assert_eq!(world.comes_back(&mallory, &departure, &query).await.status, StatusCode::GONE);
    assert_eq!(world.issuer.exchanges(), 0);
}

#[tokio::test]
async fn a_late_answer_does_not_count() {
    let world = World::new().await;
    let browser = world.browser();
    let departure = world.departs(&browser, "/connections").await;
    let query = world.issuer.signs_in(&departure, "ana");
    world.pass(Duration::from_mins(10));
    assert_eq!(world.comes_back(&browser, &departure, &query).await.status, StatusCode::GONE);
    assert_eq!(world.issuer.exchanges(), 0);
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_not_exchanged() {
    let world = World::new().await;
    let browser = world.browser();
    for wrong in ["&iss=https://evil.example", "", "/"] {
        let departure = world.departs(&browser, "/connections").await;
        let query = world.issuer.signs_in(&departure, "ana");
        let (query, iss) = query.split_once("&iss=").unwrap();
        let iss = if wrong == "/" { format!("&iss={iss}/") } else { wrong.to_owned() };
        let back = world.comes_back(&browser, &departure, &format!("{query}{iss}")).await;
        assert_eq!(back.status, StatusCode::BAD_REQUEST, "{iss}");
    }
    assert_eq!(world.issuer.exchanges(), 0);
}

#[tokio::test]
async fn an_id_token_that_is_not_for_this_trip_signs_nobody_in() {
    let world = World::new().await;
    let browser = world.browser();
    for claims in [
        json!({"nonce": "of another trip"}),
        json!({"nonce": null}),
        json!({"aud": "another client"}),
        json!({"iss": "https://evil.example"}),
        json!({"exp": 1_700_000_000}),
        json!({"sub": null}),
        json!({"sub": " "}),
    ] {
        world.issuer.claims(claims.clone());
        let back = world.sign_in_with(&browser, "ana").await;
        assert_eq!(back.status, StatusCode::BAD_GATEWAY, "{claims}");
        assert!(back.cookies.is_empty(), "{claims}");
    }
    world.issuer.claims(json!({}));
    assert_eq!(world.sign_in_with(&browser, "ana").await.status, StatusCode::SEE_OTHER);
    world.issuer.hands_out_no_id_tokens();
    let back = world.sign_in_with(&world.browser(), "ana").await;
    assert!(back.text.contains("no ID token"), "{}", back.text);
}

#[tokio::test]
async fn a_no_of_the_issuer_is_a_page_and_nothing_of_it_is_believed() {
    let world = World::new().await;
    let browser = world.browser();
    for (error, words) in [
        ("access_denied", "The issuer answered <code>access_denied</code>"),
        ("server_error", "The issuer answered <code>server_error</code>"),
        ("%3Cscript%3E", "The issuer answered <code>script</code>"),
    ] {
        let departure = world.departs(&browser, "/connections").await;
        let query = world.issuer.signs_in(&departure, "ana");
        let (_, rest) = query.split_once("&state=").unwrap();
        let query = format!("error={error}&error_description=%3Cb%3Eobey&state={rest}");
        let page = world.comes_back(&browser, &departure, &query).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert!(page.text.contains(words), "{}", page.text);
        assert!(!page.text.contains("obey"), "{}", page.text);
        assert!(page.text.contains(r#"href="/signin""#), "{}", page.text);
    }
    assert_eq!(world.issuer.exchanges(), 0);
}

#[tokio::test]
async fn a_browser_goes_on_to_pages_of_this_server_only() {
    let world = World::new().await;
    let browser = world.browser();
    for to in [
        "https://evil.example/connect/x",
        "//evil.example",
        "/\\evil.example",
        "/connect/../signout",
        "/connect/x%0d%0aSet-Cookie:a=b",
        "javascript:alert(1)",
        "",
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
        let page = world.browser().get(&at(&format!("/signin?to={encoded}"))).await;
        assert_eq!(page.hidden("to"), "/connections", "{to}");
        let departure = world.departs(&browser, to).await;
        let query = world.issuer.signs_in(&departure, "ana");
        // The callback's parameters cannot change that, either.
        let query = format!("{query}&to={encoded}");
        let arrived = world.comes_back(&browser, &departure, &query).await;
        assert_eq!(arrived.location(), "/connections", "{to}");
        let there = browser.get(&at(&format!("/signin?to={encoded}"))).await;
        assert_eq!(there.location(), "/connections", "{to}");
        let out = own_form(&browser, "/signout", &[("to", to)]).await;
        assert_eq!(out.location(), "/signin", "{to}");
    }
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_is_said_to_be() {
    let world = World::with_issuer(json!({"authorization_endpoint": null})).await;
    let browser = world.browser();
    let page = browser.post(&at("/signin"), &[("to", "/connections")]).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.text.contains("authorization_endpoint"), "{}", page.text);
}
