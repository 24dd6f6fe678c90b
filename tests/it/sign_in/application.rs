//! Browsers of an application's users: the application confirms them, and no other party can.

use std::time::Duration;

use countersign::model::Outcome;
use countersign::model::event::EndedBy;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use serde_json::{Value, json};
use url::Url;

use super::world::{COOKIE, ORIGIN, World, at, own_form, verifier};
use crate::support::browser::{Browser, Page};
use crate::support::http::client;

/// Texts that reveal what ana's link is about.
const ABOUT: [&str; 6] = ["ana", "acme", "Acme", "notes:read", "<code>read", "Reads"];

/// The answer to `POST /v1/auth/confirm_user`.
pub(super) struct Reply {
    status: StatusCode,
    json: Value,
}

impl Reply {
    #[track_caller]
    pub(super) fn next_uri(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{}", self.json);
        self.json["next_uri"].as_str().unwrap().to_owned()
    }

    /// Whether it names the consent that the browser was sent for.
    pub(super) fn names_a_consent(&self) -> bool {
        !self.json["auth_id"].is_null()
    }

    #[track_caller]
    pub(super) fn is_refused(&self, name: &str) {
        assert_eq!((self.status, &self.json["name"]), (StatusCode::BAD_REQUEST, &json!(name)));
    }
}

pub(super) async fn confirm(world: &World, application: &str, flow: &str, user: &str) -> Reply {
    let http = client().build().unwrap();
    let reply = http
        .post(format!("{}/v1/auth/confirm_user", world.address()))
        .header(HOST, "tools.example")
        .header(AUTHORIZATION, format!("Bearer {application}-s-key"))
        .header(CONTENT_TYPE, "application/json")
        .body(json!({ "flow_id": flow, "user_id": user }).to_string())
        .send()
        .await
        .unwrap();
    let status = reply.status();
    let json = serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap();
    Reply { status, json }
}

/// Returns `flow_id`, the only parameter that the verifier page of `app` gets besides its own.
#[track_caller]
pub(super) fn flow_of(page: &Page) -> String {
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    let url = Url::parse(page.location()).unwrap();
    assert!(url.as_str().starts_with(verifier("app").as_str()), "{url}");
    let mut added = url.query_pairs().filter(|(name, _)| name != "from");
    let (name, value) = added.next().unwrap();
    assert_eq!((name.as_ref(), added.next()), ("flow_id", None));
    value.into_owned()
}

/// Opens the link in this browser, whose user the application confirms as `user`; returns the
/// answer to `next_uri`.
async fn confirmed(world: &World, browser: &Browser, link: &str, user: &str) -> Page {
    let flow = flow_of(&browser.get(link).await);
    browser.get(&confirm(world, "app", &flow, user).await.next_uri()).await
}

/// A browser that the application has confirmed for this user.
async fn browser_of(world: &World, user: &str) -> Browser {
    let (browser, link) = (world.browser(), world.link(user).await);
    let arrived = confirmed(world, &browser, &link, user).await;
    assert_eq!(arrived.location(), link.strip_prefix(ORIGIN).unwrap());
    browser
}

/// Continues from a link's page to the provider, and comes back.
async fn connect(browser: &Browser, link: &str) -> Page {
    let departure = leave(browser, link).await;
    browser.get(&way_back(&departure)).await
}

async fn leave(browser: &Browser, link: &str) -> Page {
    let page = browser.get(link).await;
    browser.post(link, &[("answer", "continue"), ("shown", page.shown())]).await
}

/// Returns the address that the provider sends the browser back to.
pub(super) fn way_back(departure: &Page) -> String {
    let parameter = |name| departure.parameter(name);
    format!("{}?state={}&code=c0de", parameter("redirect_uri"), parameter("state"))
}

pub(super) fn says_nothing(page: &Page) {
    for word in ABOUT {
        assert!(!page.text.contains(word), "{word}: {}", page.text);
    }
}

async fn is_connected(world: &World, user: &str) -> bool {
    matches!(world.call(user).await, Outcome::Complete(_))
}

