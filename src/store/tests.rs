mod damaged_folder;
mod large_records;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::memory::MemoryHome;
use super::*;
use crate::model::authorization::{ConnectLink, ConsentRequest};
use crate::model::consent_plan::{ClientRegistration, CodeFlow, ConsentMethod, ConsentPlan};
use crate::model::grant::Binding;
use crate::model::hosts::Hosts;
use crate::model::lifetime::TokenFacts;
use crate::model::oauth::{TokenAuth, TokenBody, TokenResponseShape};
use crate::model::principal::BrowserProof;
use crate::model::provider::FailureConvention;
use crate::model::requester::{AskedBy, Requesters};
use crate::model::retention::Retention;
use crate::model::{
    Authorization, AuthorizationAttempt, Clock, Grant, ProviderId, Scopes, TokenSet, UserId,
};

pub(super) const NOW: Time = Time::from_millis(1_000);

pub(super) fn given(byte: u8) -> KeySource {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    KeySource::Given(encoded.into())
}

pub(super) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn folder(&self) -> DataFolder {
        DataFolder {
            path: self.data(),
            runtime: self.folder.path().join("run"),
            purpose: "test",
            clock: Clock::manual(Arc::new(NOW.millis().into())),
        }
    }

    pub(super) async fn open(&self) -> Result<Store> {
        self.open_with(given(1)).await
    }

    pub(super) async fn open_with(&self, keys: KeySource) -> Result<Store> {
        Store::open(self.folder(), keys).await
    }
}

impl Memory {
    /// Opens the store as one more process.
    pub(super) async fn process(&self, keys: KeySource) -> Result<Store> {
        let home = MemoryHome::new(self.clone(), Answering::default());
        Store::at(Home::Memory(home), keys, NOW, Opening::Use).await
    }
}

/// Opens an empty store in memory, for tests that need no data folder.
pub(super) async fn in_memory() -> Store {
    Memory::default().process(given(1)).await.unwrap()
}

impl Store {
    /// Stores a consent as an earlier version did, under this `flow_id`.
    pub(crate) async fn plant_unconfirmed(&self, flow: &str, plain: &[u8]) {
        let key = Key::new(format!("unconfirmed/{}", self.ring.hash("flow", &[flow])));
        let sealed = self.ring.seal(&*self.backend, &key, plain).await.unwrap();
        assert!(self.swap(&key, None, Some(&sealed)).await.unwrap());
    }

    /// Stores an authorization as an earlier version did, and its link.
    pub(crate) async fn plant_authorization(&self, plain: &[u8]) {
        let authorization: Authorization = records::decode(plain).unwrap();
        assert!(self.open_link(&authorization, None).await.unwrap());
        let held = self.reread(&authorization).await.unwrap().unwrap();
        self.plant_over(&held, plain).await;
    }

    /// Stores a grant of this user as an earlier version did.
    pub(crate) async fn plant_grant(&self, caller: &Caller, plain: &[u8]) {
        let grant: Grant = records::decode(plain).unwrap();
        assert!(self.put(caller, &grant, None).await.unwrap());
        self.plant_over(&self.grants(caller).await.unwrap().remove(0), plain).await;
    }

    async fn plant_over<T>(&self, held: &Held<T>, plain: &[u8]) {
        let sealed = self.ring.seal(&*self.backend, &held.key, plain).await.unwrap();
        assert!(self.swap(&held.key, Some(&held.sealed), Some(&sealed)).await.unwrap());
    }
}

pub(super) async fn exported(store: &Store) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("archive");
    store.export_to_file(NOW, &file).await.unwrap();
    fs::read(file).unwrap()
}

pub(super) fn archive(text: &[u8]) -> Archive<std::io::Cursor<Vec<u8>>> {
    Archive::read(std::io::Cursor::new(text.to_vec())).unwrap()
}

pub(super) fn caller(name: &str) -> Caller {
    Caller::local(UserId::new(name))
}

fn binding(endpoint: &str) -> Binding {
    Binding {
        client_id: "client".into(),
        authorize_endpoint: "https://login.acme.example/authorize".into(),
        token_endpoint: endpoint.into(),
        refresh_endpoint: None,
        hosts: Hosts::new(["api.acme.example"]),
    }
}

