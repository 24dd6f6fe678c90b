//! Countersign: an MCP server that exposes authorized tools.
#![forbid(unsafe_code)]
pub mod model;
pub mod net;
pub mod registry;
pub mod upstream;
