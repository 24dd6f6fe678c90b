//! How a browser is known, and for how long.

use std::time::Duration;

use countersign::model::event::EndedBy;
use reqwest::StatusCode;

use super::world::{COOKIE, World, at, own_form};
use crate::support::browser::Browser;

/// Whether a user has signed in with this browser.
async fn is_signed_in(browser: &Browser) -> bool {
    browser.get(&at("/signin")).await.status == StatusCode::SEE_OTHER
}

#[tokio::test]
async fn the_cookie_is_this_host_s_alone_and_not_a_page_s_to_read() {
    let world = World::new().await;
    let page = world.browser().get(&at("/signin")).await;
    let set = &page.cookies[0];
    assert!(set.starts_with("__Host-countersign="), "{set}");
    for part in ["; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(set.contains(part), "{part}: {set}");
    }
    assert!(!set.contains("Domain"), "{set}");
    assert_eq!(page.headers["strict-transport-security"], "max-age=31536000");
    assert_eq!(page.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_cookie_from_before_signing_in_is_worth_nothing_after() {
    let world = World::new().await;
    let ana = world.browser();
    ana.get(&at("/signin")).await;
    // Mallory has planted it.
    let planted = ana.cookie(COOKIE).unwrap();
    world.sign_in_with(&ana, "ana").await;
    assert_ne!(ana.cookie(COOKIE).unwrap(), planted);
    assert!(is_signed_in(&ana).await);
    let mallory = world.browser();
    mallory.set(COOKIE, &planted);
    assert!(!is_signed_in(&mallory).await);
}

#[tokio::test]
async fn who_signs_in_again_ends_the_session_before() {
    let world = World::new().await;
    let ana = world.browser_of("ana").await;
    let before = ana.cookie(COOKIE).unwrap();
    let departure = own_form(&ana, "/signin", &[]).await;
    let query = world.issuer.signs_in(&departure, "bob");
    world.comes_back(&ana, &departure, &query).await;
    let thief = world.browser();
    thief.set(COOKIE, &before);
    assert!(!is_signed_in(&thief).await);
    assert!(is_signed_in(&ana).await);
}

#[tokio::test]
async fn whoever_signs_out_is_nobody_with_the_old_cookie_and_with_the_new() {
    let world = World::new().await;
    let ana = world.browser_of("ana").await;
    let before = ana.cookie(COOKIE).unwrap();
    let out = own_form(&ana, "/signout", &[]).await;
    assert_eq!(out.location(), "/signin");
    assert_ne!(ana.cookie(COOKIE).unwrap(), before);
    assert!(!is_signed_in(&ana).await);
    let thief = world.browser();
    thief.set(COOKIE, &before);
    assert!(!is_signed_in(&thief).await);
}

#[tokio::test]
async fn a_browser_that_is_left_is_nobody_s_after_half_an_hour() {
    let world = World::new().await;
    let ana = world.browser_of("ana").await;
    for _ in 0..5 {
        world.pass(Duration::from_mins(29));
        assert!(is_signed_in(&ana).await);
    }
    world.pass(Duration::from_mins(30));
    assert!(!is_signed_in(&ana).await);
}

#[tokio::test]
async fn nobody_stays_for_more_than_half_a_day() {
    let world = World::new().await;
    let ana = world.browser_of("ana").await;
    for _ in 0..35 {
        world.pass(Duration::from_mins(20));
        assert!(is_signed_in(&ana).await);
    }
    world.pass(Duration::from_mins(20));
    assert!(!is_signed_in(&ana).await);
}

/// Another host of the same domain has planted a cookie beside the browser's own.
#[tokio::test]
async fn of_two_cookies_neither_counts() {
    let world = World::new().await;
    let (ana, bob) = (world.browser_of("ana").await, world.browser_of("bob").await);
    let planted = format!("{COOKIE}={}", bob.cookie(COOKIE).unwrap());
    let headers = [(reqwest::header::COOKIE, planted.as_str())];
    let page = ana.get_with(&at("/signin"), &headers).await;
    assert_eq!(page.status, StatusCode::OK, "nobody's");
}

/// Expired records do not stay in the store.
#[tokio::test]
async fn what_is_over_is_swept_away() {
    let world = World::new().await;
    let ana = world.browser_of("ana").await;
    world.departs(&world.browser(), "/connections").await;
    let kinds = async || {
        let verified = world.app.broker.store().await.unwrap().verify().await.unwrap();
        assert!(verified.is_good());
        let good = |name: &str| {
            verified.kinds.iter().find(|kind| kind.name == name).map_or(0, |kind| kind.good)
        };
        (good("session"), good("signin"))
    };
    assert_eq!(kinds().await, (1, 1));
    world.pass(Duration::from_mins(31));
    world.app.broker.consents().delete_expired().await.unwrap();
    assert_eq!(kinds().await, (0, 0));
    assert!(!is_signed_in(&ana).await);
}

#[tokio::test]
async fn only_the_public_host_is_served() {
    let world = World::new().await;
    let other = Browser::behind("https://evil.example", &world.address());
    let page = other.get("https://evil.example/signin").await;
    assert_eq!(page.status, StatusCode::MISDIRECTED_REQUEST);
    assert!(page.cookies.is_empty());
}

/// The user of a browser at the issuer is unknown until it returns.
#[tokio::test]
async fn no_session_begins_by_a_sign_in_that_was_begun_before_access_was_ended() {
    let world = World::new().await;
    let ana = world.principal("ana").caller;
    let browser = world.browser();
    browser.get(&at("/signin")).await;
    let departure = world.departs(&browser, "/connections").await;
    let brought = world.issuer.signs_in(&departure, "ana");
    world.pass(Duration::from_secs(1));
    world.app.broker.users().end_access(&ana, EndedBy::Operator).await.unwrap();
    world.pass(Duration::from_secs(1));
    let refused = world.comes_back(&browser, &departure, &brought).await;
    assert_eq!(refused.status, StatusCode::GONE, "{}", refused.text);
    assert!(!is_signed_in(&browser).await);
    world.sign_in_with(&browser, "ana").await;
    assert!(is_signed_in(&browser).await, "signs in anew");
}
