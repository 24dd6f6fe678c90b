//! A consent in every form that a revision has: asked for, given, declined, and what comes after.

use serde_json::{Value, json};

use super::Recorded;
use super::world::{Machine, consent, decline};
use crate::snapshot::Snapshot;
use crate::support::host::{Answer, Dialect, Host, Prompt, Served, Server, Transport, Way, Wire};

const NO_ARGUMENTS: fn() -> Value = || json!({});

/// Everything that a client of this dialect can be told about tools and consents.
async fn conversation<W: Wire>(host: Host<W>, dialect: Dialect, snapshot: Snapshot) -> Snapshot {
    let mut client = Recorded::new(host, snapshot);
    client.ask("tools/list", json!({}));
    client.call("plain", &json!({ "id": 5 }));
    client.call("shaped", &NO_ARGUMENTS());
    client.call("text", &NO_ARGUMENTS());
    client.call("nothing", &NO_ARGUMENTS());
    client.call("plain", &json!({ "word": "three" }));
    client.call("plan", &NO_ARGUMENTS());
    client.ask("resources/list", json!({}));

    given(&mut client, dialect).await;
    declined(&mut client).await;
    client.end()
}

/// A consent that the user gives, in the way of this dialect.
async fn given<W: Wire>(client: &mut Recorded<W>, dialect: Dialect) {
    let tool = "acme_read";
    let prompt = asked(client, tool);
    assert_eq!(prompt.way, dialect.way());
    let again = asked(client, tool);
    assert_eq!(again.url, prompt.url);
    match prompt.way {
        Way::Text => {
            consent(&prompt.url).await;
        }
        Way::Error => {
            consent(&prompt.url).await;
            client.completed(prompt.elicitation.as_deref().expect("an elicitation"));
        }
        Way::Input => rounds(client, tool, &prompt).await,
    }
    let ran = client.call(tool, &NO_ARGUMENTS());
    assert!(!ran["result"]["isError"].as_bool().unwrap_or(false), "{ran}");
}

/// The rounds of 2026-07-28.
async fn rounds<W: Wire>(client: &mut Recorded<W>, tool: &str, prompt: &Prompt) {
    let state = prompt.state.as_deref().expect("a state");
    for (action, state) in [("cancel", state), ("decline", state), ("accept", "another-state")] {
        let id = client.next_round(tool, prompt, action, state);
        client.answered(id);
    }
    let id = client.next_round(tool, prompt, "accept", state);
    consent(&prompt.url).await;
    client.answered(id);
}

/// A consent that the user declines on its page, until no link is made any more.
async fn declined<W: Wire>(client: &mut Recorded<W>) {
    for _ in 0..2 {
        let prompt = asked(client, "bolt_read");
        decline(&prompt.url).await;
        if let Some(elicitation) = &prompt.elicitation {
            client.completed(elicitation);
        }
    }
    client.call("bolt_read", &NO_ARGUMENTS());
}

fn asked<W: Wire>(client: &mut Recorded<W>, tool: &str) -> Prompt {
    Answer::of(&client.call(tool, &NO_ARGUMENTS())).asked()
}

/// Name of a conversation's snapshot. Before 2025-11-25 no client can declare that it opens links,
/// and one that does is told the same as one that does not.
fn name(transport: &str, dialect: Dialect) -> String {
    let elicits = if dialect.way() == Way::Text { "" } else { " opens links" };
    format!("{transport}/{}{elicits}", dialect.revision)
}

async fn over_stdio(revision: &str) {
    for dialect in Dialect::all().filter(|dialect| dialect.revision == revision) {
        let machine = Machine::with_consents().await;
        let snapshot = Snapshot::new(&name("stdio", dialect));
        let host = Server::start(&machine.home, dialect);
        conversation(host, dialect, snapshot).await.hold(&machine.known());
    }
}

async fn over_http(revision: &str) {
    for dialect in Dialect::all().filter(|dialect| dialect.revision == revision) {
        let machine = Machine::with_consents().await;
        let served = Served::start(&machine.home);
        let snapshot = Snapshot::new(&name("http", dialect));
        let host = served.host(Transport::Streamable, dialect);
        conversation(host, dialect, snapshot).await.hold(&machine.known());
    }
}

/// A test for each revision, so that they run at the same time.
macro_rules! of_each_revision {
    ($($stdio:ident $http:ident = $revision:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $stdio() {
                over_stdio($revision).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn $http() {
                over_http($revision).await;
            }
        )*

        #[test]
        fn no_revision_is_left_out() {
            assert_eq!(Dialect::REVISIONS, [$($revision),*]);
        }
    };
}

of_each_revision! {
    stdio_2024_11_05 http_2024_11_05 = "2024-11-05",
    stdio_2025_03_26 http_2025_03_26 = "2025-03-26",
    stdio_2025_06_18 http_2025_06_18 = "2025-06-18",
    stdio_2025_11_25 http_2025_11_25 = "2025-11-25",
    stdio_2026_07_28 http_2026_07_28 = "2026-07-28",
}

/// The transport of 2024-11-05, which clients of later revisions speak, too.
#[tokio::test(flavor = "multi_thread")]
async fn over_sse() {
    for dialect in [Dialect { revision: "2024-11-05", elicits: false }, Dialect::ERRORS] {
        let machine = Machine::with_consents().await;
        let served = Served::start(&machine.home);
        let snapshot = Snapshot::new(&name("sse", dialect));
        let host = served.host(Transport::Sse, dialect);
        conversation(host, dialect, snapshot).await.hold(&machine.known());
    }
}

/// The ways of asking that an operator or a URL can choose for clients that show errors badly.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_way_that_the_operator_chose() {
    let machine = Machine::with_consents().await;
    let tools = std::fs::read_to_string(machine.home.path("tools.toml")).unwrap();
    let mut snapshot = Snapshot::new("stdio/consent modes");
    for mode in ["text", "result"] {
        let told = tools.replacen("[server]\n", &format!("[server]\nconsent = \"{mode}\"\n"), 1);
        machine.home.write_tools_only(&told);
        for dialect in [Dialect::PLAIN, Dialect::ERRORS, Dialect::ROUNDS] {
            snapshot.part(&format!("consent = {mode}, {}", dialect.revision));
            let mut host = Server::start(&machine.home, dialect);
            let id = host.begin("acme_read", &json!({}));
            snapshot.add(&format!("{:#}", host.wait(id)));
        }
    }
    snapshot.hold(&machine.known());
}
