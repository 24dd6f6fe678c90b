//! How a host speaks: a revision of the protocol, and whether it can open links.

use serde_json::{Value, json};

use super::Way;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub revision: &'static str,
    /// Declares `elicitation.url`, in any revision.
    pub elicits: bool,
}

impl Dialect {
    /// The revisions, from the first to the last.
    pub const REVISIONS: [&str; 5] =
        ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];
    /// Declares nothing, like most hosts.
    pub const PLAIN: Self = Self { revision: "2025-06-18", elicits: false };
    /// Errors -32042 and completion notices.
    pub const ERRORS: Self = Self { revision: "2025-11-25", elicits: true };
    /// Results that require input.
    pub const ROUNDS: Self = Self { revision: "2026-07-28", elicits: true };

    pub fn all() -> impl Iterator<Item = Self> {
        Self::REVISIONS
            .into_iter()
            .flat_map(|revision| [true, false].map(|elicits| Self { revision, elicits }))
    }

    /// Whether there is no `initialize` and every request names its client (2026-07-28).
    pub fn is_stateless(self) -> bool {
        self.revision >= "2026-07-28"
    }

    /// The way in which a consent must be asked for. Before 2025-11-25, no client can declare
    /// links.
    pub fn way(self) -> Way {
        match self.revision {
            "2026-07-28" if self.elicits => Way::Input,
            "2025-11-25" if self.elicits => Way::Error,
            _ => Way::Text,
        }
    }

    pub fn capabilities(self) -> Value {
        if self.elicits { json!({"elicitation": {"form": {}, "url": {}}}) } else { json!({}) }
    }

    pub fn initialize(self) -> Value {
        json!({
            "protocolVersion": self.revision,
            "capabilities": self.capabilities(),
            "clientInfo": client(),
        })
    }

    /// The headers of an HTTP request that carries a message or opens a stream.
    pub fn headers(self, message: Option<&Value>) -> Vec<(&'static str, String)> {
        let about = |key: &str| message.and_then(|message| message.pointer(key)?.as_str());
        let method = about("/method");
        let mut headers = Vec::new();
        if self.revision >= "2025-06-18" && method != Some("initialize") {
            headers.push(("mcp-protocol-version", self.revision.to_owned()));
        }
        if self.is_stateless() {
            headers.extend(method.map(|method| ("mcp-method", method.to_owned())));
            headers.extend(about("/params/name").map(|name| ("mcp-name", name.to_owned())));
        }
        headers
    }

    /// Adds the fields that every request of this dialect carries.
    pub fn sign(self, mut params: Value) -> Value {
        if self.is_stateless() {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.revision,
                "io.modelcontextprotocol/clientInfo": client(),
                "io.modelcontextprotocol/clientCapabilities": self.capabilities(),
            });
        }
        params
    }
}

fn client() -> Value {
    json!({"name": "test-host", "version": "1"})
}
