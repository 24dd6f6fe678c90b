//! Reading: health, tools and formatted tools.

use reqwest::Method;
use serde_json::{Value, json};

use crate::rest::world::{TOKEN, World, key_of};

const NAMES: [&str; 4] = ["Notes.Read", "Notes.Write", "Github.SetStarred", "Umbra.Look"];

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|tool| tool["qualified_name"].as_str().unwrap()).collect()
}

/// Percent-encodes a value of a query.
fn encoded(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

#[tokio::test]
async fn health_needs_no_key() {
    let world = World::on_machine().await;
    world.get("any", "/v1/tools").await.ok();
    let reply = world.get("", "/v1/health").await;
    assert!(reply.status.is_success() || reply.status == 503, "{reply:?}");
    // Opens the store.
    world.post("any", "/v1/tools/execute", json!({"tool_name": "umbra_look"})).await;
    assert_eq!(world.get("", "/v1/health").await.ok(), json!({"healthy": true}));
}

#[tokio::test]
async fn a_tool_has_arcade_s_shape() {
    let world = World::on_machine().await;
    let tool = world.get("any", "/v1/tools/Notes.Write").await.ok();
    let expected = json!({
        "name": "Write",
        "qualified_name": "Notes.Write",
        "fully_qualified_name": "Notes.Write@1.0.0",
        "description": "Writes a note.",
        "toolkit": {"name": "Notes", "description": "Acme", "version": "1.0.0"},
        "input": {"parameters": [
            {
                "name": "content",
                "description": "The note",
                "required": true,
                "inferrable": true,
                "value_schema": {"val_type": "string"},
            },
            {
                "name": "tags",
                "description": "Its tags",
                "required": false,
                "inferrable": true,
                "value_schema": {"val_type": "array", "inner_val_type": "string"},
            },
        ]},
        "output": {
            "description": "The result of “Write a note”.",
            "available_modes": ["value", "error", "null"],
            "value_schema": {"val_type": "json"},
        },
        "metadata": {
            "classification": {"service_domains": []},
            "behavior": {
                "operations": ["create", "update"],
                "read_only": false,
                "destructive": false,
                "idempotent": false,
                "open_world": true,
            },
            "extras": {},
        },
        "requirements": {
            "met": false,
            "authorization": {
                "provider_id": "acme",
                "provider_type": "oauth2",
                "oauth2": {"scopes": ["notes:write"]},
                "status": "active",
            },
            "secrets": [],
        },
    });
    assert_eq!(tool, expected);
    let star = world.get("any", "/v1/tools/github.setstarred").await.ok();
    assert_eq!(star["requirements"], json!({"met": true, "secrets": []}));
    let joined = &star["input"]["parameters"];
    assert_eq!(joined[0]["name"], "repository");
    assert_eq!(
        joined[0]["description"],
        "Written as `owner/repo`. `owner`: Its owner. `repo`: Its name."
    );
    assert_eq!((joined[0]["required"].clone(), &joined[1]), (json!(true), &Value::Null));
}

#[tokio::test]
async fn every_spelling_of_a_name_finds_the_tool() {
    let world = World::on_machine().await;
    for name in ["Notes.Read", "notes_read", "Notes_Read", "NOTES.READ@9.9", "notesread"] {
        let tool = world.get("any", &format!("/v1/tools/{name}")).await.ok();
        assert_eq!(tool["qualified_name"], "Notes.Read", "{name}");
    }
    let unknown = world.get("any", "/v1/tools/Notes.Raed").await;
    let message = unknown.is_refused(404, "not_found");
    assert!(message.contains("did you mean `Notes.Read`?"), "{message}");
    let message = world.get("any", "/v1/tools/Other.Tool").await;
    assert!(!message.is_refused(404, "not_found").contains("did you mean"));
}

/// A newcomer's first call is often one of a toolkit's tool.
#[tokio::test]
async fn a_tool_that_no_line_asks_for_is_named_with_the_line() {
    const LINE: &str = "`github_star_repo` is a tool of the toolkit `github`; to serve it, add it in [toolkits] of tools.toml, e.g. `github = [\"star_repo\"]`";
    let call = |user: &str| json!({"tool_name": "Github.StarRepo", "input": {}, "user_id": user});
    let world = World::on_machine().await;
    for reply in [
        world.get("any", "/v1/tools/Github.StarRepo").await,
        world.get("any", "/v1/formatted_tools/github_star_repo").await,
        world.post("any", "/v1/tools/execute", call("")).await,
        world.post("any", "/v1/tools/authorize", call("")).await,
    ] {
        let message = reply.is_refused(404, "not_found");
        assert!(message.contains(LINE), "{message}");
    }
    let body = json!({"execution_context": {"end_user_id": "ana"}});
    for path in ["run", "ready"] {
        let path = format!("/api/v0/tools/portia:github::star_repo/{path}/");
        let reply = world.post("any", &path, body.clone()).await;
        assert_eq!(reply.status, 404);
        assert!(reply.json["detail"].as_str().unwrap().contains(LINE), "{reply:?}");
    }
    // An application's user reads no more than the public name.
    let world = World::for_many().await;
    let call = json!({"tool_name": "Gmail.ListEmails", "input": {}, "user_id": "bob"});
    let reply = world.post(&key_of("plain"), "/v1/tools/execute", call).await;
    let message = reply.is_refused(404, "not_found");
    assert!(message.contains("`gmail_list_emails` is one of Countersign's built-in"), "{message}");
    assert!(!message.contains("toml") && !message.contains("toolkit"), "{message}");
}

#[tokio::test]
async fn a_name_that_two_tools_have_is_refused_with_both() {
    let more = r#"
        [tools.notes-read]
        description = "Also reads."
        request     = "GET ORIGIN/notes"
    "#;
    let world = World::on_machine_with(more).await;
    for reply in [
        world.get("any", "/v1/tools/Notes.Read").await,
        world.get("any", "/v1/formatted_tools/Notes.Read").await,
        world.post("any", "/v1/tools/execute", json!({"tool_name": "notes_read"})).await,
    ] {
        let message = reply.is_refused(400, "ambiguous_tool");
        assert!(message.contains("`notes-read` and `notes_read`"), "{message}");
    }
}

#[tokio::test]
async fn tools_come_in_pages_and_through_filters() {
    let world = World::on_machine().await;
    let list = async |query: &str| world.get("any", &format!("/v1/tools{query}")).await.ok();
    let all = list("").await;
    for name in NAMES {
        assert!(names(&all).contains(&name), "{name}");
    }
    assert_eq!(all["total_count"], 5);
    assert_eq!(
        (&all["limit"], &all["offset"], &all["page_count"]),
        (&json!(25), &json!(0), &json!(1))
    );
    let mut paged = Vec::new();
    for offset in [0, 2, 4, 6] {
        let page = list(&format!("?limit=2&offset={offset}")).await;
        assert_eq!((&page["page_count"], &page["total_count"]), (&json!(3), &json!(5)));
        paged.extend(names(&page).into_iter().map(str::to_owned));
    }
    assert_eq!(paged, names(&all));
    assert_eq!(names(&list("?toolkit=notes").await), ["Notes.Read", "Notes.Write"]);
    let filter = encoded(r#"{"operations":["read"]}"#);
    assert_eq!(names(&list(&format!("?filter={filter}")).await), ["Notes.Read", "Umbra.Look"]);
    for bad in ["?limit=x", "?filter=x", "?filter=[]", "?include_format=yaml"] {
        world.get("any", &format!("/v1/tools{bad}")).await.is_refused(400, "malformed_request");
    }
}

#[tokio::test]
async fn tools_come_in_the_forms_of_model_apis() {
    let world = World::on_machine().await;
    let parameters = json!({
        "type": "object",
        "properties": {"id": {"type": "integer", "description": "Number of the note"}},
        "required": ["id"],
        "additionalProperties": false,
    });
    let openai = json!({
        "type": "function",
        "function": {
            "name": "Notes_Read",
            "description": "Reads a note.",
            "parameters": parameters,
        },
    });
    let anthropic = json!({
        "name": "Notes_Read",
        "description": "Reads a note.",
        "input_schema": parameters,
    });
    let get = async |path: &str| world.get("any", path).await.ok();
    let formatted = "/v1/formatted_tools/Notes_Read";
    assert_eq!(get(formatted).await, openai);
    assert_eq!(get(&format!("{formatted}?format=anthropic")).await, anthropic);
    let plain = get("/v1/tools/Notes.Read").await;
    assert_eq!(get(&format!("{formatted}?format=arcade")).await, plain);
    let page = get("/v1/formatted_tools?format=openai&toolkit=Notes").await;
    assert_eq!((&page["items"][0], &page["total_count"]), (&openai, &json!(2)));
    let included = get("/v1/tools/Notes.Read?include_format=openai,anthropic").await;
    assert_eq!(included["formatted_schema"], json!({"openai": openai, "anthropic": anthropic}));
    world.get("any", &format!("{formatted}?format=xml")).await.is_refused(400, "malformed_request");
}

/// An application names its user, or asks for its user `default`. No user of a key is in a group.
#[tokio::test]
async fn a_list_shows_the_tools_of_its_user() {
    let world = World::for_many().await;
    let count = async |key: &str, user: &str| {
        let path = format!("/v1/tools?user_id={user}");
        world.get(&key_of(key), &path).await.ok()["total_count"].clone()
    };
    assert_eq!(count("plain", "").await, 4);
    assert_eq!(count("plain", "bob").await, 4);
    assert_eq!(count("ana", "").await, 4);
    assert_eq!(count("ana", "ana").await, 4);
    world.get(&key_of("ana"), "/v1/tools?user_id=bob").await.is_refused(403, "forbidden");
    let hidden = "/v1/tools/delete_everything";
    world.get(&key_of("plain"), hidden).await.is_refused(404, "not_found");
    let call = json!({"tool_name": "Delete.Everything", "user_id": "bob"});
    world.post(&key_of("plain"), "/v1/tools/execute", call).await.is_refused(404, "not_found");
    world
        .get(&key_of("plain"), "/v1/tools?user_id=%20bob")
        .await
        .is_refused(400, "malformed_request");
    world.get("unknown-key", "/v1/tools").await.is_refused(401, "invalid_authorization");
    world.get("", "/v1/tools").await.is_refused(401, "invalid_authorization");
}

/// A client reads every error as JSON.
#[tokio::test]
async fn a_path_that_is_no_utf_8_is_refused_as_json() {
    let world = World::with_token().await;
    for path in ["/v1/tools/%ff", "/v1/formatted_tools/%ff", "/api/v0/plans/%ff/"] {
        assert_eq!(world.get(TOKEN, path).await.status, 400, "{path}");
    }
    for path in ["/v1/admin/secrets/%ff", "/v1/admin/user_connections/%ff"] {
        let reply = world.send(Method::DELETE, TOKEN, path, None, &[]).await;
        reply.is_refused(400, "malformed_request");
    }
}
