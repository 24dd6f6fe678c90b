//! Resolves the secrets of `[server.auth]`. Unlike those of providers, they are resolved before the
//! server starts to serve: a server that does not know its keys would refuse every caller, and a
//! key that is too weak must be found before it is used.

use secrecy::{ExposeSecret as _, SecretString};

use super::secret_ref::written;
use super::secrets::{self, SecretError};
use crate::model::server_auth::{
    ApiKey, Client, Issuer, ResolvedAuth, ResolvedIssuer, ResolvedKey, ServerAuth,
};

/// Minimum length of a caller's key in bytes; a shorter key is refused. Any client that reaches the
/// port can guess keys. 20 characters are 120 bits in base64, too many for any rate of guessing.
pub(super) const MIN_KEY_BYTES: usize = 20;

/// A secret of `[server.auth]` that cannot be used. Names the setting or key, never a value.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("`{key}` of [server.auth] cannot be looked up")]
    Client { key: &'static str, source: SecretError },
    #[error("the key `{name}` of [server.auth] cannot be looked up")]
    Key { name: String, source: SecretError },
    #[error(
        "the key `{name}` of [server.auth] has less than {MIN_KEY_BYTES} characters, and could be guessed"
    )]
    Short { name: String, reference: String },
}

impl AuthError {
    /// Tells the operator how to fix this.
    pub fn hint(&self) -> String {
        match self {
            Self::Client { source, .. } | Self::Key { source, .. } => source.hint(),
            Self::Short { reference, .. } => {
                format!("make one with `openssl rand -base64 32`, and let `{reference}` lead to it")
            }
        }
    }
}

/// Resolves every reference.
///
/// # Errors
/// All [`AuthError`]s at once, so that the operator can fix them before the next start.
pub async fn resolve(auth: &ServerAuth) -> Result<ResolvedAuth, Vec<AuthError>> {
    let (mut resolved, mut errors) = (ResolvedAuth::default(), Vec::new());
    if let Some(issuer) = &auth.issuer {
        match self::issuer(issuer).await {
            Ok(issuer) => resolved.issuer = Some(issuer),
            Err(error) => errors.push(error),
        }
    }
    for key in &auth.keys {
        match self::key(key).await {
            Ok(key) => resolved.keys.push(key),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(resolved) } else { Err(errors) }
}

async fn issuer(issuer: &Issuer) -> Result<ResolvedIssuer, AuthError> {
    let client = client(issuer).await?;
    let issuer = issuer.clone();
    Ok(ResolvedIssuer {
        url: issuer.url,
        audience: issuer.audience,
        allowed_clients: issuer.allowed_clients,
        scopes: issuer.scopes,
        client,
        user_claim: issuer.user_claim,
        groups_claim: issuer.groups_claim,
        introspect: issuer.introspect,
        introspection_cache: issuer.introspection_cache,
    })
}

async fn client(issuer: &Issuer) -> Result<Option<Client>, AuthError> {
    let failed = |key| move |source| AuthError::Client { key, source };
    let Some(id) = &issuer.client_id else { return Ok(None) };
    let id = secrets::resolve_setting(id).await.map_err(failed("client_id"))?;
    let secret = match &issuer.client_secret {
        Some(secret) => Some(secrets::resolve(secret).await.map_err(failed("client_secret"))?),
        None => None,
    };
    Ok(Some(Client { id, secret }))
}

async fn key(key: &ApiKey) -> Result<ResolvedKey, AuthError> {
    let ApiKey { name, key: reference, holder } = key.clone();
    let key = secrets::resolve(&reference)
        .await
        .map_err(|source| AuthError::Key { name: name.clone(), source })?;
    // `new,old`, as in COUNTERSIGN_KEY: both are valid, so that a key can be rotated without a gap.
    let values = values(key.expose_secret()).map(SecretString::from).collect();
    if has_short_key(key.expose_secret()) {
        return Err(AuthError::Short { name, reference: written(&reference) });
    }
    Ok(ResolvedKey { name, values, holder })
}

fn values(written: &str) -> impl Iterator<Item = &str> {
    written.split(',').map(str::trim)
}

pub(super) fn has_short_key(written: &str) -> bool {
    values(written).any(|value| value.len() < MIN_KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserId;
    use crate::model::secret_ref::{SecretRef, Setting};
    use crate::model::server_auth::{DEFAULT_INTROSPECTION_CACHE, KeyHolder};

    fn resolved(auth: &ServerAuth) -> Result<ResolvedAuth, Vec<AuthError>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(resolve(auth))
    }

    fn kept(folder: &tempfile::TempDir, name: &str, secret: &str) -> SecretRef {
        let path = folder.path().join(name);
        std::fs::write(&path, secret).expect("it is written");
        SecretRef::File(path)
    }

    fn key(name: &str, key: SecretRef) -> ApiKey {
        ApiKey { name: name.into(), key, holder: KeyHolder::Person(UserId::new(name)) }
    }

    const LONG: &str = "hunter2-0123456789abcdef";

    #[test]
    fn every_secret_is_looked_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let issuer = Issuer {
            url: "https://login.example.com".parse().expect("a URL"),
            audience: None,
            allowed_clients: Vec::new(),
            scopes: vec!["openid".into()],
            client_id: Some(Setting::Literal("us".into())),
            client_secret: Some(kept(&folder, "client", "s")),
            user_claim: "sub".into(),
            groups_claim: "groups".into(),
            introspect: false,
            introspection_cache: DEFAULT_INTROSPECTION_CACHE,
        };
        let auth =
            ServerAuth { issuer: Some(issuer), keys: vec![key("ana", kept(&folder, "ana", LONG))] };
        let resolved = resolved(&auth).expect("all there");
        let client = resolved.issuer.and_then(|issuer| issuer.client).expect("a client");
        assert_eq!(client.id, "us");
        assert_eq!(client.secret.expect("a secret").expose_secret(), "s");
        assert_eq!(resolved.keys[0].values[0].expose_secret(), LONG);
    }

    #[test]
    fn a_key_may_be_a_new_and_an_old_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let both = format!("{LONG}x, {LONG}");
        let keys = vec![key("ana", kept(&folder, "both", &both))];
        let resolved = resolved(&ServerAuth { issuer: None, keys }).expect("both are long");
        let values = resolved.keys[0].values.iter().map(secrecy::ExposeSecret::expose_secret);
        assert_eq!(values.collect::<Vec<_>>(), [format!("{LONG}x").as_str(), LONG]);
    }

    #[test]
    fn a_bad_key_is_named_with_the_way_out_and_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let unset = SecretRef::Env("ANA_KEY".into());
        let short = kept(&folder, "short", &LONG[..19]);
        let half = kept(&folder, "half", &format!("{LONG},{}", &LONG[..19]));
        for (keys, message, hint) in [
            (vec![key("ana", unset)], "the key `ana` of", "set ANA_KEY where"),
            (vec![key("ana", short)], "less than 20", "`openssl rand -base64 32`"),
            (vec![key("ana", half)], "less than 20", "`openssl rand -base64 32`"),
        ] {
            let errors = resolved(&ServerAuth { issuer: None, keys }).expect_err(message);
            let [error] = errors.as_slice() else { panic!("{errors:?}") };
            let told = format!("{error} {error:?} {}", error.hint());
            assert!(error.to_string().contains(message), "{told}");
            assert!(error.hint().contains(hint), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
