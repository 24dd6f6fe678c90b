//! Reasons why a token is not accepted.

use crate::model::id::BadUserId;

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
    #[error("it demands an extension that is not supported")]
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
    #[error("its claim about the person is missing or not a string")]
    NoPerson,
    #[error("its claim about the person cannot be used: {0}")]
    Person(#[from] BadUserId),
    #[error("its `email` is not verified")]
    Unverified,
}

impl TokenFault {
    /// Returns what the sender of the token can do.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Unknown => "check the key",
            Self::Opaque => {
                "check the key or token; if the issuer's tokens are no JWTs, the operator of this server sets `introspect = true` in [server.auth]"
            }
            Self::OtherToken => "send the one in the file that this server named when it started",
            Self::Audience => {
                "ask the issuer for a token for this server (RFC 8707 `resource`); if its `aud` is another, the operator of this server writes that as `audience` in [server.auth]"
            }
            Self::NoAudience => {
                "have the issuer put an `aud` into its access tokens; if it never does, as Cognito, the operator of this server writes the `client_id` of each client whose tokens are accepted as `allowed_clients` in [server.auth]"
            }
            Self::UnknownClient => {
                "if that client may call, the operator of this server adds the token's `client_id` to `allowed_clients` in [server.auth]"
            }
            Self::Issuer => "sign in at the issuer that this server's metadata names",
            Self::NotAccess => "send the access token, not the ID token",
            Self::NoPerson | Self::Person(_) => {
                "the operator of this server must check `user_claim` in [server.auth], and which claims the issuer puts into its access tokens"
            }
            Self::Unverified => {
                "verify the address at the issuer; else the operator of this server must choose another `user_claim` in [server.auth], such as `sub`"
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The sender of a token cannot write the server's settings.
    #[test]
    fn advice_about_settings_names_the_operator() {
        let faults = [
            TokenFault::Opaque,
            TokenFault::Audience,
            TokenFault::NoAudience,
            TokenFault::UnknownClient,
            TokenFault::NoPerson,
            TokenFault::Unverified,
        ];
        for fault in faults {
            let hint = fault.hint();
            assert!(hint.contains("operator of this server") && hint.contains("[server.auth]"));
        }
    }
}
