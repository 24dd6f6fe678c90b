//! Versioned records: the plaintext inside a seal.
//!
//! Every record is JSON, `{"v": <version>, "d": <data>, "of": <caller>}`. A record of an unknown
//! version is an error and stays untouched, so that an older binary on a newer folder loses no
//! data. A record that an older binary can read keeps the older version, see [`Record::version`].
//! `of` names the record's user, because keys hold users only as hashes. Records of earlier
//! versions lack it, and earlier versions ignore it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::backend::Key;
use super::run_record::{RunDocument, RunRecord};
use crate::model::authorization::State;
use crate::model::deposit::TokenClaim;
use crate::model::disconnection::Disconnection;
use crate::model::grant::Used;
use crate::model::nesting::nesting;
use crate::model::once::Once;
use crate::model::reason::{ConsentFailure, GrantEnd, LinkProblem, RevocationResult};
use crate::model::rest_provider::RestProvider;
use crate::model::rest_secret::RestSecret;
use crate::model::run::{EndUserFacts, Memory, ReportedCall, StoredPlan};
use crate::model::scheduled::ScheduledCall;
use crate::model::webhook_queue::WebhookQueue;
use crate::model::{
    Authorization, AuthorizationAttempt, CallConfirmation, Caller, Grant, LoginAttempt, RunNeeds,
    Session, Unclaimed, Unconfirmed, Verification,
};

/// A type of record that the store keeps.
pub trait Record: Serialize + DeserializeOwned {
    /// Name for error messages and the log.
    const NAME: &'static str;
    /// Newest version that this build reads.
    const VERSION: u32;

    /// Version to write this record with: the oldest that can express it, so that an older binary
    /// on the same folder keeps reading all other records.
    fn version(&self) -> u32 {
        Self::VERSION
    }
}

impl Record for Grant {
    const NAME: &'static str = "grant";
    const VERSION: u32 = 2;

    fn version(&self) -> u32 {
        match &self.ended {
            // A reason of version 1 is a sentence.
            None | Some(GrantEnd::Other(_)) => 1,
            Some(GrantEnd::AccessTokenRefused | GrantEnd::RefreshTokenRefused { .. }) => 2,
        }
    }
}

impl Record for Used {
    const NAME: &'static str = "use of a grant";
    const VERSION: u32 = 1;
}

impl Record for Authorization {
    const NAME: &'static str = "authorization";
    const VERSION: u32 = 2;

    fn version(&self) -> u32 {
        // A reason of version 1 is a sentence.
        match self.state() {
            State::Pending { problem: None | Some(LinkProblem::Other(_)) }
            | State::OtherAccount { .. }
            | State::Completed(_)
            | State::PreviousAccountKept(_)
            | State::Failed { why: ConsentFailure::Other(_), .. }
            | State::Undone { result: RevocationResult::Other(_), .. } => 1,
            State::Pending { problem: Some(LinkProblem::NoToken { .. }) }
            | State::Failed { .. }
            | State::Undone { .. } => 2,
        }
    }
}

impl Record for Unclaimed {
    const NAME: &'static str = "unclaimed consent";
    const VERSION: u32 = 2;

    fn version(&self) -> u32 {
        self.authorization.version().max(self.grant.version())
    }
}

impl Record for Unconfirmed {
    const NAME: &'static str = "unconfirmed consent";
    const VERSION: u32 = 1;
}

impl Record for Verification {
    const NAME: &'static str = "browser at an application";
    const VERSION: u32 = 1;
}

impl Record for AuthorizationAttempt {
    const NAME: &'static str = "started authorization";
    const VERSION: u32 = 2;

    fn version(&self) -> u32 {
        self.authorization.version()
    }
}

impl Record for Session {
    const NAME: &'static str = "session";
    const VERSION: u32 = 1;
}

impl Record for LoginAttempt {
    const NAME: &'static str = "started sign-in";
    const VERSION: u32 = 1;
}

impl Record for CallConfirmation {
    const NAME: &'static str = "confirmation of a call";
    const VERSION: u32 = 1;
}

impl Record for RunNeeds {
    const NAME: &'static str = "needs of a plan run";
    const VERSION: u32 = 1;
}

impl Record for RestSecret {
    const NAME: &'static str = "secret of an application";
    const VERSION: u32 = 1;
}

impl Record for RestProvider {
    const NAME: &'static str = "provider of an application";
    const VERSION: u32 = 1;
}

impl Record for Once {
    const NAME: &'static str = "call with a key";
    const VERSION: u32 = 1;
}

