//! A forwarded link, in the browser of a person it was not made for.

use std::time::Duration;

use countersign::broker::{ConnectError, VisitingBrowser};
use countersign::model::requester::AskedBy;
use countersign::model::{AccountName, Outcome, Scopes};
use reqwest::StatusCode;
use reqwest::header::LOCATION;

use super::world::{ORIGIN, World, at, own_form};
use crate::support::browser::{Browser, Page};

/// Texts that reveal what ana's link is about.
const ABOUT: [&str; 6] = ["ana", "acme", "Acme", "notes:read", "<code>read", "Reads"];

fn says_nothing(page: &Page) {
    for word in ABOUT {
        assert!(!page.text.contains(word), "{word}: {}", page.text);
    }
}

fn path_of(link: &str) -> &str {
    link.strip_prefix(ORIGIN).unwrap()
}

/// Opens the link and clicks "Continue".
async fn click(browser: &Browser, link: &str) -> Page {
    let page = browser.get(link).await;
    browser.post(link, &[("answer", "continue"), ("shown", page.shown())]).await
}

/// Returns the address that the provider sends the browser back to.
fn brought(departure: &Page) -> String {
    let parameter = |name| departure.parameter(name);
    format!("{}?state={}&code=c0de", parameter("redirect_uri"), parameter("state"))
}

#[tokio::test]
async fn a_person_signs_in_and_connects() {
    let world = World::new().await;
    let link = world.link("ana").await;
    let browser = world.browser();
    let sent = browser.get(&link).await;
    let ticket = link.rsplit('/').next().unwrap();
    assert_eq!(sent.location(), format!("/signin?to=/connect/{ticket}"));
    browser.get(&at(sent.location())).await;
    let departure = world.departs(&browser, &format!("/connect/{ticket}")).await;
    let query = world.issuer.signs_in(&departure, "ana");
    let arrived = world.comes_back(&browser, &departure, &query).await;
    assert_eq!(arrived.location(), format!("/connect/{ticket}"));

    let departure = click(&browser, &link).await;
    let back = browser.get(&brought(&departure)).await;
    assert_eq!(back.location(), link);
    assert!(browser.get(&link).await.text.contains("Acme Notes is connected"));
    assert_eq!(world.exchanges(), 1);
    assert!(matches!(world.call("ana").await, Outcome::Complete(_)));
    assert!(matches!(world.call("bob").await, Outcome::AuthorizationRequired(_)));
}

/// Link previews, prefetching browsers and guessing clients come, too.
#[tokio::test]
async fn whoever_has_not_signed_in_learns_nothing_of_a_link() {
    let world = World::new().await;
    let link = world.link("ana").await;
    let before = world.record(&link).await;
    let browser = world.browser();
    let known = browser.get(&link).await;
    let unknown = browser.get(&at("/connect/0123456789abcdefghjkmnpqrs")).await;
    for page in [&known, &unknown] {
        assert_eq!(page.status, StatusCode::SEE_OTHER);
        assert!(page.text.is_empty());
        assert!(page.cookies.is_empty());
        says_nothing(&browser.get(&at(page.location())).await);
    }
    let without_location = |page: &Page| {
        let mut headers = page.headers.clone();
        headers.remove(LOCATION);
        headers.remove("date");
        headers
    };
    assert_eq!(without_location(&known), without_location(&unknown));
    // Forms reveal nothing, either.
    for path in [path_of(&link), "/connect/0123456789abcdefghjkmnpqrs"] {
        let answered = own_form(&browser, path, &[("answer", "continue")]).await;
        assert!(answered.location().starts_with("/signin?to=/connect/"));
    }
    assert_eq!(world.record(&link).await, before);
}

#[tokio::test]
async fn the_link_of_another_person_is_left_alone_and_says_nothing() {
    let world = World::new().await;
    let link = world.link("ana").await;
    let before = world.record(&link).await;
    let bob = world.browser_of("bob").await;
    let page = bob.get(&link).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text.contains("This link is for another user"), "{}", page.text);
    // A key's `user` may have been written in another form than the issuer's.
    assert!(page.text.contains("knows you as <strong><bdi>bob</bdi>"), "{}", page.text);
    says_nothing(&page);
    for answer in ["continue", "decline", "confirm", "keep", "disconnect", ""] {
        let answered = own_form(&bob, path_of(&link), &[("answer", answer)]).await;
        assert_eq!(answered.status, StatusCode::FORBIDDEN, "{answer}");
        says_nothing(&answered);
    }
    assert_eq!(world.record(&link).await, before);
    assert_eq!(world.exchanges(), 0);
    // The link still works for its own user.
    let ana = world.browser_of("ana").await;
    assert!(ana.get(&link).await.text.contains("Connect Acme Notes"));
}

