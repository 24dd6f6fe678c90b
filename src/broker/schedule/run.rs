//! Runs scheduled calls at their time.
//!
//! One compare-and-swap marks a call as running before anything is sent, so that of several
//! processes one runs it. If that process ends before the call does, it is unknown whether the call
//! had its effect, and it is never run again.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, Call};
use crate::model::event::CallOutcome;
use crate::model::scheduled::{NotRun, ScheduledCall, ScheduledEnd, ScheduledState, Voucher};
use crate::model::shares::{Share, Shares};
use crate::model::{Caller, InstanceId, Outcome, Principal, Time, Tool};
use crate::store::{Held, StoreError};

/// Longest time between two looks: calls that other processes have scheduled are found this late.
const MAX_SLEEP: Duration = Duration::from_secs(30);
/// Shortest time between two looks.
const MIN_SLEEP: Duration = Duration::from_millis(10);
/// Calls that run at once; further ones wait.
const MAX_RUNNING: usize = 32;
/// Calls of one key that run at once; further ones wait, so that a key whose calls are slow leaves
/// room for those of the others.
const MAX_RUNNING_OF_KEY: usize = 8;
/// Attempts to write the end of a call; each waits twice as long as the one before.
const MAX_END_ATTEMPTS: u32 = 6;
const FIRST_END_RETRY: Duration = Duration::from_millis(500);
/// Longest output that is kept, in bytes of JSON.
const MAX_OUTPUT_BYTES: usize = 64_000;

/// Parts of a server that its scheduled calls need.
pub struct Runner {
    pub principal: Box<PrincipalBehind>,
    /// Writes the output of a call as its client reads it.
    pub render: fn(&Tool, &Outcome) -> Value,
}

/// Returns the principal of a user if the authority that vouched for them still does.
pub type PrincipalBehind = dyn Fn(&Caller, &Voucher) -> Option<Principal> + Send + Sync;

/// A call that its time or the end of its process has made due.
struct Due {
    space: String,
    id: String,
    run_at: Time,
}

/// Room for the calls that run at once.
struct Slots {
    shares: Arc<Shares>,
    /// Notified with each slot that is free again.
    freed: Notify,
}

/// The slot of a running call; free again when this is dropped.
struct Slot {
    share: Option<Share>,
    of: Arc<Slots>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.share.take();
        self.of.freed.notify_one();
    }
}

/// Calls to look after, by the latest look.
#[derive(Default)]
struct Agenda {
    due: Vec<Due>,
    /// Time of the next call that is not due yet.
    next: Option<Time>,
    /// Calls that run in some process.
    running: Vec<(Due, InstanceId)>,
}

impl Broker {
    /// Runs scheduled calls at their time until `end`, then returns when those that have begun have
    /// ended.
    pub async fn run_scheduled(&self, runner: Runner, end: CancellationToken) {
        let (runner, running) = (Arc::new(runner), TaskTracker::new());
        let shares = Shares::new(MAX_RUNNING, MAX_RUNNING_OF_KEY);
        let slots = Arc::new(Slots { shares, freed: Notify::new() });
        let mut is_failing = false;
        while !end.is_cancelled() {
            let looked = self.run_due(&runner, &running, &slots, &end).await;
            if let (Err(error), false) = (&looked, is_failing) {
                tracing::warn!(%error, hint = error.hint(), "scheduled calls cannot be looked up");
            }
            is_failing = looked.is_err();
            if is_failing {
                self.sleep(None, &end).await;
            }
        }
        running.close();
        running.wait().await;
    }

