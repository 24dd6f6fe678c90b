//! MCP over HTTP. rmcp speaks the protocol; this module adds what rmcp lacks.
//!
//! | module | adds |
//! |---|---|
//! | [`streamable`], [`sse`] | the routes of the two transports |
//! | `sessions` | the owner of each session, and how long its answers can be fetched |
//! | `limits` | limits on running requests and open streams, and the wait for the last one |
//! | `body` | limits on a body, and JSON-RPC errors for one that is no message |
//! | `accept_header` | content negotiation |
//! | `keep_alive` | signs of life during long calls |
//! | `consent_query` | `consent` in the client's URL |
//! | `fast_path` | the most frequent request, without rmcp |

mod accept_header;
mod body;
mod consent_query;
mod fast_path;
pub(super) mod keep_alive;
mod limits;
mod sessions;
pub mod sse;
pub mod streamable;

pub use body::MAX_BODY_BYTES;
pub use limits::Running;