/// The key of a ticket's authorization.
#[derive(Serialize, Deserialize)]
pub(super) struct Pointer {
    pub(super) to: String,
    pub(super) expires_at: crate::model::Time,
    /// See [`Authorization::unclaimed_since`].
    #[serde(default)]
    pub(super) unclaimed_since: Option<crate::model::Time>,
}

impl Record for Pointer {
    const NAME: &'static str = "ticket";
    const VERSION: u32 = 1;
}

/// Time at which all access of a user was ended: consents begun before it are not kept.
#[derive(Serialize, Deserialize)]
pub struct Cutoff {
    pub(super) at: crate::model::Time,
}

impl Record for Cutoff {
    const NAME: &'static str = "cutoff";
    const VERSION: u32 = 1;
}

impl Record for TokenClaim {
    const NAME: &'static str = "deposited token";
    const VERSION: u32 = 1;
}

impl Record for Disconnection {
    const NAME: &'static str = "end of a connection";
    const VERSION: u32 = 1;
}

impl Record for StoredPlan {
    const NAME: &'static str = "plan";
    const VERSION: u32 = 1;
}

impl Record for RunRecord {
    const NAME: &'static str = "run of a plan";
    const VERSION: u32 = 2;

    fn version(&self) -> u32 {
        // Version 1 has every document within.
        if self.document.is_some() { 1 } else { 2 }
    }
}

impl Record for RunDocument {
    const NAME: &'static str = "document of a run";
    const VERSION: u32 = 1;
}

impl Record for Memory {
    const NAME: &'static str = "output of a run";
    const VERSION: u32 = 1;
}

impl Record for ReportedCall {
    const NAME: &'static str = "reported tool call";
    const VERSION: u32 = 1;
}

impl Record for EndUserFacts {
    const NAME: &'static str = "facts of an end user";
    const VERSION: u32 = 1;
}

impl Record for ScheduledCall {
    const NAME: &'static str = "scheduled call";
    const VERSION: u32 = 1;
}

impl Record for WebhookQueue {
    const NAME: &'static str = "queue of a webhook";
    const VERSION: u32 = 1;
}

/// A kind of record, stored under one key prefix.
pub(super) struct Kind {
    pub(super) prefix: &'static str,
    pub(super) check: fn(&[u8]) -> Result<(), RecordError>,
}

/// Every kind of record, for a check of the whole store.
pub(super) const KINDS: &[Kind] = &[
    Kind::of::<Grant>("grant/"),
    Kind::of::<Used>("used/"),
    Kind::of::<Authorization>("authorization/"),
    Kind::of::<Pointer>("ticket/"),
    Kind::of::<AuthorizationAttempt>("state/"),
    Kind::of::<Unconfirmed>("unconfirmed/"),
    Kind::of::<Unclaimed>("unclaimed/"),
    Kind::of::<Verification>("verification/"),
    Kind::of::<Session>("session/"),
    Kind::of::<LoginAttempt>("signin/"),
    Kind::of::<Cutoff>("cutoff/"),
    Kind::of::<TokenClaim>("deposited/"),
    Kind::of::<Disconnection>("disconnected/"),
    Kind::of::<StoredPlan>("plan/"),
    Kind::of::<RunRecord>("planrun/"),
    Kind::of::<RunDocument>("rundocument/"),
    Kind::of::<Memory>("memory/"),
    Kind::of::<ReportedCall>("toolcall/"),
    Kind::of::<EndUserFacts>("person/"),
    Kind::of::<CallConfirmation>("confirmation/"),
    Kind::of::<RunNeeds>("needs/"),
    Kind::of::<Once>("once/"),
    Kind::of::<RestSecret>("restsecret/"),
    Kind::of::<RestProvider>("restprovider/"),
    Kind::of::<ScheduledCall>("scheduled/"),
    Kind::of::<WebhookQueue>("webhook/"),
];

impl Kind {
    const fn of<T: Record>(prefix: &'static str) -> Self {
        Self { prefix, check: check::<T> }
    }
}

fn check<T: Record>(plain: &[u8]) -> Result<(), RecordError> {
    decode::<T>(plain).map(drop)
}

