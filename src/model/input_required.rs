//! Answers of the user that a call needs before it can run.

use super::arguments::InvalidArguments;
use super::{Clarification, Time, ToolName};

/// A call that waits for an answer of the user. Nothing was sent to the API.
#[derive(Clone, Debug)]
pub struct InputRequired {
    pub tool: ToolName,
    /// The tool's title, for people.
    pub title: String,
    pub question: Question,
}

/// Question to the user.
#[derive(Clone, Debug)]
pub enum Question {
    /// Arguments that the user can supply, see [`InvalidArguments::is_for_user`]. Holds every
    /// problem of the call, in the order of the parameters.
    Arguments(InvalidArguments),
    /// The tool runs after the user has confirmed these arguments on our page.
    Confirmation(ConfirmationPrompt),
    /// The code of the tool asks. The tool may have read already; after the answer it runs again
    /// from its start.
    Clarification(Clarification),
}

/// Everything that a face needs to ask a user for a confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmationPrompt {
    /// Names the confirmation in answers to programs. It opens no page.
    pub id: String,
    /// Our own page, where the user confirms or declines.
    pub url: String,
    /// The tool's question, with the values of the arguments.
    pub question: String,
    /// End of the time in which the user can answer.
    pub expires_at: Time,
}