#[tokio::test]
async fn the_application_confirms_the_browser_and_its_user_connects() {
    let world = World::with_application().await;
    let (browser, link) = (world.browser(), world.link("ana").await);
    let sent = browser.get(&link).await;
    says_nothing(&sent);
    let reply = confirm(&world, "app", &flow_of(&sent), "ana").await;
    let auth_id = reply.json["auth_id"].as_str().unwrap();
    let (user, id) = auth_id.strip_prefix("ar_").unwrap().split_once('.').unwrap();
    assert_eq!(user, "YW5h", "ana");
    assert!(world.record(&link).await.contains(id));
    let before = browser.cookie(COOKIE);
    let arrived = browser.get(&reply.next_uri()).await;
    assert_eq!(arrived.location(), link.strip_prefix(ORIGIN).unwrap());
    assert_ne!(
        browser.cookie(COOKIE),
        before,
        "the cookie of before knows nobody (session fixation)"
    );

    let page = browser.get(&link).await;
    assert!(page.text.contains("app.example</code> says that you are <bdi>ana"), "{}", page.text);
    assert_eq!(connect(&browser, &link).await.location(), link);
    assert!(browser.get(&link).await.text.contains("Acme Notes is connected"));
    assert_eq!(world.exchanges(), 1);
    assert!(is_connected(&world, "ana").await && !is_connected(&world, "bob").await);
    // The next link needs no confirmation.
    let page = browser.get(&at("/connections")).await;
    assert!(page.text.contains("Acme Notes") && page.text.contains("ana"), "{}", page.text);
}

/// Mallory has seen ana's link, and is a user of the same application.
#[tokio::test]
async fn a_stranger_with_the_link_reads_declines_and_exhausts_nothing() {
    let world = World::with_application().await;
    let link = world.link("ana").await;
    let before = world.record(&link).await;
    let path = link.strip_prefix(ORIGIN).unwrap();
    for stranger in [world.browser(), browser_of(&world, "mallory").await] {
        for _ in 0..25 {
            let sent = stranger.get(&link).await;
            says_nothing(&sent);
            let flow = flow_of(&sent);
            for answer in ["continue", "decline", "confirm", "keep", "disconnect", ""] {
                let answered = own_form(&stranger, path, &[("answer", answer)]).await;
                says_nothing(&answered);
                flow_of(&answered);
            }
            confirm(&world, "app", &flow, "mallory").await.is_refused("user_mismatch");
            confirm(&world, "app", &flow, "ana").await.is_refused("unknown_flow");
            world.pass(Duration::from_secs(9));
        }
    }
    assert_eq!(world.record(&link).await, before);
    // The next call shows the same link, and it works at once for its own user.
    assert_eq!(world.link("ana").await, link);
    let ana = world.browser();
    confirmed(&world, &ana, &link, "ana").await;
    assert_eq!(connect(&ana, &link).await.location(), link);
    assert!(is_connected(&world, "ana").await);
}

/// Mallory opens ana's link, and has ana's browser load the verifier page with Mallory's flow.
#[tokio::test]
async fn a_flow_that_another_browser_began_signs_neither_in() {
    let world = World::with_application().await;
    let link = world.link("ana").await;
    let (mallory, ana) = (world.browser(), browser_of(&world, "ana").await);
    own_form(&ana, "/signout", &[]).await;
    for victim in [world.browser(), ana] {
        let flow = flow_of(&mallory.get(&link).await);
        let next = confirm(&world, "app", &flow, "ana").await.next_uri();
        let refused = victim.get(&next).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
        says_nothing(&refused);
        flow_of(&victim.get(&link).await);
        flow_of(&mallory.get(&link).await);
        assert_eq!(mallory.get(&at("/connections")).await.location(), "/signin?to=/connections");
        // The application is asked again, now for mallory.
        let again = confirm(&world, "app", &flow, "mallory").await;
        assert_eq!(again.status, StatusCode::BAD_REQUEST);
    }
    // Once ana's browser has loaded `next_uri`, it is useless to mallory, even if she learns it.
    let flow = flow_of(&mallory.get(&link).await);
    let next = confirm(&world, "app", &flow, "ana").await.next_uri();
    let ana = browser_of(&world, "ana").await;
    own_form(&ana, "/signout", &[]).await;
    assert_eq!(ana.get(&next).await.status, StatusCode::FORBIDDEN);
    assert_eq!(mallory.get(&next).await.status, StatusCode::GONE);
    assert!(!is_connected(&world, "ana").await);
    assert_eq!(world.exchanges(), 0);
}

