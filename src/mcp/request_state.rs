//! The `requestState` of a multi round-trip request (MCP 2026-07-28, basic/patterns/mrtr).
//!
//! It comes back through the client, so an attacker can change it: it is signed, expires, and is
//! bound to the caller, the tool and the arguments. It proves only which authorization this call
//! waits for; the store tells whether that is granted.

use rmcp::model::{RequestStateCodec, RequestStateError, SealOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::model::authorization::{AuthorizationName, LINK_LIFETIME};
use crate::model::{Caller, Time};

/// The call that a state is made for. The state opens for no call that differs in any of these.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) caller: &'a Caller,
    pub(super) tool: &'a str,
    pub(super) arguments: Option<&'a Map<String, Value>>,
}

/// Data kept between two rounds. Not secret: the state is signed, not encrypted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    #[serde(rename = "a")]
    pub(super) authorization: AuthorizationName,
    #[serde(rename = "r")]
    pub(super) round: u32,
    /// When the question was sent; `None` in states of versions that did not write it.
    #[serde(rename = "t", default)]
    pub(super) asked_at: Option<Time>,
}

pub(super) fn seal(
    codec: &RequestStateCodec,
    waiting: &Waiting,
    context: &Context<'_>,
) -> Result<String, RequestStateError> {
    let bound = context.digest();
    codec.seal_json_with(waiting, &SealOptions::new().associated_data(&bound).ttl(LINK_LIFETIME))
}

pub(super) fn open(
    codec: &RequestStateCodec,
    state: &str,
    context: &Context<'_>,
) -> Result<Waiting, RequestStateError> {
    codec.open_json_with(state, &context.digest())
}

impl Context<'_> {
    fn digest(&self) -> Vec<u8> {
        let mut digest = Sha256::new();
        let mut part = |text: &str| {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        };
        part("tools/call");
        part(&self.caller.namespace);
        part(self.caller.user.as_str());
        part(self.tool);
        part(&canonical(self.arguments));
        digest.finalize().to_vec()
    }
}

/// Returns JSON with sorted keys: a client may write the same arguments in another order.
fn canonical(arguments: Option<&Map<String, Value>>) -> String {
    let mut sorted = Value::Object(arguments.cloned().unwrap_or_default());
    sorted.sort_all_objects();
    sorted.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{AccountName, ProviderId, UserId};

    fn codec() -> RequestStateCodec {
        RequestStateCodec::try_new([7; 32]).unwrap()
    }

    fn waiting() -> Waiting {
        let authorization = AuthorizationName {
            provider: ProviderId::new("acme"),
            account: AccountName::default(),
            id: "a".into(),
        };
        Waiting { authorization, round: 1, asked_at: Some(Time::from_millis(5)) }
    }

    #[test]
    fn a_state_opens_for_the_call_it_was_made_for_and_no_other() {
        let (ana, bob) = (Caller::local(UserId::new("ana")), Caller::local(UserId::new("bob")));
        let arguments = |value: Value| value.as_object().cloned();
        let made_for = arguments(json!({"id": 1, "tag": "x"}));
        let context = Context { caller: &ana, tool: "read", arguments: made_for.as_ref() };
        let state = seal(&codec(), &waiting(), &context).unwrap();
        assert_eq!(open(&codec(), &state, &context).unwrap(), waiting());

        let reordered = arguments(json!({"tag": "x", "id": 1}));
        let same = Context { arguments: reordered.as_ref(), ..context };
        assert!(open(&codec(), &state, &same).is_ok());

        let other = arguments(json!({"id": 2, "tag": "x"}));
        for wrong in [
            Context { caller: &bob, ..same },
            Context { tool: "write", ..same },
            Context { arguments: other.as_ref(), ..same },
            Context { arguments: None, ..same },
        ] {
            assert!(open(&codec(), &state, &wrong).is_err());
        }
    }

    #[test]
    fn a_state_of_a_version_that_wrote_no_time_opens() {
        let ana = Caller::local(UserId::new("ana"));
        let context = Context { caller: &ana, tool: "read", arguments: None };
        let earlier = json!({ "a": waiting().authorization, "r": 1 });
        let bound = context.digest();
        let options = SealOptions::new().associated_data(&bound).ttl(LINK_LIFETIME);
        let state = codec().seal_json_with(&earlier, &options).unwrap();
        let expected = Waiting { asked_at: None, ..waiting() };
        assert_eq!(open(&codec(), &state, &context).unwrap(), expected);
    }

    #[test]
    fn a_changed_or_foreign_state_is_refused() {
        let ana = Caller::local(UserId::new("ana"));
        let context = Context { caller: &ana, tool: "read", arguments: None };
        let state = seal(&codec(), &waiting(), &context).unwrap();
        let other_key = RequestStateCodec::try_new([8; 32]).unwrap();
        assert!(open(&other_key, &state, &context).is_err());
        let mut changed = state.clone();
        changed.replace_range(3..4, if state[3..4] == *"A" { "B" } else { "A" });
        for wrong in [changed.as_str(), "", "x", &state[1..]] {
            assert!(open(&codec(), wrong, &context).is_err(), "{wrong}");
        }
    }
}