    /// Looks for calls once, ends what can no longer run, and begins what is due as there is room.
    /// Returns when it is time for the next look.
    async fn run_due(
        &self,
        runner: &Arc<Runner>,
        running: &TaskTracker,
        slots: &Arc<Slots>,
        end: &CancellationToken,
    ) -> Result<(), StoreError> {
        let Agenda { mut due, next, running: others } = self.agenda().await?;
        self.end_lost(others).await?;
        let mut slept = pin!(self.sleep(next, end));
        loop {
            while let Some((next, slot)) = next_with_slot(&mut due, slots) {
                if end.is_cancelled() {
                    return Ok(());
                }
                if let Some(held) = self.claim(&next).await? {
                    running.spawn(self.clone().run_claimed(Arc::clone(runner), held, slot));
                }
            }
            tokio::select! {
                () = &mut slept => return Ok(()),
                () = slots.freed.notified(), if !due.is_empty() => {}
            }
        }
    }

    /// Returns at the time of the next call, or when one has been scheduled, or at `end`.
    async fn sleep(&self, next: Option<Time>, end: &CancellationToken) {
        let wait = next.map_or(MAX_SLEEP, |next| next.since(self.now()));
        tokio::select! {
            () = end.cancelled() => {}
            () = tokio::time::sleep(wait.clamp(MIN_SLEEP, MAX_SLEEP)) => {}
            () = self.0.scheduled.changed().notified() => {}
        }
    }

    async fn agenda(&self) -> Result<Agenda, StoreError> {
        let now = self.now();
        let mut agenda = Agenda::default();
        let look = |call: &ScheduledCall| {
            let due =
                || Due { space: call.space.clone(), id: call.id.clone(), run_at: call.run_at };
            match &call.state {
                ScheduledState::Running { by, .. } => agenda.running.push((due(), by.clone())),
                ScheduledState::Ended { .. } => {}
                ScheduledState::Waiting if call.run_at <= now => agenda.due.push(due()),
                ScheduledState::Waiting => {
                    let earliest = agenda.next.map_or(call.run_at, |next| next.min(call.run_at));
                    agenda.next = Some(earliest);
                }
            }
        };
        self.store().await?.for_each_scheduled(None, look).await?;
        Ok(agenda)
    }

    /// Marks a call as running in this process; `None` if it must not run, or another process was
    /// faster.
    async fn claim(&self, due: &Due) -> Result<Option<Held<ScheduledCall>>, StoreError> {
        let (store, now) = (self.store().await?, self.now());
        let Some(held) = store.scheduled(&due.space, &due.id).await? else { return Ok(None) };
        if !held.value.is_waiting() {
            return Ok(None);
        }
        if held.value.is_missed(now) {
            let end = ScheduledEnd::NotRun(NotRun::Missed);
            self.0.scheduled.end_unrun(&held, end, CallOutcome::Missed, now).await?;
            return Ok(None);
        }
        // Under another `tools.toml`, a tool of this name may be another tool.
        if held.value.config != self.0.parts.config {
            return Ok(None);
        }
        let state = ScheduledState::Running { by: store.instance().await?, since: now };
        let claimed = ScheduledCall { state, ..held.value.clone() };
        self.0.scheduled.table().replace(claimed, &held).await
    }

    /// Ends the calls of processes that have ended.
    async fn end_lost(&self, running: Vec<(Due, InstanceId)>) -> Result<(), StoreError> {
        let store = self.store().await?;
        let mut alive: HashMap<InstanceId, bool> = HashMap::new();
        for (due, by) in running {
            let is_alive = match alive.get(&by) {
                Some(is_alive) => *is_alive,
                None => store.is_alive(&by).await?,
            };
            alive.insert(by.clone(), is_alive);
            if is_alive {
                continue;
            }
            let Some(held) = store.scheduled(&due.space, &due.id).await? else { continue };
            if matches!(&held.value.state, ScheduledState::Running { by: now, .. } if *now == by) {
                let (end, now) = (ScheduledEnd::Lost, self.now());
                self.0.scheduled.end_unrun(&held, end, CallOutcome::Lost, now).await?;
            }
        }
        Ok(())
    }

    async fn run_claimed(self, runner: Arc<Runner>, held: Held<ScheduledCall>, _slot: Slot) {
        let (broker, call) = (self.clone(), held.value.clone());
        // A task of its own: after a panic, too, the end is recorded.
        let run = tokio::spawn(async move { broker.outcome_of(&runner, &call).await });
        let end = run.await.unwrap_or(ScheduledEnd::Lost);
        self.write_end(&held, end).await;
    }