/// Mallory completes a flow of her own, and has ana's browser load `next_uri` (login CSRF).
#[tokio::test]
async fn nobody_is_signed_in_as_somebody_else() {
    let world = World::with_application().await;
    let link = world.link("mallory").await;
    let (mallory, ana) = (world.browser(), browser_of(&world, "ana").await);
    let flow = flow_of(&mallory.get(&link).await);
    let next = confirm(&world, "app", &flow, "mallory").await.next_uri();
    assert_eq!(ana.get(&next).await.status, StatusCode::FORBIDDEN);
    let page = ana.get(&at("/connections")).await;
    assert!(page.text.contains("ana") && !page.text.contains("mallory"), "{}", page.text);
    flow_of(&ana.get(&link).await);
}

#[tokio::test]
async fn the_nonces_are_random_bound_and_good_once() {
    let world = World::with_application().await;
    let (browser, link) = (world.browser(), world.link("ana").await);
    let flow = flow_of(&browser.get(&link).await);
    let ticket = link.rsplit('/').next().unwrap();
    for guess in [ticket, "", &flow[1..], &flow.to_uppercase()] {
        confirm(&world, "app", guess, "ana").await.is_refused("unknown_flow");
    }
    // A request with another application's key does not even use the flow up.
    confirm(&world, "other", &flow, "ana").await.is_refused("unknown_flow");
    let next = confirm(&world, "app", &flow, "ana").await.next_uri();
    assert!(next.contains(&flow) && !next.ends_with(&flow), "{next}");
    let without = next.split("&nonce=").next().unwrap();
    let other = format!("{without}&nonce={flow}");
    for guess in [without, &other, &format!("{next}&nonce={flow}"), &at("/signin/confirmed")] {
        assert_eq!(browser.get(guess).await.status, StatusCode::GONE, "{guess}");
    }
    // The application repeats a request whose answer was lost: it gets the same answer, also after
    // use.
    assert_eq!(confirm(&world, "app", &flow, "ana").await.next_uri(), next);
    let old = format!("{COOKIE}={}", browser.cookie(COOKIE).unwrap());
    let path = link.strip_prefix(ORIGIN).unwrap();
    assert_eq!(browser.get(&next).await.location(), path);
    assert_eq!(confirm(&world, "app", &flow, "ana").await.next_uri(), next);
    // A reload leads to the page, and begins no session.
    let reloaded = browser.get(&next).await;
    assert_eq!((reloaded.location(), reloaded.cookies.len()), (path, 0));
    let twin = world.browser();
    twin.set(COOKIE, old.split_once('=').unwrap().1);
    let replayed = twin.get(&next).await;
    assert_eq!((replayed.location(), replayed.cookies.len()), (path, 0));
    flow_of(&twin.get(&link).await);
    // Neither lasts long.
    let flow = flow_of(&world.browser().get(&link).await);
    let slow = world.browser();
    let waits = flow_of(&slow.get(&link).await);
    let next = confirm(&world, "app", &waits, "ana").await.next_uri();
    world.pass(Duration::from_mins(5));
    assert_eq!(slow.get(&next).await.status, StatusCode::GONE);
    world.pass(Duration::from_mins(5));
    confirm(&world, "app", &flow, "ana").await.is_refused("unknown_flow");
}

