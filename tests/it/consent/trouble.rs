//! A provider in trouble gets fewer requests, not more, and its log lines are counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::broker::Call;
use countersign::broker::accounts::list::AccountState;
use countersign::model::event::CallOutcome;
use countersign::model::{Caller, Outcome, Principal, UserId};
use countersign::words::failure_text;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::world::{World, tokens, tools_toml};
use crate::support::provider::{Act, answer, json};
use crate::support::wait_until_async;

const PEOPLE: usize = 30;

fn person(at: usize) -> Caller {
    Caller::local(UserId::new(format!("person-{at}")))
}

async fn call(world: &World, at: usize) -> Outcome {
    let principal = &Principal::local(person(at));
    let call = Call::new(principal, "read");
    world.app.broker.call(call).await.unwrap()
}

/// A world in which these people's access tokens have just expired.
async fn expired(people: usize) -> World {
    let world = World::new().await;
    world.provider.accepts(&["first", "second"]);
    let count = AtomicUsize::new(0);
    world.provider.tokens(move |_| {
        let at = count.fetch_add(1, Ordering::SeqCst);
        Act::Say(tokens(&format!(
            r#"{{"access_token":"first","refresh_token":"r{at}","expires_in":600}}"#
        )))
    });
    for at in 0..people {
        match call(&world, at).await {
            Outcome::AuthorizationRequired(prompt) => world.consent_by(&prompt.url).await,
            other => panic!("{other:?}"),
        };
    }
    world.pass(Duration::from_secs(601));
    world
}

fn is_kept(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failure) if failure_text(failure).contains("Nothing is lost"))
}

