//! The sessions of the revisions before 2026-07-28, each bound to whoever opened it.
//!
//! rmcp keeps the sessions and knows nobody; a session id alone must prove nothing
//! (basic/security_best_practices, session hijacking). So each of its questions is answered here for
//! the one who asks, whom [`asked_by`] names for the time of a request: a session of somebody else
//! does not exist.
//!
//! There are two limits. A principal with [`MOST_OF_ONE`] sessions loses the one that was not used
//! for longest when another begins: clients forget sessions without saying so, and one that meets a
//! lost one begins anew (404, basic/transports). With [`MOST`] sessions altogether, one goes that
//! nobody has used for [`STALE`]; where there is none a newcomer is asked to come later, since it must
//! not be able to end other people's.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use parking_lot::Mutex;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::WorkerTransport;
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError, LocalSessionWorker, SessionConfig,
};
use rmcp::transport::streamable_http_server::session::{
    ServerSseMessage, SessionId, SessionManager,
};
use tokio::time::Instant;

use super::announce::{Announcements, elicitation_of};
use crate::model::Caller;

/// How long a session lives that nobody uses: longer than a person takes for a consent.
const IDLE: Duration = Duration::from_hours(1);
/// Each takes some tens of kilobytes.
const MOST: usize = 4096;
const MOST_OF_ONE: usize = 1024;
const STALE: Duration = Duration::from_mins(5);
/// How long the answer to a broken connection is kept: clients come back after three seconds.
const KEPT: Duration = Duration::from_secs(6);

tokio::task_local! {
    static ASKING: Asking;
}

struct Asking {
    caller: Caller,
    refused: Cell<Option<Refused>>,
}

/// Why a question came to nothing that rmcp has no status for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooMany,
    NoSession,
}

