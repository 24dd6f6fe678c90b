//! A consent without a browser of ours: the device flow (RFC 8628), for `auth login --device`.
//!
//! A user who types a code into the provider's page gives their account to the party that asked for
//! the code, and no check binds the two together (RFC 8628 §5.4). So only the terminal of the user
//! who asked may begin this flow, and no other part of the program: `tests/it/tidy.rs` ensures
//! that.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::Consents;
use super::discard::Unnamed;
use super::keep::Consent;
use crate::broker::Connection;
use crate::broker::client::registration::{SetupError, settings};
use crate::broker::grant::put::{AccountChange, Put, Replaces};
use crate::model::authorization::Connected;
use crate::model::consent_plan::{ClientRegistration, ConsentMethod, ConsentPlan};
use crate::model::event::{ConsentOutcome, EventKind};
use crate::model::grant::unnamed;
use crate::model::{AccountName, Caller, Grant, Provider, ProviderId, Scopes, Time};
use crate::oauth::{DeviceCode, Poll, TokenError, Verdict};
use crate::store::StoreError;

/// Number of attempts to store a grant; after the last one the consent is given up.
const MAX_SAVE_ATTEMPTS: u32 = 15;
/// Pause between two of these attempts.
const SAVE_RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// A device code that waits for the user, and what it is for.
pub struct DeviceLogin {
    connection: Connection,
    plan: ConsentPlan,
    client: ClientRegistration,
    asked: Scopes,
    needed: Scopes,
    code: DeviceCode,
    begun_at: Time,
}

/// No grant was kept, and none was changed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("`{provider}` did not hand out a code or a token: {source}")]
    NoToken { provider: ProviderId, source: TokenError },
    #[error("the code's time is over")]
    Expired,
    #[error("you said no at the provider")]
    Denied,
    #[error(
        "`{before}` was connected until now, and you have signed in as `{now}`; nothing was changed"
    )]
    OtherAccount {
        before: String,
        now: String,
        /// Command that ends the earlier account.
        revoke: String,
    },
    /// An operator ended all access of this user after the code was handed out.
    #[error("all access of this user was ended since the code was handed out; nothing was kept")]
    AccessEnded,
    #[error("the program is ending")]
    Ending,
}

impl DeviceError {
    /// Advice that completes the error message, as a lower-case fragment.
    pub fn hint(&self) -> String {
        match self {
            Self::Setup(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::NoToken { source, .. } => match source.verdict() {
                Verdict::Operator => {
                    "check the provider's client_id and client_secret, and that its app may use the device flow".into()
                }
                Verdict::GrantEnded | Verdict::Unclear | Verdict::Passing => "run the command again".into(),
            },
            Self::Expired | Self::Denied | Self::AccessEnded | Self::Ending => {
                "run the command again for a new code".into()
            }
            Self::OtherAccount { revoke, .. } => format!("sign in as before, disconnect that account first with `{revoke}`, or keep both with `--account NAME`"),
        }
    }
}

impl DeviceLogin {
    /// Page that the user opens, on any machine with a browser.
    pub fn page(&self) -> &Url {
        &self.code.verification_uri
    }

    /// Like [`Self::page`], with the code filled in, if the provider offers that.
    pub fn page_with_code(&self) -> Option<&Url> {
        self.code.verification_uri_complete.as_ref()
    }

    /// Code that the user types there.
    pub fn code(&self) -> &str {
        &self.code.user_code
    }
}

impl Consents {
    /// Asks the provider for a code: for the scopes already granted, and for `needed`.
    ///
    /// # Errors
    /// [`DeviceError`] if the setup, the store or the provider fails.
    pub async fn begin_device_login(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        account: &AccountName,
        needed: &Scopes,
    ) -> Result<DeviceLogin, DeviceError> {
        let settings = settings(provider)?;
        let begun_at = self.now();
        let connection = self.0.clients.connection(caller, provider, account).await?;
        let plan = self.0.clients.consent_plan(provider, None).await?;
        let ConsentMethod::Code(code) = &plan.method else {
            return Err(SetupError::NotOAuth(provider.id.clone()).into());
        };
        let client = code.client.clone();
        let endpoint = self.0.clients.device_endpoint(provider, &client).await?;
        // Before the code: the user must not approve what a store that does not open cannot keep.
        let grant = self.0.grants.grant_of(&connection).await?.map(|held| held.value);
        let granted = grant.map(|grant| grant.scopes).unwrap_or_default();
        let asked = granted.union(needed).union(&settings.scopes);
        let code = self.0.parts.oauth.device_authorization(&client, &endpoint, &asked).await;
        let code =
            code.map_err(|source| DeviceError::NoToken { provider: provider.id.clone(), source })?;
        Ok(DeviceLogin { connection, plan, client, asked, needed: needed.clone(), code, begun_at })
    }

