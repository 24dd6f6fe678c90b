//! Countersign: an MCP server that exposes authorized tools.
#![forbid(unsafe_code)]
pub mod catalog;
pub mod cli;
pub mod config;
pub mod model;
pub mod net;
pub mod store;
pub mod upstream;
