//! The first half of a consent: from a missing consent to a link. [`super::visit`] is the page
//! behind the link.

use std::sync::Arc;
use std::time::Duration;

use super::Consents;
use super::link_decision::{Decision, LinkOrder, LinkRequest};
use crate::broker::client::registration::{SetupError, settings};
use crate::broker::{Connection, MAX_WRITE_ATTEMPTS, NotYours, OriginError};
use crate::model::credential::Credential;
use crate::model::event::EventKind;
use crate::model::oauth::LoopbackRule;
use crate::model::principal::{BrowserProof, NoBrowserProof};
use crate::model::requester::AskedBy;
use crate::model::{
    AccountName, Authorization, Caller, Clock, ConnectPrompt, Principal, PromptReason, Provider,
    RateLimit, Scopes,
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
    /// The open link would have to ask for more than a link may. A new one would end it for the
    /// programs that wait for it.
    #[error("the link that is open asks for as many scopes as a link may")]
    TooManyScopes,
    #[error("the consent has just been given")]
    GrantedMeanwhile,
    #[error("the provider's address is not usable")]
    Address(#[from] url::ParseError),
    /// The page that the user saw says less than what would be sent, or differs from it.
    #[error("what is asked for has changed since this page was opened")]
    Changed,
    /// Refused [`MAX_REFUSALS_PER_HOUR`](crate::model::authorization::MAX_REFUSALS_PER_HOUR) times within the last
    /// hour. Only programs get this error.
    #[error("it was refused too often to be asked for again by a program")]
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
            Self::TooManyScopes => "use that one first, or try again in a few minutes".into(),
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

impl Consents {
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
        let connection = self.0.clients.connection(&principal.caller, provider, account).await?;
        let order = LinkOrder::new(needed, asked_by, PromptReason::NotConnected);
        self.prompt(&connection, &principal.browser_proof, order).await
    }

    /// Returns a link for this user to grant what is ordered. The link also works after this process has
    /// ended, unless the prompt says `ends_with_server`.
    pub(in crate::broker) async fn prompt(
        &self,
        connection: &Connection,
        browser_proof: &Result<BrowserProof, NoBrowserProof>,
        order: LinkOrder<'_>,
    ) -> Result<ConnectPrompt, ConnectError> {
        let prompt = self.link(connection, browser_proof, order).await?;
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
        order: LinkOrder<'_>,
    ) -> Result<ConnectPrompt, ConnectError> {
        let browser_proof = browser_proof.clone()?;
        let provider = &connection.provider;
        let (rule, own_scopes) = terms(provider)?;
        let origin = self.origin(provider, rule).await?;
        let store = self.store().await?;
        let notice = store.notice().map(|notice| notice.to_string().into_boxed_str());
        // Everything that the consent will need is resolved now: the user must not be sent to a
        // page that can only fail.
        let after_connect = self.0.parts.after_connect.clone();
        let plan = self.0.clients.consent_plan(provider, after_connect).await?;
        let connected = self.0.grants.connected(connection).await?;
        self.sweep_in_time();
        let listen_address = self.0.parts.listen_address;
        let request = LinkRequest {
            connection,
            browser_proof,
            order,
            own_scopes,
            origin,
            listen_address,
            plan_fingerprint: plan.fingerprint(),
            plan,
        };
        for _ in 0..MAX_WRITE_ATTEMPTS {
            if let Some(prompt) = self.try_link(&request, rule).await? {
                return Ok(ConnectPrompt { connected, notice, ..prompt });
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Decides which link the request gets, and stores it. `None`: another writer was faster, or
    /// the links of this process have moved to another origin.
    async fn try_link(
        &self,
        request: &LinkRequest<'_>,
        rule: LoopbackRule,
    ) -> Result<Option<ConnectPrompt>, ConnectError> {
        let connection = request.connection;
        let now = self.now();
        let held = self.authorization_of(connection).await?;
        // Read after the authorization: if that is completed, its grant is in the store.
        let grant = self.0.grants.grant_of(connection).await?.map(|held| held.value);
        let (latest, grant) = (held.as_ref().map(|held| &held.value), grant.as_ref());
        let (authorization, is_new) = match request.decide(latest, grant, now) {
            Decision::Granted => return Err(ConnectError::GrantedMeanwhile),
            Decision::RefusedOften => return Err(ConnectError::RefusedOften),
            Decision::TooManyScopes => return Err(ConnectError::TooManyScopes),
            Decision::Reuse(open) => return Ok(Some(request.prompt(open, grant, now))),
            Decision::Widen(wider) => (*wider, false),
            Decision::Create => {
                self.count_link(&connection.caller, &request.browser_proof)?;
                (request.create(latest, grant, now), true)
            }
        };
        let links = &self.0.tables.authorizations;
        if !links.open_link(&authorization, held.as_ref()).await? {
            return Ok(None);
        }
        let provider = &connection.provider;
        if is_new {
            self.0.events.record_access(&connection.caller, &provider.id, EventKind::Link);
            if let Some(latest) = latest
                && let Some(unanswered) = latest.state().unanswered()
            {
                self.discard(latest, unanswered);
            }
        }
        // The process that listens there may have ended before its successor could find this link
        // in the store.
        let is_current = self.origin(provider, rule).await? == request.origin;
        Ok(is_current.then(|| request.prompt(&authorization, grant, now)))
    }

    /// Counts one more link for this user. Loopback links are not limited: users who run the server
    /// for themselves may fill their own disk.
    fn count_link(
        &self,
        caller: &Caller,
        browser_proof: &BrowserProof,
    ) -> Result<(), ConnectError> {
        let is_within =
            *browser_proof == BrowserProof::Loopback || self.0.links.admits(caller.clone());
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
