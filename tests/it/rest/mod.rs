//! The REST faces, over HTTP. The OpenAPI document judges every answer ([`document`]).

mod arcade;
mod client_types;
mod document;
mod openapi;
mod portia;
mod tls;
mod walk;
mod webhooks;
mod world;
