//! The real binary behind its port: who is let in, what is refused, how it ends.

mod accept;
mod addressing;
mod crowd;
mod direct;
mod ending;
mod gate;
mod log;
mod operator;
mod requests;
mod sessions;
mod starts;
mod streams;
mod wire;
