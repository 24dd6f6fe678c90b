//! Errors of the server, of tools, and of settings.

use serde_json::{Value, json};

use super::client::{Kind, text};
use crate::arcade::world::{APP_KEY, BARE_KEY, Keyed};

#[test]
fn errors_have_their_types() {
    let keyed = Keyed::start("");
    let origin = keyed.served.origin();
    for kind in Kind::ALL {
        let user = format!("{kind:?}");
        // The Python client has a class for each name.
        let is = |error: &Value, class: &str, name: &str| {
            assert_eq!(error["name"], name, "{kind:?}: {error}");
            let class = if kind == Kind::TypeScript { "ApiError" } else { class };
            for class in [class, "ApiError", "CountersignError"] {
                assert!(error["bases"].as_array().unwrap().contains(&json!(class)), "{error}");
            }
        };
        let tool = json!({ "tool": "Notes.Whoami", "user": user });
        let mut stranger = kind.with_key(origin, "a-key-that-nobody-has-0123456789");
        is(
            &stranger.fails("execute", tool.clone()),
            "InvalidAuthorization",
            "invalid_authorization",
        );
        let mut bare = kind.with_key(origin, BARE_KEY);
        let nobody = json!({ "user": user });
        is(&bare.fails("connections", nobody), "AdminRequired", "admin_required");
        let mut client = kind.with_key(origin, APP_KEY);
        let unknown = json!({ "tool": "Notes.Unknown", "user": user });
        is(&client.fails("execute", unknown), "NotFound", "not_found");
        is(
            &client.fails("execute", json!({ "tool": "Notes.Whoami" })),
            "MalformedRequest",
            "malformed_request",
        );
        let elsewhere =
            json!({ "tool": "Notes.Whoami", "user": user, "next_uri": "https://evil.example/" });
        is(&client.fails("authorize", elsewhere), "MalformedRequest", "malformed_request");

        let asked = client.call("authorize", tool);
        keyed.visit(&user, text(&asked, "url")).approves();
        let read = |input: Value| json!({ "tool": "Notes.Read", "user": user, "input": input });
        let wrong = client.fails("execute", read(json!({})));
        assert_eq!(
            (&wrong["type"], &wrong["kind"]),
            (&json!("ToolError"), &json!("TOOL_RUNTIME_BAD_INPUT_VALUE"))
        );
        assert_eq!(wrong["can_retry"], true, "{wrong}");
        let gone = client.fails("execute", read(json!({ "id": "no-such-note" })));
        assert_eq!(
            (&gone["kind"], &gone["status_code"]),
            (&json!("UPSTREAM_RUNTIME_NOT_FOUND"), &json!(404)),
            "{gone}"
        );
    }
}

#[test]
fn a_client_that_cannot_work_is_refused_and_its_key_is_not_shown() {
    for kind in Kind::ALL {
        for (settings, advice) in [
            (json!({ "url": "https://tools.example.com" }), "COUNTERSIGN_API_KEY"),
            (
                json!({ "url": "https://me:a-password-of-mine@tools.example.com", "api_key": APP_KEY }),
                "without user",
            ),
            (
                json!({ "url": "tools.example.com", "api_key": APP_KEY }),
                "https://tools.example.com",
            ),
            (
                json!({ "url": "http://127.0.0.1:9", "api_key": format!("{APP_KEY}\n") }),
                "characters",
            ),
        ] {
            let client = kind.start(&settings, &json!({}));
            let refused = text(&client.program.ready, "refused");
            assert!(refused.contains(advice), "{kind:?}: {refused}");
            assert!(
                !refused.contains(APP_KEY) && !refused.contains("a-password-of-mine"),
                "{refused}"
            );
        }
    }
}
