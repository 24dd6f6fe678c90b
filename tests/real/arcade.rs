//! Arcade's clients, unmodified, at our REST face: every method but those for chat and for workers.

mod crowd;
pub mod world;

use std::time::Duration;

use countersign::model::Clock;
use countersign::model::time::utc;
use serde_json::{Value, json};

use crate::harness::{Browsers, Visit, request, wait_until};
use world::{BARE_KEY, Client, Keyed, Kind, Machine};

/// More tools than fit on a page of Arcade's.
const MORE_TOOLS: usize = 60;

/// Words by which `executeOrAuthorizeZodTool` takes an error for a request for consent.
const ASKING_WORDS: [&str; 2] = ["authorization required", "permission denied"];

fn many_tools() -> String {
    let tool = |number| {
        format!(
            "[tools.hello_{number:02}]\ndescription = \"Says hello.\"\nrequest = \"GET http://127.0.0.1:9/public\"\n"
        )
    };
    (0..MORE_TOOLS).map(tool).collect()
}

#[track_caller]
fn assert_error(error: &Value, class: &str, status: u16, name: &str) {
    assert_eq!(error["type"], class, "{error}");
    assert_eq!(error["status"], status, "{error}");
    assert_eq!(error["body"]["name"], name, "{error}");
    assert!(error["body"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    let bases = error["bases"].as_array().unwrap();
    assert!(bases.iter().any(|base| base == "ArcadeError"), "{error}");
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}"))
}

// ── Tools ───────────────────────────────────────────────────────────────────

fn lists_tools(client: &mut Client) {
    let (all, pages) = client.each("tools.list", &json!({}));
    assert_eq!(all.len(), MORE_TOOLS + 4);
    assert_eq!(pages, 3, "25 a page");
    let (in_tens, pages) = client.each("tools.list", &json!({ "limit": 10 }));
    assert_eq!((&in_tens, pages), (&all, 7));
    let (notes, _) = client.each(
        "tools.list",
        &json!({ "toolkit": "Notes", "user_id": "ana", "include_format": ["openai", "anthropic"] }),
    );
    assert_eq!(notes.len(), 4);
    for tool in &notes {
        assert!(text(tool, "qualified_name").starts_with("Notes."), "{tool}");
        assert_eq!(
            text(tool, "fully_qualified_name"),
            format!("{}@1.0.0", text(tool, "qualified_name"))
        );
        let formats = tool["formatted_schema"].as_object().unwrap();
        assert!(formats.contains_key("openai") && formats.contains_key("anthropic"), "{tool}");
        let required = &tool["requirements"]["authorization"];
        assert_eq!(
            (&required["provider_id"], &required["provider_type"]),
            (&json!("notes"), &json!("oauth2"))
        );
    }
    let write = client.call("tools.get", json!(["Notes.Write"]), json!({ "user_id": "ana" }));
    let parameters = write["input"]["parameters"].as_array().unwrap();
    let mut names: Vec<_> =
        parameters.iter().map(|one| (text(one, "name"), one["required"] == true)).collect();
    names.sort_unstable();
    assert_eq!(names, [("text", false), ("title", true)]);
    assert_eq!(write["requirements"]["met"], false, "{write}");
}

fn lists_formatted_tools(client: &mut Client) {
    let (all, _) =
        client.each("tools.formatted.list", &json!({ "format": "openai", "toolkit": "Notes" }));
    let names: Vec<_> = all.iter().map(|tool| text(&tool["function"], "name")).collect();
    assert_eq!(names, ["Notes_List", "Notes_Read", "Notes_Whoami", "Notes_Write"]);
    let one =
        client.call("tools.formatted.get", json!(["Notes_Read"]), json!({ "format": "anthropic" }));
    assert_eq!(text(&one, "name"), "Notes_Read");
    assert_eq!(one["input_schema"]["required"], json!(["id"]), "{one}");
}

// ── Consents ────────────────────────────────────────────────────────────────

/// Asks for a consent, waits for it, and runs the tool.
fn authorizes_and_executes(keyed: &Keyed, client: &mut Client) {
    let tool = json!({ "tool_name": "Notes.Whoami", "user_id": "ana" });
    let asked = client.call("tools.authorize", json!([]), tool.clone());
    assert_eq!(asked["status"], "pending", "{asked}");
    assert_eq!((&asked["user_id"], &asked["provider_id"]), (&json!("ana"), &json!("notes")));
    assert_eq!(asked["scopes"], json!(["notes:read"]));
    let (id, link) = (text(&asked, "id"), text(&asked, "url"));
    let again = client.call("tools.authorize", json!([]), tool.clone());
    assert_eq!((text(&again, "id"), text(&again, "url")), (id, link));
    let status = client.call("auth.status", json!([]), json!({ "id": id, "wait": 1 }));
    assert_eq!((&status["status"], text(&status, "url")), (&json!("pending"), link));

    let refused = client.fails("tools.execute", json!([]), tool.clone());
    assert_error(&refused, "PermissionDeniedError", 403, "tool_authorization_required");
    assert!(text(&refused["body"], "message").starts_with("authorization required"), "{refused}");
    assert_eq!(text(&refused["body"]["authorization"], "url"), link);

    client.begin("auth.wait_for_completion", json!([asked]), json!({}));
    keyed.visit("ana", link).approves();
    let done = client.end();
    assert_eq!(done["status"], "completed", "{done}");
    assert!(text(&done, "id").starts_with("ac_"), "{done}");
    assert!(keyed.world.is_active(text(&done["context"], "token")));
    let ran = client.call("tools.execute", json!([]), tool.clone());
    assert_eq!((&ran["status"], &ran["success"]), (&json!("completed"), &json!(true)), "{ran}");
    assert_eq!(ran["output"]["value"]["sub"], "ana", "{ran}");
    assert!(text(&ran, "id").starts_with("te_") && text(&ran, "execution_id").starts_with("tc_"));
    let known = client.call("tools.authorize", json!([]), tool);
    assert_eq!((&known["status"], text(&known, "id")), (&json!("completed"), text(&done, "id")));
    let by_id = client.call("auth.wait_for_completion", json!([text(&done, "id")]), json!({}));
    assert_eq!(by_id["status"], "completed", "{by_id}");
}

/// A provider and scopes instead of a tool; what is granted is added to.
fn starts_authorizations(keyed: &Keyed, client: &mut Client) {
    let scopes = json!({ "scopes": ["notes:write"] });
    let asked = client.call("auth.start", json!(["ana", "notes"]), scopes.clone());
    assert_eq!(asked["status"], "pending", "{asked}");
    let requirement = json!({ "id": "notes", "provider_type": "oauth2", "oauth2": scopes });
    let named = json!({ "auth_requirement": requirement, "user_id": "ana" });
    let again = client.call("auth.authorize", json!([]), named.clone());
    assert_eq!(text(&again, "url"), text(&asked, "url"));
    keyed.visit("ana", text(&asked, "url")).approves();
    let done = client.call("auth.authorize", json!([]), named);
    assert_eq!(done["status"], "completed", "{done}");
    let granted: Vec<_> =
        done["scopes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(granted.contains(&"notes:read") && granted.contains(&"notes:write"), "{done}");
}

/// The application's server confirms with the client whose browser has come.
fn confirms_a_user(keyed: &Keyed, client: &mut Client) {
    let tool = json!({ "tool_name": "Notes.Whoami", "user_id": "ben" });
    let asked = client.call("tools.authorize", json!([]), tool);
    let mut browsers = Browsers::start();
    browsers.open("ben", &format!("{}/login/ben", keyed.app.url()));
    browsers.open("ben", text(&asked, "url"));
    let flow = keyed.app.flows().pop().expect("the browser was sent to the application");
    let named = json!({ "flow_id": flow["flow_id"], "user_id": flow["user_id"] });
    let confirmed = client.call("auth.confirm_user", json!([]), named);
    assert_eq!(text(&confirmed, "auth_id"), text(&asked, "id"));
    let page = browsers.open("ben", text(&confirmed, "next_uri"));
    assert!(page.buttons.contains(&Some("continue".into())), "{page:?}");
    let page = browsers.press("ben", "continue");
    let page = browsers.allow("ben", keyed.world.issuer(), "ben", page);
    assert_eq!(page.status, 200, "{page:?}");
    let done = client.call("auth.wait_for_completion", json!([asked]), json!({}));
    assert_eq!(done["status"], "completed", "{done}");
}

/// A call runs a second later, with a consent for calls while the user is away.
fn schedules_calls(keyed: &Keyed, client: &mut Client) {
    let soon = Clock::system().now().after(Duration::from_secs(1));
    let later = json!({ "tool_name": "Notes.Whoami", "user_id": "ana", "run_at": utc(soon) });
    let refused = client.fails("tools.execute", json!([]), later.clone());
    assert_error(&refused, "PermissionDeniedError", 403, "tool_authorization_required");
    keyed.visit("ana", text(&refused["body"]["authorization"], "url")).approves();
    let scheduled = client.call("tools.execute", json!([]), later.clone());
    assert_eq!(
        (&scheduled["status"], &scheduled["execution_type"], &scheduled["success"]),
        (&json!("scheduled"), &json!("scheduled"), &json!(true))
    );
    let id = text(&scheduled, "id").to_owned();
    let mut call = Value::Null;
    wait_until("the end of a scheduled call", || {
        call = client.call("tools.scheduled.get", json!([id]), json!({}));
        call["execution_status"] == "completed"
    });
    assert_eq!(call["attempts"][0]["output"]["value"]["sub"], "ana", "{call}");
    assert_eq!((&call["tool_name"], &call["toolkit_name"]), (&json!("Whoami"), &json!("Notes")));
    let far = utc(soon.after(Duration::from_hours(24)));
    for _ in 0..2 {
        let later = json!({ "tool_name": "Hello.07", "user_id": "ana", "run_at": far });
        client.call("tools.execute", json!([]), later);
    }
    let (all, pages) = client.each("tools.scheduled.list", &json!({ "limit": 2 }));
    assert_eq!((all.len(), pages), (3, 2), "{all:?}");
    assert_eq!(text(&all[2], "id"), id);
    let error = client.fails("tools.scheduled.get", json!(["te_unknown"]), json!({}));
    assert_error(&error, "NotFoundError", 404, "not_found");
}

/// One question for several tools, for which the clients have no method.
fn asks_for_requirements(client: &mut Client) {
    let tools = json!(["Notes.Whoami", "Notes.Write", "Hello.07"]);
    let question = json!({ "tool_names": tools, "user_id": "cleo", "authorize": true });
    let answer = client.post("/v1/tools/requirements", &question);
    assert_eq!(
        (&answer["met"], &answer["secrets"]["met"]),
        (&json!(false), &json!(true)),
        "{answer}"
    );
    let items = answer["authorization"]["items"].as_object().unwrap();
    assert_eq!(items.len(), 1, "{answer}");
    let notes = &items["notes"];
    assert_eq!(notes["tool_names"].as_array().unwrap().len(), 2, "{answer}");
    assert_eq!(notes["scopes"], json!(["notes:read", "notes:write"]), "{answer}");
    let asked = client.call(
        "tools.authorize",
        json!([]),
        json!({ "tool_name": "Notes.Write", "user_id": "cleo" }),
    );
    assert_eq!(text(notes, "url"), text(&asked, "url"), "one link for both");
}

// ── Administration ──────────────────────────────────────────────────────────

fn administers_connections(client: &mut Client) {
    let (all, _) = client.each("admin.user_connections.list", &json!({}));
    let users: Vec<_> = all.iter().map(|one| text(one, "user_id")).collect();
    assert!(users.len() == 2 && users.contains(&"ana") && users.contains(&"ben"), "{all:?}");
    let filters = if client.kind.is_python() {
        json!({ "user": { "id": "ben" }, "provider": { "id": "notes" } })
    } else {
        json!({ "user_id": "ben", "provider_id": "notes" })
    };
    let (of_ben, _) = client.each("admin.user_connections.list", &filters);
    let [connection] = &of_ben[..] else { panic!("not one connection: {of_ben:?}") };
    assert_eq!(text(connection, "provider_id"), "notes");
    assert_eq!(text(connection, "connection_status"), "active");
    let id = text(connection, "id");
    let gone = client.call("admin.user_connections.delete", json!([id]), json!({}));
    assert_eq!(gone, Value::Null);
    let (left, _) = client.each("admin.user_connections.list", &filters);
    assert!(left.is_empty(), "{left:?}");
    let tool = json!({ "tool_name": "Notes.Whoami", "user_id": "ben" });
    let asked = client.call("tools.authorize", json!([]), tool);
    assert_eq!(asked["status"], "pending", "{asked}");
}

fn administers_secrets(client: &mut Client) {
    let secret = json!({ "value": "value-of-the-secret", "description": "For a test" });
    let made = if client.kind.is_python() {
        client.post("/v1/admin/secrets/SERVICE_KEY", &secret)
    } else {
        client.call("admin.secrets.create", json!(["SERVICE_KEY"]), secret)
    };
    assert_eq!((text(&made, "key"), text(&made, "description")), ("SERVICE_KEY", "For a test"));
    let listed = client.call("admin.secrets.list", json!([]), json!({}));
    assert!(!listed.to_string().contains("value-of-the-secret"), "{listed}");
    let [only] = &listed["items"].as_array().unwrap()[..] else { panic!("not one: {listed}") };
    assert_eq!(text(only, "id"), text(&made, "id"));
    let gone = client.call("admin.secrets.delete", json!([text(only, "id")]), json!({}));
    assert_eq!(gone, Value::Null);
    let listed = client.call("admin.secrets.list", json!([]), json!({}));
    assert_eq!(listed["items"], json!([]), "{listed}");
}

fn administers_auth_providers(client: &mut Client) {
    let request = |path: &str| json!({ "endpoint": format!("https://id.example.com/{path}") });
    let oauth2 = json!({
        "client_id": "made-by-rest", "client_secret": "secret-made-by-rest",
        "authorize_request": request("authorize"), "token_request": request("token"),
    });
    let written =
        json!({ "id": "hooli", "type": "oauth2", "description": "Hooli", "oauth2": oauth2 });
    let made = client.call("admin.auth_providers.create", json!([]), written);
    assert_eq!(text(&made, "id"), "hooli");
    assert_eq!(made["oauth2"]["client_secret"]["exists"], true, "{made}");
    let listed = client.call("admin.auth_providers.list", json!([]), json!({}));
    let ids: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|one| text(one, "id")).collect();
    assert!(ids.contains(&"hooli") && ids.contains(&"notes"), "{listed}");
    assert!(!listed.to_string().contains("secret-made-by-rest"), "{listed}");
    let change = json!({ "description": "Hooli, changed" });
    let changed = client.call("admin.auth_providers.patch", json!(["hooli"]), change);
    assert_eq!(text(&changed, "description"), "Hooli, changed");
    let got = client.call("admin.auth_providers.get", json!(["hooli"]), json!({}));
    assert_eq!(text(&got, "description"), "Hooli, changed");
    let gone = client.call("admin.auth_providers.delete", json!(["hooli"]), json!({}));
    assert_eq!(text(&gone, "id"), "hooli");
    let missing = client.fails("admin.auth_providers.get", json!(["hooli"]), json!({}));
    assert_error(&missing, "NotFoundError", 404, "not_found");
}

// ── The tests ───────────────────────────────────────────────────────────────

fn every_method(kind: Kind) {
    let keyed = Keyed::silent(&many_tools());
    let mut client = keyed.client(kind);
    let health = client.call("health.check", json!([]), json!({}));
    assert_eq!(health, json!({ "healthy": true }));
    lists_tools(&mut client);
    lists_formatted_tools(&mut client);
    confirms_a_user(&keyed, &mut client);
    keyed.app.confirm_to(&keyed.served);
    authorizes_and_executes(&keyed, &mut client);
    starts_authorizations(&keyed, &mut client);
    schedules_calls(&keyed, &mut client);
    asks_for_requirements(&mut client);
    administers_connections(&mut client);
    administers_secrets(&mut client);
    administers_auth_providers(&mut client);
    let untried = client.untried();
    assert_eq!(untried, json!([]), "not tried");
}

#[test]
fn every_method_of_arcadepy() {
    every_method(Kind::Python);
}

#[test]
fn every_method_of_arcadepy_s_async_client() {
    every_method(Kind::AsyncPython);
}

#[test]
fn every_method_of_arcadejs() {
    every_method(Kind::JavaScript);
}

#[test]
fn errors_have_their_types() {
    let keyed = Keyed::start("");
    for kind in Kind::ALL {
        let mut client = keyed.client(kind);
        let unknown = json!({ "tool_name": "Notes.Fly", "user_id": "ana" });
        for method in ["tools.execute", "tools.authorize"] {
            let error = client.fails(method, json!([]), unknown.clone());
            assert_error(&error, "NotFoundError", 404, "not_found");
        }
        let nameless = json!({ "tool_name": "Notes.Whoami" });
        let error = client.fails("tools.execute", json!([]), nameless);
        assert_error(&error, "BadRequestError", 400, "malformed_request");
        let error = client.fails("auth.status", json!([]), json!({ "id": "ar_x.y", "wait": 60 }));
        assert_error(&error, "BadRequestError", 400, "malformed_request");
        let error = client.fails(
            "auth.confirm_user",
            json!([]),
            json!({ "flow_id": "f", "user_id": "ana" }),
        );
        assert_error(&error, "BadRequestError", 400, "unknown_flow");

        let mut stranger = kind.start(keyed.served.origin(), "no-key-of-this-server-0123456789");
        let error = stranger.fails("tools.list", json!([]), json!({}));
        assert_error(&error, "AuthenticationError", 401, "invalid_authorization");
        let mut bare = kind.start(keyed.served.origin(), BARE_KEY);
        let error = bare.fails("admin.user_connections.list", json!([]), json!({}));
        assert_error(&error, "PermissionDeniedError", 403, "admin_required");
        let message = text(&error["body"], "message").to_lowercase();
        assert!(!ASKING_WORDS.iter().any(|words| message.contains(words)), "{error}");
    }
}

/// A failure of the tool is a result: no client takes it for a fault of the request and repeats it.
#[test]
fn a_failed_tool_is_called_once() {
    let machine = Machine::start();
    let mut client = machine.client(Kind::Python);
    let tool = json!({ "tool_name": "Notes.Read", "user_id": "ana" });
    let asked = client.call("tools.authorize", json!([]), tool);
    Visit::to(text(&asked, "url")).approves();
    for kind in Kind::ALL {
        request("POST", &format!("{}/test/reset", machine.world.api()), &[], "");
        let mut client = machine.client(kind);
        let call = json!({ "tool_name": "Notes.Read", "user_id": "ana", "input": { "id": "no-such-note" } });
        let failed = client.call("tools.execute", json!([]), call);
        assert_eq!((&failed["status"], &failed["success"]), (&json!("failed"), &json!(false)));
        let error = &failed["output"]["error"];
        assert_eq!(text(error, "kind"), "UPSTREAM_RUNTIME_NOT_FOUND", "{failed}");
        assert_eq!(error["status_code"], 404, "{failed}");
        assert_eq!(machine.world.api_log().len(), 1, "{kind:?}");

        let call = json!({ "tool_name": "Notes.Read", "user_id": "ana", "input": {} });
        let failed = client.call("tools.execute", json!([]), call);
        let error = &failed["output"]["error"];
        assert_eq!(text(error, "kind"), "TOOL_RUNTIME_BAD_INPUT_VALUE", "{failed}");
        assert_eq!(error["can_retry"], true, "{failed}");
    }
}

/// The clients' wait loops end only with a completion or an error.
#[test]
fn waiting_ends_when_the_user_declines_and_when_the_link_is_over() {
    for kind in Kind::ALL {
        let machine = Machine::start();
        let mut client = machine.client(kind);
        let tool = json!({ "tool_name": "Notes.Whoami", "user_id": "ana" });
        let asked = client.call("tools.authorize", json!([]), tool);
        client.begin("auth.wait_for_completion", json!([asked]), json!({}));
        Visit::to(text(&asked, "url")).denying().go();
        let error = client.end_in_error();
        assert_error(&error, "BadRequestError", 400, "authorization_failed");

        let over = format!("{}x", text(&asked, "id"));
        let error = client.fails("auth.wait_for_completion", json!([over]), json!({}));
        assert_error(&error, "NotFoundError", 404, "not_found");
    }
}

/// On the user's own machine, any key names any user; the administration needs `--token`.
#[test]
fn two_variables_are_enough_on_a_machine() {
    let machine = Machine::start();
    for kind in Kind::ALL {
        let mut client = machine.client(kind);
        let error = client.fails("admin.user_connections.list", json!([]), json!({}));
        assert_error(&error, "PermissionDeniedError", 403, "admin_required");
        let user = format!("{kind:?}");
        let tool = json!({ "tool_name": "notes_whoami", "user_id": user });
        let asked = client.call("tools.authorize", json!([]), tool.clone());
        Visit::to(text(&asked, "url")).signed_in_as(&user).approves();
        let done = client.call("auth.wait_for_completion", json!([asked]), json!({}));
        assert!(done["context"].get("token").is_none(), "{done}");
        let ran = client.call("tools.execute", json!([]), tool);
        assert_eq!(text(&ran["output"]["value"], "sub"), user, "{ran}");
    }
}

#[test]
fn zod_tools_ask_or_run() {
    let machine = Machine::start();
    let mut client = machine.client(Kind::JavaScript);
    let input = json!({ "title": "From zod", "text": null });
    let write = json!({ "zod": "Notes.Write", "user_id": "ana", "input": input });
    let asked = client.zod(&write)["result"].take();
    assert_eq!((text(&asked, "name"), &asked["keys"]), ("Notes_Write", &json!(["title", "text"])));
    let answer = &asked["answer"];
    assert_eq!(answer["authorization_required"], true, "{asked}");
    assert_eq!(text(answer, "url"), text(&answer["authorization_response"], "url"));

    let mut only = write.clone();
    only["only_execute"] = true.into();
    let error = client.zod(&only)["error"].take();
    assert_error(&error, "PermissionDeniedError", 403, "tool_authorization_required");

    Visit::to(text(answer, "url")).approves();
    for wish in [&write, &only] {
        let ran = client.zod(wish)["result"].take();
        assert_eq!(ran["answer"]["output"]["value"]["title"], "From zod", "{ran}");
    }
    let bad = json!({ "zod": "Notes.Write", "user_id": "ana", "input": { "title": 7 } });
    let error = client.zod(&bad)["error"].take();
    assert!(text(&error, "message").starts_with("Invalid input"), "{error}");
    let list = json!({ "zod": "Notes.List", "user_id": "ana", "input": { "limit": 3, "q": null } });
    let answer = client.zod(&list)["result"]["answer"].take();
    assert!(answer["success"] == true || answer["authorization_required"] == true, "{answer}");
}
