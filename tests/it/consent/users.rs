//! Listing and ending users' connections: as the operator, and as the application that the users
//! belong to.

use std::sync::Arc;
use std::time::Duration;

use countersign::app::Access;
use countersign::broker::consent::end::Disconnected;
use countersign::model::authorization::Unclaimed;
use countersign::model::event::EndedBy;
use countersign::model::server_auth::{ApplicationSettings, KeyHolder, ResolvedAuth, ResolvedKey};
use countersign::model::{Authorization, Caller, ProviderId, UserId};
use countersign::oauth::Revoked;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::unbounded_channel;

use super::world::{World, ana, tokens};
use crate::support::http::client;
use crate::support::provider::{Act, answer};

fn of(namespace: &str, user: &str) -> Caller {
    Caller { namespace: namespace.into(), user: UserId::new(user) }
}

/// A world in which these callers have connected `acme`, beside ana of this machine.
async fn connected_by(callers: &[Caller]) -> World {
    let world = World::of(|origin| {
        super::world::tools_toml(origin).replace(
            "loopback      = \"any-port\"",
            &format!("loopback = \"any-port\"\nrevoke_url = \"{origin}/revoke\""),
        )
    })
    .await;
    world.provider.says(tokens(r#"{"access_token":"first","scope":"notes:read"}"#));
    world.provider.accepts(&["first"]);
    world.consent().await;
    let store = world.app.broker.store().await.unwrap();
    let grant = store.grants(&ana()).await.unwrap().remove(0).value;
    let grants = world.tables_of_a_peer().grants;
    for caller in callers {
        assert!(grants.put(caller, &grant, None).await.unwrap());
    }
    world
}

async fn users(world: &World) -> Vec<Caller> {
    let users = world.app.broker.users().all(&[]).await.unwrap();
    users.into_iter().map(|user| user.caller.expect("its record names it")).collect()
}

#[tokio::test]
async fn users_of_every_namespace_are_listed_and_ended_one_by_one() {
    let (ben, other_ben) = (of("key:my-app", "ben"), of("https://login.example.com/", "ben"));
    let world = connected_by(&[ben.clone(), other_ben.clone()]).await;
    assert_eq!(users(&world).await, [other_ben.clone(), ben.clone(), ana()]);

    world.provider.tokens(|_| Act::Say(answer("200 OK", "", "")));
    let ends = world.app.broker.users().end_access(&ben, EndedBy::Operator).await.unwrap().accounts;
    let [end] = &*ends else { panic!("{ends:?}") };
    assert_eq!(end.how, Disconnected::AtProvider(Revoked::Yes));
    assert!(world.provider.requests().iter().any(|body| body.contains("token=first")));
    assert_eq!(users(&world).await, [other_ben.clone(), ana()]);

    let acme = ProviderId::new("acme");
    world.provider.tokens(|_| Act::Say(answer("503 Service Unavailable", "", "")));
    let ends = world.app.broker.accounts().end_at(&other_ben, &acme, None, EndedBy::Operator).await;
    assert_eq!(ends.unwrap()[0].how, Disconnected::AtProvider(Revoked::Failed));
    assert_eq!(users(&world).await, [ana()]);
    let ends = world.app.broker.accounts().end_at(&other_ben, &acme, None, EndedBy::Operator).await;
    assert!(ends.unwrap().is_empty(), "nothing is left");
}

#[tokio::test]
async fn a_consent_under_way_when_access_is_ended_is_not_kept() {
    let world = World::new().await;
    let link = world.prompt().await.url;
    let departure = world.click(&link).await;
    world.app.broker.users().end_access(&ana(), EndedBy::Operator).await.unwrap();
    world.come_back(&departure, "code=c").await;
    assert!(world.provider.requests().is_empty(), "the code is not even exchanged");
    assert!(users(&world).await.is_empty());
    assert_eq!(world.get(&link).await.status, StatusCode::GONE);

    // Access ends while the code is being exchanged.
    let departure = world.click(&world.prompt().await.url).await;
    let broker = world.app.broker.clone();
    let (told, ended) = std::sync::mpsc::channel();
    world.provider.tokens(move |body| {
        if body.contains("grant_type=authorization_code") {
            let broker = broker.clone();
            let end = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime
                    .unwrap()
                    .block_on(broker.users().end_access(&ana(), EndedBy::Operator))
                    .unwrap();
            });
            end.join().unwrap();
            told.send(()).unwrap();
        }
        Act::Say(tokens(r#"{"access_token":"late","scope":"notes:read"}"#))
    });
    world.come_back(&departure, "code=c").await;
    ended.try_recv().expect("access was ended before the provider answered");
    assert!(users(&world).await.is_empty(), "the consent outlived the end of access");
    world.prompt().await;
}

/// The end of access is recorded first. Otherwise a consent that arrives while the provider ends
/// another account would be stored after the accounts to end were looked up.
#[tokio::test]
async fn a_consent_that_arrives_while_an_account_is_being_ended_is_not_kept() {
    let world = World::of(|origin| {
        let settings = format!("loopback = \"any-port\"\nrevoke_url = \"{origin}/revoke\"");
        let tools = super::world::tools_toml(origin);
        let tools = tools.replace("loopback      = \"any-port\"", &settings);
        tools.replacen("[providers.acme]", "[providers.acme]\naccounts = true", 1)
    })
    .await;
    world.provider.says(tokens(r#"{"access_token":"first","scope":"notes:read"}"#));
    world.consent().await;
    let departure = world.click(&world.prompt_as(Some("work")).await.url).await;
    let (exchange, revocation) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (exchanged, mut exchanging) = unbounded_channel();
    let (revoked, mut revoking) = unbounded_channel();
    let (held, first) = (Arc::clone(&exchange), Arc::clone(&revocation));
    let mut is_first = true;
    world.provider.tokens(move |body| {
        let done = answer("200 OK", "", "");
        if body.contains("grant_type=authorization_code") {
            exchanged.send(()).unwrap();
            let late = tokens(r#"{"access_token":"late","scope":"notes:read"}"#);
            Act::SayWhen(Arc::clone(&held), late)
        } else if std::mem::take(&mut is_first) {
            revoked.send(()).unwrap();
            Act::SayWhen(Arc::clone(&first), done)
        } else {
            Act::Say(done)
        }
    });
    let arrive = async {
        world.come_back(&departure, "code=c").await;
        revocation.add_permits(1);
    };
    let end = async {
        exchanging.recv().await.unwrap();
        world.app.broker.users().end_access(&ana(), EndedBy::Operator).await.unwrap()
    };
    let order = async {
        revoking.recv().await.unwrap();
        exchange.add_permits(1);
    };
    let all = Box::pin(async { tokio::join!(arrive, end, order) });
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("both end");
    assert!(users(&world).await.is_empty(), "the consent outlived the end of access");
}

#[tokio::test]
async fn consents_that_are_no_accounts_yet_end_with_the_user_s_access() {
    let world = connected_by(&[]).await;
    let store = world.app.broker.store().await.unwrap();
    let mut grant = store.grants(&ana()).await.unwrap().remove(0).value;
    let held = store.authorizations_of(&ana()).await.unwrap().remove(0);
    grant.tokens.access = "candidate".into();
    let (link, request) = (held.value.link().clone(), held.value.request().clone());
    let authorization = Authorization::new(link, request, Vec::new());
    let authorization = authorization
        .ask_about_account("before".into(), grant.clone(), grant.connected_at)
        .unwrap();
    let consents = world.tables_of_a_peer().consents;
    consents.authorizations.replace(authorization.clone(), &held).await.unwrap().unwrap();
    grant.tokens.access = "unclaimed".into();
    let given_at = grant.connected_at;
    let unclaimed = Unclaimed { authorization, grant, browser: "one".into(), given_at };
    consents.unclaimed.put(&unclaimed).await.unwrap();
    world.provider.tokens(|_| Act::Say(answer("200 OK", "", "")));
    let ended = world.app.broker.users().end_access(&ana(), EndedBy::Operator).await.unwrap();
    let how: Vec<_> = ended.accounts.into_iter().map(|ended| ended.how).collect();
    assert_eq!(how, vec![Disconnected::AtProvider(Revoked::Yes); 3]);
    for token in ["unclaimed", "candidate", "first"] {
        let requests = world.provider.requests();
        assert!(requests.iter().any(|body| body.contains(&format!("token={token}"))), "{token}");
    }
    assert!(store.all_unclaimed().await.unwrap().is_empty());
    assert!(users(&world).await.is_empty());
}

/// Serves the REST routes to two applications, `my-app` and `other-app`, and to a person with a
/// key.
fn served(world: &World) -> String {
    let key = |name: &str, holder| ResolvedKey {
        name: name.into(),
        values: vec![format!("key-of-{name}-that-is-long-enough").into()],
        holder,
    };
    let application = || {
        KeyHolder::Application(ApplicationSettings {
            admin: true,
            ..ApplicationSettings::default()
        })
    };
    let keys = vec![
        key("my-app", application()),
        key("other-app", application()),
        key("carl", KeyHolder::Person(UserId::new("carl"))),
    ];
    world.serve(Access::Many {
        auth: Box::new(ResolvedAuth { issuer: None, keys }),
        resource: "https://tools.example.com/mcp".parse().unwrap(),
    })
}

async fn ask(method: Method, url: String, key: Option<&str>) -> (u16, Value) {
    let http = client().build().unwrap();
    let mut request = http.request(method, url);
    if let Some(key) = key {
        request = request.bearer_auth(format!("key-of-{key}-that-is-long-enough"));
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn an_application_sees_and_ends_what_its_own_users_have() {
    let ben = of("key:my-app", "ben");
    let others = [of("key:other-app", "ben"), of("local", "ben")];
    let world =
        connected_by(&[&[ben.clone(), of("key:my-app", "dora")][..], &others].concat()).await;
    world.provider.tokens(|_| Act::Say(answer("200 OK", "", "")));
    let at = format!("{}/v1/admin/user_connections", served(&world));
    let get = async |query: &str, key| ask(Method::GET, format!("{at}{query}"), key).await;

    let (status, page) = get("", Some("my-app")).await;
    assert_eq!((status, &page["total_count"]), (200, &2.into()), "{page}");
    assert!(!page.to_string().contains("first"), "a token: {page}");
    for query in ["?user_id=ben", "?user[id]=ben&provider[id]=acme", "?limit=1&offset=0"] {
        let (status, page) = get(query, Some("my-app")).await;
        let items = page["items"].as_array().unwrap();
        assert_eq!((status, items.len()), (200, 1), "{query}: {page}");
        let item = &items[0];
        assert_eq!((&item["user_id"], &item["provider_id"]), (&"ben".into(), &"acme".into()));
        assert_eq!(item["connection_status"], "active");
        assert_eq!(item["scopes"], serde_json::json!(["notes:read"]));
    }
    assert_eq!(get("?provider_id=other", Some("my-app")).await.1["total_count"], 0);
    for (query, key, expected) in [
        ("", None, 401),
        ("", Some("unknown"), 401),
        ("", Some("carl"), 403),
        ("?limit=many", Some("my-app"), 400),
    ] {
        let (status, problem) = get(query, key).await;
        assert_eq!(status, expected, "{query} {key:?}");
        assert!(problem["message"].is_string(), "{problem}");
    }

    let id = get("?user_id=ben", Some("my-app")).await.1["items"][0]["id"].clone();
    let id = id.as_str().unwrap();
    let end = async |path: String, key| ask(Method::DELETE, format!("{at}{path}"), Some(key)).await;
    // The seeded grants are alike, so the same id names the other application's own ben, and only
    // him.
    assert_eq!(end(format!("/{id}"), "other-app").await.0, 204);
    assert!(users(&world).await.contains(&ben), "another application's user was ended");
    assert_eq!(end(format!("/{id}"), "my-app").await.0, 204);
    assert_eq!(end(format!("/{id}"), "my-app").await.0, 404);
    assert_eq!(end("/uc_no-such".into(), "my-app").await.0, 404);
    assert_eq!(end(String::new(), "my-app").await.0, 400, "nobody is named");
    let (status, ended) = end("?user_id=dora".into(), "my-app").await;
    assert_eq!((status, &ended["items"][0]["provider_outcome"]), (200, &"ended".into()), "{ended}");
    assert_eq!(users(&world).await, [ana(), of("local", "ben")]);
}
