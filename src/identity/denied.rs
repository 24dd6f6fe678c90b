//! Refused requests: why, and what HTTP says about it.

use std::sync::Arc;

use http::StatusCode;
use url::Url;

use super::issuer::IssuerError;
use crate::model::event::RefusalReason;
use crate::model::id::BadUserId;

/// The request is not accepted. `Display` is fit for the client: it names neither token nor person.
///
/// There is no 403 `insufficient_scope` (RFC 6750 §3.1), because no scope is required of a token:
/// each tool's `allow` decides who may use it, and a tool that a caller may not use does not exist
/// for them.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// 401. No credentials, or an unsupported scheme.
    #[error("the request carries no bearer token")]
    Missing,
    /// 401, `invalid_token`.
    #[error("the bearer token is not accepted: {0}")]
    InvalidToken(#[from] TokenFault),
    /// 400, `invalid_request`.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// 403. A valid key of a person, where an application's is required.
    #[error("the key belongs to a person, and this is for applications")]
    NotAnApplication,
    /// 429. Too many invented tokens came from the client's address.
    #[error("too many tokens from this address were not accepted")]
    TooManyFailures,
    /// 503. Not the client's fault; the same request may succeed later.
    #[error("the issuer of access tokens cannot be asked at the moment")]
    Unavailable(#[source] Arc<IssuerError>),
}

/// Reason why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error("it is not known here")]
    Unknown,
    #[error("it is no key of this server and no JWT")]
    Opaque,
    #[error("it is not the one of this server")]
    OtherToken,
    #[error("it is longer than 16 KiB")]
    TooLong,
    #[error("it is not a signed JWT")]
    NotSigned,
    #[error("its signature algorithm is not accepted")]
    Algorithm,
    #[error("it demands an extension that is not spoken here")]
    Critical,
    #[error("its signature is not one of the issuer's keys")]
    Signature,
    #[error("it is not an access token")]
    NotAccess,
    #[error("it is not an ID token")]
    NotIdentity,
    #[error("the issuer says that it is not active")]
    Inactive,
    #[error("it is bound to a key, and a bearer cannot prove to hold it")]
    Bound,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it is for no audience: it has no `aud`")]
    NoAudience,
    #[error("it was given to another client")]
    Client,
    #[error("it has no `aud`, and was given to a client that is not accepted here")]
    UnknownClient,
    #[error("it does not belong to this sign-in")]
    Nonce,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    TooEarly,
    #[error("its claim `{0}` is missing or not of the right kind")]
    Claim(&'static str),
    #[error("its claim about the person is missing or not a text")]
    NoPerson,
    #[error("its claim about the person cannot be used: {0}")]
    Person(#[from] BadUserId),
    #[error("its `email` is not verified")]
    Unverified,
}

/// The request contradicts itself or cannot be read (RFC 6750 §3.1 `invalid_request`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("there is more than one `Authorization` header")]
    TwoAuthorizations,
    #[error("the `Authorization` header is not `Bearer` and a token")]
    Authorization,
    #[error("an application must name its end user in the `Countersign-User` header")]
    NoUser,
    #[error("there is more than one header that names the end user, and they differ or repeat")]
    TwoUsers,
    #[error("the header that names the end user cannot be used: {0}")]
    User(#[from] BadUserId),
    #[error("the header that names the end user is not UTF-8")]
    UserEncoding,
    #[error("a header names another end user than whom the credentials belong to")]
    OtherUser,
}

/// Tells a client without a token how to get one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Address of [`super::ResourceMetadata`].
    pub metadata: Url,
    /// Scopes to request from the issuer.
    pub scopes: Vec<String>,
}

impl Denied {
    /// HTTP status (RFC 6750 §3.1).
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NotAnApplication => StatusCode::FORBIDDEN,
            Self::TooManyFailures => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the reason for the record.
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::Missing => RefusalReason::NoCredentials,
            Self::InvalidToken(_) => RefusalReason::InvalidToken,
            Self::Malformed(_) => RefusalReason::Malformed,
            Self::NotAnApplication => RefusalReason::NotAnApplication,
            Self::TooManyFailures => RefusalReason::TooManyFailures,
            Self::Unavailable(_) => RefusalReason::IssuerUnavailable,
        }
    }

    /// `error` of RFC 6750 §3.1.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::InvalidToken(_) => Some("invalid_token"),
            Self::Malformed(_) => Some("invalid_request"),
            // "SHOULD NOT include an error code": the credentials are missing, not wrong.
            Self::Missing
            | Self::NotAnApplication
            | Self::TooManyFailures
            | Self::Unavailable(_) => None,
        }
    }

    /// Returns `WWW-Authenticate` (RFC 6750 §3, RFC 9728 §5.1), if the answer needs one.
    pub fn challenge(&self, challenge: Option<&Challenge>) -> Option<String> {
        match self {
            Self::Missing | Self::InvalidToken(_) | Self::Malformed(_) => {}
            Self::NotAnApplication | Self::TooManyFailures | Self::Unavailable(_) => return None,
        }
        // The scheme must be followed by at least one parameter.
        let challenge = match challenge {
            // Neither a `Url` nor a scope (RFC 6749 §3.3) has quotes or backslashes in it.
            Some(Challenge { metadata, scopes }) if scopes.is_empty() => {
                format!("Bearer resource_metadata=\"{metadata}\"")
            }
            Some(Challenge { metadata, scopes }) => {
                let scopes = scopes.join(" ");
                format!("Bearer resource_metadata=\"{metadata}\", scope=\"{scopes}\"")
            }
            None => "Bearer realm=\"countersign\"".to_owned(),
        };
        Some(match self.code() {
            // Entirely our own text: no quote, no backslash, nothing of the request.
            Some(code) => {
                format!("{challenge}, error=\"{code}\", error_description=\"{self}\"")
            }
            None => challenge,
        })
    }

    /// Returns what the sender of the request can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "send `Authorization: Bearer …` with an access token or an API key",
            Self::InvalidToken(fault) => fault.hint(),
            Self::Malformed(problem) => problem.hint(),
            Self::NotAnApplication => {
                "use the key of an application, one without `user` in [[server.auth.api_keys]]"
            }
            Self::TooManyFailures => {
                "wait a minute; behind a proxy, its operator writes the proxy's address as `trusted_proxies` in [server]"
            }
            Self::Unavailable(_) => "try again in a minute; the server's log says what is wrong",
        }
    }
}

