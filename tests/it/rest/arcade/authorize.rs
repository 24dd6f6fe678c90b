//! Consents: `tools/authorize`, `auth/authorize`, `auth/status` and tokens.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign::broker::ready::Asking;
use countersign::broker::ready::authorize::ViewState;
use countersign::model::principal::{BrowserProof, ConfirmOrder, Verifier};
use countersign::model::{Caller, Principal, Scopes, UserId};
use serde_json::{Value, json};

use crate::rest::world::{Reply, World, key_of};
use crate::support::provider::{Act, json as said};

async fn authorize_tool(world: &World, key: &str, tool: &str, user: &str) -> Reply {
    let body = json!({"tool_name": tool, "user_id": user});
    world.post(key, "/v1/tools/authorize", body).await
}

async fn authorize(world: &World, key: &str, requirement: Value, user: &str) -> Reply {
    let body = json!({"auth_requirement": requirement, "user_id": user});
    world.post(key, "/v1/auth/authorize", body).await
}

async fn status(world: &World, key: &str, id: &str, wait: &str) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(
            [("id", id), ("wait", wait)].into_iter().filter(|(_, value)| !value.is_empty()),
        )
        .finish();
    world.get(key, &format!("/v1/auth/status?{query}")).await
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap_or_else(|| panic!("`{field}` of {answer}"))
}

#[tokio::test]
async fn a_tool_s_consent_is_asked_for_once_and_followed_to_its_end() {
    let world = World::on_machine().await;
    let pending = authorize_tool(&world, "any", "Notes_Read", "").await.ok();
    let (id, link) = (text(&pending, "id").to_owned(), text(&pending, "url").to_owned());
    assert!(id.starts_with("ar_") && link.contains("/connect/"), "{pending}");
    let expected = json!({
        "id": id,
        "status": "pending",
        "url": link,
        "user_id": "ana",
        "provider_id": "acme",
        "scopes": ["notes:read"],
        "context": {},
    });
    assert_eq!(pending, expected);
    assert_eq!(authorize_tool(&world, "any", "notes_read@1.0.0", "ana").await.ok(), expected);
    assert_eq!(status(&world, "any", &id, "").await.ok(), expected);

    let (waited, _) = tokio::join!(status(&world, "any", &id, "59"), world.consent("", "", &link));
    let completed = waited.ok();
    assert_eq!((&completed["status"], completed.get("url")), (&json!("completed"), None));
    assert_eq!(completed["context"], json!({}), "no key of this machine has a right to tokens");
    let connection = text(&completed, "id").to_owned();
    assert!(connection.starts_with("ac_"), "{connection}");
    for again in [
        authorize_tool(&world, "any", "Notes.Read", "").await,
        status(&world, "any", &connection, "45").await,
        status(&world, "any", &id, "45").await,
    ] {
        assert_eq!(again.ok(), completed);
    }
    // A tool with another scope asks for both, since the provider gives one token.
    let wider = authorize_tool(&world, "any", "Notes.Write", "").await.ok();
    assert_eq!(wider["status"], "pending");
    assert_eq!(wider["scopes"], json!(["notes:write"]));
}

/// Arcade's clients throw for an answer without an id, also for a completed one.
#[tokio::test]
async fn a_tool_without_a_provider_is_authorized_already() {
    let world = World::on_machine().await;
    let completed = authorize_tool(&world, "any", "Github.SetStarred", "").await.ok();
    assert_eq!((text(&completed, "status"), text(&completed, "provider_id")), ("completed", ""));
    assert_eq!(completed["context"], json!({}));
    assert_eq!(status(&world, "any", text(&completed, "id"), "").await.ok(), completed);
}

