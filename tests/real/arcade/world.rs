//! Arcade's clients, one method at a time (`methods.py`, `methods.mjs`), and the servers that they
//! call.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Application, Home, Program, Served, Visit, World, part, provider};

pub const STORE_KEY: &str = "cGVvcGxlIHBlb3BsZSBwZW9wbGUgcGVvcGxlIHBlMDE=";
/// Key of the application, with both rights.
pub const APP_KEY: &str = "application-key-0123456789abcdef";
/// Key of another application, without rights.
pub const BARE_KEY: &str = "bare-application-key-0123456789ab";

const TOOLS: &str = include_str!("tools.toml");

/// Returns a `tools.toml` with the tools of the tests, and `more` of its own.
pub fn tools(world: &World, more: &str) -> String {
    format!("{}\n{TOOLS}\n{more}", provider("notes", world.issuer(), world.api()))
}

/// A client of Arcade's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Python,
    AsyncPython,
    JavaScript,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Python, Self::AsyncPython, Self::JavaScript];

    pub fn start(self, url: &str, key: &str) -> Client {
        let options = json!({
            "base_url": url, "api_key": key, "asynchronous": self == Self::AsyncPython,
        });
        let file = if self.is_python() { "arcade/methods.py" } else { "arcade/methods.mjs" };
        let program = Program::start(file, &options);
        let version = if self.is_python() { "1.10.0" } else { "2.4.1" };
        assert_eq!(program.ready["version"], version);
        Client { kind: self, program }
    }

    pub fn is_python(self) -> bool {
        self != Self::JavaScript
    }
}

pub struct Client {
    pub kind: Kind,
    program: Program,
}

impl Client {
    /// Calls a method, e.g. `tools.get`, and returns its result.
    #[track_caller]
    pub fn call(&mut self, method: &str, with: Value, named: Value) -> Value {
        self.begin(method, with, named);
        self.end()
    }

    /// Calls a method and returns the error that the client raises.
    #[track_caller]
    pub fn fails(&mut self, method: &str, with: Value, named: Value) -> Value {
        self.begin(method, with, named);
        self.end_in_error()
    }

    /// Calls a method and does not wait.
    pub fn begin(&mut self, method: &str, with: Value, named: Value) {
        let mut wish = json!({ "call": path(method) });
        wish["with"] = with;
        if named.as_object().is_some_and(|named| !named.is_empty()) {
            wish["named"] = named;
        }
        self.program.say(&wish);
    }

    #[track_caller]
    pub fn end(&mut self) -> Value {
        let kind = self.kind;
        result(kind, self.program.line())
    }

    #[track_caller]
    pub fn end_in_error(&mut self) -> Value {
        let answer = self.program.line();
        let error = answer.get("error").unwrap_or_else(|| panic!("{:?}: {answer}", self.kind));
        error.clone()
    }

    /// Every item of `for … in`, and the number of pages.
    #[track_caller]
    pub fn each(&mut self, method: &str, named: &Value) -> (Vec<Value>, u64) {
        let answer = self.program.ask(&json!({ "each": path(method), "named": named }));
        let all = result(self.kind, answer);
        (all["items"].as_array().unwrap().clone(), all["pages"].as_u64().unwrap())
    }

    /// A request that the client has no method for.
    #[track_caller]
    pub fn post(&mut self, path: &str, body: &Value) -> Value {
        let answer = self.program.ask(&json!({ "post": path, "body": body }));
        result(self.kind, answer)
    }

    /// Runs a tool through the zod helpers; the whole answer.
    pub fn zod(&mut self, wish: &Value) -> Value {
        self.program.ask(wish)
    }

    /// The client's methods that this test has not called.
    #[track_caller]
    pub fn untried(&mut self) -> Value {
        let answer = self.program.ask(&json!({ "untried": true }));
        result(self.kind, answer)
    }
}

fn path(method: &str) -> Vec<&str> {
    method.split('.').collect()
}

#[track_caller]
fn result(kind: Kind, mut answer: Value) -> Value {
    assert!(answer.get("error").is_none(), "{kind:?}: {answer}");
    answer["result"].take()
}

/// A server on a user's own machine.
pub struct Machine {
    pub world: World,
    pub home: Home,
    pub served: Served,
}

impl Machine {
    pub fn start() -> Self {
        let world = World::start();
        let home = Home::new(&tools(&world, ""));
        let served = Served::start(&home);
        Self { world, home, served }
    }

    pub fn client(&self, kind: Kind) -> Client {
        kind.start(self.served.origin(), "any-key")
    }
}

/// A server whose callers are applications.
pub struct Keyed {
    pub world: World,
    pub app: Application,
    /// The application whose key has no rights.
    pub bare: Application,
    pub home: Home,
    pub served: Served,
}

impl Keyed {
    /// Starts a server with these tools besides the usual ones. Its applications confirm every
    /// browser that has signed in there.
    pub fn start(more: &str) -> Self {
        let keyed = Self::silent(more);
        keyed.app.confirm_to(&keyed.served);
        keyed.bare.confirm_to(&keyed.served);
        keyed
    }

    /// Like [`Self::start`], with applications that leave the confirmation to the test.
    pub fn silent(more: &str) -> Self {
        let world = World::start();
        let (app, bare) = (Application::start(APP_KEY), Application::start(BARE_KEY));
        let auth = format!(
            "[[server.auth.api_keys]]\nname = \"app\"\nkey = \"env:APP_KEY\"\nverifier_url = \"{}/verify\"\n\
             confirm = \"before\"\nadmin = true\ntokens = true\n\
             [[server.auth.api_keys]]\nname = \"bare\"\nkey = \"env:BARE_KEY\"\nverifier_url = \"{}/verify\"\n\
             confirm = \"before\"\n",
            app.url(),
            bare.url()
        );
        let home = Home::new(&format!("{auth}{}", tools(&world, more)))
            .with("COUNTERSIGN_KEY", STORE_KEY)
            .with("APP_KEY", APP_KEY)
            .with("BARE_KEY", BARE_KEY);
        let served = Served::start(&home);
        Self { world, app, bare, home, served }
    }

    pub fn client(&self, kind: Kind) -> Client {
        kind.start(self.served.origin(), APP_KEY)
    }

    /// A visit of a user who is signed in at the applications.
    pub fn visit(&self, user: &str, link: &str) -> Visit {
        Visit::to(link).after(&format!("{}/login/{user}", self.app.url())).signed_in_as(user)
    }
}

/// Path of a program of `arcade/`.
pub fn file(name: &str) -> PathBuf {
    part("COUNTERSIGN_REAL_DIR").join("arcade").join(name)
}