pub(super) fn grant(access: &str) -> Grant {
    Grant {
        provider: ProviderId::new("acme"),
        account: AccountName::default(),
        binding: binding("https://login.acme.example/token"),
        tokens: TokenSet {
            user: None,
            access: access.into(),
            refresh: None,
            expires_at: None,
            refresh_expires_at: None,
            received_at: NOW,
        },
        scopes: Scopes::new(["notes"]),
        refused: Scopes::default(),
        ungranted: Scopes::default(),
        connected_at: NOW,
        refreshed_at: None,
        revocation: None,
        ended: None,
        ended_at: None,
        unclear_refusals: 0,
        attempt: None,
        identity: None,
        retention: Retention::default(),
        away: false,
        hands_out: false,
        deposit: None,
        last_event: None,
    }
}

pub(super) fn authorization(user: &str) -> Authorization {
    authorization_at(user, NOW)
}

fn authorization_at(user: &str, created_at: Time) -> Authorization {
    let link = ConnectLink {
        id: "id".into(),
        ticket: crate::model::secret::random_ticket(),
        caller: caller(user),
        browser_proof: BrowserProof::Loopback,
        provider: ProviderId::new("acme"),
        account: AccountName::default(),
        binding: binding("https://login.acme.example/token"),
        origin: "http://127.0.0.1:8971".into(),
        listen_address: None,
        created_at,
        plan: plan(),
    };
    let request = ConsentRequest {
        scopes: Scopes::new(["notes"]),
        needed: Scopes::new(["notes"]),
        asked_by: AskedBy::default(),
        requesters: Requesters::default(),
        tools: std::collections::BTreeSet::new(),
        next: None,
        away: false,
        later: std::collections::BTreeSet::new(),
        hands_out: false,
    };
    Authorization::new(link, request, Vec::new())
}

fn plan() -> ConsentPlan {
    ConsentPlan {
        title: "Acme".into(),
        scope_words: BTreeMap::default(),
        after_connect: None,
        retention: Retention::default(),
        headers: Vec::new(),
        failure: FailureConvention::default(),
        method: ConsentMethod::Code(Box::new(CodeFlow {
            token_facts: TokenFacts::default(),
            offline_prompt: false,
            client: ClientRegistration {
                client_id: "client".into(),
                client_secret: None,
                token_endpoint: "https://login.acme.example/token".parse().unwrap(),
                refresh_endpoint: None,
                token_params: Vec::new(),
                token_auth: TokenAuth::Basic,
                token_body: TokenBody::Form,
                response: TokenResponseShape::default(),
                revocation: None,
                learnt: false,
            },
            authorize: "https://login.acme.example/authorize".parse().unwrap(),
            issuer: None,
            issuer_required: false,
            pkce: true,
            scope_parameter: "scope".into(),
            scope_separator: " ".into(),
            params: Vec::new(),
            implied: BTreeMap::default(),
            token_header: None,
            identity: None,
            allow_private: Vec::new(),
        })),
    }
}

pub(super) async fn access_of(store: &Store, user: &str) -> Option<String> {
    let kept = grant("");
    let held = store
        .grant(&caller(user), &kept.provider, &kept.binding.fingerprint(), &AccountName::default())
        .await
        .unwrap()?;
    Some(held.value.tokens.access.expose_secret().to_owned())
}

#[tokio::test]
async fn a_grant_belongs_to_one_person_and_survives_reopening() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    assert!(store.put(&caller("ana"), &grant("for-ana"), None).await.unwrap());
    drop(store);
    let store = place.open().await.unwrap();
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("for-ana"));
    assert_eq!(access_of(&store, "bob").await, None);
    assert_eq!(store.grants(&caller("ana")).await.unwrap().len(), 1);
    assert_eq!(store.grants(&caller("bob")).await.unwrap().len(), 0);
}

#[tokio::test]
async fn the_use_of_a_grant_that_is_gone_is_swept_away() {
    let store = in_memory().await;
    store.put(&caller("ana"), &grant("for-ana"), None).await.unwrap();
    store.put(&caller("bob"), &grant("for-bob"), None).await.unwrap();
    let mut places = Vec::new();
    for name in ["ana", "bob"] {
        let held = store.grants(&caller(name)).await.unwrap().pop().unwrap();
        store.note_use(held.place(), NOW).await.unwrap();
        places.push(held);
    }
    let [ana, bob] = &places[..] else { panic!("two") };
    // As if a process ended after it deleted the grant and before it deleted the last use.
    assert!(store.delete(ana).await.unwrap());
    store.note_use(bob.place(), Time::from_millis(0)).await.unwrap();
    assert!(store.last_use(ana.place()).await.unwrap().is_some());
    store.sweep_grants(NOW).await.unwrap();
    assert_eq!(store.last_use(ana.place()).await.unwrap(), None);
    assert_eq!(store.last_use(bob.place()).await.unwrap(), Some(NOW), "nor an earlier one");
    store.note_use(ana.place(), NOW).await.unwrap();
    assert_eq!(store.last_use(ana.place()).await.unwrap(), None, "of nothing");
}

