//! Grants of the server itself: every answer that a token endpoint may give, and never a prompt.

use std::time::Duration;

use countersign::model::{Caller, UserId};

use super::world::{World, tokens};
use crate::support::provider::{Act, answer};

const FIRST: &str = r#"{"access_token":"first","expires_in":600}"#;
const SECOND: &str = r#"{"access_token":"second","expires_in":600}"#;

async fn world() -> World {
    let world = World::of(tools_toml).await;
    world.provider.accepts(&["first", "second"]);
    world
}

/// A world in which the server has a token.
async fn supplied() -> World {
    let world = world().await;
    world.provider.says(tokens(FIRST));
    runs(&world, "read").await;
    world
}

async fn runs(world: &World, tool: &str) {
    let result = world.result_of(tool).await;
    assert!(!result.is_error, "{}", result.text);
}

fn scope(body: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(body.as_bytes());
    pairs.find(|(name, _)| name == "scope").unwrap().1.into_owned()
}

fn refusal(code: &str) -> Vec<u8> {
    answer("400 Bad Request", "", format!(r#"{{"error":"{code}"}}"#))
}

#[tokio::test]
async fn a_token_is_got_once_for_everybody_and_again_when_it_ends() {
    let world = world().await;
    world.provider.says(tokens(FIRST));
    let calls = futures_util::future::join_all((0..50).map(|_| world.result())).await;
    assert!(calls.iter().all(|result| !result.is_error));
    let sent = world.provider.requests();
    let expected = "grant_type=client_credentials&scope=notes%3Alist+notes%3Aread&audience=api";
    assert_eq!(sent, [expected]);

    world.pass(Duration::from_mins(10));
    world.provider.says(tokens(SECOND));
    let calls = futures_util::future::join_all((0..50).map(|_| world.result())).await;
    assert!(calls.iter().all(|result| !result.is_error));
    assert_eq!(world.provider.requests().len(), 2);
}

#[tokio::test]
async fn what_is_refused_is_the_operator_s_and_left_alone_for_a_minute() {
    let table = [
        (answer("401 Unauthorized", "", r#"{"error":"invalid_client"}"#), "client_secret"),
        (answer("401 Unauthorized", "", ""), "client_secret"),
        (refusal("unauthorized_client"), "grant type"),
        (refusal("invalid_grant"), "audience"),
        (refusal("invalid_scope"), "scopes"),
        (refusal("moon_phase"), "client_secret"),
    ];
    for (bytes, word) in table {
        let world = world().await;
        world.provider.says(bytes);
        let hint = world.result().await.for_operator.unwrap_or_default();
        assert!(hint.contains(word), "{hint}");
        world.provider.says(tokens(FIRST));
        assert!(world.result().await.is_error);
        assert_eq!(world.provider.requests().len(), 1, "{word}");
        world.pass(Duration::from_secs(61));
        runs(&world, "read").await;
    }
}

#[tokio::test]
async fn trouble_passes() {
    let all = [
        answer("503 Service Unavailable", "", r#"{"error":"invalid_client"}"#),
        answer("429 Too Many Requests", "Retry-After: 1\r\n", ""),
        answer("200 OK", "Content-Type: text/html\r\n", "<html>maintenance</html>"),
        refusal("temporarily_unavailable"),
    ];
    let passed = all.map(|bytes| async {
        let world = world().await;
        world.provider.says(bytes);
        let result = world.result().await;
        assert!(result.text.contains("Nothing is lost"), "{}", result.text);
        assert_eq!((result.for_operator, world.provider.requests().len()), (None, 3));
        world.provider.says(tokens(FIRST));
        runs(&world, "read").await;
    });
    futures_util::future::join_all(passed).await;
}

#[tokio::test]
async fn a_token_that_lives_goes_on_being_used_whatever_the_endpoint_says() {
    for bytes in [answer("503 Service Unavailable", "", ""), refusal("invalid_client")] {
        let world = supplied().await;
        world.pass(Duration::from_secs(575));
        world.provider.says(bytes);
        for _ in 0..5 {
            runs(&world, "read").await;
        }
        assert_eq!(world.provider.requests().len(), 2, "it is left alone");
        world.pass(Duration::from_secs(25));
        assert!(world.result().await.is_error, "it has ended");
    }
}

#[tokio::test]
async fn a_token_that_the_api_refuses_is_replaced_once() {
    let world = supplied().await;
    world.provider.accepts(&["second"]);
    world.provider.says(tokens(SECOND));
    runs(&world, "read").await;
    assert_eq!(world.provider.requests().len(), 2);

    world.provider.accepts(&[]);
    let result = world.result().await;
    assert!(result.for_operator.is_some_and(|hint| hint.contains("token_params")));
    assert_eq!(world.provider.requests().len(), 3);
}

#[tokio::test]
async fn two_tools_do_not_take_each_other_s_scopes_away() {
    let world = supplied().await;
    world.provider.says(tokens(SECOND));
    runs(&world, "write").await;
    assert_eq!(scope(&world.provider.requests()[1]), "notes:list notes:read notes:write");
    runs(&world, "read").await;
    assert_eq!(world.provider.requests().len(), 2);
}

#[tokio::test]
async fn a_scope_that_is_left_out_is_asked_for_again_after_a_minute() {
    let world = supplied().await;
    world.provider.says(tokens(
        r#"{"access_token":"second","expires_in":600,"scope":"notes:list notes:read"}"#,
    ));
    // The API has the last word.
    runs(&world, "write").await;
    runs(&world, "write").await;
    assert_eq!(world.provider.requests().len(), 2);
    world.pass(Duration::from_mins(1));
    runs(&world, "read").await;
    assert_eq!(world.provider.requests().len(), 2);
    runs(&world, "write").await;
    assert_eq!(world.provider.requests().len(), 3);
}

#[tokio::test]
async fn a_scope_that_is_refused_is_no_reason_to_leave_other_tools_without_a_token() {
    let world = world().await;
    world.provider.tokens(|body| {
        Act::Say(if scope(body).contains("notes:write") {
            refusal("invalid_scope")
        } else {
            tokens(FIRST)
        })
    });
    assert!(world.result_of("write").await.is_error);
    runs(&world, "read").await;
    for _ in 0..3 {
        assert!(world.result_of("write").await.is_error);
    }
    assert_eq!(world.provider.requests().len(), 3, "once for each set of scopes");
    world.pass(Duration::from_secs(599));
    assert!(world.result_of("write").await.is_error);
    world.pass(Duration::from_secs(2));
    runs(&world, "read").await;
}

#[tokio::test]
async fn a_scope_that_the_api_misses_is_the_operator_s_to_allow() {
    let world = world().await;
    world.provider.says(tokens(r#"{"access_token":"first","scope":"notes:read"}"#));
    let result = world.result_of("barred").await;
    assert!(result.is_error && result.text.contains("lacks `notes:admin`"), "{}", result.text);
    assert!(result.for_operator.is_some_and(|hint| hint.contains("[tools.barred]")));
}

#[tokio::test]
async fn a_restart_finds_the_token_unless_another_one_is_meant() {
    for (written, instead, requests) in [
        ("GET /read", "GET /read?again=1", 1),
        ("audience = \"api\"", "audience = \"other\"", 2),
        ("client_id = \"us\"", "client_id = \"them\"", 2),
        ("/token\"", "/token2\"", 2),
    ] {
        let world = supplied().await.restarted(written, instead).await;
        runs(&world, "read").await;
        assert_eq!(world.provider.requests().len(), requests, "{instead}");
    }
}

#[tokio::test]
async fn a_person_of_the_server_s_name_is_not_the_server() {
    let world = supplied().await;
    let server = Caller::local(UserId::new("server"));
    let accounts = world.app.broker.accounts().list(&server).await.unwrap();
    assert!(accounts.iter().all(|account| account.is_of_the_server));
    assert_ne!(server, Caller::server());
}

fn tools_toml(origin: &str) -> String {
    let tool = |name: &str, scope: &str| {
        format!(
            "[tools.{name}]\ndescription = \"x\"\nprovider = \"acme\"\n\
             scopes = [\"{scope}\"]\nrequest = \"GET /{name}\"\n"
        )
    };
    let tools = [("read", "notes:read"), ("write", "notes:write"), ("barred", "notes:admin")]
        .map(|(name, scope)| tool(name, scope))
        .concat();
    format!(
        r#"
        [providers.acme]
        base_url      = "{origin}"
        client_id = "us"
        client_secret = "cmd:echo s3cret"
        scopes        = ["notes:list"]
        [providers.acme.oauth]
        token_url     = "{origin}/token"
        grant         = "client_credentials"
        token_params  = {{ audience = "api" }}

        {tools}
        "#
    )
}
