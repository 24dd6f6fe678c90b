//! `tools/call` whose `arguments` are not a JSON object: `[]`, a string, a number.
//!
//! rmcp does not parse such a request as `tools/call` but as a custom request. The rest of it must
//! be valid MCP.

use rmcp::model::{CallToolRequestMethod, CallToolRequestParams, ConstString as _, CustomRequest};
use serde_json::Value;

/// A call whose arguments are not an object.
pub(super) struct NonObjectCall {
    /// The parameters without `arguments`.
    pub(super) params: CallToolRequestParams,
    pub(super) arguments: Value,
}

/// Parses such a call; returns any other request as the error.
pub(super) fn read(request: CustomRequest) -> Result<NonObjectCall, CustomRequest> {
    if request.method != CallToolRequestMethod::VALUE {
        return Err(request);
    }
    let Some(Value::Object(mut members)) = request.params.clone() else { return Err(request) };
    let Some(arguments) = members.remove("arguments").filter(|value| !value.is_object()) else {
        return Err(request);
    };
    match serde_json::from_value(Value::Object(members)) {
        Ok(params) => Ok(NonObjectCall { params, arguments }),
        Err(_) => Err(request),
    }
}
