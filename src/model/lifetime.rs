//! How long a user's access lasts: its known end, why it has ended, and what can be done about
//! that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reason::{GrantEnd, LostAnswer};
use super::refresh_life::{LifeFrom, RefreshLife};
use super::retention::Retention;
use super::scope::OFFLINE_ACCESS;
use super::text::shown;
use super::time::moment;
use super::{Grant, Time};

/// Known future end of a user's access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownEnd {
    pub at: Time,
    pub why: EndReason,
}

/// Why access ends, or has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The access token expires, and there is no refresh token (RFC 6749 §5.1).
    NoRefreshToken(Advice),
    /// The access token expires, and no refresh token is kept, as the user agreed.
    NotKept,
    /// The refresh token expires at the time that the provider stated (`refresh_token_expires_in`).
    RefreshTokenLife,
    /// A documented rule. `is_certain`: it always holds, or the provider's own answer agrees with
    /// it.
    Rule { life: RefreshLife, is_certain: bool },
    /// The provider or its API has refused the credential.
    Refused(GrantEnd),
    /// The provider keeps refusing to renew the access, and does not say why.
    RenewalRefused,
}

/// How to get a refresh token the next time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Ask for [`OFFLINE_ACCESS`].
    AskForOfflineAccess,
    /// The scope was requested and not granted.
    OfflineAccessNotGranted,
    /// How long this provider's tokens live, in the catalogue's words.
    Facts(String),
}

/// Known facts about a provider's tokens before it issues any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    pub refresh_life: Option<RefreshLife>,
    /// How long tokens live, in whole sentences.
    pub words: Option<String>,
}

/// Maximum difference between an end that a provider states and the end by its rule; within it, the
/// two agree.
const END_TOLERANCE: Duration = Duration::from_hours(1);
/// Maximum characters of a reason that may come from outside; the rest is cut.
const MAX_REASON_CHARS: usize = 300;
/// [`EndReason::RenewalRefused`] as a fragment.
const RENEWAL_REFUSED: &str = "it refuses to renew the access, and does not say why";

impl RefreshLife {
    fn span(&self) -> Duration {
        Duration::from_hours(24) * self.days
    }

    fn end(&self, grant: &Grant) -> Time {
        match self.from {
            LifeFrom::Consent => grant.connected_at.after(self.span()),
            LifeFrom::Renewal => grant.tokens.received_at.after(self.span()),
        }
    }
}

impl Grant {
    /// Returns the known end of this grant; `None` if the grant has ended or no end is known.
    pub fn known_end(&self, facts: &TokenFacts, now: Time) -> Option<KnownEnd> {
        if self.ended.is_some() {
            return None;
        }
        let tokens = &self.tokens;
        if tokens.refresh.is_none() {
            return Some(KnownEnd { at: tokens.expires_at?, why: self.without_refresh(facts) });
        }
        let life = facts.refresh_life.as_ref();
        let (at, why) = match (tokens.refresh_expires_at, life) {
            (Some(said), Some(life)) if is_near(said, life.end(self)) => {
                (said, EndReason::Rule { life: life.clone(), is_certain: true })
            }
            (Some(said), _) => (said, EndReason::RefreshTokenLife),
            (None, Some(life)) => {
                let is_certain = life.when.is_none();
                (life.end(self), EndReason::Rule { life: life.clone(), is_certain })
            }
            (None, None) => return None,
        };
        // The grant has outlived that end, so the rule's condition does not apply.
        let is_over = matches!(why, EndReason::Rule { is_certain: false, .. }) && at <= now;
        (!is_over).then_some(KnownEnd { at, why })
    }

    /// Returns since when and why this grant is unusable.
    pub fn past_end(&self, facts: &TokenFacts) -> (Option<Time>, EndReason) {
        let Some(why) = &self.ended else {
            if self.tokens.refresh.is_some() {
                return (None, EndReason::RenewalRefused);
            }
            return (self.tokens.expires_at, self.without_refresh(facts));
        };
        let is_after = |end: Time| self.ended_at.is_some_and(|at| at.after(END_TOLERANCE) >= end);
        if let Some(life) = &facts.refresh_life {
            let end = life.end(self);
            // A renewal after that end shows that the rule's condition does not apply.
            if is_after(end) && self.tokens.received_at < end {
                return (Some(end), EndReason::Rule { life: life.clone(), is_certain: true });
            }
        }
        match self.tokens.refresh_expires_at {
            Some(end) if is_after(end) => (Some(end), EndReason::RefreshTokenLife),
            _ => (self.ended_at, EndReason::Refused(why.clone())),
        }
    }

    fn without_refresh(&self, facts: &TokenFacts) -> EndReason {
        if self.retention != Retention::Refresh {
            return EndReason::NotKept;
        }
        EndReason::NoRefreshToken(match &facts.words {
            _ if self.ungranted.contains(OFFLINE_ACCESS) => Advice::OfflineAccessNotGranted,
            Some(words) => Advice::Facts(words.clone()),
            None => Advice::AskForOfflineAccess,
        })
    }
}

