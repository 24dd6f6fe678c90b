//! The parts of the server that a run may use.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use secrecy::SecretString;

use super::error::Stop;
use crate::model::{AccountName, Principal, Provider, Scopes, Tool};
use crate::upstream::{Credential, Upstream};

/// A call of a tool that is code.
pub(in crate::broker) struct CodeCall {
    pub(in crate::broker) tool: Tool,
    pub(in crate::broker) principal: Principal,
    pub(in crate::broker) plan_run: Option<String>,
    pub(in crate::broker) client: Option<String>,
}

/// A credential that a run may use.
pub(in crate::broker) struct HeldGrant {
    pub(in crate::broker) provider: Arc<Provider>,
    /// The user's account; `None` for a credential of the server's own.
    pub(in crate::broker) account: Option<AccountName>,
    /// Scopes that the run may count on.
    pub(in crate::broker) scopes: Scopes,
    credential: Mutex<Credential>,
}

impl HeldGrant {
    pub(in crate::broker) fn new(
        provider: Arc<Provider>,
        account: Option<AccountName>,
        scopes: Scopes,
        credential: Credential,
    ) -> Self {
        Self { provider, account, scopes, credential: Mutex::new(credential) }
    }

    pub(super) fn credential(&self) -> Credential {
        self.credential.lock().clone()
    }

    pub(super) fn replace(&self, credential: Credential) {
        *self.credential.lock() = credential;
    }
}

/// Grants and requests of one run.
pub(in crate::broker) trait Resources: Send + Sync {
    /// The executor of requests.
    fn upstream(&self) -> &Upstream;

    /// Gets a token of the user at a provider. `declared` is the grant that the tool declares.
    ///
    /// # Errors
    /// The end of the run: the consent is missing, or the token cannot be had.
    fn grant<'a>(
        &'a self,
        provider: &'a str,
        scopes: &'a Scopes,
        declared: Option<&'a HeldGrant>,
    ) -> BoxFuture<'a, Result<HeldGrant, Stop>>;

    /// Gets a new token in place of one that the API has refused; `None` if there is none.
    fn renewed<'a>(
        &'a self,
        held: &'a HeldGrant,
        rejected: &'a SecretString,
    ) -> BoxFuture<'a, Option<Credential>>;
}
