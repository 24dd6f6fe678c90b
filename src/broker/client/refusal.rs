//! Refusals of the server's own client at a token endpoint.

use crate::oauth::{TokenError, Verdict};

/// Whether the token endpoint has refused us. There is no user's grant that could have ended, so
/// every code concerns the operator's side, except those that mean temporary trouble.
pub(in crate::broker) fn is_refusal(error: &TokenError) -> bool {
    match error {
        TokenError::Refused { .. } => error.verdict().is_refusal(),
        TokenError::Status { status: 403, .. } => true,
        other => matches!(other.verdict(), Verdict::GrantEnded | Verdict::Operator),
    }
}

pub(in crate::broker) fn is_about_scopes(error: &TokenError) -> bool {
    matches!(error, TokenError::Refused { code } if code == "invalid_scope")
}

/// Advice for the operator after a refusal.
pub(in crate::broker) fn remedy(refusal: &TokenError) -> &'static str {
    match refusal {
        TokenError::Refused { code } if code == "invalid_grant" => {
            "check the key, `issuer`, `subject` and `audience` of the provider's assertion, and this machine's clock"
        }
        TokenError::Unsigned(_) => "check the private key of the provider's assertion",
        _ if is_about_scopes(refusal) => {
            "check `scopes` of the provider and its tools, and what its client may ask for there"
        }
        _ => {
            "check the provider's client_id and client_secret, and that its client may use this grant type"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_temporary_trouble_is_no_refusal_of_the_client() {
        let refused = |code: &str| is_refusal(&TokenError::Refused { code: code.into() });
        for code in ["temporarily_unavailable", "slow_down", "rate_limited", "timeout"] {
            assert!(!refused(code), "{code}");
        }
        for code in ["invalid_client", "invalid_grant", "invalid_scope", "something_new"] {
            assert!(refused(code), "{code}");
        }
    }
}
