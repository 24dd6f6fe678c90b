//! The provider account behind a consent: shown, and compared with the previous one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign::broker::consent::wait::Waited;
use countersign::broker::{Call, VisitingBrowser};
use countersign::model::event::EventKind;
use countersign::model::{Caller, ConnectPrompt, Outcome, Principal, UserId};
use reqwest::StatusCode;
use tokio::runtime::Handle;

use super::world::{World, ana, tokens};
use crate::support::browser::Page;
use crate::support::provider::{Act, answer, json};
use crate::support::wait_until_async;

/// An API that reads the account from the token.
pub(super) fn me(world: &World) {
    world.provider.api(|request| {
        let request = request.to_ascii_lowercase();
        let Some((_, token)) = request.split_once("bearer ") else {
            return Act::Say(answer("401 Unauthorized", "", ""));
        };
        let who = token.split_once('\r').unwrap().0;
        Act::Say(json(format!(r#"{{"sub":"id-of-{who}","email":"{who}@example.com"}}"#)))
    });
}

/// Makes the token endpoint issue tokens for this account.
fn signed_in_as(world: &World, who: &str) {
    let said = format!(r#"{{"access_token":"{who}","refresh_token":"refresh-{who}"}}"#);
    world.provider.says(tokens(&said));
}

async fn connected_as(who: &str) -> World {
    let world = World::of(tools_toml).await;
    me(&world);
    signed_in_as(&world, who);
    world.consent().await;
    world
}

async fn waited(world: &World, prompt: &ConnectPrompt) -> Waited {
    let broker = &world.app.broker;
    broker.consents().wait(&ana(), &prompt.authorization.id, Duration::ZERO).await.unwrap()
}

/// A world in which ana is connected and the browser has just returned as bob.
async fn other() -> (World, ConnectPrompt, Page) {
    let world = connected_as("ana").await;
    let prompt = wider(&world).await;
    signed_in_as(&world, "bob");
    world.consent_by(&prompt.url).await;
    let page = world.get(&prompt.url).await;
    (world, prompt, page)
}

/// Calls a tool that needs more than was granted.
async fn wider(world: &World) -> ConnectPrompt {
    match world.call_tool("write", None).await {
        Outcome::AuthorizationRequired(prompt) => prompt,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_page_and_the_status_say_whose_account_it_is() {
    let world = World::of(tools_toml).await;
    me(&world);
    signed_in_as(&world, "ana");
    let link = world.prompt().await.url;
    world.consent_by(&link).await;
    let page = world.get(&link).await;
    assert!(page.text.contains("acme is connected as ana@example.com"), "{}", page.text);
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("ana@example.com"));
}

/// Knowing the account is useful, but its absence is no reason to lose a consent.
#[tokio::test]
async fn a_provider_that_does_not_tell_is_connected_all_the_same() {
    let faults: [fn() -> Act; 6] = [
        || Act::Say(answer("500 Internal Server Error", "", "")),
        || Act::Say(answer("401 Unauthorized", "", "")),
        || Act::Say(json("{}")),
        || Act::Say(json(r#"{"sub":null,"email":"x"}"#)),
        || Act::Say(json("[1")),
        || Act::SayAndClose(Vec::new()),
    ];
    for fault in faults {
        let world = World::of(tools_toml).await;
        world.provider.api(move |_| fault());
        signed_in_as(&world, "ana");
        let link = world.prompt().await.url;
        world.consent_by(&link).await;
        assert!(world.get(&link).await.text.contains("acme is connected<"));
        let accounts = world.accounts().await;
        assert_eq!((accounts.len(), accounts[0].label.as_deref()), (1, None));
    }
}

#[tokio::test]
async fn a_label_cannot_turn_the_page_around() {
    let world = World::of(tools_toml).await;
    let label = r#"{"sub":"1","email":"a\u202e\u001b[31m<b>"}"#;
    world.provider.api(move |_| Act::Say(json(label)));
    signed_in_as(&world, "ana");
    let link = world.prompt().await.url;
    world.consent_by(&link).await;
    let page = world.get(&link).await;
    assert!(page.text.contains("connected as a&#60;b&#62;"), "{}", page.text);
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("a<b>"));
}

#[tokio::test]
async fn the_same_account_again_is_no_question() {
    let world = connected_as("ana").await;
    let prompt = wider(&world).await;
    world.consent_by(&prompt.url).await;
    assert!(matches!(waited(&world, &prompt).await, Waited::Completed { .. }));
}

#[tokio::test]
async fn another_account_replaces_the_one_before_only_when_it_is_meant() {
    let (world, prompt, page) = other().await;
    assert_eq!(page.status, StatusCode::OK);
    for part in ["This is another acme account", "ana@example.com", "bob@example.com"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    // Nothing has changed yet.
    assert_eq!(waited(&world, &prompt).await, Waited::Pending);
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("ana@example.com"));
    assert!(!world.result().await.is_error);
    assert!(world.provider.calls().last().unwrap().to_lowercase().contains("bearer ana"));

    let confirmed = world.press(&prompt.url, "confirm").await;
    assert_eq!(confirmed.location(), prompt.url);
    assert!(world.get(&prompt.url).await.text.contains("connected as bob@example.com"));
    assert!(matches!(waited(&world, &prompt).await, Waited::Completed { .. }));
    assert!(!world.result_of("write").await.is_error);
    assert!(world.provider.calls().last().unwrap().to_lowercase().contains("bearer bob"));
    assert_eq!(world.accounts().await.len(), 1);
}

#[tokio::test]
async fn the_account_before_is_kept_and_the_other_one_s_consent_ended() {
    let (world, prompt, _) = other().await;
    let before = world.provider.requests().len();
    world.press(&prompt.url, "keep").await;
    let sent = || world.provider.requests().split_off(before);
    wait_until_async("a revocation", async || !sent().is_empty()).await;
    assert_eq!(sent(), ["token=refresh-bob&client_id=us"]);
    let page = world.get(&prompt.url).await;
    assert!(page.text.contains("You stay with ana@example.com"), "{}", page.text);
    assert!(matches!(waited(&world, &prompt).await, Waited::Failed(_)));
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("ana@example.com"));
    // This link no longer accepts a change of mind.
    world.press(&prompt.url, "confirm").await;
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("ana@example.com"));
}

#[tokio::test]
async fn a_question_that_is_not_answered_in_time_leaves_everything_as_it_is() {
    let (world, prompt, _) = other().await;
    world.pass(Duration::from_mins(15));
    assert_eq!(world.get(&prompt.url).await.status, StatusCode::GONE);
    assert_eq!(world.press(&prompt.url, "confirm").await.status, StatusCode::GONE);
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("ana@example.com"));
    assert_eq!(waited(&world, &prompt).await, Waited::Over);
}

#[tokio::test]
async fn another_account_that_comes_after_the_end_of_access_is_revoked() {
    let world = connected_as("ana").await;
    let prompt = wider(&world).await;
    signed_in_as(&world, "bob");
    let departure = world.click(&prompt.url).await;
    // The first step of ending access; the remaining steps run before the provider answers.
    world.app.broker.users().cut_off(&ana()).await.unwrap();
    world.come_back(&departure, "code=c").await;
    let requests = world.provider.requests();
    assert!(requests.iter().any(|body| body.contains("token=refresh-bob")), "{requests:?}");
}

/// Ends the world's work, and returns the tokens that the provider was asked to revoke.
async fn revoked(world: &World) -> Vec<String> {
    world.app.broker.settle().await;
    let token = |body: String| Some(body.strip_prefix("token=")?.split_once('&')?.0.to_owned());
    world.provider.requests().into_iter().filter_map(token).collect()
}

/// Comes back from the provider by one link as each of these in turn.
async fn come_back_as(world: &World, link: &str, accounts: &[&str]) {
    let mut departures = Vec::new();
    for _ in accounts {
        departures.push(world.click(link).await);
    }
    for (who, departure) in accounts.iter().zip(&departures) {
        signed_in_as(world, who);
        world.come_back(departure, "code=c").await;
    }
}

/// Otherwise its tokens would live on at the provider, where no record of ours could end them.
#[tokio::test]
async fn another_account_that_is_not_asked_about_is_revoked() {
    let world = connected_as("ana").await;
    let prompt = wider(&world).await;
    come_back_as(&world, &prompt.url, &["ana", "bob"]).await;
    assert!(matches!(waited(&world, &prompt).await, Waited::Completed { .. }));
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("ana@example.com"));
    assert_eq!(revoked(&world).await, ["refresh-bob"]);
}

#[tokio::test]
async fn another_account_is_revoked_when_a_later_answer_takes_its_place() {
    let world = connected_as("ana").await;
    let prompt = wider(&world).await;
    let declined = world.click(&prompt.url).await;
    come_back_as(&world, &prompt.url, &["bob", "eve"]).await;
    world.come_back(&declined, "error=access_denied").await;
    assert!(matches!(waited(&world, &prompt).await, Waited::Failed(_)));
    assert_eq!(revoked(&world).await, ["refresh-bob", "refresh-eve"]);
}

/// Many providers end all tokens of an account together.
#[tokio::test]
async fn what_may_be_an_account_in_use_is_not_revoked() {
    // The question is asked again, for the same account.
    let world = connected_as("ana").await;
    let prompt = wider(&world).await;
    come_back_as(&world, &prompt.url, &["bob", "bob"]).await;
    world.press(&prompt.url, "confirm").await;
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("bob@example.com"));
    assert_eq!(revoked(&world).await, Vec::<String>::new());

    // The provider does not name the account, which may be ana's.
    let world = connected_as("ana").await;
    let prompt = wider(&world).await;
    world.provider.api(|_| Act::Say(answer("500 Internal Server Error", "", "")));
    world.consent_by(&prompt.url).await;
    world.press(&prompt.url, "keep").await;
    assert_eq!(revoked(&world).await, Vec::<String>::new());
}

/// Two users may have connected one account, e.g. that of a team.
#[tokio::test]
async fn what_another_user_has_connected_is_not_revoked() {
    let world = connected_as("ana").await;
    let carl = Principal::local(Caller::local(UserId::new("carl")));
    let call = Call::new(&carl, "read");
    let Outcome::AuthorizationRequired(prompt) = world.app.broker.call(call).await.unwrap() else {
        panic!("carl has connected nothing");
    };
    signed_in_as(&world, "bob");
    world.consent_by(&prompt.url).await;

    let prompt = wider(&world).await;
    world.consent_by(&prompt.url).await;
    world.press(&prompt.url, "keep").await;
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("ana@example.com"));
    assert_eq!(revoked(&world).await, Vec::<String>::new());
}