#[tokio::test]
async fn a_provider_s_consent_needs_no_tool() {
    let world = World::on_machine().await;
    for requirement in [
        json!({"provider_id": "acme", "provider_type": "oauth2", "oauth2": {"scopes": ["a", "b"]}}),
        json!({"id": "acme", "provider_id": "umbra", "oauth2": {"scopes": ["b", "a"]}}),
        json!({"id": "unknown", "provider_id": "acme", "oauth2": {"scopes": ["a", "b"]}}),
    ] {
        let pending = authorize(&world, "any", requirement, "").await.ok();
        assert_eq!((text(&pending, "status"), text(&pending, "provider_id")), ("pending", "acme"));
        assert_eq!(pending["scopes"], json!(["a", "b"]));
    }
    // Arcade's documentation calls it so that no scopes are sent.
    let bare = authorize(&world, "any", json!({"provider_id": "umbra"}), "").await.ok();
    assert_eq!(bare["scopes"], json!([]));
    let many: Vec<String> = (0..101).map(|at| format!("scope-{at}")).collect();
    let long = "x".repeat(201);
    for (requirement, status, name) in [
        (json!({"provider_id": "nothing"}), 404, "not_found"),
        (json!({}), 400, "malformed_request"),
        (json!({"provider_id": "acme", "provider_type": "saml"}), 400, "malformed_request"),
        (json!({"provider_id": "acme", "oauth2": {"scopes": ["a b"]}}), 400, "malformed_request"),
        (json!({"provider_id": "acme", "oauth2": {"scopes": [""]}}), 400, "malformed_request"),
        (json!({"provider_id": "acme", "oauth2": {"scopes": many}}), 400, "malformed_request"),
        (json!({"provider_id": "acme", "oauth2": {"scopes": [long]}}), 400, "malformed_request"),
    ] {
        authorize(&world, "any", requirement, "").await.is_refused(status, name);
    }
}

/// Their loops wait while the status is not `completed`, and end only with an error.
#[tokio::test]
async fn a_declined_consent_is_told_once_and_then_an_error() {
    let world = World::on_machine().await;
    let pending = authorize_tool(&world, "any", "Notes.Read", "").await.ok();
    let (id, link) = (text(&pending, "id").to_owned(), text(&pending, "url").to_owned());
    world.decline("", "", &link).await;
    let failed = status(&world, "any", &id, "45").await.ok();
    assert_eq!((text(&failed, "status"), text(&failed, "id")), ("failed", &*id));
    for _ in 0..2 {
        let reply = status(&world, "any", &id, "45").await;
        let message = reply.is_refused(400, "authorization_failed");
        assert_eq!(message, "the user has not given access to Acme. You said no.");
    }
    // A link that has expired is gone.
    let pending = authorize_tool(&world, "any", "Notes.Read", "").await.ok();
    world.pass(Duration::from_mins(16));
    status(&world, "any", text(&pending, "id"), "45").await.is_refused(404, "not_found");
    // After two refusals the user is not asked again.
    let pending = authorize_tool(&world, "any", "Notes.Read", "").await.ok();
    world.decline("", "", text(&pending, "url")).await;
    for reply in [
        authorize_tool(&world, "any", "Notes.Read", "").await,
        authorize(&world, "any", json!({"provider_id": "acme"}), "").await,
    ] {
        let message = reply.is_refused(403, "forbidden");
        assert!(message.contains("refused"), "{message}");
        // Arcade's JavaScript client would ask again.
        assert!(!message.contains("authorization required"), "{message}");
    }
}