#[tokio::test]
async fn a_request_without_a_cookie_spoils_nothing() {
    let world = World::with_application().await;
    let (browser, link) = (world.browser(), world.link("ana").await);
    let flow = flow_of(&browser.get(&link).await);
    let next = confirm(&world, "app", &flow, "ana").await.next_uri();
    // A link scanner, twice at every address.
    for address in [&link, &next, &link, &next] {
        world.browser().get(address).await;
    }
    assert_eq!(browser.get(&next).await.location(), link.strip_prefix(ORIGIN).unwrap());
    assert_eq!(connect(&browser, &link).await.location(), link);
}

/// The browser is closed between any two hops; a new try works, in the same browser or another one.
#[tokio::test]
async fn a_hop_that_is_dropped_loses_nothing() {
    for dropped in 0..5 {
        for is_same_browser in [true, false] {
            let world = World::with_application().await;
            let (first, link) = (world.browser(), world.link("ana").await);
            if dropped > 0 {
                let flow = flow_of(&first.get(&link).await);
                if dropped > 1 {
                    let next = confirm(&world, "app", &flow, "ana").await.next_uri();
                    if dropped > 2 {
                        first.get(&next).await;
                    }
                }
                if dropped > 3 {
                    leave(&first, &link).await;
                }
            }
            let browser = if is_same_browser { first } else { world.browser() };
            assert_eq!(world.link("ana").await, link);
            if browser.get(&link).await.status != StatusCode::OK {
                confirmed(&world, &browser, &link, "ana").await;
            }
            assert_eq!(connect(&browser, &link).await.location(), link, "{dropped}");
            assert!(is_connected(&world, "ana").await);
        }
    }
}

#[tokio::test]
async fn the_callback_is_for_the_user_s_session() {
    let world = World::with_application().await;
    let link = world.link("ana").await;
    let ana = browser_of(&world, "ana").await;
    let departure = leave(&ana, &link).await;
    // Ana is signed out before she comes back, and another user is confirmed in her browser.
    own_form(&ana, "/signout", &[]).await;
    let other = world.link("bob").await;
    confirmed(&world, &ana, &other, "bob").await;
    let refused = ana.get(&way_back(&departure)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    says_nothing(&refused);
    assert_eq!(world.exchanges(), 0);
    assert!(!is_connected(&world, "ana").await);
}

#[tokio::test]
async fn a_session_that_ends_on_the_way_loses_no_consent() {
    let world = World::with_application().await;
    let link = world.link("ana").await;
    let ana = browser_of(&world, "ana").await;
    let departure = leave(&ana, &link).await;
    own_form(&ana, "/signout", &[]).await;
    let flow = flow_of(&ana.get(&way_back(&departure)).await);
    assert_eq!(world.exchanges(), 1);
    assert!(!is_connected(&world, "ana").await);
    let next = confirm(&world, "app", &flow, "ana").await.next_uri();
    assert_eq!(ana.get(&next).await.location(), link);
    assert!(is_connected(&world, "ana").await);
    assert_eq!(world.exchanges(), 1);
}

/// The earlier user has signed out at the application, and another user has the browser now.
#[tokio::test]
async fn the_browser_is_the_user_s_whom_the_application_confirms_now() {
    let world = World::with_application().await;
    let browser = browser_of(&world, "ana").await;
    let link = world.link("bob").await;
    let arrived = confirmed(&world, &browser, &link, "bob").await;
    assert_eq!(arrived.location(), link.strip_prefix(ORIGIN).unwrap());
    connect(&browser, &link).await;
    assert!(is_connected(&world, "bob").await && !is_connected(&world, "ana").await);
    let accounts = browser.get(&at("/connections")).await;
    assert!(accounts.text.contains("bob") && !accounts.text.contains("ana<"), "{}", accounts.text);
}

#[tokio::test]
async fn users_come_to_their_accounts_without_a_link() {
    let world = World::with_application().await;
    let browser = world.browser();
    // There are two applications, so the address has to name one.
    let sent = browser.get(&at("/connections")).await;
    let page = browser.get(&at(sent.location())).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("in the app that sent you here"), "{}", page.text);
    let unknown = browser.get(&at("/signin?application=none")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);

    let sent = browser.get(&at("/connections?application=app")).await;
    assert_eq!(sent.location(), "/signin?to=/connections&application=app");
    let page = browser.get(&at(sent.location())).await;
    assert!(page.text.contains("Sign in with app.example"), "{}", page.text);
    let form = [("to", "/connections"), ("application", page.hidden("application"))];
    let flow = flow_of(&browser.post(&at("/signin"), &form).await);
    let reply = confirm(&world, "app", &flow, "ana").await;
    assert_eq!(reply.json.get("auth_id"), None);
    // Once confirmed, a flow cannot be confirmed for another user.
    confirm(&world, "app", &flow, "bob").await.is_refused("user_mismatch");
    let flow = flow_of(&browser.post(&at("/signin"), &form).await);
    let next = confirm(&world, "app", &flow, "ana").await.next_uri();
    assert_eq!(browser.get(&next).await.location(), "/connections");
    let page = browser.get(&at("/connections?application=app")).await;
    assert!(page.status == StatusCode::OK && page.text.contains("ana"), "{}", page.text);
    // A link that ana makes there is the one that her calls get.
    let form = [("answer", "connect"), ("provider", "acme")];
    let link = browser.post(&at("/connections"), &form).await.location().to_owned();
    assert!(browser.get(&link).await.text.contains("Connect Acme Notes"));
    connect(&browser, &link).await;
    assert!(is_connected(&world, "ana").await);
    // The other application's user in this browser may be another person.
    let other = browser.get(&at("/connections?application=other")).await;
    assert_eq!(other.location(), "/signin?to=/connections&application=other");
    let out = own_form(&browser, "/signout", &[]).await;
    assert_eq!(out.location(), "/signin?application=app");
}

