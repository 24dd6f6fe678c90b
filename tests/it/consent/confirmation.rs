//! Which browsers may use a link, by how they are identified. How an application confirms a browser
//! is tested in `sign_in/application.rs`.

use countersign::broker::consent::callback::{Callback, CallbackError};
use countersign::broker::{Call, ConnectError, NotYours, VisitingBrowser};
use countersign::model::principal::{BrowserProof, ConfirmOrder, NoBrowserProof, Verifier};
use countersign::model::{Caller, ConnectPrompt, Outcome, Principal, UserId};
use secrecy::ExposeSecret as _;
use url::Url;

use super::world::{World, tools_toml};
use crate::shown::Shown;

const PUBLIC: &str = "https://tools.example.com";
const VERIFIER: &str = "https://app.example.com/verify?from=countersign";

fn user(name: &str) -> Principal {
    let browser_proof = Ok(BrowserProof::Application(Verifier {
        key: "my-app".into(),
        url: Url::parse(VERIFIER).unwrap(),
        confirm: ConfirmOrder::Before,
    }));
    let caller = Caller { namespace: "key:my-app".into(), user: UserId::new(name) };
    Principal::new(caller, std::collections::BTreeSet::new(), browser_proof)
}

async fn world() -> World {
    World::at(Some(PUBLIC), tools_toml).await
}

/// A browser without a signed-in user.
fn in_browser(name: &str) -> VisitingBrowser {
    VisitingBrowser::Public { caller: None, browser: Some(name.into()) }
}

fn signed_in_as(caller: Caller) -> VisitingBrowser {
    VisitingBrowser::Public { caller: Some(caller), browser: None }
}

impl World {
    async fn call_by(&self, principal: &Principal) -> Outcome {
        let call = Call::new(principal, "read");
        self.app.broker.call(call).await.expect("the tool exists")
    }

    async fn prompt_of(&self, principal: &Principal) -> ConnectPrompt {
        match self.call_by(principal).await {
            Outcome::AuthorizationRequired(prompt) => prompt,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn without_a_verifier_there_is_no_link() {
    let world = world().await;
    let browser_proof = Err(NoBrowserProof::NoVerifier { key: "my-app".into() });
    let Outcome::Failed(failure) = world.call_by(&Principal { browser_proof, ..user("ana") }).await
    else {
        panic!("a link that anybody could finish");
    };
    let text = Shown::from(failure).text;
    assert!(text.contains("`verifier_url`"), "{text}");
}

#[tokio::test]
async fn a_link_is_finished_by_whom_it_was_made_for_and_by_nobody_else() {
    let signed_in = |name| Principal { browser_proof: Ok(BrowserProof::SignedIn), ..user(name) };
    for (ana, unknown, other) in [
        (signed_in("ana"), NotYours::NotSignedIn, NotYours::OtherPerson),
        (user("ana"), NotYours::Unconfirmed, NotYours::Unconfirmed),
    ] {
        is_finished_by_her_alone(&ana, unknown, other).await;
    }
}

async fn is_finished_by_her_alone(whose: &Principal, unknown: NotYours, other: NotYours) {
    let world = world().await;
    let prompt = world.prompt_of(whose).await;
    let ticket = prompt.url.rsplit('/').next().unwrap();
    let broker = &world.app.broker;
    let ana = signed_in_as(user("ana").caller);
    let bob = signed_in_as(user("bob").caller);
    let elsewhere = Caller { namespace: "key:other".into(), user: UserId::new("ana") };
    for (visitor, why) in [
        (in_browser("one"), Some(unknown)),
        (bob.clone(), Some(other)),
        (signed_in_as(elsewhere), Some(other)),
        (VisitingBrowser::Loopback, None),
    ] {
        match (broker.consents().invitation(ticket, &visitor).await, why) {
            (Err(ConnectError::NotYours(found)), Some(why)) => assert_eq!(found, why),
            (Err(ConnectError::Unknown), None) => {}
            (other, _) => panic!("{visitor:?}: {other:?}"),
        }
        broker.consents().decline(ticket, &visitor).await.unwrap_err();
        broker.consents().depart(ticket, &visitor, "").await.map(drop).unwrap_err();
    }
    // Ana continues, and forwards the provider's address to Bob.
    let page = broker.consents().invitation(ticket, &ana).await.unwrap();
    let departure = broker.consents().depart(ticket, &ana, &page.digest).await.unwrap();
    let state = departure.to.query_pairs().find(|(name, _)| name == "state").unwrap().1;
    let cookie = departure.cookie.value.expose_secret().to_owned();
    let query = format!("code=c0de&state={state}");
    let cookie = |_: &str| Some(cookie.clone());
    let callback = |visitor| Callback { provider: "acme", query: &query, cookie: &cookie, visitor };
    let refused = broker.consents().arrive(callback(&bob)).await;
    assert!(matches!(refused, Err(CallbackError::NotYours(found)) if found == other));
    let burnt = broker.consents().arrive(callback(&ana)).await;
    assert!(matches!(burnt, Err(CallbackError::Unknown)));
    assert!(world.provider.requests().is_empty());
}
