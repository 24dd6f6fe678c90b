//! Secrets of webhooks and the signatures made with them, as Standard Webhooks defines them
//! (<https://www.standardwebhooks.com>, "Webhook signature scheme").

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Time;

/// Prefix of a secret; base64 follows.
const PREFIX: &str = "whsec_";
/// Minimum length of a key in bytes; a shorter one is refused.
pub const MIN_KEY_BYTES: usize = 24;
/// Most keys of one webhook; more are refused. Each request carries a signature of each.
const MAX_KEYS: usize = 4;

/// The keys that sign the requests of one webhook. While a secret is exchanged, there are a new and
/// an old one, and the receiver accepts a request that either has signed.
#[derive(Clone)]
pub struct SigningKeys(Vec<Zeroizing<Vec<u8>>>);

/// Why a text holds no keys. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSigningKey {
    #[error("it does not begin with `{PREFIX}`")]
    NoPrefix,
    #[error("what follows `{PREFIX}` is no base64")]
    NotBase64,
    #[error("the key has less than {MIN_KEY_BYTES} bytes, and could be guessed")]
    Short,
    #[error("it holds more than {MAX_KEYS} secrets")]
    TooMany,
}

impl SigningKeys {
    /// Reads `whsec_…`, or several of them with commas in between: `new,old`.
    ///
    /// # Errors
    /// [`BadSigningKey`] for the first one that is no key.
    pub fn parse(text: &SecretString) -> Result<Self, BadSigningKey> {
        let keys = text.expose_secret().split(',').map(|written| {
            let key = written.trim().strip_prefix(PREFIX).ok_or(BadSigningKey::NoPrefix)?;
            let key = STANDARD.decode(key).map_err(|_| BadSigningKey::NotBase64)?;
            let key = Zeroizing::new(key);
            if key.len() < MIN_KEY_BYTES { Err(BadSigningKey::Short) } else { Ok(key) }
        });
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        if keys.len() > MAX_KEYS { Err(BadSigningKey::TooMany) } else { Ok(Self(keys)) }
    }

    /// Returns the value of `webhook-signature` for a body that is sent at `at` under this
    /// `webhook-id`: one `v1,<base64>` for each key, separated by spaces.
    ///
    /// The signature covers id, time and body, so that a request can neither be altered nor, once
    /// the receiver's tolerance is over, be sent again by another sender.
    pub fn sign(&self, id: &str, at: Time, body: &[u8]) -> String {
        let begin = format!("{id}.{}.", seconds(at));
        let signatures = self.0.iter().filter_map(|key| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
            mac.update(begin.as_bytes());
            mac.update(body);
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

/// Returns the value of `webhook-timestamp`: seconds since the Unix epoch.
pub fn seconds(at: Time) -> i64 {
    at.millis().div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<SigningKeys, BadSigningKey> {
        SigningKeys::parse(&text.into())
    }

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_signature_is_that_of_the_published_libraries() {
        let at = Time::from_millis(1_614_265_330_999);
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(keys(SECRET).unwrap().sign(id, at, body), signature);
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let both = keys(&format!("{other}, {SECRET}")).unwrap().sign(id, at, body);
        let signatures: Vec<&str> = both.split(' ').collect();
        assert_eq!((signatures.len(), signatures[1]), (2, signature));
        assert_ne!(signatures[0], signature);
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        for (text, error) in [
            ("hunter2", BadSigningKey::NoPrefix),
            ("", BadSigningKey::NoPrefix),
            ("whsec_hunter2!", BadSigningKey::NotBase64),
            ("whsec_aHVudGVyMg==", BadSigningKey::Short),
            ("whsec_", BadSigningKey::Short),
            (&format!("{SECRET},"), BadSigningKey::NoPrefix),
            (&[SECRET; 5].join(","), BadSigningKey::TooMany),
        ] {
            let found = keys(text).unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(!found.to_string().contains("hunter2"));
        }
        assert!(!format!("{:?}", keys(SECRET)).contains("MfKQ"));
    }
}
