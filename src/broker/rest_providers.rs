//! Providers that administrators make over REST. Each belongs to the key that made it: only the
//! users of that key are asked for consents there.
//!
//! They never take the place of a provider of `tools.toml`, which is found first under any name. A
//! provider that is deleted ends its links and its users' accounts, at the provider and here.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use secrecy::ExposeSecret as _;
use url::Origin;

use super::client::registration::settings;
use super::{Broker, ConnectError, MAX_WRITE_ATTEMPTS};
use crate::config::{self, UnfitField};
use crate::model::authorization::redirect_uri;
use crate::model::event::EndedBy;
use crate::model::oauth::{Endpoints, Revocation};
use crate::model::rest_provider::{OAuthApp, RestProvider};
use crate::model::secret::random_ticket;
use crate::model::{Caller, Provider, ProviderId};
use crate::store::{StoreError, Table};

/// Most providers of one key.
pub const MAX_PROVIDERS: usize = 100;
/// Users whose accounts end at the same time.
const MAX_CONCURRENT_ENDS: usize = 16;

/// The providers. No other module can write one.
pub(super) struct RestProviders(Table<RestProvider>);

/// Settings of a provider, as its administrator writes them. Where one is absent, a change keeps the
/// present one.
#[derive(Debug, Default)]
pub struct ProviderSettings {
    pub description: Option<String>,
    pub external_id: Option<String>,
    pub built_in: Option<String>,
    pub is_active: Option<bool>,
    pub app: OAuthApp,
}

