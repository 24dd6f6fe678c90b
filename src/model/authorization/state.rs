//! The states of an authorization, and the steps between them.

use serde::{Deserialize, Serialize};

use crate::model::grant::{AccountIdentity, unnamed};
use crate::model::lifetime::KnownEnd;
use crate::model::reason::{ConsentFailure, LinkProblem, RevocationResult};
use crate::model::{Grant, Scopes};

/// State of an authorization, with what belongs to that state alone.
#[derive(Clone, Debug)]
pub enum State {
    /// Waits for the user.
    Pending {
        /// Why the last redirect to the provider failed, while the link can still be used.
        problem: Option<LinkProblem>,
    },
    /// The consent is for another account than before; the user has to confirm the change.
    OtherAccount {
        before: String,
        now: String,
        /// Grant for the account `now`, not stored until the user confirms it.
        candidate: Box<Grant>,
        /// Whether the user has answered; the candidate may then be about to be stored.
        is_answered: bool,
    },
    /// The grant is durable.
    Completed(Connected),
    Failed {
        why: ConsentFailure,
        /// The provider's text for its refusal. Only for the page, which escapes it; never for a
        /// model, which could take it for instructions.
        said: Option<String>,
    },
    /// The user kept the previous account, which has this label.
    PreviousAccountKept(String),
    /// The user disconnected the account that the link had connected.
    Undone { connected: Connected, result: RevocationResult },
}

/// Result of a consent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connected {
    /// Label by which the user knows the account.
    pub connected_as: Option<String>,
    /// Scopes that a tool needs and that were not granted.
    pub refused: Scopes,
    /// Scopes asked for and not granted, the needed ones included. See [`Grant::ungranted`].
    pub ungranted: Scopes,
    /// When the access ends, as far as that is known.
    pub ends: Option<KnownEnd>,
}

/// State of an authorization, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Pending,
    /// The consent is for another account than before; the user has to confirm the change.
    OtherAccount {
        before: String,
        now: String,
    },
    /// The grant is durable.
    Completed,
    Failed(ConsentFailure),
    /// The user kept the previous account, which has this label.
    #[serde(rename = "Stayed")]
    PreviousAccountKept(String),
    /// The user disconnected the account that the link had connected.
    Undone(RevocationResult),
}

/// The authorization takes no such step in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authorization takes no such step in its state")]
pub struct InvalidTransition;

impl State {
    /// Clears the problem of the last redirect: the user begins another one.
    pub(super) fn start(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::Pending { problem: _ } => Ok(Self::Pending { problem: None }),
            _ => Err(InvalidTransition),
        }
    }

    pub(super) fn note_problem(self, problem: LinkProblem) -> Result<Self, InvalidTransition> {
        match self {
            Self::Pending { problem: _ } => Ok(Self::Pending { problem: Some(problem) }),
            _ => Err(InvalidTransition),
        }
    }

    pub(super) fn ask_about_account(
        self,
        before: String,
        candidate: Grant,
    ) -> Result<Self, InvalidTransition> {
        self.take_answer()?;
        let now = candidate.identity.as_ref().map_or_else(unnamed, AccountIdentity::words);
        Ok(Self::OtherAccount { before, now, candidate: Box::new(candidate), is_answered: false })
    }

    pub(super) fn answer(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::OtherAccount { before, now, candidate, .. } => {
                Ok(Self::OtherAccount { before, now, candidate, is_answered: true })
            }
            _ => Err(InvalidTransition),
        }
    }

    pub(super) fn keep_previous_account(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::OtherAccount { before, .. } => Ok(Self::PreviousAccountKept(before)),
            _ => Err(InvalidTransition),
        }
    }

    pub(super) fn complete(self, connected: Connected) -> Result<Self, InvalidTransition> {
        self.take_answer()?;
        Ok(Self::Completed(connected))
    }

    pub(super) fn fail(
        self,
        why: ConsentFailure,
        said: Option<String>,
    ) -> Result<Self, InvalidTransition> {
        self.take_answer()?;
        Ok(Self::Failed { why, said })
    }

    pub(super) fn undo(self, result: RevocationResult) -> Result<Self, InvalidTransition> {
        match self {
            Self::Completed(connected) => Ok(Self::Undone { connected, result }),
            _ => Err(InvalidTransition),
        }
    }

    /// Gives way to an answer of the provider or the user. A completed consent outweighs it.
    fn take_answer(self) -> Result<(), InvalidTransition> {
        match self {
            Self::Pending { .. }
            | Self::OtherAccount { .. }
            | Self::Failed { .. }
            | Self::PreviousAccountKept(_)
            | Self::Undone { .. } => Ok(()),
            Self::Completed(_) => Err(InvalidTransition),
        }
    }

    /// Returns why the last redirect to the provider failed, while the link can still be used.
    pub fn problem(&self) -> Option<&LinkProblem> {
        match self {
            Self::Pending { problem } => problem.as_ref(),
            _ => None,
        }
    }

    /// Returns the provider's text for its refusal.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Failed { said, .. } => said.as_deref(),
            _ => None,
        }
    }

    /// Returns the grant that the user is being asked about.
    pub fn candidate(&self) -> Option<&Grant> {
        match self {
            Self::OtherAccount { candidate, .. } => Some(candidate),
            _ => None,
        }
    }

    /// Returns the candidate of a question that has no answer yet. If the question goes, nothing
    /// keeps this grant.
    pub fn unanswered(&self) -> Option<&Grant> {
        match self {
            Self::OtherAccount { candidate, is_answered: false, .. } => Some(candidate),
            _ => None,
        }
    }

    /// Returns what the link has connected, also if the user has disconnected it since.
    pub fn connected(&self) -> Option<&Connected> {
        match self {
            Self::Completed(connected) | Self::Undone { connected, .. } => Some(connected),
            _ => None,
        }
    }
}

impl From<&State> for Status {
    fn from(state: &State) -> Self {
        match state.clone() {
            State::Pending { problem: _ } => Self::Pending,
            State::OtherAccount { before, now, candidate: _, is_answered: _ } => {
                Self::OtherAccount { before, now }
            }
            State::Completed(_) => Self::Completed,
            State::Failed { why, said: _ } => Self::Failed(why),
            State::PreviousAccountKept(before) => Self::PreviousAccountKept(before),
            State::Undone { connected: _, result } => Self::Undone(result),
        }
    }
}
