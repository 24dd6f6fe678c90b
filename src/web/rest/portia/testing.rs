//! A tool for the unit tests of this module.

use std::time::Duration;

use crate::model::face::FaceNames;
use crate::model::tool::{Action, Body, Effect, HttpAction, Input, Method, Returns};
use crate::model::{Scopes, Tool, ToolName};

pub(super) fn tool() -> Tool {
    Tool {
        name: ToolName::new("notes_read"),
        title: "Read notes".into(),
        description: "Reads notes.".into(),
        input: Input::none(),
        accounts: false,
        effect: Effect::Read,
        idempotent: true,
        provider: None,
        scopes: Scopes::default(),
        action: Action::Http(HttpAction {
            method: Method::Get,
            origin: "https://api.acme.example".parse().expect("a URL"),
            path: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Body::None,
            select: None,
            error: None,
            reply: None,
            timeout: Duration::from_secs(5),
            max_chars: 1000,
            is_untrusted: false,
        }),
        allow: None,
        output: None,
        faces: FaceNames::default(),
        returns: Returns::default(),
        confirm: None,
    }
}
