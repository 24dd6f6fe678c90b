//! Portia's contract: whole conversations of its client with the server, kept as snapshots under
//! `snapshots/portia/`.

mod clarifications;
mod errors;
mod listing;
mod ready;
mod run;
mod storage;
mod world;
