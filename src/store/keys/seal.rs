//! Encryption above the backend: XChaCha20-Poly1305 with the record's full key as associated data.
//!
//! The master key only wraps the [`KeyRing`], which is stored under `ring`. Records are sealed with
//! a data key of the ring, named by its id so that it can be rotated. Hashes of user ids, tickets
//! and states come from the ring's root, which never changes, so rotating a key moves no record.
//!
//! ```text
//! record   0x01 | data key id (8) | nonce (24) | ciphertext and tag
//! ring     0x02 | master key id (8) | count (2) | ids of the data keys (8 each) | nonce (24) | …
//! ```
//!
//! The nonce has 192 random bits, so processes that share a ring need no common counter. The ids
//! are in clear before the ring, as before every record, so that a process whose master key was
//! replaced while it ran still sees whether the data key that it seals with is in use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::master_key::MasterKey;
use crate::model::Time;
use crate::model::secret::random_bytes;
use crate::store::backend::{Key, Sealed};

const FORMAT: u8 = 1;
/// Format of the first version's rings, without ids before them.
const RING_UNLISTED: u8 = 1;
const RING: u8 = 2;
const NONCE_BYTES: usize = 24;
const KEY_ID_BYTES: usize = 8;

/// The keys for records. Stored under `ring`, wrapped by the master key.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct KeyRing {
    /// Random per store: a record copied into another store does not open there.
    store: [u8; 16],
    /// Derives hashes and the `requestState` key.
    root: [u8; 32],
    /// Oldest first; the last one seals, and all of them open.
    data: Vec<DataKey>,
}

#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct DataKey {
    id: DataKeyId,
    key: [u8; 32],
    /// `None` in rings that an earlier version made.
    #[serde(default)]
    #[zeroize(skip)]
    made_at: Option<Time>,
}

/// Id of a data key. Not secret: it stands in clear before every record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, Zeroize)]
#[serde(transparent)]
pub struct DataKeyId([u8; KEY_ID_BYTES]);

