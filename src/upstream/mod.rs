//! wip
pub mod select;
