//! The REST faces, over HTTP.

mod portia;