impl std::fmt::Display for DataKeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Failure to seal or open a record.
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
    pub(crate) fn generate(now: Time) -> Self {
        Self { store: random_bytes(), root: random_bytes(), data: vec![DataKey::generate(now)] }
    }

    /// Returns a copy with one more data key, which seals from now on.
    pub(crate) fn with_new_key(&self, now: Time) -> Self {
        let mut ring = self.clone();
        ring.data.push(DataKey::generate(now));
        ring
    }

    /// Returns a copy without these data keys; the one that seals always stays.
    pub(crate) fn without(&self, dropped: &[DataKeyId]) -> Self {
        let mut ring = self.clone();
        let newest = self.newest();
        ring.data.retain(|key| Some(key.id) == newest || !dropped.contains(&key.id));
        ring
    }

    /// Returns the data keys, oldest first, and when each was made.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (DataKeyId, Option<Time>)> {
        self.data.iter().map(|key| (key.id, key.made_at))
    }

    /// The data key that seals.
    pub(crate) fn newest(&self) -> Option<DataKeyId> {
        self.data.last().map(|key| key.id)
    }

    pub(crate) fn knows(&self, id: DataKeyId) -> bool {
        self.data.iter().any(|key| key.id == id)
    }

    /// Whether both rings belong to the same store; their data keys may differ.
    pub(crate) fn is_of_the_store_of(&self, other: &Self) -> bool {
        self.store == other.store
    }

    /// Id of the store; not secret.
    pub(crate) fn store_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.store)
    }

    /// Seals a record's plaintext for exactly this key.
    pub(crate) fn seal(&self, key: &Key, plain: &[u8]) -> Result<Sealed, SealError> {
        let data = self.data.last().ok_or(SealError::Seal)?;
        let aad = self.associated_data(key.as_bytes(), &data.id.0);
        let mut out = Vec::with_capacity(1 + KEY_ID_BYTES + NONCE_BYTES + plain.len() + 16);
        out.push(FORMAT);
        out.extend_from_slice(&data.id.0);
        encrypt(&data.key, &aad, plain, &mut out)?;
        Ok(Sealed::from_stored(out))
    }

    /// Opens a record that was sealed for exactly this key: a grant copied under another user's key
    /// fails here.
    pub(crate) fn open(&self, key: &Key, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (id, rest) = split(sealed)?;
        let data = self.data.iter().find(|data| data.id == id).ok_or(SealError::Foreign)?;
        decrypt(&data.key, &self.associated_data(key.as_bytes(), &id.0), rest)
    }

    /// Keyed hash for use in record keys: 128 bits, base64url. `purpose` separates user ids,
    /// tickets and states from one another.
    pub(crate) fn hash(&self, purpose: &str, parts: &[&str]) -> String {
        let mac = self.mac(purpose, parts);
        URL_SAFE_NO_PAD.encode(mac.get(..16).unwrap_or_default())
    }

    /// Derives a key for another mechanism, e.g. `requestState`.
    pub(crate) fn derive(&self, purpose: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.mac(purpose, &[]).to_vec())
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn mac(&self, purpose: &str, parts: &[&str]) -> [u8; 32] {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&self.root).expect("HMAC takes any key");
        for part in std::iter::once(&purpose).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    /// Wraps the ring under a master key.
    pub(crate) fn wrap(&self, master: &MasterKey) -> Result<Sealed, SealError> {
        let plain = Zeroizing::new(serde_json::to_vec(self).map_err(|_| SealError::Seal)?);
        let count = u16::try_from(self.data.len()).map_err(|_| SealError::Seal)?;
        let mut out = vec![RING];
        out.extend_from_slice(&master.id());
        out.extend_from_slice(&count.to_be_bytes());
        self.data.iter().for_each(|key| out.extend_from_slice(&key.id.0));
        let aad = [WRAP_CONTEXT, &out].concat();
        encrypt(master.bytes(), &aad, &plain, &mut out)?;
        Ok(Sealed::from_stored(out))
    }

    /// Unwraps the ring; `Foreign` if another master key wrapped it, `Format` if this one did and
    /// the ring is damaged.
    pub(crate) fn unwrap(sealed: &Sealed, master: &MasterKey) -> Result<Self, SealError> {
        let wrapped = Wrapped::parse(sealed)?;
        if wrapped.master != master.id() {
            return Err(SealError::Foreign);
        }
        let plain =
            decrypt(master.bytes(), &wrapped.aad, wrapped.rest).map_err(|_| SealError::Format)?;
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

impl DataKey {
    fn generate(now: Time) -> Self {
        Self { id: DataKeyId(random_bytes()), key: random_bytes(), made_at: Some(now) }
    }
}

/// Returns the data key that a record was sealed with.
pub(crate) fn sealed_with(sealed: &Sealed) -> Result<DataKeyId, SealError> {
    split(sealed).map(|(id, _)| id)
}

/// Returns the data keys that a wrapped ring lists, for a process that cannot unwrap it. Without
/// the master key the list is not authenticated, so it only decides whether to go on writing, never
/// what to believe.
pub(crate) fn listed(wrapped: &Sealed) -> Vec<DataKeyId> {
    Wrapped::parse(wrapped).map(|wrapped| wrapped.listed).unwrap_or_default()
}

fn split(sealed: &Sealed) -> Result<(DataKeyId, &[u8]), SealError> {
    let (&format, rest) = sealed.as_bytes().split_first().ok_or(SealError::Format)?;
    if format != FORMAT {
        return Err(SealError::Format);
    }
    let (&id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or(SealError::Format)?;
    Ok((DataKeyId(id), rest))
}

/// Parts of a wrapped ring.
struct Wrapped<'a> {
    master: [u8; KEY_ID_BYTES],
    listed: Vec<DataKeyId>,
    aad: Vec<u8>,
    rest: &'a [u8],
}

impl<'a> Wrapped<'a> {
    fn parse(sealed: &'a Sealed) -> Result<Self, SealError> {
        let bytes = sealed.as_bytes();
        let (&format, rest) = bytes.split_first().ok_or(SealError::Format)?;
        let (&master, rest) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or(SealError::Format)?;
        match format {
            RING_UNLISTED => {
                Ok(Self { master, listed: Vec::new(), aad: WRAP_CONTEXT.to_vec(), rest })
            }
            RING => {
                let (&count, rest) = rest.split_first_chunk::<2>().ok_or(SealError::Format)?;
                let length = usize::from(u16::from_be_bytes(count)) * KEY_ID_BYTES;
                let (ids, rest) = rest.split_at_checked(length).ok_or(SealError::Format)?;
                let (ids, _) = ids.as_chunks::<KEY_ID_BYTES>();
                let head = bytes.get(..bytes.len() - rest.len()).ok_or(SealError::Format)?;
                let aad = [WRAP_CONTEXT, head].concat();
                Ok(Self { master, listed: ids.iter().copied().map(DataKeyId).collect(), aad, rest })
            }
            _ => Err(SealError::Format),
        }
    }
}

fn encrypt(key: &[u8; 32], aad: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
    let nonce = random_bytes::<NONCE_BYTES>();
    let text = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad })
        .map_err(|_| SealError::Seal)?;
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&text);
    Ok(())
}

