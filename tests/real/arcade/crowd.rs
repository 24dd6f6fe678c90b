//! Many of Arcade's clients at once, each for a user of its own.

use serde_json::json;

use super::world::{Kind, Machine};
use crate::harness::{Visit, is_long};

/// Clients of each kind; ten times as many in `./tests/run long`.
const EACH: usize = 10;

#[test]
fn many_of_each_at_once() {
    let machine = Machine::start();
    let origin = machine.served.origin();
    let each = if is_long() { 10 * EACH } else { EACH };
    std::thread::scope(|scope| {
        for kind in [Kind::Python, Kind::JavaScript] {
            for number in 0..each {
                scope.spawn(move || connects_and_runs(origin, kind, &format!("{kind:?}{number}")));
            }
        }
    });
    let calls = machine.world.api_log().len();
    assert_eq!(calls, 2 * each, "each client called once");
    assert_eq!(machine.served.end().code(), Some(0), "{}", machine.home.log());
}

/// Each waits while its user consents, and gets that user's account.
fn connects_and_runs(origin: &str, kind: Kind, user: &str) {
    let mut client = kind.start(origin, "any-key");
    let tool = json!({ "tool_name": "Notes.Whoami", "user_id": user });
    let asked = client.call("tools.authorize", json!([]), tool.clone());
    client.begin("auth.wait_for_completion", json!([asked.clone()]), json!({}));
    let link = asked["url"].as_str().unwrap_or_else(|| panic!("{user}: {asked}"));
    Visit::to(link).signed_in_as(user).approves();
    assert_eq!(client.end()["status"], "completed", "{user}");
    let ran = client.call("tools.execute", json!([]), tool);
    assert_eq!(ran["output"]["value"]["sub"], user, "{ran}");
}
