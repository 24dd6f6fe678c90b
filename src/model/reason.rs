//! Stored reasons: why an authorization failed or its last redirect did, how an access was ended at
//! the provider, and why a grant has ended. A face writes the words.
//!
//! Each reason is stored as an object with the field `reason`, e.g. `{"reason":"declined"}`. An
//! earlier version stored the sentence that it showed; it is read as the reason that it names.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why an authorization failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "reason", rename_all = "snake_case")]
pub enum ConsentFailure {
    /// The user declined on our page or in their client.
    Declined,
    /// The user declined at the provider: `access_denied` (RFC 6749 §4.1.2.1).
    DeclinedAtProvider,
    /// The authorization endpoint answered with another error code (RFC 6749 §4.1.2.1).
    ProviderError { code: String },
    /// The token endpoint refuses our client, with this code if it gave one (RFC 6749 §5.2). Only
    /// the operator can change that.
    ClientRefused { code: Option<String> },
    /// A sentence of an earlier version that names no other reason.
    #[serde(untagged)]
    Other(String),
}

/// Why the last redirect to the provider failed, while the link can still be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "reason", rename_all = "snake_case")]
pub enum LinkProblem {
    /// The token endpoint issued no token for the code.
    NoToken {
        /// The failure, as a fragment. It holds no free text of the provider.
        error: String,
        /// Id of the incident, under which the log says more.
        incident: String,
    },
    /// A sentence of an earlier version that names no other reason.
    #[serde(untagged)]
    Other(String),
}

/// Result at the provider of ending an access that its user disconnected on the link's page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "reason", rename_all = "snake_case")]
pub enum RevocationResult {
    /// The provider has ended it.
    Revoked,
    /// The provider has no way to end it, or none that we know.
    NoRevocation,
    /// The provider did not confirm the end.
    NotConfirmed,
    /// No connection to the provider could be made.
    Unreachable,
    /// A pasted key or password, which still works there.
    Pasted,
    /// A sentence of an earlier version that names no other reason.
    #[serde(untagged)]
    Other(String),
}

/// Why a grant has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "reason", rename_all = "snake_case")]
pub enum GrantEnd {
    /// The API refuses the access token, and there is no refresh token.
    AccessTokenRefused,
    /// The token endpoint refused the refresh token.
    RefreshTokenRefused {
        /// Error code (RFC 6749 §5.2); `None` if the provider says it in its own words.
        code: Option<String>,
        /// Set if the refresh token was sent before and the answer is not known.
        lost: Option<LostAnswer>,
    },
    /// A sentence of an earlier version that names no other reason.
    #[serde(untagged)]
    Other(String),
}

/// Why the answer to an earlier renewal is not known. The provider may have rotated the refresh
/// token then, and take its second use for a theft (RFC 9700 §4.14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostAnswer {
    InTransit,
    /// The process ended before it had stored the answer.
    ProcessEnded,
}

impl ConsentFailure {
    /// Whether the user refused, here or at the provider.
    pub fn is_by_user(&self) -> bool {
        match self {
            Self::Declined | Self::DeclinedAtProvider => true,
            Self::ProviderError { .. } | Self::ClientRefused { .. } | Self::Other(_) => false,
        }
    }

    fn named_by(sentence: &str) -> Option<Self> {
        match sentence {
            "You said no." => return Some(Self::Declined),
            "You said no at the provider." => return Some(Self::DeclinedAtProvider),
            _ => {}
        }
        if let Some(code) = between(sentence, "The provider answered: ", ".") {
            return Some(Self::ProviderError { code: code.to_owned() });
        }
        let (title, rest) = sentence.split_once(" does not accept this server's app")?;
        let (code, advice) = rest.split_once('.')?;
        let code = match code {
            "" => None,
            code => Some(between(code, " (`", "`)")?.to_owned()),
        };
        let named = between(
            advice,
            " The operator of this server must check the app's client_id, client_secret and redirect URI at ",
            ".",
        )?;
        (named == title).then_some(Self::ClientRefused { code })
    }
}

impl LinkProblem {
    fn named_by(sentence: &str) -> Option<Self> {
        let (_, rest) = sentence.split_once(" handed out no token: ")?;
        let end = "`). Nothing was connected, and nothing is wrong with what you did. Try again.";
        let (error, incident) = rest.strip_suffix(end)?.rsplit_once(" (incident `")?;
        Some(Self::NoToken { error: error.to_owned(), incident: incident.to_owned() })
    }
}

