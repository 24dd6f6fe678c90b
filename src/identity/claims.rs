//! What a token claims, once it is known to be the issuer's.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::denied::TokenFault;
use crate::model::{Time, UserId, secret};

/// How far the issuer's clock may be from ours.
const LEEWAY: Duration = Duration::from_mins(1);

/// Whom a token must be for.
pub(super) struct MeantFor<'a> {
    pub(super) audience: &'a str,
    /// Clients whose tokens need no `aud`.
    pub(super) clients: &'a [String],
}

/// Claims of a token whose signature was good, or that the issuer itself answered with.
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
    /// now. `is_known` says that something else than its claims makes it an access token.
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
    /// itself, but not whom the token is for: it does not know that we take no others.
    pub(super) fn check_answer(
        &self,
        issuer: &str,
        meant: &MeantFor<'_>,
        now: Time,
    ) -> Result<(), TokenFault> {
        if self.0.get("active") != Some(&Value::Bool(true)) {
            return Err(TokenFault::Inactive);
        }
        // A refresh token and an ID token are active as well, and are not presented here.
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

    /// A token without `aud` could be one for any other server of the issuer, whose operator could then
    /// call here as its bearer. Where the operator lists clients, the client that it was issued to
    /// stands for the audience (`client_id`, RFC 9068 §2.2): Cognito's access tokens have no `aud`.
    fn check_audience(&self, meant: &MeantFor<'_>, is_known: bool) -> Result<(), TokenFault> {
        if self.0.contains_key("aud") {
            let is_ours = self.audiences().contains(&meant.audience);
            return if is_ours { Ok(()) } else { Err(TokenFault::Audience) };
        }
        if meant.clients.is_empty() {
            return Err(TokenFault::NoAudience);
        }
        // Of Cognito's tokens for one client, the ID token differs by this claim.
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
        // Steps 4 and 5: for several, the one that it was given to is named.
        match self.0.get("azp") {
            None if audiences.len() > 1 => return Err(TokenFault::Client),
            Some(party) if party.as_str() != Some(client) => return Err(TokenFault::Client),
            None | Some(_) => {}
        }
        self.time("exp")?.ok_or(TokenFault::Claim("exp"))?;
        self.time("iat")?.ok_or(TokenFault::Claim("iat"))?;
        self.check_common(now)?;
        // Another browser's sign-in would carry that one's nonce.
        let given = self.text("nonce").ok_or(TokenFault::Nonce)?;
        if secret::same(given, nonce.expose_secret()) { Ok(()) } else { Err(TokenFault::Nonce) }
    }

    /// Whether it has what only ID tokens (OpenID Connect Core §2, §3.1.3.6), logout tokens and other
    /// security events (RFC 8417) have.
    pub(super) fn is_no_access_token(&self) -> bool {
        // Keycloak and Cognito tell their kinds apart by a claim.
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
        if self.time("exp")?.is_some_and(|end| now >= end.after(LEEWAY)) {
            return Err(TokenFault::Expired);
        }
        for name in ["nbf", "iat"] {
            if self.time(name)?.is_some_and(|start| now < start.before(LEEWAY)) {
                return Err(TokenFault::TooEarly);
            }
        }
        // RFC 9449 §6, RFC 8705 §3.1: whoever copied it could use it as a bearer.
        if self.0.contains_key("cnf") {
            return Err(TokenFault::Bound);
        }
        self.subject().map(|_| ()).ok_or(TokenFault::Claim("sub"))
    }

    /// RFC 9207 §2.4 and RFC 8414 §3.3 compare to the letter, and so do we.
    fn check_issuer(&self, issuer: &str) -> Result<(), TokenFault> {
        match self.text("iss") {
            Some(own) if own == issuer => Ok(()),
            Some(_) => Err(TokenFault::Issuer),
            None => Err(TokenFault::Claim("iss")),
        }
    }

    /// RFC 7519 §4.1.3: one, or an array.
    fn audiences(&self) -> Vec<&str> {
        match self.0.get("aud") {
            Some(Value::String(only)) => vec![only],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// A NumericDate (RFC 7519 §2), fractions left off.
    fn time(&self, name: &'static str) -> Result<Option<Time>, TokenFault> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        #[expect(clippy::cast_possible_truncation, reason = "what is beyond all time is its end")]
        let seconds = number.ok_or(TokenFault::Claim(name))? as i64;
        Ok(Some(Time::from_millis(seconds.saturating_mul(1000))))
    }

    /// The person that `claim` names. Text only: were a number taken too, `1` and `"1"` would be one
    /// person.
    pub(super) fn user(&self, claim: &str) -> Result<UserId, TokenFault> {
        let user = UserId::parse(self.text(claim).ok_or(TokenFault::NoPerson)?)?;
        // At many issuers people write down any address they like, which would make them whoever
        // has it.
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

    /// What the person belongs to: a text or an array of texts. Anything else is no group, which
    /// allows nothing.
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
