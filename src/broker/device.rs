//! A consent without a browser of ours: the device flow (RFC 8628), for `auth login --device`.
//!
//! Whoever types a code into the provider's page gives their own account to whoever asked for the
//! code, and nothing binds the two together (RFC 8628 §5.4). So it is for the terminal of the person
//! who asked, and no other part of the program may begin one: `tests/it/tidy.rs` sees to it.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::clients::{SetupError, settings};
use super::completion::Connected;
use super::keeping::{Consent, Put};
use super::{Broker, Connection};
use crate::model::authorization::{ClientRegistration, Trip, Way};
use crate::model::event::{ConsentOutcome, EventKind};
use crate::model::grant::unnamed;
use crate::model::{AccountName, Caller, Grant, Provider, ProviderId, Scopes, Time};
use crate::oauth::{DeviceCode, Poll, TokenError, Verdict};
use crate::store::StoreError;

/// How often, and how long after one another, the store is asked to keep what a code has brought.
const MOST_PUTS: u32 = 15;
const PUT_PAUSE: Duration = Duration::from_secs(2);

/// A code on its way to a person, and what it is for.
pub struct DeviceLogin {
    connection: Connection,
    trip: Trip,
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
    OtherAccount { before: String, now: String },
    /// An operator ended all access of this user after the code was handed out.
    #[error("all access of this user was ended since the code was handed out; nothing was kept")]
    AccessEnded,
    #[error("the program is ending")]
    Ending,
}

impl DeviceError {
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
            Self::OtherAccount { .. } => "sign in as before, disconnect that account first with `countersign auth revoke`, or keep both with `--account NAME`".into(),
        }
    }
}

impl DeviceLogin {
    /// Where the person goes, on whichever machine has a browser.
    pub fn page(&self) -> &Url {
        &self.code.verification_uri
    }

    /// The same with the code filled in.
    pub fn page_with_code(&self) -> Option<&Url> {
        self.code.verification_uri_complete.as_ref()
    }

    /// What they type there.
    pub fn code(&self) -> &str {
        &self.code.user_code
    }
}

impl Broker {
    /// Asks the provider for a code: for what is granted, and for `needed`.
    pub async fn begin_device_login(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        account: &AccountName,
        needed: &Scopes,
    ) -> Result<DeviceLogin, DeviceError> {
        let settings = settings(provider)?;
        let begun_at = self.0.parts.clock.now();
        let connection = self.connection(caller, provider, account).await?;
        let trip = self.0.clients.trip(provider, None).await?;
        let Way::Code(code) = &trip.way else {
            return Err(SetupError::NotOAuth(provider.id.clone()).into());
        };
        let client = code.client.clone();
        let endpoint = self.0.clients.device_endpoint(provider, &client).await?;
        // Before the code: a person must not approve what a store that does not open cannot keep.
        let grant = self.grant_of(&connection).await?.map(|held| held.value);
        let granted = grant.map(|grant| grant.scopes).unwrap_or_default();
        let asked = granted.union(needed).union(&settings.scopes);
        let code = self.0.parts.oauth.device_authorization(&client, &endpoint, &asked).await;
        let code =
            code.map_err(|source| DeviceError::NoToken { provider: provider.id.clone(), source })?;
        Ok(DeviceLogin { connection, trip, client, asked, needed: needed.clone(), code, begun_at })
    }

    /// How long the person has.
    pub fn device_login_lives(&self, login: &DeviceLogin) -> Duration {
        login.code.expires_at.since(self.0.parts.clock.now())
    }

    /// Waits for the person and keeps the grant; says what has come of it.
    pub async fn finish_device_login(
        &self,
        mut login: DeviceLogin,
    ) -> Result<Connected, DeviceError> {
        loop {
            tokio::time::sleep(login.code.interval).await;
            let broker = self.clone();
            // In a task of its own: whoever stops waiting must not take a token with them that the
            // provider has just handed out.
            let step = self.unbroken(async move {
                let kept = broker.ask_for_device(&mut login).await;
                (kept, login)
            });
            let (kept, same) = step.await.ok_or(DeviceError::Ending)?;
            if let Some(connected) = kept? {
                return Ok(connected);
            }
            login = same;
        }
    }

    /// Asks once. `None`: the person is not done.
    async fn ask_for_device(
        &self,
        login: &mut DeviceLogin,
    ) -> Result<Option<Connected>, DeviceError> {
        let DeviceLogin { connection, trip, client, asked, needed, code, begun_at } = login;
        let Connection { caller, provider, bound, account } = connection;
        let record = |outcome| self.record(caller, &provider.id, EventKind::Consent(outcome));
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
            trip,
        };
        let grant = self.grant_for(consent, issued).await;
        let kept = match self.put_patiently(caller, &grant).await {
            Ok(Put::Kept(kept)) => kept,
            Ok(Put::OtherAccount(before)) => {
                record(ConsentOutcome::PreviousAccountKept);
                self.end_there(client, &grant).await;
                let now = grant.identity.map(|identity| identity.words());
                return Err(DeviceError::OtherAccount { before, now: now.unwrap_or_else(unnamed) });
            }
            Err(error) => {
                record(ConsentOutcome::Lost);
                self.end_there(client, &grant).await;
                return Err(error.into());
            }
        };
        // After the grant is written, as for a code flow: either this sees the cutoff, or the end of
        // access sees the grant.
        if self.drop_if_cut_off(caller, &grant, *begun_at).await? {
            return Err(DeviceError::AccessEnded);
        }
        record(ConsentOutcome::Connected);
        Ok(Some(self.told(&kept, &trip.token_facts())))
    }

    /// The code is spent, so what was issued for it is not given up at once if the store cannot take
    /// it: a disk may be given room, and another process take the store over.
    async fn put_patiently(&self, caller: &Caller, grant: &Grant) -> Result<Put, StoreError> {
        let mut tries = 1;
        loop {
            match self.put_unless(caller, grant, false, |_| false).await {
                Err(error) if tries < MOST_PUTS => {
                    tracing::warn!(%error, "the account is not kept yet");
                    tries += 1;
                    tokio::time::sleep(PUT_PAUSE).await;
                }
                done => return done,
            }
        }
    }
}