#[tokio::test]
async fn somebody_else_can_sign_in_from_there() {
    let world = World::new().await;
    let link = world.link("ana").await;
    let browser = world.browser_of("bob").await;
    let page = browser.get(&link).await;
    let to = page.hidden("to").to_owned();
    let out = browser.post(&at("/signout"), &[("to", &to)]).await;
    assert_eq!(out.location(), format!("/signin?to={to}"));
    browser.get(&at(out.location())).await;
    let departure = world.departs(&browser, &to).await;
    let query = world.issuer.signs_in(&departure, "ana");
    assert_eq!(world.comes_back(&browser, &departure, &query).await.location(), to);
    assert!(browser.get(&link).await.text.contains("Connect Acme Notes"));
}

/// Mallory passes our page and forwards the provider's address.
#[tokio::test]
async fn the_provider_s_answer_in_another_person_s_browser_attaches_nothing() {
    let world = World::new().await;
    let link = world.link("ana").await;
    let ana = world.browser_of("ana").await;
    let departure = click(&ana, &link).await;
    let bob = world.browser_of("bob").await;
    let back = bob.get(&brought(&departure)).await;
    assert_eq!(back.status, StatusCode::FORBIDDEN);
    says_nothing(&back);
    assert_eq!(world.exchanges(), 0);
    // Another browser of ana's, which has not left for the provider, is refused, too.
    let departure = click(&ana, &link).await;
    let other = world.browser_of("ana").await;
    assert_eq!(other.get(&brought(&departure)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.exchanges(), 0);
    // The state is used up, for ana too.
    assert_eq!(ana.get(&brought(&departure)).await.status, StatusCode::GONE);
    assert_eq!((world.exchanges(), world.accounts("ana").await), (0, 0));
}

/// Mallory also plants the cookie of the authorization attempt in Bob's browser.
#[tokio::test]
async fn the_cookie_of_a_trip_does_not_make_another_person_the_one_who_left() {
    for person in [Some("bob"), None] {
        let world = World::new().await;
        let link = world.link("ana").await;
        let ana = world.browser_of("ana").await;
        let departure = click(&ana, &link).await;
        let other = match person {
            Some(person) => world.browser_of(person).await,
            None => world.browser(),
        };
        let (name, value) = departure.cookie().split_once('=').unwrap();
        other.set(name, value);
        let back = other.get(&brought(&departure)).await;
        assert_eq!(back.status, StatusCode::FORBIDDEN, "{person:?}");
        says_nothing(&back);
        assert_eq!((world.exchanges(), world.accounts("ana").await), (0, 0), "{person:?}");
    }
}

#[tokio::test]
async fn whoever_has_signed_out_meanwhile_has_not_consented() {
    for after in [None, Some("bob")] {
        let world = World::new().await;
        let link = world.link("ana").await;
        let browser = world.browser_of("ana").await;
        let departure = click(&browser, &link).await;
        own_form(&browser, "/signout", &[]).await;
        if let Some(other) = after {
            world.sign_in_with(&browser, other).await;
        }
        let back = browser.get(&brought(&departure)).await;
        assert_eq!(back.status, StatusCode::FORBIDDEN, "{after:?}");
        says_nothing(&back);
        assert_eq!(world.exchanges(), 0, "{after:?}");
    }
}

/// Only a browser that holds the whole cookie, from this very host, has left.
#[tokio::test]
async fn the_cookie_of_a_trip_can_be_set_by_this_host_only() {
    let world = World::new().await;
    let link = world.link("ana").await;
    let ana = world.browser_of("ana").await;
    let departure = click(&ana, &link).await;
    let set = &departure.cookies[0];
    assert!(set.starts_with("__Host-countersign_"), "{set}");
    for part in ["; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Max-Age="] {
        assert!(set.contains(part), "{part}: {set}");
    }
    assert!(!set.contains("Domain"), "{set}");
    // A second cookie is planted beside it: then neither counts.
    let planted = departure.cookie().to_owned();
    let headers = [(reqwest::header::COOKIE, planted.as_str())];
    let back = ana.get_with(&brought(&departure), &headers).await;
    assert_eq!(back.status, StatusCode::FORBIDDEN);
    assert_eq!(world.exchanges(), 0);
}

#[tokio::test]
async fn one_person_cannot_fill_the_store_with_links() {
    let world = World::new().await;
    let principal = world.principal("ana");
    let provider = world.app.broker.provider("acme").unwrap();
    let begin = async || {
        let (account, scopes) = (AccountName::default(), Scopes::default());
        let begun = world.app.broker.consents().begin(
            &principal,
            &provider,
            &account,
            &scopes,
            AskedBy::default(),
        );
        begun.await.map(|prompt| prompt.url)
    };
    let ana = VisitingBrowser::Public { caller: Some(principal.caller.clone()), browser: None };
    for _ in 0..60 {
        let link = begin().await.unwrap();
        assert_eq!(begin().await.unwrap(), link, "an open link is no new one");
        let ticket = link.rsplit('/').next().unwrap();
        world.app.broker.consents().decline(ticket, &ana).await.unwrap();
    }
    let error = begin().await.unwrap_err();
    assert!(matches!(error, ConnectError::TooManyLinks), "{error}");
    world.link("bob").await;
    world.pass(Duration::from_mins(1));
    begin().await.unwrap();
}
