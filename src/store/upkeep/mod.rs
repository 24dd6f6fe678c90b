//! Work on a whole store: export and import, checks, deletion of expired records.

pub(super) mod archive;
pub(super) mod sweep;
pub(super) mod transfer;
pub(super) mod verify;
