//! Static keys: a person's own, or an application's, which names its end user with every call.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use url::Url;

use super::digest::{Digest, Digester};
use crate::model::principal::{BrowserProof, NoBrowserProof, Verifier};
use crate::model::server_auth::{ApplicationSettings, KeyHolder, ResolvedKey};
use crate::model::{Caller, Principal, UserId, secret};

/// The configured keys.
pub(super) struct Keys {
    by_digest: HashMap<Digest, Held>,
    /// Digests by the fingerprint that sessions store: a digest is valid for one process only.
    by_fingerprint: HashMap<String, Digest>,
}

/// Holder of a key.
pub(super) enum Held {
    Person(Arc<Principal>),
    Application(Application),
}

/// An application that calls on behalf of its end users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Name of its key.
    pub name: String,
    /// [`secret::fingerprint`] of the key.
    pub key: String,
    browser_proof: Result<BrowserProof, NoBrowserProof>,
    /// Whether it may use the routes of `/v1/admin`.
    pub is_admin: bool,
    /// Whether it is given the access tokens of its users.
    pub gets_tokens: bool,
    /// Whether it may deposit tokens of its users.
    pub may_deposit: bool,
    next_origins: Vec<String>,
}

/// Keys that cannot be told apart, or that no header can carry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the API key `{name}` is empty or has characters that no header carries")]
    Unfit { name: String },
    #[error("the API keys `{first}` and `{second}` have the same value")]
    SameValue { first: String, second: String },
    #[error("two API keys are named `{name}`")]
    SameName { name: String },
}

impl KeyError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unfit { .. } | Self::SameValue { .. } => {
                "make a key for each with `openssl rand -hex 32`"
            }
            Self::SameName { .. } => "the name tells whose end users they are; choose another one",
        }
    }
}

impl Keys {
    /// Digests the keys. `issuer` is the issuer that also vouches for users here, if there is one.
    ///
    /// # Errors
    /// [`KeyError`] if two keys share a name or a value, or if no header can carry one.
    pub(super) fn new(
        resolved: Vec<ResolvedKey>,
        issuer: Option<&(&str, Result<BrowserProof, NoBrowserProof>)>,
        digester: &Digester,
    ) -> Result<Self, KeyError> {
        let mut names: HashMap<Digest, String> = HashMap::new();
        let mut by_digest = HashMap::new();
        let mut by_fingerprint = HashMap::new();
        for ResolvedKey { name, values, holder } in resolved {
            if names.values().any(|other| *other == name) {
                return Err(KeyError::SameName { name });
            }
            for value in &values {
                let text = value.expose_secret();
                if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(KeyError::Unfit { name });
                }
                let digest = digester.digest(text);
                match names.insert(digest, name.clone()) {
                    Some(first) if first != name => {
                        return Err(KeyError::SameValue { first, second: name });
                    }
                    _ => {}
                }
                let fingerprint = secret::fingerprint(text);
                by_fingerprint.insert(fingerprint.clone(), digest);
                let held = Held::new(name.clone(), fingerprint, holder.clone(), issuer);
                by_digest.insert(digest, held);
            }
        }
        Ok(Self { by_digest, by_fingerprint })
    }

    /// Whether the key of this [`secret::fingerprint`] is accepted and vouches for this user.
    pub(super) fn vouches_for(&self, caller: &Caller, fingerprint: &str) -> bool {
        match self.by_fingerprint(fingerprint) {
            Some(Held::Person(principal)) => principal.caller == *caller,
            Some(Held::Application(application)) => application.is_of(caller),
            None => false,
        }
    }

    /// Returns the principal of this user if the key of this [`secret::fingerprint`] is accepted and
    /// vouches for them.
    pub(super) fn principal(&self, caller: &Caller, fingerprint: &str) -> Option<Principal> {
        match self.by_fingerprint(fingerprint)? {
            Held::Person(principal) => {
                (principal.caller == *caller).then(|| Principal::clone(principal))
            }
            Held::Application(application) => {
                let user = || application.principal(caller.user.clone());
                application.is_of(caller).then(user)
            }
        }
    }

    fn by_fingerprint(&self, fingerprint: &str) -> Option<&Held> {
        self.by_fingerprint.get(fingerprint).and_then(|digest| self.find(digest))
    }

    /// Returns the applications.
    pub(super) fn applications(&self) -> impl Iterator<Item = &Application> {
        self.by_digest.values().filter_map(|held| match held {
            Held::Application(application) => Some(application),
            Held::Person(_) => None,
        })
    }

    /// Returns the users who have a key of their own.
    pub(super) fn people(&self) -> impl Iterator<Item = &Caller> {
        self.by_digest.values().filter_map(|held| match held {
            Held::Person(principal) => Some(&principal.caller),
            Held::Application(_) => None,
        })
    }

    /// Returns the holder of a key.
    pub(super) fn find(&self, digest: &Digest) -> Option<&Held> {
        self.by_digest.get(digest)
    }
}

