//! Every page state once: each identifies itself, and has a title of its own. [`crate::support::pages`]
//! checks the rules for all pages whenever the browser gets one.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::broker::Call;
use countersign::model::{Outcome, Principal, Question};

use super::identity::{me, tools_toml};
use super::world::{World, ana, tokens};
use crate::snapshot::hold_page;
use crate::support::browser::{Browser, Page};
use crate::support::pages;
use crate::support::provider::{Act, answer, json};

/// Pages of one kind, each of which is also a snapshot.
struct Gallery {
    kind: &'static str,
    /// States seen so far, by page title.
    states: BTreeMap<String, &'static str>,
}

impl Gallery {
    fn of(kind: &'static str) -> Self {
        Self { kind, states: BTreeMap::new() }
    }

    /// Adds a page of a state that must be new.
    fn hang(&mut self, state: &'static str, page: &Page) {
        hold_page(&format!("pages/{}/{state}", self.kind), page);
        let title = pages::title(&page.text).to_owned();
        assert!(!title.is_empty(), "{state}: {} {}", page.status, page.text);
        let other = self.states.insert(title.clone(), state);
        assert_eq!(other, None, "`{state}` has the title of another state: {title}");
    }
}

/// The sign at the top of a page.
fn mark(page: &Page) -> &str {
    let sign = page.text.split("class=\"mark\" aria-hidden=\"true\">").nth(1).expect("a mark");
    sign.split('<').next().unwrap()
}

impl World {
    async fn link_for(&self, tool: &str) -> String {
        match self.call_tool(tool, Some("Some client")).await {
            Outcome::AuthorizationRequired(prompt) => prompt.url,
            other => panic!("{other:?}"),
        }
    }

    /// Consents to what a tool needs, as `who` at the provider; returns the link and the final
    /// page.
    async fn ends(&self, tool: &str, who: &str, scopes: &str) -> (String, Page) {
        let said = format!(
            r#"{{"access_token":"{who}","refresh_token":"r","expires_in":3600,"scope":"{scopes}"}}"#
        );
        self.provider.says(tokens(&said));
        let link = self.link_for(tool).await;
        self.consent_by(&link).await;
        let page = self.get(&link).await;
        (link, page)
    }
}

async fn world() -> World {
    let world = World::of(tools_toml).await;
    me(&world);
    world
}

#[tokio::test]
async fn every_state_of_a_link_has_a_page_and_a_title_of_its_own() {
    let mut gallery = Gallery::of("link");
    let world = world().await;
    let link = world.link_for("read").await;
    let page = world.get(&link).await;
    gallery.hang("connect", &page);
    world.link_for("write").await;
    gallery.hang("changed", &world.click_on(&page, &link).await);
    world.press(&link, "decline").await;
    let declined = world.get(&link).await;
    gallery.hang("declined", &declined);

    // In a new world, because a user who declines is not asked repeatedly.
    let world = self::world().await;
    let (_, page) = world.ends("write", "ana", "notes:read").await;
    gallery.hang("partly granted", &page);
    let partly = mark(&page).to_owned();
    let (_, page) = world.ends("write", "ana", "notes:read notes:write").await;
    gallery.hang("connected", &page);
    // Each state has its own sign.
    let signs = [mark(&declined), &partly, mark(&page)];
    assert!(signs[0] != signs[1] && signs[1] != signs[2] && signs[0] != signs[2], "{signs:?}");

    world.provider.tokens(|_| Act::Say(answer("200 OK", "", "")));
    world.app.broker.accounts().revoke(&ana(), "acme", None).await.unwrap();
    world.ends("read", "ana", "notes:read").await;
    let (link, page) = world.ends("write", "bob", "notes:read notes:write").await;
    gallery.hang("another account", &page);
    world.provider.tokens(|_| Act::Say(answer("200 OK", "", "")));
    world.press(&link, "keep").await;
    gallery.hang("kept the one before", &world.get(&link).await);

    let (link, _) = world.ends("write", "bob", "notes:read notes:write").await;
    world.press(&link, "confirm").await;
    gallery.hang("switched", &world.get(&link).await);
    world.provider.tokens(|_| Act::Say(answer("200 OK", "", "")));
    world.press(&link, "disconnect").await;
    let page = world.get(&link).await;
    gallery.hang("disconnected", &page);
    assert_eq!(mark(&page), mark(&declined), "neither is connected");
    let link = world.link_for("read").await;
    world.pass(Duration::from_mins(16));
    gallery.hang("over", &world.get(&link).await);
}

