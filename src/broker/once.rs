//! Calls that run, or are scheduled, at most once under a key, however often their client sends them.
//!
//! A record marks the call before anything is sent, and has its answer afterwards. A second request
//! with the key gets that answer, or waits for it. If the process that ran the call has ended
//! without an answer, it is unknown whether the call had its effect, and it is never run again.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::call::CallError;
use super::{Broker, Call};
use crate::model::failure::Retry;
use crate::model::once::{Once, OnceState};
use crate::model::{Caller, Clock, Outcome, Principal, RateLimit, ToolName, secret};
use crate::store::{Held, RecordError, StoreError, Table};

/// How long a repeated request waits for the first one; Arcade's clients give up after a minute.
const MAX_WAIT: Duration = Duration::from_secs(50);
/// Poll interval while another process may run the call.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Equal calls that run beside each other under one key, each with a record of its own: a repeat of
/// any of them must not run again. Further ones have none.
const MAX_BESIDE: usize = 4;
/// Longest answer that is kept, in bytes of JSON.
const MAX_ANSWER_BYTES: usize = 1_500_000;

/// Kilobytes of answers that are kept per day for one user, for all users of one key, and for all
/// keys; the answer of a further call is not kept. Consents are on the same disk.
const MAX_KEPT_OF_USER: u32 = 64 * 1024;
const MAX_KEPT_OF_KEY: u32 = 128 * 1024;
const MAX_KEPT: u32 = 1024 * 1024;

/// The calls under keys. No other module can write their records.
pub(super) struct OnceCalls {
    table: Table<Once>,
    kept: KeptAnswers,
    /// Notified with each call of this process that ends.
    ended: Notify,
}

/// Key under which a call runs at most once.
#[derive(Clone, Copy, Debug)]
pub struct OnceKey<'a> {
    /// Callers that share the key ([`RestCaller::space`](crate::identity::RestCaller::space)).
    pub space: &'a str,
    pub key: &'a str,
    /// How long the key stands for the call.
    pub life: Duration,
    /// Whether this request is a new call even if an earlier one had the same key.
    pub begins_anew: bool,
}

/// A call that outlives the request that began it.
#[derive(Clone, Debug)]
pub struct OwnedCall {
    pub principal: Principal,
    pub tool: ToolName,
    pub arguments: Map<String, Value>,
    pub client: String,
}

/// How a call under a key went.
#[derive(Debug)]
pub enum OnceAnswer<T = Outcome> {
    /// It has run, now or before. `answer` is `None` if it ran before and was too large to keep, or
    /// its user had too many.
    Ended { answer: Option<Value>, is_replayed: bool },
    /// It has run and had no effect, so the key is free again.
    NotKept(Box<T>),
    /// It has run for longer than a client waits.
    StillRunning,
    /// The process that ran it has ended.
    Lost,
    /// The key stands for another call.
    OtherRequest,
}

/// The call could not be turned into an answer. Nothing has run.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Place of a request under a key.
enum Place<T> {
    /// This request runs the call, under this record if there is one.
    First(Option<Held<Once>>),
    Later(OnceAnswer<T>),
}

impl<T, E> OnceAnswer<Result<T, E>> {
    /// Returns the error of work that failed without an effect.
    pub(super) fn transposed(self) -> Result<OnceAnswer<T>, E> {
        Ok(match self {
            Self::Ended { answer, is_replayed } => OnceAnswer::Ended { answer, is_replayed },
            Self::NotKept(result) => OnceAnswer::NotKept(Box::new((*result)?)),
            Self::StillRunning => OnceAnswer::StillRunning,
            Self::Lost => OnceAnswer::Lost,
            Self::OtherRequest => OnceAnswer::OtherRequest,
        })
    }
}

/// Standing of a request, by the records of its key.
enum Standing<T> {
    /// It may begin, under this key, in place of a record that is over.
    Free {
        key: String,
        over: Option<Box<Held<Once>>>,
    },
    /// It may begin, and has no record: too many equal calls run.
    Crowded,
    /// An equal call runs, and no answer is known yet.
    Running,
    Known(OnceAnswer<T>),
}

impl OnceCalls {
    pub(super) fn new(table: Table<Once>, clock: Clock) -> Self {
        Self { table, kept: KeptAnswers::new(clock), ended: Notify::new() }
    }
}

/// Limits on the kilobytes of kept answers.
struct KeptAnswers {
    of_user: RateLimit<Caller>,
    /// By the space of the key. Without it, one application with many users would use up what is
    /// there for all keys.
    of_key: RateLimit<String>,
}