/// Why a provider is not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutProviderError {
    #[error("the server's tools.toml has a provider of this name; choose another name")]
    InFile,
    #[error("your key has a provider of this name; change it, or choose another name")]
    Exists,
    #[error("the provider of this name is being deleted; delete it again to see that it is gone")]
    Ending,
    #[error("the key has {MAX_PROVIDERS} providers, and no more are kept")]
    TooMany,
    /// The stored secret would be sent to a host that its administrator has not named for it.
    #[error(
        "another host would get the client secret; send `oauth2.client_secret` with this change"
    )]
    NoSecret,
    #[error(transparent)]
    Unfit(#[from] UnfitField),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why users cannot be asked for a consent at a provider that an application names.
#[derive(Debug, thiserror::Error)]
pub enum NoSuchProvider {
    #[error("there is no such provider in this server's tools.toml, and your key has none")]
    Unknown,
    #[error("the provider is inactive; set its `status` to `active`")]
    Inactive,
    #[error("your key has several providers for this one; name one of them in `id`")]
    Ambiguous,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RestProviders {
    pub(super) fn new(table: Table<RestProvider>) -> Self {
        Self(table)
    }
}

impl Broker {
    /// Returns the provider with this id for this user. The one look-up of providers: it also finds
    /// what the user's application has made over REST.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn provider_of(
        &self,
        caller: &Caller,
        id: &ProviderId,
    ) -> Result<Option<Arc<Provider>>, StoreError> {
        self.0.providers.find(caller, id).await
    }

    /// Like [`Self::provider_of`], without a provider that is inactive or being deleted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn active_provider_of(
        &self,
        caller: &Caller,
        id: &ProviderId,
    ) -> Result<Option<Arc<Provider>>, StoreError> {
        if let Some((space, name)) = id.made_over_rest() {
            let record = self.rest_provider(&space, name).await?;
            if !record.is_some_and(|record| record.is_active) {
                return Ok(None);
            }
        }
        self.provider_of(caller, id).await
    }

    /// Returns the provider that an application, `space`, names: one of `tools.toml`, else its own of
    /// that name, else its only own one that stands for the built-in provider `built_in`.
    ///
    /// # Errors
    /// [`NoSuchProvider`]
    pub async fn provider_named(
        &self,
        space: &str,
        names: &[&str],
        built_in: Option<&str>,
    ) -> Result<Arc<Provider>, NoSuchProvider> {
        let catalogue = self.catalogue();
        let mut found = None;
        for name in names {
            if let Some(provider) = catalogue.provider(name) {
                return Ok(Arc::clone(provider));
            }
            found = self.rest_provider(space, name).await?;
            if found.is_some() {
                break;
            }
        }
        let record = match (found, built_in) {
            (Some(record), _) => record,
            (None, Some(built_in)) => self.standing_for(space, built_in).await?,
            (None, None) => return Err(NoSuchProvider::Unknown),
        };
        if !record.is_active {
            return Err(NoSuchProvider::Inactive);
        }
        self.0.providers.of(&record).ok_or(NoSuchProvider::Unknown)
    }

    /// Returns the only provider of an application that stands for a built-in one.
    async fn standing_for(
        &self,
        space: &str,
        built_in: &str,
    ) -> Result<RestProvider, NoSuchProvider> {
        let own = self.rest_providers(space).await?.into_iter();
        let mut standing = own.filter(|it| it.built_in.as_deref() == Some(built_in));
        match (standing.next(), standing.next()) {
            (Some(record), None) => Ok(record),
            (Some(_), Some(_)) => Err(NoSuchProvider::Ambiguous),
            (None, _) => Err(NoSuchProvider::Unknown),
        }
    }

    /// Returns the providers that an application, `space`, has made, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn rest_providers(&self, space: &str) -> Result<Vec<RestProvider>, StoreError> {
        let held = self.store().await?.rest_providers(space).await?;
        let all = held.into_iter().map(|held| held.value);
        let mut providers: Vec<RestProvider> = all.filter(|it| !it.is_ending).collect();
        providers.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(providers)
    }

    /// Returns the provider that an application, `space`, has made under this name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn rest_provider(
        &self,
        space: &str,
        name: &str,
    ) -> Result<Option<RestProvider>, StoreError> {
        let held = self.store().await?.rest_provider(space, name).await?;
        Ok(held.map(|held| held.value).filter(|it| !it.is_ending))
    }

    /// Stores a new provider of an application, `space`.
    ///
    /// # Errors
    /// [`PutProviderError`]
    pub async fn make_rest_provider(
        &self,
        space: &str,
        name: &str,
        settings: ProviderSettings,
    ) -> Result<RestProvider, PutProviderError> {
        if self.catalogue().provider(name).is_some() {
            return Err(PutProviderError::InFile);
        }
        let store = self.store().await?;
        match store.rest_provider(space, name).await? {
            Some(held) if held.value.is_ending => return Err(PutProviderError::Ending),
            Some(_) => return Err(PutProviderError::Exists),
            None => {}
        }
        if store.rest_providers(space).await?.len() >= MAX_PROVIDERS {
            return Err(PutProviderError::TooMany);
        }
        let now = self.now();
        let ProviderSettings { description, external_id, built_in, is_active, app } = settings;
        let record = RestProvider {
            name: name.to_owned(),
            space: space.to_owned(),
            description,
            external_id,
            built_in,
            is_active: is_active.unwrap_or(true),
            is_ending: false,
            app,
            revision: revision(),
            created_at: now,
            updated_at: now,
        };
        config::rest_provider(&record, self.0.parts.rest_rules)?;
        let is_put = self.0.rest_providers.0.put(&record, None).await?;
        if is_put { Ok(record) } else { Err(PutProviderError::Exists) }
    }

    /// Changes a provider of an application, `space`; `None` if there is none of this name.
    ///
    /// # Errors
    /// [`PutProviderError`]
    pub async fn change_rest_provider(
        &self,
        space: &str,
        name: &str,
        change: &ProviderSettings,
    ) -> Result<Option<RestProvider>, PutProviderError> {
        let store = self.store().await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let held = store.rest_provider(space, name).await?;
            let Some(held) = held.filter(|held| !held.value.is_ending) else { return Ok(None) };
            let before = &held.value;
            let record = RestProvider {
                description: change.description.clone().or(before.description.clone()),
                external_id: change.external_id.clone().or(before.external_id.clone()),
                built_in: change.built_in.clone().or(before.built_in.clone()),
                is_active: change.is_active.unwrap_or(before.is_active),
                app: before.app.clone().changed_by(change.app.clone()),
                revision: revision(),
                updated_at: self.now(),
                ..before.clone()
            };
            let provider = config::rest_provider(&record, self.0.parts.rest_rules)?;
            let keeps_secret =
                before.app.client_secret.is_some() && change.app.client_secret.is_none();
            // The secret is never answered. Its next administrator must not have it sent to a host of
            // their own, either.
            if keeps_secret && !self.is_at_same_hosts(before, &provider) {
                return Err(PutProviderError::NoSecret);
            }
            if self.0.rest_providers.0.put(&record, Some(&held)).await? {
                return Ok(Some(record));
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Whether each endpoint that gets the client secret is at an origin that has got it before.
    fn is_at_same_hosts(&self, before: &RestProvider, now: &Provider) -> bool {
        let before = self.0.providers.of(before).map(|before| given_secret(&before));
        before.is_some_and(|before| given_secret(now).is_subset(&before))
    }

    /// Deletes a provider of an application, `space`, after it has ended its links and its users'
    /// accounts. Returns it; `None` if there is none of this name.
    ///
    /// # Errors
    /// [`ConnectError`] if the store cannot be read or written; then the provider is gone for its
    /// application, and deleting it again continues.
    pub async fn delete_rest_provider(
        &self,
        space: &str,
        name: &str,
    ) -> Result<Option<RestProvider>, ConnectError> {
        let tasks = &self.0.tasks;
        // Counted before the check, so that the end of the process waits for what begins here.
        let _counted = tasks.token();
        if tasks.is_closed() {
            return Err(ConnectError::Ending);
        }
        let (broker, space, name) = (self.clone(), space.to_owned(), name.to_owned());
        // In a task of its own: a client that disconnects must not stop it half-way.
        let deleted = tasks.spawn(async move { broker.end_rest_provider(&space, &name).await });
        deleted.await.unwrap_or(Err(ConnectError::Ending))
    }

    async fn end_rest_provider(
        &self,
        space: &str,
        name: &str,
    ) -> Result<Option<RestProvider>, ConnectError> {
        let Some(id) = self.begin_end_of(space, name).await? else { return Ok(None) };
        self.consents().end_begun_at(&id).await?;
        self.end_accounts_at(space, &id).await?;
        let held = self.store().await?.rest_provider(space, name).await?;
        let Some(held) = held.filter(|held| held.value.is_ending) else { return Ok(None) };
        let deleted = self.0.rest_providers.0.delete_last(held).await?;
        Ok(deleted.map(|held| held.value))
    }

    /// Marks a provider as being deleted. A consent whose code is being exchanged at this moment is
    /// either stored before, and found with the accounts, or finds the mark
    /// (`Consents::has_ended`).
    async fn begin_end_of(
        &self,
        space: &str,
        name: &str,
    ) -> Result<Option<ProviderId>, StoreError> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(held) = self.store().await?.rest_provider(space, name).await? else {
                return Ok(None);
            };
            let ending = RestProvider { is_ending: true, ..held.value.clone() };
            if held.value.is_ending || self.0.rest_providers.0.put(&ending, Some(&held)).await? {
                return Ok(Some(ending.provider_id()));
            }
        }
        Err(StoreError::Contended)
    }

    /// Ends all accounts at a provider, at the provider and here.
    async fn end_accounts_at(&self, space: &str, id: &ProviderId) -> Result<(), ConnectError> {
        let users = self.users().all(&[]).await?.into_iter();
        let there = users.filter(|user| user.grants.contains_key(id));
        let callers = there.filter_map(|user| user.caller).filter(|it| it.namespace == space);
        let ends = callers.map(|caller| async move {
            self.accounts().end_at(&caller, id, None, EndedBy::Application).await.map(drop)
        });
        let ends = futures_util::stream::iter(ends).buffer_unordered(MAX_CONCURRENT_ENDS);
        ends.collect::<Vec<_>>().await.into_iter().collect()
    }

    /// Returns the redirect URI to register for a provider; `None` if no browser can come back from
    /// there to this server.
    pub async fn redirect_uri_of(&self, record: &RestProvider) -> Option<String> {
        let provider = self.0.providers.of(record)?;
        let rule = settings(&provider).ok()?.loopback;
        let origin = (self.0.parts.origin)(provider.id.clone(), rule).await.ok()?;
        Some(redirect_uri(&origin, &provider.id))
    }
}

/// Origins of the endpoints that get the client secret.
fn given_secret(provider: &Provider) -> BTreeSet<String> {
    let Ok(settings) = settings(provider) else { return BTreeSet::new() };
    let Endpoints { issuer, token, refresh, revoke, device, .. } = &settings.endpoints;
    let revoke = revoke.as_ref().map(Revocation::url);
    let all = [issuer.as_ref(), token.as_ref(), refresh.as_ref(), revoke, device.as_ref()];
    let origins = all.into_iter().flatten().map(url::Url::origin);
    origins.map(|origin: Origin| origin.ascii_serialization()).collect()
}

fn revision() -> String {
    random_ticket().expose_secret().to_owned()
}
