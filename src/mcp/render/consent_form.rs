//! Chooses the form in which a client is asked for a consent.

use crate::model::ConsentMode;

/// How a client is asked for a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mcp) enum ConsentForm {
    /// `InputRequiredResult` (MCP 2026-07-28).
    InputRequired,
    /// Error -32042 (MCP 2025-11-25).
    UrlElicitationRequired,
    Text,
    /// [`Self::Text`] without `isError`.
    Result,
}

impl ConsentForm {
    /// Chooses by the revision of the request, whether `elicitation.url` is declared for it, and
    /// the mode that the operator or the client's URL sets.
    pub(in crate::mcp) fn of(
        revision: Option<&str>,
        declares_url: bool,
        mode: ConsentMode,
    ) -> Self {
        match mode {
            ConsentMode::Auto => {}
            ConsentMode::Text => return Self::Text,
            ConsentMode::Result => return Self::Result,
        }
        match revision {
            // Revisions are ISO dates, so they compare as text.
            Some(revision) if revision >= "2026-07-28" && declares_url => Self::InputRequired,
            Some("2025-11-25") if declares_url => Self::UrlElicitationRequired,
            _ => Self::Text,
        }
    }
}
