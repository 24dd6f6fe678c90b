//! What several tools together need, asked for before any of them runs.

use std::time::Duration;

use countersign::broker::consent::wait::NotConnected;
use countersign::broker::ready::authorize::{AuthorizationView, ViewState};
use countersign::broker::ready::{Asking, ConsentState, ProviderConsent, ProviderNeed};
use countersign::model::failure::LinkProblem;
use countersign::model::principal::NoBrowserProof;
use countersign::model::reason::ConsentFailure;
use countersign::model::{
    ConnectPrompt, FailureKind, Outcome, Principal, PromptReason, Scopes, Time, ToolName,
};
use reqwest::StatusCode;

use super::world::{World, ana, tokens};
use crate::support::provider::{Act, json};

const LINK: Asking<'static> = Asking::Link { client: Some("Planner"), next: None, later: None };
const LINK_FOR_ABSENCE: Asking<'static> = Asking::Link {
    client: Some("Planner"),
    next: None,
    later: Some(Time::from_millis(1_800_000_600_000)),
};

fn principal() -> Principal {
    Principal::local(ana())
}

fn names(tools: &[&str]) -> Vec<ToolName> {
    tools.iter().map(|&name| ToolName::new(name)).collect()
}

fn prompt(consent: &ProviderConsent) -> &ConnectPrompt {
    match &consent.state {
        ConsentState::Needed { prompt: Some(prompt), .. } => prompt,
        other => panic!("{other:?}"),
    }
}

