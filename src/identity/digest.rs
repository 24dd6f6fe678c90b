//! Digests of keys and tokens, kept in memory instead of them.

use ring::hmac;

use crate::model::secret;

/// A keyed hash of a presented credential; two digests are equal if and only if the credentials
/// are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

/// Makes digests with a key that this process has generated.
///
/// Digests are looked up in tables and compared like any other bytes. The time that takes depends
/// on digests alone, and outsiders can neither compute a digest nor choose its first bytes, so it
/// reveals nothing of a key: like a comparison in constant time, at no cost per key.
pub(super) struct Digester(Box<hmac::Key>);

impl Digester {
    pub(super) fn new() -> Self {
        Self(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret::random_bytes::<32>())))
    }

    /// Returns the digest of a presented credential.
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