/// Lets rmcp work on a request of this caller; also why it could not, where that was decided here.
pub(super) async fn asked_by<T>(
    caller: Caller,
    work: impl Future<Output = T>,
) -> (T, Option<Refused>) {
    let asking = Asking { caller, refused: Cell::new(None) };
    let work = async {
        let done = work.await;
        (done, ASKING.with(|asking| asking.refused.get()))
    };
    ASKING.scope(asking, work).await
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SessionsError {
    #[error("there are too many sessions")]
    TooMany,
    #[error("a session has ended")]
    Ended(#[from] LocalSessionManagerError),
}

pub(super) struct Sessions {
    kept: LocalSessionManager,
    open: Mutex<HashMap<SessionId, Open>>,
    announcements: Announcements,
    most: usize,
    most_of_one: usize,
}

struct Open {
    caller: Caller,
    used: Instant,
    /// Each of its streams holds another one.
    attached: Arc<()>,
}

impl Open {
    fn is_attached(&self) -> bool {
        Arc::strong_count(&self.attached) > 1
    }
}

impl Sessions {
    pub(super) fn new(announcements: Announcements) -> Self {
        let mut kept = LocalSessionManager::default();
        kept.session_config = SessionConfig::default();
        kept.session_config.keep_alive = Some(IDLE);
        kept.session_config.completed_cache_ttl = KEPT;
        let open = Mutex::default();
        Self { kept, open, announcements, most: MOST, most_of_one: MOST_OF_ONE }
    }

    /// Notes a new session; with it the one that makes room for it.
    ///
    /// # Errors
    /// There is no room.
    fn admit(&self, id: &SessionId, caller: Caller) -> Result<Option<SessionId>, SessionsError> {
        let mut open = self.open.lock();
        let own = open.values().filter(|other| other.caller == caller).count();
        let goes = if own >= self.most_of_one {
            longest_unused(&open, |other| other.caller == caller)
        } else if open.len() >= self.most {
            longest_unused(&open, |other| other.used.elapsed() >= STALE)
        } else {
            None
        };
        if goes.is_none() && (own >= self.most_of_one || open.len() >= self.most) {
            return Err(SessionsError::TooMany);
        }
        if let Some(goes) = &goes {
            open.remove(goes);
        }
        let new = Open { caller, used: Instant::now(), attached: Arc::default() };
        open.insert(Arc::clone(id), new);
        Ok(goes)
    }

    /// Whether the session exists for whoever asks; then it is in use.
    fn is_open(&self, id: &SessionId, caller: &Caller) -> bool {
        let mut open = self.open.lock();
        let Some(found) = open.get_mut(id).filter(|found| found.caller == *caller) else {
            return false;
        };
        found.used = Instant::now();
        true
    }

    /// What goes out on a stream: it holds its session, and tells of -32042 errors that went.
    fn watched(
        &self,
        id: &SessionId,
        stream: impl Stream<Item = ServerSseMessage> + Send + Sync + 'static,
    ) -> impl Stream<Item = ServerSseMessage> + Send + Sync + 'static {
        let attached = self.open.lock().get(id).map(|open| Arc::clone(&open.attached));
        let announcements = self.announcements.clone();
        let state = (Box::pin(stream), None::<String>, attached, announcements);
        stream::unfold(state, |(mut stream, shown, attached, announcements)| async move {
            // Whoever asks for the next event has taken the one before.
            if let Some(shown) = shown {
                announcements.delivered(&shown);
            }
            let event = stream.next().await?;
            let shown = event.message.as_deref().and_then(elicitation_of);
            Some((event, (stream, shown, attached, announcements)))
        })
    }
}

fn longest_unused(
    open: &HashMap<SessionId, Open>,
    may_go: impl Fn(&Open) -> bool,
) -> Option<SessionId> {
    let unused = open.iter().filter(|(_, other)| !other.is_attached() && may_go(other));
    unused.min_by_key(|(_, other)| other.used).map(|(id, _)| Arc::clone(id))
}

/// Who asks, where it is a request that does.
fn asking() -> Option<Caller> {
    ASKING.try_with(|asking| asking.caller.clone()).ok()
}

fn refuse(refused: Refused) {
    let _ = ASKING.try_with(|asking| asking.refused.set(Some(refused)));
}

/// A session may end between two questions about it.
fn ended(error: LocalSessionManagerError) -> SessionsError {
    refuse(Refused::NoSession);
    error.into()
}

impl SessionManager for Sessions {
    type Error = SessionsError;
    type Transport = WorkerTransport<LocalSessionWorker>;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), SessionsError> {
        let (id, transport) = self.kept.create_session().await?;
        let admitted = match asking() {
            Some(caller) => self.admit(&id, caller),
            None => Err(SessionsError::TooMany),
        };
        match admitted {
            Ok(goes) => {
                if let Some(goes) = goes {
                    tracing::debug!("a session made room for another");
                    self.kept.close_session(&goes).await?;
                }
                Ok((id, transport))
            }
            Err(error) => {
                refuse(Refused::TooMany);
                self.kept.close_session(&id).await?;
                Err(error)
            }
        }
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionsError> {
        self.kept.initialize_session(id, message).await.map_err(ended)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionsError> {
        Ok(asking().is_some_and(|caller| self.is_open(id, &caller)))
    }

    /// Asked by a DELETE, or by rmcp when a session has come to its end.
    async fn close_session(&self, id: &SessionId) -> Result<(), SessionsError> {
        if asking().is_some_and(|caller| !self.is_open(id, &caller)) {
            refuse(Refused::NoSession);
            return Ok(());
        }
        self.open.lock().remove(id);
        Ok(self.kept.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let stream = self.kept.create_stream(id, message).await.map_err(ended)?;
        Ok(self.watched(id, stream))
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), SessionsError> {
        self.kept.accept_message(id, message).await.map_err(ended)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let stream = self.kept.create_standalone_stream(id).await.map_err(ended)?;
        Ok(self.watched(id, stream))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        // Answered with an empty stream, so that a browser does not ask for ever.
        let stream = self.kept.resume(id, last_event_id).await?;
        Ok(self.watched(id, stream))
    }
}