#[tokio::test]
async fn another_account_is_revoked_when_its_question_expires() {
    let (world, _, _) = other().await;
    world.pass(Duration::from_mins(15));
    world.app.broker.consents().delete_expired().await.unwrap();
    assert_eq!(revoked(&world).await, ["refresh-bob"]);

    let (world, _, _) = other().await;
    world.pass(Duration::from_mins(15));
    wider(&world).await;
    assert_eq!(revoked(&world).await, ["refresh-bob"]);
}

/// The new account is unknown, so the user is asked before it replaces the old one.
#[tokio::test]
async fn an_account_that_the_provider_does_not_name_is_asked_about_too() {
    let world = connected_as("ana").await;
    let prompt = wider(&world).await;
    signed_in_as(&world, "bob");
    world.provider.api(|_| Act::Say(answer("500 Internal Server Error", "", "")));
    world.consent_by(&prompt.url).await;
    let page = world.get(&prompt.url).await;
    assert!(page.text.contains("does not name"), "{}", page.text);
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("ana@example.com"));
}

/// A click answers the page that it was made on: later changes are shown first.
#[tokio::test]
async fn an_answer_counts_for_the_page_that_asked() {
    let (world, prompt, page) = other().await;
    world.press(&prompt.url, "keep").await;
    let late = world.press_on(&page, &prompt.url, "confirm").await;
    assert_eq!(late.status, StatusCode::OK);
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("ana@example.com"));
    let (world, prompt, _) = other().await;
    world.post(&prompt.url, &[("answer", "confirm")]).await;
    world.post(&prompt.url, &[("answer", "confirm"), ("shown", "made up")]).await;
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("ana@example.com"));
}

