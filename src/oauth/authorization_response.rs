//! The authorization response: the query that comes to the redirect URI (RFC 6749 §4.1.2, RFC
//! 9207).

use secrecy::SecretString;
use url::form_urlencoded;

use crate::model::text;

/// Longest parameter accepted, in bytes; a longer one is [`AnswerError::TooLong`]. Codes of 2 KB
/// exist; more than 8 KB is abuse.
const MAX_PARAMETER_BYTES: usize = 8 * 1024;

/// The query of a callback, parsed but not yet trusted.
#[derive(Debug)]
pub struct AuthorizationResponse {
    pub state: SecretString,
    /// The `iss` parameter (RFC 9207).
    pub issuer: Option<String>,
    pub result: Result<SecretString, Denial>,
}

/// An authorization error response (RFC 6749 §4.1.2.1), cut to what may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The `error` parameter, reduced to the characters of a code: a model reads it as well.
    pub code: String,
    /// Untrusted text: for a page that escapes it, never for a log or a model.
    pub description: Option<String>,
}

/// Reason why the query of a callback is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("the provider's answer is incomplete: it has no `state`")]
    NoState,
    /// An error response without a `state`, which RFC 6749 §4.1.2.1 requires. It belongs to no
    /// authorization, so it changes nothing; its code tells the operator what the provider refused.
    #[error("the provider sent the error `{code}` without a `state`")]
    ErrorWithoutState { code: String },
    #[error("the answer carries `{0}` more than once")]
    Repeated(&'static str),
    #[error("the answer's `{0}` is too long")]
    TooLong(&'static str),
    #[error("the provider's answer is incomplete: it has neither a code nor an error")]
    Empty,
}

impl AuthorizationResponse {
    /// Parses a query string. A parameter that occurs twice is refused (RFC 6749 §3.1): two readers
    /// that choose differently between `state=a&state=b` can be played against each other.
    ///
    /// # Errors
    /// [`AnswerError`] if a parameter is repeated or too long, if `state` is missing, or if there
    /// is neither a code nor an error.
    pub fn parse(query: &str) -> Result<Self, AnswerError> {
        let mut state = None;
        let mut issuer = None;
        let mut code = None;
        let mut error = None;
        let mut description = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let (slot, name) = match &*name {
                "state" => (&mut state, "state"),
                "iss" => (&mut issuer, "iss"),
                "code" => (&mut code, "code"),
                "error" => (&mut error, "error"),
                "error_description" => (&mut description, "error_description"),
                _ => continue,
            };
            if value.len() > MAX_PARAMETER_BYTES {
                return Err(AnswerError::TooLong(name));
            }
            if slot.replace(value.into_owned()).is_some() {
                return Err(AnswerError::Repeated(name));
            }
        }
        let denial = error.map(|code| Denial::new(&code, description.as_deref()));
        let Some(state) = state.filter(|state| !state.is_empty()) else {
            return Err(match denial {
                Some(Denial { code, .. }) => AnswerError::ErrorWithoutState { code },
                None => AnswerError::NoState,
            });
        };
        let result = match (denial, code.filter(|code| !code.is_empty())) {
            (Some(denial), _) => Err(denial),
            (None, Some(code)) => Ok(SecretString::from(code)),
            (None, None) => return Err(AnswerError::Empty),
        };
        Ok(Self { state: SecretString::from(state), issuer, result })
    }

    /// Whether the response is from the `expected` issuer (RFC 9207 §2.4): compared as a plain
    /// string, without normalization. A response without an issuer passes unless one is `required`.
    /// A response of another issuer means a mix-up of authorization servers; its other parameters
    /// are not even read.
    pub fn is_from(&self, expected: Option<&str>, required: bool) -> bool {
        match (&self.issuer, expected) {
            (Some(issuer), Some(expected)) => issuer == expected,
            (Some(_), None) => true,
            (None, _) => !required,
        }
    }
}

impl Denial {
    fn new(code: &str, description: Option<&str>) -> Self {
        let is_of_a_code = |c: &char| c.is_ascii_alphanumeric() || "_-.".contains(*c);
        let code: String = code.chars().filter(is_of_a_code).take(64).collect();
        Self {
            code: if code.is_empty() { "error".into() } else { code },
            description: description
                .map(|text| text::shown(text, 300))
                .filter(|text| !text.trim().is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_code_or_an_error_is_read() {
        let answer = AuthorizationResponse::parse("code=c%2B1&state=s&iss=https://a").unwrap();
        assert_eq!(answer.result.unwrap().expose_secret(), "c+1");
        let denied =
            AuthorizationResponse::parse("error=access_denied&error_description=no&state=s")
                .unwrap();
        assert_eq!(denied.result.unwrap_err().code, "access_denied");
    }

    #[test]
    fn of_an_error_only_what_may_be_shown_is_kept() {
        let query = "error=no<b>%20obey&error_description=a%E2%80%AEb%00c&state=s";
        let denial = AuthorizationResponse::parse(query).unwrap().result.unwrap_err();
        assert_eq!((denial.code.as_str(), denial.description.as_deref()), ("nobobey", Some("abc")));
    }

    #[test]
    fn repeated_missing_and_endless_parameters_are_refused() {
        let error = |query: &str| AuthorizationResponse::parse(query).map(|_| ()).unwrap_err();
        assert_eq!(error("code=c"), AnswerError::NoState);
        assert_eq!(error("code=c&state="), AnswerError::NoState);
        assert_eq!(error("state=s"), AnswerError::Empty);
        assert_eq!(error("state=s&code="), AnswerError::Empty);
        assert_eq!(error("code=c&state=a&state=b"), AnswerError::Repeated("state"));
        assert_eq!(error("code=c&code=d&state=a"), AnswerError::Repeated("code"));
        let long = format!("state=s&code={}", "x".repeat(10 * 1024));
        assert_eq!(error(&long), AnswerError::TooLong("code"));
    }

    #[test]
    fn an_error_without_a_state_is_told_by_its_code_alone() {
        for (query, told) in [
            (
                "error=unauthorized_client&error_description=redirect+uri+mismatch",
                "unauthorized_client",
            ),
            ("error=invalid_scope&state=", "invalid_scope"),
            ("code=c&error=server_error", "server_error"),
            ("error=<script>&error_uri=https://evil.example", "script"),
            ("error=%20", "error"),
        ] {
            let error = AuthorizationResponse::parse(query).unwrap_err();
            assert_eq!(error, AnswerError::ErrorWithoutState { code: told.into() });
            assert_eq!(
                error.to_string(),
                format!("the provider sent the error `{told}` without a `state`")
            );
        }
    }

    #[test]
    fn an_issuer_is_compared_to_the_letter() {
        let from = |query: &str, required| {
            AuthorizationResponse::parse(query)
                .unwrap()
                .is_from(Some("https://a.example"), required)
        };
        assert!(from("code=c&state=s&iss=https://a.example", true));
        assert!(!from("code=c&state=s&iss=https://a.example/", true));
        assert!(!from("code=c&state=s&iss=https://b.example", false));
        assert!(!from("code=c&state=s", true));
        assert!(from("code=c&state=s", false));
    }
}
