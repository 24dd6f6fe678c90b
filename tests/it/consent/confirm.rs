//! Calls that their user confirms, in the browser of this machine.

use std::time::Duration;

use countersign::app::Access;
use countersign::broker::Call;
use countersign::model::call_confirmation::ConfirmationState;
use countersign::model::event::{CallOutcome, ConfirmationOutcome, EndedBy, EventKind};
use countersign::model::failure::NotConfirmedReason;
use countersign::model::{
    CallConfirmation, ConfirmationPrompt, FailureKind, Outcome, Principal, Question,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::record::Record;
use super::world::{World, ana, tokens};
use crate::support::browser::{Browser, Page};
use crate::support::http::client;
use crate::support::provider::{Act, json as said};

const TO_BEN: &str = r#"{"sum": 5, "to": "Ben"}"#;

async fn called(world: &World, run: Option<&str>, tool: &str, arguments: &str) -> Outcome {
    let principal = &Principal::local(ana());
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    let arguments = arguments.as_object().cloned();
    let client = Some("Some client".to_owned());
    let call = Call { arguments, client, run, ..Call::new(principal, tool) };
    world.app.broker.call(call).await.unwrap()
}

async fn pay(world: &World, arguments: &str) -> Outcome {
    called(world, None, "pay", arguments).await
}

#[track_caller]
fn asked(outcome: Outcome) -> ConfirmationPrompt {
    match outcome {
        Outcome::InputRequired(required) => match required.question {
            Question::Confirmation(prompt) => prompt,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_declined(outcome: &Outcome, tool: &str) {
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    let declined = FailureKind::NotConfirmed {
        tool: countersign::model::ToolName::new(tool),
        because: NotConfirmedReason::Declined,
    };
    assert_eq!(failure.kind, declined);
}

fn paid(world: &World) -> usize {
    world.provider.received("POST /pay ")
}

async fn world() -> World {
    let world = World::with_payments().await;
    world.provider.api(|_| Act::Say(said(r#"{"paid":true}"#)));
    world
}

async fn confirmations(world: &World) -> Vec<CallConfirmation> {
    let store = world.app.broker.store().await.unwrap();
    let held = store.call_confirmations().await.unwrap();
    held.into_iter().map(|held| held.value).collect()
}

#[tokio::test]
async fn a_call_runs_once_its_user_has_confirmed_it_and_only_once() {
    let world = world().await;
    let record = Record::of(&world);
    let prompt = asked(pay(&world, TO_BEN).await);
    assert_eq!(prompt.question, "Pay 5 to Ben?");
    assert_eq!(record.kinds(), [EventKind::Call(CallOutcome::ConfirmationRequired)]);
    // Asked again, it is the same question: also where a default is written out, in any order.
    for same in [TO_BEN, r#"{"note": "lunch", "to": "Ben", "sum": "5"}"#] {
        assert_eq!(asked(pay(&world, same).await), prompt);
    }
    let page = world.get(&prompt.url).await;
    for part in ["Pay 5 to Ben?", "<code>pay</code>", "Some client", "<code>note</code>", "lunch"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    record.take();
    let answered = world.press(&prompt.url, "run").await;
    assert_eq!(answered.status, StatusCode::SEE_OTHER, "{}", answered.text);
    assert!(prompt.url.ends_with(answered.location()));
    assert_eq!(record.kinds(), [EventKind::Confirmation(ConfirmationOutcome::Confirmed)]);
    assert!(world.get(&prompt.url).await.text.contains("You confirmed: Pay"));
    assert_eq!(paid(&world), 0, "the page sends nothing");

    assert!(matches!(pay(&world, TO_BEN).await, Outcome::Complete(_)));
    assert!(world.get(&prompt.url).await.text.contains("The tool was called"));
    assert_ne!(asked(pay(&world, TO_BEN).await).id, prompt.id, "one answer is for one call");
    assert_eq!(paid(&world), 1);
}

#[tokio::test]
async fn an_answer_counts_for_exactly_one_call_of_one_run() {
    let world = world().await;
    let run = |run, arguments| called(&world, Some(run), "pay", arguments);
    let prompt = asked(run("prun-1", TO_BEN).await);
    assert_ne!(asked(run("prun-2", TO_BEN).await).id, prompt.id);
    assert_ne!(asked(pay(&world, TO_BEN).await).id, prompt.id);
    world.press(&prompt.url, "run").await;
    for (other, arguments) in [
        (Some("prun-2"), TO_BEN),
        (None, TO_BEN),
        (Some("prun-1"), r#"{"sum": 50, "to": "Ben"}"#),
        (Some("prun-1"), r#"{"sum": 5, "to": "Ben", "note": "rent"}"#),
    ] {
        asked(called(&world, other, "pay", arguments).await);
    }
    assert_eq!(paid(&world), 0);
    assert!(matches!(run("prun-1", TO_BEN).await, Outcome::Complete(_)));
}

#[tokio::test]
async fn of_calls_at_once_one_runs() {
    let world = world().await;
    let questions = (pay(&world, TO_BEN), pay(&world, TO_BEN), pay(&world, TO_BEN));
    let (one, two, three) = tokio::join!(questions.0, questions.1, questions.2);
    let prompt = asked(one);
    assert_eq!((&asked(two), &asked(three)), (&prompt, &prompt), "one question for all");
    world.press(&prompt.url, "run").await;
    let call = || pay(&world, TO_BEN);
    let outcomes: [Outcome; 4] = tokio::join!(call(), call(), call(), call()).into();
    let ran = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Complete(_))).count();
    assert_eq!((ran, paid(&world)), (1, 1));
}

#[tokio::test]
async fn a_declined_call_does_not_run() {
    let world = world().await;
    let prompt = asked(pay(&world, TO_BEN).await);
    let record = Record::of(&world);
    world.press(&prompt.url, "decline").await;
    assert_eq!(record.kinds(), [EventKind::Confirmation(ConfirmationOutcome::Declined)]);
    assert!(world.get(&prompt.url).await.text.contains("You declined: Pay"));
    // The first answer counts: a second tab changes nothing.
    world.press(&prompt.url, "run").await;
    is_declined(&pay(&world, TO_BEN).await, "pay");
    assert_ne!(asked(pay(&world, TO_BEN).await).id, prompt.id, "it is told once");
    assert_eq!(paid(&world), 0);
}

#[tokio::test]
async fn a_question_and_an_answer_expire() {
    let world = world().await;
    let prompt = asked(pay(&world, TO_BEN).await);
    let page = world.get(&prompt.url).await;
    world.pass(Duration::from_mins(15));
    assert_eq!(world.get(&prompt.url).await.status, StatusCode::GONE);
    let late = world.press_on(&page, &prompt.url, "run").await;
    assert_eq!(late.status, StatusCode::SEE_OTHER);
    let again = asked(pay(&world, TO_BEN).await);
    assert_ne!(again.id, prompt.id);
    world.press(&again.url, "run").await;
    world.pass(Duration::from_hours(1));
    asked(pay(&world, TO_BEN).await);
    assert_eq!(paid(&world), 0);
    // Records are deleted a day later, needs of runs after two.
    world.pass(Duration::from_hours(24));
    world.app.broker.consents().delete_expired().await.unwrap();
    assert!(confirmations(&world).await.is_empty());
    let store = world.app.broker.store().await.unwrap();
    assert!(store.run_needs(&ana(), "").await.unwrap().is_some());
    world.pass(Duration::from_hours(24));
    world.app.broker.consents().delete_expired().await.unwrap();
    assert!(store.run_needs(&ana(), "").await.unwrap().is_none());
}

#[tokio::test]
async fn an_answer_needs_the_page_of_this_browser() {
    let world = world().await;
    let prompt = asked(pay(&world, TO_BEN).await);
    let page = world.get(&prompt.url).await;
    let is_open = async || {
        let state = confirmations(&world).await[0].state;
        state == ConfirmationState::Open
    };
    let run = [("answer", "run"), ("shown", page.shown())];
    // Without the form's token, and with that of another browser.
    let other = Browser::new();
    let bare = other.post_bare(&prompt.url, &run).await;
    assert_eq!(bare.status, StatusCode::FORBIDDEN);
    let token = page.hidden("csrf");
    other.get(&prompt.url).await;
    let planted = other.post_bare(&prompt.url, &[&run[..], &[("csrf", token)]].concat()).await;
    assert_eq!(planted.status, StatusCode::FORBIDDEN);
    // From another site's page, and for a page that said something else.
    let foreign = [(reqwest::header::ORIGIN, "https://evil.example")];
    let fields = [&run[..], &[("csrf", token)]].concat();
    let sent = other.post_with(&prompt.url, &foreign, &fields).await;
    assert_eq!(sent.status, StatusCode::FORBIDDEN);
    let stale = world.post(&prompt.url, &[("answer", "run"), ("shown", "x")]).await;
    assert!(stale.text.contains("has changed since you opened it"), "{}", stale.text);
    assert!(is_open().await);
    assert!(world.get(&format!("{}x", prompt.url)).await.status == StatusCode::GONE);
}

#[tokio::test]
async fn the_account_of_the_call_is_part_of_the_question() {
    let world = world().await;
    world.provider.says(tokens(r#"{"access_token":"first","scope":"notes:read"}"#));
    let there = async || called(&world, None, "pay_there", "{}").await;
    let Outcome::AuthorizationRequired(_) = there().await else { panic!("no consent yet") };
    assert!(confirmations(&world).await.is_empty(), "nothing is asked that cannot run");
    world.consent().await;
    let prompt = asked(there().await);
    world.press(&prompt.url, "run").await;
    assert!(matches!(there().await, Outcome::Complete(_)));
    assert_eq!(world.provider.received("GET /pay_there "), 1);
}

#[tokio::test]
async fn a_question_uses_up_no_consent_that_is_for_one_call() {
    let once = "client_id = \"us\"\nretention = \"use_once\"";
    let world = world().await.restarted("client_id = \"us\"", once).await;
    world.provider.says(tokens(r#"{"access_token":"first","scope":"notes:read"}"#));
    let there = async || called(&world, None, "pay_there", "{}").await;
    world.consent().await;
    let declined = asked(there().await);
    world.press(&declined.url, "decline").await;
    is_declined(&there().await, "pay_there");
    let prompt = asked(there().await);
    world.press(&prompt.url, "run").await;
    assert_eq!(world.accounts().await.len(), 1, "no token was handed out so far");
    assert!(matches!(there().await, Outcome::Complete(_)));
    assert!(world.accounts().await.is_empty());
    assert_eq!(world.provider.received("GET /pay_there "), 1);
}

#[tokio::test]
async fn a_consent_that_ends_first_uses_up_no_answer() {
    let world = world().await;
    let short =
        r#"{"access_token":"first","refresh_token":"r","expires_in":60,"scope":"notes:read"}"#;
    world.provider.says(tokens(short));
    world.consent().await;
    world.pass(Duration::from_mins(5));
    let there = async || called(&world, None, "pay_there", "{}").await;
    let prompt = asked(there().await);
    assert_eq!(world.provider.refreshes(), 0, "the user may decline");
    world.press(&prompt.url, "run").await;
    let ended =
        crate::support::provider::answer("400 Bad Request", "", r#"{"error":"invalid_grant"}"#);
    world.provider.says(ended);
    let outcome = there().await;
    assert!(matches!(outcome, Outcome::AuthorizationRequired(_)), "{outcome:?}");
    assert_eq!(world.provider.refreshes(), 1);
    world.provider.says(tokens(short));
    world.consent().await;
    assert!(matches!(there().await, Outcome::Complete(_)), "the answer still counts");
    asked(there().await);
    assert_eq!(world.provider.received("GET /pay_there "), 1);
}

#[tokio::test]
async fn the_server_gets_no_token_for_a_call_that_may_be_declined() {
    let world = world().await;
    asked(called(&world, None, "pay_as_server", "{}").await);
    assert_eq!(world.provider.requests().len(), 0);
    // Its secret cannot be read.
    asked(called(&world, None, "pay_by_key", "{}").await);
}

#[tokio::test]
async fn a_token_that_has_ended_early_costs_no_second_answer() {
    let world = world().await;
    world.provider.says(tokens(
        r#"{"access_token":"first","refresh_token":"r","expires_in":3600,"scope":"notes:read"}"#,
    ));
    world.consent().await;
    let there = async || called(&world, None, "pay_there", "{}").await;
    let prompt = asked(there().await);
    world.press(&prompt.url, "run").await;
    world.provider.says(tokens(r#"{"access_token":"second","scope":"notes:read"}"#));
    world.provider.api(|request| {
        let is_new = request.contains("Bearer second");
        let refused = || crate::support::provider::answer("401 Unauthorized", "", "");
        Act::Say(if is_new { said("{}") } else { refused() })
    });
    assert!(matches!(there().await, Outcome::Complete(_)));
}

/// The keeper answers the page of a call whose host has ended the server.
#[tokio::test]
async fn the_page_is_answered_by_a_process_that_knows_no_tools() {
    let world = World::in_folder().await;
    world.provider.api(|_| Act::Say(said(r#"{"paid":true}"#)));
    // It owns the folder, and so it listens for all processes.
    let keeper = world.keeper();
    keeper.broker.store().await.unwrap();
    let prompt = asked(pay(&world, TO_BEN).await);
    let page = world.get(&prompt.url).await;
    assert!(page.text.contains("Pay 5 to Ben?"), "{}", page.text);
    // The process that asked ends.
    world.app.close().await;
    world.press(&prompt.url, "run").await;
    assert!(world.get(&prompt.url).await.text.contains("You confirmed"));
    let world = world.restarted("Pays.", "Pays.").await;
    assert!(matches!(pay(&world, TO_BEN).await, Outcome::Complete(_)));
    assert_eq!(paid(&world), 1);
    keeper.close().await;
}

#[tokio::test]
async fn a_caller_that_shows_no_links_gets_a_failure_and_no_question() {
    let world = world().await;
    let principal = &Principal::local(ana());
    let arguments = json!({ "sum": 5, "to": "Ben" }).as_object().cloned();
    let call = Call { arguments, ..Call::new(principal, "pay") };
    let outcome = world.app.broker.call_without_link(call).await.unwrap();
    let Outcome::Failed(failure) = &outcome else { panic!("{outcome:?}") };
    let because = NotConfirmedReason::LinkWithheld;
    assert!(
        matches!(&failure.kind, FailureKind::NotConfirmed { because: it, .. } if *it == because)
    );
    assert!(confirmations(&world).await.is_empty());
}

#[tokio::test]
async fn nothing_is_left_of_a_user_whose_access_is_ended() {
    let world = world().await;
    let prompt = asked(called(&world, Some("prun-1"), "pay", TO_BEN).await);
    world.press(&prompt.url, "run").await;
    asked(pay(&world, TO_BEN).await);
    let users = world.app.broker.users();
    assert_eq!(users.who_began().await.unwrap(), [ana()]);
    let ended = users.end_access(&ana(), EndedBy::Operator).await.unwrap();
    assert!(!ended.is_nothing(), "{ended:?}");
    assert!(confirmations(&world).await.is_empty());
    let store = world.app.broker.store().await.unwrap();
    for run in ["prun-1", ""] {
        assert!(store.run_needs(&ana(), run).await.unwrap().is_none());
    }
    assert_eq!(world.get(&prompt.url).await.status, StatusCode::GONE);
    world.pass(Duration::from_secs(1));
    asked(called(&world, Some("prun-1"), "pay", TO_BEN).await);
    assert_eq!(paid(&world), 0);
}

#[tokio::test]
async fn a_client_reads_the_link_in_the_text_of_the_error() {
    let world = world().await;
    let origin = world.serve(Access::Local(ana()));
    let http = client().build().unwrap();
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {
            "name": "pay", "arguments": { "sum": 5, "to": "Ben" },
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "c", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    });
    let response = http
        .post(format!("{origin}/mcp"))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "pay")
        .body(call.to_string())
        .send()
        .await
        .unwrap();
    let text = response.text().await.unwrap();
    assert!(text.contains(r#""isError":true"#) && text.contains("/confirm/"), "{text}");
    assert!(text.contains("Pay 5 to Ben?"), "{text}");
}

#[tokio::test]
async fn the_record_holds_no_more_of_an_argument_than_its_page() {
    let world = world().await;
    let long = "y".repeat(500_000);
    let arguments = json!({ "sum": 5, "to": "Ben", "note": long }).to_string();
    let prompt = asked(pay(&world, &arguments).await);
    let page: Page = world.get(&prompt.url).await;
    assert!(page.text.contains("498000 more characters that are not shown"), "{}", page.text);
    let other = json!({ "sum": 5, "to": "Ben", "note": format!("{long}y") }).to_string();
    assert_ne!(asked(pay(&world, &other).await).id, prompt.id, "what is not shown counts too");
    let record = serde_json::to_string(&confirmations(&world).await[0]).unwrap();
    assert!(record.len() < 10_000);
}
