//! The OAuth app's id and secret.

use super::super::file::ProviderTable;
use super::super::findings::Findings;
use super::super::span::Text;
use super::secret::{self, variable};
use crate::model::oauth::{GrantType, TokenAuth};
use crate::model::secret_ref::{SecretRef, Setting};

/// This server's registration at the provider, as written.
pub(super) struct OAuthClient {
    pub(super) id: Option<Setting>,
    pub(super) secret: Option<SecretRef>,
}

impl OAuthClient {
    /// Reads what the grant needs of it.
    pub(super) fn for_grant(
        grant: &GrantType,
        id: &Text,
        table: &ProviderTable,
        token_auth: Option<TokenAuth>,
        is_built_in: bool,
        find: &mut Findings<'_>,
    ) -> Option<Self> {
        let name = variable(id.as_str());
        match grant {
            GrantType::JwtBearer { .. } => Self::asserting(table, &name, find),
            GrantType::Code => Self::read(id, table, token_auth, is_built_in, &name, find),
            GrantType::ClientCredentials => {
                let client = Self::read(id, table, token_auth, is_built_in, &name, find);
                if table.client_secret.is_none() && !is_built_in {
                    // RFC 6749 §4.4: only for clients that can authenticate.
                    find.missing(
                        &id.span,
                        "client_secret",
                        "a client without a secret has no credentials to be granted anything for",
                    );
                }
                client
            }
        }
    }

    fn read(
        id: &Text,
        table: &ProviderTable,
        token_auth: Option<TokenAuth>,
        is_built_in: bool,
        name: &str,
        find: &mut Findings<'_>,
    ) -> Option<Self> {
        let client_id = client_id(id, table, is_built_in, name, find);
        let secret = client_secret(table, token_auth, is_built_in, name, find);
        Some(Self { id: Some(client_id?), secret })
    }

    /// Reads only an id and secret that are written: an assertion needs none (RFC 7523 §3.1), and
    /// the usual variables belong to the app that users consent to.
    fn asserting(table: &ProviderTable, name: &str, find: &mut Findings<'_>) -> Option<Self> {
        let id = match &table.client_id {
            Some(text) => Some(secret::setting(text, "client id", find)?),
            None => None,
        };
        let secret = table.client_secret.as_ref();
        let secret = secret
            .and_then(|text| secret::secret(text, &format!("env:{name}_CLIENT_SECRET"), find));
        Some(Self { id, secret })
    }
}

fn client_id(
    id: &Text,
    table: &ProviderTable,
    is_built_in: bool,
    name: &str,
    find: &mut Findings<'_>,
) -> Option<Setting> {
    match &table.client_id {
        Some(text) => secret::setting(text, "client id", find),
        None if is_built_in => Some(Setting::Secret(SecretRef::Env(format!("{name}_CLIENT_ID")))),
        None => {
            find.missing(
                &id.span,
                "client_id",
                format!("write it, or a reference like `client_id = \"env:{name}_CLIENT_ID\"`"),
            );
            None
        }
    }
}

/// Reads the client secret. A public client has none; for a built-in provider it defaults to the
/// usual variable.
fn client_secret(
    table: &ProviderTable,
    token_auth: Option<TokenAuth>,
    is_built_in: bool,
    name: &str,
    find: &mut Findings<'_>,
) -> Option<SecretRef> {
    let usual = format!("{name}_CLIENT_SECRET");
    match &table.client_secret {
        Some(text) => {
            if token_auth == Some(TokenAuth::None) {
                find.error(
                    "provider::credential",
                    &text.span,
                    "a client with `token_auth = \"none\"` has no secret",
                )
                .hint("remove one of the two");
            }
            secret::secret(text, &format!("env:{usual}"), find)
        }
        None if is_built_in && token_auth != Some(TokenAuth::None) => Some(SecretRef::Env(usual)),
        None => None,
    }
}
