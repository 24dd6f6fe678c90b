//! A program that uses one of our clients, `methods.py` or `methods.mjs`.

use serde_json::{Value, json};

use super::packages::{PYTHON, TYPESCRIPT};
use crate::arcade::world::{APP_KEY, BARE_KEY};
use crate::harness::Program;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Python,
    AsyncPython,
    TypeScript,
}

pub struct Client {
    kind: Kind,
    /// Its ready line, or the refusal of its settings.
    pub program: Program,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Python, Self::AsyncPython, Self::TypeScript];

    /// A client with these settings (`url`, `api_key`) and these variables in its environment.
    pub fn start(self, settings: &Value, environment: &Value) -> Client {
        let mut options = json!({ "settings": settings, "environment": environment });
        let program = if self == Self::TypeScript {
            let package =
                TYPESCRIPT.installed.join("node_modules/@countersign/client/dist/index.js");
            options["package"] = package.to_str().into();
            Program::start("own_clients/methods.mjs", &options)
        } else {
            options["asynchronous"] = (self == Self::AsyncPython).into();
            Program::with_packages("own_clients/methods.py", &options, &PYTHON.installed)
        };
        Client { kind: self, program }
    }

    pub fn with_key(self, origin: &str, key: &str) -> Client {
        self.start(&json!({ "url": origin, "api_key": key }), &json!({}))
    }
}

impl Client {
    pub fn begin(&mut self, call: &str, with: Value) {
        let mut wish = json!({ "call": call });
        wish["with"] = with;
        self.program.say(&wish);
    }

    /// Returns the answer to [`Self::begin`]. What a program prints of it holds no secret.
    #[track_caller]
    pub fn end(&self) -> Value {
        let answer = self.program.line();
        let shown = answer["shown"].as_str().unwrap_or_else(|| panic!("{:?}: {answer}", self.kind));
        let token = &answer["result"]["context"]["token"];
        let secrets = [Some(APP_KEY), Some(BARE_KEY), token.as_str()];
        for secret in secrets.into_iter().flatten() {
            assert!(!shown.contains(secret), "{:?} shows a secret: {shown}", self.kind);
        }
        answer
    }

    #[track_caller]
    pub fn call(&mut self, call: &str, with: Value) -> Value {
        self.begin(call, with);
        self.result()
    }

    #[track_caller]
    pub fn result(&self) -> Value {
        let mut answer = self.end();
        assert!(answer.get("error").is_none(), "{:?}: {answer}", self.kind);
        answer["result"].take()
    }

    #[track_caller]
    pub fn fails(&mut self, call: &str, with: Value) -> Value {
        self.begin(call, with);
        let mut answer = self.end();
        assert!(answer.get("error").is_some(), "{:?}: {answer}", self.kind);
        answer["error"].take()
    }
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}"))
}
