//! Deposits: tokens that users consented to elsewhere, moved in by the operator or by the application
//! that the users belong to.
//!
//! - [`error`]: why a deposit is refused, and what helps
//! - [`moving`]: a deposit that is being made
//! - [`place`]: what is in its place in the store, and whether it may take that place
//! - [`prove`]: stores it, asks the provider, and keeps what the provider honours
//!
//! Nothing is believed. A refresh token is sent at once; an access token alone is shown to the provider
//! if that can tell whose it is. The account is the one that the provider names, never the depositor's
//! word. A deposit never takes the place of another consent: only the user can exchange an account.
//!
//! | the place holds | the deposit |
//! |---|---|
//! | nothing | is stored and proven, unless the connection was ended there |
//! | the same deposit, proven | is there already; nothing is sent, since its refresh token may be spent |
//! | the same deposit, not proven yet | is continued, also after a kill |
//! | the same deposit, ended | is dead |
//! | another deposit, never renewed | is refused while that one may be under way, else takes its place |
//! | another deposit, renewed and not proven yet | is refused, after that one was proven if possible |
//! | an ended consent | takes its place if it is known to be for the same account, or of unknown account |
//! | any other consent | is refused |
//!
//! A token is for one place: one that is deposited in two would let one user's calls run in another
//! user's account, and a provider that detects reuse would end it.

mod error;
mod moving;
mod place;
mod prove;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

pub use error::DepositError;
use moving::Moving;

use super::Broker;
use super::client::Clients;
use crate::model::connection_id;
use crate::model::deposit::Proof;
use crate::model::event::{DepositOutcome, EventKind};
use crate::model::grant::AccountIdentity;
use crate::model::{
    AccountName, Caller, Clock, Grant, Principal, Provider, RateLimit, Scopes, Time,
};
use crate::store::StoreError;

/// Deposits of one key, and of all keys, per minute; further ones are refused. Each makes requests to
/// a provider.
const MAX_DEPOSITS_PER_MINUTE: u32 = 600;
const MAX_DEPOSITS_OF_ALL_PER_MINUTE: u32 = 3000;

/// Parts of the broker that only deposits use.
pub(super) struct Deposits {
    clients: Arc<Clients>,
    rate: RateLimit<String>,
}

/// Tokens that were obtained elsewhere, with what their depositor says of them.
#[derive(Debug)]
pub struct ForeignTokens {
    pub access: Option<SecretString>,
    pub refresh: Option<SecretString>,
    /// End of the access token; `None`: unknown.
    pub expires_at: Option<Time>,
    /// Scopes that the user consented to; `None`: those that the provider names.
    pub scopes: Option<Scopes>,
    /// The client that the tokens were issued to.
    pub client_id: String,
    /// Id or label of the account at the provider. It is compared with the provider's answer.
    pub account: Option<String>,
    /// The user's name for the account, where they connect several.
    pub name: AccountName,
    /// Whether the user has agreed to calls that run while they are away.
    pub away: bool,
}

/// Party that deposits.
#[derive(Clone, Copy, Debug)]
pub enum Depositor<'a> {
    /// On the command line, or with the token of `serve --token`.
    Operator,
    /// The application of the key of this name.
    Application(&'a str),
}

/// A deposit that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposited {
    /// Whether this deposit has stored it; false: it was there already.
    pub is_new: bool,
    pub proof: Proof,
    pub account: AccountName,
    /// The account, as the provider identifies it.
    pub identity: Option<AccountIdentity>,
    pub scopes: Scopes,
    /// Whether calls may use it while the user is away.
    pub away: bool,
    /// Scopes that the depositor named and the provider has not granted.
    pub ungranted: Scopes,
    pub expires_at: Option<Time>,
    /// Whether it is renewed when its access token expires.
    pub renews: bool,
    /// [`Account::digest`](super::accounts::list::Account::digest), which names the connection.
    pub digest: String,
}

/// Effect that a deposit would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DepositOutlook {
    /// It would be shown to the provider.
    New,
    /// It was begun before, and would be continued.
    Begun,
    There(Deposited),
}

