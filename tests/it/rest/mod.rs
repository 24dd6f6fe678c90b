//! The REST faces, over HTTP.

mod arcade;
mod portia;
mod world;
