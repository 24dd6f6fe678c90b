//! The keys of a store: the master key, which wraps the key ring, and the ring's data keys, which
//! seal the records.

pub(super) mod key_file;
pub(super) mod master_key;
pub(super) mod ring;
pub(super) mod rotation;
pub(super) mod seal;
pub(super) mod source;
