//! Calls that run once, at a time that their client has chosen.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::tool::{Action, CodeAction, HttpAction};
use super::{AccountName, Caller, InstanceId, ProviderId, Time, Tool, ToolName, secret};

/// Longest delay of a call; a later one is not run. What its user wanted at nine may be wrong at
/// noon.
const MAX_DELAY: Duration = Duration::from_hours(1);
/// How long a call is kept after its end.
const KEPT: Duration = Duration::from_hours(24 * 30);

/// A call that runs once, at `run_at`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScheduledCall {
    /// Random text, without the prefix of a contract.
    pub id: String,
    pub caller: Caller,
    /// Name shared by the callers that may see it.
    pub space: String,
    pub voucher: Voucher,
    /// Digest of the path of the `tools.toml` under which it was scheduled. A server with another
    /// one, where a tool of this name may be another tool, does not run it.
    pub config: String,
    /// [`fingerprint`] of the tool when it was scheduled. A tool that does something else since is
    /// not run. `None` in records of earlier versions.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// The consent that it was scheduled with; `None` if its tool needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<ScheduledConsent>,
    /// Name of the program that scheduled it.
    pub client: String,
    pub tool: ToolName,
    /// The tool's id in the contract of the client.
    pub tool_id: String,
    pub arguments: Map<String, Value>,
    /// The arguments as the client wrote them, if its contract has other names for them.
    pub written: Option<Map<String, Value>>,
    pub run_at: Time,
    pub created_at: Time,
    pub state: ScheduledState,
}

/// The authority that vouches for the user of a scheduled call, when it is scheduled and when it
/// runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Voucher {
    /// A server of one's own machine.
    Machine,
    /// A key of `[[server.auth.api_keys]]`, by its fingerprint.
    Key(String),
}

/// A consent that a scheduled call uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledConsent {
    pub provider: ProviderId,
    /// The account that the call meant when it was scheduled.
    pub account: AccountName,
    /// Stable id of the account at the provider, if the provider told it.
    #[serde(default)]
    pub identity: Option<String>,
}

/// Digest of what a tool sends, where to, and with which credential. `credential` describes that, and
/// holds no secret. Titles, descriptions and the treatment of the answer do not count.
pub fn fingerprint(tool: &Tool, credential: &str) -> String {
    let params = tool.input.params();
    let defaults: Vec<_> = params.iter().map(|it| (&it.name, &it.default)).collect();
    let json = match &tool.action {
        Action::Http(action) => {
            let HttpAction { method, origin, path, query, headers, body, .. } = action;
            let request = (method, origin, path, query, headers, body, defaults);
            serde_json::to_string(&(request, &tool.provider, &tool.scopes, credential))
        }
        // The code itself has no digest. Its declaration says what it needs and takes.
        Action::Code(CodeAction { hosts, .. }) => {
            let code = (&tool.name, hosts, &tool.input, defaults);
            serde_json::to_string(&(code, &tool.provider, &tool.scopes, credential))
        }
    };
    secret::fingerprint(&json.unwrap_or_default())
}

/// How far a scheduled call has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ScheduledState {
    Waiting,
    Running {
        /// The process that runs it.
        by: InstanceId,
        since: Time,
    },
    Ended {
        /// `None` if it has not begun.
        since: Option<Time>,
        at: Time,
        end: ScheduledEnd,
    },
}

/// How a scheduled call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ScheduledEnd {
    Ran {
        succeeded: bool,
        /// The output as the face wrote it; `None` if it cannot be kept.
        output: Option<Value>,
    },
    NotRun(NotRun),
    /// The process that ran it has ended: it is not known whether the call had its effect.
    Lost,
}

/// Why a scheduled call was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotRun {
    /// No server ran within [`MAX_DELAY`] of its time.
    Missed,
    /// The key that vouched for the user is not accepted any more.
    KeyGone,
    /// The user has no such tool any more.
    ToolGone,
    /// The tool sends another request than when the call was scheduled, or with another credential.
    ToolChanged,
    /// Its user has disconnected the account before its time.
    Disconnected,
    /// Its user has connected another account of the provider under the name of the one that it was
    /// scheduled for.
    OtherAccount,
    /// The user's consent is missing, or does not cover calls while they are away.
    NoConsent,
}

