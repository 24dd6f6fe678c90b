//! The built-in tool `connections`.

use serde_json::{Value, json};

use super::Recorded;
use super::world::{Machine, consent, decline};
use crate::snapshot::Snapshot;
use crate::support::host::{Dialect, Server};

/// Returns the link to this provider.
#[track_caller]
fn link(answer: &Value, provider: &str) -> String {
    let needed = answer["result"]["structuredContent"]["needed"].as_array();
    let found = needed.unwrap().iter().find(|it| it["provider"] == provider).unwrap();
    found["authorization_url"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned()
}

/// What is connected and what is needed, before, between and after the consents.
#[tokio::test(flavor = "multi_thread")]
async fn one_call_asks_for_everything_before_the_first_tool_runs() {
    for dialect in [Dialect { revision: "2024-11-05", elicits: false }, Dialect::ROUNDS] {
        let machine = Machine::with_consents().await;
        let snapshot = Snapshot::new(&format!("connections/{}", dialect.revision));
        let mut client = Recorded::new(Server::start(&machine.home, dialect), snapshot);
        client.call("connections", &json!({}));
        let tools = json!({ "tools": [
            "acme_read", "bolt_read", "plain", "acme_raed", "connections", "acme_read"
        ] });
        let asked = client.call("connections", &tools);
        assert!(!asked["result"]["isError"].as_bool().unwrap_or(false), "{asked}");
        consent(&link(&asked, "acme")).await;
        decline(&link(&asked, "bolt")).await;
        let again = client.call("connections", &tools);
        assert!(
            !client.call("acme_read", &json!({}))["result"]["isError"].as_bool().unwrap_or(false)
        );
        decline(&link(&again, "bolt")).await;
        client.call("connections", &tools);
        client.call("connections", &json!({ "tools": 5, "user": "bob" }));
        client.call("connections", &json!([]));
        client.end().hold(&machine.known());
    }
}

/// Without a tool that needs an account there is nothing to connect.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_there_only_where_a_tool_needs_an_account() {
    let machine = Machine::with_consents().await;
    machine.home.write_tools_only(
        "[tools.plain]\ndescription = \"Reads.\"\nrequest = \"GET http://127.0.0.1:9/plain\"\n",
    );
    let mut host = Server::start(&machine.home, Dialect::ROUNDS);
    let id = host.send("tools/list", json!({}));
    assert_eq!(host.wait(id)["result"]["tools"].as_array().unwrap().len(), 1);
    let id = host.begin("connections", &json!({}));
    assert_eq!(host.wait(id)["error"]["code"], -32602);
}
