//! Calls that their user confirms, on a server of several users: only in the browser of that user.

use countersign::broker::Call;
use countersign::model::call_confirmation::ConfirmationState;
use countersign::model::principal::ConfirmOrder;
use countersign::model::{Outcome, Question};
use reqwest::StatusCode;
use serde_json::json;

use super::application::{confirm, flow_of};
use super::world::{ORIGIN, World, at, own_form};
use crate::support::browser::{Browser, Page};

/// Texts that reveal what ana's call is about.
const ABOUT: [&str; 5] = ["ana", "Ben", "Pay", "<code>sum", "lunch"];

fn says_nothing(page: &Page) {
    for word in ABOUT {
        assert!(!page.text.contains(word), "{word}: {}", page.text);
    }
}

async fn pay(world: &World, person: &str) -> Outcome {
    let principal = &world.principal(person);
    let arguments = json!({ "sum": 5, "to": "Ben" }).as_object().cloned();
    let call = Call { arguments, ..Call::new(principal, "pay") };
    world.app.broker.call(call).await.unwrap()
}

/// Returns the link that a call by this person gets.
async fn link(world: &World, person: &str) -> String {
    match pay(world, person).await {
        Outcome::InputRequired(required) => match required.question {
            Question::Confirmation(prompt) => prompt.url,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

async fn is_open(world: &World, link: &str) -> bool {
    let ticket = link.rsplit('/').next().unwrap();
    let held = world.app.broker.store().await.unwrap().call_confirmation(ticket).await.unwrap();
    held.unwrap().value.state == ConfirmationState::Open
}

fn path_of(link: &str) -> &str {
    link.strip_prefix(ORIGIN).unwrap()
}

async fn run(browser: &Browser, link: &str) -> Page {
    let page = browser.get(link).await;
    assert!(page.text.contains("Pay 5 to Ben?"), "{} {}", page.status, page.text);
    browser.post(link, &[("answer", "run"), ("shown", page.shown())]).await
}

/// A user who opens a page of their own knows its digest and form token, so these prove nothing:
/// only the session decides.
#[tokio::test]
async fn only_the_user_whose_call_it_is_can_answer() {
    let world = World::new().await;
    let link = link(&world, "ana").await;
    let ana = world.browser_of("ana").await;
    let shown = ana.get(&link).await.shown().to_owned();

    let bob = world.browser_of("bob").await;
    let page = bob.get(&link).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text.contains("This link is for another user"), "{}", page.text);
    says_nothing(&page);
    for answer in ["run", "decline", ""] {
        let fields = [("answer", answer), ("shown", shown.as_str())];
        let answered = own_form(&bob, path_of(&link), &fields).await;
        assert_eq!(answered.status, StatusCode::FORBIDDEN, "{answer}");
        says_nothing(&answered);
    }
    assert!(is_open(&world, &link).await);
    assert!(matches!(pay(&world, "ana").await, Outcome::InputRequired(_)));

    let answered = run(&ana, &link).await;
    assert_eq!(answered.location(), path_of(&link));
    assert!(matches!(pay(&world, "bob").await, Outcome::InputRequired(_)));
    assert!(matches!(pay(&world, "ana").await, Outcome::Complete(_)));
}

#[tokio::test]
async fn a_browser_signs_in_before_it_is_shown_anything() {
    let world = World::new().await;
    let link = link(&world, "ana").await;
    let browser = world.browser();
    let known = browser.get(&link).await;
    let unknown = browser.get(&at("/confirm/0123456789abcdefghjkmnpqrs")).await;
    for page in [&known, &unknown] {
        assert_eq!(page.status, StatusCode::SEE_OTHER);
        assert!(page.text.is_empty());
        says_nothing(&browser.get(&at(page.location())).await);
    }
    assert_eq!(known.location(), format!("/signin?to={}", path_of(&link)));
    let departure = world.departs(&browser, path_of(&link)).await;
    let query = world.issuer.signs_in(&departure, "ana");
    let arrived = world.comes_back(&browser, &departure, &query).await;
    assert_eq!(arrived.location(), path_of(&link));
    run(&browser, &link).await;
    assert!(matches!(pay(&world, "ana").await, Outcome::Complete(_)));
}

#[tokio::test]
async fn an_application_confirms_the_browser_first_whatever_its_order() {
    for order in [ConfirmOrder::Before, ConfirmOrder::After] {
        let world = match order {
            ConfirmOrder::Before => World::with_application().await,
            ConfirmOrder::After => World::with_application_after().await,
        };
        let link = link(&world, "ana").await;
        // Another of its users, in a browser that is confirmed as theirs.
        let other = world.browser();
        let sent = other.get(&link).await;
        says_nothing(&sent);
        let flow = flow_of(&sent);
        confirm(&world, "app", &flow, "bob").await.is_refused("user_mismatch");
        let answered = own_form(&other, path_of(&link), &[("answer", "run")]).await;
        flow_of(&answered);
        assert!(is_open(&world, &link).await);

        let browser = world.browser();
        let flow = flow_of(&browser.get(&link).await);
        // Another application cannot confirm it.
        confirm(&world, "other", &flow, "ana").await.is_refused("unknown_flow");
        let reply = confirm(&world, "app", &flow, "ana").await;
        let next = reply.next_uri();
        assert!(!reply.names_a_consent(), "no consent is asked for");
        // The confirmation is for the browser that was sent there.
        assert_eq!(other.get(&next).await.status, StatusCode::FORBIDDEN);
        let flow = flow_of(&browser.get(&link).await);
        let next = confirm(&world, "app", &flow, "ana").await.next_uri();
        let arrived = browser.get(&next).await;
        assert_eq!(arrived.location(), path_of(&link));
        run(&browser, &link).await;
        assert!(matches!(pay(&world, "ana").await, Outcome::Complete(_)));
    }
}

#[tokio::test]
async fn one_user_s_questions_are_limited() {
    let world = World::new().await;
    let principal = &world.principal("ana");
    let call = async |sum: u32| {
        let arguments = json!({ "sum": sum, "to": "Ben" }).as_object().cloned();
        let call = Call { arguments, ..Call::new(principal, "pay") };
        world.app.broker.call(call).await.unwrap()
    };
    for sum in 0..60 {
        assert!(matches!(call(sum).await, Outcome::InputRequired(_)), "{sum}");
    }
    let Outcome::Failed(failure) = call(60).await else { panic!("not limited") };
    let text = countersign::words::failure_text(&failure);
    assert!(text.contains("too many links"), "{text}");
    assert!(matches!(pay(&world, "bob").await, Outcome::InputRequired(_)));
}
