//! Coding agents and bridges as users install them, headless, with a model that is played on
//! loopback: the model must read the link, and after the user's consent the next run must read the
//! result. Each run starts and ends a server.
//!
//! They phone home, so `./tests/run hosts` runs them where only the loopback interface exists.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    BINARY, Dialect, Home, Program, Running, Served, Server, Transport, Visit, World, part,
};

const TOOL: &str = "whoami";

/// A host's way to reach us.
#[derive(Clone, Debug)]
enum Entry {
    Stdio(Value),
    Http(String),
    Sse(String),
}

/// A host's installation: its own home, and the model that it talks to.
struct Host {
    home: Home,
    model: Program,
}

type Turn = fn(&Host, &Entry) -> Command;

#[test]
fn claude_code() {
    walk(claude_code_turn, &["stdio", "http", "sse"]);
}

#[test]
fn claude_agent_sdk() {
    walk(agent_sdk_turn, &["stdio", "http", "sse"]);
}

#[test]
fn codex() {
    walk(codex_turn, &["stdio", "http"]);
}

#[test]
fn gemini_cli() {
    walk(gemini_turn, &["stdio", "http", "sse"]);
}

/// A bridge from stdio to HTTP, for hosts that only start programs.
#[test]
fn mcp_remote() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let served = Served::start(&home);
    for (transport, strategy) in
        [(Transport::Streamable, "http-only"), (Transport::Sse, "sse-only")]
    {
        let mut command = Command::new(part("COUNTERSIGN_REAL_NODE"));
        command
            .arg(installed("mcp-remote/dist/proxy.js"))
            .args([&served.url(transport), "--allow-http", "--transport", strategy])
            .env("HOME", home.path("home"));
        let mut host = Server::spawn(command, Dialect::PLAIN);
        host.shake_hands();
        let prompt = host.call(TOOL, &json!({})).asked();
        Visit::to(&prompt.url).approves();
        assert!(host.call(TOOL, &json!({})).ran().contains("\"ana\""));
        host.close();
        assert_eq!(home.run(&["auth", "revoke", "notes"]).code, Some(0), "{}", home.log());
    }
    served.end();
}

/// This SDK logged a traceback for each event without data.
#[test]
fn python_sdk_1_22() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let served = Served::start(&home);
    let call = || {
        let mut command = Command::new(part("COUNTERSIGN_HOSTS_PYTHON"));
        let log = home.path("client.log");
        command.arg(hosts("old_sdk.py")).args([&served.url(Transport::Streamable), TOOL]);
        let ended = Running::start_with(command, File::create(&log).unwrap()).end();
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(ended.code, Some(0), "{log}");
        assert!(!log.contains("Traceback"), "{log}");
        ended.json()["read"].as_str().unwrap().to_owned()
    };
    Visit::to(&link_in(&call()).unwrap()).approves();
    assert!(call().contains("\"ana\""));
    served.end();
}

fn walk(turn: Turn, transports: &[&str]) {
    let world = World::start();
    for transport in transports {
        let home = Home::new(&world.tools());
        // Over HTTP+SSE, Claude Code and its SDK drop the first -32042 of a session unread, because
        // they have no user to ask; the second call is answered in words.
        let calls = if *transport == "sse" { 2 } else { 1 };
        let model = Program::start("../hosts/model.mjs", &json!({ "tool": TOOL, "calls": calls }));
        let mut host = Host { home, model };
        let served = (*transport != "stdio").then(|| Served::start(&host.home));
        let entry = match (*transport, &served) {
            ("http", Some(served)) => Entry::Http(served.url(Transport::Streamable)),
            ("sse", Some(served)) => Entry::Sse(served.url(Transport::Sse)),
            _ => Entry::Stdio(json!({
                "command": BINARY, "args": ["serve", "--stdio"], "env": host.home.variables(),
            })),
        };
        let first = host.read(turn, &entry);
        let link = link_in(&first).unwrap_or_else(|| panic!("{entry:?}: no link: {first}"));
        Visit::to(&link).approves();
        let second = host.read(turn, &entry);
        assert!(second.contains("ana"), "{entry:?}: {second}");
        if let Some(served) = served {
            served.end();
        }
    }
}

impl Host {
    /// Runs the host once; returns the text of the tool that its model read.
    fn read(&mut self, turn: Turn, entry: &Entry) -> String {
        let ended = Running::start(turn(self, entry)).end();
        let heard = self.model.ask(&json!({}));
        let read = heard["read"].as_array().unwrap().iter().filter_map(Value::as_str);
        let read: Vec<_> = read.collect();
        assert!(!read.is_empty(), "{entry:?}: the model read nothing: {heard} {ended:?}");
        read.join("\n")
    }