fn reason(consent: &ProviderConsent) -> &PromptReason {
    match &consent.state {
        ConsentState::Needed { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn pending(view: &AuthorizationView) -> (&str, &str) {
    match &view.state {
        ViewState::Pending { id, url } => (id, url),
        other => panic!("{other:?}"),
    }
}

impl World {
    fn needs(&self, tools: &[&str]) -> Vec<ProviderNeed> {
        self.app.broker.needs(&principal(), &names(tools))
    }

    async fn readiness(&self, tools: &[&str], asking: Asking<'_>) -> Vec<ProviderConsent> {
        self.app.broker.readiness_of(&principal(), self.needs(tools), asking).await
    }

    async fn only(&self, tools: &[&str], asking: Asking<'_>) -> ProviderConsent {
        let mut consents = self.readiness(tools, asking).await;
        assert_eq!(consents.len(), 1, "{consents:?}");
        consents.remove(0)
    }

    async fn authorize(&self, provider: &str, scopes: &[&str]) -> AuthorizationView {
        let broker = &self.app.broker;
        let provider = broker.provider(provider).unwrap();
        let scopes = Scopes::new(scopes.iter().copied());
        broker.authorize(&principal(), &provider, &scopes, LINK).await
    }

    async fn status(&self, id: &str) -> Option<AuthorizationView> {
        let broker = &self.app.broker;
        broker.authorization_status(&ana(), id, Duration::ZERO).await.unwrap()
    }

    /// The token endpoint issues this token for these scopes, and the API takes it.
    fn issues(&self, token: &str, scopes: &str) {
        self.provider.says(tokens(&format!(r#"{{"access_token":"{token}","scope":"{scopes}"}}"#)));
        self.provider.accepts(&[token]);
    }
}

#[tokio::test]
async fn tools_of_one_provider_get_one_link_for_the_scopes_of_all() {
    let world = World::new().await;
    let need = world.needs(&["write", "read", "no_such_tool", "write"]).remove(0);
    assert_eq!(need.tools, names(&["write", "read"]));
    let consent = world.only(&["write", "read"], LINK).await;
    assert_eq!(*reason(&consent), PromptReason::NotConnected);
    let link = prompt(&consent).url.clone();
    let both = Scopes::new(["notes:read", "notes:write"]);
    assert_eq!(prompt(&consent).scopes, both);

    let page = world.get(&link).await;
    for part in ["Planner", "<code>read</code>, <code>write</code>", "notes:read", "notes:write"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    // The page stays as it is: neither another look nor a call asks for more. The last look
    // repeats the answer of the one before.
    for _ in 0..3 {
        assert_eq!(prompt(&world.only(&["read", "write"], LINK).await).url, link);
    }
    let called = world.call_tool("read", Some("Planner")).await;
    assert!(matches!(called, Outcome::AuthorizationRequired(prompt) if prompt.url == link));
    world.issues("first", "notes:read notes:write");
    let departure = world.click_on(&page, &link).await;
    assert_eq!(departure.parameter("scope"), "notes:read notes:write");
    world.come_back(&departure, "code=c0de").await;

    let consent = world.only(&["read", "write"], LINK).await;
    let ConsentState::Ready { scopes, connected_at, .. } = consent.state else {
        panic!("{consent:?}");
    };
    assert_eq!((scopes, connected_at), (both, world.time()));
    for tool in ["read", "write"] {
        assert!(!world.result_of(tool).await.is_error);
    }
}

#[tokio::test]
async fn an_open_link_is_widened_and_keeps_its_address() {
    let world = World::new().await;
    let called = world.prompt().await;
    let consent = world.only(&["read", "write"], LINK).await;
    assert_eq!(prompt(&consent).url, called.url);
    assert_eq!(prompt(&consent).authorization, called.authorization);
    let page = world.get(&called.url).await;
    assert!(page.text.contains("notes:write"), "{}", page.text);
}

#[tokio::test]
async fn an_open_link_grows_up_to_a_limit_and_then_stays_as_it_is() {
    let world = World::new().await;
    let provider = world.app.broker.provider("acme").unwrap();
    let ask = async |scopes: Vec<String>| {
        let broker = &world.app.broker;
        broker.authorize(&principal(), &provider, &Scopes::new(scopes), LINK).await
    };
    let numbered = |from: usize, to: usize| (from..to).map(|at| format!("scope-{at}")).collect();
    let is_refused = |view: &AuthorizationView| {
        let ViewState::Unavailable(failure) = &view.state else { panic!("{view:?}") };
        let problem = LinkProblem::TooManyScopes;
        matches!(&failure.kind, FailureKind::NoLink { problem: it, .. } if *it == problem)
    };
    let first = ask(numbered(0, 100)).await;
    let second = ask(numbered(100, 200)).await;
    assert_eq!(pending(&second), pending(&first));
    assert!(is_refused(&ask(numbered(200, 201)).await));
    // What it asks for already is no more.
    assert_eq!(pending(&ask(numbered(50, 60)).await), pending(&first));
    let page = world.get(pending(&first).1).await;
    assert!(page.text.contains("scope-0") && page.text.contains("scope-199"), "{}", page.text);
    assert!(!page.text.contains("scope-200"), "{}", page.text);
    world.pass(Duration::from_mins(15));
    let long: Vec<String> = (0..80).map(|at| format!("{at:0200}")).collect();
    assert_ne!(pending(&ask(long).await), pending(&first), "that one has expired");
    assert!(is_refused(&ask(vec!["x".repeat(400)]).await));
}

#[tokio::test]
async fn a_gateway_shows_accounts_only_of_providers_that_its_tools_use() {
    let world = World::of(|origin| {
        let more = "[gateways]\nreading = [\"read\"]\nothers = [\"idle\"]\n\
                    [tools.idle]\ndescription = \"Does nothing.\"\nrequest = \"GET ORIGIN/idle\"";
        format!("{}{}", super::world::tools_toml(origin), more.replace("ORIGIN", origin))
    })
    .await;
    world.provider.says(tokens(r#"{"access_token":"first","scope":"notes:read"}"#));
    world.consent().await;
    for (gateway, accounts) in [("all", 1), ("reading", 1), ("others", 0)] {
        let broker = &world.app.broker;
        let offered = broker.catalogue().gateways().tools(gateway).unwrap();
        let principal = Principal { offered, ..principal() };
        let connections = broker.connections(&principal, None, Asking::Look).await.unwrap();
        assert_eq!(connections.accounts.len(), accounts, "{gateway}");
    }
}

#[tokio::test]
async fn a_look_makes_no_link_and_sends_nothing() {
    let world = World::new().await;
    let consent = world.only(&["read"], Asking::Look).await;
    assert!(matches!(consent.state, ConsentState::Needed { prompt: None, .. }), "{consent:?}");
    assert_eq!(world.app.broker.consents().links_open_until().await.unwrap(), None);
    assert_eq!(world.provider.connections(), 0);
}

#[tokio::test]
async fn what_a_call_can_renew_is_ready_and_nothing_is_renewed_for_it() {
    let world = World::new().await;
    world.provider.says(tokens(
        r#"{"access_token":"first","refresh_token":"r","expires_in":60,"scope":"notes:read"}"#,
    ));
    world.consent().await;
    world.pass(Duration::from_hours(2));
    let consent = world.only(&["read"], LINK).await;
    assert!(matches!(consent.state, ConsentState::Ready { .. }), "{consent:?}");
    assert_eq!(world.provider.refreshes(), 0);
    // The other tool needs more than was granted.
    let consent = world.only(&["read", "write"], Asking::Look).await;
    let ConsentState::Needed { needed, reason, .. } = consent.state else { panic!("{consent:?}") };
    assert_eq!((needed, reason), (Scopes::new(["notes:write"]), PromptReason::MoreScopes));
    assert_eq!(world.provider.refreshes(), 0);
}

/// `slow` never answers its discovery; `gone` is refused by its user; `open` needs no account.
fn three_providers(origin: &str) -> String {
    let host = origin.trim_start_matches("http://");
    let provider = |id: &str, oauth: &str| {
        format!(
            "
            [providers.{id}]
            base_url  = \"{origin}\"
            client_id = \"us\"
            hosts     = [\"{host}\"]
            oauth     = {{ {oauth}, loopback = \"any-port\" }}
            [tools.{id}_read]
            description = \"Reads.\"
            provider    = \"{id}\"
            scopes      = [\"notes:read\"]
            request     = \"GET /read\"
            "
        )
    };
    let written = format!("authorize_url = \"{origin}/authorize\", token_url = \"{origin}/token\"");
    [
        provider("slow", &format!("issuer = \"{origin}\"")),
        provider("gone", &written),
        provider("fine", &written),
        "[tools.open]\ndescription = \"Reads.\"\nrequest = \"GET http://127.0.0.1:9/open\"\n"
            .into(),
    ]
    .concat()
}

const ALL: [&str; 4] = ["slow_read", "gone_read", "fine_read", "open"];

#[tokio::test]
async fn trouble_with_one_provider_leaves_the_others_usable() {
    let world = World::of(three_providers).await;
    world.provider.api(|request| {
        let is_discovery = request.starts_with("GET /.well-known/");
        if is_discovery { Act::Stall(Vec::new()) } else { Act::Say(json(r#"{"ok":true}"#)) }
    });
    for _ in 0..2 {
        let link = prompt(&world.only(&["gone_read"], LINK).await).url.clone();
        world.post(&link, &[("answer", "decline")]).await;
    }
    let looked = tokio::time::timeout(Duration::from_secs(10), world.readiness(&ALL, LINK));
    let consents = looked.await.unwrap();
    let [slow, gone, fine] = &*consents else { panic!("{consents:?}") };
    let ConsentState::Failed(failure) = &slow.state else { panic!("{slow:?}") };
    assert!(
        matches!(
            &failure.kind,
            FailureKind::NoLink { problem: LinkProblem::EndpointsUnknown { cause: Some(_) }, .. }
        ),
        "{failure:?}"
    );
    assert!(matches!(gone.state, ConsentState::RefusedOften), "{gone:?}");
    // Not every poll waits for it.
    let asked = world.provider.received("GET /.well-known/");
    let polled = tokio::time::timeout(Duration::from_secs(2), world.only(&["slow_read"], LINK));
    let slow = polled.await.unwrap();
    assert!(matches!(slow.state, ConsentState::Failed(_)), "{slow:?}");
    assert_eq!(world.provider.received("GET /.well-known/"), asked);
    world.pass(Duration::from_secs(15));
    world.only(&["slow_read"], LINK).await;
    assert_eq!(world.provider.received("GET /.well-known/"), asked + 1);

    world.issues("first", "notes:read");
    world.consent_by(&prompt(fine).url).await;
    assert!(!world.result_of("fine_read").await.is_error);
    let fine = world.only(&["fine_read"], LINK).await;
    assert!(matches!(fine.state, ConsentState::Ready { .. }), "{fine:?}");
}

#[tokio::test]
async fn the_browser_goes_on_to_the_page_that_the_program_names() {
    let world = World::new().await;
    let next = "http://localhost:3000/done?run=1".parse().unwrap();
    let asking = Asking::Link { client: Some("Planner"), next: Some(&next), later: None };
    let first = world.get(&world.prompt().await.url).await;
    let link = prompt(&world.only(&["read"], asking).await).url.clone();
    // The page that was open before does not say where the browser goes.
    assert_eq!(world.click_on(&first, &link).await.status, StatusCode::OK);
    let page = world.get(&link).await;
    assert!(page.text.contains("go on to <code>localhost</code>"), "{}", page.text);
    // A call that names no page leaves it as it is.
    assert_eq!(world.prompt().await.url, link);
    world.issues("first", "notes:read");
    assert_eq!(world.consent_by(&link).await.location(), next.as_str());

    // A consent that lacks something ends on the page that can say so.
    let link = prompt(&world.only(&["write"], asking).await).url.clone();
    world.issues("second", "notes:read");
    assert_eq!(world.consent_by(&link).await.location(), link);
}

#[tokio::test]
async fn a_consent_covers_the_users_absence_only_if_its_page_said_so() {
    let said = "Also while you are away";
    let world = World::new().await;
    world.issues("first", "notes:read");
    world.consent().await;
    assert!(matches!(world.only(&["read"], LINK).await.state, ConsentState::Ready { .. }));
    let consent = world.only(&["read"], LINK_FOR_ABSENCE).await;
    assert_eq!(*reason(&consent), PromptReason::WhileAway);
    let link = prompt(&consent).url.clone();
    assert!(world.get(&link).await.text.contains(said));
    world.consent_by(&link).await;
    let consent = world.only(&["read"], LINK_FOR_ABSENCE).await;
    assert!(matches!(consent.state, ConsentState::Ready { .. }), "{consent:?}");

    // The next consent replaces the grant, so its page says it too.
    let link = prompt(&world.only(&["write"], LINK).await).url.clone();
    assert!(world.get(&link).await.text.contains(said));
    world.issues("second", "notes:read notes:write");
    world.consent_by(&link).await;
    let consent = world.only(&["read", "write"], LINK_FOR_ABSENCE).await;
    assert!(matches!(consent.state, ConsentState::Ready { .. }), "{consent:?}");

    // What the user has disconnected covers nothing any more.
    world.press(&link, "disconnect").await;
    let link = prompt(&world.only(&["read"], LINK).await).url.clone();
    assert!(!world.get(&link).await.text.contains(said));
}

#[tokio::test]
async fn an_application_follows_a_consent_until_it_ends() {
    let world = World::new().await;
    let view = world.authorize("acme", &["notes:read"]).await;
    let (id, url) = pending(&view);
    assert_eq!(view.provider.as_ref().unwrap().as_str(), "acme");
    assert_eq!(view.scopes, Scopes::new(["notes:read"]));
    let open = world.status(id).await.unwrap();
    assert_eq!(pending(&open), (id, url));
    let acme = view.provider.as_ref().unwrap();
    let broker = &world.app.broker;
    assert!(broker.connection_status(&principal(), acme, None).await.unwrap().is_none());

    world.issues("first", "notes:read");
    let ana = ana();
    let waiting = broker.authorization_status(&ana, id, Duration::from_mins(1));
    let (ended, _) = tokio::join!(waiting, world.consent_by(url));
    let connected = broker.connection_status(&principal(), acme, None).await.unwrap();
    let again = world.authorize("acme", &["notes:read"]).await;
    for view in [ended.unwrap().unwrap(), connected.unwrap(), again] {
        assert!(matches!(view.state, ViewState::Completed { connected: None }), "{view:?}");
        assert_eq!(view.scopes, Scopes::new(["notes:read"]));
    }
    let views = broker.authorize_tools(&principal(), &names(&["read", "write"]), LINK).await;
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].scopes, Scopes::new(["notes:read", "notes:write"]));
    let replaced = pending(&views[0]).0;
    assert!(world.status(id).await.is_none(), "a newer link has replaced it");
    world.pass(Duration::from_mins(16));
    assert!(world.status(replaced).await.is_none(), "its time is over");
}

#[tokio::test]
async fn an_application_is_told_of_a_refusal_and_not_let_ask_past_two() {
    let world = World::new().await;
    for _ in 0..2 {
        let view = world.authorize("acme", &[]).await;
        let (id, url) = pending(&view);
        world.post(url, &[("answer", "decline")]).await;
        let told = world.status(id).await.unwrap().state;
        let declined = NotConnected::Refused(ConsentFailure::Declined);
        assert!(matches!(&told, ViewState::Failed(why) if *why == declined), "{told:?}");
    }
    // Also if the program gives no name: it must not pass for the user.
    for client in [None, Some("Planner"), Some("\u{200b}")] {
        let provider = world.app.broker.provider("acme").unwrap();
        let asking = Asking::Link { client, next: None, later: None };
        let scopes = Scopes::none();
        let view = world.app.broker.authorize(&principal(), &provider, &scopes, asking).await;
        assert!(matches!(view.state, ViewState::RefusedOften), "{view:?}");
    }
}

#[tokio::test]
async fn another_user_learns_nothing_of_a_consent() {
    let world = World::new().await;
    let view = world.authorize("acme", &["notes:read"]).await;
    let (id, url) = pending(&view);
    let bob = countersign::model::Caller::local(countersign::model::UserId::new("bob"));
    let broker = &world.app.broker;
    assert!(broker.authorization_status(&bob, id, Duration::ZERO).await.unwrap().is_none());
    world.issues("first", "notes:read");
    world.consent_by(url).await;
    assert!(broker.authorization_status(&bob, id, Duration::ZERO).await.unwrap().is_none());
    let acme = view.provider.unwrap();
    assert!(broker.connection_status(&Principal::local(bob), &acme, None).await.unwrap().is_none());
}

#[tokio::test]
async fn the_user_of_a_shared_server_is_told_no_names_of_settings() {
    let world = World::of(|origin| {
        let host = origin.trim_start_matches("http://");
        format!(
            "[providers.acme]\nbase_url = \"{origin}\"\nhosts = [\"{host}\"]\n\
             client_id = \"env:UNSET_CLIENT_ID_OF_ACME\"\n\
             oauth = {{ authorize_url = \"{origin}/a\", token_url = \"{origin}/t\" }}\n\
             [tools.read]\ndescription = \"Reads.\"\nprovider = \"acme\"\nrequest = \"GET /read\"\n"
        )
    })
    .await;
    let local = world.only(&["read"], LINK).await;
    assert!(format!("{local:?}").contains("UNSET_CLIENT_ID_OF_ACME"));
    let browser_proof = Err(NoBrowserProof::NoClientId);
    let principal = Principal { browser_proof, ..principal() };
    let broker = &world.app.broker;
    let needs = broker.needs(&principal, &names(&["read"]));
    let consents = broker.readiness_of(&principal, needs, LINK).await;
    let ConsentState::Failed(failure) = &consents[0].state else { panic!("{consents:?}") };
    assert!(matches!(failure.kind, FailureKind::UnfinishedSetup { .. }), "{failure:?}");
    assert_eq!(failure.for_operator, None);
}
