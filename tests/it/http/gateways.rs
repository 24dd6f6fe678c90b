//! `/mcp/{gateway}`: the tools that `[gateways]` lists, and no other.

use serde_json::{Value, json};

use super::direct::{call, headers};
use super::wire::{Answer, Served};
use crate::support::provider::{Act, Server, json as ok};

const SEALING: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const APP: &str = "app-key-0123456789abcdef0123456789";
const GATEWAYS: &str = "[gateways]\nsales = [\"orders\"]\nempty = []\n";

fn tools(origin: &str) -> String {
    let tool = |name: &str| {
        format!("[tools.{name}]\ndescription = \"x\"\nrequest = \"GET {origin}/{name}\"\n")
    };
    format!("{}{}", tool("orders"), tool("salaries"))
}

/// Sends a call of 2026-07-28, in the form that takes the fast path, or a request for the list.
fn ask(served: &Served, path: &str, method: &str, more: &[(&str, &str)]) -> Answer {
    let tool = "salaries";
    let mut message = call(tool, &json!({}));
    let mut headers = headers(tool);
    if method == "tools/list" {
        message["method"] = json!(method);
        let meta = message["params"]["_meta"].take();
        message["params"] = json!({ "_meta": meta });
        headers.retain(|(name, _)| *name != "Mcp-Name");
        headers.iter_mut().filter(|(name, _)| *name == "Mcp-Method").for_each(|it| it.1 = method);
    }
    let all = [&headers, more].concat();
    served.ask(&format!("POST {path}"), &all, message.to_string().as_bytes())
}

fn listed(answer: &Answer) -> Vec<String> {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    let tools = body["result"]["tools"].as_array().unwrap_or_else(|| panic!("{body}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_has_the_tools_that_it_lists() {
    let upstream = Server::start(|_| Act::Say(ok("{\"paid\": 1}"))).await;
    let served = Served::over(&format!("{GATEWAYS}{}", tools(&upstream.origin)));
    for (path, names) in [
        ("/mcp/sales", &["orders"][..]),
        ("/mcp/empty", &[]),
        ("/mcp/all", &["orders", "salaries"]),
        ("/mcp", &["orders", "salaries"]),
    ] {
        assert_eq!(listed(&ask(&served, path, "tools/list", &[])), names, "{path}");
        let answer = ask(&served, path, "tools/call", &[]);
        let runs = names.contains(&"salaries");
        assert_eq!(answer.body.contains("paid"), runs, "{path}: {answer:?}");
        assert_eq!(answer.body.contains("there is no tool of that name"), !runs, "{answer:?}");
    }
    // Names of gateways are matched whole.
    for path in ["/mcp/none", "/mcp/Sales", "/mcp/sales/", "/mcp/sales/x", "/mcp/"] {
        let answer = ask(&served, path, "tools/list", &[]);
        let is_mcp = path == "/mcp/";
        assert_eq!(answer.status, if is_mcp { 200 } else { 404 }, "{path}: {answer:?}");
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_tool_that_no_line_asks_for_is_named_with_the_line_over_mcp() {
    let said = |tools: &str, path: &str| {
        let served = Served::over(&format!("{GATEWAYS}{tools}"));
        let name = "github_star_repo";
        let call = call(name, &json!({})).to_string();
        served.ask(&format!("POST {path}"), &headers(name), call.as_bytes()).body
    };
    let tools = tools("http://127.0.0.1:9");
    let line =
        r#"to serve it, add it in [toolkits] of tools.toml, e.g. `github = [\"star_repo\"]`"#;
    assert!(said(&tools, "/mcp").contains(line));
    // The server has it, and this gateway has not.
    let own =
        "[tools.github_star_repo]\ndescription = \"x\"\nrequest = \"GET http://127.0.0.1:9/x\"\n";
    let body = said(&format!("{tools}{own}"), "/mcp/sales");
    assert!(body.contains("there is no tool of that name") && !body.contains("toolkit"), "{body}");
}

#[test]
fn a_gateway_is_closed_to_web_pages() {
    let served = Served::over(&format!("{GATEWAYS}{}", tools("http://127.0.0.1:9")));
    for origin in ["http://evil.example", "null"] {
        let answer = ask(&served, "/mcp/sales", "tools/list", &[("Origin", origin)]);
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    let answer = ask(&served, "/mcp/sales", "tools/list", &[("Host", "evil.example")]);
    assert_eq!(answer.status, 421, "{answer:?}");
}

#[test]
fn an_application_names_its_user_at_a_gateway() {
    let file = format!(
        "[server]\npublic_url = \"https://tools.example.com\"\n[[server.auth.api_keys]]\nname = \"app\"\nkey = \"env:APP_KEY\"\n{GATEWAYS}{}",
        tools("http://127.0.0.1:9")
    );
    let served =
        Served::start(&file, |command| command.env("COUNTERSIGN_KEY", SEALING).env("APP_KEY", APP));
    let key = format!("Bearer {APP}");
    let (host, key) = (("Host", "tools.example.com"), ("Authorization", key.as_str()));
    let with = |more: &[(&str, &str)], path: &str| {
        ask(&served, path, "tools/list", &[&[host], more].concat()).status
    };
    let user = ("Arcade-User-ID", "ana");
    assert_eq!(with(&[key, user], "/mcp/sales"), 200);
    assert_eq!(with(&[key, user], "/mcp/none"), 404);
    assert_eq!(with(&[key], "/mcp/sales"), 400);
    // Without a good key the names of gateways stay unknown.
    assert_eq!(with(&[user], "/mcp/sales"), 401);
    assert_eq!(with(&[user], "/mcp/none"), 401);
    let invented = ("Authorization", "Bearer invented-0123456789abcdef");
    assert_eq!(with(&[invented, user], "/mcp/none"), 401);
}
