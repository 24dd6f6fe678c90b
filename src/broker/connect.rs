//! The first half of a consent: from a missing consent to a link. [`super::invitation`] is the page
//! behind the link.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use secrecy::ExposeSecret as _;

use super::clients::{SetupError, settings};
use super::completion::Connected;
use super::invitation::minutes_left;
use super::{Broker, Connection, MOST_TRIES, OriginError, Stranger};
use crate::model::authorization::{
    AskedBy, LIFETIME, MOST_REFUSALS, REFUSAL, Requesters, Status, Way,
};
use crate::model::credential::Credential;
use crate::model::event::EventKind;
use crate::model::grant::{AccountIdentity, unnamed};
use crate::model::principal::{NoOpener, Opener};
use crate::model::provider::LoopbackRule;
use crate::model::reason::ConsentFailure;
use crate::model::secret;
pub(super) use crate::model::text::sentence;
use crate::model::{
    AccountName, Authorization, Caller, Clock, ConnectPrompt, Grant, Principal, PromptReason,
    Provider, RateLimit, Scopes, Standing, Time, scope,
};
use crate::store::{Held, StoreError};

/// Links per user and hour; further ones are refused with [`ConnectError::TooManyLinks`]. Each
/// link, and each authorization attempt made from it, is a record in the store: one user must not
/// fill the disk that holds all users' consents.
const MOST_LINKS: u32 = 60;

