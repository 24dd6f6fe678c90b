//! Calls that run at a time that their client has chosen, perhaps while their user is away.
//!
//! - [`check`]: the consent and the tool, when a call is scheduled and when it runs
//! - [`run`]: runs them at their time, each at most once
//! - [`records`]: their records; ends those whose consent ends before their time
//!
//! A call is scheduled only with a consent that says "also while you are away", and everything that
//! allows it is checked again when it runs. Every method takes the space of the client's key
//! ([`RestCaller::space`](crate::identity::RestCaller::space)), and finds nothing of another one.

mod check;
pub(super) mod records;
pub mod run;

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};

use super::call::CallError;
use super::once::{OnceAnswer, OnceError, OnceKey, OwnedCall};
use super::{Broker, MAX_WRITE_ATTEMPTS, caller_failures};
use crate::model::scheduled::{ScheduledCall, ScheduledState, Voucher};
use crate::model::{Outcome, Time, Tool, secret};
use crate::store::StoreError;

/// How far `run_at` may lie in the past: the client's clock may be slow. The call then runs at once.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_mins(1);
/// How far `run_at` may lie ahead.
const MAX_AHEAD: Duration = Duration::from_hours(24 * 366);
/// Most calls of one user that wait for their time.
const MAX_WAITING_OF_USER: usize = 100;
/// Most calls of one key that wait for their time.
const MAX_WAITING_OF_KEY: usize = 1000;
/// Ended calls of one key that are kept; beyond, the oldest make room.
const MAX_ENDED_OF_KEY: usize = 200;
/// Longest arguments, in bytes of JSON.
const MAX_ARGUMENT_BYTES: usize = 32_000;

/// A call that a client wants to run later.
#[derive(Clone, Debug)]
pub struct CallForLater {
    pub call: OwnedCall,
    /// Callers that may see it ([`RestCaller::space`](crate::identity::RestCaller::space)).
    pub space: String,
    pub voucher: Voucher,
    /// The tool's id in the contract of the client.
    pub tool_id: String,
    /// The arguments as the client wrote them.
    pub written: Map<String, Value>,
    pub run_at: Time,
}

/// Result of scheduling a call.
#[derive(Debug)]
pub enum Scheduling {
    Scheduled(Box<ScheduledCall>),
    /// It is not scheduled; a call that runs at once would end like this.
    NotYet(Box<Outcome>),
    Unfit(Unschedulable),
}

/// Why a call cannot be scheduled, even with its user's consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unschedulable {
    #[error("`run_at` is in the past")]
    Past,
    #[error("`run_at` is more than a year ahead")]
    TooFar,
    #[error(
        "this tool asks its user to confirm each call, so it cannot run while the user is away"
    )]
    AsksEachTime,
    #[error("the input of a scheduled call has at most {MAX_ARGUMENT_BYTES} bytes")]
    TooLarge,
    #[error("{MAX_WAITING_OF_USER} calls of this user wait for their time, and no more are kept")]
    TooManyOfUser,
    #[error("{MAX_WAITING_OF_KEY} calls of this key wait for their time, and no more are kept")]
    TooManyOfKey,
}