    /// A program in the host's own home, in an empty folder, with no other settings.
    fn command(&self, program: PathBuf) -> Command {
        let folder = self.home.path("work");
        fs::create_dir_all(&folder).unwrap();
        let node = part("COUNTERSIGN_REAL_NODE");
        let path = format!("{}:/usr/bin:/bin", node.parent().unwrap().display());
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home.path("host"))
            .env("PATH", path)
            .current_dir(folder);
        command
    }

    fn node(&self, script: PathBuf) -> Command {
        let mut command = self.command(part("COUNTERSIGN_REAL_NODE"));
        command.arg(script);
        command
    }

    /// Settings for programs that speak to Anthropic's API.
    fn anthropic(&self, command: &mut Command) {
        command
            .env("ANTHROPIC_BASE_URL", self.model.url())
            .env("ANTHROPIC_API_KEY", "played")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            // Otherwise the model has to look the tool up before it can call it.
            .env("ENABLE_TOOL_SEARCH", "false");
    }
}

/// The server's entry in the format of Claude Code and its SDK.
fn anthropic_servers(entry: &Entry) -> Value {
    let server = match entry {
        Entry::Stdio(stdio) => stdio.clone(),
        Entry::Http(url) => json!({"type": "http", "url": url}),
        Entry::Sse(url) => json!({"type": "sse", "url": url}),
    };
    json!({ "countersign": server })
}

fn claude_code_turn(host: &Host, entry: &Entry) -> Command {
    let name = format!("@anthropic-ai/claude-code-linux-{}/claude", architecture());
    let mut command = host.command(installed(&name));
    host.anthropic(&mut command);
    let servers = json!({ "mcpServers": anthropic_servers(entry) });
    command.args(["-p", "Who am I there?", "--strict-mcp-config", "--mcp-config"]);
    command.arg(servers.to_string());
    command.args(["--allowedTools", "mcp__countersign__whoami"]);
    command
}

fn agent_sdk_turn(host: &Host, entry: &Entry) -> Command {
    let mut command = host.node(hosts("agent_sdk.mjs"));
    host.anthropic(&mut command);
    command.args([&anthropic_servers(entry).to_string(), "mcp__countersign__whoami"]);
    command
}

fn codex_turn(host: &Host, entry: &Entry) -> Command {
    let mut command = host.node(installed("@openai/codex/bin/codex.js"));
    command.env("OPENAI_API_KEY", "played");
    let server = match entry {
        Entry::Http(url) | Entry::Sse(url) => format!("{{url={}}}", json!(url)),
        Entry::Stdio(stdio) => {
            let variables: BTreeMap<String, String> =
                serde_json::from_value(stdio["env"].clone()).unwrap();
            let variables: Vec<_> =
                variables.iter().map(|(name, value)| format!("{name}={}", json!(value))).collect();
            format!(
                "{{command={},args={},env={{{}}}}}",
                stdio["command"],
                stdio["args"],
                variables.join(",")
            )
        }
    };
    let provider = format!(
        "{{name=\"played\",base_url=\"{}/v1\",wire_api=\"responses\",env_key=\"OPENAI_API_KEY\"}}",
        host.model.url()
    );
    // An older model is offered each tool directly.
    command.args(["exec", "-m", "gpt-5", "--skip-git-repo-check"]);
    command.arg("--dangerously-bypass-approvals-and-sandbox");
    command.args(["-c", "model_provider=played"]);
    command.args(["-c", &format!("model_providers.played={provider}")]);
    command.args(["-c", &format!("mcp_servers.countersign={server}")]);
    command.arg("Who am I there?");
    command
}

fn gemini_turn(host: &Host, entry: &Entry) -> Command {
    let mut server = match entry {
        Entry::Stdio(stdio) => stdio.clone(),
        Entry::Http(url) => json!({ "httpUrl": url }),
        Entry::Sse(url) => json!({ "url": url }),
    };
    server["trust"] = true.into();
    let settings = json!({
        "mcpServers": { "countersign": server },
        "security": { "auth": { "selectedType": "gemini-api-key" } },
        "telemetry": { "enabled": false },
        "privacy": { "usageStatisticsEnabled": false },
    });
    let folder = host.home.path("host/.gemini");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("settings.json"), settings.to_string()).unwrap();
    let mut command = host.node(installed("@google/gemini-cli/bundle/gemini.js"));
    command.env("GEMINI_API_KEY", "played").env("GOOGLE_GEMINI_BASE_URL", host.model.url());
    command.args(["--skip-trust", "-m", "gemini-2.5-flash", "-p", "Who am I there?"]);
    command
}

fn link_in(read: &str) -> Option<String> {
    let from = read.find("http://127.0.0.1").filter(|_| read.contains("/connect/"))?;
    let end = |c: char| !(c.is_ascii_alphanumeric() || "-_:/.".contains(c));
    Some(read.get(from..)?.split(end).next()?.trim_end_matches('.').to_owned())
}

/// A file of `tests/hosts`.
fn hosts(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts").join(file)
}

fn installed(file: &str) -> PathBuf {
    hosts("node_modules").join(file)
}

/// The architecture's name in npm.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" }
}
