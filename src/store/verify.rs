//! A look at every record: does it open, does it decode, does anything lead to it? Changes nothing.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;

use super::backend::{Backend as _, Key, Sealed};
use super::record::{self, KINDS, Pointer};
use super::{Result, Store, StoreError};
use crate::model::{Authorization, Started};

/// What was found.
#[derive(Debug, Default)]
pub struct Verified {
    pub kinds: Vec<Kind>,
    /// Links and started trips whose authorization is gone or has moved on. They do no harm, and go
    /// when their time is over.
    pub orphans: usize,
}

/// What was found of one kind of record.
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
    /// Of whom is left out: `grant/…/github`.
    pub key: String,
    pub why: StoreError,
}

impl Verified {
    pub fn is_good(&self) -> bool {
        self.kinds.iter().all(|kind| kind.bad.is_empty())
    }
}

impl Store {
    pub async fn verify(&self) -> Result<Verified> {
        // The ring itself: a copy in memory would open records that nobody else can.
        self.ring.read(&self.backend).await?;
        let mut verified = Verified::default();
        let mut known = 0;
        for kind in KINDS {
            let name = kind.prefix.trim_end_matches('/').to_owned();
            let mut found = Kind { name, good: 0, bad: Vec::new() };
            match self.backend.scan(&Key::new(kind.prefix.into())).await {
                Ok(records) => {
                    known += records.len();
                    for (key, sealed) in records {
                        match self.look(&key, &sealed, kind.check).await {
                            Ok(()) => found.good += 1,
                            Err(why) => found.bad.push(Bad { key: shape(&key), why }),
                        }
                    }
                }
                // Where one page is damaged sled reads none of those that it would come to next.
                Err(why) => found.bad.push(Bad { key: kind.prefix.into(), why: why.into() }),
            }
            verified.kinds.push(found);
        }
        if verified.is_good() {
            verified.orphans = self.orphans().await?;
        }
        self.look_at_others(known, &mut verified).await;
        Ok(verified)
    }

    /// Records of kinds that this version does not know: whether they open.
    async fn look_at_others(&self, known: usize, verified: &mut Verified) {
        let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
        let records = match self.records().await {
            Ok(records) if records.len() == known => return,
            Ok(records) => records,
            // Said already, unless what is damaged lies under no known kind.
            Err(_) if !verified.is_good() => return,
            Err(why) => {
                let bad = vec![Bad { key: "…".into(), why }];
                verified.kinds.push(Kind { name: "unknown".into(), good: 0, bad });
                return;
            }
        };
        for (key, sealed) in records {
            if KINDS.iter().any(|kind| key.as_str().starts_with(kind.prefix)) {
                continue;
            }
            let name = key.as_str().split('/').next().unwrap_or_default().to_owned();
            let kind = kinds.entry(name.clone()).or_insert(Kind { name, good: 0, bad: Vec::new() });
            match self.look(&key, &sealed, |_| Ok(())).await {
                Ok(()) => kind.good += 1,
                Err(why) => kind.bad.push(Bad { key: shape(&key), why }),
            }
        }
        verified.kinds.extend(kinds.into_values());
    }

    async fn look(
        &self,
        key: &Key,
        sealed: &Sealed,
        check: fn(&[u8]) -> std::result::Result<(), record::RecordError>,
    ) -> Result<()> {
        Ok(check(&self.ring.unseal(&self.backend, key, sealed).await?)?)
    }

    async fn orphans(&self) -> Result<usize> {
        let mut orphans = 0;
        for held in self.read_all::<Pointer>("ticket/").await? {
            let led_to = self.read::<Authorization>(Key::new(held.value.to)).await?;
            let leads_there = led_to.is_some_and(|found| {
                self.ticket_key(found.value.ticket.expose_secret()) == held.key
            });
            orphans += usize::from(!leads_there);
        }
        for held in self.read_all::<Started>("state/").await? {
            let belongs = self.reread(&held.value.authorization).await?;
            orphans += usize::from(belongs.is_none());
        }
        Ok(orphans)
    }
}

/// A key without whom it belongs to: kind and provider, no hash.
fn shape(key: &Key) -> String {
    let mut parts = key.as_str().split('/');
    let kind = parts.next().unwrap_or_default();
    match parts.nth(1) {
        Some(provider) => format!("{kind}/…/{provider}"),
        None => format!("{kind}/…"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Several, authorization, caller, given, grant};
    use super::*;

    async fn plant(shared: &Several, key: &str, sealed: &Sealed) {
        assert!(shared.backend.swap(&Key::new(key.into()), None, Some(sealed)).await.unwrap());
    }

    #[tokio::test]
    async fn what_does_not_open_or_decode_is_named_without_its_owner() {
        let shared = Several::new().await;
        let store = shared.process(given(1)).await.unwrap();
        store.keep(&caller("ana"), &grant("a"), None).await.unwrap();
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
                ("hobby", 0, vec!["hobby/…"]),
            ]
        );
        let why = verified.kinds[4].bad[0].why.to_string();
        assert!(why.contains("newer Countersign"), "{why}");
        assert_eq!(shared.backend.scan(&Key::new(String::new())).await.unwrap(), before);
    }

    #[tokio::test]
    async fn a_link_that_leads_nowhere_any_more_is_an_orphan_and_no_damage() {
        let shared = Several::new().await;
        let store = shared.process(given(1)).await.unwrap();
        let first = authorization("ana");
        store.open_link(&first, None).await.unwrap();
        let held = store.by_ticket(first.ticket.expose_secret()).await.unwrap().unwrap();
        store.open_link(&authorization("ana"), Some(&held)).await.unwrap();
        let verified = store.verify().await.unwrap();
        assert!(verified.is_good());
        assert_eq!(verified.orphans, 1);
    }
}