/// Failure to encode or decode a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(
        "a {name} record was written by a newer Countersign (format {found}, this one knows {known})"
    )]
    TooNew { name: &'static str, found: u32, known: u32 },
    #[error("a {0} record is not readable")]
    Malformed(&'static str),
    #[error("a {0} record is nested too deeply to be read again")]
    TooDeep(&'static str),
}

/// Levels of JSON that a record may have; `serde_json` reads 128.
const MAX_NESTING: usize = 126;

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    d: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'a Caller>,
}

#[derive(Deserialize)]
struct Read<T> {
    v: u32,
    d: T,
    #[serde(default = "none")]
    of: Option<Caller>,
}

fn none() -> Option<Caller> {
    None
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

pub(super) fn encode<T: Record>(
    record: &T,
    of: Option<&Caller>,
) -> Result<Zeroizing<Vec<u8>>, RecordError> {
    let plain = serde_json::to_vec(&Written { v: record.version(), d: record, of })
        .map(Zeroizing::new)
        .map_err(|_| RecordError::Malformed(T::NAME))?;
    // A record that is never read again stays for ever, and ends walks over all records of a user.
    if nesting(&plain) > MAX_NESTING {
        return Err(RecordError::TooDeep(T::NAME));
    }
    Ok(plain)
}

pub(super) fn decode<T: Record>(plain: &[u8]) -> Result<T, RecordError> {
    decode_owned(plain).map(|(record, _)| record)
}

/// Returns the record, and its user if it names one.
pub(super) fn decode_owned<T: Record>(plain: &[u8]) -> Result<(T, Option<Caller>), RecordError> {
    match serde_json::from_slice::<Read<T>>(plain) {
        Ok(read) if read.v <= T::VERSION => Ok((read.d, read.of)),
        // A newer record may have another shape; its version tells.
        _ => match serde_json::from_slice::<Version>(plain) {
            Ok(Version { v: found }) if found > T::VERSION => {
                Err(RecordError::TooNew { name: T::NAME, found, known: T::VERSION })
            }
            _ => Err(RecordError::Malformed(T::NAME)),
        },
    }
}

/// Returns a key without its user: kind and provider, no hash, e.g. `grant/…/github`.
pub(super) fn key_without_owner(key: &Key) -> String {
    let mut parts = key.as_str().split('/');
    let kind = parts.next().unwrap_or_default();
    match parts.nth(1) {
        // A hash of the run follows, and no provider.
        _ if kind == "needs" => format!("{kind}/…"),
        Some(provider) => format!("{kind}/…/{provider}"),
        None => format!("{kind}/…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;
    use crate::model::authorization::Connected;

    #[test]
    fn a_record_has_the_oldest_version_that_can_express_it() {
        let pending = || super::super::tests::authorization("ana");
        let now = Time::from_millis(1);
        let failed = |why| pending().fail(why, None, now).unwrap();
        let completed = || pending().complete(Connected::default(), now).unwrap();
        let asked = |from: Authorization| {
            from.ask_about_account("ana@example.com".into(), super::super::tests::grant("a"), now)
        };
        let problem = LinkProblem::NoToken { error: "no".into(), incident: "i".into() };
        for (authorization, version) in [
            (pending(), 1),
            (pending().note_problem(LinkProblem::Other("No.".into())).unwrap(), 1),
            (pending().note_problem(problem).unwrap(), 2),
            (asked(pending()).unwrap().keep_previous_account(now).unwrap(), 1),
            (failed(ConsentFailure::Other("No.".into())), 1),
            (failed(ConsentFailure::Declined), 2),
            (completed(), 1),
            (completed().undo(RevocationResult::Revoked).unwrap(), 2),
        ] {
            let plain = encode(&authorization, None).unwrap();
            assert_eq!(serde_json::from_slice::<Version>(&plain).unwrap().v, version);
        }
        let grant = super::super::tests::grant("access");
        let written = |grant: &Grant| {
            serde_json::from_slice::<Version>(&encode(grant, None).unwrap()).unwrap().v
        };
        assert_eq!(written(&grant), 1);
        assert_eq!(written(&grant.ended(GrantEnd::AccessTokenRefused, Time::from_millis(1))), 2);
    }

    #[test]
    fn a_newer_version_is_an_error_and_not_a_loss() {
        let newer = br#"{"v":2,"d":{"something":"else"}}"#;
        let found = decode::<Pointer>(newer);
        assert!(matches!(found, Err(RecordError::TooNew { found: 2, known: 1, .. })));
        let pointer =
            Pointer { to: "x".into(), expires_at: Time::from_millis(1), unclaimed_since: None };
        assert_eq!(decode::<Pointer>(&encode(&pointer, None).unwrap()).unwrap().to, "x");
        assert!(matches!(decode::<Pointer>(b"{}"), Err(RecordError::Malformed("ticket"))));
        let ana = Caller::local(crate::model::UserId::new("ana"));
        let plain = encode(&pointer, Some(&ana)).unwrap();
        assert_eq!(decode::<Pointer>(&plain).unwrap().to, "x");
        assert_eq!(decode_owned::<Pointer>(&plain).unwrap().1, Some(ana));
        let plain = encode(&pointer, None).unwrap();
        assert_eq!(decode_owned::<Pointer>(&plain).unwrap().1, None);
    }
}
