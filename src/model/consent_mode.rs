//! How a call that needs a consent tells its client so.

/// Value of `[server] consent`, or of `consent` in the query of `/mcp` and `/sse`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsentMode {
    /// URL elicitation where the client declares it, else [`Self::Text`].
    #[default]
    Auto,
    /// A text with the link and `isError`, regardless of what the client declares: for clients that
    /// declare URL elicitation and do not show it.
    Text,
    /// Like [`Self::Text`] without `isError`, for clients that hide the text of errors from the
    /// model.
    Result,
}

impl ConsentMode {
    /// Each mode and its word in `tools.toml` and in the query.
    pub const WORDS: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("text", Self::Text), ("result", Self::Result)];

    /// Returns the mode of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(own, _)| *own == word).map(|(_, mode)| *mode)
    }
}
