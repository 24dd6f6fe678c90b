//! Addresses and names that a client may use, and the errors that it reads for wrong ones.

use serde_json::json;

use super::wire::{Answer, POST, Served, initialize};

const KEY: &str = "0123456789abcdef0123456789";
const SEALING: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// A server for many people at `https://tools.example.com`.
fn for_many(server: &str) -> Served {
    let tools = format!(
        r#"
        [server]
        public_url = "https://tools.example.com"
        {server}
        [[server.auth.api_keys]]
        name = "one"
        key  = "env:ONE_KEY"
        user = "ana"
        "#
    );
    Served::start(&tools, |command| command.env("COUNTERSIGN_KEY", SEALING).env("ONE_KEY", KEY))
}

fn bearer() -> (&'static str, &'static str) {
    ("Authorization", "Bearer 0123456789abcdef0123456789")
}

fn problem(answer: &Answer) -> (u16, String, String) {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let said = answer.json();
    let text = |name: &str| said[name].as_str().unwrap_or_else(|| panic!("{said}")).to_owned();
    (answer.status, text("error"), text("error_description"))
}

#[test]
fn a_slash_more_is_no_other_address() {
    let served = Served::over("");
    let first = initialize().to_string();
    for path in ["/mcp/", "/mcp//", "//mcp", "/mcp/?consent=text"] {
        let answer = served.ask(&format!("POST {path}"), &POST, first.as_bytes());
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let mut events = served.events("GET /sse/", &[]);
    let endpoint = events.next().unwrap().replace("/messages?", "/messages/?");
    let answer = served.ask(&format!("POST {endpoint}"), &POST, first.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(events.next().unwrap().contains("serverInfo"));
    assert_eq!(served.ask("GET /health/", &[], b"").status, 200);
    // A page has only one address.
    assert_eq!(served.ask("GET /connections/", &[("Accept", BROWSER)], b"").status, 404);
}

#[test]
fn a_program_that_asks_for_what_is_not_here_reads_json_that_says_how_to_call() {
    let local = Served::over("");
    let with_token = Served::start("", |command| command.arg("--token"));
    let many = for_many("");
    let (tools, form) = (("Host", "tools.example.com"), "application/x-www-form-urlencoded");
    for (served, host, how) in [
        (&local, None, "without credentials"),
        (&with_token, None, "Bearer TOKEN"),
        (&many, Some(tools), "Bearer KEY"),
    ] {
        let ask = |target: &str, headers: &[(&str, &str)], body: &[u8]| {
            let host: Vec<_> = host.into_iter().collect();
            served.ask(target, &[headers, &host].concat(), body)
        };
        for target in [
            "GET /.well-known/oauth-authorization-server",
            "GET /.well-known/openid-configuration/mcp",
            "GET /authorize?response_type=code",
            "GET /nothing",
            "DELETE /nothing",
            "OPTIONS /register",
        ] {
            for accept in [&[][..], &[("Accept", "application/json")], &[("Accept", "*/*")]] {
                let (status, error, description) = problem(&ask(target, accept, b""));
                assert_eq!((status, &*error), (404, "not_found"), "{target}");
                assert!(description.contains(how) && description.contains("/mcp"), "{description}");
            }
        }
        let registration = json!({ "redirect_uris": [] }).to_string();
        for accept in ["application/json", BROWSER] {
            let headers = [("Accept", accept), ("Content-Type", "application/json")];
            let answer = ask("POST /register", &headers, registration.as_bytes());
            assert_eq!(problem(&answer).1, "not_found", "{accept}");
        }
        let token = ask("POST /token", &[("Content-Type", form)], b"grant_type=x");
        assert_eq!(problem(&token).1, "not_found");
        for target in ["POST /health", "DELETE /connections"] {
            let (status, error, _) = problem(&ask(target, &[], b""));
            assert_eq!((status, &*error), (405, "method_not_allowed"), "{target}");
        }
        // A browser gets a page.
        let page = ask("GET /authorize", &[("Accept", BROWSER)], b"");
        assert!(page.status == 404 && page.body.starts_with("<!doctype html>"), "{page:?}");
    }
}

#[test]
fn the_root_of_a_server_leads_a_browser_to_its_connections() {
    let (local, many) = (Served::over(""), for_many(""));
    let asks = [("Accept", BROWSER), ("Host", "tools.example.com")];
    for (served, headers) in [(&local, &asks[..1]), (&many, &asks)] {
        let answer = served.ask("GET /", headers, b"");
        assert_eq!((answer.status, answer.header("location")), (303, Some("/connections")));
        assert_eq!(problem(&served.ask("GET /", &headers[1..], b"")).0, 404);
    }
}

/// `ssh -L`, a container's published port and a tap keep the client's `Host`.
#[test]
fn a_port_forward_may_have_another_port() {
    let served = Served::over("");
    let first = initialize().to_string();
    let ask = |headers: &[(&str, &str)]| {
        served.ask("POST /mcp", &[&POST[..], headers].concat(), first.as_bytes()).status
    };
    for host in ["localhost:9000", "127.0.0.1:9000", "[::1]:9000", "localhost"] {
        assert_eq!(ask(&[("Host", host)]), 200, "{host}");
        let origin = format!("http://{host}");
        assert_eq!(ask(&[("Host", host), ("Origin", &origin)]), 200, "{host}");
        let own = format!("http://127.0.0.1:{}", served.port());
        assert_eq!(ask(&[("Host", host), ("Origin", &own)]), 403, "{host} from {own}");
    }
    assert_eq!(ask(&[("Host", "localhost.evil.example:9000")]), 421);
    let pages = served.ask("GET /connections", &[("Host", "localhost:9000")], b"");
    assert_eq!(pages.status, 200);
}

#[test]
fn further_names_and_origins_are_let_in_where_they_are_listed() {
    let served = for_many(
        r#"
        allowed_hosts = ["countersign:8080", "tools"]
        allowed_origins = ["https://chat.example.com", "chrome-extension://abc", "vscode-webview://*"]
        "#,
    );
    let first = initialize().to_string();
    let ask = |headers: &[(&str, &str)]| {
        served.ask("POST /mcp", &[&POST[..], headers].concat(), first.as_bytes())
    };
    let tools = ("Host", "tools.example.com");
    for host in ["countersign:8080", "tools", "tools:1234", "TOOLS"] {
        assert_eq!(ask(&[bearer(), ("Host", host)]).status, 200, "{host}");
        assert_eq!(ask(&[("Host", host)]).status, 401, "{host} without a key");
    }
    for host in ["countersign:8081", "countersign", "tools.evil.example", "evil.example"] {
        let (status, _, said) = problem(&ask(&[bearer(), ("Host", host)]));
        assert!(status == 421 && said.contains("`allowed_hosts`"), "{host}: {said}");
    }
    for origin in ["https://chat.example.com", "chrome-extension://abc", "vscode-webview://0f1e2d"]
    {
        for host in [tools, ("Host", "tools")] {
            let answer = ask(&[bearer(), host, ("Origin", origin)]);
            assert_eq!(answer.status, 200, "{origin}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
            let exposed = answer.header("access-control-expose-headers").unwrap();
            assert!(exposed.contains("Mcp-Session-Id") && exposed.contains("WWW-Authenticate"));
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
        // A script can read why it was refused.
        let refused = ask(&[tools, ("Origin", origin)]);
        assert_eq!(refused.status, 401);
        assert_eq!(refused.header("access-control-allow-origin"), Some(origin));
        for target in ["OPTIONS /mcp", "OPTIONS /mcp/", "OPTIONS /messages", "OPTIONS /sse"] {
            let asked = [
                tools,
                ("Origin", origin),
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "authorization,mcp-session-id"),
            ];
            let preflight = served.ask(target, &asked, b"");
            assert_eq!(preflight.status, 204, "{target}: {preflight:?}");
            assert_eq!(preflight.header("access-control-allow-origin"), Some(origin));
            assert!(preflight.header("access-control-allow-methods").unwrap().contains("DELETE"));
            let headers = preflight.header("access-control-allow-headers").unwrap();
            assert_eq!(headers, "authorization,mcp-session-id");
        }
    }
    for origin in
        ["https://evil.example", "http://chat.example.com", "chrome-extension://abd", "null"]
    {
        let answer = ask(&[bearer(), tools, ("Origin", origin)]);
        let (status, _, said) = problem(&answer);
        assert!(status == 403 && said.contains("`allowed_origins`"), "{origin}: {said}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    // Pages accept only the one name and the one origin.
    let page = served.ask("GET /signin", &[("Host", "tools")], b"");
    assert_eq!(page.status, 421);
    let page = served.ask("GET /signin", &[tools, ("Origin", "https://chat.example.com")], b"");
    assert_eq!(page.header("access-control-allow-origin"), None);
}

#[test]
fn without_credentials_a_list_lets_nothing_in() {
    let served = Served::over(
        "[server]\nallowed_hosts = [\"tools\"]\nallowed_origins = [\"https://chat.example.com\"]\n",
    );
    let first = initialize().to_string();
    let ask = |header: (&str, &str)| {
        served.ask("POST /mcp", &[&POST[..], &[header]].concat(), first.as_bytes()).status
    };
    assert_eq!(ask(("Host", "tools")), 421);
    assert_eq!(ask(("Origin", "https://chat.example.com")), 403);
}

/// Clients that are told no scope ask the issuer for all scopes, or for none.
#[test]
fn clients_are_told_which_scopes_to_ask_for() {
    for (scopes, metadata, challenge) in [
        ("", json!(["openid"]), "scope=\"openid\""),
        (
            "scopes = [\"openid\", \"tools:call\"]",
            json!(["openid", "tools:call"]),
            "scope=\"openid tools:call\"",
        ),
        ("scopes = []", json!(null), ""),
    ] {
        let tools = format!(
            "[server]\npublic_url = \"https://tools.example.com\"\n\
             [server.auth]\nissuer = \"http://127.0.0.1:9\"\n{scopes}\n"
        );
        let served = Served::start(&tools, |command| command.env("COUNTERSIGN_KEY", SEALING));
        let host = ("Host", "tools.example.com");
        for path in
            ["/.well-known/oauth-protected-resource/mcp/", "/.well-known/oauth-protected-resource"]
        {
            let told = served.ask(&format!("GET {path}"), &[host], b"");
            assert_eq!(told.json()["scopes_supported"], metadata, "{path}");
            assert!(!told.body.contains("offline_access"));
            let asked = [
                host,
                ("Origin", "https://chat.example.com"),
                ("Access-Control-Request-Method", "GET"),
                ("Access-Control-Request-Headers", "mcp-protocol-version"),
            ];
            let preflight = served.ask(&format!("OPTIONS {path}"), &asked, b"");
            assert_eq!(preflight.status, 204);
            assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
        }
        let refused = served.ask("POST /mcp", &[&POST[..], &[host]].concat(), b"{}");
        let said = refused.header("www-authenticate").unwrap();
        assert!(said.contains(challenge) && said.contains("resource_metadata="), "{said}");
        assert_eq!(said.contains("scope="), !challenge.is_empty(), "{said}");
        let page =
            served.ask("POST /register", &[host, ("Content-Type", "application/json")], b"{}");
        assert!(problem(&page).2.contains("access token from http://127.0.0.1:9"), "{page:?}");
    }
}
