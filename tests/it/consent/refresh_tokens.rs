//! Refresh tokens that are refused in unknown words, and those that a second consent omits.

use std::sync::Arc;
use std::time::Duration;

use countersign::model::{Outcome, PromptReason};
use reqwest::StatusCode;
use tokio::sync::{Notify, Semaphore};

use super::identity;
use super::world::{World, tokens, tools_toml};
use crate::support::provider::{Act, answer};

const FIRST: &str = r#"{"access_token":"first","refresh_token":"r1","expires_in":600}"#;
const SECOND: &str = r#"{"access_token":"second","refresh_token":"r2","expires_in":600}"#;

async fn connected(tools: impl FnOnce(&str) -> String) -> World {
    let world = World::of(tools).await;
    world.provider.accepts(&["first", "second"]);
    world.provider.says(tokens(FIRST));
    assert_eq!(world.consent().await.status, StatusCode::SEE_OTHER);
    world.pass(Duration::from_secs(601));
    world
}

/// A `tools.toml` with this line in the provider's OAuth table.
fn oauth(origin: &str, line: &str) -> String {
    tools_toml(origin).replace("loopback ", &format!("{line}\n        loopback "))
}

/// Refusals by token endpoints that do not say what they refuse.
fn unclear() -> Vec<Vec<u8>> {
    let html = "Content-Type: text/html\r\n";
    vec![
        answer(
            "403 Forbidden",
            "",
            r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
        ),
        answer("400 Bad Request", "", r#"{"status":400,"message":"Invalid refresh token"}"#),
        answer("400 Bad Request", "", r#"{"message":"Bad Request","error":400}"#),
        answer("400 Bad Request", "", r#"{"error":"out_of_cheese"}"#),
        answer("400 Bad Request", "", r#"{"error":"invalid_request"}"#),
        answer("401 Unauthorized", "", r#"{"error":"invalid_client"}"#),
        answer("401 Unauthorized", "", ""),
        answer("404 Not Found", html, "<html>gone</html>"),
        answer("200 OK", "", r#"{"success":false,"message":"token expired"}"#),
        answer("200 OK", "", r#"{"ok":false}"#),
    ]
}

#[tokio::test]
async fn a_refresh_token_refused_in_unknown_words_leaves_a_way_out_at_the_third_call() {
    for said in unclear() {
        let words = String::from_utf8_lossy(&said).into_owned();
        let world = connected(tools_toml).await;
        world.provider.says(said);
        for _ in 0..2 {
            let result = world.result().await;
            assert!(result.is_error, "{words}");
        }
        let prompt = world.prompt().await;
        assert_eq!(prompt.reason, PromptReason::NotRenewed, "{words}");
        assert!(world.provider.refreshes() <= 3, "{words}: each call asks once");
        // The old grant is kept until the new consent is complete.
        assert_eq!(world.accounts().await.len(), 1);
        world.provider.says(tokens(SECOND));
        world.consent_by(&prompt.url).await;
        assert!(!world.result().await.is_error, "{words}: connected again");
        world.pass(Duration::from_secs(601));
        assert!(!world.result().await.is_error, "{words}: and renewed");
        assert!(world.provider.requests().pop().unwrap().contains("refresh_token=r2"));
    }
}

#[tokio::test]
async fn a_provider_that_comes_to_its_senses_needs_no_consent() {
    let world = connected(tools_toml).await;
    world.provider.says(answer("400 Bad Request", "", r#"{"error":"out_of_cheese"}"#));
    for _ in 0..2 {
        assert!(world.result().await.is_error);
    }
    world.prompt().await;
    world.provider.says(tokens(SECOND));
    world.pass(Duration::from_secs(61));
    assert!(!world.result().await.is_error);
    // The count starts again.
    world.provider.says(answer("400 Bad Request", "", r#"{"error":"out_of_cheese"}"#));
    world.pass(Duration::from_secs(601));
    assert!(world.result().await.is_error);
}

#[tokio::test]
async fn what_says_nothing_about_the_grant_asks_for_no_consent() {
    let world = connected(tools_toml).await;
    for said in [
        answer("409 Conflict", "", ""),
        answer("400 Bad Request", "", r#"{"error":"temporarily_unavailable"}"#),
        answer("500 Internal Server Error", "", r#"{"error":"unauthorized_client"}"#),
    ] {
        world.provider.says(said);
        assert!(world.result().await.is_error);
    }
    world.provider.says(tokens(SECOND));
    assert!(!world.result().await.is_error);
}

/// The refusal does not affect another account's grant.
#[tokio::test]
async fn an_unclear_refusal_of_one_account_keeps_no_other_from_being_renewed() {
    let said = r#"{"error":"unauthorized_client"}"#;
    let world = World::of(|origin| {
        tools_toml(origin).replace("client_id = \"us\"", "client_id = \"us\"\naccounts = true")
    })
    .await;
    for (account, token) in [("one", "first"), ("two", "second")] {
        world.provider.accepts(&["first", "second"]);
        let body =
            format!(r#"{{"access_token":"{token}","refresh_token":"{token}","expires_in":600}}"#);
        world.provider.says(tokens(&body));
        let link = world.prompt_as(Some(account)).await.url;
        world.consent_by(&link).await;
    }
    world.pass(Duration::from_secs(601));
    world.provider.tokens(move |body| {
        Act::Say(if body.contains("refresh_token=first") {
            answer("403 Forbidden", "", said)
        } else {
            tokens(SECOND)
        })
    });
    assert!(matches!(world.call_as(Some("one")).await, Outcome::Failed(_)));
    assert!(matches!(world.call_as(Some("two")).await, Outcome::Complete(_)));
}

#[tokio::test]
async fn words_that_the_configuration_knows_end_a_grant_at_once() {
    let known = r#"refresh_ended = [{ status = 403, error = "unauthorized_client", says = "REFRESH_TOKEN is invalid" }, { error = "400" }]"#;
    for said in [
        answer(
            "403 Forbidden",
            "",
            r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
        ),
        answer("400 Bad Request", "", r#"{"message":"Bad Request","error":400}"#),
    ] {
        let world = connected(|origin| oauth(origin, known)).await;
        world.provider.says(said);
        assert_eq!(world.prompt().await.reason, PromptReason::Ended);
    }
    let world = connected(|origin| oauth(origin, known)).await;
    world.provider.says(answer("403 Forbidden", "", r#"{"error":"unauthorized_client"}"#));
    assert!(world.result().await.is_error, "not all of it holds");
}

/// Uses the catalogue's rules for a built-in provider, at an address of the test's own.
#[tokio::test]
async fn providers_of_the_catalogue_are_understood_at_once() {
    for (id, said) in [
        (
            "atlassian",
            answer(
                "403 Forbidden",
                "",
                r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
            ),
        ),
        (
            "twitch",
            answer("400 Bad Request", "", r#"{"status":400,"message":"Invalid refresh token"}"#),
        ),
        ("reddit", answer("400 Bad Request", "", r#"{"message":"Bad Request","error":400}"#)),
        (
            "strava",
            answer(
                "400 Bad Request",
                "",
                r#"{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}"#,
            ),
        ),
        (
            "fitbit",
            answer(
                "400 Bad Request",
                "",
                r#"{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid"}],"success":false}"#,
            ),
        ),
    ] {
        let world = connected(|origin| built_in(origin, id)).await;
        world.provider.says(said);
        assert_eq!(world.prompt().await.reason, PromptReason::Ended, "{id}");
        assert_eq!(world.provider.refreshes(), 1, "{id}");
    }
}

/// A built-in provider with this test's endpoints.
pub(super) fn built_in(origin: &str, id: &str) -> String {
    tools_toml(origin)
        .replace("providers.acme", &format!("providers.{id}"))
        .replace("= \"acme\"", &format!("= \"{id}\""))
        .replace("loopback ", "token_auth = \"none\"\n        loopback ")
}

/// Gives the second consent, for a tool that needs more.
async fn widened(world: &World, said: &str) {
    world.provider.says(tokens(said));
    let link = match world.call_tool("write", None).await {
        Outcome::AuthorizationRequired(prompt) => prompt.url,
        other => panic!("{other:?}"),
    };
    world.consent_by(&link).await;
}

const WITHOUT: &str = r#"{"access_token":"second","expires_in":600}"#;

#[tokio::test]
async fn a_second_consent_without_a_refresh_token_keeps_the_first_one() {
    for tools in [tools_toml as fn(&str) -> String, identity::tools_toml] {
        let world = World::of(tools).await;
        // The provider, where it names the user, names the same one each time.
        world.provider.api(|request| {
            Act::Say(if request.starts_with("GET /userinfo") {
                crate::support::provider::json(r#"{"sub":"1","email":"ana@example.com"}"#)
            } else {
                crate::support::provider::json("{}")
            })
        });
        world.provider.says(tokens(FIRST));
        world.consent().await;
        widened(&world, WITHOUT).await;
        assert!(world.accounts().await[0].renews);
        world.pass(Duration::from_secs(601));
        world.provider.says(tokens(r#"{"access_token":"third","expires_in":600}"#));
        assert!(!world.result_of("write").await.is_error);
        assert!(world.provider.requests().pop().unwrap().contains("refresh_token=r1"));
    }
}

#[tokio::test]
async fn a_refresh_token_of_another_account_or_of_another_agreement_is_not_kept() {
    let world = World::of(identity::tools_toml).await;
    identity::me(&world);
    world.provider.says(tokens(r#"{"access_token":"ana","refresh_token":"r1","expires_in":600}"#));
    world.consent().await;
    world.provider.says(tokens(r#"{"access_token":"bob","expires_in":600}"#));
    let link = match world.call_tool("write", None).await {
        Outcome::AuthorizationRequired(prompt) => prompt.url,
        other => panic!("{other:?}"),
    };
    world.consent_by(&link).await;
    world.press(&link, "confirm").await;
    assert_eq!(world.accounts().await[0].label.as_deref(), Some("bob@example.com"));
    assert!(!world.accounts().await[0].renews, "that one is ana's");

    let world = World::of(tools_toml).await;
    world.provider.accepts(&["first", "second"]);
    world.provider.says(tokens(FIRST));
    world.consent().await;
    let retention = "client_id = \"us\"\nretention = \"no_refresh\"";
    let world = world.restarted("client_id = \"us\"", retention).await;
    widened(&world, WITHOUT).await;
    assert!(!world.accounts().await[0].renews, "the page said that none is kept");
}

/// The new consent takes over the refresh token that the renewal in flight receives.
#[tokio::test]
async fn a_renewal_under_way_hands_its_refresh_token_to_the_consent_that_overtook_it() {
    let world = connected(tools_toml).await;
    let (gate, asked) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (permitted, is_asked) = (Arc::clone(&gate), Arc::clone(&asked));
    world.provider.tokens(move |body| {
        if body.contains("grant_type=refresh_token") {
            is_asked.notify_one();
            return Act::SayWhen(Arc::clone(&permitted), tokens(SECOND));
        }
        Act::Say(tokens(WITHOUT))
    });
    let overtake = async {
        asked.notified().await;
        let link = match world.call_tool("write", None).await {
            Outcome::AuthorizationRequired(prompt) => prompt.url,
            other => panic!("{other:?}"),
        };
        world.consent_by(&link).await;
        gate.add_permits(1);
    };
    let (result, ()) = tokio::join!(world.result(), overtake);
    assert!(!result.is_error);
    world.pass(Duration::from_secs(601));
    assert!(!world.result().await.is_error);
    let sent = world.provider.requests().pop().unwrap();
    assert!(sent.contains("refresh_token=r2"), "r1 is spent: {sent}");
}