#[tokio::test]
async fn nobody_confirms_what_was_not_asked() {
    let world = World::of(tools_toml).await;
    let link = world.prompt().await.url;
    for answer in ["confirm", "keep", "disconnect"] {
        let page = world.press(&link, answer).await;
        assert!(page.text.contains("Continue to acme"), "{answer}: {}", page.text);
    }
    assert!(world.accounts().await.is_empty());
}

#[tokio::test]
async fn what_is_disconnected_on_its_page_is_ended_at_the_provider_and_forgotten() {
    let table: [(Vec<u8>, &str); 2] = [
        (answer("200 OK", "", ""), "acme has ended the access"),
        (answer("500 Internal Server Error", "", ""), "acme did not confirm the end"),
    ];
    for (said, words) in table {
        let world = World::of(tools_toml).await;
        me(&world);
        signed_in_as(&world, "ana");
        let link = world.prompt().await.url;
        world.consent_by(&link).await;
        assert!(world.get(&link).await.text.contains("Disconnect"));
        world.provider.says(said);
        world.press(&link, "disconnect").await;
        assert_eq!(world.provider.requests().pop().unwrap(), "token=refresh-ana&client_id=us");
        let page = world.get(&link).await;
        assert!(page.text.contains(words), "{}", page.text);
        assert!(world.accounts().await.is_empty());
        world.prompt().await;
    }
}

