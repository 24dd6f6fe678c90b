//! Several accounts of one person at the same provider.

use countersign::model::Outcome;

use super::identity::{me, tools_toml};
use super::world::{World, ana, tokens};
use crate::shown::Shown;

/// A world in which `work` and the default account are connected.
async fn world() -> World {
    let world = World::of(tools_toml).await;
    me(&world);
    connect(&world, None, "ana").await;
    connect(&world, Some("work"), "bob").await;
    world
}

/// Connects an account whose access token names its owner.
async fn connect(world: &World, account: Option<&str>, whose: &str) {
    world.provider.says(tokens(&format!(r#"{{"access_token":"{whose}"}}"#)));
    let link = world.prompt_as(account).await.url;
    let back = world.consent_by(&link).await;
    assert_eq!(back.location(), link, "{}", world.get(&link).await.text);
}

/// Returns the owner of the credential that a call was made with.
async fn whose(world: &World, account: Option<&str>) -> String {
    match world.call_as(account).await {
        Outcome::Complete(_) => {
            let call = world.provider.calls().pop().unwrap().to_ascii_lowercase();
            let token = call.split_once("bearer ").unwrap().1;
            token.split_once('\r').unwrap().0.to_owned()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_is_made_with_the_account_that_it_names() {
    let world = world().await;
    for (account, token) in [
        (None, "ana"),
        (Some("default"), "ana"),
        (Some(""), "ana"),
        (Some("work"), "bob"),
        (Some(" work "), "bob"),
        // Accounts by the provider's label.
        (Some("Bob@example.com"), "bob"),
        (Some("ana@example.com"), "ana"),
    ] {
        assert_eq!(whose(&world, account).await, token, "{account:?}");
    }
    let accounts = world.accounts().await;
    let said: Vec<_> =
        accounts.iter().map(|it| (it.account.as_str(), it.label.as_deref().unwrap())).collect();
    assert_eq!(said, [("default", "ana@example.com"), ("work", "bob@example.com")]);
}

#[tokio::test]
async fn an_account_that_is_not_there_is_asked_for_and_those_that_are_are_named() {
    let world = world().await;
    let prompt = world.prompt_as(Some("home")).await;
    assert_eq!(prompt.account.as_str(), "home");
    assert_eq!(prompt.connected, ["default (“ana@example.com”)", "work (“bob@example.com”)"]);
    let page = world.get(&prompt.url).await;
    assert!(page.text.contains("as the account <strong><bdi>home</bdi></strong>"), "{}", page.text);
    connect(&world, Some("home"), "eve").await;
    for (account, token) in [(Some("home"), "eve"), (None, "ana"), (Some("work"), "bob")] {
        assert_eq!(whose(&world, account).await, token);
    }
}

/// Returns the error that a call gets instead of a link.
async fn told(world: &World, account: Option<&str>) -> String {
    match world.call_as(account).await {
        Outcome::Failed(failure) => Shown::from(failure).text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_mistyped_account_is_answered_with_the_nearest_and_no_link() {
    let world = world().await;
    for (typed, meant) in [
        ("wrok", "`work`"),
        ("Work2", "`work`"),
        ("bob@exmple.com", "`work`"),
        ("defualt", "`default`"),
        ("ana@example.co", "`default`"),
    ] {
        let text = told(&world, Some(typed)).await;
        assert!(text.contains(&format!("Did you mean {meant}?")), "{typed}: {text}");
        assert!(text.contains("default (“ana@example.com”), work (“bob@example.com”)"), "{text}");
        assert!(!text.contains("/connect/"), "{text}");
    }
}

/// An account that the user starts by hand is not treated as a typing mistake.
#[tokio::test]
async fn a_near_name_can_be_connected_by_hand() {
    let world = world().await;
    let provider = world.app.broker.provider("acme").unwrap();
    let account = countersign::model::AccountName::new("work2");
    let principal = countersign::model::Principal::local(ana());
    let scopes = countersign::model::Scopes::new(["notes:read"]);
    let begun = world
        .app
        .broker
        .consents()
        .begin(
            &principal,
            &provider,
            &account,
            &scopes,
            countersign::model::requester::AskedBy::default(),
        )
        .await
        .unwrap();
    assert_eq!(world.prompt_as(Some("work2")).await.url, begun.url);
    world.provider.says(tokens(r#"{"access_token":"eve"}"#));
    world.consent_by(&begun.url).await;
    assert_eq!(whose(&world, Some("work2")).await, "eve");
}

#[tokio::test]
async fn a_call_without_an_account_uses_the_only_one() {
    let world = World::of(tools_toml).await;
    me(&world);
    connect(&world, Some("work"), "bob").await;
    assert_eq!(whose(&world, None).await, "bob");
    connect(&world, Some("home"), "eve").await;
    let text = told(&world, None).await;
    assert!(text.contains("home (“eve@example.com”), work (“bob@example.com”)"), "{text}");
    assert!(text.contains("as `account`"), "{text}");
    // A call without a name means the default account.
    world.provider.says(tokens(r#"{"access_token":"ana"}"#));
    let link = world.prompt_as(Some("default")).await.url;
    world.consent_by(&link).await;
    assert_eq!(whose(&world, None).await, "ana");
}

#[tokio::test]
async fn what_is_no_name_is_an_answer_and_not_a_link() {
    let world = world().await;
    let long = "x".repeat(101);
    for name in ["two\nlines", "wo\u{200b}rk", "wo\u{202e}rk", &*long] {
        match world.call_as(Some(name)).await {
            Outcome::Failed(failure) => {
                let text = Shown::from(failure).text;
                assert!(text.contains("name"), "{text}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn one_account_is_revoked_and_the_others_stay() {
    let world = world().await;
    let broker = &world.app.broker;
    let nobody = countersign::model::AccountName::new("nobody");
    assert_eq!(broker.accounts().revoke(&ana(), "acme", Some(&nobody)).await.unwrap(), []);
    for (name, left) in [("bob@example.com", 1), ("default", 0)] {
        let name = countersign::model::AccountName::new(name);
        let ends = broker.accounts().revoke(&ana(), "acme", Some(&name)).await.unwrap();
        assert_eq!(ends.len(), 1);
        assert_eq!(world.accounts().await.len(), left);
    }
    connect(&world, None, "ana").await;
    connect(&world, Some("work"), "bob").await;
    assert_eq!(broker.accounts().revoke(&ana(), "acme", None).await.unwrap().len(), 2);
}
