//! A known end of access is announced in advance; an end that has come is explained.

use std::time::Duration;

use countersign::model::Outcome;

use super::refresh_tokens::built_in;
use super::world::{World, ana, tokens, tools_toml};
use crate::support::browser::Page;
use crate::support::provider::{Act, answer};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// A `tools.toml` with this line in the provider's OAuth table, and these scopes of the provider.
fn with(origin: &str, line: &str, scopes: &str) -> String {
    tools_toml(origin)
        .replace("loopback ", &format!("{line}\n        loopback "))
        .replace("client_id = \"us\"", &format!("client_id = \"us\"\nscopes = {scopes}"))
}

/// Returns the page that reports the outcome of a consent.
async fn result_page(world: &World) -> Page {
    let link = world.prompt().await.url;
    world.consent_by(&link).await;
    world.get(&link).await
}

async fn connections(world: &World) -> String {
    let address = world.connections(ana());
    world.get(&address).await.text
}

fn text_of(page: &str) -> String {
    page.replace("<code>", "`").replace("</code>", "`").replace("&#34;", "\"").replace("&#39;", "'")
}

#[tokio::test]
async fn offline_access_is_asked_for_with_a_consent_that_is_shown() {
    for (line, scopes, prompt) in [
        ("", "[\"offline_access\"]", Some("consent")),
        ("", "[\"profile\"]", None),
        ("params = { prompt = \"login\" }", "[\"offline_access\"]", Some("login")),
        ("offline_prompt = false", "[\"offline_access\"]", None),
    ] {
        let world = World::of(|origin| with(origin, line, scopes)).await;
        let departure = world.click(&world.prompt().await.url).await;
        let url = url::Url::parse(departure.location()).unwrap();
        let prompts: Vec<_> = url
            .query_pairs()
            .filter(|(name, _)| name == "prompt")
            .map(|(_, value)| value.into_owned())
            .collect();
        assert_eq!(prompts, prompt.into_iter().collect::<Vec<_>>(), "{line} {scopes}");
    }
}

#[tokio::test]
async fn a_consent_without_a_refresh_token_says_when_it_ends_and_what_may_help() {
    let said = r#"{"access_token":"first","expires_in":600,"scope":"notes:read"}"#;
    for (scopes, advice) in [
        ("[]", "Most issuers give one with the scope `offline_access`."),
        ("[\"offline_access\"]", "The scope `offline_access` was asked for and not granted."),
    ] {
        let world = World::of(|origin| with(origin, "", scopes)).await;
        world.provider.accepts(&["first"]);
        world.provider.says(tokens(said));
        let page = text_of(&result_page(&world).await.text);
        let words = "Acme gave no refresh token; access ends 08:10 UTC.";
        assert!(page.contains(words) && page.contains(advice), "{page}");
        let is_named = page.contains("Not granted: offline_access");
        assert_eq!(is_named, scopes != "[]", "{page}");
        assert!(!world.result().await.is_error, "it is no right that a tool lacks");
        let list = text_of(&connections(&world).await);
        assert!(list.contains(words), "{list}");
        world.pass(Duration::from_secs(601));
        let prompt = world.prompt().await;
        assert_eq!(prompt.ended.as_deref(), Some("expired 08:10 UTC; Acme gave no refresh token"));
        assert!(
            connections(&world).await.contains("Expired 08:10 UTC; Acme gave no refresh token.")
        );
    }
}

/// Many servers do not list `offline_access` among the granted scopes.
#[tokio::test]
async fn a_refresh_token_shows_that_offline_access_was_granted() {
    let world = World::of(|origin| with(origin, "", "[\"offline_access\"]")).await;
    world.provider.says(tokens(
        r#"{"access_token":"first","refresh_token":"r","expires_in":600,"scope":"notes:read"}"#,
    ));
    let page = result_page(&world).await.text;
    assert!(!page.contains("Not granted") && !page.contains("refresh token"), "{page}");
}

