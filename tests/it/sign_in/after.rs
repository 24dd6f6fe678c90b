//! `confirm = "after"`: a consent that comes before the application has confirmed its browser.

use std::time::Duration;

use countersign::model::Outcome;
use reqwest::StatusCode;

use super::application::{confirm, flow_of, says_nothing, way_back};
use super::world::{COOKIE, ORIGIN, World, at, own_form};
use crate::support::browser::{Browser, Page};

/// Opens the link, goes to the provider and comes back; returns the redirect that follows.
async fn bring(browser: &Browser, link: &str) -> Page {
    let departure = leave(browser, link).await;
    browser.get(&way_back(&departure)).await
}

async fn leave(browser: &Browser, link: &str) -> Page {
    let page = browser.get(link).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    says_nothing_of_her(&page);
    browser.post(link, &[("answer", "continue")]).await
}

/// Asserts that the page before the consent says nothing about the link's user.
fn says_nothing_of_her(page: &Page) {
    for word in ["ana", "notes:read", "read", "decline", "Switch", "Disconnect"] {
        assert!(!page.text.contains(&format!(">{word}")), "{word}: {}", page.text);
    }
}

async fn is_connected(world: &World, user: &str) -> bool {
    matches!(world.call(user).await, Outcome::Complete(_))
}

/// Number of revocations that reached the provider.
async fn revoked(world: &World) -> usize {
    world.app.broker.settle().await;
    world.revocations()
}

#[tokio::test]
async fn the_consent_counts_when_its_browser_comes_with_the_confirmation() {
    let world = World::with_application_after().await;
    let (browser, link) = (world.browser(), world.link("ana").await);
    let flow = flow_of(&bring(&browser, &link).await);
    assert_eq!(world.exchanges(), 1, "a code lives for minutes");
    assert!(!is_connected(&world, "ana").await);
    let next = confirm(&world, "app", &flow, "ana").await.next_uri();
    assert!(!is_connected(&world, "ana").await, "confirmed, but perhaps in another browser");
    assert_eq!(browser.get(&next).await.location(), link);
    assert!(is_connected(&world, "ana").await && !is_connected(&world, "bob").await);
    assert!(browser.get(&link).await.text.contains("Acme Notes is connected"));
    assert_eq!((world.exchanges(), revoked(&world).await), (1, 0));
}

/// From then on the browser has a session, and the order is as with an issuer.
#[tokio::test]
async fn a_confirmed_browser_is_shown_everything_and_needs_no_confirmation() {
    let world = World::with_application_after().await;
    let browser = world.browser();
    let link = world.link("ana").await;
    let flow = flow_of(&bring(&browser, &link).await);
    browser.get(&confirm(&world, "app", &flow, "ana").await.next_uri()).await;
    let page = browser.get(&at("/connections")).await;
    let form = [("answer", "reconnect"), ("shown", page.shown())];
    let link = browser.post(&at("/connections"), &form).await.location().to_owned();
    let page = browser.get(&link).await;
    assert!(page.text.contains("says that you are <bdi>ana"), "{}", page.text);
    let departure = browser.post(&link, &[("answer", "continue"), ("shown", page.shown())]).await;
    assert_eq!(browser.get(&way_back(&departure)).await.location(), link);
    assert_eq!(world.exchanges(), 2);
}

/// Mallory consents through ana's link, and ana's browser is made to load the verifier page and
/// what follows.
#[tokio::test]
async fn what_another_browser_brought_is_dropped_and_revoked() {
    for is_known in [false, true] {
        let world = World::with_application_after().await;
        let (mallory, link) = (world.browser(), world.link("ana").await);
        let flow = flow_of(&bring(&mallory, &link).await);
        let next = confirm(&world, "app", &flow, "ana").await.next_uri();
        let ana = world.browser();
        if is_known {
            // Ana's browser has a session of hers, as after another link.
            let flow = flow_of(&bring(&ana, &link).await);
            ana.get(&confirm(&world, "app", &flow, "ana").await.next_uri()).await;
        }
        let refused = ana.get(&next).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
        says_nothing(&refused);
        assert_eq!(is_connected(&world, "ana").await, is_known);
        // The consent is gone for mallory's browser too, which is asked anew or has to be
        // confirmed.
        let again = mallory.get(&link).await;
        says_nothing_of_her(&again);
        assert_eq!(mallory.get(&next).await.status, StatusCode::GONE);
        assert_eq!(revoked(&world).await, 1);
    }
}

