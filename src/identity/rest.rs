//! Callers of the REST faces, and the users whom they name.
//!
//! | server | key | no user named | a user named |
//! |---|---|---|---|
//! | of one's own machine | any | the local user | a local user of that name |
//! | with `--token` | that token | the local user | a local user of that name |
//! | `[server.auth]` | an application's | none, or `default` of that application | that user of the application |
//! | `[server.auth]` | a person's, or an access token | the person | the person, if it is their name |

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use url::{Host, Url};

use super::denied::Denied;
use super::headers::{PORTIA_DEFAULT_USER, named_user};
use super::keys::{Application, is_web_page};
use super::token_fault::TokenFault;
use super::{Authenticator, Way, headers};
use crate::model::id::BadUserId;
use crate::model::scheduled::Voucher;
use crate::model::{Caller, Principal, UserId};

/// Caller of a REST face.
#[derive(Clone, Debug)]
pub enum RestCaller {
    /// A program on this machine, on a server without `[server.auth]`. It may call for any end
    /// user.
    Machine {
        /// User of this machine, whom the MCP face serves.
        served: Arc<Principal>,
        /// Whether its key is the token of `serve --token`.
        has_token: bool,
    },
    Application(Application),
    /// A user with a personal key, or with an access token of the issuer.
    Person(RestPerson),
}

/// A user who calls for themselves.
#[derive(Clone, Debug)]
pub struct RestPerson {
    pub principal: Arc<Principal>,
    /// Fingerprint of the personal key; `None` for an access token.
    pub key: Option<String>,
}

/// Why a request's user cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserProblem {
    /// 400
    #[error("an application must name its user")]
    Missing,
    /// 400
    #[error(transparent)]
    Bad(#[from] BadUserId),
    /// 403
    #[error("the key belongs to another user")]
    OtherUser,
}

impl Authenticator {
    /// Returns the caller who sent a request of a REST face. `from` is the client's address, as
    /// limits see it. A server of one's own machine demands a key and ignores its value, since the
    /// clients of these faces do not start without one.
    ///
    /// # Errors
    /// [`Denied`] if the key is missing or not accepted, or the issuer does not answer.
    pub async fn rest(&self, headers: &HeaderMap, from: IpAddr) -> Result<RestCaller, Denied> {
        let key = headers::key(headers)?;
        match &*self.0 {
            Way::Local(served) => {
                Ok(RestCaller::Machine { served: Arc::clone(served), has_token: false })
            }
            Way::Token { digester, digest, principal, .. } => {
                if digester.digest(key) != *digest {
                    return Err(TokenFault::OtherToken.into());
                }
                Ok(RestCaller::Machine { served: Arc::clone(principal), has_token: true })
            }
            Way::Server(server) => server.rest(key, from).await,
        }
    }
}

/// Returns another user of the machine whose user is `served`.
pub(super) fn user_of_machine(served: &Principal, user: UserId) -> Principal {
    let caller = Caller { user, ..served.caller.clone() };
    Principal { caller, ..served.clone() }
}

impl RestCaller {
    /// Returns the principal of the user whom a request names. This is the one place where a user
    /// of a body or query becomes a [`Caller`], and the namespace never comes from the request.
    ///
    /// # Errors
    /// [`UserProblem`] if there is no such user for this caller.
    pub fn principal(&self, named: Option<&str>) -> Result<Principal, UserProblem> {
        let is_default = named == Some(PORTIA_DEFAULT_USER);
        let named = named.filter(|name| !name.is_empty() && !is_default);
        match self {
            Self::Machine { served, .. } => match named {
                None => Ok(Principal::clone(served)),
                Some(name) => Ok(user_of_machine(served, UserId::parse(name)?)),
            },
            Self::Application(application) => match named {
                None if is_default => Ok(application.principal(named_user(PORTIA_DEFAULT_USER)?)),
                None => Err(UserProblem::Missing),
                Some(name) => Ok(application.principal(UserId::parse(name)?)),
            },
            Self::Person(RestPerson { principal, .. }) => match named {
                Some(name) if name != principal.caller.user.as_str() => Err(UserProblem::OtherUser),
                _ => Ok(Principal::clone(principal)),
            },
        }
    }