#[tokio::test]
async fn a_copied_record_does_not_open_under_another_user() {
    let store = in_memory().await;
    store.put(&caller("ana"), &grant("for-ana"), None).await.unwrap();
    let kept = grant("");
    let [from, to] = ["ana", "bob"].map(|user| {
        store.grant_key(
            &caller(user),
            &kept.provider,
            &kept.binding.fingerprint(),
            &AccountName::default(),
        )
    });
    let sealed = store.backend.get(&from).await.unwrap().unwrap();
    assert!(store.backend.swap(&to, None, Some(&sealed)).await.unwrap());
    let stolen = store
        .grant(&caller("bob"), &kept.provider, &kept.binding.fingerprint(), &AccountName::default())
        .await;
    assert!(matches!(stolen, Err(StoreError::Seal(SealError::Foreign))));
}

#[tokio::test]
async fn another_meaning_of_a_provider_neither_finds_nor_overwrites_a_grant() {
    let store = in_memory().await;
    store.put(&caller("ana"), &grant("real"), None).await.unwrap();
    let elsewhere = Grant { binding: binding("https://evil.example/token"), ..grant("evil") };
    let found = store
        .grant(
            &caller("ana"),
            &elsewhere.provider,
            &elsewhere.binding.fingerprint(),
            &AccountName::default(),
        )
        .await;
    assert!(found.unwrap().is_none());
    assert!(store.put(&caller("ana"), &elsewhere, None).await.unwrap());
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("real"));
}

