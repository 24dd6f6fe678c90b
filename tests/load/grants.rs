//! Grants that are in the store before the server starts.

use std::path::PathBuf;

use countersign::model::grant::{Binding, TokenSet};
use countersign::model::hosts::Hosts;
use countersign::model::retention::Retention;
use countersign::model::{AccountName, Caller, Clock, Grant, ProviderId, Scopes};
use countersign::store::{DataFolder, KeySource, LazyStore};
use futures_util::StreamExt as _;

use super::api::{Api, token};

/// 32 bytes in base64.
pub const KEY: &str = "YmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggMSE=";

/// The table of the provider `notes`, as the grants are bound to it.
pub fn provider(api: &Api) -> String {
    let api = api.address();
    format!(
        r#"
[providers.notes]
base_url  = "http://{api}"
client_id = "bench"
[providers.notes.oauth]
authorize_url = "http://{api}/authorize"
token_url     = "http://{api}/token"
"#
    )
}

/// Stores a grant of each caller in the data folder, then closes the store.
pub async fn keep(
    data: PathBuf,
    runtime: PathBuf,
    api: &Api,
    callers: impl Iterator<Item = Caller>,
) {
    let clock = Clock::system();
    let folder = DataFolder { path: data, runtime, purpose: "load", clock: clock.clone() };
    let key = KeySource::Given(KEY.to_owned().into());
    let (store, tables) = LazyStore::new(folder, key).into_tables();
    let of = |caller: &Caller| Grant {
        provider: ProviderId::new("notes"),
        account: AccountName::default(),
        binding: Binding {
            client_id: "bench".into(),
            authorize_endpoint: format!("http://{}/authorize", api.address()),
            token_endpoint: format!("http://{}/token", api.address()),
            refresh_endpoint: None,
            hosts: Hosts::new([api.address().to_string()]),
        },
        tokens: TokenSet {
            user: None,
            access: token(caller.user.as_str()).into(),
            refresh: None,
            expires_at: None,
            refresh_expires_at: None,
            received_at: clock.now(),
        },
        scopes: Scopes::new(["notes:read"]),
        refused: Scopes::default(),
        ungranted: Scopes::default(),
        connected_at: clock.now(),
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
    };
    futures_util::stream::iter(callers)
        .map(|caller| (of(&caller), caller))
        .for_each_concurrent(64, async |(grant, caller)| {
            assert!(tables.grants.put(&caller, &grant, None).await.unwrap());
        })
        .await;
    store.close().await;
}
