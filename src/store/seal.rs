//! Encryption above the backend: XChaCha20-Poly1305 with the record's full key as associated data.
//!
//! The master key only wraps the [`KeyRing`], which lies in the store under `ring`. Records are
//! sealed with a data key of the ring, named by its id so that it can be rotated; hashes of user
//! ids, tickets and states come from the ring's root, which never changes, so rotating the master
//! key moves no record.
//!
//! A sealed record is `0x01 | data key id (8) | nonce (24) | ciphertext and tag`. The nonce is random
//! at 192 bits, so processes that share a ring need no common counter.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key as CipherKey, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::backend::{Key, Sealed};
use super::key::MasterKey;
use crate::model::secret::random_bytes;

const FORMAT: u8 = 1;
const NONCE: usize = 24;
const ID: usize = 8;

/// The keys that work on records. Lies in the store, wrapped by the master key.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct KeyRing {
    /// Random per store: a record copied into another store does not open there.
    store: [u8; 16],
    /// Derives hashes and the `requestState` key.
    root: [u8; 32],
    /// The newest comes last and seals; all of them open.
    data: Vec<DataKey>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct DataKey {
    id: [u8; ID],
    key: [u8; 32],
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("a record of the store does not open under its own name")]
    Foreign,
    #[error("a record of the store is in a format that this version does not know")]
    Format,
    #[error("a record could not be sealed")]
    Seal,
}

impl KeyRing {
    pub(super) fn generate() -> Self {
        let data = vec![DataKey { id: random_bytes(), key: random_bytes() }];
        Self { store: random_bytes(), root: random_bytes(), data }
    }

    /// Seals a record's plaintext for exactly this key.
    pub(super) fn seal(&self, key: &Key, plain: &[u8]) -> Result<Sealed, SealError> {
        let data = self.data.last().ok_or(SealError::Seal)?;
        let aad = self.associated_data(key.as_bytes(), &data.id);
        let mut out = Vec::with_capacity(1 + ID + NONCE + plain.len() + 16);
        out.push(FORMAT);
        out.extend_from_slice(&data.id);
        encrypt(&data.key, &aad, plain, &mut out)?;
        Ok(Sealed::from_stored(out))
    }

    /// Opens a record that was sealed for exactly this key, and no other: a grant copied under
    /// another user's key fails here.
    pub(super) fn open(&self, key: &Key, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (&format, rest) = sealed.as_bytes().split_first().ok_or(SealError::Format)?;
        if format != FORMAT {
            return Err(SealError::Format);
        }
        let (id, rest) = rest.split_at_checked(ID).ok_or(SealError::Format)?;
        let data = self.data.iter().find(|data| data.id == id).ok_or(SealError::Foreign)?;
        decrypt(&data.key, &self.associated_data(key.as_bytes(), id), rest)
    }

    /// A keyed hash for use in keys: 128 bits, base64url. `purpose` keeps user ids, tickets and
    /// states apart from one another.
    pub(super) fn hash(&self, purpose: &str, parts: &[&str]) -> String {
        let mac = self.mac(purpose, parts);
        URL_SAFE_NO_PAD.encode(mac.get(..16).unwrap_or_default())
    }

    /// A key for another mechanism, e.g. `requestState`.
    pub(super) fn derive(&self, purpose: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.mac(purpose, &[]).to_vec())
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn mac(&self, purpose: &str, parts: &[&str]) -> [u8; 32] {
        let mut mac =
            <Hmac<Sha256> as hmac::Mac>::new_from_slice(&self.root).expect("HMAC takes any key");
        for part in std::iter::once(&purpose).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    /// Wraps the ring under a master key.
    pub(super) fn wrap(&self, master: &MasterKey) -> Result<Sealed, SealError> {
        let plain = Zeroizing::new(serde_json::to_vec(self).map_err(|_| SealError::Seal)?);
        let mut out = vec![FORMAT];
        out.extend_from_slice(&master.id());
        encrypt(master.bytes(), WRAP_CONTEXT, &plain, &mut out)?;
        Ok(Sealed::from_stored(out))
    }

    /// Unwraps the ring; `Foreign` where this is not the master key that wrapped it.
    pub(super) fn unwrap(sealed: &Sealed, master: &MasterKey) -> Result<Self, SealError> {
        let (&format, rest) = sealed.as_bytes().split_first().ok_or(SealError::Format)?;
        if format != FORMAT {
            return Err(SealError::Format);
        }
        let (id, rest) = rest.split_at_checked(ID).ok_or(SealError::Format)?;
        if id != master.id() {
            return Err(SealError::Foreign);
        }
        let plain = decrypt(master.bytes(), WRAP_CONTEXT, rest)?;
        serde_json::from_slice(&plain).map_err(|_| SealError::Format)
    }

    fn associated_data(&self, key: &[u8], data_key: &[u8]) -> Vec<u8> {
        let mut aad = Vec::with_capacity(64 + key.len());
        for part in [b"countersign/1".as_slice(), &self.store, key, data_key] {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part);
        }
        aad
    }
}

const WRAP_CONTEXT: &[u8] = b"countersign/1 key ring";

fn encrypt(key: &[u8; 32], aad: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
    let nonce = random_bytes::<NONCE>();
    let text = XChaCha20Poly1305::new(CipherKey::from_slice(key))
        .encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad })
        .map_err(|_| SealError::Seal)?;
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&text);
    Ok(())
}

fn decrypt(key: &[u8; 32], aad: &[u8], rest: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, text) = rest.split_at_checked(NONCE).ok_or(SealError::Format)?;
    XChaCha20Poly1305::new(CipherKey::from_slice(key))
        .decrypt(XNonce::from_slice(nonce), Payload { msg: text, aad })
        .map(Zeroizing::new)
        .map_err(|_| SealError::Foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Key {
        Key::new(path.into())
    }

    #[test]
    fn a_record_opens_under_its_own_key_only() {
        let ring = KeyRing::generate();
        let sealed = ring.seal(&key("grant/ana/github"), b"token").unwrap();
        assert_eq!(ring.open(&key("grant/ana/github"), &sealed).unwrap().as_slice(), b"token");
        assert!(matches!(ring.open(&key("grant/bob/github"), &sealed), Err(SealError::Foreign)));
        let other_store = KeyRing::generate();
        assert!(other_store.open(&key("grant/ana/github"), &sealed).is_err());
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let ring = KeyRing::generate();
        let sealed = ring.seal(&key("k"), b"token").unwrap();
        for at in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(ring.open(&key("k"), &Sealed::from_stored(bytes)).is_err(), "byte {at}");
        }
        assert!(ring.open(&key("k"), &Sealed::from_stored(vec![FORMAT])).is_err());
        assert!(ring.open(&key("k"), &Sealed::from_stored(Vec::new())).is_err());
    }

    #[test]
    fn the_ring_unwraps_under_its_master_key_only() {
        let (right, wrong) = (MasterKey::generate(), MasterKey::generate());
        let ring = KeyRing::generate();
        let wrapped = ring.wrap(&right).unwrap();
        assert!(matches!(KeyRing::unwrap(&wrapped, &wrong), Err(SealError::Foreign)));
        let back = KeyRing::unwrap(&wrapped, &right).unwrap();
        assert_eq!(back.hash("user", &["ana"]), ring.hash("user", &["ana"]));
    }

    #[test]
    fn hashes_do_not_run_into_one_another() {
        let ring = KeyRing::generate();
        assert_ne!(ring.hash("user", &["ab", "c"]), ring.hash("user", &["a", "bc"]));
        assert_ne!(ring.hash("user", &["a"]), ring.hash("ticket", &["a"]));
    }
}
