//! The short way for the request that a server like this gets all day: `tools/call` of 2026-07-28,
//! right in every header and field.
//!
//! rmcp gives each request a transport, two tasks and three channels, and reads its body into a
//! tree, from that into a union of all methods, and writes it out again to compare it with the
//! headers. That costs more than the call. Here the one method is read into its own type and handed
//! to the same [`Handler`], in the task of the connection: when the client hangs up, the call is
//! dropped with it.
//!
//! Nothing is decided here that rmcp decides otherwise. Whatever is not plainly that request, wrong
//! or merely unusual, is not [recognized](recognize) and takes the long way, which knows the
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

use super::Handler;
use super::body::{Refusal, json_response};

/// The revision that is spoken here; a later one takes the long way.
const REVISION: ProtocolVersion = ProtocolVersion::V_2026_07_28;
/// Bytes that most answers fit in; one that grows is copied again and again.
const USUAL: usize = 4096;
pub(super) struct Direct {
    handler: Handler,
    /// Lends its peer to the calls; nobody is at its other end. A call of this revision asks nothing
    /// of its peer.
    nobody: RunningService<RoleServer, Handler>,
}

/// A call as it came.
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

impl Direct {
    /// Call within the runtime that shall serve.
    pub(super) fn new(handler: Handler) -> Self {
        let nobody = serve_directly(handler.clone(), Silence, None);
        Self { handler, nobody }
    }

    pub(super) async fn answer(&self, call: Call, parts: Parts) -> Response {
        let Call { id, params, meta } = call;
        let mut context = RequestContext::new(id.clone(), self.nobody.peer().clone());
        context.meta = meta;
        context.extensions.insert(parts);
        let (status, message): (_, ServerJsonRpcMessage) =
            match self.handler.call_tool(params, context).await {
                Ok(response) => {
                    (StatusCode::OK, JsonRpcMessage::response(ServerResult::from(response), id))
                }
                Err(error) => (status_of(error.code), JsonRpcMessage::error(error, Some(id))),
            };
        let mut body = Vec::with_capacity(USUAL);
        match serde_json::to_writer(&mut body, &message) {
            Ok(()) => json_response(status, body),
            Err(error) => Refusal::fault(error).into_response(),
        }
    }
}

/// Whether this is that request, of a client that accepts an answer in one of the two types.
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
        // A name in this form is decoded before it is compared.
        && !name.starts_with("=?")
        && meta.protocol_version() == Some(REVISION)
        && meta.missing_required_keys(&REVISION).is_empty()
        && meta.client_info().is_some();
    is_that.then_some(Call { id: message.id, params: message.params, meta })
}

/// The value of a header that is there once.
fn once<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// As basic/transports/streamable-http has it.
fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY
        | ErrorCode::HEADER_MISMATCH => StatusCode::BAD_REQUEST,
        ErrorCode::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

/// A transport on which nothing ever comes.
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