#[tokio::test]
async fn a_consent_of_another_user_is_dropped_and_revoked() {
    let world = World::with_application_after().await;
    let (mallory, link) = (world.browser(), world.link("ana").await);
    let flow = flow_of(&bring(&mallory, &link).await);
    confirm(&world, "app", &flow, "mallory").await.is_refused("user_mismatch");
    confirm(&world, "app", &flow, "ana").await.is_refused("unknown_flow");
    // The link works at once for its own user.
    assert_eq!(world.link("ana").await, link);
    let ana = world.browser();
    let flow = flow_of(&bring(&ana, &link).await);
    ana.get(&confirm(&world, "app", &flow, "ana").await.next_uri()).await;
    assert!(is_connected(&world, "ana").await);
    assert_eq!(revoked(&world).await, 1);
}

/// Mallory consents, has the application confirm ana's browser, and keeps that browser from coming
/// here.
#[tokio::test]
async fn the_link_alone_claims_nothing() {
    let world = World::with_application_after().await;
    let (mallory, link) = (world.browser(), world.link("ana").await);
    let flow = flow_of(&bring(&mallory, &link).await);
    confirm(&world, "app", &flow, "ana").await.next_uri();
    let flow = flow_of(&mallory.get(&link).await);
    assert!(!is_connected(&world, "ana").await);
    confirm(&world, "app", &flow, "mallory").await.is_refused("user_mismatch");
    assert!(!is_connected(&world, "ana").await);
    assert_eq!(revoked(&world).await, 1);
}

#[tokio::test]
async fn a_consent_whose_code_is_exchanged_while_access_ends_is_dropped_and_revoked() {
    let world = World::with_application_after().await;
    let (browser, link) = (world.browser(), world.link("ana").await);
    let departure = leave(&browser, &link).await;
    // The first step of ending access; the remaining steps run before the provider answers.
    world.app.broker.users().cut_off(&world.principal("ana").caller).await.unwrap();
    browser.get(&way_back(&departure)).await;
    assert_eq!((world.exchanges(), revoked(&world).await), (1, 1));
    assert!(world.app.broker.store().await.unwrap().all_unclaimed().await.unwrap().is_empty());
    assert!(!is_connected(&world, "ana").await);
}

/// The browser is closed between any two hops.
#[tokio::test]
async fn a_hop_that_is_dropped_loses_nothing() {
    for dropped in 0..3 {
        for later in [Duration::ZERO, Duration::from_hours(23)] {
            let world = World::with_application_after().await;
            let (browser, link) = (world.browser(), world.link("ana").await);
            // 0: before the application; 1: before it answers; 2: before `next_uri`.
            let sent = bring(&browser, &link).await;
            if dropped == 2 {
                confirm(&world, "app", &flow_of(&sent), "ana").await.next_uri();
            }
            world.pass(later);
            assert_eq!(world.link("ana").await, link, "{dropped} {later:?}");
            let flow = flow_of(&browser.get(&link).await);
            let next = confirm(&world, "app", &flow, "ana").await.next_uri();
            assert_eq!(browser.get(&next).await.location(), link);
            assert!(is_connected(&world, "ana").await);
            assert_eq!((world.exchanges(), revoked(&world).await), (1, 0));
        }
    }
}