#[tokio::test]
async fn every_state_of_a_call_to_confirm_has_a_title_of_its_own() {
    let mut gallery = Gallery::of("confirmation");
    let world = World::with_payments().await;
    world.provider.api(|_| Act::Say(json("{}")));
    let hidden = "Ben \u{202e}\u{200b}<b>& Eve</b>";
    let arguments = serde_json::json!({ "sum": 5, "to": hidden, "note": "For lunch.\nThanks!" });
    let call = async || {
        let arguments = arguments.as_object().cloned();
        let principal = &Principal::local(ana());
        let client = Some("Some client".to_owned());
        let call = Call { arguments, client, ..Call::new(principal, "pay") };
        world.app.broker.call(call).await.unwrap()
    };
    let asked = async || match call().await {
        Outcome::InputRequired(required) => match required.question {
            Question::Confirmation(prompt) => prompt.url,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let link = asked().await;
    gallery.hang("asked", &world.get(&link).await);
    gallery.hang("changed", &world.post(&link, &[("answer", "run"), ("shown", "x")]).await);
    world.press(&link, "run").await;
    gallery.hang("confirmed", &world.get(&link).await);
    assert!(matches!(call().await, Outcome::Complete(_)));
    gallery.hang("called", &world.get(&link).await);
    let link = asked().await;
    world.press(&link, "decline").await;
    gallery.hang("declined", &world.get(&link).await);
    call().await;
    let link = asked().await;
    world.pass(Duration::from_mins(16));
    gallery.hang("over", &world.get(&link).await);
}

#[tokio::test]
async fn every_way_to_fail_has_a_page_and_a_title_of_its_own() {
    let mut gallery = Gallery::of("failures");
    let world = world().await;
    let link = world.link_for("read").await;
    let origin = &link[..link.find("/connect/").unwrap()];
    let back = format!("{origin}/oauth/callback/acme");

    gallery.hang("no such page", &world.get(&format!("{origin}/nothing")).await);
    gallery.hang("no such method", &world.post(&back, &[]).await);
    gallery.hang("no state", &world.get(&back).await);
    let departure = world.click(&link).await;
    let state = departure.parameter("state");
    let stranger = Browser::new();
    let forwarded = format!("{back}?code=c0de&state={state}");
    gallery.hang("another browser", &stranger.get(&forwarded).await);
    gallery.hang("used up", &stranger.get(&forwarded).await);
    gallery.hang("another page's form", &stranger.post_bare(&link, &[("answer", "x")]).await);

    world.provider.tokens(|_| Act::Say(answer("500 Internal Server Error", "", "")));
    let departure = world.click(&link).await;
    // The link's page reports the failure, at an address without code and state.
    assert_eq!(world.come_back(&departure, "code=c0de").await.location(), link);
    let failed = world.get(&link).await;
    assert!(failed.text.contains("Try again") && failed.text.contains("incident"));
    gallery.hang("no token", &failed);
    let departure = world.click(&link).await;
    let elsewhere =
        format!("{origin}/oauth/callback/other?code=c&state={}", departure.parameter("state"));
    gallery.hang("another provider", &world.get(&elsewhere).await);
    for _ in 0..20 {
        world.click(&link).await;
    }
    gallery.hang("too often", &world.click(&link).await);
}

#[tokio::test]
async fn every_state_of_a_paste_has_a_title_of_its_own() {
    let mut gallery = Gallery::of("paste");
    let world = World::of(|origin| {
        format!(
            "[providers.vault]\ntitle = \"Vault\"\nbase_url = \"{origin}\"\n\
             basic = {{ ask = \"Make a password at vault.example.\", test = \"GET /me\" }}\n\
             [tools.read]\ndescription = \"x\"\nprovider = \"vault\"\nrequest = \"GET /read\"\n"
        )
    })
    .await;
    let link = world.link_for("read").await;
    let page = world.get(&link).await;
    gallery.hang("paste", &page);
    let allows = "everything that this password allows, at <code>127.0.0.1";
    assert!(page.text.contains(allows), "{}", page.text);
    let wrong = [("user", "ana"), ("secret", "wrong-password")];
    gallery.hang("wrong", &world.paste(&link, &wrong).await);
}

#[tokio::test]
async fn every_state_of_the_accounts_has_a_page_and_those_that_ask_titles() {
    let mut gallery = Gallery::of("accounts");
    let world = world().await;
    let address = world.connections(ana());
    assert!(world.get(&address).await.text.contains("Nothing is connected yet"));
    world.ends("read", "ana", "notes:read").await;
    let list = world.get(&address).await;
    assert!(list.text.contains("Connect another acme account"), "{}", list.text);
    gallery.hang("accounts", &list);
    gallery.hang("changed", &world.post(&address, &[("answer", "end")]).await);
    let asked = world.press_on(&list, &address, "disconnect").await;
    gallery.hang("asked once more", &asked);
    world.provider.tokens(|_| Act::Say(answer("200 OK", "", "")));
    gallery.hang("disconnected", &world.press_on(&asked, &address, "end").await);
    world.ends("read", "ana", "notes:read").await;
    world.provider.tokens(|_| Act::Say(answer("500 Internal Server Error", "", "")));
    let list = world.get(&address).await;
    gallery.hang("not confirmed", &world.press_on(&list, &address, "end").await);
}