#[tokio::test]
async fn a_scope_that_no_tool_needs_is_named_where_it_was_not_granted() {
    let world = World::of(|origin| with(origin, "", "[\"profile\", \"email\"]")).await;
    world.provider.accepts(&["first"]);
    world.provider.says(tokens(r#"{"access_token":"first","scope":"notes:read email"}"#));
    let page = result_page(&world).await.text;
    assert!(
        page.contains("Acme is connected<") && page.contains("Not granted: profile."),
        "{page}"
    );
    assert!(!world.result().await.is_error);
}

/// A provider with rules that end access: its token response, and for how long it renews.
struct Rules {
    tools: fn(&str) -> String,
    /// Additional fields of the token response.
    fields: &'static str,
    /// Days after the consent at which the provider stops renewing.
    days: u32,
    /// Texts that the user must see before the end, and after it.
    told: [&'static str; 2],
}

/// Thirty days, a call every six hours. The reason for each new consent is named beforehand, on the
/// consent's page and a day ahead on the accounts page, and afterwards by the call.
#[tokio::test]
async fn in_thirty_days_no_consent_is_asked_for_without_its_reason() {
    let google: fn(&str) -> String = |origin| built_in(origin, "google");
    let own: fn(&str) -> String = |origin| {
        with(
            origin,
            r#"refresh_life = { days = 10, from = "consent", remedy = "ask Acme for a longer life" }"#,
            "[]",
        )
    };
    for rules in [
        Rules {
            tools: google,
            fields: "",
            days: 7,
            told: [
                "If your Google app is in status \"Testing\"",
                "if your Google app is in status \"Testing\"; to keep it longer, publish the app",
            ],
        },
        Rules {
            tools: google,
            fields: r#","refresh_token_expires_in":604799"#,
            days: 7,
            told: [
                "your Google app is in status \"Testing\"",
                "to keep it longer, publish the app",
            ],
        },
        Rules {
            tools: tools_toml,
            fields: r#","refresh_token_expires_in":864000"#,
            days: 10,
            told: ["Acme gave a refresh token that ends", "Acme's refresh token lasted until then"],
        },
        Rules {
            tools: own,
            fields: "",
            days: 10,
            told: ["10 days after your consent", "ask Acme for a longer life"],
        },
    ] {
        thirty_days(&rules).await;
    }
}

async fn thirty_days(rules: &Rules) {
    let world = World::of(rules.tools).await;
    world.provider.accepts(&["first"]);
    let fields = rules.fields;
    let (mut asked, mut age, mut warned) = (0, None::<Duration>, false);
    for _ in 0..30 * 4 {
        let is_over = age.is_some_and(|age| age >= DAY * rules.days);
        world.provider.tokens(move |body| {
            if !body.contains("grant_type=refresh_token") {
                return Act::Say(tokens(&format!(
                    r#"{{"access_token":"first","refresh_token":"r","expires_in":3600{fields}}}"#
                )));
            }
            Act::Say(if is_over {
                answer("400 Bad Request", "", r#"{"error":"invalid_grant"}"#)
            } else {
                // Like Google: no new refresh token, and no lifetime for the old one.
                tokens(r#"{"access_token":"first","expires_in":3600}"#)
            })
        });
        match world.call().await {
            Outcome::Complete(_) => {}
            Outcome::AuthorizationRequired(prompt) => {
                if age.is_some() {
                    assert!(warned, "{}: not told a day ahead", rules.told[0]);
                    let why = prompt.ended.expect("a reason");
                    assert!(why.contains(rules.told[1]), "{why}");
                    let list = text_of(&connections(&world).await);
                    assert!(list.contains(rules.told[1]), "{list}");
                }
                world.consent_by(&prompt.url).await;
                let page = text_of(&world.get(&prompt.url).await.text);
                assert!(page.contains(rules.told[0]), "{page}");
                (asked, age, warned) = (asked + 1, Some(Duration::ZERO), false);
            }
            other => panic!("{other:?}"),
        }
        let list = connections(&world).await;
        let is_warning = list.contains("class=\"problem\" role=\"status\"");
        warned |= is_warning;
        let left = (DAY * rules.days).saturating_sub(age.unwrap());
        assert_eq!(is_warning, left <= DAY && left > Duration::ZERO, "{left:?} before the end");
        world.pass(6 * HOUR);
        age = age.map(|age| age + 6 * HOUR);
    }
    assert_eq!(asked, 30u32.div_ceil(rules.days), "a consent for each life and no more");
}

/// Google's rule is for apps in "Testing" only.
#[tokio::test]
async fn a_rule_that_did_not_hold_is_not_told_any_more() {
    let world = World::of(|origin| built_in(origin, "google")).await;
    world.provider.accepts(&["first"]);
    world
        .provider
        .says(tokens(r#"{"access_token":"first","refresh_token":"r","expires_in":3600}"#));
    world.consent().await;
    assert!(world.accounts().await[0].ends.is_some());
    world.pass(DAY * 8);
    assert!(!world.result().await.is_error);
    assert_eq!(world.accounts().await[0].ends, None);
    world.pass(DAY * 8);
    world.provider.says(answer("400 Bad Request", "", r#"{"error":"invalid_grant"}"#));
    let why = world.prompt().await.ended.unwrap();
    assert!(why.contains("invalid_grant") && !why.contains("Testing"), "{why}");
}