#[tokio::test]
async fn what_nobody_claims_for_a_day_is_revoked() {
    let world = World::with_application_after().await;
    let (browser, link) = (world.browser(), world.link("ana").await);
    bring(&browser, &link).await;
    world.pass(Duration::from_hours(24));
    assert_ne!(world.link("ana").await, link);
    assert_eq!(revoked(&world).await, 1);
    assert_eq!(browser.get(&link).await.status, StatusCode::GONE);
    assert!(!is_connected(&world, "ana").await);
}

/// A provider may end all tokens of an account together, so revoking would end what works.
#[tokio::test]
async fn what_was_connected_meanwhile_is_not_revoked_with_it() {
    let world = World::with_application_after().await;
    let (first, second, link) = (world.browser(), world.browser(), world.link("ana").await);
    bring(&first, &link).await;
    let flow = flow_of(&bring(&second, &link).await);
    second.get(&confirm(&world, "app", &flow, "ana").await.next_uri()).await;
    assert!(is_connected(&world, "ana").await);
    world.pass(Duration::from_hours(24));
    world.link_of("ana", "other_read").await;
    assert_eq!(revoked(&world).await, 0);
    assert!(is_connected(&world, "ana").await);
}

#[tokio::test]
async fn strangers_neither_exhaust_nor_decline_nor_read() {
    let world = World::with_application_after().await;
    let (mallory, link) = (world.browser(), world.link("ana").await);
    let before = world.record(&link).await;
    let path = link.strip_prefix(ORIGIN).unwrap();
    for _ in 0..25 {
        let departure = leave(&mallory, &link).await;
        assert_eq!(departure.status, StatusCode::SEE_OTHER);
        for answer in ["decline", "confirm", "keep", "disconnect", ""] {
            says_nothing_of_her(&own_form(&mallory, path, &[("answer", answer)]).await);
        }
        // Mallory refuses at the provider.
        let denied = way_back(&departure).replace("code=c0de", "error=access_denied");
        says_nothing(&mallory.get(&denied).await);
        world.pass(Duration::from_secs(9));
    }
    assert_eq!(world.record(&link).await, before);
    let ana = world.browser();
    let flow = flow_of(&bring(&ana, &link).await);
    ana.get(&confirm(&world, "app", &flow, "ana").await.next_uri()).await;
    assert!(is_connected(&world, "ana").await);
}

/// Two links in two tabs: the first confirmation replaces the cookie that the second consent came
/// with.
#[tokio::test]
async fn two_tabs_of_one_browser_disturb_each_other_in_nothing() {
    let world = World::with_application_after().await;
    let browser = world.browser();
    let (one, two) = (world.link("ana").await, world.link_of("ana", "other_read").await);
    let first = flow_of(&bring(&browser, &one).await);
    let second = flow_of(&bring(&browser, &two).await);
    let first = confirm(&world, "app", &first, "ana").await.next_uri();
    let second = confirm(&world, "app", &second, "ana").await.next_uri();
    browser.get(&first).await;
    browser.get(&second).await;
    browser.get(&two).await;
    assert!(is_connected(&world, "ana").await);
    assert!(browser.get(&two).await.text.contains("is connected"));
    assert_eq!((world.exchanges(), revoked(&world).await), (2, 0));
}

/// The user's last decision counts.
#[tokio::test]
async fn a_no_of_hers_after_the_consent_outweighs_it() {
    let world = World::with_application_after().await;
    let (first, second, link) = (world.browser(), world.browser(), world.link("ana").await);
    bring(&first, &link).await;
    world.pass(Duration::from_secs(1));
    // In another browser, which has a session of ana's.
    let other = world.link_of("ana", "other_read").await;
    let flow = flow_of(&bring(&second, &other).await);
    second.get(&confirm(&world, "app", &flow, "ana").await.next_uri()).await;
    second.get(&link).await;
    second.post(&link, &[("answer", "decline")]).await;
    let flow = flow_of(&first.get(&link).await);
    first.get(&confirm(&world, "app", &flow, "ana").await.next_uri()).await;
    assert!(!is_connected(&world, "ana").await);
    assert_eq!(revoked(&world).await, 1);
}

