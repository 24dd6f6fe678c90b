//! Programs that ask for a consent, as they name themselves. Shown to the user, trusted for
//! nothing.

use serde::{Deserialize, Serialize};

use super::ToolName;
use super::text::shown;

/// The requester, for the connect page. The client states it, so the page shows it as a claim and
/// no decision relies on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    pub client: Option<ClientName>,
    pub tool: Option<ToolName>,
}

/// Name that a client gives itself (MCP `clientInfo`), cut to what a page shows of it. A client can
/// send a name as long as its request; stored whole, it would make a record that other processes
/// cannot read. Names that differ only in characters that are not shown are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct ClientName(String);

impl ClientName {
    /// Maximum characters of a name; a longer one is cut.
    pub const MAX_NAME_CHARS: usize = 60;

    /// Cuts a name; `None` if no visible character is left.
    pub fn new(name: &str) -> Option<Self> {
        let name = Self::cut(name);
        (!name.0.is_empty()).then_some(name)
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn cut(name: &str) -> Self {
        let visible = shown(name, usize::MAX);
        // Trimmed after the cut too: it may end in a space.
        Self(shown(visible.trim(), Self::MAX_NAME_CHARS).trim_end().to_owned())
    }
}

/// Records of an earlier version hold uncut names.
impl From<String> for ClientName {
    fn from(name: String) -> Self {
        Self::cut(&name)
    }
}

impl AskedBy {
    /// A call of `tool` by a client that calls itself `client`.
    pub fn call(client: Option<&str>, tool: ToolName) -> Self {
        Self::new(client, Some(tool))
    }

    /// A request of a client that calls itself `client`, for `tool` if it is for one.
    pub fn new(client: Option<&str>, tool: Option<ToolName>) -> Self {
        Self { client: client.and_then(ClientName::new), tool }
    }

    /// Whether the user started it, outside any call.
    pub fn is_by_hand(&self) -> bool {
        self.client.is_none() && self.tool.is_none()
    }
}

/// Maximum programs that one link names; for further ones it only says that there are more.
const MAX_REQUESTERS: usize = 5;

/// The programs that have asked for one consent, and whether the user has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requesters {
    /// Their own names, at most [`MAX_REQUESTERS`], in the order in which they asked.
    pub names: Vec<ClientName>,
    /// Whether a program gave no name.
    pub has_unnamed: bool,
    /// Whether there were more names than are recorded.
    pub has_more: bool,
    /// Whether the user has started it outside any call.
    #[serde(default)]
    pub has_user: bool,
}

impl Requesters {
    /// Returns these requesters and the one that asks now.
    #[must_use]
    pub fn with(mut self, asked_by: &AskedBy) -> Self {
        match &asked_by.client {
            _ if asked_by.is_by_hand() => self.has_user = true,
            None => self.has_unnamed = true,
            Some(name) if self.names.contains(name) => {}
            Some(_) if self.names.len() >= MAX_REQUESTERS => self.has_more = true,
            Some(name) => self.names.push(name.clone()),
        }
        self
    }

    /// Whether a program has asked.
    pub fn has_program(&self) -> bool {
        !self.names.is_empty() || self.has_unnamed || self.has_more
    }

    /// Whether the page already names this requester.
    pub fn names(&self, asked_by: &AskedBy) -> bool {
        self.clone().with(asked_by) == *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_shown_alike_are_one_name_of_bounded_length() {
        let long = "n".repeat(1_000);
        let names = ["Editor", " Editor ", "Edi\u{200b}tor\u{7}", &long, &format!("{long}other")];
        let mut requesters = Requesters::default();
        for name in names {
            let asked_by = AskedBy::call(Some(name), ToolName::new("read"));
            requesters = requesters.with(&asked_by);
            assert!(requesters.names(&asked_by));
        }
        let names: Vec<_> = requesters.names.iter().map(ClientName::as_str).collect();
        assert_eq!(names, ["Editor", &"n".repeat(ClientName::MAX_NAME_CHARS)]);
        assert!(!requesters.has_unnamed && !requesters.has_more);

        let invisible = AskedBy::call(Some("\u{200b} \u{7}"), ToolName::new("read"));
        assert!(Requesters::default().with(&invisible).has_unnamed);
    }

    #[test]
    fn a_name_that_an_earlier_version_kept_whole_is_read_cut() {
        let kept = format!(r#"{{"client":"{}","tool":"read"}}"#, "n".repeat(1000));
        let read: AskedBy = serde_json::from_str(&kept).unwrap();
        assert_eq!(read.client.unwrap().as_str().len(), ClientName::MAX_NAME_CHARS);
    }
}