impl Broker {
    /// Schedules a call, or returns the consent that it needs: one that covers calls while the user
    /// is away.
    ///
    /// # Errors
    /// [`OnceError`] if nothing is scheduled.
    pub async fn schedule(&self, later: CallForLater) -> Result<Scheduling, OnceError> {
        let catalogue = self.catalogue();
        let (name, principal) = (&later.call.tool, &later.call.principal);
        let entry = catalogue.registry().get(name.as_str(), principal).map_err(CallError::from)?;
        if let Some(problem) = later.problem(entry.tool(), self.now()) {
            return Ok(Scheduling::Unfit(problem));
        }
        let config = &self.0.parts.config;
        let fingerprint = self.tool_fingerprint(&catalogue, &principal.caller, entry.tool()).await;
        let fingerprint = match fingerprint {
            Ok(fingerprint) => fingerprint,
            Err(error) => {
                let failure = caller_failures::no_access(&error, principal);
                return Ok(Scheduling::NotYet(Box::new(Outcome::Failed(failure))));
            }
        };
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let began_at = self.now();
            let consent = match self.consent_for_later(entry.tool(), &later).await {
                Ok(consent) => consent,
                Err(outcome) => return Ok(Scheduling::NotYet(outcome)),
            };
            if let Some(problem) = self.make_room(&later).await? {
                return Ok(Scheduling::Unfit(problem));
            }
            let call = ScheduledCall { consent, ..later.record(config, &fingerprint, began_at) };
            let (records, store) = (&self.0.scheduled, self.store().await?);
            let Some(held) = records.table().put(call).await? else { continue };
            // The end of the consent, or the deletion of the user's data, may have looked before the
            // record was there.
            if store.is_cut_off(&held.value.caller, began_at).await?
                || !matches!(self.consent_problem(&held.value).await, Ok(None))
            {
                records.table().delete_last(held).await?;
                continue;
            }
            records.changed().notify_one();
            return Ok(Scheduling::Scheduled(Box::new(held.value)));
        }
        Err(StoreError::Contended.into())
    }

    /// Schedules a call unless one with this key has been scheduled already. `render` writes the
    /// answer that is kept and returned for each further request with the key.
    ///
    /// # Errors
    /// As [`Self::schedule`].
    pub async fn schedule_once(
        &self,
        later: CallForLater,
        once: OnceKey<'_>,
        render: impl Fn(&ScheduledCall) -> Value + Send + 'static,
    ) -> Result<OnceAnswer<Scheduling>, OnceError> {
        let (caller, request) = (later.call.principal.caller.clone(), later.digest());
        let broker = self.clone();
        let work = Box::pin(async move {
            let result = broker.schedule(later).await;
            let kept = match &result {
                Ok(Scheduling::Scheduled(call)) => Some(render(call)),
                Ok(Scheduling::NotYet(_) | Scheduling::Unfit(_)) | Err(_) => None,
            };
            (kept, result)
        });
        self.do_once(caller, request, once, work).await?.transposed()
    }

    /// Returns the scheduled calls of an application, `space`, without arguments and outputs; the
    /// latest come first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn scheduled(&self, space: &str) -> Result<Vec<ScheduledCall>, StoreError> {
        let mut calls: Vec<ScheduledCall> = Vec::new();
        let look = |call: &ScheduledCall| calls.push(call.outline());
        self.store().await?.for_each_scheduled(Some(space), look).await?;
        calls.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
        Ok(calls)
    }

    /// Returns the scheduled call of an application, `space`, that has this id.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn scheduled_one(
        &self,
        space: &str,
        id: &str,
    ) -> Result<Option<ScheduledCall>, StoreError> {
        Ok(self.store().await?.scheduled(space, id).await?.map(|held| held.value))
    }

    /// Returns why no more calls can wait, or deletes the oldest ended ones that are too many.
    async fn make_room(&self, later: &CallForLater) -> Result<Option<Unschedulable>, StoreError> {
        let (mut ended, waiting): (Vec<_>, Vec<_>) =
            self.scheduled(&later.space).await?.into_iter().partition(ScheduledCall::has_ended);
        let caller = &later.call.principal.caller;
        let of_user = waiting.iter().filter(|call| call.caller == *caller).count();
        if of_user >= MAX_WAITING_OF_USER {
            return Ok(Some(Unschedulable::TooManyOfUser));
        }
        if waiting.len() >= MAX_WAITING_OF_KEY {
            return Ok(Some(Unschedulable::TooManyOfKey));
        }
        ended.sort_by_key(|call| std::cmp::Reverse(call.changed_at()));
        for call in ended.iter().skip(MAX_ENDED_OF_KEY) {
            if let Some(held) = self.store().await?.scheduled(&call.space, &call.id).await? {
                self.0.scheduled.table().delete(&held).await?;
            }
        }
        Ok(None)
    }
}

impl CallForLater {
    /// Digest of what is scheduled, for comparison with another request of the same caller.
    pub fn digest(&self) -> String {
        secret::fingerprint(&format!("{}\0{}", self.call.digest(), self.run_at.millis()))
    }

    /// Returns why no consent could let it run.
    fn problem(&self, tool: &Tool, now: Time) -> Option<Unschedulable> {
        let size = |arguments: &Map<String, Value>| {
            serde_json::to_vec(arguments).map_or(usize::MAX, |json| json.len())
        };
        if self.run_at < now.before(MAX_CLOCK_DIFFERENCE) {
            Some(Unschedulable::Past)
        } else if self.run_at > now.after(MAX_AHEAD) {
            Some(Unschedulable::TooFar)
        } else if tool.confirm.is_some() {
            Some(Unschedulable::AsksEachTime)
        } else if size(&self.call.arguments).max(size(&self.written)) > MAX_ARGUMENT_BYTES {
            Some(Unschedulable::TooLarge)
        } else {
            None
        }
    }

    fn record(&self, config: &str, fingerprint: &str, created_at: Time) -> ScheduledCall {
        let Self { call, space, voucher, tool_id, written, run_at } = self.clone();
        let OwnedCall { principal, tool, arguments, client } = call;
        ScheduledCall {
            id: secret::random_ticket().expose_secret().to_owned(),
            caller: principal.caller,
            space,
            voucher,
            config: config.to_owned(),
            fingerprint: Some(fingerprint.to_owned()),
            consent: None,
            client,
            tool,
            tool_id,
            written: (written != arguments).then_some(written),
            arguments,
            run_at,
            created_at,
            state: ScheduledState::Waiting,
        }
    }
}
