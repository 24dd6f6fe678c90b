//! Questions that the code of a tool asks its user.

/// A question to the user. The answer comes back as an argument of the next call, so nothing of the
/// question is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clarification {
    /// Text for the user, on one line and without “ and ”.
    pub guidance: String,
    pub kind: ClarificationKind,
}

/// Answer that a question asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClarificationKind {
    /// A value for this argument.
    Input { argument: String },
    /// One of these values for this argument.
    Choice { argument: String, options: Vec<String> },
    /// Whether the value of this argument is meant.
    Confirm { argument: String },
    /// The user acts on the page at this URL.
    Action { url: String },
}