#[tokio::test]
async fn a_session_ends_with_the_key_that_confirmed_it() {
    let world = World::with_application().await;
    let browser = browser_of(&world, "ana").await;
    let cookie = browser.cookie(COOKIE).unwrap().into();
    assert!(world.with_keys_of_app("app-s-key").session(&cookie).await.is_some());
    assert!(world.with_keys_of_app("another-key").session(&cookie).await.is_none());
}

#[tokio::test]
async fn one_address_sends_off_only_so_many_browsers() {
    let world = World::with_application().await;
    let link = world.link("ana").await;
    let mut refused = 0;
    for _ in 0..70 {
        refused +=
            u32::from(world.browser().get(&link).await.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(refused, 10);
    world.pass(Duration::from_mins(1));
    flow_of(&world.browser().get(&link).await);
}

/// Access ends while a browser is at the application: neither an earlier confirmation nor an open
/// flow begins a session.
#[tokio::test]
async fn no_session_begins_by_what_was_confirmed_before_access_was_ended() {
    let world = World::with_application().await;
    let (confirmed, asked, other) = (world.browser(), world.browser(), world.browser());
    let link = world.link("ana").await;
    let flow = flow_of(&confirmed.get(&link).await);
    let next = confirm(&world, "app", &flow, "ana").await.next_uri();
    let late = flow_of(&asked.get(&link).await);
    let of_bob = world.link("bob").await;
    let flow = flow_of(&other.get(&of_bob).await);
    let next_of_bob = confirm(&world, "app", &flow, "bob").await.next_uri();
    world.pass(Duration::from_secs(1));
    let ana = world.principal("ana").caller;
    world.app.broker.users().end_access(&ana, EndedBy::Operator).await.unwrap();
    assert_eq!(confirmed.get(&next).await.status, StatusCode::GONE);
    assert_eq!(confirmed.get(&at("/connections")).await.location(), "/signin?to=/connections");
    confirm(&world, "app", &late, "ana").await.is_refused("unknown_flow");
    // Bob's flow continues, and so does ana's next one.
    assert_eq!(other.get(&next_of_bob).await.location(), of_bob.strip_prefix(ORIGIN).unwrap());
    world.pass(Duration::from_secs(1));
    browser_of(&world, "ana").await;
}
