//! Countersign: an MCP server that exposes authorized tools.
#![forbid(unsafe_code)]
pub mod app;
pub mod broker;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod mcp;
pub mod model;
pub mod net;
pub mod oauth;
pub mod registry;
pub mod store;
pub mod upstream;
pub mod web;
