//! Calls that run only after their user has seen the arguments and agreed.
//!
//! A confirmation is for one user, one plan run, one tool and one set of arguments, and is used up
//! by the call that runs. It takes only these steps:
//!
//! | from | to |
//! |---|---|
//! | `Open` | `Confirmed`, `Declined` |
//! | `Confirmed` | `Used` |

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::authorization::LINK_LIFETIME;
use super::principal::BrowserProof;
use super::requester::ClientName;
use super::tool::{Action, Piece, Template};
use super::{AccountName, Caller, ConfirmationPrompt, Time, Tool, ToolName, secret, text};

/// Time in which a confirmed call must come; after it, the user is asked again.
const CONFIRMED_LIFETIME: Duration = Duration::from_hours(1);
/// Age at which the record is deleted. Until then its page says what became of the question.
const RECORD_LIFETIME: Duration = Duration::from_hours(24);
/// Characters kept and shown of one argument; the page says how many more there are.
const MAX_ARGUMENT_CHARS: usize = 2000;
/// Characters kept and shown of a question; the rest is cut. The arguments are shown beside it.
const MAX_QUESTION_CHARS: usize = 300;

/// A question to a user whether a call may run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallConfirmation {
    /// Random. Names it in answers to programs; it does not open the page.
    pub id: String,
    /// The secret part of the page's address.
    #[serde(with = "super::secret::exposed")]
    pub ticket: SecretString,
    pub caller: Caller,
    /// Proof that the browser which answers belongs to the user whose call it is.
    pub browser_proof: BrowserProof,
    /// The program's own name for itself.
    pub client: Option<ClientName>,
    pub content: ConfirmationContent,
    /// Scheme, host and port of the page, e.g. `http://127.0.0.1:8971`.
    pub origin: String,
    /// Listening address for `origin`, if not the loopback address.
    pub listen_address: Option<IpAddr>,
    pub created_at: Time,
    pub state: ConfirmationState,
}

/// The call that the user is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationContent {
    pub tool: ToolName,
    /// The tool's title, for people. The operator's words, and a program may have chosen a tool whose
    /// title promises something else; the name and the host do not lie.
    pub title: String,
    /// Host that the call is sent to, with a port if that is not the usual one. Empty in records of an
    /// earlier version.
    #[serde(default)]
    pub host: String,
    /// The tool's question, with the values of the arguments.
    pub question: String,
    /// The account that the call acts with; `None`: the tool has none.
    pub account: Option<AccountName>,
    /// All arguments of the call, defaults included.
    pub arguments: Vec<ShownArgument>,
    /// Fingerprint of the whole call: of the tool as this `tools.toml` defines it, the account, and
    /// the arguments uncut.
    pub digest: String,
}

/// An argument as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownArgument {
    pub name: String,
    /// Its value: a text as it is, every other value as JSON.
    pub value: String,
    /// Number of characters that are not shown.
    pub left_out: usize,
}

/// State of a [`CallConfirmation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfirmationState {
    Open,
    Confirmed {
        at: Time,
    },
    Declined {
        at: Time,
    },
    /// The call has been sent.
    Used,
}

impl ConfirmationContent {
    /// Describes a call that asks this `question`.
    pub fn of(
        tool: &Tool,
        question: &Template,
        account: Option<&AccountName>,
        arguments: &Map<String, Value>,
    ) -> Self {
        let host = match &tool.action {
            Action::Http(action) => action.origin.authority().to_owned(),
            // Empty if the code names none beside its provider's.
            Action::Code(action) => action.hosts.iter().collect::<Vec<_>>().join(", "),
        };
        Self {
            tool: tool.name.clone(),
            title: tool.title.clone(),
            host,
            question: filled_in(question, arguments),
            account: account.cloned(),
            arguments: arguments.iter().map(|(name, value)| shown(name, value)).collect(),
            digest: digest(tool, account, arguments),
        }
    }
}

impl CallConfirmation {
    /// The page's address, which contains the secret ticket.
    pub fn url(&self) -> String {
        format!("{}/confirm/{}", self.origin, self.ticket.expose_secret())
    }

    /// Returns the prompt for a face.
    pub fn prompt(&self) -> ConfirmationPrompt {
        ConfirmationPrompt {
            id: self.id.clone(),
            url: self.url(),
            question: self.content.question.clone(),
            expires_at: self.expires_at(),
        }
    }

