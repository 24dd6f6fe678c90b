//! Our registrations at providers, resolved only when they are needed.
//!
//! If a secret is not set, or an issuer does not answer, the call that needs it names the cause;
//! everything else keeps working.

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::Clients;
use super::assertion::{self, AssertionError, Speaker};
use crate::broker::Connection;
use crate::config::secrets::{self, SecretError};
use crate::model::consent_plan::{ClientRegistration, CodeFlow, ConsentMethod, ConsentPlan};
use crate::model::credential::{Asked, AskedFor, Credential};
use crate::model::grant::Binding;
use crate::model::identity::Identity;
use crate::model::oauth::{
    ClientSecret, Endpoints, GrantType, OAuthSettings, Revocation, TokenAuth, spelled,
};
use crate::model::secret_ref::{SecretRef, Setting};
use crate::model::{AccountName, Caller, Grant, Provider, ProviderId, secret};
use crate::oauth::{DiscoveryError, Metadata, Revoked};

/// Binding of this provider's grants; all that a call needs while its token is good.
#[derive(Debug)]
pub(in crate::broker) struct Bound {
    /// The provider that it was made for. Another catalogue may mean another one by the same name.
    provider: Arc<Provider>,
    pub(in crate::broker) binding: Binding,
    /// [`Binding::fingerprint`], computed once.
    pub(in crate::broker) fingerprint: String,
}