impl Deposits {
    pub(super) fn new(clock: Clock, clients: Arc<Clients>) -> Self {
        let (of_one, of_all) = (MAX_DEPOSITS_PER_MINUTE, MAX_DEPOSITS_OF_ALL_PER_MINUTE);
        Self { clients, rate: RateLimit::per(Duration::from_mins(1), clock, of_one, of_all) }
    }
}

impl Deposited {
    fn of(grant: &Grant, is_new: bool) -> Self {
        let proof = grant.deposit.as_ref().map_or(Proof::Pending, |deposit| deposit.proof);
        Self {
            is_new,
            proof,
            account: grant.account.clone(),
            identity: grant.identity.clone(),
            scopes: grant.scopes.clone(),
            away: grant.away,
            ungranted: grant.ungranted.clone(),
            expires_at: grant.tokens.expires_at,
            renews: grant.tokens.refresh.is_some(),
            digest: connection_id::digest(grant),
        }
    }
}

impl Broker {
    /// Whether one more deposit with the key of this space is within its rate; counts it if so.
    pub fn admits_deposit(&self, space: &str) -> bool {
        self.0.deposits.rate.admits(space.to_owned())
    }

    /// Moves tokens in that a user consented to elsewhere. A repeated deposit sends nothing to the
    /// provider, or continues what a kill or the provider's trouble has interrupted.
    ///
    /// # Errors
    /// [`DepositError`]. A deposit whose refresh token was renewed is kept, and may be made again.
    pub async fn deposit(
        &self,
        principal: &Principal,
        by: Depositor<'_>,
        provider: &Arc<Provider>,
        tokens: ForeignTokens,
    ) -> Result<Deposited, DepositError> {
        let tasks = &self.0.tasks;
        // Counted before the check, so that the end of the process waits for what begins here.
        let _counted = tasks.token();
        if tasks.is_closed() {
            return Err(DepositError::Ending);
        }
        let moving = self.moving(principal, by, provider, tokens);
        let (broker, caller) = (self.clone(), principal.caller.clone());
        let provider = Arc::clone(provider);
        // In a task of its own: a client that disconnects must neither stop it half-way nor keep it
        // from the event record.
        let task = async move {
            let done = moving.run().await;
            broker.record_deposit(&caller, &provider, &done);
            done
        };
        tasks.spawn(task).await.unwrap_or(Err(DepositError::Ending))
    }

    /// Returns the effect that [`Self::deposit`] would have, as far as that is known without showing
    /// the tokens to the provider. Changes nothing.
    ///
    /// # Errors
    /// [`DepositError`]
    pub async fn look_at_deposit(
        &self,
        principal: &Principal,
        by: Depositor<'_>,
        provider: &Arc<Provider>,
        tokens: ForeignTokens,
    ) -> Result<DepositOutlook, DepositError> {
        match self.moving(principal, by, provider, tokens).look().await {
            // No account was ever connected here.
            Err(DepositError::Store(error)) if matches!(*error, StoreError::Empty) => {
                Ok(DepositOutlook::New)
            }
            outlook => outlook,
        }
    }

    fn moving(
        &self,
        principal: &Principal,
        by: Depositor<'_>,
        provider: &Arc<Provider>,
        tokens: ForeignTokens,
    ) -> Moving {
        let by = match by {
            Depositor::Operator => None,
            Depositor::Application(name) => Some(name.to_owned()),
        };
        Moving {
            broker: self.clone(),
            caller: principal.caller.clone(),
            provider: Arc::clone(provider),
            tokens,
            // The application has had the token itself already.
            hands_out: by.is_some() && super::ready::gets_token(principal, provider),
            by,
            begun_at: self.now(),
        }
    }

    fn record_deposit(
        &self,
        caller: &Caller,
        provider: &Provider,
        done: &Result<Deposited, DepositError>,
    ) {
        let outcome = match done {
            Ok(deposited) if !deposited.is_new => return,
            Ok(Deposited { proof: Proof::Proven, .. }) => DepositOutcome::Live,
            Ok(_) => DepositOutcome::Unproven,
            Err(error) => error.outcome(),
        };
        self.events().record_access(caller, &provider.id, EventKind::Deposit(outcome));
    }
}
