//! The right to write records: one table for each kind.

use std::marker::PhantomData;
use std::sync::Arc;

use secrecy::SecretString;

use super::records::{Cutoff, Record};
use super::{Held, Key, LazyStore, Result, Store};
use crate::model::disconnection::Disconnection;
use crate::model::once::Once;
use crate::model::rest_provider::RestProvider;
use crate::model::rest_secret::RestSecret;
use crate::model::run::{EndUserFacts, Memory, PlanRun, ReportedCall, StoredPlan};
use crate::model::scheduled::ScheduledCall;
use crate::model::webhook_queue::WebhookQueue;
use crate::model::{
    AccountName, Authorization, AuthorizationAttempt, CallConfirmation, Caller, Grant,
    LoginAttempt, ProviderId, RunNeeds, Session, Time, Unclaimed, Unconfirmed, Verification,
};

/// The right to write the records of one kind. Its holder owns that kind: other code reads through
/// [`Store`], and cannot write.
///
/// A table is made with its store, by [`LazyStore::into_tables`] and only there, and cannot be
/// cloned.
///
/// ```
/// use countersign::model::Grant;
/// use countersign::store::{Held, Table};
///
/// async fn renew(grants: &Table<Grant>, renewed: Grant, over: &Held<Grant>) {
///     let _ = grants.replace(renewed, over).await;
/// }
/// ```
///
/// Without the table this does not compile:
///
/// ```compile_fail,E0624
/// use countersign::model::Grant;
/// use countersign::store::{Held, Store};
///
/// async fn renew(store: &Store, renewed: Grant, over: &Held<Grant>) {
///     let _ = store.replace(renewed, over).await;
/// }
/// ```
pub struct Table<T> {
    store: Arc<LazyStore>,
    kind: PhantomData<fn() -> T>,
}

/// The tables of one store, grouped by owner.
pub struct Tables {
    /// Also for the last uses of grants.
    pub grants: Table<Grant>,
    pub consents: ConsentTables,
    pub browsers: BrowserTables,
    pub cutoffs: Table<Cutoff>,
    pub once: Table<Once>,
    pub rest_secrets: Table<RestSecret>,
    pub runs: RunTables,
    pub confirmations: ConfirmationTables,
    pub rest_providers: Table<RestProvider>,
    pub scheduled: Table<ScheduledCall>,
    pub webhooks: Table<WebhookQueue>,
}

/// Plans that clients store, their runs, and the users whom these run for.
pub struct RunTables {
    pub plans: Table<StoredPlan>,
    /// Also for the deletion of all that is about a user.
    pub runs: Table<PlanRun>,
    pub calls: Table<ReportedCall>,
    pub memories: Table<Memory>,
    pub people: Table<EndUserFacts>,
}

/// Records of consents that are not grants yet.
pub struct ConsentTables {
    /// Also for their links.
    pub authorizations: Table<Authorization>,
    pub attempts: Table<AuthorizationAttempt>,
    pub unclaimed: Table<Unclaimed>,
    pub unconfirmed: Table<Unconfirmed>,
    pub verifications: Table<Verification>,
}

/// Browsers that have signed in, or are about to.
pub struct BrowserTables {
    pub sessions: Table<Session>,
    pub logins: Table<LoginAttempt>,
}

/// Calls that a user has to confirm, and what plan runs wait for.
pub struct ConfirmationTables {
    pub confirmations: Table<CallConfirmation>,
    pub needs: Table<RunNeeds>,
}

impl LazyStore {
    /// Shares the store, and hands out the rights to write its records.
    pub fn into_tables(self) -> (Arc<Self>, Tables) {
        let store = Arc::new(self);
        let tables = Tables {
            grants: Table::of(&store),
            consents: ConsentTables {
                authorizations: Table::of(&store),
                attempts: Table::of(&store),
                unclaimed: Table::of(&store),
                unconfirmed: Table::of(&store),
                verifications: Table::of(&store),
            },
            browsers: BrowserTables { sessions: Table::of(&store), logins: Table::of(&store) },
            cutoffs: Table::of(&store),
            once: Table::of(&store),
            rest_secrets: Table::of(&store),
            runs: RunTables {
                plans: Table::of(&store),
                runs: Table::of(&store),
                calls: Table::of(&store),
                memories: Table::of(&store),
                people: Table::of(&store),
            },
            confirmations: ConfirmationTables {
                confirmations: Table::of(&store),
                needs: Table::of(&store),
            },
            rest_providers: Table::of(&store),
            scheduled: Table::of(&store),
            webhooks: Table::of(&store),
        };
        (store, tables)
    }
}

