//! The first half of a consent: from a missing consent to a link. [`super::visit`] is the page
//! behind the link.

use std::sync::Arc;
use std::time::Duration;

use super::link_decision::{Decision, LinkRequest};
use super::wait::Connected;
use crate::broker::client::registration::{SetupError, settings};
use crate::broker::{Broker, Connection, MAX_WRITE_ATTEMPTS, NotYours, OriginError};
use crate::model::authorization::{REFUSAL_WINDOW, Status};
use crate::model::credential::Credential;
use crate::model::event::EventKind;
use crate::model::grant::{AccountIdentity, unnamed};
use crate::model::oauth::LoopbackRule;
use crate::model::principal::{BrowserProof, NoBrowserProof};
use crate::model::reason::ConsentFailure;
use crate::model::requester::AskedBy;
use crate::model::{
    AccountName, Authorization, Caller, Clock, ConnectPrompt, Grant, Principal, PromptReason,
    Provider, RateLimit, Scopes,
};
use crate::store::{Held, StoreError};

/// Links per user and hour; further ones are refused with [`ConnectError::TooManyLinks`]. Each
/// link, and each authorization attempt made from it, is a record in the store: one user must not
/// fill the disk that holds all users' consents.
const MAX_LINKS_PER_HOUR: u32 = 60;

/// Limit of [`MAX_LINKS_PER_HOUR`] per user.
pub(super) fn limit(clock: Clock) -> RateLimit<Caller> {
    RateLimit::per(Duration::from_hours(1), clock, MAX_LINKS_PER_HOUR, u32::MAX)
}