impl KeptAnswers {
    fn new(clock: Clock) -> Self {
        let day = Duration::from_hours(24);
        Self {
            of_user: RateLimit::per(day, clock.clone(), MAX_KEPT_OF_USER, u32::MAX),
            of_key: RateLimit::per(day, clock, MAX_KEPT_OF_KEY, MAX_KEPT),
        }
    }

    /// Whether an answer of this size is kept; counts it if so.
    fn admit(&self, space: &str, caller: &Caller, kilobytes: u32) -> bool {
        self.of_user.admits_many(caller.clone(), kilobytes)
            && self.of_key.admits_many(space.to_owned(), kilobytes)
    }
}

impl OwnedCall {
    /// Digest of what the call does, for comparison with another one of the same caller.
    pub fn digest(&self) -> String {
        let arguments = Value::Object(self.arguments.clone());
        secret::fingerprint(&format!("{}\0{arguments}", self.tool))
    }

    /// Runs it, however often it has run before.
    ///
    /// # Errors
    /// As [`Broker::call`].
    pub async fn run(&self, broker: &Broker) -> Result<Outcome, CallError> {
        let call = Call {
            arguments: Some(self.arguments.clone()),
            client: Some(self.client.clone()),
            ..Call::new(&self.principal, self.tool.as_str())
        };
        broker.call(call).await
    }
}

impl Broker {
    /// Runs a tool unless a call with this key has run already. `render` writes the answer that is
    /// kept and returned for each further request with the key.
    ///
    /// # Errors
    /// [`OnceError`] if nothing has run.
    pub async fn call_once(
        &self,
        call: OwnedCall,
        once: OnceKey<'_>,
        render: impl Fn(&Outcome) -> Value + Send + 'static,
    ) -> Result<OnceAnswer, OnceError> {
        let (caller, request, broker) =
            (call.principal.caller.clone(), call.digest(), self.clone());
        let work = Box::pin(async move {
            let outcome = call.run(&broker).await;
            let kept = outcome.as_ref().ok().filter(|outcome| may_have_run(outcome)).map(render);
            (kept, outcome)
        });
        Ok(self.do_once(caller, request, once, work).await?.transposed()?)
    }

