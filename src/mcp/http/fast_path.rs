//! Fast path for the most frequent request: a `tools/call` of 2026-07-28 with every header and
//! field right.
//!
//! rmcp gives each request a transport, two tasks and three channels. It parses the body into a
//! tree, and that into a union of all methods, and serializes it again to compare it with the
//! headers. That costs more than the call. Here the one method is parsed into its own type and
//! passed to the same [`Handler`], in the task of the connection: when the client disconnects, the
//! call is dropped with it.
//!
//! This path decides nothing differently from rmcp. A request that is not plainly of this kind,
//! wrong or merely unusual, is not [recognized](recognize) and goes through rmcp, which knows the
//! proper answer; `tests/it/http/direct.rs` compares the answers of both.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use rmcp::handler::server::ServerHandler as _;
use rmcp::model::{
    CallToolRequestMethod, CallToolRequestParams, ConstString as _, ErrorCode, JsonRpcMessage,
    ProtocolVersion, RequestId, RequestMetaObject, ServerJsonRpcMessage, ServerResult,
};
use rmcp::service::{
    RequestContext, RoleServer, RunningService, RxJsonRpcMessage, TxJsonRpcMessage, serve_directly,
};
use rmcp::transport::Transport;
use serde::Deserialize;

use super::body::{Refusal, json_response};
use crate::mcp::Handler;

/// Revision of the fast path; requests of any other go through rmcp.
const REVISION: ProtocolVersion = ProtocolVersion::V_2026_07_28;
/// Initial size of the response buffer in bytes. Most answers fit; a longer one is copied each time
/// the buffer grows.
const INITIAL_RESPONSE_BYTES: usize = 4096;
pub(super) struct FastPath {
    handler: Handler,
    /// Service without a client, which lends its peer to the calls. A call of this revision sends
    /// no request to its peer.
    detached_service: RunningService<RoleServer, Handler>,
}

/// A recognized call, as it came.
pub(super) struct Call {
    id: RequestId,
    params: CallToolRequestParams,
    meta: RequestMetaObject,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'m> {
    #[serde(borrow)]
    jsonrpc: Cow<'m, str>,
    id: RequestId,
    #[serde(borrow)]
    method: Cow<'m, str>,
    params: CallToolRequestParams,
}

impl FastPath {
    /// Creates the fast path. Call within the runtime that serves.
    pub(super) fn new(handler: Handler) -> Self {
        let detached_service = serve_directly(handler.clone(), Silence, None);
        Self { handler, detached_service }
    }

    pub(super) async fn answer(&self, call: Call, parts: Parts) -> Response {
        let Call { id, params, meta } = call;
        let mut context = RequestContext::new(id.clone(), self.detached_service.peer().clone());
        context.meta = meta;
        context.extensions.insert(parts);
        let (status, message): (_, ServerJsonRpcMessage) =
            match self.handler.call_tool(params, context).await {
                Ok(response) => {
                    (StatusCode::OK, JsonRpcMessage::response(ServerResult::from(response), id))
                }
                Err(error) => (status_of(error.code), JsonRpcMessage::error(error, Some(id))),
            };
        let mut body = Vec::with_capacity(INITIAL_RESPONSE_BYTES);
        match serde_json::to_writer(&mut body, &message) {
            Ok(()) => json_response(status, body),
            Err(error) => Refusal::internal_error(error).into_response(),
        }
    }
}

/// Returns the call if the request is of this kind. The client must accept one of the two types.
pub(super) fn recognize(headers: &HeaderMap, body: &Bytes) -> Option<Call> {
    let is_fit = once(headers, "mcp-protocol-version") == Some(REVISION.as_str())
        && once(headers, "mcp-method") == Some(CallToolRequestMethod::VALUE)
        && !headers.contains_key("mcp-session-id");
    if !is_fit {
        return None;
    }
    let name = once(headers, "mcp-name")?;
    let mut message: Message<'_> = serde_json::from_slice(body).ok()?;
    let meta = message.params.meta.take()?;
    let is_that = message.jsonrpc == "2.0"
        && message.method == CallToolRequestMethod::VALUE
        && message.params.name == name
        // rmcp decodes a name in this form before comparing it.
        && !name.starts_with("=?")
        && meta.protocol_version() == Some(REVISION)
        && meta.missing_required_keys(&REVISION).is_empty()
        && meta.client_info().is_some();
    is_that.then_some(Call { id: message.id, params: message.params, meta })
}

/// Returns the value of a header that occurs exactly once.
fn once<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// HTTP status of an error (basic/transports/streamable-http).
fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY
        | ErrorCode::HEADER_MISMATCH => StatusCode::BAD_REQUEST,
        ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

/// A transport on which no message ever arrives.
struct Silence;

impl Transport<RoleServer> for Silence {
    type Error = Infallible;

    fn send(
        &mut self,
        _: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        std::future::ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        std::future::pending().await
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "read"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    fn body() -> Value {
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "read",
            "arguments": { "id": 5 },
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "it", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        }})
    }

    fn is_known(headers: &HeaderMap, body: &Value) -> bool {
        recognize(headers, &body.to_string().into()).is_some()
    }

    #[test]
    fn the_plain_request_is_recognized() {
        let call = recognize(&headers(), &body().to_string().into()).unwrap();
        assert_eq!(call.id, RequestId::Number(1));
        assert_eq!(call.params.name, "read");
        assert_eq!(call.params.arguments.unwrap()["id"], 5);
        assert!(call.params.meta.is_none());
        assert_eq!(call.meta.client_info().unwrap().name, "it");
    }

    #[test]
    fn a_header_that_is_not_right_is_not_for_us() {
        for (name, value) in [
            ("mcp-protocol-version", "2025-11-25"),
            ("mcp-protocol-version", "2099-01-01"),
            ("mcp-method", "tools/list"),
            ("mcp-method", "Tools/call"),
            ("mcp-name", "write"),
            ("mcp-name", "=?base64?cmVhZA==?="),
            ("mcp-session-id", "x"),
        ] {
            let mut changed = headers();
            changed.insert(name, value.parse().unwrap());
            assert!(!is_known(&changed, &body()), "{name}: {value}");
        }
        for name in ["mcp-protocol-version", "mcp-method", "mcp-name"] {
            let mut without = headers();
            let value = without.remove(name).unwrap();
            assert!(!is_known(&without, &body()), "without {name}");
            without.append(name, value.clone());
            without.append(name, value);
            assert!(!is_known(&without, &body()), "two {name}");
        }
    }

    #[test]
    fn a_body_that_is_not_right_is_not_for_us() {
        for (pointer, value) in [
            ("/jsonrpc", json!("1.0")),
            ("/id", Value::Null),
            ("/id", json!({})),
            ("/method", json!("tools/list")),
            ("/params", json!([])),
            ("/params/name", json!(5)),
            ("/params/name", json!("write")),
            ("/params/arguments", json!([])),
            ("/params/_meta", Value::Null),
            ("/params/_meta/io.modelcontextprotocol~1protocolVersion", json!("2025-11-25")),
            ("/params/_meta/io.modelcontextprotocol~1clientCapabilities", json!(1)),
            ("/params/_meta/io.modelcontextprotocol~1clientInfo", Value::Null),
        ] {
            let mut changed = body();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert!(!is_known(&headers(), &changed), "{pointer}");
        }
        let mut more = body();
        more["result"] = json!({});
        assert!(!is_known(&headers(), &more), "a stray member");
        let batch = json!([body()]);
        assert!(!is_known(&headers(), &batch));
        for text in ["", "{", "null"] {
            assert!(recognize(&headers(), &text.into()).is_none());
        }
    }
}
