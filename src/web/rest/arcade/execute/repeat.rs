//! Recognizes a request that Arcade's clients send again after a lost answer.

use std::time::Duration;

use axum::http::HeaderMap;

use crate::broker::once::OnceKey;
use crate::model::Caller;
use crate::model::secret::fingerprint;

/// Header with a key of the client's choice: requests with the same key are one call.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header by which Arcade's clients count how often they have sent a request before. The Python
/// client sends no key.
const RETRY_COUNT: &str = "x-stainless-retry-count";

const MAX_KEY_LENGTH: usize = 255;
/// How long a key of the client's choice stands for its call.
const KEY_LIFETIME: Duration = Duration::from_hours(24);
/// How long a counted request counts as the same: longer than the clients repeat one.
const COUNTED_LIFETIME: Duration = Duration::from_mins(5);

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`Idempotency-Key` must be one header of 1 to 255 visible ASCII characters")]
pub(super) struct BadKey;

/// Key by which a repeated request is recognized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RepeatKey {
    key: String,
    life: Duration,
    begins_anew: bool,
}

impl RepeatKey {
    /// Reads the key of a request; `None` if a repeat of it would be another call. `digest` stands
    /// for what the request asks for.
    ///
    /// # Errors
    /// [`BadKey`]
    pub(super) fn of(
        headers: &HeaderMap,
        caller: &Caller,
        digest: &str,
    ) -> Result<Option<Self>, BadKey> {
        let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
        match (keys.next(), keys.next()) {
            (None, _) => Ok(Self::counted(headers, caller, digest)),
            (Some(key), None) => {
                let key = key.to_str().map_err(|_| BadKey)?;
                let is_fit = key.bytes().all(|byte| byte.is_ascii_graphic());
                if key.is_empty() || key.len() > MAX_KEY_LENGTH || !is_fit {
                    return Err(BadKey);
                }
                let key = format!("key {key}");
                Ok(Some(Self { key, life: KEY_LIFETIME, begins_anew: false }))
            }
            (Some(_), Some(_)) => Err(BadKey),
        }
    }

    /// Makes a key of the call itself. The first request of each call begins anew, so that two
    /// equal calls are two.
    fn counted(headers: &HeaderMap, caller: &Caller, digest: &str) -> Option<Self> {
        let count: u32 = headers.get(RETRY_COUNT)?.to_str().ok()?.parse().ok()?;
        // No key of a client's choice begins so.
        // The user's digest, since a user's name could continue another one's key.
        let key = format!("counted {digest} {}", fingerprint(caller.user.as_str()));
        Some(Self { key, life: COUNTED_LIFETIME, begins_anew: count == 0 })
    }

    /// Returns the key for the callers of `space`.
    pub(super) fn in_space<'a>(&'a self, space: &'a str) -> OnceKey<'a> {
        OnceKey { space, key: &self.key, life: self.life, begins_anew: self.begins_anew }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::{Map, json};

    use super::*;
    use crate::broker::once::OwnedCall;
    use crate::model::{Principal, ToolName, UserId};

    fn call(user: &str, text: &str) -> OwnedCall {
        OwnedCall {
            principal: Principal::local(Caller::local(UserId::new(user))),
            tool: ToolName::new("write"),
            arguments: Map::from_iter([("text".to_owned(), json!(text))]),
            client: "client".into(),
        }
    }

    fn key(
        headers: &[(&'static str, &str)],
        call: &OwnedCall,
    ) -> Result<Option<RepeatKey>, BadKey> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        RepeatKey::of(&map, &call.principal.caller, &call.digest())
    }

    #[test]
    fn a_key_is_the_client_s_or_made_of_the_call() {
        let ana = call("ana", "hello");
        assert_eq!(key(&[], &ana), Ok(None));
        let given = key(&[(IDEMPOTENCY_KEY, "k1"), (RETRY_COUNT, "0")], &ana).unwrap().unwrap();
        assert_eq!((given.key.as_str(), given.begins_anew), ("key k1", false));
        let counted =
            |count, call: &OwnedCall| key(&[(RETRY_COUNT, count)], call).unwrap().unwrap();
        let first = counted("0", &ana);
        assert!(first.begins_anew);
        let second = counted("1", &ana);
        assert_eq!((&second.key, second.begins_anew), (&first.key, false));
        for other in [call("bob", "hello"), call("ana", "other")] {
            assert_ne!(counted("1", &other).key, first.key);
        }
        assert_eq!(key(&[(RETRY_COUNT, "x")], &ana), Ok(None));
        let long = "k".repeat(256);
        for bad in ["", "two words", &long] {
            assert_eq!(key(&[(IDEMPOTENCY_KEY, bad)], &ana), Err(BadKey), "{bad}");
        }
        let two = [(IDEMPOTENCY_KEY, "a"), (IDEMPOTENCY_KEY, "a")];
        assert_eq!(key(&two, &ana), Err(BadKey));
    }
}
