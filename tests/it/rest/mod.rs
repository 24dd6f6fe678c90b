//! The REST faces, over HTTP.

mod arcade;
mod openapi;
mod portia;
mod walk;
mod world;
