//! A key or a password that a user pastes on our page: tried before it is stored, used only in its
//! own place, and never shown.

use std::time::Duration;

use countersign::model::{Outcome, PromptReason};
use reqwest::StatusCode;

use super::world::World;
use crate::support::provider::{Act, answer, json};

const KEY: &str = "k3y-of-ana_0123456789";
const BEARER: &str = "bearer = { ask = \"Make a key at acme.example/keys.\", test = \"GET /me\" }";

async fn world(credential: &str) -> World {
    World::of(|origin| {
        format!(
            "[providers.acme]\ntitle = \"Acme\"\nbase_url = \"{origin}\"\n{credential}\n\
             [tools.read]\ndescription = \"x\"\nprovider = \"acme\"\nrequest = \"GET /read\"\n"
        )
    })
    .await
}

/// Makes the API accept requests that contain this part.
fn opened_by(world: &World, part: &str) {
    let part = part.to_ascii_lowercase();
    world.provider.api(move |request| {
        let is_open = request.to_ascii_lowercase().contains(&part);
        // The API echoes the request, as debug pages do.
        let echo = serde_json::json!({ "echo": request }).to_string();
        Act::Say(if is_open { json(echo) } else { answer("401 Unauthorized", "", echo) })
    });
}

async fn is_unkept(world: &World) -> bool {
    world.accounts().await.is_empty()
}