impl RevocationResult {
    fn named_by(sentence: &str) -> Option<Self> {
        let is = |start, end| between(sentence, start, end).is_some();
        if is("", " has ended the access.") {
            Some(Self::Revoked)
        } else if is("It is forgotten here. ", ": remove it in your account's settings.") {
            Some(Self::NoRevocation)
        } else if is("It is forgotten here, but ", ": look into your account's settings there.") {
            Some(Self::NotConfirmed)
        } else if is("What you pasted is deleted here. ", "; delete it there too.") {
            Some(Self::Pasted)
        } else {
            None
        }
    }
}

impl GrantEnd {
    fn named_by(sentence: &str) -> Option<Self> {
        if sentence == "the API refuses the access token" {
            return Some(Self::AccessTokenRefused);
        }
        let (lost, answer) = match sentence.split_once(", and to the next try ") {
            None => (None, sentence),
            Some(("an answer to a renewal was lost", answer)) => {
                (Some(LostAnswer::InTransit), answer)
            }
            Some((
                "a process ended in the middle of a renewal, before its answer was kept",
                answer,
            )) => (Some(LostAnswer::ProcessEnded), answer),
            Some(_) => return None,
        };
        let code = match answer.strip_prefix("the authorization server answered ")? {
            "that the refresh token is not valid any more" => None,
            code => Some(between(code, "`", "`")?.to_owned()),
        };
        Some(Self::RefreshTokenRefused { code, lost })
    }
}

/// Returns the text between `start` and `end`; `None` if `text` does not begin and end so.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.strip_suffix(end)
}

/// Reads the sentence of an earlier version as the reason that it names.
macro_rules! stored_reasons {
    ($($reason:ident),*) => {$(
        impl Serialize for $reason {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, to)
            }
        }

        impl<'de> Deserialize<'de> for $reason {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(match Self::deserialize(from)? {
                    Self::Other(sentence) => {
                        Self::named_by(&sentence).unwrap_or(Self::Other(sentence))
                    }
                    reason => reason,
                })
            }
        }
    )*};
}

stored_reasons!(ConsentFailure, LinkProblem, RevocationResult, GrantEnd);

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: for<'de> Deserialize<'de>>(stored: &str) -> T {
        serde_json::from_str(stored).unwrap()
    }

    #[test]
    fn a_reason_is_stored_as_an_object() {
        let failure = ConsentFailure::ProviderError { code: "server_error".into() };
        let stored = r#"{"reason":"provider_error","code":"server_error"}"#;
        assert_eq!(serde_json::to_string(&failure).unwrap(), stored);
        assert_eq!(read::<ConsentFailure>(stored), failure);
        let end = GrantEnd::RefreshTokenRefused { code: None, lost: Some(LostAnswer::InTransit) };
        let stored = r#"{"reason":"refresh_token_refused","code":null,"lost":"in_transit"}"#;
        assert_eq!(serde_json::to_string(&end).unwrap(), stored);
        assert_eq!(read::<GrantEnd>(stored), end);
    }

    #[test]
    fn a_sentence_that_names_no_reason_stays_as_it_is() {
        for sentence in [
            "\"The provider answered:\"",
            "\"declined\"",
            "\"Acme does not accept this server's app. Ask Eve.\"",
        ] {
            let failure: ConsentFailure = read(sentence);
            assert!(matches!(failure, ConsentFailure::Other(_)), "{failure:?}");
            assert_eq!(serde_json::to_string(&failure).unwrap(), sentence);
        }
        for sentence in ["\"the authorization server answered\"", "\"Acme is closed\""] {
            let end: GrantEnd = read(sentence);
            assert!(matches!(end, GrantEnd::Other(_)), "{end:?}");
            assert_eq!(serde_json::to_string(&end).unwrap(), sentence);
        }
        let result: RevocationResult = read("\"Acme is closed.\"");
        assert_eq!(result, RevocationResult::Other("Acme is closed.".into()));
    }

    #[test]
    fn an_unknown_reason_is_an_error() {
        assert!(serde_json::from_str::<GrantEnd>(r#"{"reason":"eclipse"}"#).is_err());
    }
}
