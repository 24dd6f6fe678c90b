//! Claims of a token that is known to be the issuer's.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::token_fault::TokenFault;
use crate::model::{Time, UserId, secret};

/// Maximum difference between the issuer's clock and ours.
const CLOCK_LEEWAY: Duration = Duration::from_mins(1);

/// Required audience of a token.
pub(super) struct MeantFor<'a> {
    pub(super) audience: &'a str,
    /// Clients whose tokens need no `aud`.
    pub(super) clients: &'a [String],
}

/// Claims of a token with a valid signature, or of the issuer's own answer.
#[derive(Clone, Debug)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// `exp`.
    pub(super) fn expires_at(&self) -> Option<Time> {
        self.time("exp").ok().flatten()
    }

    /// Checks what an access token must say (RFC 9068 §4): of this issuer, for us, for a subject,
    /// now. `is_known`: something other than its claims proves that it is an access token.
    pub(super) fn check_access(
        &self,
        issuer: &str,
        meant: &MeantFor<'_>,
        is_known: bool,
        now: Time,
    ) -> Result<(), TokenFault> {
        self.check_issuer(issuer)?;
        self.check_audience(meant, is_known)?;
        self.time("exp")?.ok_or(TokenFault::Claim("exp"))?;
        self.check_common(now)
    }

    /// Checks an introspection answer (RFC 7662 §2.2). The issuer may leave out what it has checked
    /// itself, but not the audience: it does not know that we accept no other.
    pub(super) fn check_answer(
        &self,
        issuer: &str,
        meant: &MeantFor<'_>,
        now: Time,
    ) -> Result<(), TokenFault> {
        if self.0.get("active") != Some(&Value::Bool(true)) {
            return Err(TokenFault::Inactive);
        }
        // Refresh tokens and ID tokens are active as well, but are not valid here.
        let kind = self.text("token_type").unwrap_or("Bearer");
        let is_access = ["bearer", "access_token"].iter().any(|it| kind.eq_ignore_ascii_case(it));
        if !is_access || self.is_no_access_token() {
            return Err(TokenFault::NotAccess);
        }
        if self.0.contains_key("iss") {
            self.check_issuer(issuer)?;
        }
        self.check_audience(meant, true)?;
        self.check_common(now)
    }

    /// Checks the audience. A token without `aud` could be for any other server of the issuer,
    /// whose operator could then call here as its bearer. If the operator lists clients, the client
    /// that it was issued to replaces the audience (`client_id`, RFC 9068 §2.2): Cognito's access
    /// tokens have no `aud`.
    fn check_audience(&self, meant: &MeantFor<'_>, is_known: bool) -> Result<(), TokenFault> {
        if self.0.contains_key("aud") {
            let is_ours = self.audiences().contains(&meant.audience);
            return if is_ours { Ok(()) } else { Err(TokenFault::Audience) };
        }
        if meant.clients.is_empty() {
            return Err(TokenFault::NoAudience);
        }
        // Cognito's ID token and access token for one client differ by this claim.
        if !is_known && self.text("token_use") != Some("access") {
            return Err(TokenFault::NotAccess);
        }
        let client = self.text("client_id").ok_or(TokenFault::Claim("client_id"))?;
        if meant.clients.iter().any(|known| known == client) {
            Ok(())
        } else {
            Err(TokenFault::UnknownClient)
        }
    }

    /// Checks an ID token that came for `nonce` (OpenID Connect Core §3.1.3.7).
    pub(super) fn check_identity(
        &self,
        issuer: &str,
        client: &str,
        nonce: &SecretString,
        now: Time,
    ) -> Result<(), TokenFault> {
        self.check_issuer(issuer)?;
        let audiences = self.audiences();
        if !audiences.contains(&client) {
            return Err(TokenFault::Client);
        }
        // Steps 4 and 5: with several audiences, `azp` names the client that received the token.
        match self.0.get("azp") {
            None if audiences.len() > 1 => return Err(TokenFault::Client),
            Some(party) if party.as_str() != Some(client) => return Err(TokenFault::Client),
            None | Some(_) => {}
        }
        self.time("exp")?.ok_or(TokenFault::Claim("exp"))?;
        self.time("iat")?.ok_or(TokenFault::Claim("iat"))?;
        self.check_common(now)?;
        // The token of another browser's sign-in would carry that sign-in's nonce.
        let given = self.text("nonce").ok_or(TokenFault::Nonce)?;
        if secret::same(given, nonce.expose_secret()) { Ok(()) } else { Err(TokenFault::Nonce) }
    }

    /// Whether it has claims that only ID tokens (OpenID Connect Core §2, §3.1.3.6), logout tokens
    /// and other security events (RFC 8417) have.
    pub(super) fn is_no_access_token(&self) -> bool {
        // Keycloak and Cognito name the kind of a token in a claim.
        let others = ["id", "refresh", "offline", "logout", "serialized-id", "registration"];
        let is_other = |claim: &str| {
            self.text(claim).is_some_and(|kind| {
                let kind = kind.to_ascii_lowercase().replace('_', "-");
                others.contains(&kind.strip_suffix("-token").unwrap_or(&kind))
            })
        };
        is_other("typ")
            || is_other("token_use")
            || ["nonce", "at_hash", "c_hash", "events"]
                .iter()
                .any(|name| self.0.contains_key(*name))
    }

    fn check_common(&self, now: Time) -> Result<(), TokenFault> {
        if self.time("exp")?.is_some_and(|end| now >= end.after(CLOCK_LEEWAY)) {
            return Err(TokenFault::Expired);
        }
        for name in ["nbf", "iat"] {
            if self.time(name)?.is_some_and(|start| now < start.before(CLOCK_LEEWAY)) {
                return Err(TokenFault::TooEarly);
            }
        }
        // RFC 9449 §6, RFC 8705 §3.1: a thief of the token could use it as a bearer.
        if self.0.contains_key("cnf") {
            return Err(TokenFault::Bound);
        }
        self.subject().map(|_| ()).ok_or(TokenFault::Claim("sub"))
    }

    /// Compares exactly, like RFC 9207 §2.4 and RFC 8414 §3.3.
    fn check_issuer(&self, issuer: &str) -> Result<(), TokenFault> {
        match self.text("iss") {
            Some(own) if own == issuer => Ok(()),
            Some(_) => Err(TokenFault::Issuer),
            None => Err(TokenFault::Claim("iss")),
        }
    }

    /// Returns the audiences; RFC 7519 §4.1.3 allows one or an array.
    fn audiences(&self) -> Vec<&str> {
        match self.0.get("aud") {
            Some(Value::String(only)) => vec![only],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Reads a NumericDate (RFC 7519 §2), without fractions.
    fn time(&self, name: &'static str) -> Result<Option<Time>, TokenFault> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        #[expect(clippy::cast_possible_truncation, reason = "what is beyond all time is its end")]
        let seconds = number.ok_or(TokenFault::Claim(name))? as i64;
        Ok(Some(Time::from_millis(seconds.saturating_mul(1000))))
    }

    /// Returns the user that `claim` names. Text only: if numbers counted too, `1` and `"1"` would
    /// be one user.
    pub(super) fn user(&self, claim: &str) -> Result<UserId, TokenFault> {
        let user = UserId::parse(self.text(claim).ok_or(TokenFault::NoPerson)?)?;
        // At many issuers users can enter any address, which would make them the user who owns it.
        let is_verified = || match self.0.get("email_verified") {
            Some(Value::Bool(verified)) => *verified,
            // Cognito
            Some(Value::String(verified)) => verified == "true",
            _ => false,
        };
        if claim == "email" && !is_verified() {
            return Err(TokenFault::Unverified);
        }
        Ok(user)
    }

    /// Returns the user's groups: a string or an array of strings. Other values are no groups and
    /// allow nothing.
    pub(super) fn groups(&self, claim: &str) -> BTreeSet<String> {
        match self.0.get(claim) {
            Some(Value::String(only)) => BTreeSet::from([only.clone()]),
            Some(Value::Array(all)) => {
                all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => BTreeSet::new(),
        }
    }
}
