//! Requests to a provider's public callback.

use reqwest::StatusCode;

use super::world::{World, at};
use crate::support::browser::{Browser, Page};

/// Returns ana's browser, her link, and her redirect to the provider.
async fn away(world: &World) -> (Browser, String, Page) {
    let link = world.link("ana").await;
    let ana = world.browser_of("ana").await;
    let page = ana.get(&link).await;
    let departure = ana.post(&link, &[("answer", "continue"), ("shown", page.shown())]).await;
    assert_eq!(departure.status, StatusCode::SEE_OTHER);
    (ana, link, departure)
}

#[tokio::test]
async fn an_answer_that_is_none_changes_nothing() {
    let world = World::new().await;
    let (ana, link, departure) = away(&world).await;
    let before = world.record(&link).await;
    let state = departure.parameter("state");
    let long = "c".repeat(10 * 1024);
    for (query, status) in [
        (String::new(), 400),
        ("code=c0de".into(), 400),
        ("code=c0de&state=".into(), 400),
        ("code=c0de&state=unknown".into(), 410),
        (format!("state={state}"), 400),
        (format!("state={state}&code="), 400),
        (format!("state={state}&state=b&code=c0de"), 400),
        (format!("state={state}&code=c0de&code=c1de"), 400),
        (format!("state={state}&code=c0de&iss=a&iss=b"), 400),
        (format!("state={state}&code={long}"), 400),
    ] {
        let back = ana.get(&at(&format!("/oauth/callback/acme?{query}"))).await;
        assert_eq!(back.status.as_u16(), status, "{query:.80}");
    }
    assert_eq!(world.record(&link).await, before);
    assert_eq!(world.exchanges(), 0);
    let good = format!("/oauth/callback/acme?state={state}&code=c0de&more=1#_=_");
    assert_eq!(ana.get(&at(&good)).await.status, StatusCode::SEE_OTHER);
    assert_eq!(ana.get(&at(&good)).await.status, StatusCode::GONE, "used");
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test]
async fn an_answer_counts_at_its_provider_s_address_only() {
    let world = World::new().await;
    let (ana, _, departure) = away(&world).await;
    let state = departure.parameter("state");
    let back = ana.get(&at(&format!("/oauth/callback/other?state={state}&code=c0de"))).await;
    assert_eq!(back.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.exchanges(), 0);
}

#[tokio::test]
async fn of_two_answers_at_the_same_instant_one_counts() {
    let world = World::new().await;
    let (ana, _, departure) = away(&world).await;
    let back =
        at(&format!("/oauth/callback/acme?state={}&code=c0de", departure.parameter("state")));
    let answers = futures_util::future::join_all((0..8).map(|_| ana.get(&back))).await;
    let count = |status| answers.iter().filter(|page| page.status == status).count();
    assert_eq!((count(StatusCode::SEE_OTHER), count(StatusCode::GONE)), (1, 7));
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test]
async fn a_no_is_told_on_the_link_s_page_and_steers_nothing() {
    let world = World::new().await;
    let (ana, link, departure) = away(&world).await;
    let state = departure.parameter("state");
    let words = "error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E";
    let back = ana.get(&at(&format!("/oauth/callback/acme?state={state}&{words}"))).await;
    assert_eq!(back.location(), link);
    let page = ana.get(&link).await;
    assert!(page.text.contains("You said no at the provider."), "{}", page.text);
    assert!(!page.text.contains("<script"), "{}", page.text);
    assert_eq!(world.exchanges(), 0);
}

/// The answer comes too late, or by a method that no answer uses.
#[tokio::test]
async fn a_form_a_preview_and_a_late_answer_are_no_answers() {
    let world = World::new().await;
    let (ana, link, departure) = away(&world).await;
    let state = departure.parameter("state");
    let fields = [("state", state.as_str()), ("code", "c0de")];
    let posted = ana.post_bare(&at("/oauth/callback/acme"), &fields).await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
    let back = at(&format!("/oauth/callback/acme?state={state}&code=c0de"));
    for url in [&back, &link] {
        assert_eq!(ana.head(url).await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    world.pass(countersign::model::authorization::LINK_LIFETIME);
    assert_eq!(ana.get(&back).await.status, StatusCode::GONE);
    assert_eq!(world.exchanges(), 0);
}
