//! Many of Arcade's clients at once, each for a user of its own.

use serde_json::json;

use super::world::{Client, Kind, Machine};
use crate::harness::{Visit, is_long};

/// Clients of each kind; ten times as many in `./tests/run long`.
const EACH: usize = 10;
/// Clients that start at the same time. More would only wait for a processor, each for longer than
/// its start may take.
const STARTING: usize = 4;

#[test]
fn many_of_each_at_once() {
    let machine = Machine::start();
    let origin = machine.served.origin();
    let each = if is_long() { 10 * EACH } else { EACH };
    let kinds = [Kind::Python, Kind::JavaScript];
    let users: Vec<_> = kinds
        .iter()
        .flat_map(|kind| (0..each).map(move |number| (*kind, format!("{kind:?}{number}"))))
        .collect();
    let clients: Vec<Client> =
        users.chunks(STARTING).flat_map(|some| started(origin, some)).collect();
    std::thread::scope(|scope| {
        for ((_, user), client) in users.iter().zip(clients) {
            scope.spawn(move || connects_and_runs(client, user));
        }
    });
    let calls = machine.world.api_log().len();
    assert_eq!(calls, 2 * each, "each client called once");
    assert_eq!(machine.served.end().code(), Some(0), "{}", machine.home.log());
}

fn started(origin: &str, users: &[(Kind, String)]) -> Vec<Client> {
    std::thread::scope(|scope| {
        let starting: Vec<_> = users
            .iter()
            .map(|(kind, _)| scope.spawn(move || kind.start(origin, "any-key")))
            .collect();
        starting.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// Each waits while its user consents, and gets that user's account.
fn connects_and_runs(mut client: Client, user: &str) {
    let tool = json!({ "tool_name": "Notes.Whoami", "user_id": user });
    let asked = client.call("tools.authorize", json!([]), tool.clone());
    client.begin("auth.wait_for_completion", json!([asked.clone()]), json!({}));
    let link = asked["url"].as_str().unwrap_or_else(|| panic!("{user}: {asked}"));
    Visit::to(link).signed_in_as(user).approves();
    assert_eq!(client.end()["status"], "completed", "{user}");
    let ran = client.call("tools.execute", json!([]), tool);
    assert_eq!(ran["output"]["value"]["sub"], user, "{ran}");
}
