//! Forms that did not come from our page in the browser that sends them.

use reqwest::StatusCode;
use reqwest::header::{HeaderName, ORIGIN};

use super::world::{World, at};

#[tokio::test]
async fn every_form_needs_the_token_of_its_own_page_in_its_own_browser() {
    let world = World::new().await;
    let link = world.link("ana").await;
    let ana = world.browser_of("ana").await;
    let page = ana.get(&link).await;
    let other = world.browser_of("ana").await;
    let theirs = other.get(&link).await;
    let before = world.record(&link).await;
    let shown = ("shown", page.shown());
    let decline = ("answer", "decline");
    let tokens = [
        vec![],
        vec![("csrf", "")],
        vec![("csrf", theirs.hidden("csrf"))],
        vec![("csrf", page.hidden("csrf")), ("csrf", page.hidden("csrf"))],
    ];
    for token in &tokens {
        let fields = [token.as_slice(), &[decline, shown]].concat();
        let refused = ana.post_bare(&link, &fields).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{token:?}");
    }
    // The token is not valid for another page, either.
    for path in ["/signin", "/signout"] {
        let refused = ana.post_bare(&at(path), &[("csrf", page.hidden("csrf"))]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(world.record(&link).await, before);
    let said = ana.post_bare(&link, &[("csrf", page.hidden("csrf")), decline, shown]).await;
    assert_eq!(said.status, StatusCode::SEE_OTHER);
    assert_ne!(world.record(&link).await, before);
}

/// If the browser's own headers were enough, a browser that sends none would be let through.
#[tokio::test]
async fn the_token_does_not_stand_in_for_the_origin() {
    let world = World::new().await;
    let ana = world.browser_of("ana").await;
    let link = world.link("ana").await;
    let page = ana.get(&link).await;
    let fields = [("csrf", page.hidden("csrf")), ("answer", "decline")];
    let site = HeaderName::from_static("sec-fetch-site");
    for header in [
        (ORIGIN, "https://evil.example"),
        (ORIGIN, "http://tools.example"),
        (ORIGIN, "null"),
        (site, "cross-site"),
    ] {
        let refused = ana.post_with(&link, std::slice::from_ref(&header), &fields).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{header:?}");
    }
    let said = ana.post_with(&link, &[(ORIGIN, "https://tools.example")], &fields).await;
    assert_eq!(said.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_browser_without_a_cookie_sends_no_form() {
    let world = World::new().await;
    let page = world.browser().get(&at("/signin")).await;
    let refused = world
        .browser()
        .post_bare(&at("/signin"), &[("csrf", page.hidden("csrf")), ("to", "/connections")])
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_form_that_is_too_large_is_not_read() {
    let world = World::new().await;
    let browser = world.browser();
    browser.get(&at("/signin")).await;
    let large = "x".repeat(100 * 1024);
    let refused = browser.post(&at("/signin"), &[("to", &large)]).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
}
