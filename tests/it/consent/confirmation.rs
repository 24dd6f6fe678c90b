//! Consents that an application answers for: nothing is exchanged before it has said who was there.

use std::time::Duration;

use countersign::broker::callback::{Callback, CallbackError};
use countersign::broker::confirmation::ConfirmationError;
use countersign::broker::secret::Pasted;
use countersign::broker::{Call, ConnectError, Stranger, Visitor};
use countersign::model::principal::{NoOpener, Opener, Verifier};
use countersign::model::{Caller, ConnectPrompt, Outcome, Principal, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::world::{World, tokens, tools_toml};

const PUBLIC: &str = "https://tools.example.com";
const VERIFIER: &str = "https://app.example.com/verify?from=countersign";

fn user(name: &str) -> Principal {
    let opener = Ok(Opener::Application(Verifier {
        key: "my-app".into(),
        url: Url::parse(VERIFIER).unwrap(),
    }));
    let caller = Caller { namespace: "key:my-app".into(), user: UserId::new(name) };
    Principal { caller, groups: std::collections::BTreeSet::new(), opener }
}

async fn world() -> World {
    World::at(Some(PUBLIC), tools_toml).await
}

/// A browser in which nobody has signed in.
fn in_browser(name: &str) -> Visitor {
    Visitor::Public { caller: None, browser: Some(name.into()) }
}

fn signed_in_as(caller: Caller) -> Visitor {
    Visitor::Public { caller: Some(caller), browser: None }
}

impl World {
    async fn call_by(&self, principal: &Principal) -> Outcome {
        let call = Call { principal, tool: "read", arguments: None, client: None };
        self.app.broker.call(call).await.expect("the tool exists")
    }

    async fn prompt_of(&self, principal: &Principal) -> ConnectPrompt {
        match self.call_by(principal).await {
            Outcome::AuthorizationRequired(prompt) => prompt,
            other => panic!("{other:?}"),
        }
    }

    /// Any browser takes the link to the provider and comes back: where it goes then.
    async fn bring_back(&self, prompt: &ConnectPrompt) -> Url {
        let broker = &self.app.broker;
        let ticket = prompt.url.rsplit('/').next().unwrap();
        let visitor = in_browser("one");
        let page = broker.invitation(ticket, &visitor).await.unwrap();
        let departure = broker.depart(ticket, &visitor, &page.digest).await.unwrap();
        let state = departure.to.query_pairs().find(|(name, _)| name == "state").unwrap().1;
        let cookie = departure.cookie.value.expose_secret().to_owned();
        let callback = Callback {
            provider: "acme",
            query: &format!("code=c0de&state={state}"),
            cookie: &|_| Some(cookie.clone()),
            visitor: &visitor,
        };
        Url::parse(&broker.arrive(callback).await.unwrap().next).unwrap()
    }

    async fn confirm(
        &self,
        key: &str,
        flow: &SecretString,
        user: &str,
    ) -> Result<String, ConfirmationError> {
        let confirmed = self.app.broker.confirm_user(key, flow, &UserId::new(user)).await?;
        Ok(confirmed.next)
    }
}

/// The one parameter that the verifier page is given, beside its own.
fn flow(page: &Url) -> SecretString {
    assert!(page.as_str().starts_with(VERIFIER), "{page}");
    let mut added = page.query_pairs().filter(|(name, _)| name != "from");
    let (name, value) = added.next().unwrap();
    assert_eq!((name.as_ref(), added.next()), ("flow_id", None));
    value.into_owned().into()
}

#[tokio::test]
async fn the_code_is_exchanged_when_the_application_says_that_it_was_her() {
    let world = world().await;
    let prompt = world.prompt_of(&user("ana")).await;
    assert!(prompt.url.starts_with(PUBLIC));
    let page = world.bring_back(&prompt).await;
    assert!(world.provider.requests().is_empty(), "exchanged before anybody said who it was");
    world.provider.says(tokens(r#"{"access_token":"at-1","token_type":"Bearer"}"#));
    world.provider.accepts(&["at-1"]);
    let next = world.confirm("my-app", &flow(&page), "ana").await.unwrap();
    assert_eq!(next, prompt.url);
    assert!(matches!(world.call_by(&user("ana")).await, Outcome::Complete(_)));
    assert!(matches!(world.call_by(&user("bob")).await, Outcome::AuthorizationRequired(_)));
}

#[tokio::test]
async fn a_link_that_somebody_else_has_opened_attaches_nothing_and_is_over() {
    let world = world().await;
    let mallory = world.prompt_of(&user("mallory")).await;
    let nonce = flow(&world.bring_back(&mallory).await);
    let refused = world.confirm("my-app", &nonce, "bob").await;
    assert!(matches!(refused, Err(ConfirmationError::UserMismatch)));
    // Not with the right name afterwards, either.
    let again = world.confirm("my-app", &nonce, "mallory").await;
    assert!(matches!(again, Err(ConfirmationError::Unknown)));
    assert!(world.provider.requests().is_empty());
    assert!(matches!(world.call_by(&user("mallory")).await, Outcome::AuthorizationRequired(_)));
}

#[tokio::test]
async fn the_nonce_is_neither_known_before_nor_good_twice_nor_for_long() {
    let world = world().await;
    world.provider.says(tokens(r#"{"access_token":"at-1","token_type":"Bearer"}"#));
    let prompt = world.prompt_of(&user("ana")).await;
    let nonce = flow(&world.bring_back(&prompt).await);
    let ticket = prompt.url.rsplit('/').next().unwrap();
    for guess in [ticket, &prompt.authorization.id, "", &"A".repeat(43)] {
        let guessed = world.confirm("my-app", &guess.to_owned().into(), "ana").await;
        assert!(matches!(guessed, Err(ConfirmationError::Unknown)), "{guess}");
    }
    // Another application's key does not even spoil it.
    let other = world.confirm("other-app", &nonce, "ana").await;
    assert!(matches!(other, Err(ConfirmationError::Unknown)));
    world.confirm("my-app", &nonce, "ana").await.unwrap();
    let twice = world.confirm("my-app", &nonce, "ana").await;
    assert!(matches!(twice, Err(ConfirmationError::Unknown)));
    assert_eq!(world.provider.requests().len(), 1);

    let late = world.prompt_of(&user("bob")).await;
    let nonce = flow(&world.bring_back(&late).await);
    world.pass(Duration::from_mins(5));
    let late = world.confirm("my-app", &nonce, "bob").await;
    assert!(matches!(late, Err(ConfirmationError::Unknown)));
    assert_eq!(world.provider.requests().len(), 1);
}

#[tokio::test]
async fn what_came_of_a_link_is_for_the_browser_that_was_hers() {
    let world = world().await;
    world.provider.says(tokens(r#"{"access_token":"at-1","token_type":"Bearer"}"#));
    world.provider.accepts(&["at-1"]);
    let prompt = world.prompt_of(&user("ana")).await;
    let ticket = prompt.url.rsplit('/').next().unwrap();
    let page = world.bring_back(&prompt).await;
    world.confirm("my-app", &flow(&page), "ana").await.unwrap();
    let (broker, own) = (&world.app.broker, in_browser("one"));
    let digest = broker.invitation(ticket, &own).await.unwrap().digest;
    let none = Visitor::Public { caller: None, browser: None };
    for other in [in_browser("other"), none] {
        let seen = broker.invitation(ticket, &other).await.map(drop);
        for refused in [seen, broker.undo(ticket, &other, &digest).await] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, ConnectError::Stranger(Stranger::OtherBrowser)));
        }
    }
    assert!(matches!(world.call_by(&user("ana")).await, Outcome::Complete(_)));
    broker.undo(ticket, &own, &digest).await.unwrap();
    assert!(matches!(world.call_by(&user("ana")).await, Outcome::AuthorizationRequired(_)));
}

#[tokio::test]
async fn a_no_after_the_consent_outweighs_it_and_one_before_does_not() {
    let world = world().await;
    world.provider.says(tokens(r#"{"access_token":"at-1","token_type":"Bearer"}"#));
    let (broker, visitor) = (&world.app.broker, in_browser("one"));
    let prompt = world.prompt_of(&user("ana")).await;
    let ticket = prompt.url.rsplit('/').next().unwrap();
    let nonce = flow(&world.bring_back(&prompt).await);
    world.pass(Duration::from_secs(1));
    broker.decline(ticket, &visitor).await.unwrap();
    // A new link instead of the one that was refused does not make it forgotten.
    let prompt = world.prompt_of(&user("ana")).await;
    let refused = world.confirm("my-app", &nonce, "ana").await;
    assert!(matches!(refused, Err(ConfirmationError::Declined)));
    assert!(world.provider.requests().is_empty());
    // She thinks better of it.
    world.pass(Duration::from_secs(1));
    let nonce = flow(&world.bring_back(&prompt).await);
    world.confirm("my-app", &nonce, "ana").await.unwrap();
    assert_eq!(world.provider.requests().len(), 1);
}

#[tokio::test]
async fn of_two_confirmations_at_once_one_counts() {
    let world = world().await;
    world.provider.says(tokens(r#"{"access_token":"at-1","token_type":"Bearer"}"#));
    let prompt = world.prompt_of(&user("ana")).await;
    let nonce = flow(&world.bring_back(&prompt).await);
    let (one, two) = tokio::join!(
        world.confirm("my-app", &nonce, "ana"),
        world.confirm("my-app", &nonce, "ana")
    );
    assert!(one.is_ok() != two.is_ok());
    assert_eq!(world.provider.requests().len(), 1);
}

#[tokio::test]
async fn a_pasted_key_waits_for_the_application_too() {
    let world = World::at(Some(PUBLIC), |origin| {
        let host = origin.trim_start_matches("http://");
        format!(
            r#"
            [providers.acme]
            base_url = "{origin}"
            hosts    = ["{host}"]
            bearer   = {{ ask = "Your key.", test = "GET /me" }}
            [tools.read]
            description = "Reads."
            provider    = "acme"
            request     = "GET /notes"
            "#
        )
    })
    .await;
    world.provider.accepts(&["k3y-0123456789"]);
    let prompt = world.prompt_of(&user("mallory")).await;
    let ticket = prompt.url.rsplit('/').next().unwrap();
    let (broker, visitor) = (&world.app.broker, in_browser("one"));
    let paste = async || {
        let page = broker.invitation(ticket, &visitor).await.unwrap();
        let key = Pasted::Key("k3y-0123456789".to_owned().into());
        let arrival = broker.paste(ticket, &visitor, &page.digest, key).await.unwrap();
        flow(&Url::parse(&arrival.next).unwrap())
    };
    // Bob has pasted his key on the page of mallory's link.
    let refused = world.confirm("my-app", &paste().await, "bob").await;
    assert!(matches!(refused, Err(ConfirmationError::UserMismatch)));
    assert!(matches!(world.call_by(&user("mallory")).await, Outcome::AuthorizationRequired(_)));
    world.confirm("my-app", &paste().await, "mallory").await.unwrap();
    assert!(matches!(world.call_by(&user("mallory")).await, Outcome::Complete(_)));
}

#[tokio::test]
async fn without_a_verifier_there_is_no_link() {
    let world = world().await;
    let opener = Err(NoOpener::NoVerifier { key: "my-app".into() });
    let Outcome::Complete(result) = world.call_by(&Principal { opener, ..user("ana") }).await
    else {
        panic!("a link that anybody could finish");
    };
    assert!(result.is_error && result.text.contains("`verifier_url`"), "{}", result.text);
}

#[tokio::test]
async fn a_link_is_finished_by_whom_it_was_made_for_and_by_nobody_else() {
    let world = world().await;
    let signed_in = |name| Principal { opener: Ok(Opener::SignedIn), ..user(name) };
    let prompt = world.prompt_of(&signed_in("ana")).await;
    let ticket = prompt.url.rsplit('/').next().unwrap();
    let broker = &world.app.broker;
    let ana = signed_in_as(user("ana").caller);
    let bob = signed_in_as(user("bob").caller);
    let elsewhere = Caller { namespace: "key:other".into(), user: UserId::new("ana") };
    for (visitor, why) in [
        (in_browser("one"), Some(Stranger::Unknown)),
        (bob.clone(), Some(Stranger::OtherPerson)),
        (signed_in_as(elsewhere), Some(Stranger::OtherPerson)),
        (Visitor::Loopback, None),
    ] {
        match (broker.invitation(ticket, &visitor).await, why) {
            (Err(ConnectError::Stranger(found)), Some(why)) => assert_eq!(found, why),
            (Err(ConnectError::Unknown), None) => {}
            (other, _) => panic!("{visitor:?}: {other:?}"),
        }
        broker.decline(ticket, &visitor).await.unwrap_err();
        broker.depart(ticket, &visitor, "").await.map(drop).unwrap_err();
    }
    // She goes on, and sends the provider's address to him.
    let page = broker.invitation(ticket, &ana).await.unwrap();
    let departure = broker.depart(ticket, &ana, &page.digest).await.unwrap();
    let state = departure.to.query_pairs().find(|(name, _)| name == "state").unwrap().1;
    let cookie = departure.cookie.value.expose_secret().to_owned();
    let query = format!("code=c0de&state={state}");
    let cookie = |_: &str| Some(cookie.clone());
    let callback = |visitor| Callback { provider: "acme", query: &query, cookie: &cookie, visitor };
    let refused = broker.arrive(callback(&bob)).await;
    assert!(matches!(refused, Err(CallbackError::Stranger(Stranger::OtherPerson))));
    let burnt = broker.arrive(callback(&ana)).await;
    assert!(matches!(burnt, Err(CallbackError::Unknown)));
    assert!(world.provider.requests().is_empty());
}