    /// Like [`Self::principal`], for questions that change nothing and need no user: without a
    /// name, an application asks for its user `default`.
    ///
    /// # Errors
    /// As [`Self::principal`].
    pub fn reader(&self, named: Option<&str>) -> Result<Principal, UserProblem> {
        match self.principal(named) {
            Err(UserProblem::Missing) => self.principal(Some(PORTIA_DEFAULT_USER)),
            principal => principal,
        }
    }

    /// Returns the key under which records of this caller are kept apart from those of others. The
    /// users of an issuer share a namespace and must not share records.
    pub fn space(&self) -> Cow<'_, str> {
        match self {
            Self::Machine { served, .. } => Cow::Borrowed(&served.caller.namespace),
            Self::Application(application) => {
                Cow::Owned(Caller::namespace_of_key(&application.name))
            }
            Self::Person(person) => Cow::Owned(person.principal.caller.own_space()),
        }
    }

    /// Whether this is one of the users for whom it may call.
    pub fn owns(&self, caller: &Caller) -> bool {
        match self {
            Self::Machine { served, .. } => served.caller.namespace == caller.namespace,
            Self::Application(application) => application.is_of(caller),
            Self::Person(person) => person.principal.caller == *caller,
        }
    }

    /// Returns the authority that can vouch for its users when they are away; `None` for an access
    /// token, since the user's groups and standing at the issuer are not known later.
    pub fn voucher(&self) -> Option<Voucher> {
        match self {
            Self::Machine { .. } => Some(Voucher::Machine),
            Self::Application(application) => Some(Voucher::Key(application.key.clone())),
            Self::Person(person) => person.key.clone().map(Voucher::Key),
        }
    }

    /// Whether it may use the routes of `/v1/admin`.
    pub fn is_admin(&self) -> bool {
        match self {
            Self::Machine { has_token, .. } => *has_token,
            Self::Application(application) => application.is_admin,
            Self::Person(_) => false,
        }
    }

    /// Whether it may deposit tokens of its users that were obtained elsewhere. A program of one's own
    /// machine may if it has the token: otherwise any program there could put an account of its own in
    /// the place of the user's.
    pub fn may_deposit(&self) -> bool {
        match self {
            Self::Machine { has_token, .. } => *has_token,
            Self::Application(application) => application.may_deposit,
            Self::Person(_) => false,
        }
    }

    /// Name of the application that deposits; `None` for the operator.
    pub fn depositor(&self) -> Option<&str> {
        match self {
            Self::Application(application) => Some(&application.name),
            Self::Machine { .. } | Self::Person(_) => None,
        }
    }

    /// Whether a browser may be sent to this address after a consent: on one's own machine to a
    /// loopback address, else as [`Application::may_send_to`] says.
    pub fn may_send_to(&self, url: &Url) -> bool {
        match self {
            Self::Machine { .. } => is_loopback(url),
            Self::Application(application) => application.may_send_to(url),
            Self::Person(_) => false,
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    is_web_page(url)
        && url.host().is_some_and(|host| match host {
            Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::server_auth::ApplicationSettings;

    fn machine(has_token: bool) -> RestCaller {
        let served = Principal::local(Caller::local(UserId::new("ana")));
        RestCaller::Machine { served: Arc::new(served), has_token }
    }

    fn application(settings: ApplicationSettings) -> RestCaller {
        RestCaller::Application(Application::new("shop".into(), "fingerprint".into(), settings))
    }

    fn person() -> RestCaller {
        let caller = Caller { namespace: "https://a.example".into(), user: UserId::new("ana") };
        let principal = Arc::new(Principal::signed_in(caller, ["staff".to_owned()].into()));
        RestCaller::Person(RestPerson { principal, key: None })
    }

    #[test]
    fn a_machine_calls_for_any_user_and_by_default_for_its_own() {
        let caller = |named| machine(false).principal(named).map(|principal| principal.caller);
        let ana = Caller::local(UserId::new("ana"));
        for named in [None, Some(""), Some(PORTIA_DEFAULT_USER), Some("ana")] {
            assert_eq!(caller(named), Ok(ana.clone()), "{named:?}");
        }
        assert_eq!(caller(Some("bob")), Ok(Caller::local(UserId::new("bob"))));
        assert_eq!(caller(Some(" bob")), Err(UserProblem::Bad(BadUserId::Size)));
        assert!(machine(false).principal(Some("bob")).unwrap().is_local());
    }

    #[test]
    fn an_application_names_its_user_and_shares_none_with_others() {
        let shop = application(ApplicationSettings::default());
        let caller = |named| shop.principal(named).map(|principal| principal.caller);
        let of_shop = |user| Caller { namespace: "key:shop".into(), user: UserId::new(user) };
        assert_eq!(caller(None), Err(UserProblem::Missing));
        assert_eq!(caller(Some("")), Err(UserProblem::Missing));
        assert_eq!(caller(Some(PORTIA_DEFAULT_USER)), Ok(of_shop("default")));
        assert_eq!(caller(Some("ana")), Ok(of_shop("ana")));
        assert_eq!(shop.reader(None).unwrap().caller, of_shop("default"));
        assert_eq!(shop.reader(Some("ana")).unwrap().caller, of_shop("ana"));
        assert!(shop.owns(&of_shop("bob")));
        assert!(!shop.owns(&Caller::local(UserId::new("bob"))));
        assert_eq!(shop.space(), "key:shop");
    }

    #[test]
    fn a_person_calls_for_nobody_else() {
        let ana = person();
        for named in [None, Some(""), Some("ana"), Some(PORTIA_DEFAULT_USER)] {
            let principal = ana.principal(named).unwrap();
            assert_eq!(principal.caller.user.as_str(), "ana");
            assert!(principal.groups.contains("staff"));
        }
        assert_eq!(ana.principal(Some("bob")), Err(UserProblem::OtherUser));
        assert_eq!(ana.space(), "https://a.example\0ana");
        let bob = Caller { namespace: "https://a.example".into(), user: UserId::new("bob") };
        assert!(!ana.owns(&bob));
    }

    #[test]
    fn rights_are_those_of_the_key() {
        let plain = application(ApplicationSettings::default());
        let admin = application(ApplicationSettings { admin: true, ..Default::default() });
        let trusted = application(ApplicationSettings { tokens: true, ..Default::default() });
        let mover = application(ApplicationSettings { deposit: true, ..Default::default() });
        let gets_tokens = |caller: &RestCaller| caller.reader(None).unwrap().gets_tokens;
        let rights =
            |caller: &RestCaller| (caller.is_admin(), gets_tokens(caller), caller.may_deposit());
        assert_eq!(rights(&plain), (false, false, false));
        assert_eq!(rights(&admin), (true, false, false));
        assert_eq!(rights(&trusted), (false, true, false));
        assert_eq!(rights(&mover), (false, false, true));
        assert_eq!(rights(&person()), (false, false, false));
        assert_eq!(rights(&machine(false)), (false, false, false));
        assert_eq!(rights(&machine(true)), (true, false, true));
    }

    #[test]
    fn a_browser_is_sent_to_listed_origins_only() {
        let url = |text: &str| Url::parse(text).unwrap();
        let shop = application(ApplicationSettings {
            verifier_url: Some(url("https://shop.example/verify")),
            next_origins: vec!["https://app.shop.example:8443".into()],
            ..ApplicationSettings::default()
        });
        for good in ["https://shop.example/done?x=1", "https://app.shop.example:8443/done"] {
            assert!(shop.may_send_to(&url(good)), "{good}");
        }
        for bad in [
            "https://evil.example/",
            "http://shop.example/",
            "https://shop.example:8443/",
            "https://app.shop.example/",
            "http://127.0.0.1/",
            "https://shop.example.evil.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "blob:https://shop.example/x",
            "https://ana:secret@shop.example/",
        ] {
            assert!(!shop.may_send_to(&url(bad)), "{bad}");
        }
        for good in ["http://localhost:3000/x", "http://127.0.0.9/", "https://[::1]:1/"] {
            assert!(machine(false).may_send_to(&url(good)), "{good}");
        }
        for bad in ["http://localhost.evil.example/", "https://shop.example/", "file://localhost/x"]
        {
            assert!(!machine(false).may_send_to(&url(bad)), "{bad}");
        }
        assert!(!person().may_send_to(&url("http://127.0.0.1/")));
    }
}