/// The page must not say that nothing is connected while tools use a new consent.
#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_comes_while_its_link_is_undone_is_shown() {
    let world = World::of(tools_toml).await;
    me(&world);
    signed_in_as(&world, "ana");
    let link = world.prompt().await.url;
    let late = world.click(&link).await;
    world.consent_by(&link).await;
    let page = world.get(&link).await;
    let world = Arc::new(world);
    let (there, has_come) = (Arc::downgrade(&world), AtomicBool::new(false));
    // Between the deletion of the grant and the note that it is undone.
    world.app.broker.events().observe(move |event| {
        if matches!(event.kind, EventKind::End { .. }) && !has_come.swap(true, Ordering::SeqCst) {
            let world = there.upgrade().unwrap();
            let comes_back = world.come_back(&late, "code=c");
            tokio::task::block_in_place(|| Handle::current().block_on(comes_back));
        }
    });
    let ticket = link.rsplit('/').next().unwrap();
    let undone =
        world.app.broker.consents().undo(ticket, &VisitingBrowser::Loopback, page.shown()).await;
    undone.unwrap();
    assert_eq!(world.accounts().await.len(), 1);
    let page = world.get(&link).await;
    assert!(page.text.contains("acme is connected as ana@example.com"), "{}", page.text);
}

pub(super) fn tools_toml(origin: &str) -> String {
    let tool = |name: &str| {
        format!(
            "[tools.{name}]\ndescription = \"x\"\nprovider = \"acme\"\n\
             scopes = [\"notes:{name}\"]\nrequest = \"GET /{name}\"\n"
        )
    };
    format!(
        r#"
        [providers.acme]
        title     = "acme"
        base_url  = "{origin}"
        client_id = "us"
        accounts  = true
        [providers.acme.oauth]
        authorize_url = "{origin}/authorize"
        token_url     = "{origin}/token"
        revoke_url    = "{origin}/revoke"
        userinfo_url  = "{origin}/userinfo"
        loopback      = "any-port"
        {}{}
        "#,
        tool("read"),
        tool("write")
    )
}