/// Limit of [`MOST_LINKS`] per user and hour.
pub(super) fn limit(clock: Clock) -> RateLimit<Caller> {
    RateLimit::per(Duration::from_hours(1), clock, MOST_LINKS, u32::MAX)
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
    Opener(#[from] NoOpener),
    /// The browser is not the one of the link's user.
    #[error(transparent)]
    Stranger(#[from] Stranger),
    #[error("the link is not known, or its time is over")]
    Unknown,
    #[error("the link has been used too often")]
    Exhausted,
    /// [`MOST_LINKS`] within the last hour.
    #[error("too many links were made for one person")]
    TooManyLinks,
    #[error("the consent has just been given")]
    GrantedMeanwhile,
    #[error("the provider's address is not usable")]
    Address(#[from] url::ParseError),
    /// The page that the user saw says less than what would be sent, or differs from it.
    #[error("what is asked for has changed since this page was opened")]
    Changed,
    /// Refused [`MOST_REFUSALS`] times within the last hour. Only tool calls get this error.
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
            Self::Opener(error) => error.hint(),
            Self::Stranger(Stranger::OtherPerson) => {
                "open only links that you were given yourself; to use this one, sign in as the person it was made for".into()
            }
            Self::Stranger(Stranger::Unconfirmed) => {
                "open it in the browser in which you use the application that gave it to you".into()
            }
            Self::Stranger(_) => "sign in first".into(),
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
        self.prompt(&connection, &principal.opener, needed, asked_by, PromptReason::NotConnected)
            .await
    }

    /// Returns a link for this user to grant `needed`. The link also works after this process has
    /// ended, unless the prompt says `ends_with_server`.
    pub(super) async fn prompt(
        &self,
        connection: &Connection,
        opener: &Result<Opener, NoOpener>,
        needed: &Scopes,
        asked_by: AskedBy,
        reason: PromptReason,
    ) -> Result<ConnectPrompt, ConnectError> {
        let prompt = self.link(connection, opener, needed, asked_by, reason).await?;
        // Before the link is handed out: a host may kill this process as soon as it has the link.
        let ends_with_server = matches!(opener, Ok(Opener::Loopback))
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
        opener: &Result<Opener, NoOpener>,
        needed: &Scopes,
        asked_by: AskedBy,
        reason: PromptReason,
    ) -> Result<ConnectPrompt, ConnectError> {
        let opener = opener.clone()?;
        let Connection { caller, provider, bound, account } = connection;
        let (rule, own_scopes) = terms(provider)?;
        let origin = self.origin(provider, rule).await?;
        let store = self.store().await?;
        let notice = store.notice().map(|notice| notice.to_string().into_boxed_str());
        // Everything that the consent will need is resolved now: the user must not be sent to a
        // page that can only fail.
        let after_connect = self.0.parts.after_connect.clone();
        let trip = self.0.clients.trip(provider, after_connect).await?;
        let fingerprint = trip.fingerprint();
        let connected = self.connected(connection).await?;
        self.sweep_in_time();
        for _ in 0..MOST_TRIES {
            let now = self.0.parts.clock.now();
            let held = self.authorization_of(connection).await?;
            // Read after the authorization: if that is completed, its grant is in the store.
            let grant = self.grant_of(connection).await?.map(|held| held.value);
            let is_enough = |grant: &Grant| {
                let standing = grant.standing(needed, provider.implied(), now);
                matches!(standing, Standing::Usable | Standing::Stale) && !grant.is_refused()
            };
            // The consent was being stored when this call found none. A new link would replace the
            // one that has just succeeded, and wait for a click that never comes.
            if asked_by.tool.is_some() && grant.as_ref().is_some_and(is_enough) {
                return Err(ConnectError::GrantedMeanwhile);
            }
            let refusals = held.as_ref().map(|held| held.value.refusals.clone());
            let refusals = refusals.unwrap_or_default();
            if asked_by.tool.is_some()
                && held.as_ref().is_some_and(|held| {
                    !held.value.is_open(now) && held.value.late_refusals(now) >= MOST_REFUSALS
                })
            {
                return Err(ConnectError::RefusedOften);
            }
            let ended = grant.as_ref().and_then(|grant| past_end(provider, grant, &reason, now));
            let granted = grant.map(|grant| grant.scopes).unwrap_or_default();
            let scopes = granted.union(needed).union(own_scopes);
            let open = held.as_ref().map(|held| &held.value).filter(|open| {
                // Compared exactly: a link made under another `tools.toml` may mean more than this
                // one's page would show, and the page that a user has open must keep its meaning.
                open.is_open(now)
                    && open.origin == origin
                    && open.listen_address == self.0.parts.listen_address
                    && open.opener == opener
                    && open.binding == bound.binding
                    && open.trip.fingerprint() == fingerprint
            });
            if open.is_none() {
                self.count_link(caller, &opener)?;
            }
            let is_new = open.is_none();
            let authorization = match open {
                Some(open)
                    if shows(open, &scopes, needed, &asked_by)
                        || open.status != Status::Pending =>
                {
                    let prompt = prompt(provider, open, needed, asked_by, reason, now);
                    return Ok(ConnectPrompt { connected, notice, ended, ..prompt });
                }
                // Keep the link and add the scopes; from now on its page shows all of them.
                Some(open) => widened(open, &scopes, needed, &asked_by),
                None => Authorization {
                    id: secret::random().expose_secret().to_owned(),
                    ticket: secret::random_ticket(),
                    caller: caller.clone(),
                    opener: opener.clone(),
                    provider: provider.id.clone(),
                    account: account.clone(),
                    binding: bound.binding.clone(),
                    scopes: scopes.clone(),
                    needed: needed.clone(),
                    tools: asked_by.tool.iter().cloned().collect(),
                    asked_by: asked_by.clone(),
                    requesters: Requesters::default().with(&asked_by),
                    origin: origin.clone(),
                    listen_address: self.0.parts.listen_address,
                    created_at: now,
                    starts: 0,
                    status: Status::Pending,
                    refused: Scopes::default(),
                    refusals,
                    said: None,
                    problem: None,
                    trip: trip.clone(),
                    browser: None,
                    unclaimed_since: None,
                    connected_as: None,
                    ungranted: Scopes::default(),
                    ends: None,
                    candidate: None,
                },
            };
            if !store.open_link(&authorization, held.as_ref()).await? {
                continue;
            }
            if is_new {
                self.record(caller, &provider.id, EventKind::Link);
            }
            // The process that listens there may have ended before its successor could find this
            // link in the store.
            if self.origin(provider, rule).await? == origin {
                let prompt = prompt(provider, &authorization, needed, asked_by, reason, now);
                return Ok(ConnectPrompt { connected, notice, ended, ..prompt });
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Counts one more link for this user. Loopback links are not limited: users who run the server
    /// for themselves may fill their own disk.
    fn count_link(&self, caller: &Caller, opener: &Opener) -> Result<(), ConnectError> {
        let is_within = *opener == Opener::Loopback || self.0.links.admits(caller.clone());
        if is_within { Ok(()) } else { Err(ConnectError::TooManyLinks) }
    }

    async fn origin(&self, provider: &Provider, rule: LoopbackRule) -> Result<String, OriginError> {
        (self.0.parts.origin)(provider.id.clone(), rule).await
    }

    /// The latest authorization for this connection.
    pub(super) async fn authorization_of(
        &self,
        Connection { caller, provider, bound, account }: &Connection,
    ) -> Result<Option<Held<Authorization>>, StoreError> {
        let store = self.store().await?;
        store.authorization(caller, &provider.id, &bound.fingerprint, account).await
    }

    /// Deletes what has expired. Returns the loopback origins of this machine's links that are
    /// still open, and for each the address to listen on if it is not the loopback address.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn open_origins(&self) -> Result<BTreeSet<(String, Option<IpAddr>)>, StoreError> {
        let store = self.store().await?;
        let now = self.0.parts.clock.now();
        *self.0.swept.lock() = Some(now);
        store.sweep(now).await?;
        self.end_unclaimed(now).await?;
        let open = store.open_authorizations().await?;
        Ok(open
            .into_iter()
            .filter(|held| is_awaited_here(&held.value, now))
            .map(|held| (held.value.origin, held.value.listen_address))
            .collect())
    }

    /// When the last undecided link that leads to this machine expires; `None`: there is no such
    /// link.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn links_open_until(&self) -> Result<Option<Time>, StoreError> {
        let now = self.0.parts.clock.now();
        let open = self.store().await?.open_authorizations().await?;
        let awaited = open.iter().map(|held| &held.value).filter(|it| is_awaited_here(it, now));
        Ok(awaited.map(Authorization::expires_at).max())
    }

    /// Whether a browser has gone on from a link of this machine and is awaited at the callback.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn has_departures(&self) -> Result<bool, StoreError> {
        let now = self.0.parts.clock.now();
        let open = self.store().await?.open_authorizations().await?;
        Ok(open.iter().any(|held| is_awaited_here(&held.value, now) && held.value.starts > 0))
    }

    /// Deletes what has expired in the background: links once per [`LIFETIME`], grants once a day.
    /// A server that runs for months must not keep every link that was never opened.
    pub(super) fn sweep_in_time(&self) {
        let now = self.0.parts.clock.now();
        let is_due = |swept: &Mutex<Option<Time>>, every| {
            let mut swept = swept.lock();
            let is_due = swept.is_none_or(|last| now.since(last) >= every);
            if is_due {
                *swept = Some(now);
            }
            is_due
        };
        let links = is_due(&self.0.swept, LIFETIME);
        let grants = is_due(&self.0.swept_grants, Duration::from_hours(24));
        if !links && !grants {
            return;
        }
        let broker = self.clone();
        self.0.tasks.spawn(async move {
            let swept = async {
                let store = broker.store().await?;
                if links {
                    store.sweep(now).await?;
                    broker.end_unclaimed(now).await?;
                }
                if grants {
                    store.sweep_grants(now).await?;
                }
                Ok::<_, StoreError>(())
            };
            if let Err(error) = swept.await {
                tracing::warn!(%error, "what has expired was not cleared away");
            }
        });
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
        for _ in 0..MOST_TRIES {
            let Some(held) = store.reread(authorization).await? else { return Ok(false) };
            // A consent outweighs a later refusal, e.g. from a second tab.
            if held.value.status == Status::Completed {
                return Ok(false);
            }
            let now = self.0.parts.clock.now();
            let mut refusals = held.value.refusals.clone();
            refusals.retain(|at| !now.is_past(*at, REFUSAL));
            if is_refusal {
                refusals.push(now);
            }
            let ended = end.clone().of(Authorization { refusals, ..held.value.clone() });
            if let Some(ended) = store.replace(ended, &held).await? {
                // An error means that there are no waiters, which is usual.
                if is_end {
                    let _ = self.0.ended.send(ended.value.id);
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

/// Whether a browser may still come to this machine's loopback listener for it. One that has used
/// up its starts is still awaited at the callback.
fn is_awaited_here(authorization: &Authorization, now: Time) -> bool {
    // Links on a public origin are not the loopback listener's concern.
    authorization.opener == Opener::Loopback && authorization.is_undecided(now)
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

/// Why the previous grant no longer works, if that is the reason for the prompt.
fn past_end(
    provider: &Provider,
    grant: &Grant,
    reason: &PromptReason,
    now: Time,
) -> Option<Box<str>> {
    matches!(reason, PromptReason::Ended | PromptReason::NotRenewed).then(|| {
        let (at, why) = grant.past_end(&provider.token_facts());
        why.past_words(&provider.title, at, now).into()
    })
}

/// An open link with scopes added. Its page names every program whose scopes it asks for.
fn widened(
    open: &Authorization,
    scopes: &Scopes,
    needed: &Scopes,
    asked_by: &AskedBy,
) -> Authorization {
    let (asked_by, requesters, tools) = if is_all_of_user(open, scopes, asked_by) {
        (asked_by.clone(), Requesters::default().with(asked_by), BTreeSet::new())
    } else {
        let tools = open.tools.iter().chain(&asked_by.tool).cloned().collect();
        (open.asked_by.clone(), open.requesters().with(asked_by), tools)
    };
    Authorization {
        requesters,
        scopes: open.scopes.union(scopes),
        needed: open.needed.union(needed),
        asked_by,
        tools,
        ..open.clone()
    }
}

/// Whether the user requests by hand everything that an open link asks for: what a program asked
/// for before is then the user's own request.
fn is_all_of_user(open: &Authorization, scopes: &Scopes, asked_by: &AskedBy) -> bool {
    asked_by.is_by_hand() && open.scopes.is_subset(scopes)
}

/// Whether the page of an open link already shows everything that this request needs.
fn shows(open: &Authorization, scopes: &Scopes, needed: &Scopes, asked_by: &AskedBy) -> bool {
    scopes.is_subset(&open.scopes)
        && needed.is_subset(&open.needed)
        && asked_by.tool.iter().all(|tool| open.tools.contains(tool))
        && open.requesters().names(asked_by)
        && !(is_all_of_user(open, scopes, asked_by)
            && (open.requesters().has_program() || !open.tools.is_empty()))
}

fn prompt(
    provider: &Provider,
    authorization: &Authorization,
    needed: &Scopes,
    asked_by: AskedBy,
    reason: PromptReason,
    now: Time,
) -> ConnectPrompt {
    let is_openid = provider.is_openid(&authorization.scopes);
    ConnectPrompt {
        provider: provider.id.clone(),
        title: provider.title.clone(),
        tool: asked_by.tool,
        scopes: needed.clone(),
        scope_words: needed
            .iter()
            .filter_map(|scope| scope::in_words(Some(&provider.scope_words), scope, is_openid))
            .map(str::to_owned)
            .collect(),
        reason,
        url: authorization.link(),
        redirect_uri: match authorization.trip.way {
            Way::Code(_) => Some(authorization.redirect_uri()),
            Way::Paste(_) => None,
        },
        account: authorization.account.clone(),
        connected: Vec::new(),
        authorization: authorization.name(),
        expires_at: authorization.expires_at(),
        lives_minutes: minutes_left(authorization, now),
        notice: None,
        ends_with_server: false,
        ended: None,
    }
}
