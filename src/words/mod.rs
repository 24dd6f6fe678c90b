//! Sentences for models and people, from the broker's data. Pure, and without a protocol: MCP, the
//! REST faces and the command line say the same words, each in its own form.

mod arguments;
mod connections;
mod consent;
mod failure;
mod input_required;
mod not_connected;
mod remark;
mod result;

pub use connections::{connections_data, connections_text};
pub use consent::{consent_needed, consent_refused, how_to_connect};
pub use failure::failure_text;
pub use input_required::input_needed;
pub use not_connected::not_connected;
pub use remark::remark;
pub use result::{block_text, result_note, result_text, unfit};