    /// Does `work` unless work with this key has been done already. `request` is a digest of it. It
    /// returns the answer to keep, if it must not be done again, and its result.
    pub(super) async fn do_once<T: Send + 'static>(
        &self,
        caller: Caller,
        request: String,
        once: OnceKey<'_>,
        work: BoxFuture<'static, (Option<Value>, T)>,
    ) -> Result<OnceAnswer<T>, StoreError> {
        let held = match self.place(caller, request, once).await? {
            Place::First(held) => held,
            Place::Later(answer) => return Ok(answer),
        };
        let (broker, space) = (self.clone(), once.space.to_owned());
        // A task of its own: a client that hangs up must find the answer when it comes back.
        let done = tokio::spawn(async move {
            let (kept, result) = work.await;
            broker.ended(&space, held, kept.as_ref()).await;
            match kept {
                Some(answer) => OnceAnswer::Ended { answer: Some(answer), is_replayed: false },
                None => OnceAnswer::NotKept(Box::new(result)),
            }
        });
        Ok(done.await.unwrap_or(OnceAnswer::Lost))
    }

    /// Marks the call as running, or returns what is known of it.
    async fn place<T>(
        &self,
        caller: Caller,
        request: String,
        once: OnceKey<'_>,
    ) -> Result<Place<T>, StoreError> {
        let store = self.store().await?;
        let state = OnceState::Running { by: store.instance().await? };
        let begun = Once { caller, request, at: self.now(), life: once.life, state };
        let deadline = Instant::now() + MAX_WAIT;
        loop {
            let ended = self.0.once.ended.notified();
            let (key, over) = match self.standing(&begun, once).await? {
                Standing::Free { key, over } => (key, over),
                Standing::Crowded => return Ok(Place::First(None)),
                Standing::Known(answer) => return Ok(Place::Later(answer)),
                Standing::Running if Instant::now() >= deadline => {
                    return Ok(Place::Later(OnceAnswer::StillRunning));
                }
                Standing::Running => {
                    let _ = timeout_at(deadline.min(Instant::now() + POLL_INTERVAL), ended).await;
                    continue;
                }
            };
            let begun = Once { at: self.now(), ..begun.clone() };
            let held = self.0.once.table.begin(once.space, &key, begun, over.as_deref()).await?;
            if held.is_some() {
                self.consents().sweep_in_time();
                return Ok(Place::First(held));
            }
        }
    }

    /// Looks at all records of a key. A repeat stands for any of the equal calls that the client has
    /// begun: it is answered by one that has ended, and runs only if there is none at all.
    async fn standing<T>(&self, call: &Once, once: OnceKey<'_>) -> Result<Standing<T>, StoreError> {
        let OnceKey { space, key, begins_anew, .. } = once;
        let store = self.store().await?;
        let (mut free, mut known) = (None, None);
        for number in 0..MAX_BESIDE {
            let key = if number == 0 { key.to_owned() } else { format!("{key} {number}") };
            let Some(held) = store.once(space, &key).await? else {
                free = free.or(Some((key, None)));
                continue;
            };
            if held.value.is_over(self.now()) {
                free = free.or(Some((key, Some(Box::new(held)))));
                continue;
            }
            if held.value.caller != call.caller || held.value.request != call.request {
                return Ok(Standing::Known(OnceAnswer::OtherRequest));
            }
            match &held.value.state {
                OnceState::Ended { .. } if begins_anew => {
                    free = free.or(Some((key, Some(Box::new(held)))));
                }
                OnceState::Ended { answer } => {
                    let answer = answer.clone();
                    return Ok(Standing::Known(OnceAnswer::Ended { answer, is_replayed: true }));
                }
                // The client has begun two equal calls at once: they are two.
                OnceState::Running { .. } if begins_anew => {}
                OnceState::Running { by } if store.is_alive(by).await? => {
                    known = Some(Standing::Running);
                }
                OnceState::Running { .. } => {
                    known = known.or(Some(Standing::Known(OnceAnswer::Lost)));
                }
            }
        }
        Ok(match (known, free) {
            (Some(known), _) => known,
            (None, Some((key, over))) => Standing::Free { key, over },
            (None, None) => Standing::Crowded,
        })
    }

    /// Keeps the answer of a call that may have had its effect; frees the key of every other one.
    async fn ended(&self, space: &str, held: Option<Held<Once>>, kept: Option<&Value>) {
        let Some(held) = held else { return };
        let written = match kept {
            None => self.0.once.table.delete(&held).await.map(drop),
            Some(answer) => self.keep(space, &held, answer).await,
        };
        if let Err(error) = written {
            // The record stays, so a repeated request does not run the call again.
            tracing::warn!(%error, "the end of a call with a key was not recorded");
        }
        self.0.once.ended.notify_waiters();
    }

    async fn keep(&self, space: &str, held: &Held<Once>, answer: &Value) -> Result<(), StoreError> {
        let bytes = answer.to_string().len();
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let is_kept = bytes <= MAX_ANSWER_BYTES
            && self.0.once.kept.admit(space, &held.value.caller, kilobytes);
        let answer = is_kept.then(|| answer.clone());
        let ended = |answer| Once { state: OnceState::Ended { answer }, ..held.value.clone() };
        // A record that is gone was deleted with its user.
        match self.0.once.table.replace(ended(answer), held).await {
            // The API's answer is nested too deeply: as one that is too large.
            Err(StoreError::Record(RecordError::TooDeep(_))) => {
                self.0.once.table.replace(ended(None), held).await.map(drop)
            }
            written => written.map(drop),
        }
    }
}

/// Whether a call may have changed something. Repeating any other one does no harm.
fn may_have_run(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Complete(_) => true,
        Outcome::Failed(failure) => failure.kind.retry() == Retry::LookFirst,
        Outcome::AuthorizationRequired(_) | Outcome::Refused(_) | Outcome::InputRequired(_) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicI64;

    use super::*;
    use crate::model::UserId;

    #[test]
    fn kept_answers_of_one_key_leave_room_for_those_of_another() {
        let kept = KeptAnswers::new(Clock::manual(Arc::new(AtomicI64::new(0))));
        let user = |app: &str, number: u32| Caller {
            namespace: Caller::namespace_of_key(app),
            user: UserId::new(format!("user{number}")),
        };
        let admitted = |app: &str, users: u32| {
            let (space, mib) = (Caller::namespace_of_key(app), 1024);
            let requests = (0..100 * users).map(|number| user(app, number % users));
            requests.filter(|caller| kept.admit(&space, caller, mib)).count()
        };
        assert_eq!(admitted("one-user", 1), 64);
        assert_eq!(admitted("many-users", 30), 128);
        assert_eq!(admitted("another", 2), 128);
    }
}
