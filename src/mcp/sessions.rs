//! The sessions of the revisions before 2026-07-28, each bound to whoever opened it.
//!
//! rmcp keeps the sessions and knows nobody; a session id alone must prove nothing
//! (basic/security_best_practices, session hijacking). So each of its questions is answered here for
//! the one who asks, whom [`asked_by`] names for the time of a request: a session of somebody else
//! does not exist. How many there may be is said in [`owned`].

mod owned;

use std::cell::Cell;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::WorkerTransport;
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError, LocalSessionWorker, SessionConfig,
};
use rmcp::transport::streamable_http_server::session::{
    ServerSseMessage, SessionId, SessionManager,
};

use super::announce::{Announcements, elicitation_of};
use crate::model::Caller;
use owned::{NoRoom, Owned};

/// How long a session lives that nobody uses: longer than a person takes for a consent.
const IDLE: Duration = Duration::from_hours(1);
/// When a client shall come back whose connection broke.
pub(super) const COME_BACK: Duration = Duration::from_secs(1);
/// How long the answer is kept that broke off. rmcp looks through all of them at each event, so not
/// for long.
const KEPT: Duration = Duration::from_secs(3);

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
    owned: Owned,
    announcements: Announcements,
}

impl Sessions {
    pub(super) fn new(announcements: Announcements) -> Self {
        let mut kept = LocalSessionManager::default();
        kept.session_config = SessionConfig::default();
        kept.session_config.keep_alive = Some(IDLE);
        kept.session_config.completed_cache_ttl = KEPT;
        kept.session_config.sse_retry = Some(COME_BACK);
        Self { kept, owned: Owned::default(), announcements }
    }

    /// What goes out on a stream: it holds its session, and tells of -32042 errors that went.
    fn watched(
        &self,
        id: &SessionId,
        stream: impl Stream<Item = ServerSseMessage> + Send + Sync + 'static,
    ) -> impl Stream<Item = ServerSseMessage> + Send + Sync + 'static {
        let attached = self.owned.attach(id);
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
        let room = asking().ok_or(NoRoom).and_then(|caller| {
            let goes = self.owned.make_room(&caller)?;
            Ok((caller, goes))
        });
        let Ok((caller, goes)) = room else {
            refuse(Refused::TooMany);
            return Err(SessionsError::TooMany);
        };
        if let Some(goes) = goes {
            tracing::debug!("a session made room for another");
            self.kept.close_session(&goes).await?;
        }
        let (id, transport) = self.kept.create_session().await?;
        self.owned.admit(&id, caller);
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionsError> {
        self.kept.initialize_session(id, message).await.map_err(ended)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionsError> {
        let is_open = asking().is_some_and(|caller| self.owned.is_open(id, &caller));
        if !is_open {
            refuse(Refused::NoSession);
        }
        Ok(is_open)
    }

    /// Asked by a DELETE, or by rmcp when a session has come to its end.
    async fn close_session(&self, id: &SessionId) -> Result<(), SessionsError> {
        if asking().is_some_and(|caller| !self.owned.is_open(id, &caller)) {
            refuse(Refused::NoSession);
            return Ok(());
        }
        self.owned.forget(id);
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