impl<T> Table<T> {
    fn of(store: &Arc<LazyStore>) -> Self {
        Self { store: Arc::clone(store), kind: PhantomData }
    }

    pub(super) async fn store(&self) -> Result<&Store> {
        self.store.get().await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl<T: Record> Table<T> {
    /// Replaces a record by `value`; `None` if the record has changed since it was read.
    pub async fn replace(&self, value: T, over: &Held<T>) -> Result<Option<Held<T>>> {
        // Boxed: this future, and those of the callers, already hold the record.
        Box::pin(self.store().await?.replace(value, over)).await
    }

    /// Deletes a record; false if it has changed since it was read.
    pub async fn delete(&self, held: &Held<T>) -> Result<bool> {
        self.store().await?.delete(held).await
    }

    /// Deletes a record, or the one that has replaced it since it was read. Returns the deleted
    /// one.
    pub async fn delete_last(&self, held: Held<T>) -> Result<Option<Held<T>>> {
        self.store().await?.delete_last(held).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<Grant> {
    /// Stores a grant in place of `over` (`None`: where there is none). Returns false if another
    /// writer was faster; the caller must then read that writer's grant.
    pub async fn put(
        &self,
        caller: &Caller,
        grant: &Grant,
        over: Option<&Held<Grant>>,
    ) -> Result<bool> {
        Box::pin(self.store().await?.put(caller, grant, over)).await
    }

    /// Records that a token is deposited in the place of this account; false if it is deposited
    /// in another place.
    pub async fn claim_token(
        &self,
        token: &str,
        caller: &Caller,
        provider: &ProviderId,
        place: (&str, &AccountName),
        now: Time,
    ) -> Result<bool> {
        self.store().await?.claim_token(token, caller, provider, place, now).await
    }

    /// Records that this grant is being ended.
    pub async fn note_disconnection(
        &self,
        caller: &Caller,
        grant: &Held<Grant>,
        disconnection: &Disconnection,
    ) -> Result<()> {
        self.store().await?.note_disconnection(&grant.key, caller, disconnection).await
    }

    /// Deletes a grant and its last use; false if the grant has changed since it was read.
    pub async fn delete_with_use(&self, held: &Held<Grant>) -> Result<bool> {
        self.store().await?.delete_grant(held).await
    }

    /// Records a use of the grant under this key, unless the grant is gone or a later use is
    /// recorded.
    pub async fn note_use(&self, grant: &Key, at: Time) -> Result<()> {
        self.store().await?.note_use(grant, at).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<Authorization> {
    /// Stores an authorization in place of `over`, and its link; false if another writer was
    /// faster.
    pub async fn open_link(
        &self,
        authorization: &Authorization,
        over: Option<&Held<Authorization>>,
    ) -> Result<bool> {
        self.store().await?.open_link(authorization, over).await
    }

    /// Stores `longer` in place of `over`, and prolongs its link accordingly. False if the
    /// authorization has changed since it was read.
    pub async fn prolong_link(
        &self,
        longer: &Authorization,
        over: &Held<Authorization>,
    ) -> Result<bool> {
        self.store().await?.prolong_link(longer, over).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<AuthorizationAttempt> {
    /// Stores an authorization attempt under its `state`. Deleting it redeems the `state`: at most
    /// one of several concurrent callbacks gets true (RFC 9700 §4.7.1: one-time).
    pub async fn start(&self, state: &SecretString, started: &AuthorizationAttempt) -> Result<()> {
        self.store().await?.start(state, started).await
    }

    /// Deletes all attempts at a provider: their callbacks find none.
    pub async fn delete_at(&self, provider: &ProviderId) -> Result<()> {
        let is_there = |it: &AuthorizationAttempt| it.authorization.link().provider == *provider;
        self.store().await?.delete_all("state/", is_there).await.map(drop)
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<Unclaimed> {
    /// Stores a consent until the application confirms its browser, in place of an earlier one of
    /// the same browser and link.
    ///
    /// # Errors
    /// [`StoreError::Contended`](super::StoreError::Contended) if another writer was faster.
    pub async fn put(&self, consent: &Unclaimed) -> Result<()> {
        Box::pin(self.store().await?.put_unclaimed(consent)).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<Verification> {
    /// Stores which browser was sent to an application with this `flow_id`.
    pub async fn start(&self, flow: &SecretString, verification: &Verification) -> Result<()> {
        self.store().await?.start_verification(flow, verification).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<Session> {
    /// Stores a session under a cookie that no browser has had before.
    pub async fn begin(&self, cookie: &SecretString, session: &Session) -> Result<()> {
        self.store().await?.begin_session(cookie, session).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<LoginAttempt> {
    /// Stores a login attempt under its `state`.
    pub async fn start(&self, state: &SecretString, attempt: &LoginAttempt) -> Result<()> {
        self.store().await?.start_login(state, attempt).await
    }

    /// Returns the login attempt of a `state` and redeems the `state`: at most one of several
    /// concurrent callbacks gets it.
    pub async fn redeem(&self, state: &SecretString) -> Result<Option<LoginAttempt>> {
        self.store().await?.redeem_login(state).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<Cutoff> {
    /// Records that all access of this user ends at `now`.
    pub async fn cut_off(&self, caller: &Caller, now: Time) -> Result<()> {
        self.store().await?.cut_off(caller, now).await
    }

    /// Deletes what this user has begun and their browser sessions: started authorizations,
    /// unconfirmed consents, browsers that the application has confirmed or is asked about,
    /// confirmations of calls, sessions. A user who is signing in at an issuer is not known yet: see
    /// [`Store::is_cut_off`]. Returns the number of sessions.
    pub async fn delete_begun(&self, caller: &Caller) -> Result<usize> {
        self.store().await?.delete_begun(caller).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<CallConfirmation> {
    /// Stores a confirmation under its ticket, which no other has.
    pub async fn begin(&self, confirmation: &CallConfirmation) -> Result<()> {
        self.store().await?.begin_confirmation(confirmation).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<RunNeeds> {
    /// Stores the needs of a user's plan run in place of `over`; false if another writer was
    /// faster.
    pub async fn put(
        &self,
        caller: &Caller,
        needs: &RunNeeds,
        over: Option<&Held<RunNeeds>>,
    ) -> Result<bool> {
        self.store().await?.put_run_needs(caller, needs, over).await
    }

    /// Deletes the confirmations of a user, and the needs of their plan runs.
    pub async fn delete_of(&self, caller: &Caller) -> Result<()> {
        self.store().await?.delete_confirmations(caller).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<Once> {
    /// Stores a call under this key of an application, `space`, in place of `over` (`None`: where
    /// there is none). `None` if another writer was faster.
    pub async fn begin(
        &self,
        space: &str,
        key: &str,
        once: Once,
        over: Option<&Held<Once>>,
    ) -> Result<Option<Held<Once>>> {
        Box::pin(self.store().await?.begin_once(space, key, once, over)).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<RestSecret> {
    /// Stores a secret of an application, `space`, in place of `over` (`None`: where there is
    /// none). False if another writer was faster.
    pub async fn put(
        &self,
        space: &str,
        secret: &RestSecret,
        over: Option<&Held<RestSecret>>,
    ) -> Result<bool> {
        self.store().await?.put_rest_secret(space, secret, over).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<RestProvider> {
    /// Stores a provider of an application in place of `over` (`None`: where there is none). False
    /// if another writer was faster.
    pub async fn put(
        &self,
        provider: &RestProvider,
        over: Option<&Held<RestProvider>>,
    ) -> Result<bool> {
        Box::pin(self.store().await?.put_rest_provider(provider, over)).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<ScheduledCall> {
    /// Stores a new call. `None` if there is one with its id.
    pub async fn put(&self, call: ScheduledCall) -> Result<Option<Held<ScheduledCall>>> {
        Box::pin(self.store().await?.put_scheduled(call)).await
    }

    /// Deletes the calls of a user, in every state. Returns their number.
    pub async fn delete_of(&self, caller: &Caller) -> Result<usize> {
        self.store().await?.delete_scheduled(caller).await
    }
}

/// # Errors
/// The store cannot be opened; else as the methods of [`Store`] in general.
impl Table<WebhookQueue> {
    /// Stores a queue in place of `over` (`None`: where there is none). False if another writer was
    /// faster.
    pub async fn put(
        &self,
        queue: &WebhookQueue,
        over: Option<&Held<WebhookQueue>>,
    ) -> Result<bool> {
        Box::pin(self.store().await?.put_webhook_queue(queue, over)).await
    }
}
