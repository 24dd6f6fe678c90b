//! Errors of a token endpoint, and what they mean for a grant.

use std::time::Duration;

use super::assertion::SignError;
use crate::net::NetError;

/// A token request that brought no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// An error response (RFC 6749 §5.2). `code` is its `error`, never free text.
    #[error("the authorization server answered `{code}`")]
    Refused { code: String },
    /// An answer to a refresh that means `invalid_grant` in this provider's own words.
    #[error("the authorization server answered that the refresh token is not valid any more")]
    RefreshTokenEnded,
    /// JSON with neither a known error nor a token.
    #[error("the authorization server's answer has no access token")]
    Tokenless,
    #[error("the authorization server answered with status {status}")]
    Status {
        status: u16,
        /// `Retry-After` (RFC 9110 §10.2.3).
        retry_after: Option<Duration>,
    },
    #[error("the authorization server's answer is no token response: {0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Unreachable(#[from] NetError),
    #[error(transparent)]
    Unsigned(#[from] SignError),
}

/// Meaning of a failed token request for the grant behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The grant is over; only a new consent helps.
    GrantEnded,
    /// Our registration is refused. Only the operator can fix it; never a reason to ask users
    /// again.
    Operator,
    /// A refusal that does not say whether the grant has ended or what else is wrong.
    Unclear,
    /// The answer says nothing about the grant; the same request may succeed later.
    Passing,
}

impl Verdict {
    /// Whether the authorization server has refused, for any reason.
    pub fn is_refusal(self) -> bool {
        match self {
            Self::GrantEnded | Self::Operator | Self::Unclear => true,
            Self::Passing => false,
        }
    }
}

impl TokenError {
    /// Returns what the error means for the grant.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Refused { code } => verdict_of(code),
            Self::RefreshTokenEnded => Verdict::GrantEnded,
            // RFC 6749 §5.2 reserves 401 for a client that failed to authenticate.
            Self::Status { status: 401, .. } | Self::Unsigned(_) => Verdict::Operator,
            // 409: another request for the same grant is under way, e.g. Airtable.
            Self::Status { status: 408 | 409 | 425 | 429, .. } => Verdict::Passing,
            Self::Status { status: 400..=499, .. } | Self::Tokenless => Verdict::Unclear,
            Self::Status { .. } | Self::Malformed(_) | Self::Unreachable(_) => Verdict::Passing,
        }
    }

    /// Whether the error is about our registration as a whole, so that every grant there would be
    /// refused alike. Other codes of [`Verdict::Operator`] may be about one grant: Atlassian
    /// answers `unauthorized_client` to a refresh token that has ended.
    pub fn is_about_client(&self) -> bool {
        match self {
            Self::Refused { code } => is_about_client(code),
            Self::Status { status, .. } => *status == 401,
            Self::Unsigned(_) => true,
            Self::RefreshTokenEnded
            | Self::Tokenless
            | Self::Malformed(_)
            | Self::Unreachable(_) => false,
        }
    }

    /// Returns the code of an error response.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code } => Some(code),
            _ => None,
        }
    }

    /// Whether the answer was lost: the authorization server may have acted on the request, and its
    /// answer is not known.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Unreachable(error) => !error.is_before_sending(),
            // A gateway got no answer, or a bad one (RFC 9110 §15.6.3, §15.6.5); the server behind
            // it may have acted.
            Self::Malformed(_) | Self::Tokenless | Self::Status { status: 502 | 504, .. } => true,
            Self::Refused { .. }
            | Self::RefreshTokenEnded
            | Self::Status { .. }
            | Self::Unsigned(_) => false,
        }
    }

    /// Returns how long the server wants us to wait, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Refused { .. }
            | Self::RefreshTokenEnded
            | Self::Tokenless
            | Self::Malformed(_)
            | Self::Unreachable(_)
            | Self::Unsigned(_) => None,
        }
    }
}

fn is_about_client(code: &str) -> bool {
    matches!(
        code,
        "invalid_client"
            | "invalid_client_id"
            | "bad_client_secret"
            | "incorrect_client_credentials"
    )
}

fn verdict_of(code: &str) -> Verdict {
    match code {
        // RFC 6749 §5.2, and the codes of Slack, Zoho and HubSpot in its place.
        "invalid_grant"
        | "token_expired"
        | "token_revoked"
        | "invalid_refresh_token"
        | "invalid_code"
        | "BAD_REFRESH_TOKEN"
        | "bad_refresh_token"
        | "bad_verification_code"
        | "account_inactive"
        // OpenID Connect Core §3.1.2.6; Microsoft answers these to a refresh.
        | "interaction_required"
        | "consent_required"
        | "login_required"
        // Only a new consent can change the scopes.
        | "invalid_scope" => Verdict::GrantEnded,
        code if is_about_client(code) => Verdict::Operator,
        "unauthorized_client"
        | "unsupported_grant_type"
        | "invalid_request"
        | "redirect_uri_mismatch"
        | "bad_redirect_uri" => Verdict::Operator,
        // RFC 6749 §4.1.2.1, RFC 8628 §3.5, and further codes of servers in trouble.
        "temporarily_unavailable"
        | "server_error"
        | "slow_down"
        | "service_unavailable"
        | "internal_error"
        | "internal_server_error"
        | "fatal_error"
        | "timeout"
        | "request_timeout"
        | "rate_limited"
        | "ratelimited"
        | "rate_limit_exceeded"
        | "too_many_requests" => Verdict::Passing,
        _ => Verdict::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_ends_a_grant() {
        let verdict = |code: &str| TokenError::Refused { code: code.into() }.verdict();
        assert_eq!(verdict("invalid_grant"), Verdict::GrantEnded);
        assert_eq!(verdict("invalid_client"), Verdict::Operator);
        assert_eq!(verdict("temporarily_unavailable"), Verdict::Passing);
        assert_eq!(verdict("something_new"), Verdict::Unclear);
        assert_eq!(
            TokenError::Status { status: 503, retry_after: None }.verdict(),
            Verdict::Passing
        );
        assert_eq!(TokenError::Malformed("HTML").verdict(), Verdict::Passing);
        assert_eq!(TokenError::RefreshTokenEnded.verdict(), Verdict::GrantEnded);
        for (status, verdict) in [
            (400, Verdict::Unclear),
            (403, Verdict::Unclear),
            (401, Verdict::Operator),
            (409, Verdict::Passing),
            (429, Verdict::Passing),
            (302, Verdict::Passing),
        ] {
            assert_eq!(
                TokenError::Status { status, retry_after: None }.verdict(),
                verdict,
                "{status}"
            );
        }
    }
}