#[tokio::test]
async fn a_grant_is_replaced_only_over_the_one_that_was_read() {
    let store = in_memory().await;
    let ana = caller("ana");
    store.put(&ana, &grant("1"), None).await.unwrap();
    let kept = grant("");
    let read = store
        .grant(&ana, &kept.provider, &kept.binding.fingerprint(), &AccountName::default())
        .await
        .unwrap()
        .unwrap();
    assert!(store.put(&ana, &grant("2"), Some(&read)).await.unwrap());
    assert!(!store.put(&ana, &grant("3"), Some(&read)).await.unwrap());
    assert!(!store.delete(&read).await.unwrap());
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_state_is_redeemed_once() {
    let store = Arc::new(in_memory().await);
    let state = crate::model::secret::random();
    store.start(&state, &started()).await.unwrap();
    let racers = (0..32).map(|_| {
        let (store, state) = (Arc::clone(&store), state.clone());
        tokio::spawn(async move {
            match store.started(state.expose_secret()).await.unwrap() {
                Some(held) => store.delete(&held).await.unwrap(),
                None => false,
            }
        })
    });
    let mut winners = 0;
    for racer in racers.collect::<Vec<_>>() {
        winners += usize::from(racer.await.unwrap());
    }
    assert_eq!(winners, 1);
    assert!(store.started(state.expose_secret()).await.unwrap().is_none());
}

fn started() -> AuthorizationAttempt {
    AuthorizationAttempt {
        authorization: authorization("ana"),
        browser: String::new(),
        verifier: None,
        redirect_uri: "http://127.0.0.1:8971/oauth/callback/acme".into(),
        started_at: NOW,
    }
}

#[tokio::test]
async fn a_link_leads_to_its_authorization_until_it_is_swept() {
    let store = in_memory().await;
    let first = authorization("ana");
    assert!(store.open_link(&first, None).await.unwrap());
    let held = store.by_ticket(first.link().ticket.expose_secret()).await.unwrap().unwrap();
    let second = authorization_at("ana", Time::from_millis(5_000));
    assert!(store.open_link(&second, Some(&held)).await.unwrap());
    assert!(store.by_ticket(first.link().ticket.expose_secret()).await.unwrap().is_none());
    assert!(store.by_ticket(second.link().ticket.expose_secret()).await.unwrap().is_some());
    store.sweep(first.expires_at()).await.unwrap();
    assert!(store.by_ticket(second.link().ticket.expose_secret()).await.unwrap().is_some());
    store.sweep(second.expires_at()).await.unwrap();
    assert!(store.by_ticket(second.link().ticket.expose_secret()).await.unwrap().is_none());
    let left = store.backend.scan(&Key::new(String::new())).await.unwrap();
    assert_eq!(left.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["ring"]);
}

#[tokio::test]
async fn a_look_up_does_not_take_an_unreadable_authorization_for_a_replaced_one() {
    let store = in_memory().await;
    let ana = caller("ana");
    assert!(store.open_link(&authorization("ana"), None).await.unwrap());
    let held = store.authorization_by_id(&ana, "id").await.unwrap().unwrap();
    assert!(store.authorization_by_id(&ana, "other").await.unwrap().is_none());
    assert!(store.authorization_by_id(&caller("bob"), "id").await.unwrap().is_none());
    store.plant_over(&held, br#"{"v":99,"d":{}}"#).await;
    let error = store.authorization_by_id(&ana, "id").await.unwrap_err();
    assert!(matches!(error, StoreError::Record(RecordError::TooNew { found: 99, .. })), "{error}");
}

#[tokio::test]
async fn a_second_process_shares_the_store_of_the_first() {
    let place = Place::new();
    let first = place.open().await.unwrap();
    let second = place.open().await.unwrap();
    assert!(second.put(&caller("ana"), &grant("kept"), None).await.unwrap());
    assert_eq!(access_of(&first, "ana").await.as_deref(), Some("kept"));
    drop(first);
    assert_eq!(access_of(&second, "ana").await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn a_wrong_key_touches_nothing() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    store.put(&caller("ana"), &grant("kept"), None).await.unwrap();
    drop(store);
    let wrong = Store::open(place.folder(), given(2)).await;
    assert!(matches!(wrong.map(|_| ()), Err(StoreError::WrongKey { .. })));
    let store = place.open().await.unwrap();
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn rotating_the_master_key_keeps_every_grant() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    store.put(&caller("ana"), &grant("kept"), None).await.unwrap();
    drop(store);
    let (KeySource::Given(new), KeySource::Given(old)) = (given(2), given(1)) else {
        unreachable!("both are given")
    };
    let both = format!("{},{}", new.expose_secret(), old.expose_secret());
    drop(Store::open(place.folder(), KeySource::Given(both.into())).await.unwrap());
    let store = Store::open(place.folder(), given(2)).await.unwrap();
    assert_eq!(access_of(&store, "ana").await.as_deref(), Some("kept"));
    drop(store);
    assert!(matches!(place.open().await.map(|_| ()), Err(StoreError::WrongKey { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_is_not_private_ours_or_a_store_is_refused_untouched() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let refuse = async |place: &Place| match place.open().await {
        Err(StoreError::Folder(error)) => error,
        other => panic!("{:?}", other.map(|_| ())),
    };
    fs::create_dir(place.data()).unwrap();
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(refuse(&place).await, FolderError::Exposed(_)));
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(place.data().join("thesis.txt"), "years of work").unwrap();
    assert!(matches!(refuse(&place).await, FolderError::OtherFormat(_)));
    fs::remove_file(place.data().join("thesis.txt")).unwrap();
    fs::write(place.data().join("FORMAT"), "countersign 9\n").unwrap();
    assert!(matches!(refuse(&place).await, FolderError::OtherFormat(_)));
    assert_eq!(fs::read_dir(place.data()).unwrap().count(), 1);
    let elsewhere = place.folder.path().join("elsewhere");
    fs::rename(place.data(), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.data()).unwrap();
    assert!(matches!(refuse(&place).await, FolderError::NotAFolder(_)));
}

#[tokio::test]
async fn a_first_start_that_was_cut_off_does_not_lock_the_folder_out() {
    let place = Place::new();
    drop(place.open().await.unwrap());
    for left_behind in ["store.lock", "FORMAT.new"] {
        fs::remove_dir_all(place.data()).unwrap();
        private_file::create_folder(&place.data()).unwrap();
        fs::write(place.data().join(left_behind), "").unwrap();
        assert!(place.open().await.is_ok(), "{left_behind}");
    }
}
