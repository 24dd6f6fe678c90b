//! Authentication of callers, by keys and by the tokens of an issuer that the tests serve.

mod access_tokens;
mod id_tokens;
mod introspection;
mod key_sets;
pub(crate) mod signing;
mod static_keys;
mod world;