impl TokenFault {
    fn hint(self) -> &'static str {
        match self {
            Self::Unknown => "check the key",
            Self::Opaque => {
                "check the key or token; one that is no JWT of the issuer needs `introspect = true` in [server.auth]"
            }
            Self::OtherToken => "send the one in the file that this server named when it started",
            Self::Audience => {
                "ask the issuer for a token for this server (RFC 8707 `resource`), or write what it says in `aud` as `audience` in [server.auth]"
            }
            Self::NoAudience => {
                "have the issuer put an `aud` into its access tokens; if it never does, as Cognito, write the `client_id` of each client whose tokens are accepted as `allowed_clients` in [server.auth]"
            }
            Self::UnknownClient => {
                "if that client may call, add the token's `client_id` to `allowed_clients` in [server.auth]"
            }
            Self::Issuer => "sign in at the issuer that this server's metadata names",
            Self::NotAccess => "send the access token, not the ID token",
            Self::NoPerson | Self::Person(_) => {
                "check `user_claim` in [server.auth] and which claims the issuer puts into its access tokens"
            }
            Self::Unverified => {
                "verify the address at the issuer, or choose another `user_claim` in [server.auth], such as `sub`"
            }
            Self::TooEarly | Self::Expired => {
                "sign in again; if that does not help, compare the clocks of this server and the issuer"
            }
            Self::Bound => {
                "ask the issuer for a bearer token, without DPoP or a client certificate"
            }
            Self::TooLong
            | Self::NotSigned
            | Self::Algorithm
            | Self::Critical
            | Self::Signature
            | Self::NotIdentity
            | Self::Inactive
            | Self::Client
            | Self::Nonce
            | Self::Claim(_) => "sign in again",
        }
    }
}

impl Malformed {
    fn hint(self) -> &'static str {
        match self {
            Self::TwoAuthorizations => "send one of them",
            Self::Authorization => "write `Authorization: Bearer TOKEN`, nothing else on the line",
            Self::NoUser | Self::TwoUsers | Self::User(_) | Self::UserEncoding => {
                "send `Countersign-User: ID` once, with the id by which the application knows the person"
            }
            Self::OtherUser => {
                "leave the header out; to call for several people, use an application's key: [[server.auth.api_keys]] without `user`"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_says_where_to_go_and_what_was_wrong() {
        let metadata: Url =
            "https://tools.acme.example/.well-known/oauth-protected-resource/mcp".parse().unwrap();
        let at = format!("Bearer resource_metadata=\"{metadata}\"");
        let scopes = vec!["openid".to_owned(), "tools:call".to_owned()];
        let scoped = Challenge { metadata: metadata.clone(), scopes };
        assert_eq!(
            Denied::Missing.challenge(Some(&scoped)).unwrap(),
            format!("{at}, scope=\"openid tools:call\"")
        );
        let metadata = Challenge { metadata, scopes: Vec::new() };
        assert_eq!(Denied::Missing.challenge(Some(&metadata)).unwrap(), at);
        assert_eq!(Denied::Missing.challenge(None).unwrap(), "Bearer realm=\"countersign\"");
        assert_eq!(
            Denied::from(TokenFault::Expired).challenge(Some(&metadata)).unwrap(),
            format!(
                "{at}, error=\"invalid_token\", error_description=\"the bearer token is not accepted: it has expired\""
            )
        );
        let malformed = Denied::from(Malformed::TwoAuthorizations).challenge(None).unwrap();
        assert!(malformed.contains("error=\"invalid_request\""));
        assert_eq!(Denied::NotAnApplication.challenge(Some(&metadata)), None);
    }

    /// RFC 6750 §3: `error_description` has no quote, no backslash and ASCII only.
    #[test]
    fn a_description_can_stand_between_quotes() {
        for fault in [TokenFault::Claim("exp"), TokenFault::Person(BadUserId::Size)] {
            let text = Denied::from(fault).to_string();
            assert!(
                text.bytes().all(|byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
                "{text}"
            );
        }
    }
}