impl ScheduledCall {
    /// Whether it still has to run.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, ScheduledState::Waiting)
    }

    /// Whether it was scheduled with the consent to this account.
    pub fn uses(&self, provider: &ProviderId, account: &AccountName) -> bool {
        let consent = self.consent.as_ref();
        consent.is_some_and(|it| it.provider == *provider && it.account == *account)
    }

    /// Whether nothing more happens to it.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, ScheduledState::Ended { .. })
    }

    /// Whether its time is over, so that it must not run any more.
    pub fn is_missed(&self, now: Time) -> bool {
        now.since(self.run_at) > MAX_DELAY
    }

    /// Whether its record may be deleted. Also true for one that no server has looked at for that
    /// long after its time.
    pub fn is_forgettable(&self, now: Time) -> bool {
        let end = match self.state {
            ScheduledState::Ended { at, .. } => at,
            ScheduledState::Waiting | ScheduledState::Running { .. } => self.run_at,
        };
        now.since(end) >= KEPT
    }

    /// Returns the call after its end.
    #[must_use]
    pub fn ended(&self, at: Time, end: ScheduledEnd) -> Self {
        let since = match self.state {
            ScheduledState::Running { since, .. } => Some(since),
            ScheduledState::Waiting | ScheduledState::Ended { .. } => None,
        };
        Self { state: ScheduledState::Ended { since, at, end }, ..self.clone() }
    }

    /// Returns the call without arguments and output, which may be large.
    #[must_use]
    pub fn outline(&self) -> Self {
        let state = match &self.state {
            ScheduledState::Ended { since, at, end: ScheduledEnd::Ran { succeeded, .. } } => {
                let end = ScheduledEnd::Ran { succeeded: *succeeded, output: None };
                ScheduledState::Ended { since: *since, at: *at, end }
            }
            other => other.clone(),
        };
        Self {
            id: self.id.clone(),
            caller: self.caller.clone(),
            space: self.space.clone(),
            voucher: self.voucher.clone(),
            config: self.config.clone(),
            fingerprint: self.fingerprint.clone(),
            consent: self.consent.clone(),
            client: self.client.clone(),
            tool: self.tool.clone(),
            tool_id: self.tool_id.clone(),
            arguments: Map::new(),
            written: None,
            run_at: self.run_at,
            created_at: self.created_at,
            state,
        }
    }

    /// Returns the call without the output, which cannot be kept.
    #[must_use]
    pub fn without_output(mut self) -> Self {
        if let ScheduledState::Ended { end: ScheduledEnd::Ran { output, .. }, .. } = &mut self.state
        {
            *output = None;
        }
        self
    }

    /// Time of the last change.
    pub fn changed_at(&self) -> Time {
        match self.state {
            ScheduledState::Waiting => self.created_at,
            ScheduledState::Running { since, .. } => since,
            ScheduledState::Ended { at, .. } => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserId;

    fn call(run_at: Time) -> ScheduledCall {
        ScheduledCall {
            id: "id".into(),
            caller: Caller::local(UserId::new("ana")),
            space: "local".into(),
            voucher: Voucher::Machine,
            config: String::new(),
            fingerprint: None,
            consent: None,
            client: "client".into(),
            tool: ToolName::new("write"),
            tool_id: "Notes.Write".into(),
            arguments: Map::new(),
            written: None,
            run_at,
            created_at: Time::from_millis(0),
            state: ScheduledState::Waiting,
        }
    }

    #[test]
    fn a_call_waits_for_its_time_and_an_hour_longer() {
        let run_at = Time::from_millis(0).after(Duration::from_hours(24 * 300));
        let call = call(run_at);
        for (now, is_missed) in [
            (Time::from_millis(0), false),
            (run_at, false),
            (run_at.after(MAX_DELAY), false),
            (run_at.after(MAX_DELAY + Duration::from_millis(1)), true),
        ] {
            assert_eq!(call.is_missed(now), is_missed, "{now:?}");
            assert!(!call.is_forgettable(now), "{now:?}");
        }
        assert!(call.is_forgettable(run_at.after(KEPT)));
    }

    #[test]
    fn an_end_is_kept_for_a_month() {
        let (run_at, end) = (Time::from_millis(1_000), ScheduledEnd::NotRun(NotRun::Missed));
        let ended = call(run_at).ended(run_at.after(MAX_DELAY * 2), end);
        assert!(!ended.is_waiting());
        assert!(!ended.is_forgettable(run_at.after(KEPT)));
        assert!(ended.is_forgettable(run_at.after(KEPT + MAX_DELAY * 2)));
    }
}