    /// Runs the call, if everything that allowed it still does.
    async fn outcome_of(&self, runner: &Runner, call: &ScheduledCall) -> ScheduledEnd {
        let Some(principal) = (runner.principal)(&call.caller, &call.voucher) else {
            self.0.scheduled.record_unrun(call, CallOutcome::KeyGone);
            return ScheduledEnd::NotRun(NotRun::KeyGone);
        };
        let catalogue = self.catalogue();
        let Ok(entry) = catalogue.registry().get(call.tool.as_str(), &principal) else {
            self.0.scheduled.record_unrun(call, CallOutcome::UnknownTool);
            return ScheduledEnd::NotRun(NotRun::ToolGone);
        };
        // If the credential cannot be looked up, the call itself fails, and says why.
        let fingerprint = self.tool_fingerprint(&catalogue, &call.caller, entry.tool()).await;
        if call.fingerprint.is_some() && fingerprint.is_ok_and(|it| Some(it) != call.fingerprint) {
            self.0.scheduled.record_unrun(call, CallOutcome::ToolChanged);
            return ScheduledEnd::NotRun(NotRun::ToolChanged);
        }
        if let Ok(Some(why)) = self.consent_problem(call).await {
            self.0.scheduled.record_unrun(call, CallOutcome::ConsentRequired);
            return ScheduledEnd::NotRun(why);
        }
        let request = Call {
            arguments: Some(call.arguments.clone()),
            client: Some(call.client.clone()),
            account: call.consent.as_ref().map(|consent| &consent.account),
            ..Call::new(&principal, call.tool.as_str())
        };
        match self.call_while_away(request).await {
            Err(_) => ScheduledEnd::NotRun(NotRun::ToolGone),
            Ok(Outcome::AuthorizationRequired(_) | Outcome::Refused(_)) => {
                ScheduledEnd::NotRun(NotRun::NoConsent)
            }
            Ok(outcome) => {
                let output = (runner.render)(entry.tool(), &outcome);
                let output = Some(output).filter(|it| it.to_string().len() <= MAX_OUTPUT_BYTES);
                let succeeded = matches!(outcome, Outcome::Complete(_));
                ScheduledEnd::Ran { succeeded, output }
            }
        }
    }

    /// Writes down how a call ended. While that fails, the call counts as running, and it is never
    /// run again.
    async fn write_end(&self, held: &Held<ScheduledCall>, end: ScheduledEnd) {
        let mut ended = held.value.ended(self.now(), end);
        let mut wait = FIRST_END_RETRY;
        for _ in 1..MAX_END_ATTEMPTS {
            match self.0.scheduled.table().replace(ended.clone(), held).await {
                // `None`: it was deleted with what else is stored of its user.
                Ok(_) => return,
                // The output is nested too deeply to be read again.
                Err(StoreError::Record(_)) => ended = ended.without_output(),
                Err(_) => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
            }
        }
        if let Err(error) = self.0.scheduled.table().replace(ended, held).await {
            tracing::warn!(%error, "the end of a scheduled call was not recorded");
        }
    }
}

/// Removes and returns the call that begins next, with a slot for it: the earliest one of the key of
/// which the fewest run. `None` if there is no room.
fn next_with_slot(due: &mut Vec<Due>, slots: &Arc<Slots>) -> Option<(Due, Slot)> {
    let by_turn = |due: &&Due| (slots.shares.held_by(&due.space), due.run_at);
    let at = due.iter().enumerate().min_by_key(|(_, due)| by_turn(due)).map(|(at, _)| at)?;
    let share = slots.shares.take(&due.get(at)?.space, 1).ok()?;
    let slot = Slot { share: Some(share), of: Arc::clone(slots) };
    Some((due.swap_remove(at), slot))
}
