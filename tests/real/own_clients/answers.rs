//! Lost answers, refusals that pass, and answers of something else.

use serde_json::json;

use super::client::{Kind, text};
use super::relay::{Fault, Relay};
use crate::arcade::world::{APP_KEY, Keyed, Machine};
use crate::harness::Visit;

/// An answer of a status with this body, and with further lines of its head.
fn answer(head: &str, body: &str) -> Fault {
    let length = body.len();
    Fault::Answer(format!(
        "HTTP/1.1 {head}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

const BUSY: &str = r#"{"name":"unavailable","message":"busy"}"#;

#[test]
fn a_request_is_repeated_only_where_that_is_safe() {
    let keyed = Keyed::start("");
    let relay = Relay::before(keyed.served.origin());
    let written = || keyed.world.api_log().iter().filter(|one| one["method"] == "POST").count();
    for kind in Kind::ALL {
        let user = format!("{kind:?}");
        let mut client = kind.with_key(relay.origin(), APP_KEY);
        let scopes = json!(["notes:read", "notes:write"]);
        let asked = client
            .call("authorize", json!({ "provider": "notes", "scopes": scopes, "user": user }));
        keyed.visit(&user, text(&asked, "url")).approves();
        let (before, _) = (written(), relay.requests());

        // Twice no answer: the call is sent again under its key, and has run once.
        relay.will([Fault::Lost, Fault::Lost]);
        let write = json!({ "tool": "Notes.Write", "input": { "title": "once" }, "user": user });
        client.call("execute", write.clone());
        let keys = relay.idempotency_keys();
        assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert_eq!(written(), before + 1, "{kind:?}");
        // Another call has another key, unless the program names one.
        client.call("execute", write.clone());
        assert_ne!(relay.idempotency_keys(), [keys[0].clone()]);
        let mut named = write.clone();
        named["idempotency_key"] = format!("call-of-{user}").into();
        client.call("execute", named.clone());
        client.call("execute", named);
        assert_eq!(written(), before + 3, "{kind:?}");
        relay.requests();

        // A refusal that passes, and one that the server says will not.
        relay.will([
            answer("503 Service Unavailable\r\nRetry-After: 1", BUSY),
            answer("429 Too Many Requests", BUSY),
        ]);
        client.call("ready", json!({ "tools": ["Notes.Whoami"], "user": user }));
        assert_eq!(relay.requests().len(), 3, "{kind:?}");
        relay.will([answer("503 Service Unavailable\r\nx-should-retry: false", BUSY)]);
        let error = client.fails("ready", json!({ "tools": ["Notes.Whoami"], "user": user }));
        assert_eq!((&error["name"], relay.requests().len()), (&json!("unavailable"), 1), "{error}");

        // A disconnection is not repeated; it is done, although its answer was lost.
        let all = client.call("connections", json!({ "user": user }));
        relay.requests();
        relay.will([Fault::Lost]);
        let lost = client.fails("disconnect", json!({ "connection_id": all[0]["id"] }));
        assert_eq!((&lost["type"], relay.requests().len()), (&json!("NoAnswer"), 1), "{lost}");
        assert_eq!(client.call("connections", json!({ "user": user })), json!([]));
    }
}

#[test]
fn a_request_ends_with_its_timeout() {
    let machine = Machine::start();
    for kind in Kind::ALL {
        let relay = Relay::before(machine.served.origin());
        relay.will([Fault::Silence, Fault::Silence, Fault::Silence]);
        let settings = json!({ "url": relay.origin(), "timeout": 0.2 });
        let mut client = kind.start(&settings, &json!({}));
        let silent = client.fails("authorize", json!({ "tool": "Notes.Whoami", "user": "ana" }));
        assert_eq!(silent["type"], "NoAnswer", "{kind:?}: {silent}");
    }
}

/// The link outlives the server, and so does the wait.
#[test]
fn waiting_goes_on_while_the_server_is_away() {
    let machine = Machine::start();
    let relay = Relay::before(machine.served.origin());
    for kind in Kind::ALL {
        let user = format!("{kind:?}");
        let mut client = kind.with_key(relay.origin(), APP_KEY);
        let asked = client.call("authorize", json!({ "tool": "Notes.Whoami", "user": user }));
        let pending = asked.to_string();
        // The first poll is answered; the next ones, with their repetitions, are not.
        relay.will([answer("200 OK", &pending)]);
        relay.will([Fault::Lost, Fault::Lost, Fault::Lost]);
        relay.will([(); 3].map(|()| answer("503 Service Unavailable", BUSY)));
        Visit::to(text(&asked, "url")).signed_in_as(&user).approves();
        let done = client.call("wait", json!({ "authorization": asked["id"], "timeout": 30 }));
        assert_eq!(text(&done, "is"), "Completed", "{done}");
    }
}

#[test]
fn answers_of_others_are_refused_and_pages_are_put_together() {
    let machine = Machine::start();
    let elsewhere = Relay::before(machine.served.origin());
    let relay = Relay::before(machine.served.origin());
    let connection = |id: &str| {
        json!({
            "id": id, "connection_id": id, "connection_status": "active", "provider_id": "notes",
            "provider_type": "oauth2", "provider_description": "Notes", "user_id": "ana",
            "provider_user_info": { "label": null }, "scopes": [], "of_a_newer_server": 1,
        })
    };
    let page = |id: &str, offset: u64| {
        let items = [connection(id)];
        let page = json!({ "items": items, "limit": 1, "offset": offset, "page_count": 1, "total_count": 2 });
        answer("200 OK", &page.to_string())
    };
    let confirmation = json!({ "confirmation_id": "c", "confirmation_url": "https://tools.example.com/confirm/c" });
    let error = json!({ "message": "Confirm.", "kind": "CONTEXT_DENIED", "can_retry": true, "extra": confirmation });
    let unconfirmed = json!({
        "id": "te_1", "execution_id": "tc_1", "execution_type": "immediate", "status": "failed", "success": false,
        "duration": 1.5, "finished_at": null, "run_at": null,
        "output": { "value": null, "error": error, "logs": [], "authorization": null },
    });
    for kind in Kind::ALL {
        let mut client = kind.with_key(relay.origin(), APP_KEY);
        let tool = json!({ "tool": "Notes.Whoami", "user": "ana" });
        relay.will([answer("200 OK", &unconfirmed.to_string())]);
        let asked = client.fails("execute", tool.clone());
        assert_eq!(asked["type"], "ConfirmationRequired", "{kind:?}: {asked}");
        assert_eq!(asked["confirmation"], confirmation, "{kind:?}: {asked}");
        // The key does not follow a redirect.
        let moved = format!(
            "307 Temporary Redirect\r\nLocation: {}/v1/tools/authorize",
            elsewhere.origin()
        );
        let pages = ["200 OK", "404 Not Found", &moved];
        for head in pages {
            relay.will([answer(head, "<html>not ours</html>")]);
            let error = client.fails("authorize", tool.clone());
            assert_eq!(error["type"], "UnexpectedAnswer", "{kind:?}, {head}: {error}");
        }
        assert!(elsewhere.requests().is_empty(), "{kind:?}");
        relay.requests();
        relay.will([page("c1", 0), page("c2", 1)]);
        let all = client.call("connections", json!({ "user": "ana" }));
        assert_eq!((&all[0]["id"], &all[1]["id"]), (&json!("c1"), &json!("c2")), "{all}");
        let asked = relay.requests();
        assert!(asked[0].contains("offset=0 ") && asked[1].contains("offset=1 "), "{asked:?}");
    }
}
