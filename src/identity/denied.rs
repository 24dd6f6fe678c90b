//! Refused requests: why, and what HTTP says about it.

use std::sync::Arc;

use http::StatusCode;
use url::Url;

use super::issuer_error::IssuerError;
use super::token_fault::TokenFault;
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
    /// 429. Too many invented tokens came from the client's address.
    #[error("too many tokens from this address were not accepted")]
    TooManyFailures,
    /// 503. Not the client's fault; the same request may succeed later.
    #[error("the issuer of access tokens cannot be asked at the moment")]
    Unavailable(#[source] Arc<IssuerError>),
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
            Self::Missing | Self::TooManyFailures | Self::Unavailable(_) => None,
        }
    }

    /// Returns `WWW-Authenticate` (RFC 6750 §3, RFC 9728 §5.1), if the answer needs one.
    pub fn challenge(&self, challenge: Option<&Challenge>) -> Option<String> {
        match self {
            Self::Missing | Self::InvalidToken(_) | Self::Malformed(_) => {}
            Self::TooManyFailures | Self::Unavailable(_) => return None,
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
            Self::TooManyFailures => {
                "wait a minute; behind a proxy, its operator writes the proxy's address as `trusted_proxies` in [server]"
            }
            Self::Unavailable(_) => "try again in a minute; the server's log says what is wrong",
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
