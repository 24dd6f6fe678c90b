//! Check of every record: whether it opens and decodes, and whether links still lead to their
//! authorization. Changes nothing.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;

use crate::model::{Authorization, AuthorizationAttempt};
use crate::store::backend::walk::Walk;
use crate::store::backend::{BackendError, Key, Sealed};
use crate::store::records::{KINDS, Pointer, RecordError, key_without_owner};
use crate::store::{Result, Store, StoreError};

/// Result of a check.
#[derive(Debug, Default)]
pub struct Verified {
    pub kinds: Vec<Kind>,
    /// Links and authorization attempts whose authorization is gone or replaced. They are harmless,
    /// and are deleted when they expire.
    pub orphans: usize,
}

/// Result for one kind of record.
#[derive(Debug)]
pub struct Kind {
    /// `grant`, `authorization`, …
    pub name: String,
    pub good: usize,
    pub bad: Vec<Bad>,
}

/// Records that do not open or decode, for the same reason.
#[derive(Debug)]
pub struct Bad {
    /// Key without its user: `grant/…/github`.
    pub key: String,
    pub why: StoreError,
    pub records: usize,
}

impl Kind {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), good: 0, bad: Vec::new() }
    }

    fn note(&mut self, key: &str, looked: Result<()>) {
        let Err(why) = looked else {
            self.good += 1;
            return;
        };
        let words = why.to_string();
        let is_same = |bad: &&mut Bad| bad.key == key && bad.why.to_string() == words;
        match self.bad.iter_mut().find(is_same) {
            Some(bad) => bad.records += 1,
            None => self.bad.push(Bad { key: key.to_owned(), why, records: 1 }),
        }
    }
}

impl Verified {
    /// Whether every record opens and decodes.
    pub fn is_good(&self) -> bool {
        self.kinds.iter().all(|kind| kind.bad.is_empty())
    }
}

impl Store {
    /// Checks every record of the store.
    ///
    /// # Errors
    /// [`StoreError`] if the ring or a link cannot be read. The result lists records that do not
    /// open or decode.
    pub async fn verify(&self) -> Result<Verified> {
        // Read the stored ring: a copy in memory would open records that no other process can.
        self.ring.read(&*self.backend).await?;
        let mut verified = Verified::default();
        for kind in KINDS {
            let mut found = Kind::new(kind.prefix.trim_end_matches('/'));
            let mut records = Walk::under(&*self.backend, kind.prefix);
            loop {
                match records.next().await {
                    Ok(None) => break,
                    Ok(Some(page)) => {
                        for (key, sealed) in page {
                            let looked = self.look(&key, &sealed, kind.check).await;
                            found.note(&key_without_owner(&key), looked);
                        }
                    }
                    // After a damaged page, sled reads none of the pages that follow.
                    Err(why) => found.note(kind.prefix, Err(why.into())),
                }
            }
            verified.kinds.push(found);
        }
        if verified.is_good() {
            verified.orphans = self.orphans().await?;
        }
        self.look_at_others(&mut verified).await;
        Ok(verified)
    }