    /// Time that the user has left.
    pub fn device_login_lives(&self, login: &DeviceLogin) -> Duration {
        login.code.expires_at.since(self.now())
    }

    /// Waits for the user and stores the grant. Returns what was connected.
    ///
    /// # Errors
    /// [`DeviceError`]; then no grant is kept.
    pub async fn finish_device_login(
        &self,
        mut login: DeviceLogin,
    ) -> Result<Connected, DeviceError> {
        loop {
            tokio::time::sleep(login.code.interval).await;
            let consents = self.clone();
            // In its own task: a caller that stops waiting must not take a token with it that the
            // provider has just issued.
            let step = self.unbroken(async move {
                let kept = consents.ask_for_device(&mut login).await;
                (kept, login)
            });
            let (kept, same) = step.await.ok_or(DeviceError::Ending)?;
            if let Some(connected) = kept? {
                return Ok(connected);
            }
            login = same;
        }
    }

    /// Polls once. `None`: the user is not done.
    async fn ask_for_device(
        &self,
        login: &mut DeviceLogin,
    ) -> Result<Option<Connected>, DeviceError> {
        let DeviceLogin { connection, plan, client, asked, needed, code, begun_at } = login;
        let Connection { caller, provider, bound, account } = connection;
        let record = |outcome| {
            self.0.events.record_access(caller, &provider.id, EventKind::Consent(outcome));
        };
        let polled = self.0.parts.oauth.poll(client, code).await;
        let polled = polled.map_err(|source| {
            record(ConsentOutcome::NoToken);
            DeviceError::NoToken { provider: provider.id.clone(), source }
        })?;
        let issued = match polled {
            Poll::Issued(issued) => issued,
            Poll::Pending => return Ok(None),
            Poll::Expired => {
                record(ConsentOutcome::Expired);
                return Err(DeviceError::Expired);
            }
            Poll::Denied => {
                record(ConsentOutcome::Declined);
                return Err(DeviceError::Denied);
            }
        };
        let consent = Consent {
            provider: &provider.id,
            account,
            binding: &bound.binding,
            asked,
            needed,
            away: false,
            hands_out: false,
            plan,
        };
        let grant = self.grant_for(consent, issued).await;
        let kept = match self.put_patiently(caller, &grant).await {
            Ok(Put::Kept(kept)) => kept,
            Ok(Put::OtherAccount(before)) => {
                record(ConsentOutcome::PreviousAccountKept);
                self.discard_of(client, &grant, Unnamed::MayBeSame);
                let now = grant.identity.map(|identity| identity.words());
                let (now, revoke) = (now.unwrap_or_else(unnamed), revoke_command(caller, provider));
                return Err(DeviceError::OtherAccount { before, now, revoke });
            }
            Err(error) => {
                record(ConsentOutcome::Lost);
                self.discard_of(client, &grant, Unnamed::MayBeSame);
                return Err(error.into());
            }
        };
        // Checked after the grant is written, as for a code flow: either this sees the cutoff, or
        // ending the access sees the grant.
        if self.drop_if_cut_off(caller, &grant, *begun_at).await? {
            return Err(DeviceError::AccessEnded);
        }
        record(ConsentOutcome::Connected);
        Ok(Some(self.told(&kept, &plan.token_facts())))
    }

    /// Stores a grant with retries. The code is spent, so its tokens are not given up at once: the
    /// disk may get room, or another process may take over the store.
    async fn put_patiently(&self, caller: &Caller, grant: &Grant) -> Result<Put, StoreError> {
        let mut tries = 1;
        loop {
            match self.0.grants.put(caller, grant, AccountChange::Ask, Replaces::Any).await {
                Err(error) if tries < MAX_SAVE_ATTEMPTS => {
                    tracing::warn!(%error, "the account is not kept yet");
                    tries += 1;
                    tokio::time::sleep(SAVE_RETRY_INTERVAL).await;
                }
                done => return done,
            }
        }
    }
}

/// Returns the command by which this user disconnects the provider.
fn revoke_command(caller: &Caller, provider: &Provider) -> String {
    let user = caller.user_option().map(|user| format!(" {user}")).unwrap_or_default();
    format!("countersign auth revoke {}{user}", provider.id)
}