/// A link could not be made, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// There is no way to verify that the browser which opens the link is the user's.
    #[error(transparent)]
    NoBrowserProof(#[from] NoBrowserProof),
    /// The browser is not the one of the link's user.
    #[error(transparent)]
    NotYours(#[from] NotYours),
    #[error("the link is not known, or its time is over")]
    Unknown,
    #[error("the link has been used too often")]
    Exhausted,
    /// [`MAX_LINKS_PER_HOUR`] within the last hour.
    #[error("too many links were made for one person")]
    TooManyLinks,
    #[error("the consent has just been given")]
    GrantedMeanwhile,
    #[error("the provider's address is not usable")]
    Address(#[from] url::ParseError),
    /// The page that the user saw says less than what would be sent, or differs from it.
    #[error("what is asked for has changed since this page was opened")]
    Changed,
    /// Refused [`MAX_REFUSALS_PER_HOUR`](crate::model::authorization::MAX_REFUSALS_PER_HOUR) times within the last
    /// hour. Only tool calls get this error.
    #[error("it was refused too often to be asked for again by a tool")]
    RefusedOften,
    #[error("the server is ending")]
    Ending,
}

impl ConnectError {
    /// Advice that completes the error message, as a lower-case fragment.
    pub fn hint(&self) -> String {
        match self {
            Self::Store(error) => error.hint(),
            Self::Setup(error) => error.hint(),
            Self::Origin(error) => error.hint(),
            Self::NoBrowserProof(error) => error.hint(),
            Self::NotYours(NotYours::OtherPerson) => {
                "open only links that you were given yourself; to use this one, sign in as the person it was made for".into()
            }
            Self::NotYours(NotYours::Unconfirmed) => {
                "open it in the browser in which you use the application that gave it to you".into()
            }
            Self::NotYours(_) => "sign in first".into(),
            Self::Unknown | Self::Exhausted => {
                "go back and ask again; you will get a new link".into()
            }
            Self::TooManyLinks => "use one that is still open, or try again in a few minutes".into(),
            Self::Address(_) => "check `authorize_url` in tools.toml".into(),
            Self::Changed => "read the page again before you go on".into(),
            Self::RefusedOften => {
                "begin it yourself with `auth login`, or wait until an hour has gone by".into()
            }
            Self::GrantedMeanwhile => "try again".into(),
            Self::Ending => "start Countersign again, then open the link once more".into(),
        }
    }
}

impl Broker {
    /// Returns a link for this user to connect an account, outside any call.
    ///
    /// # Errors
    /// [`ConnectError`] if no link could be made.
    pub async fn begin(
        &self,
        principal: &Principal,
        provider: &Arc<Provider>,
        account: &AccountName,
        needed: &Scopes,
        asked_by: AskedBy,
    ) -> Result<ConnectPrompt, ConnectError> {
        let connection = self.connection(&principal.caller, provider, account).await?;
        self.prompt(
            &connection,
            &principal.browser_proof,
            needed,
            asked_by,
            PromptReason::NotConnected,
        )
        .await
    }

    /// Returns a link for this user to grant `needed`. The link also works after this process has
    /// ended, unless the prompt says `ends_with_server`.
    pub(in crate::broker) async fn prompt(
        &self,
        connection: &Connection,
        browser_proof: &Result<BrowserProof, NoBrowserProof>,
        needed: &Scopes,
        asked_by: AskedBy,
        reason: PromptReason,
    ) -> Result<ConnectPrompt, ConnectError> {
        let prompt = self.link(connection, browser_proof, needed, asked_by, reason).await?;
        // Before the link is handed out: a host may kill this process as soon as it has the link.
        let ends_with_server = matches!(browser_proof, Ok(BrowserProof::Loopback))
            && !(self.0.parts.keeper)(prompt.expires_at).await;
        Ok(ConnectPrompt { ends_with_server, ..prompt })
    }

    /// Returns the open link if there is one, else a new one.
    ///
    /// The link asks for the union of the granted and the needed scopes, so that a second tool's
    /// consent does not take away the first one's.
    async fn link(
        &self,
        connection: &Connection,
        browser_proof: &Result<BrowserProof, NoBrowserProof>,
        needed: &Scopes,
        asked_by: AskedBy,
        reason: PromptReason,
    ) -> Result<ConnectPrompt, ConnectError> {
        let browser_proof = browser_proof.clone()?;
        let Connection { caller, provider, .. } = connection;
        let (rule, own_scopes) = terms(provider)?;
        let origin = self.origin(provider, rule).await?;
        let store = self.store().await?;
        let notice = store.notice().map(|notice| notice.to_string().into_boxed_str());
        // Everything that the consent will need is resolved now: the user must not be sent to a
        // page that can only fail.
        let after_connect = self.0.parts.after_connect.clone();
        let plan = self.0.clients.consent_plan(provider, after_connect).await?;
        let connected = self.connected(connection).await?;
        self.sweep_in_time();
        let listen_address = self.0.parts.listen_address;
        let request = LinkRequest {
            connection,
            browser_proof,
            needed,
            own_scopes,
            asked_by,
            reason,
            origin,
            listen_address,
            plan_fingerprint: plan.fingerprint(),
            plan,
        };
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let now = self.0.parts.clock.now();
            let held = self.authorization_of(connection).await?;
            // Read after the authorization: if that is completed, its grant is in the store.
            let grant = self.grant_of(connection).await?.map(|held| held.value);
            let latest = held.as_ref().map(|held| &held.value);
            let told = |authorization: &Authorization| ConnectPrompt {
                connected: connected.clone(),
                notice: notice.clone(),
                ..request.prompt(authorization, grant.as_ref(), now)
            };
            let (authorization, is_new) = match request.decide(latest, grant.as_ref(), now) {
                Decision::Granted => return Err(ConnectError::GrantedMeanwhile),
                Decision::RefusedOften => return Err(ConnectError::RefusedOften),
                Decision::Reuse(open) => return Ok(told(open)),
                Decision::Widen(open) => (request.widen(open, grant.as_ref()), false),
                Decision::Create => {
                    self.count_link(caller, &request.browser_proof)?;
                    (request.create(latest, grant.as_ref(), now), true)
                }
            };
            if !self
                .0
                .consents
                .tables
                .authorizations
                .open_link(&authorization, held.as_ref())
                .await?
            {
                continue;
            }
            if is_new {
                self.record(caller, &provider.id, EventKind::Link);
            }
            // The process that listens there may have ended before its successor could find this
            // link in the store.
            if self.origin(provider, rule).await? == request.origin {
                return Ok(told(&authorization));
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Counts one more link for this user. Loopback links are not limited: users who run the server
    /// for themselves may fill their own disk.
    fn count_link(
        &self,
        caller: &Caller,
        browser_proof: &BrowserProof,
    ) -> Result<(), ConnectError> {
        let is_within = *browser_proof == BrowserProof::Loopback
            || self.0.consents.links.admits(caller.clone());
        if is_within { Ok(()) } else { Err(ConnectError::TooManyLinks) }
    }

    async fn origin(&self, provider: &Provider, rule: LoopbackRule) -> Result<String, OriginError> {
        (self.0.parts.origin)(provider.id.clone(), rule).await
    }

    /// The latest authorization for this connection.
    pub(in crate::broker) async fn authorization_of(
        &self,
        Connection { caller, provider, bound, account }: &Connection,
    ) -> Result<Option<Held<Authorization>>, StoreError> {
        let store = self.store().await?;
        store.authorization(caller, &provider.id, &bound.fingerprint, account).await
    }

    /// Records how an authorization ended and, once that is durable, notifies its waiters. Returns
    /// false if it was completed before, or no longer exists.
    pub(super) async fn conclude(
        &self,
        authorization: &Authorization,
        end: End,
    ) -> Result<bool, StoreError> {
        let store = self.store().await?;
        let is_refusal = match &end {
            End::Completed(Connected { refused, .. }) => !refused.is_empty(),
            End::Failed { why, .. } => why.is_by_user(),
            End::OtherAccount { .. } | End::Stayed { .. } => false,
        };
        let is_end = !matches!(end, End::OtherAccount { .. });
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(held) = store.reread(authorization).await? else { return Ok(false) };
            // A consent outweighs a later refusal, e.g. from a second tab.
            if held.value.status == Status::Completed {
                return Ok(false);
            }
            let now = self.0.parts.clock.now();
            let mut refusals = held.value.refusals.clone();
            refusals.retain(|at| !now.is_past(*at, REFUSAL_WINDOW));
            if is_refusal {
                refusals.push(now);
            }
            let ended = end.clone().of(Authorization { refusals, ..held.value.clone() });
            if let Some(ended) = self.0.consents.tables.authorizations.replace(ended, &held).await?
            {
                // An error means that there are no waiters, which is usual.
                if is_end {
                    let _ = self.0.consents.ended.send(ended.value.id);
                }
                return Ok(true);
            }
        }
        Err(StoreError::Contended)
    }
}

/// The loopback rule for a link, and the scopes that the provider's table always asks for.
fn terms(provider: &Provider) -> Result<(LoopbackRule, &Scopes), SetupError> {
    static NO_SCOPES: Scopes = Scopes::none();
    Ok(match &provider.credential {
        // Only our own page is involved, so the provider has no rule for its address.
        Credential::Asked(_) => (LoopbackRule::AnyPort, &NO_SCOPES),
        Credential::OAuth(_) | Credential::Shared(_) => {
            let settings = settings(provider)?;
            (settings.loopback, &settings.scopes)
        }
    })
}

/// How an authorization ended.
#[derive(Clone)]
pub(super) enum End {
    Completed(Connected),
    /// Not yet: the consent came from another account than the one `before`.
    OtherAccount {
        before: String,
        candidate: Box<Grant>,
    },
    /// The user rejected the other account.
    Stayed {
        before: String,
    },
    Failed {
        why: ConsentFailure,
        /// In the provider's words.
        said: Option<String>,
    },
}

impl End {
    fn of(self, authorization: Authorization) -> Authorization {
        let ended = Authorization {
            refused: Scopes::default(),
            said: None,
            problem: None,
            connected_as: None,
            ungranted: Scopes::default(),
            ends: None,
            candidate: None,
            ..authorization
        };
        match self {
            Self::Completed(Connected { connected_as, refused, ungranted, ends }) => {
                let status = Status::Completed;
                Authorization { status, refused, connected_as, ungranted, ends, ..ended }
            }
            Self::OtherAccount { before, candidate } => {
                let identity = candidate.identity.as_ref();
                let now = identity.map_or_else(unnamed, AccountIdentity::words);
                let status = Status::OtherAccount { before, now };
                Authorization { status, candidate: Some(candidate), ..ended }
            }
            Self::Stayed { before } => Authorization { status: Status::Stayed(before), ..ended },
            Self::Failed { why, said } => {
                Authorization { status: Status::Failed(why), said, ..ended }
            }
        }
    }
}
