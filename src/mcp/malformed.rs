//! Input that is no MCP message, and the error that JSON-RPC 2.0 §5.1 requires for it.

use rmcp::model::ErrorCode;
use serde_json::{Value, json};

/// Why an input is no message, and the id of the request that it may have been.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed {
    pub(super) code: ErrorCode,
    pub(super) why: &'static str,
    /// `null` if it cannot be determined (JSON-RPC 2.0 §5).
    pub(super) id: Value,
    /// Whether it is a notification or a response, which are never answered where silence is
    /// possible (§4.1).
    pub(super) is_quiet: bool,
}

impl Malformed {
    /// Describes text that could not be read as a message.
    pub(super) fn of(text: &[u8]) -> Self {
        match serde_json::from_slice(text) {
            Ok(value) => Self::value(&value),
            Err(_) => Self {
                code: ErrorCode::PARSE_ERROR,
                why: "this is not JSON in UTF-8, or nests too deep",
                id: Value::Null,
                is_quiet: false,
            },
        }
    }

    pub(super) fn invalid(why: &'static str, id: Value) -> Self {
        Self { code: ErrorCode::INVALID_REQUEST, why, id, is_quiet: false }
    }

    fn value(value: &Value) -> Self {
        let Value::Object(members) = value else {
            let why = if value.is_array() {
                "batches are not supported; send each message separately"
            } else {
                "a message is a JSON object"
            };
            return Self::invalid(why, Value::Null);
        };
        let is_notification =
            members.get("method").is_some_and(Value::is_string) && !members.contains_key("id");
        let is_response = !members.contains_key("method")
            && (members.contains_key("result") || members.contains_key("error"));
        if is_notification || is_response {
            let invalid = Self::invalid("this is not an MCP message", Value::Null);
            return Self { is_quiet: true, ..invalid };
        }
        let id = members.get("id").filter(|id| id.is_string() || id.is_number());
        let why = "a request has `jsonrpc` \"2.0\", an `id` and a `method`";
        Self::invalid(why, id.cloned().unwrap_or_default())
    }

    pub(super) fn answer(&self) -> Value {
        let error = json!({ "code": self.code, "message": self.why });
        json!({ "jsonrpc": "2.0", "id": self.id, "error": error })
    }
}
