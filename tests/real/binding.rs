//! Bindings of a grant, and limits to the reach of an argument.

use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::harness::{Answer, Dialect, Home, Server, Visit, World, provider};

const WHOAMI: &str = r#"
[tools.whoami]
description = "Who the API thinks the caller is."
provider    = "github"
scopes      = ["notes:read"]
request     = "GET /me"
"#;

/// `[providers.github]` with every address replaced.
fn github(issuer: &str, api: &str, more: &str) -> String {
    format!(
        r#"
[providers.github]
base_url      = "{api}"
client_id     = "web-basic"
client_secret = "env:NOTES_CLIENT_SECRET"
{more}
[providers.github.oauth]
authorize_url   = "{issuer}/auth"
token_url       = "{issuer}/token"
revoke_url      = "{issuer}/token/revocation"
revoke          = "rfc7009"
scope_separator = " "
loopback        = "any-port"
{WHOAMI}"#
    )
}

/// A `tools.toml` from another person's repository, started on the same data folder.
#[test]
fn a_provider_that_means_something_else_finds_no_grant() {
    let options = json!({"redirect_uris": ["http://127.0.0.1/oauth/callback/github"]});
    let ours = World::with(&options, json!({}));
    let theirs = World::with(&options, json!({}));
    let tools = github(ours.issuer(), ours.api(), "");
    let home = Home::new(&tools);
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""));
    server.close();

    let host = |world: &World| world.api().trim_start_matches("http://").to_owned();
    let more_hosts = format!("hosts = [\"{}\", \"{}\"]", host(&ours), host(&theirs));
    let other_client =
        github(ours.issuer(), ours.api(), "").replace("\"web-basic\"", "\"web-post\"");
    for (what, strange) in [
        ("another token endpoint", github(theirs.issuer(), ours.api(), "")),
        ("another API", github(ours.issuer(), theirs.api(), "")),
        ("another of both", github(theirs.issuer(), theirs.api(), "")),
        ("another client", other_client),
        ("more hosts", github(ours.issuer(), ours.api(), &more_hosts)),
    ] {
        assert_ne!(strange, tools, "{what}");
        home.write_tools(&strange);
        let mut server = Server::start(&home, Dialect::PLAIN);
        let answer = server.call("whoami", &json!({}));
        assert!(matches!(answer, Answer::Asked(_)), "{what}: {answer:?}");
    }
    assert!(theirs.api_log().is_empty(), "{:?}", theirs.api_log());
    assert_eq!(theirs.counts()["token_requests"], json!({}));
    assert_eq!(ours.api_log().len(), 1);

    home.write_tools(&tools);
    let mut server = Server::start(&home, Dialect::PLAIN);
    assert!(server.call("whoami", &json!({})).ran().contains("\"ana\""), "nothing was lost");
}

#[test]
fn a_token_goes_to_the_hosts_of_its_provider_only() {
    let world = World::start();
    let elsewhere = World::start();
    let tool = |name: &str, request: &str, query: &str| {
        format!(
            "[tools.{name}]\ndescription = \"x\"\nprovider = \"notes\"\n\
             request = \"GET {request}\"\n{query}\n"
        )
    };
    let to = format!("query.to = \"{}/echo\"\nquery.status = \"307\"", elsewhere.api());
    let redirected = tool("redirected", "/fault/redirect", &to);
    let home = Home::new(&format!("{}\n{redirected}", world.tools()));
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    let text = server.call("redirected", &json!({})).failed();
    assert!(text.contains("307"), "{text}");
    server.close();

    let direct = tool("elsewhere", &format!("{}/echo", elsewhere.api()), "");
    home.write_tools(&format!("{}\n{direct}", world.tools()));
    let checked = home.run(&["check"]);
    assert_eq!(checked.code, Some(5), "{checked:?}");
    assert!(checked.stdout.contains("would not be sent"), "{checked:?}");
    assert_eq!(elsewhere.api_log(), Vec::<serde_json::Value>::new());
}