fn decrypt(key: &[u8; 32], aad: &[u8], rest: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Format)?;
    XChaCha20Poly1305::new(key.into())
        .decrypt(nonce.into(), Payload { msg: text, aad })
        .map(Zeroizing::new)
        .map_err(|_| SealError::Foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_millis(1_000);

    fn key(path: &str) -> Key {
        Key::new(path.into())
    }

    #[test]
    fn a_record_opens_under_its_own_key_only() {
        let ring = KeyRing::generate(NOW);
        let sealed = ring.seal(&key("grant/ana/github"), b"token").unwrap();
        assert_eq!(ring.open(&key("grant/ana/github"), &sealed).unwrap().as_slice(), b"token");
        assert!(matches!(ring.open(&key("grant/bob/github"), &sealed), Err(SealError::Foreign)));
        let other_store = KeyRing::generate(NOW);
        assert!(other_store.open(&key("grant/ana/github"), &sealed).is_err());
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let ring = KeyRing::generate(NOW);
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
        let ring = KeyRing::generate(NOW);
        let wrapped = ring.wrap(&right).unwrap();
        assert!(matches!(KeyRing::unwrap(&wrapped, &wrong), Err(SealError::Foreign)));
        let back = KeyRing::unwrap(&wrapped, &right).unwrap();
        assert_eq!(back.hash("user", &["ana"]), ring.hash("user", &["ana"]));
    }

    #[test]
    fn a_changed_byte_of_a_wrapped_ring_is_noticed() {
        let master = MasterKey::generate();
        let wrapped = KeyRing::generate(NOW).with_new_key(NOW).wrap(&master).unwrap();
        assert_eq!(listed(&wrapped).len(), 2);
        for at in 0..wrapped.as_bytes().len() {
            let mut bytes = wrapped.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(KeyRing::unwrap(&Sealed::from_stored(bytes), &master).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_ring_of_the_first_version_still_unwraps() {
        let (master, ring) = (MasterKey::generate(), KeyRing::generate(NOW));
        let mut plain = serde_json::to_value(&ring).unwrap();
        plain["data"][0].as_object_mut().unwrap().remove("made_at");
        let mut out = vec![RING_UNLISTED];
        out.extend_from_slice(&master.id());
        encrypt(master.bytes(), WRAP_CONTEXT, plain.to_string().as_bytes(), &mut out).unwrap();
        let back = KeyRing::unwrap(&Sealed::from_stored(out), &master).unwrap();
        assert_eq!(back.keys().collect::<Vec<_>>(), [(ring.newest().unwrap(), None)]);
        assert_eq!(back.hash("user", &["ana"]), ring.hash("user", &["ana"]));
    }

    #[test]
    fn a_new_data_key_seals_and_the_old_one_still_opens() {
        let old = KeyRing::generate(NOW);
        let before = old.seal(&key("k"), b"token").unwrap();
        let new = old.with_new_key(NOW);
        let after = new.seal(&key("k"), b"token").unwrap();
        assert_ne!(sealed_with(&before).unwrap(), sealed_with(&after).unwrap());
        assert_eq!(new.open(&key("k"), &before).unwrap().as_slice(), b"token");
        assert!(old.open(&key("k"), &after).is_err());
        let every: Vec<_> = new.keys().map(|(id, _)| id).collect();
        let left = new.without(&every);
        assert_eq!(left.keys().count(), 1, "the one that seals stays");
        assert!(left.open(&key("k"), &before).is_err());
        assert_eq!(left.hash("user", &["ana"]), old.hash("user", &["ana"]));
    }

    #[test]
    fn hashes_do_not_run_into_one_another() {
        let ring = KeyRing::generate(NOW);
        assert_ne!(ring.hash("user", &["ab", "c"]), ring.hash("user", &["a", "bc"]));
        assert_ne!(ring.hash("user", &["a"]), ring.hash("ticket", &["a"]));
    }
}
