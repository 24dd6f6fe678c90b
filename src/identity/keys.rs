//! Static keys: a person's own, or an application's that names its end user with every call.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::digest::{Digest, Digester};
use crate::model::principal::{NoOpener, Opener, Verifier};
use crate::model::server_auth::{KeyHolder, ResolvedKey};
use crate::model::{Caller, Principal, UserId, secret};

/// The keys.
pub(super) struct Keys {
    by_digest: HashMap<Digest, Held>,
    /// By what sessions know the key that they were begun with: a digest is good for one process.
    by_fingerprint: HashMap<String, Digest>,
}

/// Whom a key stands for.
pub(super) enum Held {
    Person(Arc<Principal>),
    Application(Application),
}

/// An application that calls for its end users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The name of its key.
    pub name: String,
    /// [`secret::fingerprint`] of the key.
    pub key: String,
    opener: Result<Opener, NoOpener>,
}

/// Keys that cannot be told apart, or that nobody could send.
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
    /// `issuer` is who vouches for people here, if anybody does beside the keys.
    pub(super) fn new(
        resolved: Vec<ResolvedKey>,
        issuer: Option<&(&str, Result<Opener, NoOpener>)>,
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

    /// Whether the key of this [`secret::fingerprint`] is accepted and vouches for this person.
    pub(super) fn vouches_for(&self, caller: &Caller, fingerprint: &str) -> bool {
        let held = self.by_fingerprint.get(fingerprint).and_then(|digest| self.find(digest));
        match held {
            Some(Held::Person(principal)) => principal.caller == *caller,
            Some(Held::Application(application)) => application.is_of(caller),
            None => false,
        }
    }

    /// The applications.
    pub(super) fn applications(&self) -> impl Iterator<Item = &Application> {
        self.by_digest.values().filter_map(|held| match held {
            Held::Application(application) => Some(application),
            Held::Person(_) => None,
        })
    }

    /// Everybody who has a key of their own.
    pub(super) fn people(&self) -> impl Iterator<Item = &Caller> {
        self.by_digest.values().filter_map(|held| match held {
            Held::Person(principal) => Some(&principal.caller),
            Held::Application(_) => None,
        })
    }

    /// Whose key it is.
    pub(super) fn find(&self, digest: &Digest) -> Option<&Held> {
        self.by_digest.get(digest)
    }
}

impl Held {
    fn new(
        name: String,
        key: String,
        holder: KeyHolder,
        issuer: Option<&(&str, Result<Opener, NoOpener>)>,
    ) -> Self {
        match holder {
            KeyHolder::Person(user) => Self::Person(Arc::new(person(&name, user, issuer))),
            KeyHolder::Application { verifier_url, confirm } => Self::Application(Application {
                opener: match verifier_url {
                    Some(url) => {
                        Ok(Opener::Application(Verifier { key: name.clone(), url, confirm }))
                    }
                    None => Err(NoOpener::NoVerifier { key: name.clone() }),
                },
                name,
                key,
            }),
        }
    }
}

impl Application {
    /// An end user of this application, apart from everybody of the same name elsewhere.
    pub fn caller(&self, user: UserId) -> Caller {
        Caller { namespace: Caller::namespace_of_key(&self.name), user }
    }

    /// Whether this is one of its end users.
    pub fn is_of(&self, caller: &Caller) -> bool {
        caller.namespace == Caller::namespace_of_key(&self.name)
    }

    /// The page that tells who sits at a browser.
    pub fn verifier(&self) -> Option<&Verifier> {
        match &self.opener {
            Ok(Opener::Application(verifier)) => Some(verifier),
            _ => None,
        }
    }

    pub fn principal(&self, user: UserId) -> Principal {
        Principal {
            caller: self.caller(user),
            groups: BTreeSet::new(),
            opener: self.opener.clone(),
        }
    }
}

/// Beside an issuer a key's user is the person whom the issuer calls so: the same accounts, and
/// signing in there is how their browser is known. Without one the key itself is the sign-in.
fn person(
    name: &str,
    user: UserId,
    issuer: Option<&(&str, Result<Opener, NoOpener>)>,
) -> Principal {
    let (namespace, opener) = match issuer {
        Some((issuer, opener)) => ((*issuer).to_owned(), opener.clone()),
        None => (Caller::namespace_of_key(name), Ok(Opener::SignedIn)),
    };
    Principal { caller: Caller { namespace, user }, groups: BTreeSet::new(), opener }
}
