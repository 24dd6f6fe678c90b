//! The outcome for each connection of a file. Nothing in it is a token.

use serde_json::{Value, json};

use crate::broker::deposit::{DepositError, Deposited};
use crate::broker::rest_providers::NoSuchProvider;
use crate::model::deposit::Proof;
use crate::model::event::DepositOutcome;
use crate::model::text::shown;

/// Characters shown of an account's name; the rest is cut.
const MAX_LABEL_CHARS: usize = 100;

/// Outcome for one connection.
pub(super) enum Status {
    /// The provider honours it, or has honoured it before.
    Live {
        account: Option<String>,
        is_new: bool,
    },
    /// Its first use shows whether the provider honours it.
    Unproven {
        is_new: bool,
    },
    /// Nothing is known against it (`--dry-run`).
    Ready,
    /// The provider does not honour it.
    Dead(Why),
    Refused(Why),
    /// The provider could not be asked: to be tried again.
    Undecided(Why),
}

/// Reason and advice.
pub(super) struct Why {
    text: String,
    help: String,
}

/// One line of the report.
pub(super) struct Line {
    at: String,
    user: String,
    provider: String,
    status: Status,
}

/// All lines, and how many there are of each kind.
pub(super) struct Report {
    is_dry: bool,
    of: usize,
    lines: Vec<Line>,
}

impl Status {
    pub(super) fn kept(deposited: &Deposited) -> Self {
        let is_new = deposited.is_new;
        if deposited.proof != Proof::Proven {
            return Self::Unproven { is_new };
        }
        let identity = deposited.identity.as_ref();
        let account = identity.map(|identity| shown(&identity.words(), MAX_LABEL_CHARS));
        Self::Live { account, is_new }
    }

    pub(super) fn failed(error: &DepositError) -> Self {
        let why = Why { text: error.to_string(), help: error.hint() };
        match error.outcome() {
            DepositOutcome::Dead => Self::Dead(why),
            DepositOutcome::Undecided => Self::Undecided(why),
            DepositOutcome::Live | DepositOutcome::Unproven | DepositOutcome::Refused => {
                Self::Refused(why)
            }
        }
    }

    pub(super) fn refused(text: String, help: String) -> Self {
        Self::Refused(Why { text, help })
    }

    pub(super) fn unknown_provider(error: &NoSuchProvider) -> Self {
        let help = "write the provider of tools.toml with `--provider THEIRS=OURS`".into();
        let why = Why { text: error.to_string(), help };
        match error {
            NoSuchProvider::Store(_) => Self::Undecided(why),
            _ => Self::Refused(why),
        }
    }

    /// Stable word for programs.
    fn word(&self) -> &'static str {
        match self {
            Self::Live { .. } => "live",
            Self::Unproven { .. } => "unproven",
            Self::Ready => "ready",
            Self::Dead(_) => "dead",
            Self::Refused(_) => "refused",
            Self::Undecided(_) => "undecided",
        }
    }

    fn is_new(&self) -> bool {
        matches!(
            self,
            Self::Live { is_new: true, .. } | Self::Unproven { is_new: true } | Self::Ready
        )
    }

    fn why(&self) -> Option<&Why> {
        match self {
            Self::Live { .. } | Self::Unproven { .. } | Self::Ready => None,
            Self::Dead(why) | Self::Refused(why) | Self::Undecided(why) => Some(why),
        }
    }
}

impl Line {
    pub(super) fn new(at: String, user: String, provider: String) -> Self {
        Self { at, user, provider, status: Status::Ready }
    }

    pub(super) fn of(self, status: Status) -> Self {
        Self { status, ..self }
    }

    pub(super) fn words(&self) -> String {
        let Self { at, user, provider, status } = self;
        let what = match status {
            Status::Live { account, is_new } => {
                let account =
                    account.as_ref().map(|account| format!(" as {account}")).unwrap_or_default();
                let there = if *is_new { "" } else { ", connected already" };
                format!("live{account}{there}")
            }
            Status::Unproven { is_new: true } => {
                "unproven: its first use shows whether it works".into()
            }
            Status::Unproven { is_new: false } => "unproven, connected already".into(),
            Status::Ready => "can be moved in".into(),
            Status::Dead(Why { text, help })
            | Status::Refused(Why { text, help })
            | Status::Undecided(Why { text, help }) => {
                format!("{}: {text}\n  help: {help}", status.word())
            }
        };
        let sign = if status.why().is_none() { '✓' } else { '✗' };
        format!("{sign} {at}: {user}, {provider}: {what}")
    }

    fn as_json(&self) -> Value {
        let Self { at, user, provider, status } = self;
        let account = match status {
            Status::Live { account, .. } => account.clone(),
            _ => None,
        };
        let why = status.why();
        json!({
            "at": at,
            "user": user,
            "provider": provider,
            "status": status.word(),
            "is_new": status.is_new(),
            "account": account,
            "reason": why.map(|why| &why.text),
            "help": why.map(|why| &why.help),
        })
    }
}

impl Report {
    pub(super) fn new(is_dry: bool, of: usize) -> Self {
        Self { is_dry, of, lines: Vec::new() }
    }

    pub(super) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Whether every connection of the file is live or unproven now, or can be.
    pub(super) fn is_good(&self) -> bool {
        self.lines.len() == self.of && self.lines.iter().all(|line| line.status.why().is_none())
    }

    fn count(&self, is_it: impl Fn(&Status) -> bool) -> usize {
        self.lines.iter().filter(|line| is_it(&line.status)).count()
    }

    fn counts(&self) -> [(&'static str, usize); 6] {
        let of = |word| (word, self.count(|status| status.word() == word));
        [of("live"), of("unproven"), of("ready"), of("dead"), of("refused"), of("undecided")]
    }

    pub(super) fn as_json(&self) -> Value {
        let totals: serde_json::Map<String, Value> = self
            .counts()
            .into_iter()
            .map(|(word, count)| (word.to_owned(), count.into()))
            .collect();
        let entries: Vec<Value> = self.lines.iter().map(Line::as_json).collect();
        json!({
            "version": 1,
            "dry_run": self.is_dry,
            "entries": entries,
            "totals": totals,
            "left": self.of - self.lines.len(),
        })
    }

    /// The numbers, in a sentence.
    pub(super) fn totals(&self) -> String {
        let there = self.count(|status| {
            matches!(
                status,
                Status::Live { is_new: false, .. } | Status::Unproven { is_new: false }
            )
        });
        let words: Vec<String> = self
            .counts()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        let there = if there > 0 { format!(" ({there} connected already)") } else { String::new() };
        let mut text = format!("{} of {}: {}{there}", self.lines.len(), self.of, words.join(", "));
        if self.lines.len() < self.of {
            text.push_str("; stopped, the same command continues");
        } else if self.count(|status| matches!(status, Status::Undecided(_))) > 0 {
            text.push_str("; the same command tries the undecided ones again");
        }
        if !self.is_dry {
            text.push_str("\nThe file holds tokens: delete it once all is moved in, and let no other product renew them.");
        }
        text
    }
}