#[tokio::test]
async fn of_many_people_one_finds_out_whether_trouble_is_over() {
    let world = expired(PEOPLE).await;
    world.provider.says(answer("503 Service Unavailable", "", ""));
    let outcomes = join_all((0..PEOPLE).map(|at| call(&world, at))).await;
    assert!(outcomes.iter().all(is_kept));
    let sent = world.provider.refreshes();
    assert!(sent <= PEOPLE + 2, "{sent} requests for {PEOPLE} people");
    // The trouble is now known, so one of the next callers, too, asks on behalf of all.
    let outcomes = join_all((0..PEOPLE).map(|at| call(&world, at))).await;
    assert!(outcomes.iter().all(is_kept));
    assert!(world.provider.refreshes() - sent <= 2, "{}", world.provider.refreshes() - sent);
    world.provider.says(tokens(r#"{"access_token":"second","expires_in":600}"#));
    // The pause before the next request is one second shorter than a call waits: on a slow machine
    // some calls give up before it is answered, and come again.
    let mut people: Vec<usize> = (0..PEOPLE).collect();
    wait_until_async("everyone's new token", async || {
        let outcomes = join_all(people.iter().map(|&at| call(&world, at))).await;
        let mut outcomes = outcomes.into_iter();
        people.retain(|_| match outcomes.next() {
            Some(Outcome::Complete(_)) => false,
            Some(outcome) => is_kept(&outcome) || panic!("nothing is lost: {outcome:?}"),
            None => unreachable!("each call has an outcome"),
        });
        people.is_empty()
    })
    .await;
}

#[tokio::test]
async fn retry_after_is_remembered_across_calls_and_people() {
    let world = expired(2).await;
    world.provider.says(answer("429 Too Many Requests", "Retry-After: 30\r\n", ""));
    let began = Instant::now();
    assert!(is_kept(&call(&world, 0).await));
    assert_eq!(world.provider.refreshes(), 1);
    for at in [0, 1, 1, 0] {
        assert!(is_kept(&call(&world, at).await));
    }
    assert_eq!(world.provider.refreshes(), 1, "it said when to come again");
    assert!(began.elapsed() < Duration::from_secs(5), "and nobody waits for it");
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for() {
    let world = expired(2).await;
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    world.provider.tokens(move |_| {
        let mut seen = seen.lock().unwrap();
        seen.push(Instant::now());
        if seen.len() <= 3 {
            Act::Say(answer("429 Too Many Requests", "Retry-After: 1\r\n", ""))
        } else {
            Act::Say(tokens(r#"{"access_token":"second","expires_in":600}"#))
        }
    });
    assert!(is_kept(&call(&world, 0).await), "three times no");
    let outcome = call(&world, 1).await;
    assert!(matches!(&outcome, Outcome::Complete(_)), "{outcome:?}");
    let [.., refused, last] = requests.lock().unwrap()[..] else { panic!("two requests") };
    assert!(last - refused > Duration::from_millis(500), "not before it wants to be asked");
}

/// The only test here that takes twenty seconds, the time limit for the first request.
#[tokio::test]
async fn an_endpoint_that_hangs_costs_its_time_once() {
    let world = expired(3).await;
    world.provider.tokens(|_| Act::Stall(Vec::new()));
    assert!(is_kept(&call(&world, 0).await));
    for at in [0, 1, 2] {
        let began = Instant::now();
        assert!(is_kept(&call(&world, at).await));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    assert!(world.provider.refreshes() <= 3, "{}", world.provider.refreshes());
}

/// A call that waits for an endpoint in trouble says in the end what that endpoint said last.
#[tokio::test]
async fn a_call_that_gives_up_tells_the_newest_error() {
    let world = expired(3).await;
    let late = Arc::new(Semaphore::new(0));
    let may_answer = Arc::clone(&late);
    world.provider.tokens(move |body| {
        if body.contains("refresh_token=r2") {
            Act::SayWhen(Arc::clone(&late), answer("502 Bad Gateway", "", ""))
        } else if body.contains("refresh_token=r1") {
            Act::Stall(Vec::new())
        } else {
            Act::Say(answer("503 Service Unavailable", "", ""))
        }
    });
    let is_asked = |token: &str| world.provider.requests().iter().any(|it| it.contains(token));
    let (_, given_up) = tokio::join!(call(&world, 2), async {
        wait_until_async("a slow request", async || is_asked("refresh_token=r2")).await;
        assert!(is_kept(&call(&world, 0).await));
        let answered = async {
            wait_until_async("a request that hangs", async || is_asked("refresh_token=r1")).await;
            may_answer.add_permits(1);
        };
        tokio::join!(call(&world, 1), answered).0
    });
    let Outcome::Failed(failure) = given_up else { panic!("{given_up:?}") };
    let text = failure_text(&failure);
    assert!(text.contains("502"), "{text}");
}

/// A token that still works is used without waiting.
#[tokio::test]
async fn a_token_that_lives_is_used_while_another_person_s_endpoint_hangs() {
    let world = expired(1).await;
    world.provider.says(tokens(r#"{"access_token":"first","refresh_token":"r","expires_in":600}"#));
    match call(&world, 1).await {
        Outcome::AuthorizationRequired(prompt) => world.consent_by(&prompt.url).await,
        other => panic!("{other:?}"),
    };
    world.pass(Duration::from_secs(595));
    world.provider.says(answer("503 Service Unavailable", "", ""));
    assert!(is_kept(&call(&world, 0).await));
    let sent = world.provider.refreshes();
    assert!(matches!(call(&world, 1).await, Outcome::Complete(_)));
    assert_eq!(world.provider.refreshes(), sent);
}

/// The issuer's document is fetched once per process, so the first call that renews meets an outage
/// at that moment.
#[tokio::test]
async fn a_discovery_document_that_cannot_be_fetched_is_trouble_and_no_unfinished_setup() {
    let world = World::of(|origin| {
        let (authorize, token) = ("authorize_url = ", "token_url     = ");
        let written = tools_toml(origin);
        let lines = written.lines().filter(|line| !line.contains(token));
        let lines = lines.map(|line| {
            if line.contains(authorize) {
                format!("issuer = \"{origin}\"")
            } else {
                line.to_owned()
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    })
    .await;
    let origin = world.origin().to_owned();
    let document = json(format!(
        r#"{{"issuer":"{origin}","authorization_endpoint":"{origin}/authorize","token_endpoint":"{origin}/token"}}"#
    ));
    let says = move |status: &'static str| {
        let document = document.clone();
        move |request: &str| match (request.contains("/.well-known/"), status) {
            (true, "200") => Act::Say(document.clone()),
            (true, "") => Act::SayAndClose(Vec::new()),
            (true, status) => Act::Say(answer(status, "", "")),
            (false, _) => Act::Say(json(r#"{"ok":true}"#)),
        }
    };
    let renewed = r#"{"access_token":"first","refresh_token":"r","expires_in":600}"#;
    world.provider.says(tokens(renewed));
    world.provider.api(says("200"));
    world.consent().await;
    world.pass(Duration::from_secs(601));

    // A new process has no document yet.
    let world = world.restarted("Reads.", "Reads!").await;
    for status in ["503 Service Unavailable", "429 Too Many Requests", ""] {
        world.provider.api(says(status));
        let result = world.result().await;
        assert_eq!(result.outcome, CallOutcome::TokenUnavailable, "{status}: {}", result.text);
        assert!(result.text.contains("Nothing is lost; call this tool again"), "{}", result.text);
        // A call that would create a link reports the trouble, too.
        let Outcome::Failed(failure) = call(&world, 0).await else { panic!("a link was made") };
        let text = failure_text(&failure);
        assert!(text.contains("Call this tool again in a few minutes"), "{text}");
        let account = world.accounts().await.remove(0);
        assert_eq!(account.state, AccountState::Connected, "{status}");
    }
    world.provider.api(says("404 Not Found"));
    let result = world.result().await;
    assert_eq!(result.outcome, CallOutcome::NotSetUp, "{}", result.text);
    world.provider.api(says("200"));
    let result = world.result().await;
    assert!(!result.is_error, "{}", result.text);
}