    /// End of the time in which the user can answer.
    pub fn expires_at(&self) -> Time {
        self.created_at.after(LINK_LIFETIME)
    }

    /// Whether the user can still answer.
    pub fn is_open(&self, now: Time) -> bool {
        self.state == ConfirmationState::Open && !now.is_past(self.created_at, LINK_LIFETIME)
    }

    /// Whether the user has confirmed, and the call may run.
    pub fn is_usable(&self, now: Time) -> bool {
        matches!(self.state, ConfirmationState::Confirmed { at } if !now.is_past(at, CONFIRMED_LIFETIME))
    }

    /// Whether the record can be deleted.
    pub fn is_forgettable(&self, now: Time) -> bool {
        now.is_past(self.created_at, RECORD_LIFETIME)
    }

    /// Returns it with the user's answer; `None` if it can no longer be answered.
    #[must_use]
    pub fn answered(&self, is_confirmed: bool, now: Time) -> Option<Self> {
        let state = if is_confirmed {
            ConfirmationState::Confirmed { at: now }
        } else {
            ConfirmationState::Declined { at: now }
        };
        self.is_open(now).then(|| Self { state, ..self.clone() })
    }

    /// Returns it used up by the call that runs; `None` if the call may not run.
    #[must_use]
    pub fn used(&self, now: Time) -> Option<Self> {
        self.is_usable(now).then(|| Self { state: ConfirmationState::Used, ..self.clone() })
    }
}

/// Writes a question with its arguments. An absent argument leaves nothing.
fn filled_in(question: &Template, arguments: &Map<String, Value>) -> String {
    let mut text = String::new();
    for piece in &question.0 {
        match piece {
            Piece::Text(fixed) => text.push_str(fixed),
            Piece::Param(name) => match arguments.get(name) {
                None | Some(Value::Null) => {}
                Some(Value::String(value)) => text.push_str(value),
                Some(value) => {
                    let _ = write!(text, "{value}");
                }
            },
        }
    }
    let (line, more) = cut(&text::shown(&text, usize::MAX), MAX_QUESTION_CHARS);
    if more > 0 { format!("{line}…") } else { line }
}

fn shown(name: &str, value: &Value) -> ShownArgument {
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let (value, left_out) = cut(&revealed(&text), MAX_ARGUMENT_CHARS);
    ShownArgument { name: name.to_owned(), value, left_out }
}

/// Writes what a reader would not see as `\u{…}`: a program must not have the user confirm a text
/// that reads differently from the one that is sent.
fn revealed(text: &str) -> String {
    let mut revealed = String::with_capacity(text.len());
    for c in text.chars() {
        if (c.is_control() && c != '\n') || text::is_invisible(c) {
            revealed.extend(c.escape_unicode());
        } else {
            revealed.push(c);
        }
    }
    revealed
}

/// Returns the beginning of a text, and the number of characters that follow it.
fn cut(text: &str, most: usize) -> (String, usize) {
    let beginning: String = text.chars().take(most).collect();
    (beginning, text.chars().count().saturating_sub(most))
}

/// Fingerprint of a call. Two calls have the same one exactly if they do the same: the order in
/// which a client writes the members of an object does not count.
fn digest(tool: &Tool, account: Option<&AccountName>, arguments: &Map<String, Value>) -> String {
    let mut text = serde_json::to_string(&(tool, account)).unwrap_or_default();
    write_sorted(&mut text, arguments);
    secret::fingerprint(&text)
}

