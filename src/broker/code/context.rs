//! One run of a tool's code: for whom it is, and what it may use.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ToolError;
use super::progress::ProgressSink;
use super::resources::{CodeCall, HeldGrant, Resources};
use crate::model::{Caller, Scopes};
use crate::upstream::Credential;
use crate::upstream::code::code_message;

/// One run of a tool: for whom it is, and what it may use.
///
/// It is borrowed by [`Tool::run`](super::Tool::run), so nothing of it outlives the call.
pub struct Context {
    pub(super) call: Arc<CodeCall>,
    pub(super) resources: Arc<dyn Resources>,
    pub(super) progress: Option<ProgressSink>,
    pub(super) deadline: Instant,
    /// The grant that the tool declares.
    pub(super) declared: Option<Arc<HeldGrant>>,
    /// Every grant of the run.
    pub(super) held: Mutex<Vec<Arc<HeldGrant>>>,
    /// Every credential of the run, for scrubbing what the code returns.
    pub(super) secrets: Mutex<Vec<Credential>>,
    /// Hosts that the code has asked, in the order of the first requests.
    pub(super) hosts: Mutex<Vec<String>>,
    /// Whether a request of the run may have changed something.
    pub(super) has_changed: AtomicBool,
    pub(super) cancelled: CancellationToken,
    /// Cancels with the run.
    pub(super) _end: DropGuard,
}

impl Context {
    /// Returns a token of this user at a provider, with these scopes.
    ///
    /// Without scopes, or with those of [`Tool::authorization`](super::Tool::authorization), it is
    /// the declared token. Any other one goes through the same grants: if the user has not consented
    /// yet, the run ends here, the client asks the user, and the call runs again from its start. So
    /// ask for all tokens before you change anything. Write scopes as the provider names them.
    ///
    /// # Errors
    /// The end of the run, to return with `?`: the consent is missing, or there is no such provider.
    pub async fn token(&self, provider: &str, scopes: &[&str]) -> Result<Token, ToolError> {
        let wanted = Scopes::new(scopes.iter().copied());
        if let Some(held) = self.held_for(provider, &wanted) {
            return Ok(Token(held));
        }
        let declared = self.declared.as_deref();
        let granted = self.resources.grant(provider, &wanted, declared).await?;
        Ok(Token(self.keep(granted)))
    }

    /// Id of the user for whom the call is made, as the issuer, the application or the command line
    /// names them. Unique only together with [`Self::application`].
    pub fn user(&self) -> &str {
        self.call.principal.caller.user.as_str()
    }

    /// Name of the application that calls for one of its users; `None` for a user of their own.
    pub fn application(&self) -> Option<&str> {
        Caller::key_of_namespace(&self.call.principal.caller.namespace)
    }

    /// Id of the plan run that the call is a step of, if the client names one.
    pub fn run_id(&self) -> Option<&str> {
        self.call.plan_run.as_deref()
    }

    /// Name that the client gives itself, e.g. `Claude`. Do not trust it.
    pub fn client(&self) -> Option<&str> {
        self.call.client.as_deref()
    }

    /// Tells the client how far the run is, if it has asked for that. `done` must grow from report
    /// to report; a report that does not is left out.
    pub fn progress(&self, done: f64, total: Option<f64>, message: &str) {
        if let Some(sink) = &self.progress {
            let total = total.filter(|total| total.is_finite());
            sink.report(done, total, &code_message(message, &self.secrets.lock()));
        }
    }

    /// Tells when the run is over, for work that it has spawned.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation(self.cancelled.clone())
    }

    /// Keeps a grant for the run.
    pub(super) fn keep(&self, held: HeldGrant) -> Arc<HeldGrant> {
        self.secrets.lock().push(held.credential());
        let held = Arc::new(held);
        self.held.lock().push(Arc::clone(&held));
        held
    }

    /// Gets a new token in place of one that the API has refused. `None` if there is none.
    pub(super) async fn renew(&self, held: &HeldGrant, rejected: &Credential) -> Option<()> {
        let Credential::Bearer(rejected) = rejected else { return None };
        let token = self.resources.renewed(held, rejected).await?;
        self.secrets.lock().push(token.clone());
        held.replace(token);
        Some(())
    }

    pub(super) fn asks(&self, host: String) {
        let mut hosts = self.hosts.lock();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }

    fn held_for(&self, provider: &str, wanted: &Scopes) -> Option<Arc<HeldGrant>> {
        let held = self.held.lock();
        let covers = |held: &&Arc<HeldGrant>| {
            held.provider.id.as_str() == provider
                && wanted.missing_from(&held.scopes, held.provider.implied()).is_empty()
        };
        held.iter().find(covers).cloned()
    }
}

/// A token of one run. It has no `Debug` and no `Display`, so that it is not printed by mistake.
///
/// ```compile_fail
/// fn print(token: countersign::prelude::Token) {
///     println!("{token:?}");
/// }
/// ```
pub struct Token(pub(super) Arc<HeldGrant>);

impl Token {
    /// The access token, for a client of your own. Send it to its provider only, and let it end with
    /// the run: [`HttpRequest::bearer`](super::HttpRequest::bearer) sees to both by itself.
    pub fn expose(&self) -> String {
        self.0.credential().exposed().to_owned()
    }
}

/// Tells spawned work that its run is over: it has returned, or its client has cancelled or gone
/// away, or the server ends.
#[derive(Clone, Debug)]
pub struct Cancellation(CancellationToken);

impl Cancellation {
    /// Returns once the run is over.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }

    /// Whether the run is over.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
