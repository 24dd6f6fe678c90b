//! Agent frameworks, each through its own agent loop with a played model, over every transport that
//! it has.
//!
//! The model must read the link, or the user must be asked to open it, however the framework treats
//! our answer: with a handler for elicitations, without one, and with a session (and so a process)
//! per call.

use serde_json::{Value, json};

use crate::harness::{BINARY, Home, Program, Served, Transport, Visit, World};

#[derive(Clone, Copy)]
struct Agent {
    file: &'static str,
    name: &'static str,
    /// Whether the framework has a handler for elicitations.
    can_ask: bool,
    /// Whether it hides the text of an `isError` from its model, and so needs `consent = "result"`.
    hides_errors: bool,
}

const LANGCHAIN: Agent = Agent {
    file: "agents/mcp1/langchain_agent.py",
    name: "langchain",
    can_ask: true,
    hides_errors: false,
};
const PYDANTIC_AI: Agent = Agent {
    file: "agents/mcp1/pydantic_ai_agent.py",
    name: "pydantic-ai",
    can_ask: true,
    hides_errors: false,
};
const OPENAI_AGENTS: Agent = Agent {
    file: "agents/mcp1/openai_agents_agent.py",
    name: "openai-agents",
    can_ask: false,
    hides_errors: false,
};
const AGENT_FRAMEWORK: Agent = Agent {
    file: "agents/agent_framework_agent.py",
    name: "agent-framework",
    can_ask: false,
    hides_errors: true,
};

#[test]
fn langchain_over_stdio() {
    LANGCHAIN.over_stdio();
}

#[test]
fn langchain_over_http() {
    LANGCHAIN.over_http();
}

#[test]
fn pydantic_ai_over_stdio() {
    PYDANTIC_AI.over_stdio();
}

#[test]
fn pydantic_ai_over_http() {
    PYDANTIC_AI.over_http();
}

#[test]
fn openai_agents_over_stdio() {
    OPENAI_AGENTS.over_stdio();
}

#[test]
fn openai_agents_over_http() {
    OPENAI_AGENTS.over_http();
}

#[test]
fn agent_framework_over_stdio() {
    AGENT_FRAMEWORK.over_stdio();
}

#[test]
fn agent_framework_over_http() {
    AGENT_FRAMEWORK.over_http();
}

impl Agent {
    fn start(self) -> Program {
        let program = Program::start(self.file, &json!({}));
        assert_eq!(program.ready["client"], self.name);
        program
    }

    /// Runs without a handler for elicitations, and with one if the framework has it.
    fn asks(self) -> impl Iterator<Item = bool> {
        [false, true].into_iter().filter(move |asks| self.can_ask || !asks)
    }

    /// Each turn is a process of its own: the link must outlive the process that made it.
    fn over_stdio(self) {
        let world = World::start();
        let mut program = self.start();
        for asks in self.asks() {
            // The first line belongs to [server], with which `Home` begins the file.
            let setting = if self.hides_errors { "consent = \"result\"\n" } else { "" };
            let home = Home::new(&format!("{setting}{}", world.tools()));
            let server = json!({
                "command": BINARY,
                "args": ["serve", "--stdio"],
                "env": home.variables(),
                "cwd": home.path(""),
            });
            self.walk(&mut program, &server, asks);
        }
    }

    fn over_http(self) {
        let world = World::start();
        let home = Home::new(&world.tools());
        let served = Served::start(&home);
        let mut program = self.start();
        for transport in Transport::ALL {
            if self.hides_errors && transport == Transport::Sse {
                continue; // It has no HTTP+SSE.
            }
            let query = if self.hides_errors { "?consent=result" } else { "" };
            let url = format!("{}{query}", served.url(transport));
            let name = if transport == Transport::Sse { "sse" } else { "http" };
            for asks in self.asks() {
                self.walk(&mut program, &json!({"url": url, "transport": name}), asks);
                let revoked = home.run(&["auth", "revoke", "notes"]);
                assert_eq!(revoked.code, Some(0), "{}", home.log());
            }
        }
        assert_eq!(served.end().code(), Some(0), "{}", home.log());
    }

    fn walk(self, program: &mut Program, server: &Value, asks: bool) {
        let wish = json!({"server": server, "tool": "whoami", "asks": asks});
        let first = program.ask(&wish);
        let link =
            link_in(&first).unwrap_or_else(|| panic!("{} {asks}: no link: {first}", self.name));
        Visit::to(&link).approves();
        let second = program.ask(&wish);
        let read = second["read"].as_str().unwrap_or_default();
        assert!(read.contains("ana"), "{} {asks}: {second}", self.name);
    }
}

/// Returns the link that a reader sees: the user who was asked, the model, or the reader of the
/// error.
fn link_in(turn: &Value) -> Option<String> {
    let asked = turn["asked"].as_array()?.first().and_then(Value::as_str);
    let shown = [asked, turn["read"].as_str(), turn["error"].as_str()];
    shown.into_iter().flatten().find_map(|text| {
        let from = text.find("http://127.0.0.1")?;
        let link = text.get(from..)?.split([' ', '\n', '"', '\\', ')']).next()?;
        link.contains("/connect/").then(|| link.trim_end_matches('.').to_owned())
    })
}
