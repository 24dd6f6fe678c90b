//! Every answer to a browser at the public address, as a snapshot.

use reqwest::StatusCode;

use super::application::{confirm, flow_of, way_back};
use super::world::{ORIGIN, World, at};
use crate::snapshot::hold_page;
use crate::support::browser::{Browser, Page};

fn hang(state: &str, page: &Page) {
    hold_page(&format!("pages/sign-in/{state}"), page);
}

/// Opens the link and clicks "Continue".
async fn click(browser: &Browser, link: &str) -> Page {
    let page = browser.get(link).await;
    browser.post(link, &[("answer", "continue"), ("shown", page.shown())]).await
}

#[tokio::test]
async fn the_answers_of_a_sign_in_at_an_issuer() {
    let world = World::new().await;
    let (link, browser) = (world.link("ana").await, world.browser());
    hang("link unknown browser", &browser.get(&link).await);
    hang("accounts unknown browser", &browser.get(&at("/connections")).await);
    hang("issuer", &browser.get(&at("/signin?to=/connections")).await);
    let departure = browser.post(&at("/signin"), &[("to", "/connections")]).await;
    hang("issuer departure", &departure);
    let back = departure.parameter("redirect_uri");
    hang("issuer without state", &browser.get(&back).await);
    let denied = format!("{back}?error=access_denied&state={}", departure.parameter("state"));
    hang("issuer denied", &browser.get(&denied).await);
    hang("issuer used up", &browser.get(&denied).await);
    let departure = browser.post(&at("/signin"), &[("to", "/connections")]).await;
    let query = world.issuer.signs_in(&departure, "ana");
    hang("issuer signed in", &world.comes_back(&browser, &departure, &query).await);

    hang("connect", &browser.get(&link).await);
    hang("accounts empty", &browser.get(&at("/connections")).await);
    let away = click(&browser, &link).await;
    hang("departure", &away);
    hang("return", &browser.get(&way_back(&away)).await);
    hang("connected", &browser.get(&link).await);
    hang("accounts", &browser.get(&at("/connections")).await);
    hang("another page's form", &browser.post_bare(&link, &[("answer", "x")]).await);
    let bob = world.browser_of("bob").await;
    hang("another user", &bob.get(&link).await);
    hang("signed out", &bob.post(&at("/signout"), &[("to", "/connections")]).await);
}

#[tokio::test]
async fn the_answers_of_a_sign_in_with_a_key() {
    let world = World::with_keys_beside(&["my-app"]).await;
    let browser = world.browser();
    hang("key", &browser.get(&at("/signin")).await);
    let ended = "/connect/0123456789abcdefghjkmnpqrs";
    hang("key ended link", &browser.get(&at(&format!("/signin?to={ended}"))).await);
    let paste = async |key: &str| {
        browser.post(&at("/signin"), &[("to", "/connections"), ("key", key)]).await
    };
    hang("key unknown", &paste("wrong-key").await);
    let mut page = paste("wrong-key").await;
    for _ in 0..20 {
        if page.status == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        page = paste("wrong-key").await;
    }
    hang("key too often", &page);
    let world = World::with_keys().await;
    let browser = world.browser();
    let fields = [("to", "/connections"), ("key", "ana-s-key")];
    hang("key signed in", &browser.post(&at("/signin"), &fields).await);
}

#[tokio::test]
async fn the_answers_of_an_application_that_confirms_before() {
    let world = World::with_application().await;
    let (browser, link) = (world.browser(), world.link("ana").await);
    let sent = browser.get(&link).await;
    hang("application departure", &sent);
    hang("application accounts", &browser.get(&at("/connections")).await);
    let next = confirm(&world, "app", &flow_of(&sent), "ana").await.next_uri();
    hang("application another browser", &world.browser().get(&next).await);
    hang("application confirmed", &browser.get(&next).await);
    hang("application used up", &browser.get(&next).await);
    hang("application connect", &browser.get(&link).await);
}

#[tokio::test]
async fn the_answers_of_an_application_that_confirms_after() {
    let world = World::with_application_after().await;
    let (browser, link) = (world.browser(), world.link("ana").await);
    let page = browser.get(&link).await;
    hang("unconfirmed connect", &page);
    let away = browser.post(&link, &[("answer", "continue")]).await;
    hang("unconfirmed departure", &away);
    let back = browser.get(&way_back(&away)).await;
    hang("unconfirmed return", &back);
    let next = confirm(&world, "app", &flow_of(&back), "ana").await.next_uri();
    hang("unconfirmed confirmed", &browser.get(&next).await);
    let done = browser.get(&link).await;
    assert!(link.starts_with(ORIGIN));
    hang("unconfirmed connected", &done);
}