#[tokio::test]
async fn the_cookie_lives_as_long_as_the_consent_waits() {
    let world = World::with_application_after().await;
    let (browser, link) = (world.browser(), world.link("ana").await);
    let departure = leave(&browser, &link).await;
    let own = departure.cookies.iter().find(|set| set.starts_with(&format!("{COOKIE}=")));
    assert!(own.unwrap().contains("Max-Age=90000"), "{:?}", departure.cookies);
}

/// Many providers end all tokens of an account together, and the account may be bob's own.
#[tokio::test]
async fn a_forwarded_link_ends_no_consent_of_the_person_it_was_forwarded_to() {
    let world = World::with_application_after().await;
    let (browser, own) = (world.browser(), world.link("bob").await);
    let flow = flow_of(&bring(&browser, &own).await);
    browser.get(&confirm(&world, "app", &flow, "bob").await.next_uri()).await;
    assert!(is_connected(&world, "bob").await);
    let flow = flow_of(&bring(&world.browser(), &world.link("ana").await).await);
    confirm(&world, "app", &flow, "bob").await.is_refused("user_mismatch");
    assert_eq!(revoked(&world).await, 0);
    assert!(is_connected(&world, "bob").await && !is_connected(&world, "ana").await);
}

#[tokio::test]
async fn what_was_disconnected_is_not_connected_again_by_an_older_consent() {
    let world = World::with_application_after().await;
    let (one, two, link) = (world.browser(), world.browser(), world.link("ana").await);
    let older = flow_of(&bring(&one, &link).await);
    let newer = flow_of(&bring(&two, &link).await);
    two.get(&confirm(&world, "app", &newer, "ana").await.next_uri()).await;
    assert!(is_connected(&world, "ana").await);
    let page = two.get(&at("/connections")).await;
    two.post(&at("/connections"), &[("answer", "end"), ("shown", page.shown())]).await;
    assert!(!is_connected(&world, "ana").await);
    one.get(&confirm(&world, "app", &older, "ana").await.next_uri()).await;
    assert!(!is_connected(&world, "ana").await, "connected again without a consent");
}

/// Browsers that open a leaked link must not keep it open.
#[tokio::test]
async fn no_browser_keeps_a_link_open_that_it_may_not_claim() {
    let world = World::with_application_after().await;
    let (first, link) = (world.browser(), world.link("ana").await);
    let path = link.strip_prefix(ORIGIN).unwrap();
    bring(&first, &link).await;
    // This browser has been at the provider since before the link's own time was over.
    let late = world.browser();
    let late_departure = leave(&late, &link).await;
    world.pass(Duration::from_mins(14));
    bring(&world.browser(), &link).await;
    let before = world.record(&link).await;
    world.pass(Duration::from_mins(2));
    for _ in 0..3 {
        // The application has to confirm this browser before anything else.
        let mallory = world.browser();
        flow_of(&mallory.get(&link).await);
        let departure = own_form(&mallory, path, &[("answer", "continue")]).await;
        assert!(departure.location().starts_with("https://app.example/"), "{}", departure.text);
        world.pass(Duration::from_hours(7));
    }
    assert_eq!(world.record(&link).await, before);
    late.get(&way_back(&late_departure)).await;
    assert_eq!(world.record(&link).await, before, "a consent that comes late prolongs it");
    // A browser of ana's that has brought no consent still gets on.
    let ana = world.browser();
    let flow = flow_of(&ana.get(&link).await);
    let next = confirm(&world, "app", &flow, "ana").await.next_uri();
    assert_eq!(ana.get(&next).await.location(), path);
    assert!(ana.get(&link).await.text.contains("Acme Notes"));
    world.pass(Duration::from_hours(3));
    assert_ne!(world.link("ana").await, link);
    assert_eq!(world.browser().get(&link).await.status, StatusCode::GONE);
}
