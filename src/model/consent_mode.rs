//! How a call that needs a consent tells its client so.

/// `[server] consent`, or `consent` in the query of `/mcp` and `/sse`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsentMode {
    /// URL elicitation where the client declares it, else [`Self::Text`].
    #[default]
    Auto,
    /// A text with the link and `isError`, whatever the client declares: for clients that declare
    /// URL elicitation and do not show it.
    Text,
    /// The same text without `isError`: for clients that hide from the model what an error says.
    Result,
}

impl ConsentMode {
    /// Each mode and its word in `tools.toml` and in the query.
    pub const WORDS: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("text", Self::Text), ("result", Self::Result)];

    /// The mode of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(own, _)| *own == word).map(|(_, mode)| *mode)
    }
}