    /// Checks that records of kinds unknown to this version open.
    async fn look_at_others(&self, verified: &mut Verified) {
        let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
        let mut records = self.records();
        loop {
            let page = match records.next().await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                // Already reported, unless the damage is under no known kind.
                Err(_) if !verified.is_good() => break,
                Err(why) => {
                    let mut unknown = Kind::new("unknown");
                    unknown.note("…", Err(why.into()));
                    verified.kinds.push(unknown);
                    break;
                }
            };
            for (key, sealed) in page {
                if KINDS.iter().any(|kind| key.as_str().starts_with(kind.prefix)) {
                    continue;
                }
                let name = key.as_str().split('/').next().unwrap_or_default();
                let kind = kinds.entry(name.to_owned()).or_insert_with(|| Kind::new(name));
                kind.note(&key_without_owner(&key), self.look(&key, &sealed, |_| Ok(())).await);
            }
        }
        verified.kinds.extend(kinds.into_values());
    }

    async fn look(
        &self,
        key: &Key,
        sealed: &Sealed,
        check: fn(&[u8]) -> std::result::Result<(), RecordError>,
    ) -> Result<()> {
        if sealed.is_left_out() {
            return Err(BackendError::TooLarge.into());
        }
        Ok(check(&self.ring.unseal(&*self.backend, key, sealed).await?)?)
    }

    async fn orphans(&self) -> Result<usize> {
        let mut orphans = 0;
        let mut links = self.opened::<Pointer>("ticket/");
        while let Some(page) = links.next().await? {
            for held in page {
                let led_to = self.read::<Authorization>(Key::new(held.value.to)).await?;
                let leads_there = led_to.is_some_and(|found| {
                    self.ticket_key(found.value.link().ticket.expose_secret()) == held.key
                });
                orphans += usize::from(!leads_there);
            }
        }
        let mut started = self.opened::<AuthorizationAttempt>("state/");
        while let Some(page) = started.next().await? {
            for held in page {
                let belongs = self.reread(&held.value.authorization).await?;
                orphans += usize::from(belongs.is_none());
            }
        }
        Ok(orphans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;
    use crate::store::backend::Backend as _;
    use crate::store::tests::{authorization, caller, given, grant};

    async fn plant(shared: &Memory, key: &str, sealed: &Sealed) {
        assert!(shared.backend.swap(&Key::new(key.into()), None, Some(sealed)).await.unwrap());
    }

    #[tokio::test]
    async fn what_does_not_open_or_decode_is_named_without_its_owner() {
        let shared = Memory::default();
        let store = shared.process(given(1)).await.unwrap();
        store.put(&caller("ana"), &grant("a"), None).await.unwrap();
        store.open_link(&authorization("ana"), None).await.unwrap();
        assert!(store.verify().await.unwrap().is_good());

        let found = shared.backend.scan(&Key::new("grant/".into())).await.unwrap();
        plant(&shared, "grant/stolen-by-bob/acme/b/default", &found[0].1).await;
        let newer = Key::new("state/newer".into());
        let sealed = store.ring.seal(&*shared.backend, &newer, br#"{"v":9,"d":1}"#).await.unwrap();
        plant(&shared, newer.as_str(), &sealed).await;
        plant(&shared, "hobby/x", &found[0].1).await;
        let before = shared.backend.scan(&Key::new(String::new())).await.unwrap();

        let verified = store.verify().await.unwrap();
        assert!(!verified.is_good());
        let told: Vec<_> = verified
            .kinds
            .iter()
            .map(|kind| {
                let bad: Vec<_> = kind.bad.iter().map(|bad| bad.key.as_str()).collect();
                (kind.name.as_str(), kind.good, bad)
            })
            .collect();
        assert_eq!(
            told,
            [
                ("grant", 1, vec!["grant/…/acme"]),
                ("used", 0, vec![]),
                ("authorization", 1, vec![]),
                ("ticket", 1, vec![]),
                ("state", 0, vec!["state/…"]),
                ("unconfirmed", 0, vec![]),
                ("unclaimed", 0, vec![]),
                ("verification", 0, vec![]),
                ("session", 0, vec![]),
                ("signin", 0, vec![]),
                ("cutoff", 0, vec![]),
                ("deposited", 0, vec![]),
                ("disconnected", 0, vec![]),
                ("plan", 0, vec![]),
                ("planrun", 0, vec![]),
                ("rundocument", 0, vec![]),
                ("memory", 0, vec![]),
                ("toolcall", 0, vec![]),
                ("person", 0, vec![]),
                ("confirmation", 0, vec![]),
                ("needs", 0, vec![]),
                ("once", 0, vec![]),
                ("restsecret", 0, vec![]),
                ("restprovider", 0, vec![]),
                ("scheduled", 0, vec![]),
                ("webhook", 0, vec![]),
                ("hobby", 0, vec!["hobby/…"]),
            ]
        );
        let why = verified.kinds[4].bad[0].why.to_string();
        assert!(why.contains("newer Countersign"), "{why}");
        assert_eq!(shared.backend.scan(&Key::new(String::new())).await.unwrap(), before);
    }

    #[tokio::test]
    async fn a_link_that_leads_nowhere_any_more_is_an_orphan_and_no_damage() {
        let shared = Memory::default();
        let store = shared.process(given(1)).await.unwrap();
        let first = authorization("ana");
        store.open_link(&first, None).await.unwrap();
        let held = store.by_ticket(first.link().ticket.expose_secret()).await.unwrap().unwrap();
        store.open_link(&authorization("ana"), Some(&held)).await.unwrap();
        let verified = store.verify().await.unwrap();
        assert!(verified.is_good());
        assert_eq!(verified.orphans, 1);
    }
}
