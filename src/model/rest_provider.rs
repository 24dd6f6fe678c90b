//! A provider that an administrator makes over REST, for the users of one key.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Caller, ProviderId, Time, secret};

/// Begins the id of every provider made over REST, and ends the name of its key. No id in
/// `tools.toml` has it, and it stands in URLs as it is (RFC 3986 §2.3).
const MARK: char = '~';

/// A provider of one application's key, as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestProvider {
    /// Its name among the providers of the key.
    pub name: String,
    /// Key under which the records of its application are kept apart: the namespace of its users.
    pub space: String,
    pub description: Option<String>,
    pub external_id: Option<String>,
    /// The built-in provider whose settings it has where it names none of its own.
    pub built_in: Option<String>,
    /// Whether users are asked for consents, and their tokens are handed out.
    pub is_active: bool,
    /// Whether it is being deleted: its links and accounts end, and no new ones begin.
    pub is_ending: bool,
    pub app: OAuthApp,
    /// Random, and another one after each change.
    pub revision: String,
    pub created_at: Time,
    pub updated_at: Time,
}

/// An OAuth app and its authorization server, in the shape of Arcade's contract.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "OAuth2Settings")]
pub struct OAuthApp {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(default, with = "secret::exposed_option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub client_secret: Option<SecretString>,
    /// `,` or a space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_delimiter: Option<String>,
    #[serde(default, deserialize_with = "of_object", skip_serializing_if = "Option::is_none")]
    pub pkce: Option<Pkce>,
    #[serde(default, deserialize_with = "of_object", skip_serializing_if = "Option::is_none")]
    pub authorize_request: Option<OAuthRequest>,
    #[serde(default, deserialize_with = "of_object", skip_serializing_if = "Option::is_none")]
    pub token_request: Option<OAuthRequest>,
    #[serde(default, deserialize_with = "of_object", skip_serializing_if = "Option::is_none")]
    pub refresh_request: Option<OAuthRequest>,
    #[serde(default, deserialize_with = "of_object", skip_serializing_if = "Option::is_none")]
    pub user_info_request: Option<OAuthRequest>,
    /// Kept and answered, without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_introspection_request: Option<Value>,
}

/// Whether the code is bound to this server (RFC 7636).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pkce {
    pub enabled: bool,
    /// `S256`, or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_challenge_method: Option<String>,
}

/// One of the requests of an OAuth flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "OAuth2Request")]
pub struct OAuthRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// `client_secret_basic` or `client_secret_post`; at `user_info_request`, `bearer_access_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_header_value_format: Option<String>,
    /// Parameters, with templates such as `{{client_id}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_content_type: Option<String>,
    /// Places of values in the response: `$.name`, or `$.object.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_map: Option<BTreeMap<String, String>>,
    /// Kept and answered, without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triggers: Option<Value>,
}

/// Reads a struct from an object. The derived implementation would also take a list, for the fields in
/// their order.
fn of_object<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let fields = Option::<Map<String, Value>>::deserialize(from)?;
    let value = fields.map(|fields| T::deserialize(Value::Object(fields)));
    value.transpose().map_err(D::Error::custom)
}

impl RestProvider {
    /// Its id in this server.
    pub fn provider_id(&self) -> ProviderId {
        ProviderId::of_key(&self.space, &self.name)
    }
}

impl OAuthApp {
    /// Returns these settings with each one that `change` has in its place.
    #[must_use]
    pub fn changed_by(self, change: Self) -> Self {
        let request = |own: Option<OAuthRequest>, change: Option<OAuthRequest>| match (own, change)
        {
            (Some(own), Some(change)) => Some(own.changed_by(change)),
            (own, change) => change.or(own),
        };
        Self {
            client_id: change.client_id.or(self.client_id),
            client_secret: change.client_secret.or(self.client_secret),
            scope_delimiter: change.scope_delimiter.or(self.scope_delimiter),
            pkce: change.pkce.or(self.pkce),
            authorize_request: request(self.authorize_request, change.authorize_request),
            token_request: request(self.token_request, change.token_request),
            refresh_request: request(self.refresh_request, change.refresh_request),
            user_info_request: request(self.user_info_request, change.user_info_request),
            token_introspection_request: change
                .token_introspection_request
                .or(self.token_introspection_request),
        }
    }
}

impl OAuthRequest {
    fn changed_by(self, change: Self) -> Self {
        Self {
            endpoint: change.endpoint.or(self.endpoint),
            method: change.method.or(self.method),
            auth_method: change.auth_method.or(self.auth_method),
            auth_header_value_format: change
                .auth_header_value_format
                .or(self.auth_header_value_format),
            params: change.params.or(self.params),
            request_content_type: change.request_content_type.or(self.request_content_type),
            response_content_type: change.response_content_type.or(self.response_content_type),
            response_map: change.response_map.or(self.response_map),
            triggers: change.triggers.or(self.triggers),
        }
    }
}

impl ProviderId {
    /// Id of the provider that the application of `space` has made under this name: `~<key>~<name>`,
    /// without a key on a server without `[server.auth]`. Two applications that use one name have two
    /// providers, each with a redirect URI of its own.
    pub fn of_key(space: &str, name: &str) -> Self {
        let key = Caller::key_of_namespace(space).unwrap_or_default();
        Self::new(format!("{MARK}{key}{MARK}{name}"))
    }

    /// Returns the namespace of the users for whom a provider was made over REST, and its name;
    /// `None` for a provider of `tools.toml`.
    pub fn made_over_rest(&self) -> Option<(String, &str)> {
        let (key, name) = self.as_str().strip_prefix(MARK)?.split_once(MARK)?;
        let namespace = match key {
            "" => Caller::LOCAL.to_owned(),
            key => Caller::namespace_of_key(key),
        };
        Some((namespace, name))
    }

    /// The name by which the applications of this server know the provider.
    pub fn public_name(&self) -> &str {
        self.made_over_rest().map_or(self.as_str(), |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_provider_made_over_rest_names_its_key() {
        for (space, name, id) in [
            ("key:app", "hooli", "~app~hooli"),
            ("key:local", "hooli", "~local~hooli"),
            ("local", "my-idp_2", "~~my-idp_2"),
        ] {
            let provider = ProviderId::of_key(space, name);
            assert_eq!(provider.as_str(), id);
            assert_eq!(provider.made_over_rest(), Some((space.to_owned(), name)));
            assert_eq!(provider.public_name(), name);
        }
        let written = ProviderId::new("hooli");
        assert_eq!((written.made_over_rest(), written.public_name()), (None, "hooli"));
    }

    #[test]
    fn a_request_is_not_read_from_a_list() {
        for app in [r#"{"pkce": [true, "S256"]}"#, r#"{"token_request": ["https://a.example/t"]}"#]
        {
            assert!(serde_json::from_str::<OAuthApp>(app).is_err(), "{app}");
        }
    }

    #[test]
    fn a_change_replaces_single_settings() {
        let request = |text: &str| serde_json::from_str::<OAuthApp>(text).unwrap();
        let before = request(
            r#"{"client_id": "a", "client_secret": "s", "token_request": {"endpoint": "https://a.example/t", "method": "POST"}}"#,
        );
        let change = request(
            r#"{"client_id": "b", "token_request": {"endpoint": "https://b.example/t"}, "scope_delimiter": ","}"#,
        );
        let after = serde_json::to_value(before.changed_by(change)).unwrap();
        let expected = serde_json::json!({
            "client_id": "b", "client_secret": "s", "scope_delimiter": ",",
            "token_request": {"endpoint": "https://b.example/t", "method": "POST"},
        });
        assert_eq!(after, expected);
    }
}