#[tokio::test]
async fn the_page_says_what_to_paste_and_where_it_will_go() {
    let world = world(BEARER).await;
    let prompt = world.prompt().await;
    assert!(prompt.is_pasted());
    let page = world.get(&prompt.url).await;
    let host = world.origin().trim_start_matches("http://");
    for part in ["Make a key at acme.example/keys.", r#"type="password""#, "Key</label>", host] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(!page.text.contains(r#"name="user""#) && !page.text.contains("Continue to"));
    // The form without its field.
    assert_eq!(world.click(&prompt.url).await.status, StatusCode::OK);
    assert!(world.provider.calls().is_empty());
}

#[tokio::test]
async fn what_is_pasted_goes_where_the_api_expects_it() {
    let ask = "ask = \"Paste it.\", test = \"GET /me\"";
    // `ana:k3y-of-ana_0123456789` and `robot:…`
    let (ana, robot) = (
        "authorization: Basic YW5hOmszeS1vZi1hbmFfMDEyMzQ1Njc4OQ==",
        "authorization: Basic cm9ib3Q6azN5LW9mLWFuYV8wMTIzNDU2Nzg5",
    );
    for (credential, user, part) in [
        (format!("bearer = {{ {ask} }}"), None, format!("authorization: Bearer {KEY}\r\n")),
        (
            format!("api_key = {{ header = \"X-Key\", prefix = \"Key \", {ask} }}"),
            None,
            format!("x-key: Key {KEY}\r\n"),
        ),
        (format!("api_key = {{ query = \"key\", {ask} }}"), None, format!("?key={KEY} ")),
        (format!("basic = {{ {ask} }}"), Some(" ana "), ana.to_owned()),
        (format!("basic = {{ user = \"robot\", {ask} }}"), None, robot.to_owned()),
    ] {
        let world = world(&credential).await;
        opened_by(&world, &part);
        let prompt = world.prompt().await;
        let page = world.get(&prompt.url).await;
        assert_eq!(page.text.contains(r#"name="user""#), user.is_some(), "{credential}");
        let padded = format!("  {KEY}\r\n");
        let fields: Vec<_> = [Some(("secret", &*padded)), user.map(|user| ("user", user))]
            .into_iter()
            .flatten()
            .collect();
        let kept = world.paste(&prompt.url, &fields).await;
        assert_eq!(kept.status, StatusCode::SEE_OTHER, "{credential}: {}", kept.text);
        let page = world.get(kept.location()).await;
        assert!(page.text.contains("Acme is connected"), "{}", page.text);
        let result = world.result().await;
        assert!(!result.is_error && !result.text.contains(KEY), "{}", result.text);
        let calls = world.provider.calls();
        assert_eq!(calls.len(), 2);
        assert!(calls[0].starts_with("GET /me") && calls[1].starts_with("GET /read"), "{calls:?}");
    }
}

#[tokio::test]
async fn what_the_api_refuses_is_not_kept_and_not_shown() {
    let world = world(BEARER).await;
    opened_by(&world, &format!("Bearer {KEY}\r\n"));
    let prompt = world.prompt().await;
    let page = world.paste(&prompt.url, &[("secret", "wr0ng-key-0123456789")]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("Acme does not accept it.") && page.text.contains("password"));
    assert!(!page.text.contains("wr0ng") && page.text.contains(r#"role="alert""#));
    assert!(is_unkept(&world).await);
    assert_eq!(world.prompt().await.url, prompt.url);
    let kept = world.paste(&prompt.url, &[("secret", KEY)]).await;
    assert_eq!(kept.status, StatusCode::SEE_OTHER);
    assert!(!world.result().await.is_error);
}

#[tokio::test]
async fn what_could_not_be_tried_is_not_kept() {
    let faults: [fn() -> Act; 5] = [
        || Act::Say(answer("500 Internal Server Error", "", format!("no {KEY} for you"))),
        || Act::Say(answer("403 Forbidden", "", "")),
        || Act::Say(answer("302 Found", "Location: /login\r\n", "")),
        || Act::Say(answer("429 Too Many Requests", "Retry-After: 1\r\n", "")),
        || Act::SayAndClose(Vec::new()),
    ];
    for fault in faults {
        let world = world(BEARER).await;
        world.provider.api(move |_| fault());
        let page = world.paste(&world.prompt().await.url, &[("secret", KEY)]).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains("Acme could not be asked"), "{}", page.text);
        assert!(!page.text.contains(KEY), "{}", page.text);
        assert!(is_unkept(&world).await);
        world.prompt().await;
    }
}

#[tokio::test]
async fn what_is_no_key_goes_nowhere() {
    let world = world("basic = { ask = \"Paste it.\", test = \"GET /me\" }").await;
    let link = world.prompt().await.url;
    let long = "x".repeat(16 * 1024 + 1);
    for (user, secret, why) in [
        ("ana", "", "nothing was pasted"),
        ("ana", " \r\n\t ", "nothing was pasted"),
        ("ana", "two\nlines", "too long for a key, or holds"),
        ("ana", "be\u{7}ll", "too long for a key, or holds"),
        ("ana", &*long, "too long for a key, or holds"),
        ("a:na", KEY, "contains a `:`"),
        ("a\nna", KEY, "line break"),
    ] {
        let page = world.paste(&link, &[("secret", secret), ("user", user)]).await;
        assert!(page.text.to_lowercase().contains(why), "{why}: {}", page.text);
    }
    let page = world.paste(&link, &[("secret", KEY)]).await;
    assert_eq!(page.status, StatusCode::OK, "a password without its user");
    assert!(world.provider.calls().is_empty() && is_unkept(&world).await);
}

#[tokio::test]
async fn a_link_is_no_place_to_try_out_keys() {
    let world = world(BEARER).await;
    opened_by(&world, KEY);
    let link = world.prompt().await.url;
    for _ in 0..20 {
        assert_eq!(world.paste(&link, &[("secret", "guess")]).await.status, StatusCode::OK);
    }
    let tried = world.provider.calls().len();
    let page = world.paste(&link, &[("secret", KEY)]).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.provider.calls().len(), tried);
    assert!(is_unkept(&world).await);
    assert_ne!(world.prompt().await.url, link, "a new link mends it");
}

/// Two tools share a link: a key pasted on the page that names one of them is not for both.
#[tokio::test]
async fn what_is_pasted_on_a_page_that_has_changed_goes_nowhere() {
    let world = world(BEARER).await;
    opened_by(&world, KEY);
    let link = world.prompt().await.url;
    for shown in ["", "another"] {
        let fields = [("answer", "continue"), ("shown", shown), ("secret", KEY)];
        let page = world.post(&link, &fields).await;
        assert!(page.text.contains("has changed"), "{}", page.text);
        assert!(!page.text.contains(KEY));
    }
    assert!(world.provider.calls().is_empty() && is_unkept(&world).await);
}

#[tokio::test]
async fn a_key_that_is_refused_later_is_asked_for_again() {
    let world = world(BEARER).await;
    opened_by(&world, KEY);
    world.paste(&world.prompt().await.url, &[("secret", KEY)]).await;
    opened_by(&world, "k3y-two");
    assert!(world.result().await.is_error, "refused right after it was tried");
    world.pass(Duration::from_mins(3));
    let prompt = world.prompt().await;
    assert_eq!(prompt.reason, PromptReason::Ended);
    let kept = world.paste(&prompt.url, &[("secret", "k3y-two")]).await;
    assert_eq!(kept.status, StatusCode::SEE_OTHER);
    assert!(!world.result().await.is_error);
}

#[tokio::test]
async fn a_key_is_for_the_hosts_that_its_page_named() {
    let world = world(BEARER).await;
    opened_by(&world, KEY);
    world.paste(&world.prompt().await.url, &[("secret", KEY)]).await;
    let host = world.origin().trim_start_matches("http://").to_owned();
    let more = format!("hosts = [\"{host}\", \"evil.example\"]\nbearer");
    let world = world.restarted("bearer", &more).await;
    let calls = world.provider.calls().len();
    let prompt = world.prompt().await;
    assert_eq!(prompt.reason, PromptReason::NotConnected);
    assert_eq!(world.provider.calls().len(), calls);
    assert!(world.get(&prompt.url).await.text.contains("evil.example"), "it is said");
}

/// As a password, the key would need a user that was never entered, so no call is possible.
#[tokio::test]
async fn a_key_that_is_meant_otherwise_now_is_not_sent() {
    let world = world(BEARER).await;
    opened_by(&world, KEY);
    world.paste(&world.prompt().await.url, &[("secret", KEY)]).await;
    let basic = "basic = { ask = \"x\", test = \"GET /me\" }\n#";
    let world = world.restarted("bearer", basic).await;
    let calls = world.provider.calls().len();
    match world.call().await {
        Outcome::Failed(_) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(world.provider.calls().len(), calls);
}

#[tokio::test]
async fn a_pasted_key_is_forgotten_by_the_button_on_its_page() {
    let world = world(BEARER).await;
    opened_by(&world, KEY);
    let link = world.prompt().await.url;
    world.paste(&link, &[("secret", KEY)]).await;
    assert_eq!(world.press(&link, "disconnect").await.status, StatusCode::SEE_OTHER);
    let page = world.get(&link).await;
    assert!(page.text.contains("It still works at Acme; delete it there too."), "{}", page.text);
    assert!(is_unkept(&world).await);
    world.prompt().await;
}
