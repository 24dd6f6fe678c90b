//! Links on the user's own machine: the loopback listener, and the processes that share it.

pub mod ask_owner_to_listen;
pub mod listener;
pub mod open_links;