#[tokio::test]
async fn a_status_needs_an_id_and_waits_less_than_a_minute() {
    let world = World::on_machine().await;
    world.get("any", "/v1/auth/status").await.is_refused(400, "malformed_request");
    for wait in ["60", "-1", "x", "1.5"] {
        status(&world, "any", "ar_YW5h.x", wait).await.is_refused(400, "malformed_request");
    }
    for id in ["ar_YW5h.x", "ac_YW5h.YWNtZQ", "ac_YW5h.!", "ar_.x", "nothing"] {
        status(&world, "any", id, "45").await.is_refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_wait_ends_with_the_time_that_it_names() {
    let world = World::on_machine().await;
    let pending = authorize_tool(&world, "any", "Notes.Read", "").await.ok();
    let began = tokio::time::Instant::now();
    let still = status(&world, "any", text(&pending, "id"), "1").await.ok();
    assert_eq!(still, pending);
    assert!((1..5).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// `app` has `tokens = true`, `plain` has not.
#[tokio::test]
async fn a_token_goes_only_to_a_key_that_may_have_it() {
    let world = World::for_many().await;
    for (app, token) in [("app", json!("code-bob")), ("plain", Value::Null)] {
        let key = key_of(app);
        let pending = authorize_tool(&world, &key, "Notes.Read", "bob").await.ok();
        assert_eq!(pending["context"], json!({}));
        world.consent(app, "bob", text(&pending, "url")).await;
        let requirement = json!({"provider_id": "acme", "oauth2": {"scopes": ["notes:read"]}});
        for answer in [
            status(&world, &key, text(&pending, "id"), "").await.ok(),
            authorize_tool(&world, &key, "Notes.Read", "bob").await.ok(),
            authorize(&world, &key, requirement, "bob").await.ok(),
        ] {
            assert_eq!(text(&answer, "status"), "completed");
            assert_eq!(answer["context"]["token"], token, "{app}: {answer}");
            let again = status(&world, &key, text(&answer, "id"), "").await.ok();
            assert_eq!(again["context"]["token"], token);
        }
    }
}

/// The page says that an application gets the token, and only a user who has read that has agreed.
#[tokio::test]
async fn a_token_goes_out_only_after_the_page_has_said_so() {
    let world = World::for_many().await;
    let hands_out = async |app: &str, link: &str| {
        let page = world.open(app, "bob", link).await.text;
        let never = page.contains("programs never see your password or token");
        let also = page.contains("gets the access token");
        assert_ne!(never, also, "{page}");
        also
    };
    let plain = authorize_tool(&world, &key_of("plain"), "Notes.Read", "bob").await.ok();
    assert!(!hands_out("plain", text(&plain, "url")).await);

    // As it was before the operator gave the key its right.
    let caller = Caller { namespace: "key:app".into(), user: UserId::new("bob") };
    let url = "https://app.example/verify".parse().unwrap();
    let verifier = Verifier { key: "app".into(), url, confirm: ConfirmOrder::Before };
    let proof = Ok(BrowserProof::Application(verifier));
    let before = Principal::new(caller, BTreeSet::new(), proof);
    let acme = world.broker().provider("acme").unwrap();
    let asking = Asking::Link { client: Some("app"), next: None, later: None };
    let scopes = Scopes::new(["notes:read"]);
    let view = world.broker().authorize(&before, &acme, &scopes, asking).await;
    let ViewState::Pending { id, url } = view.state else { panic!("{view:?}") };
    assert!(!hands_out("app", &url).await);
    world.consent("app", "bob", &url).await;

    let key = key_of("app");
    let given = status(&world, &key, &format!("ar_Ym9i.{id}"), "").await.ok();
    assert_eq!((text(&given, "status"), &given["context"]), ("completed", &json!({})));
    let call = json!({"tool_name": "Notes.Read", "input": {"id": 1}, "user_id": "bob"});
    let ran = world.post(&key, "/v1/tools/execute", call).await.ok();
    assert_eq!(ran["success"], true, "a tool needs no agreement about tokens: {ran}");

    let asked = authorize_tool(&world, &key, "Notes.Read", "bob").await.ok();
    assert_eq!(text(&asked, "status"), "pending");
    assert!(hands_out("app", text(&asked, "url")).await);
    world.consent("app", "bob", text(&asked, "url")).await;
    let agreed = authorize_tool(&world, &key, "Notes.Read", "bob").await.ok();
    assert_eq!(agreed["context"]["token"], "code-bob");
}

/// A browser that its application confirms only afterwards sees less, but these two things too.
#[tokio::test]
async fn an_unconfirmed_browser_reads_that_the_token_is_handed_out() {
    let world = World::for_many().await;
    let asked = authorize_tool(&world, &key_of("after"), "Notes.Read", "bob").await.ok();
    let (link, browser) = (text(&asked, "url"), world.browser());
    let page = browser.get(link).await;
    assert!(page.text.contains("gets the access token"), "{}", page.text);
    // The page was opened before the link had to say so.
    let outdated = browser.post(link, &[("answer", "continue"), ("shown", "")]).await;
    assert!(link.ends_with(outdated.location()), "{}", outdated.location());
    let on = browser.post(link, &[("answer", "continue"), ("shown", page.shown())]).await;
    assert!(on.location().contains("/authorize?"), "{}", on.location());
}

/// Of several accounts, an answer has the token of the one that it names, or none.
#[tokio::test]
async fn a_token_is_that_of_the_account_which_the_id_names() {
    let world = World::for_many_with_accounts().await;
    let issued = AtomicUsize::new(0);
    world.provider.tokens(move |_| {
        let number = issued.fetch_add(1, Ordering::Relaxed) + 1;
        Act::Say(said(json!({ "access_token": format!("token-{number}") }).to_string()))
    });
    let key = key_of("app");
    let connect = async |input: Value| {
        let call = json!({"tool_name": "Notes.Read", "input": input, "user_id": "bob"});
        let refused = world.post(&key, "/v1/tools/execute", call).await.json;
        let pending = &refused["authorization"];
        world.consent("app", "bob", text(pending, "url")).await;
        text(pending, "id").to_owned()
    };
    let default = connect(json!({"id": 7})).await;
    let work = connect(json!({"id": 7, "account": "work"})).await;
    let token = async |id: &str| {
        let answer = status(&world, &key, id, "").await.ok();
        (text(&answer, "id").to_owned(), answer["context"]["token"].clone())
    };
    let (of_default, first) = token(&default).await;
    let (of_work, second) = token(&work).await;
    assert_eq!((&first, &second), (&json!("token-1"), &json!("token-2")));
    assert_eq!(token(&of_default).await, (of_default.clone(), first));
    assert_eq!(token(&of_work).await, (of_work.clone(), second.clone()));

    // Without the default account, its ids lead to no other account.
    let mine = world.get(&key, "/v1/admin/user_connections?user_id=bob").await.ok();
    let mine = mine["items"].as_array().unwrap();
    let path = format!("/v1/admin/user_connections/{}", text(&mine[0], "id"));
    world.send(reqwest::Method::DELETE, &key, &path, None, &[]).await.ok();
    status(&world, &key, &default, "").await.is_refused(404, "not_found");
    assert_eq!(token(&work).await, (of_work, second));
}

/// A token that is refused is renewed for the answer; if the provider has ended the grant, the user
/// is asked again and no call gets an old token.
#[tokio::test]
async fn a_grant_that_ends_while_its_token_is_renewed_is_asked_for_again() {
    let world = World::for_many().await;
    world.provider.tokens(|body| {
        Act::Say(if body.contains("grant_type=refresh_token") {
            let gone = br#"{"error":"invalid_grant"}"#;
            let head = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                gone.len()
            );
            [head.as_bytes(), gone].concat()
        } else {
            said(r#"{"access_token":"short","expires_in":600,"refresh_token":"r"}"#)
        })
    });
    let key = key_of("app");
    let pending = authorize_tool(&world, &key, "Notes.Read", "bob").await.ok();
    world.consent("app", "bob", text(&pending, "url")).await;
    let completed = authorize_tool(&world, &key, "Notes.Read", "bob").await.ok();
    assert_eq!(completed["context"]["token"], "short");
    world.pass(Duration::from_mins(20));
    let again = authorize_tool(&world, &key, "Notes.Read", "bob").await.ok();
    assert_eq!((text(&again, "status"), &again["context"]), ("pending", &json!({})), "{again}");
}

#[tokio::test]
async fn a_browser_goes_to_the_application_s_page_at_the_end() {
    let world = World::for_many().await;
    let ask = async |next: &str| {
        let body = json!({"tool_name": "Notes.Read", "user_id": "bob", "next_uri": next});
        world.post(&key_of("app"), "/v1/tools/authorize", body).await
    };
    for bad in ["https://evil.example/", "http://127.0.0.1/", "javascript:alert(1)", "/done", "x"] {
        let reply = ask(bad).await;
        assert!(reply.is_refused(400, "malformed_request").starts_with("`next_uri`"), "{bad}");
    }
    let pending = ask("https://app.example/done?for=bob").await.ok();
    let location = world.consent_and_return("app", "bob", text(&pending, "url")).await;
    assert_eq!(location, "https://app.example/done?for=bob");

    let machine = World::on_machine().await;
    let body =
        json!({"auth_requirement": {"provider_id": "acme"}, "next_uri": "http://localhost:3000/x"});
    let pending = machine.post("any", "/v1/auth/authorize", body).await.ok();
    let location = machine.consent_and_return("", "", text(&pending, "url")).await;
    assert_eq!(location, "http://localhost:3000/x");
    let body = json!({"tool_name": "Notes.Read", "next_uri": "https://app.example/done"});
    machine.post("any", "/v1/tools/authorize", body).await.is_refused(400, "malformed_request");
}

#[tokio::test]
async fn a_confirmed_browser_s_authorization_has_the_id_of_its_status() {
    let world = World::for_many().await;
    let pending = authorize_tool(&world, &key_of("app"), "Notes.Read", "bob").await.ok();
    let confirmed = world.confirmed_id("app", "bob", text(&pending, "url")).await;
    assert_eq!(confirmed, pending["id"]);
}

/// Isolation: nothing of `app`'s users is there for `other`, whatever id it sends.
#[tokio::test]
async fn a_second_application_finds_nothing_by_the_ids_of_the_first() {
    let world = World::for_many().await;
    let (app, other) = (key_of("app"), key_of("other"));
    let pending = authorize_tool(&world, &app, "Notes.Read", "bob").await.ok();
    let link = text(&pending, "id").to_owned();
    status(&world, &other, &link, "").await.is_refused(404, "not_found");
    world.consent("app", "bob", text(&pending, "url")).await;
    let completed = status(&world, &app, &link, "").await.ok();
    let connection = text(&completed, "id").to_owned();
    for id in [&link, &connection] {
        for wait in ["", "45"] {
            status(&world, &other, id, wait).await.is_refused(404, "not_found");
        }
        // Nor is it there for a user of the same name with another key.
        status(&world, &key_of("ana"), id, "").await.is_refused(404, "not_found");
        status(&world, &app, id, "").await.ok();
    }
    let asked = authorize_tool(&world, &other, "Notes.Read", "bob").await.ok();
    assert_eq!(text(&asked, "status"), "pending");
    let mine = world.get(&app, "/v1/admin/user_connections").await.ok();
    assert_eq!(mine["total_count"], 1);
    for (key, status) in [(&other, 403), (&key_of("plain"), 403)] {
        let id = text(&mine["items"][0], "id");
        let path = format!("/v1/admin/user_connections/{id}");
        let reply = world.send(reqwest::Method::DELETE, key, &path, None, &[]).await;
        assert_eq!(reply.status, status);
    }
    assert_eq!(world.get(&app, "/v1/admin/user_connections").await.ok()["total_count"], 1);
}

fn requirements(names: &[&str], more: &Value) -> Value {
    let mut body = json!({"tool_names": names});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn several_tools_need_one_consent_for_each_provider() {
    let world = World::on_machine().await;
    let ask = async |body: Value| world.post("any", "/v1/tools/requirements", body).await;
    let names = ["Notes.Read", "notes_write", "Umbra.Look", "Github.SetStarred"];
    let looked = ask(requirements(&names, &json!({}))).await.ok();
    let acme = json!({
        "met": false,
        "provider_id": "acme",
        "provider_type": "oauth2",
        "scopes": ["notes:read", "notes:write"],
        "status": "active",
        "token_status": "not_started",
        "tool_names": ["Notes.Read", "Notes.Write"],
    });
    assert_eq!(looked["authorization"]["items"]["acme"], acme);
    assert_eq!(looked["secrets"], json!({"met": true, "items": {}}));
    assert_eq!((&looked["met"], &looked["authorization"]["met"]), (&json!(false), &json!(false)));

    let asked = ask(requirements(&names, &json!({"authorize": true}))).await.ok();
    let items = &asked["authorization"]["items"];
    assert_eq!(items.as_object().unwrap().len(), 2);
    let acme = &items["acme"];
    assert_eq!(text(acme, "token_status"), "pending");
    // Declining one leaves the other usable.
    world.decline("", "", text(&items["umbra"], "url")).await;
    world.consent("", "", text(acme, "url")).await;
    let completed = status(&world, "any", text(acme, "authorization_id"), "45").await.ok();
    assert_eq!(text(&completed, "status"), "completed");
    let after = ask(requirements(&names, &json!({}))).await.ok();
    assert_eq!(after["authorization"]["items"]["acme"]["met"], true);
    assert_eq!(after["authorization"]["items"]["umbra"]["met"], false);
    let both = json!({"tools": [{"tool_name": "Notes.Read", "tool_version": "1.0.0"}]});
    let met = ask(requirements(&["Github.SetStarred"], &both)).await.ok();
    assert_eq!(met["met"], true);
}

#[tokio::test]
async fn a_question_about_tools_names_them() {
    let world = World::on_machine().await;
    let ask = async |body: Value| world.post("any", "/v1/tools/requirements", body).await;
    let many = vec!["Notes.Read"; 101];
    for body in [
        json!({}),
        json!({"tool_names": []}),
        json!({"tool_names": many}),
        json!({"tool_names": [1]}),
    ] {
        ask(body).await.is_refused(400, "malformed_request");
    }
    let unknown = ask(json!({"tool_names": ["Notes.Read", "Notes.Raed"]})).await;
    let message = unknown.is_refused(404, "not_found");
    assert!(message.contains("Notes.Raed") && message.contains("Notes.Read"), "{message}");
}

/// What a listed tool still needs, for the user of the query.
#[tokio::test]
async fn a_listed_tool_says_whether_its_user_may_call_it_now() {
    let world = World::on_machine().await;
    let required = async |query: &str| {
        let path = format!("/v1/tools/Notes.Read{query}");
        world.get("any", &path).await.ok()["requirements"].clone()
    };
    let expected = |met: bool, status: Option<&str>| {
        let mut authorization = json!({
            "provider_id": "acme",
            "provider_type": "oauth2",
            "oauth2": {"scopes": ["notes:read"]},
            "status": "active",
        });
        if let Some(status) = status {
            authorization["token_status"] = json!(status);
        }
        json!({"met": met, "authorization": authorization, "secrets": []})
    };
    assert_eq!(required("").await, expected(false, None));
    assert_eq!(required("?user_id=ana").await, expected(false, Some("not_started")));
    let pending = authorize_tool(&world, "any", "Notes.Read", "ana").await.ok();
    world.consent("", "", text(&pending, "url")).await;
    assert_eq!(required("").await, expected(false, None));
    assert_eq!(required("?user_id=ana").await, expected(true, Some("completed")));
    assert_eq!(required("?user_id=bob").await, expected(false, Some("not_started")));
    let page = world.get("any", "/v1/tools?user_id=ana").await.ok();
    let items = page["items"].as_array().unwrap().iter();
    let met: Vec<(&str, bool)> = items
        .map(|tool| (text(tool, "name"), tool["requirements"]["met"].as_bool().unwrap()))
        .collect();
    assert!(met.contains(&("Read", true)) && met.contains(&("Write", false)), "{met:?}");
    assert!(met.contains(&("SetStarred", true)) && met.contains(&("Look", false)), "{met:?}");
}