fn is_near(one: Time, other: Time) -> bool {
    one.since(other) <= END_TOLERANCE && other.since(one) <= END_TOLERANCE
}

impl KnownEnd {
    /// Returns the advance notice for the user, in whole sentences. `title` is the provider's.
    pub fn words(&self, title: &str, now: Time) -> String {
        let at = moment(self.at, now);
        match &self.why {
            EndReason::NoRefreshToken(advice) => {
                format!("{title} gave no refresh token; access ends {at}. {}", advice.words())
            }
            EndReason::NotKept => {
                format!("The access ends {at}; nothing is kept to renew it with.")
            }
            EndReason::RefreshTokenLife => {
                format!(
                    "{title} gave a refresh token that ends {at}; if no newer one comes, you are asked again then."
                )
            }
            EndReason::Rule { life, is_certain } => {
                let days = life.days;
                let what = match life.from {
                    LifeFrom::Consent => {
                        format!("{title} ends this access {days} days after your consent: {at}.")
                    }
                    LifeFrom::Renewal => {
                        format!(
                            "{title} ends this access when it is not used for {days} days ({at}, if never used again)."
                        )
                    }
                };
                match (&life.when, is_certain) {
                    (Some(when), false) => format!("If {when}: {what}{}", life.advice()),
                    (Some(when), true) => format!("{what} The reason: {when}.{}", life.advice()),
                    (None, _) => format!("{what}{}", life.advice()),
                }
            }
            EndReason::Refused(why) => format!("The access ends: {}.", why.words()),
            EndReason::RenewalRefused => format!("The access ends: {RENEWAL_REFUSED}."),
        }
    }

    /// Whether access that was given for more than a day ends within a day.
    pub fn is_soon(&self, connected_at: Time, now: Time) -> bool {
        const DAY: Duration = Duration::from_hours(24);
        self.at > now && self.at.since(now) <= DAY && self.at.since(connected_at) > DAY
    }
}

impl RefreshLife {
    fn advice(&self) -> String {
        self.remedy
            .as_ref()
            .map(|remedy| format!(" To keep it longer, {remedy}."))
            .unwrap_or_default()
    }
}

impl Advice {
    fn words(&self) -> String {
        match self {
            Self::AskForOfflineAccess => {
                format!("Most issuers give one with the scope `{OFFLINE_ACCESS}`.")
            }
            Self::OfflineAccessNotGranted => {
                format!("The scope `{OFFLINE_ACCESS}` was asked for and not granted.")
            }
            Self::Facts(words) => words.clone(),
        }
    }
}

impl EndReason {
    /// Returns the notice after the end, as a fragment:
    /// `expired 14:58 UTC; Acme gave no refresh token`.
    pub fn past_words(&self, title: &str, at: Option<Time>, now: Time) -> String {
        let at = at.map(|at| format!(" {}", moment(at, now))).unwrap_or_default();
        match self {
            Self::NoRefreshToken(_) => format!("expired{at}; {title} gave no refresh token"),
            Self::NotKept => format!("expired{at}; nothing was kept to renew it with"),
            Self::RefreshTokenLife => {
                format!("expired{at}; {title}'s refresh token lasted until then")
            }
            Self::Rule { life, .. } => {
                let days = life.days;
                let mut words = match life.from {
                    LifeFrom::Consent => {
                        format!("ended{at}: {title} ends access {days} days after the consent")
                    }
                    LifeFrom::Renewal => {
                        format!("ended{at}: {title} ends access that is not used for {days} days")
                    }
                };
                if let Some(when) = &life.when {
                    words = format!("{words} if {when}");
                }
                match &life.remedy {
                    Some(remedy) => format!("{words}; to keep it longer, {remedy}"),
                    None => words,
                }
            }
            Self::Refused(why) => format!("ended: {}", shown(&why.words(), MAX_REASON_CHARS)),
            Self::RenewalRefused => format!("ended: {RENEWAL_REFUSED}"),
        }
    }
}

impl GrantEnd {
    /// Returns the reason as a fragment.
    fn words(&self) -> String {
        let (code, lost) = match self {
            Self::AccessTokenRefused => return "the API refuses the access token".into(),
            Self::RefreshTokenRefused { code, lost } => (code, lost),
            Self::Other(sentence) => return sentence.clone(),
        };
        let answer = match code {
            Some(code) => format!("the authorization server answered `{code}`"),
            None => {
                "the authorization server answered that the refresh token is not valid any more"
                    .into()
            }
        };
        match lost {
            None => answer,
            Some(LostAnswer::InTransit) => {
                format!("an answer to a renewal was lost, and to the next try {answer}")
            }
            Some(LostAnswer::ProcessEnded) => format!(
                "a process ended in the middle of a renewal, before its answer was kept, and to the next try {answer}"
            ),
        }
    }
}
