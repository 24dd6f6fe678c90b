//! A consent from the question to its end, and connections afterwards.

use serde_json::{Value, json};

use super::client::{Kind, text};
use crate::arcade::world::{APP_KEY, Keyed, Machine, tools};
use crate::harness::{Home, Served, Visit, World, provider};

/// Tools of two further providers.
const MORE_TOOLS: &str = r#"
[tools.memos_list]
description = "List memos."
provider    = "memos"
scopes      = ["notes:read"]
request     = "GET /notes"
[tools.unset_list]
description = "List what a provider has that is not set up."
provider    = "unset"
scopes      = ["notes:read"]
request     = "GET /notes"
"#;

/// The user's own machine: the address alone is enough.
#[test]
fn a_consent_is_asked_for_waited_for_and_used() {
    let machine = Machine::start();
    for kind in Kind::ALL {
        let user = format!("{kind:?}");
        let mut client =
            kind.start(&json!({}), &json!({ "COUNTERSIGN_URL": machine.served.origin() }));
        let tool = json!({ "tool": "Notes.Whoami", "user": user });
        let asked = client.call("authorize", tool.clone());
        assert_eq!((text(&asked, "status"), text(&asked, "user_id")), ("pending", user.as_str()));
        let link = text(&asked, "url");
        let again = client.call(
            "authorize",
            json!({ "provider": "notes", "scopes": ["notes:read"], "user": user }),
        );
        assert_eq!(text(&again, "url"), link, "{kind:?}");

        let refused = client.fails("execute", tool.clone());
        assert_eq!(refused["type"], "ConsentRequired", "{refused}");
        assert_eq!(text(&refused["authorization"], "url"), link);
        let late = client.call("wait", json!({ "authorization": "last", "timeout": 0.2 }));
        assert_eq!((text(&late, "is"), text(&late["authorization"], "url")), ("TimedOut", link));

        client.begin("wait", json!({ "authorization": "last" }));
        Visit::to(link).signed_in_as(&user).approves();
        let done = client.result();
        assert_eq!(text(&done, "is"), "Completed", "{done}");
        assert_eq!(client.call("execute", tool.clone())["sub"], user.as_str());
        let ready = client.call("ready", json!({ "tools": ["Notes.Whoami"], "user": user }));
        assert_eq!(ready, json!({ "met": true, "links": {}, "problems": {} }));
        let known = client.call("authorize", tool);
        assert_eq!(text(&known, "status"), "completed");
        let done = client.call("wait", json!({ "authorization": known["id"] }));
        assert_eq!(text(&done, "is"), "Completed");
    }
}

#[test]
fn waiting_ends_with_the_reason() {
    let machine = Machine::start();
    for kind in Kind::ALL {
        let mut client = kind.with_key(machine.served.origin(), APP_KEY);
        let tool = json!({ "tool": "Notes.Whoami", "user": format!("{kind:?}") });
        for _ in 0..2 {
            let asked = client.call("authorize", tool.clone());
            client.begin("wait", json!({ "authorization": asked["id"] }));
            Visit::to(text(&asked, "url")).denying().go();
            let ended = client.result();
            assert_eq!(text(&ended, "is"), "Failed", "{ended}");
            assert!(text(&ended, "reason").contains("has not given access"), "{ended}");
        }
        // Declined twice, it is not asked for again.
        assert_eq!(client.fails("execute", tool.clone())["type"], "ConsentRefused");
        assert_eq!(client.fails("authorize", tool)["name"], "forbidden");
        let unknown = client.call("wait", json!({ "authorization": "ar_unknown" }));
        assert_eq!(text(&unknown, "is"), "Failed", "{unknown}");
    }
}

#[test]
fn tools_of_two_providers_need_two_links() {
    let redirects =
        ["notes", "memos"].map(|name| format!("http://127.0.0.1/oauth/callback/{name}"));
    let world = World::with(&json!({ "redirect_uris": redirects }), json!({}));
    let memos = provider("memos", world.issuer(), world.api());
    let unset = provider("unset", world.issuer(), world.api());
    let unset = unset.replace("env:NOTES_CLIENT_SECRET", "env:UNSET_CLIENT_SECRET");
    let home = Home::new(&tools(&world, &format!("{memos}{unset}{MORE_TOOLS}")));
    let served = Served::start(&home);
    for kind in Kind::ALL {
        let mut client = kind.with_key(served.origin(), APP_KEY);
        let user = format!("{kind:?}");
        let needed =
            json!({ "tools": ["Notes.Whoami", "Notes.Write", "Memos.List"], "user": user });
        let ready = client.call("ready", needed.clone());
        assert_eq!(ready["met"], false, "{ready}");
        let links = ready["links"].as_object().unwrap();
        assert_eq!(links.keys().collect::<Vec<_>>(), ["memos", "notes"]);
        for link in links.values() {
            Visit::to(link.as_str().unwrap()).signed_in_as(&user).approves();
        }
        let ready = client.call("ready", needed);
        assert_eq!(ready, json!({ "met": true, "links": {}, "problems": {} }));
        let unset = client.call("ready", json!({ "tools": ["Unset.List"], "user": user }));
        assert_eq!((&unset["met"], &unset["links"]), (&json!(false), &json!({})), "{unset}");
        assert!(!text(&unset["problems"], "unset").is_empty(), "{unset}");
    }
}

#[test]
fn an_application_sees_and_ends_connections() {
    let keyed = Keyed::start("");
    for kind in Kind::ALL {
        let user = format!("{kind:?}");
        let environment =
            json!({ "COUNTERSIGN_URL": keyed.served.origin(), "COUNTERSIGN_API_KEY": APP_KEY });
        let mut client = kind.start(&json!({}), &environment);
        assert_eq!(client.call("connections", json!({ "user": user })), json!([]));
        let tool = json!({ "tool": "Notes.Whoami", "user": user });
        let asked = client.call("authorize", tool.clone());
        keyed.visit(&user, text(&asked, "url")).approves();
        let done = client.call("authorize", tool);
        // A program may read the token; nothing shows it by itself.
        assert!(keyed.world.is_active(text(&done["context"], "token")), "{kind:?}");
        let all = client.call("connections", json!({ "user": user, "provider": "notes" }));
        assert_eq!((all.as_array().unwrap().len(), &all[0]["user_id"]), (1, &json!(user)));
        let id = json!({ "connection_id": all[0]["id"] });
        assert_eq!(client.call("disconnect", id.clone()), Value::Null);
        assert_eq!(client.call("connections", json!({ "user": user })), json!([]));
        let gone = client.fails("disconnect", id);
        assert_eq!((&gone["name"], &gone["status"]), (&json!("not_found"), &json!(404)), "{gone}");
    }
}
