//! Hands out a user's access token to an application that may have it.

use std::collections::HashSet;

use parking_lot::Mutex;
use secrecy::SecretString;

use crate::broker::grant::access::{Access, AccessError, Outlook, Ready};
use crate::broker::{Broker, caller_failures};
use crate::model::event::EventKind;
use crate::model::principal::{BrowserProof, NoBrowserProof};
use crate::model::retention::Retention;
use crate::model::{AccountName, Failure, Principal, Provider, ProviderId, Scopes, Time};

/// An access token for an application.
#[derive(Debug)]
pub struct HandedOut {
    pub token: SecretString,
    /// All scopes of the token.
    pub scopes: Scopes,
    /// `None`: the provider did not say.
    pub expires_at: Option<Time>,
}

/// Whether the application that names this user may be given the access tokens of their accounts
/// there, once they have agreed to it.
pub(in crate::broker) fn gets_token(principal: &Principal, provider: &Provider) -> bool {
    principal.gets_tokens && provider.hands_out_tokens()
}

/// Maximum withheld tokens remembered; above it all are forgotten, and logged once more.
const MAX_WITHHELD: usize = 4096;

/// The withheld tokens that have a line in the log: clients ask every few seconds, and one line says
/// it all.
#[derive(Default)]
pub(in crate::broker) struct LoggedWithheld(Mutex<HashSet<String>>);

impl LoggedWithheld {
    /// Whether this one has no line yet; from now on, it has.
    fn is_new(&self, withheld: String) -> bool {
        let mut logged = self.0.lock();
        if logged.len() >= MAX_WITHHELD {
            logged.clear();
        }
        logged.insert(withheld)
    }
}

/// Why an application that follows a consent to its end is not given the access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotHandedOut {
    /// The server is for this machine alone, and takes any key.
    NoConfiguredKey,
    /// The caller is a user with a key or token of their own.
    OwnKey,
    /// The application's key has no right to tokens.
    NoRight,
    /// The credential does not come from a provider's consent.
    Kept,
    /// The access is for one call.
    UseOnce,
    /// The page of the consent did not say that the application gets the token.
    NotAgreed,
}

impl NotHandedOut {
    /// Returns why [`gets_token`] is false.
    fn of(principal: &Principal, provider: &Provider) -> Self {
        if !principal.gets_tokens {
            return match &principal.browser_proof {
                Ok(BrowserProof::Loopback) => Self::NoConfiguredKey,
                Ok(BrowserProof::Application(_)) | Err(NoBrowserProof::NoVerifier { .. }) => {
                    Self::NoRight
                }
                Ok(BrowserProof::SignedIn) | Err(NoBrowserProof::NoClientId) => Self::OwnKey,
            };
        }
        match provider.retention {
            Retention::UseOnce => Self::UseOnce,
            _ => Self::Kept,
        }
    }

    /// The reason as a word.
    fn word(self) -> &'static str {
        match self {
            Self::NoConfiguredKey => "no_configured_key",
            Self::OwnKey => "own_key",
            Self::NoRight => "no_right",
            Self::Kept => "not_by_consent",
            Self::UseOnce => "use_once",
            Self::NotAgreed => "not_agreed",
        }
    }

    /// Says what the operator or the application can do, as a lower-case fragment.
    fn hint(self) -> &'static str {
        match self {
            Self::NoConfiguredKey => {
                "only an application that [[server.auth.api_keys]] declares with `tokens = true` is given tokens; tools run without"
            }
            Self::OwnKey => {
                "only an application is given tokens: send the key of one that has `tokens = true` in [[server.auth.api_keys]]"
            }
            Self::NoRight => {
                "to hand tokens to this application, write `tokens = true` beside its `name` in [[server.auth.api_keys]]"
            }
            Self::Kept => "a pasted key and a shared credential never leave this server",
            Self::UseOnce => {
                "access for one call is not handed out: set another `retention` at the provider, and have the user consent again"
            }
            Self::NotAgreed => {
                "the user consented on a page that did not say it: ask again with POST /v1/auth/authorize, whose page does"
            }
        }
    }
}

impl Broker {
    /// Returns a fresh access token of this user's account, and records that it was handed out.
    ///
    /// `None` if there is no token to hand out: the provider is unknown or inactive, the application
    /// has no right to tokens, or the user has not connected the account, has pasted a key, or has
    /// not agreed to it on our page.
    ///
    /// # Errors
    /// The failure that a call would have now.
    pub async fn hand_out_token(
        &self,
        principal: &Principal,
        provider: &ProviderId,
        account: &AccountName,
    ) -> Result<Option<HandedOut>, Failure> {
        let found = self.active_provider_of(&principal.caller, provider).await;
        let found = found
            .map_err(|error| caller_failures::no_access(&AccessError::from(error), principal))?;
        let Some(provider) = &found else { return Ok(None) };
        if !gets_token(principal, provider) {
            self.log_withheld(principal, provider, NotHandedOut::of(principal, provider));
            return Ok(None);
        }
        let for_caller = |failure| {
            if principal.is_local() {
                failure
            } else {
                caller_failures::for_user(failure, Some(provider), None)
            }
        };
        let access = async {
            // Exactly this account: another one's token would act in the wrong account.
            let connection = self.0.accounts.exactly(&principal.caller, provider, account).await?;
            self.0.consents.retry_save(&connection.name()).await?;
            let scopes = Scopes::none();
            // As the user agreed, and as the operator says now.
            match self.0.grants.outlook(&connection, (&scopes).into()).await? {
                Outlook::Good(grant)
                    if grant.hands_out && grant.retention != Retention::UseOnce =>
                {
                    self.0.grants.access(&connection, (&scopes).into(), None).await.map(Some)
                }
                Outlook::Good(grant) => {
                    let why = match grant.retention {
                        Retention::UseOnce => NotHandedOut::UseOnce,
                        _ => NotHandedOut::NotAgreed,
                    };
                    self.log_withheld(principal, provider, why);
                    Ok(None)
                }
                Outlook::Missing { .. } => Ok(None),
            }
        };
        let no_access = |error: AccessError| caller_failures::no_access(&error, principal);
        match access.await.map_err(no_access).map_err(for_caller)? {
            Some(Access::Ready(ready)) => {
                let kind = EventKind::TokenHandedOut;
                self.events().record_access(&principal.caller, &provider.id, kind);
                let Ready { token, granted: scopes, expires_at, .. } = ready;
                Ok(Some(HandedOut { token, scopes, expires_at }))
            }
            None | Some(Access::Missing { .. } | Access::Refused) => Ok(None),
        }
    }

    /// Logs once why an application is not given a token.
    fn log_withheld(&self, principal: &Principal, provider: &Provider, why: NotHandedOut) {
        let (caller, provider, reason) = (&principal.caller, &provider.id, why.word());
        // A setting is the same for all users; a consent is one user's.
        let user = (why == NotHandedOut::NotAgreed).then_some(caller.user.as_str());
        let withheld = [&*caller.namespace, provider.as_str(), reason, user.unwrap_or_default()];
        if self.0.withheld.is_new(withheld.join("\0")) {
            let (namespace, hint) = (caller.of(), why.hint());
            tracing::info!(user, namespace, %provider, reason, hint, "an access token is not handed out");
        }
    }
}