/// Each must become one segment of the path, or no request at all.
const NASTY: &[&str] = &[
    "",
    ".",
    "..",
    "...",
    "%2e%2e",
    "%2E",
    ".%2e",
    "a/../b",
    "../me",
    "../../public",
    "..%2fme",
    "..%252fme",
    "a\\..\\b",
    "..\\me",
    "/",
    "//evil.example",
    "/public",
    "@evil.example",
    ":80@evil.example",
    "http://evil.example/",
    ";x",
    "1;v=2",
    "?q=1",
    "#f",
    "1?admin=1",
    "1#",
    "%00",
    "\u{0}",
    "1\u{0}",
    "\r\nX-Injected: 1",
    "1\tx",
    " ",
    "1 HTTP/1.1",
    "%0d%0aX: 1",
    "\u{ff0f}",
    "\u{2024}\u{2024}",
    "\u{202e}1",
    "café",
    "{id}",
    "%7Bid%7D",
    "__proto__",
];

#[test]
fn a_path_argument_changes_neither_host_nor_depth() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("read_note", &json!({"id": "1"})).asked();
    Visit::to(&prompt.url).approves();
    assert!(server.call("read_note", &json!({"id": "1"})).ran().contains("Shopping"));
    let mut seen = world.api_log().len();
    let mut sent = 0;
    for argument in NASTY {
        let answer = server.call("read_note", &json!({"id": argument}));
        assert!(matches!(answer, Answer::Failed(_)), "{argument:?}: {answer:?}");
        let log = world.api_log();
        for request in &log[seen..] {
            let path = request["path"].as_str().unwrap();
            let segment =
                path.strip_prefix("/notes/").unwrap_or_else(|| panic!("{argument:?}: {path}"));
            assert!(!segment.contains('/'), "{argument:?}: {path}");
            assert!(!is_dots(segment), "{argument:?}: {path}");
            let decoded = percent_decode_str(segment).decode_utf8().unwrap();
            assert_eq!(decoded, *argument, "what the API reads is what the model said");
            assert_eq!(request["query"], json!({}), "{argument:?}");
            sent += 1;
        }
        seen = log.len();
    }
    assert!(sent > 10, "most of these are odd names and no attack, and must arrive: {sent}");
}

/// Whether a server or proxy on the way would resolve the segment.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(plain.as_str(), "" | "." | "..")
}

#[test]
fn an_argument_stays_in_its_place_in_query_body_and_header() {
    let world = World::start();
    let tools = format!(
        r#"{}
[tools.tag]
description = "A header from an argument."
request     = "GET {}/echo"
headers     = {{ "X-Tag" = "{{tag}}" }}
params.tag  = "The tag"
"#,
        world.tools(),
        world.api()
    );
    let home = Home::new(&tools);
    let mut server = Server::start(&home, Dialect::PLAIN);
    server.call("whoami", &json!({})).asked();
    let prompt = server.call("write_note", &json!({"title": "x"})).asked();
    Visit::to(&prompt.url).approves();
    for nasty in ["a&admin=1", "a#b", "a%00b", "a=b&c=d", "a;b", "+", "\" OR 1", "é\u{202e}"] {
        server.call("list_notes", &json!({"q": nasty})).ran();
        let log = world.api_log();
        assert_eq!(log.last().unwrap()["query"], json!({"q": nasty, "limit": "5"}), "{nasty:?}");
    }
    for nasty in ["\"}, \"admin\": true, {\"", "\\", "\n", "{title}", "\u{7f}\u{1b}[31m"] {
        server.call("write_note", &json!({"title": nasty})).ran();
        let log = world.api_log();
        let body = log.last().unwrap()["body"].as_str().unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, json!({"title": nasty}));
    }
    for nasty in ["a\r\nX-Injected: 1", "a\nb", "a\u{0}b"] {
        let before = world.api_log().len();
        server.call("tag", &json!({"tag": nasty})).failed();
        assert_eq!(world.api_log().len(), before, "{nasty:?}");
    }
    assert!(server.call("tag", &json!({"tag": "fine"})).ran().contains("fine"));
}

/// `notes` and `notes2` share everything but the name, and still share no grant.
#[test]
fn a_grant_is_not_lent_to_another_provider_of_the_same_app() {
    let world = World::start();
    let tools = format!(
        "{}{}\n[tools.other]\ndescription = \"x\"\nprovider = \"notes2\"\n\
         scopes = [\"notes:read\"]\nrequest = \"GET /me\"\n",
        world.tools(),
        provider("notes2", world.issuer(), world.api()),
    );
    let home = Home::new(&tools);
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    server.call("whoami", &json!({})).ran();
    server.call("other", &json!({})).asked();
}
