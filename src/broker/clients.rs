//! Our registrations at providers, resolved when they are needed and not before.
//!
//! A secret that is not set, or an issuer that does not answer, is named by the call that needs it;
//! it keeps nothing else from working.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use secrecy::SecretString;
use url::Url;

use crate::config::secret_ref::{self, SecretError};
use crate::model::authorization::{ClientRegistration, CodeTrip, Trip, Way};
use crate::model::credential::{Asked, AskedFor, Credential};
use crate::model::grant::Binding;
use crate::model::provider::{
    Endpoints, Identity, OAuthSettings, Revocation, SecretRef, Setting, TokenAuth, spelled,
};
use crate::model::{Provider, ProviderId};
use crate::oauth::{DiscoveryError, Metadata, OAuthClient};

/// What grants of this provider are bound to; all that a call needs while its token is good.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) binding: Binding,
    /// [`Binding::identity`], reckoned once.
    pub(super) identity: String,
}

/// The operator's side of a provider is not in order.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the OAuth app of `{provider}` is not set up: {source}")]
    Secret { provider: ProviderId, source: SecretError },
    #[error(transparent)]
    Discovery(#[from] Arc<DiscoveryError>),
    #[error("`{provider}` has no {endpoint} endpoint")]
    NoEndpoint { provider: ProviderId, endpoint: &'static str },
    #[error("`{0}` is not connected by OAuth")]
    NotOAuth(ProviderId),
    #[error("`{0}` is not connected by a person's consent")]
    OfTheServer(ProviderId),
    #[error("`{0}` has no client id")]
    NoClientId(ProviderId),
}

impl SetupError {
    pub fn hint(&self) -> String {
        match self {
            Self::Secret { source, .. } => source.hint(),
            Self::Discovery(error) => error.hint().into(),
            Self::NoEndpoint { provider, endpoint } => format!(
                "write `issuer`, or `{endpoint}_url`, in [providers.{provider}.oauth] of tools.toml"
            ),
            Self::NotOAuth(_) => "it uses a key or password; there is nothing to consent to".into(),
            Self::OfTheServer(_) => "its grant is the server's; there is nothing to connect".into(),
            Self::NoClientId(provider) => {
                format!("write `client_id` in [providers.{provider}] of tools.toml")
            }
        }
    }
}

/// Resolves registrations and remembers what does not change.
pub(super) struct Clients {
    oauth: OAuthClient,
    bound: Mutex<HashMap<ProviderId, Arc<Bound>>>,
    metadata: Mutex<HashMap<Url, Arc<Metadata>>>,
}

impl Clients {
    pub(super) fn new(oauth: OAuthClient) -> Self {
        Self { oauth, bound: Mutex::default(), metadata: Mutex::default() }
    }

    /// What grants of this provider are bound to.
    pub(super) async fn bound(&self, provider: &Provider) -> Result<Arc<Bound>, SetupError> {
        if let Some(bound) = self.bound.lock().get(&provider.id) {
            return Ok(Arc::clone(bound));
        }
        if let Credential::Asked(_) = &provider.credential {
            return Ok(self.remember(provider, Binding::pasted(provider.hosts.clone())));
        }
        let settings = settings(provider)?;
        let client_id = self.client_id(provider, settings).await?;
        // The issuer stands for the endpoints that it names, so that a call with a good token needs
        // no discovery.
        let Endpoints { issuer, authorize, token, .. } = &settings.endpoints;
        let named = |written: &Option<Url>, which| match (written, issuer) {
            (Some(endpoint), _) | (None, Some(endpoint)) => Ok(endpoint.to_string()),
            (None, None) => Err(no_endpoint(provider, which)),
        };
        let binding = Binding {
            client_id,
            authorize_endpoint: named(authorize, "authorize")?,
            token_endpoint: named(token, "token")?,
            hosts: provider.hosts.clone(),
        };
        Ok(self.remember(provider, binding))
    }

    fn remember(&self, provider: &Provider, binding: Binding) -> Arc<Bound> {
        let identity = binding.identity();
        let bound = Arc::new(Bound { binding, identity });
        self.bound.lock().insert(provider.id.clone(), Arc::clone(&bound));
        bound
    }

    /// Everything that getting a person's consent needs.
    pub(super) async fn trip(
        &self,
        provider: &Provider,
        after_connect: Option<Url>,
    ) -> Result<Trip, SetupError> {
        let way = match &provider.credential {
            Credential::Asked(asked) => Way::Paste(Box::new(self.asked(provider, asked).await?)),
            Credential::OAuth(_) | Credential::Shared(_) => {
                Way::Code(Box::new(self.code_trip(provider).await?))
            }
        };
        Ok(Trip {
            title: provider.title.clone(),
            scope_words: provider.scope_words.clone(),
            after_connect,
            retention: provider.retention,
            headers: provider.headers.clone(),
            failure: provider.failure.clone(),
            way,
        })
    }

    /// With everybody's user in place of the reference to it: whoever serves the page may not have
    /// what it refers to.
    async fn asked(&self, provider: &Provider, asked: &Asked) -> Result<Asked, SetupError> {
        let AskedFor::Basic { user: Some(user) } = &asked.what else { return Ok(asked.clone()) };
        let user = secret_ref::resolve_setting(user)
            .await
            .map_err(|source| SetupError::Secret { provider: provider.id.clone(), source })?;
        let what = AskedFor::Basic { user: Some(Setting::Literal(user)) };
        Ok(Asked { what, ..asked.clone() })
    }

    /// Everything that a trip to the provider needs; asks the issuer for what is not configured.
    async fn code_trip(&self, provider: &Provider) -> Result<CodeTrip, SetupError> {
        let settings = settings(provider)?;
        let client_id = self.client_id(provider, settings).await?;
        let client_secret = match &settings.client_secret {
            Some(reference) => Some(resolve(provider, reference).await?),
            None => None,
        };
        // Where everything is written nothing needs to be asked: a built-in provider's `issuer` is
        // there for RFC 9207 only.
        let endpoints = &settings.endpoints;
        let is_written = endpoints.token.is_some() && endpoints.authorize.is_some();
        let metadata = match &endpoints.issuer {
            Some(issuer) if !is_written => Some(self.metadata(issuer).await?),
            _ => None,
        };
        let metadata = metadata.as_deref();
        let from = |written: &Option<Url>, learnt: fn(&Metadata) -> Option<&Url>| {
            written.clone().or_else(|| metadata.and_then(learnt).cloned())
        };
        let token_endpoint = from(&endpoints.token, |metadata| Some(&metadata.token_endpoint))
            .ok_or_else(|| no_endpoint(provider, "token"))?;
        let authorize =
            from(&endpoints.authorize, |metadata| metadata.authorization_endpoint.as_ref())
                .ok_or_else(|| no_endpoint(provider, "authorize"))?;
        // It is given the refresh token and our secret, so a discovery document may name one beside
        // the token endpoint only.
        let revocation = endpoints.revoke.clone().or_else(|| {
            metadata
                .and_then(|found| found.revocation_endpoint.clone())
                .filter(|url| url.origin() == token_endpoint.origin())
                .map(Revocation::Rfc7009)
        });
        // An endpoint that a document named on another origin is a stranger's word.
        let learnt = endpoints.token.is_none()
            && endpoints
                .issuer
                .as_ref()
                .is_some_and(|issuer| issuer.origin() != token_endpoint.origin());
        Ok(CodeTrip {
            implied: settings.implied.clone(),
            token_header: settings.token_header.clone(),
            // A document may name one beside the issuer as the operator wrote it only: it is given
            // the token.
            identity: settings.identity.clone().or_else(|| {
                let userinfo = metadata?.userinfo_endpoint.clone()?;
                let issuer = endpoints.issuer.as_ref()?;
                (userinfo.origin() == issuer.origin()).then(|| Identity::openid(userinfo))
            }),
            pkce: settings.pkce,
            scope_parameter: settings.scope_parameter.clone(),
            scope_separator: settings.scope_separator.clone(),
            params: settings.params.clone(),
            client: ClientRegistration {
                token_auth: token_auth(settings, client_secret.as_ref(), metadata),
                client_id,
                client_secret,
                token_endpoint,
                refresh_endpoint: endpoints.refresh.clone(),
                token_params: settings.token_params.clone(),
                token_body: settings.token_body,
                response: settings.response.clone(),
                revocation,
                learnt,
            },
            authorize,
            issuer: match metadata {
                Some(metadata) => Some(metadata.issuer.clone()),
                None => endpoints.issuer.as_ref().map(spelled).map(str::to_owned),
            },
            issuer_required: metadata
                .is_some_and(|metadata| metadata.authorization_response_iss_parameter_supported),
        })
    }

    /// Our registration at the provider: what a token request needs.
    pub(super) async fn registration(
        &self,
        provider: &Provider,
    ) -> Result<ClientRegistration, SetupError> {
        Ok(self.code_trip(provider).await?.client)
    }

    async fn client_id(
        &self,
        provider: &Provider,
        settings: &OAuthSettings,
    ) -> Result<String, SetupError> {
        match &settings.client_id {
            None => Err(SetupError::NoClientId(provider.id.clone())),
            Some(setting) => secret_ref::resolve_setting(setting)
                .await
                .map_err(|source| SetupError::Secret { provider: provider.id.clone(), source }),
        }
    }

    /// The issuer's metadata, asked for once per process: endpoints do not move under a running
    /// server, and a failure is not remembered.
    async fn metadata(&self, issuer: &Url) -> Result<Arc<Metadata>, SetupError> {
        if let Some(metadata) = self.metadata.lock().get(issuer) {
            return Ok(Arc::clone(metadata));
        }
        let metadata = Arc::new(self.oauth.discover(issuer).await.map_err(Arc::new)?);
        self.metadata.lock().insert(issuer.clone(), Arc::clone(&metadata));
        Ok(metadata)
    }
}

pub(super) fn settings(provider: &Provider) -> Result<&OAuthSettings, SetupError> {
    match &provider.credential {
        Credential::OAuth(settings) if settings.grant.is_by_consent() => Ok(settings),
        Credential::OAuth(_) => Err(SetupError::OfTheServer(provider.id.clone())),
        Credential::Shared(_) | Credential::Asked(_) => {
            Err(SetupError::NotOAuth(provider.id.clone()))
        }
    }
}

async fn resolve(provider: &Provider, reference: &SecretRef) -> Result<SecretString, SetupError> {
    secret_ref::resolve(reference)
        .await
        .map_err(|source| SetupError::Secret { provider: provider.id.clone(), source })
}

fn no_endpoint(provider: &Provider, endpoint: &'static str) -> SetupError {
    SetupError::NoEndpoint { provider: provider.id.clone(), endpoint }
}

/// As configured; else what the issuer supports, where `client_secret_basic` is the default
/// (RFC 8414 §2); without a secret we are a public client.
fn token_auth(
    settings: &OAuthSettings,
    secret: Option<&SecretString>,
    metadata: Option<&Metadata>,
) -> TokenAuth {
    if secret.is_none() {
        return TokenAuth::None;
    }
    let supported = |method: &str| {
        metadata.is_some_and(|metadata| {
            metadata.token_endpoint_auth_methods_supported.iter().any(|known| known == method)
        })
    };
    settings.token_auth.unwrap_or_else(|| {
        if supported("client_secret_post") && !supported("client_secret_basic") {
            TokenAuth::Post
        } else {
            TokenAuth::Basic
        }
    })
}