impl Held {
    fn new(
        name: String,
        key: String,
        holder: KeyHolder,
        issuer: Option<&(&str, Result<BrowserProof, NoBrowserProof>)>,
    ) -> Self {
        match holder {
            KeyHolder::Person(user) => Self::Person(Arc::new(person(&name, user, issuer))),
            KeyHolder::Application(settings) => {
                Self::Application(Application::new(name, key, settings))
            }
        }
    }
}

impl Application {
    pub(super) fn new(name: String, key: String, settings: ApplicationSettings) -> Self {
        let ApplicationSettings { verifier_url, confirm, admin, tokens, deposit, next_origins } =
            settings;
        let browser_proof = match verifier_url {
            Some(url) => {
                Ok(BrowserProof::Application(Verifier { key: name.clone(), url, confirm }))
            }
            None => Err(NoBrowserProof::NoVerifier { key: name.clone() }),
        };
        Self {
            name,
            key,
            browser_proof,
            is_admin: admin,
            gets_tokens: tokens,
            may_deposit: deposit,
            next_origins,
        }
    }

    /// Whether a browser may be sent to this address after a consent: to the origin of the verifier
    /// page, or to one that the operator lists. An open redirect would lend our name to any site.
    pub fn may_send_to(&self, url: &Url) -> bool {
        let origin = url.origin().ascii_serialization();
        let is_verifier = self.verifier().is_some_and(|it| it.url.origin() == url.origin());
        is_web_page(url) && (is_verifier || self.next_origins.contains(&origin))
    }

    /// Returns an end user of this application, distinct from users of the same name elsewhere.
    pub fn caller(&self, user: UserId) -> Caller {
        Caller { namespace: Caller::namespace_of_key(&self.name), user }
    }

    /// Whether this is one of its end users.
    pub fn is_of(&self, caller: &Caller) -> bool {
        caller.namespace == Caller::namespace_of_key(&self.name)
    }

    /// Page that identifies a browser's user.
    pub fn verifier(&self) -> Option<&Verifier> {
        match &self.browser_proof {
            Ok(BrowserProof::Application(verifier)) => Some(verifier),
            _ => None,
        }
    }

    /// Returns the principal of an end user.
    pub fn principal(&self, user: UserId) -> Principal {
        let browser_proof = self.browser_proof.clone();
        let principal = Principal::new(self.caller(user), BTreeSet::new(), browser_proof);
        Principal { gets_tokens: self.gets_tokens, ..principal }
    }
}

/// Whether a browser can be sent there: the origin of a `blob:` URL is that of the page which made
/// it, and no other page can open it.
pub(super) fn is_web_page(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
}

/// Returns the principal of a personal key. With an issuer, the key's user is the issuer's user of
/// that name: they share accounts, and a sign-in there proves their browser. Without an issuer, the
/// key itself is the sign-in.
fn person(
    name: &str,
    user: UserId,
    issuer: Option<&(&str, Result<BrowserProof, NoBrowserProof>)>,
) -> Principal {
    let (namespace, browser_proof) = match issuer {
        Some((issuer, browser_proof)) => ((*issuer).to_owned(), browser_proof.clone()),
        None => (Caller::namespace_of_key(name), Ok(BrowserProof::SignedIn)),
    };
    Principal::new(Caller { namespace, user }, BTreeSet::new(), browser_proof)
}
