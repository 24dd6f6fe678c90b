//! What is kept of keys and tokens in memory.

use ring::hmac;

use crate::model::secret;

/// A keyed hash of what somebody presented: equal if and only if that was equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

/// Makes digests with a key that this process made up for itself.
///
/// They are looked up in tables and compared like any other bytes. How long that takes depends on
/// digests alone, and nobody outside can compute one or choose what it begins with, so that time
/// tells nothing of a key: a comparison in constant time, at no cost per key.
pub(super) struct Digester(Box<hmac::Key>);

impl Digester {
    pub(super) fn new() -> Self {
        Self(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret::random_bytes::<32>())))
    }

    pub(super) fn digest(&self, presented: &str) -> Digest {
        let tag = hmac::sign(&self.0, presented.as_bytes());
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Digest(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_can_compute_it() {
        let (one, other) = (Digester::new(), Digester::new());
        assert!(one.digest("key") == one.digest("key"));
        assert!(one.digest("key") != one.digest("kez"));
        assert!(one.digest("key") != other.digest("key"));
    }
}