/// A provider's setup is incomplete, or could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the OAuth app of `{provider}` is not set up: {source}")]
    Secret { provider: ProviderId, source: SecretError },
    #[error(transparent)]
    Discovery(#[from] Arc<DiscoveryError>),
    #[error("`{provider}` has no {endpoint} endpoint")]
    NoEndpoint { provider: ProviderId, endpoint: &'static str },
    /// Its `issuer` is configured, and names no such endpoint that may be used.
    #[error("the issuer of `{provider}` names no {endpoint} endpoint")]
    NotNamed { provider: ProviderId, endpoint: &'static str },
    #[error("`{0}` is not connected by OAuth")]
    NotOAuth(ProviderId),
    #[error("`{0}` is not connected by a person's consent")]
    OfTheServer(ProviderId),
    #[error("`{0}` is connected by each person's consent")]
    ByConsent(ProviderId),
    #[error("`{0}` has no client id")]
    NoClientId(ProviderId),
    #[error("the assertion for `{provider}` cannot be made: {source}")]
    Assertion { provider: ProviderId, source: AssertionError },
}

impl SetupError {
    /// Whether it is temporary trouble of the provider, not a setup to complete.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Discovery(error) if error.is_passing())
    }

    /// Advice that completes the error message, as a lower-case fragment.
    pub fn hint(&self) -> String {
        match self {
            Self::Secret { source, .. } => source.hint(),
            Self::Discovery(error) => error.hint().into(),
            Self::NoEndpoint { provider, endpoint } => format!(
                "write `issuer`, or `{endpoint}_url`, in [providers.{provider}.oauth] of tools.toml"
            ),
            Self::NotNamed { provider, endpoint } => format!(
                "write `{endpoint}_url` in [providers.{provider}.oauth] of tools.toml if the provider has one; else connect without it"
            ),
            Self::NotOAuth(_) => "it uses a key or password; there is nothing to consent to".into(),
            Self::OfTheServer(_) => "its grant is the server's; there is nothing to connect".into(),
            Self::ByConsent(_) => "there is no grant of the server's own to be had".into(),
            Self::NoClientId(provider) => {
                format!("write `client_id` in [providers.{provider}] of tools.toml")
            }
            Self::Assertion { source, .. } => source.hint(),
        }
    }
}

impl Clients {
    /// Returns a user's account at a provider, with the provider's present binding.
    pub(in crate::broker) async fn connection(
        &self,
        caller: &Caller,
        provider: &Arc<Provider>,
        account: &AccountName,
    ) -> Result<Connection, SetupError> {
        Ok(Connection {
            caller: caller.clone(),
            provider: Arc::clone(provider),
            bound: self.bound(provider).await?,
            account: account.clone(),
        })
    }

    /// Ends a grant at the provider. Tokens and our secret go to the endpoint that was known when
    /// the user consented, or nowhere: a `tools.toml` that names another one must not receive
    /// either.
    pub(in crate::broker) async fn revoke(
        &self,
        client: &ClientRegistration,
        grant: &Grant,
    ) -> Revoked {
        if client.revocation != grant.revocation {
            return Revoked::NoWay;
        }
        self.oauth.revoke(client, &grant.tokens).await
    }

    /// Whether what was given under `binding` may be used as this provider is configured now.
    pub(in crate::broker) async fn may_use(
        &self,
        provider: &Arc<Provider>,
        binding: &Binding,
    ) -> Result<bool, SetupError> {
        Ok(binding.covers(&self.bound(provider).await?.binding))
    }

    /// Returns the binding of this provider's grants.
    pub(in crate::broker) async fn bound(
        &self,
        provider: &Arc<Provider>,
    ) -> Result<Arc<Bound>, SetupError> {
        if let Some(bound) = self.bound.lock().get(&provider.id)
            && Arc::ptr_eq(&bound.provider, provider)
        {
            return Ok(Arc::clone(bound));
        }
        self.bound_anew(provider).await
    }

    /// Like [`Self::bound`], with all references resolved again.
    pub(in crate::broker) async fn bound_anew(
        &self,
        provider: &Arc<Provider>,
    ) -> Result<Arc<Bound>, SetupError> {
        if let Credential::Asked(_) = &provider.credential {
            return Ok(self.remember(provider, Binding::pasted(provider.hosts.clone())));
        }
        let settings = oauth(provider)?;
        // The issuer stands for the endpoints that it names, so a call with a good token needs no
        // discovery.
        let Endpoints { issuer, authorize, token, refresh, .. } = &settings.endpoints;
        let named = |written: &Option<Url>, which| match (written, issuer) {
            (Some(endpoint), _) | (None, Some(endpoint)) => Ok(endpoint.to_string()),
            (None, None) => Err(no_endpoint(provider, which)),
        };
        let (client_id, authorize_endpoint) = match &settings.grant {
            GrantType::Code => {
                (self.client_id(provider, settings).await?, named(authorize, "authorize")?)
            }
            GrantType::ClientCredentials => {
                let params = &settings.token_params;
                let written = format!("client_credentials {params:?}");
                (self.client_id(provider, settings).await?, secret::fingerprint(&written))
            }
            GrantType::JwtBearer { assertion: written } => {
                let params = &settings.token_params;
                let speaker = assertion::speaker(settings, written).await;
                let Speaker { issuer, subject } =
                    speaker.map_err(|source| unasserted(provider, source))?;
                let audience = settings.assertion_audience(written);
                // `Debug` quotes every text, so different values are never written alike.
                let spoken = (&issuer, subject, audience, &written.claims, params);
                let fingerprint = secret::fingerprint(&format!("jwt_bearer {spoken:?}"));
                let client_id = match &settings.client_id {
                    Some(_) => self.client_id(provider, settings).await?,
                    None => issuer,
                };
                (client_id, fingerprint)
            }
        };
        let binding = Binding {
            client_id,
            authorize_endpoint,
            token_endpoint: named(token, "token")?,
            refresh_endpoint: refresh.as_ref().map(Url::to_string),
            hosts: provider.hosts.clone(),
        };
        Ok(self.remember(provider, binding))
    }

    fn remember(&self, provider: &Arc<Provider>, binding: Binding) -> Arc<Bound> {
        let fingerprint = binding.fingerprint();
        let bound = Arc::new(Bound { provider: Arc::clone(provider), binding, fingerprint });
        self.bound.lock().insert(provider.id.clone(), Arc::clone(&bound));
        bound
    }

    /// Resolves everything that a user's consent needs.
    pub(in crate::broker) async fn consent_plan(
        &self,
        provider: &Provider,
        after_connect: Option<Url>,
    ) -> Result<ConsentPlan, SetupError> {
        let method = match &provider.credential {
            Credential::Asked(asked) => {
                ConsentMethod::Paste(Box::new(self.asked(provider, asked).await?))
            }
            Credential::OAuth(_) | Credential::Shared(_) => {
                ConsentMethod::Code(Box::new(self.code_flow(provider).await?))
            }
        };
        Ok(ConsentPlan {
            title: provider.title.clone(),
            scope_words: provider.scope_words.clone(),
            after_connect,
            retention: provider.retention,
            headers: provider.headers.clone(),
            failure: provider.failure.clone(),
            method,
        })
    }

    /// Replaces the reference to a shared user name with the name: the process that serves the page
    /// may lack what it refers to.
    async fn asked(&self, provider: &Provider, asked: &Asked) -> Result<Asked, SetupError> {
        let AskedFor::Basic { user: Some(user) } = &asked.what else { return Ok(asked.clone()) };
        let user = secrets::resolve_setting(user)
            .await
            .map_err(|source| SetupError::Secret { provider: provider.id.clone(), source })?;
        let what = AskedFor::Basic { user: Some(Setting::Literal(user)) };
        Ok(Asked { what, ..asked.clone() })
    }

    /// Resolves everything that a code flow needs; asks the issuer for what is not configured.
    async fn code_flow(&self, provider: &Provider) -> Result<CodeFlow, SetupError> {
        let settings = settings(provider)?;
        let client = self.registration(provider).await?;
        let metadata = self.unwritten(settings).await?;
        let metadata = metadata.as_deref();
        let learnt = || metadata?.authorization_endpoint.clone();
        let Endpoints { authorize, issuer, .. } = &settings.endpoints;
        let authorize =
            authorize.clone().or_else(learnt).ok_or_else(|| no_endpoint(provider, "authorize"))?;
        let userinfo = || metadata?.userinfo_endpoint.clone();
        Ok(CodeFlow {
            implied: settings.implied.clone(),
            token_header: settings.token_header.clone(),
            // This endpoint is given the token, so a discovery document may name one only on the
            // origin of the issuer that the operator wrote.
            identity: settings.identity.clone().or_else(|| {
                let (userinfo, issuer) = (userinfo()?, issuer.as_ref()?);
                (userinfo.origin() == issuer.origin()).then(|| Identity::openid(userinfo))
            }),
            allow_private: self.oauth.allowed_blocks(),
            token_facts: provider.token_facts(),
            offline_prompt: settings.offline_prompt,
            pkce: settings.pkce,
            scope_parameter: settings.scope_parameter.clone(),
            scope_separator: settings.scope_separator.clone(),
            params: settings.params.clone(),
            client,
            authorize,
            issuer: match metadata {
                Some(metadata) => Some(metadata.issuer.clone()),
                None => issuer.as_ref().map(spelled).map(str::to_owned),
            },
            issuer_required: metadata
                .is_some_and(|metadata| metadata.authorization_response_iss_parameter_supported),
        })
    }

    /// Our registration at the provider: what a token request needs.
    pub(in crate::broker) async fn registration(
        &self,
        provider: &Provider,
    ) -> Result<ClientRegistration, SetupError> {
        let settings = oauth(provider)?;
        let client_id = match (&settings.grant, &settings.client_id) {
            // The assertion alone is enough, without a client id (RFC 7523 §3.1).
            (GrantType::JwtBearer { .. }, None) => String::new(),
            _ => self.client_id(provider, settings).await?,
        };
        let client_secret = match &settings.client_secret {
            Some(ClientSecret::Reference(reference)) => Some(resolve(provider, reference).await?),
            Some(ClientSecret::Stored(secret)) => Some(secret.clone()),
            None => None,
        };
        let endpoints = &settings.endpoints;
        let metadata = self.unwritten(settings).await?;
        let metadata = metadata.as_deref();
        let learnt = || Some(metadata?.token_endpoint.clone());
        let token_endpoint = endpoints
            .token
            .clone()
            .or_else(learnt)
            .ok_or_else(|| no_endpoint(provider, "token"))?;
        // This endpoint is given the refresh token and our secret, so a discovery document may name
        // one only on the token endpoint's origin.
        let revocation = endpoints.revoke.clone().or_else(|| {
            metadata
                .and_then(|found| found.revocation_endpoint.clone())
                .filter(|url| url.origin() == token_endpoint.origin())
                .map(Revocation::Rfc7009)
        });
        // An endpoint on another origin is the discovery document's word, not the operator's.
        let is_found_elsewhere = endpoints.token.is_none()
            && endpoints
                .issuer
                .as_ref()
                .is_some_and(|issuer| issuer.origin() != token_endpoint.origin());
        Ok(ClientRegistration {
            token_auth: token_auth(settings, client_secret.as_ref(), metadata),
            client_id,
            client_secret,
            token_endpoint,
            refresh_endpoint: endpoints.refresh.clone(),
            token_params: settings.token_params.clone(),
            token_body: settings.token_body,
            response: settings.response.clone(),
            revocation,
            learnt: settings.is_learnt || is_found_elsewhere,
        })
    }

    /// Endpoint at which `client` asks for a device code (RFC 8628 §3.1). It is given our secret,
    /// so a discovery document may name one only on the token endpoint's origin.
    pub(in crate::broker) async fn device_endpoint(
        &self,
        provider: &Provider,
        client: &ClientRegistration,
    ) -> Result<Url, SetupError> {
        let endpoints = &settings(provider)?.endpoints;
        if let Some(written) = &endpoints.device {
            return Ok(written.clone());
        }
        let metadata = match &endpoints.issuer {
            Some(issuer) => Some(self.metadata(issuer).await?),
            None => None,
        };
        metadata
            .and_then(|found| found.device_authorization_endpoint.clone())
            .filter(|url| url.origin() == client.token_endpoint.origin())
            .ok_or_else(|| no_endpoint(provider, "device"))
    }

    /// Metadata of the issuer, if endpoints are not configured. Otherwise the issuer is not asked:
    /// a built-in provider's `issuer` is there for RFC 9207 only.
    async fn unwritten(
        &self,
        settings: &OAuthSettings,
    ) -> Result<Option<Arc<Metadata>>, SetupError> {
        let Endpoints { issuer, authorize, token, .. } = &settings.endpoints;
        let is_written =
            token.is_some() && (authorize.is_some() || !settings.grant.is_by_consent());
        match issuer {
            Some(issuer) if !is_written => Ok(Some(self.metadata(issuer).await?)),
            _ => Ok(None),
        }
    }

    async fn client_id(
        &self,
        provider: &Provider,
        settings: &OAuthSettings,
    ) -> Result<String, SetupError> {
        match &settings.client_id {
            None => Err(SetupError::NoClientId(provider.id.clone())),
            Some(setting) => secrets::resolve_setting(setting)
                .await
                .map_err(|source| SetupError::Secret { provider: provider.id.clone(), source }),
        }
    }

    /// The issuer's metadata, requested once per process: endpoints do not move under a running
    /// server. Failures are not cached.
    async fn metadata(&self, issuer: &Url) -> Result<Arc<Metadata>, SetupError> {
        if let Some(metadata) = self.metadata.lock().get(issuer) {
            return Ok(Arc::clone(metadata));
        }
        let metadata = Arc::new(self.oauth.discover(issuer).await.map_err(Arc::new)?);
        self.metadata.lock().insert(issuer.clone(), Arc::clone(&metadata));
        Ok(metadata)
    }
}

/// Settings of a grant that a user's consent gives.
pub(in crate::broker) fn settings(provider: &Provider) -> Result<&OAuthSettings, SetupError> {
    match oauth(provider)? {
        settings if settings.grant.is_by_consent() => Ok(settings),
        _ => Err(SetupError::OfTheServer(provider.id.clone())),
    }
}

/// Settings of a user's grant or of the server's own.
pub(in crate::broker) fn oauth(provider: &Provider) -> Result<&OAuthSettings, SetupError> {
    match &provider.credential {
        Credential::OAuth(settings) => Ok(settings),
        Credential::Shared(_) | Credential::Asked(_) => {
            Err(SetupError::NotOAuth(provider.id.clone()))
        }
    }
}

async fn resolve(provider: &Provider, reference: &SecretRef) -> Result<SecretString, SetupError> {
    secrets::resolve(reference)
        .await
        .map_err(|source| SetupError::Secret { provider: provider.id.clone(), source })
}

pub(in crate::broker) fn unasserted(provider: &Provider, source: AssertionError) -> SetupError {
    SetupError::Assertion { provider: provider.id.clone(), source }
}

fn no_endpoint(provider: &Provider, endpoint: &'static str) -> SetupError {
    let has_issuer = oauth(provider).is_ok_and(|settings| settings.endpoints.issuer.is_some());
    let provider = provider.id.clone();
    if has_issuer {
        SetupError::NotNamed { provider, endpoint }
    } else {
        SetupError::NoEndpoint { provider, endpoint }
    }
}

/// The configured method; else one that the issuer supports, where `client_secret_basic` is the
/// default (RFC 8414 §2). Without a secret we are a public client.
fn token_auth(
    settings: &OAuthSettings,
    secret: Option<&SecretString>,
    metadata: Option<&Metadata>,
) -> TokenAuth {
    if secret.is_none() {
        return TokenAuth::None;
    }
    settings.token_auth.or_else(|| metadata.map(Metadata::token_auth)).unwrap_or(TokenAuth::Basic)
}