fn write_sorted(text: &mut String, object: &Map<String, Value>) {
    let mut members: Vec<(&String, &Value)> = object.iter().collect();
    members.sort_by_key(|(name, _)| *name);
    text.push('{');
    for (name, value) in members {
        // `Debug` quotes the name, so that different objects are never written alike.
        let _ = write!(text, "{name:?}:");
        write_value(text, value);
        text.push(',');
    }
    text.push('}');
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Object(object) => write_sorted(text, object),
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_value(text, item);
                text.push(',');
            }
            text.push(']');
        }
        value => {
            let _ = write!(text, "{value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::UserId;

    fn map(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    fn tool() -> Tool {
        let fixed = json!({
            "name": "pay", "title": "Pay", "description": "Pays.", "params": [],
            "accounts": false, "effect": "Write", "idempotent": false, "provider": null,
            "scopes": [], "allow": null, "output": null,
            "action": { "Http": {
                "method": "Post", "origin": "https://api.example.com", "path": [], "query": [],
                "headers": [], "body": "None", "select": null, "error": null, "reply": null,
                "timeout": { "secs": 1, "nanos": 0 }, "max_chars": 1000,
            }},
        });
        serde_json::from_value(fixed).unwrap()
    }

    fn question() -> Template {
        let param = |name: &str| Piece::Param(name.into());
        Template(vec![
            Piece::Text("Pay ".into()),
            param("sum"),
            Piece::Text(" to ".into()),
            param("to"),
        ])
    }

    fn content(arguments: Value) -> ConfirmationContent {
        ConfirmationContent::of(&tool(), &question(), None, &map(arguments))
    }

    fn at(minutes: u64) -> Time {
        Time::from_millis(0).after(Duration::from_mins(minutes))
    }

    fn open() -> CallConfirmation {
        CallConfirmation {
            id: "id".into(),
            ticket: SecretString::from("ticket"),
            caller: Caller::local(UserId::new("ana")),
            browser_proof: BrowserProof::Loopback,
            client: None,
            content: content(json!({ "sum": 5, "to": "Ben" })),
            origin: "http://127.0.0.1:1".into(),
            listen_address: None,
            created_at: at(0),
            state: ConfirmationState::Open,
        }
    }

    #[test]
    fn a_digest_depends_on_everything_that_a_call_does_and_on_nothing_else() {
        let of = |arguments| content(arguments).digest;
        let paid = of(json!({ "sum": 5, "to": { "name": "Ben", "at": [1, 2] } }));
        assert_eq!(paid, of(json!({ "to": { "at": [1, 2], "name": "Ben" }, "sum": 5 })));
        for other in [
            json!({ "sum": 50, "to": { "name": "Ben", "at": [1, 2] } }),
            json!({ "sum": "5", "to": { "name": "Ben", "at": [1, 2] } }),
            json!({ "sum": 5, "to": { "name": "Ben", "at": [2, 1] } }),
            json!({ "sum": 5, "to": { "name": "Ben", "at": [[1], 2] } }),
            json!({ "sum": 5, "to": { "name": "Ben\",\"x" , "at": [1, 2] } }),
            json!({ "sum": 5 }),
        ] {
            assert_ne!(paid, of(other.clone()), "{other}");
        }
        let arguments = map(json!({ "sum": 5 }));
        let digest = |tool: &Tool, account: Option<&AccountName>| {
            ConfirmationContent::of(tool, &question(), account, &arguments).digest
        };
        let usual = digest(&tool(), None);
        assert_ne!(usual, digest(&tool(), Some(&AccountName::new("work"))));
        let changed = Tool { effect: crate::model::tool::Effect::Destroy, ..tool() };
        assert_ne!(usual, digest(&changed, None), "tools.toml defines it otherwise now");
    }

    #[test]
    fn the_user_reads_what_is_sent() {
        let hidden = content(json!({ "to": "Ben\u{202e}\u{200b}\nEve", "sum": "y".repeat(2005) }));
        let [to, sum] = &*hidden.arguments else { panic!("{hidden:?}") };
        assert_eq!(to.value, "Ben\\u{202e}\\u{200b}\nEve");
        assert_eq!((sum.value.len(), sum.left_out), (2000, 5));
        assert!(hidden.question.ends_with('…') && hidden.question.chars().count() == 301);
        assert_eq!(content(json!({ "sum": 5, "to": "Ben" })).question, "Pay 5 to Ben");
        assert_eq!(content(json!({ "sum": 5 })).question, "Pay 5 to ");
        assert_eq!(hidden.host, "api.example.com");
    }

    #[test]
    fn a_confirmation_is_answered_once_and_used_once() {
        let open = open();
        assert!(open.is_open(at(14)) && !open.is_open(at(15)));
        assert!(open.used(at(1)).is_none(), "nothing is confirmed yet");
        assert!(open.answered(true, at(15)).is_none(), "its time is over");
        let declined = open.answered(false, at(1)).unwrap();
        assert!(declined.used(at(2)).is_none() && declined.answered(true, at(2)).is_none());
        let confirmed = open.answered(true, at(1)).unwrap();
        assert!(confirmed.answered(false, at(2)).is_none());
        assert!(confirmed.used(at(61)).is_none(), "confirmed an hour ago");
        let used = confirmed.used(at(2)).unwrap();
        assert!(used.used(at(2)).is_none());
        assert!(!used.is_forgettable(at(2)) && used.is_forgettable(at(24 * 60)));
    }
}
