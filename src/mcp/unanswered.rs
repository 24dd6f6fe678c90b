//! Answers to our question that no user gave.

/// How a client answered a question without its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    Cancelled,
    DeclinedAtOnce,
}
