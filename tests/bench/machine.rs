//! A machine to measure on: a `tools.toml` with so many tools, a store with so many grants.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;

use countersign::model::credential::Retention;
use countersign::model::grant::{Binding, TokenSet};
use countersign::model::provider::Hosts;
use countersign::model::{AccountName, Caller, Clock, Grant, ProviderId, Scopes, UserId};
use countersign::store::{DataFolder, KeySource, Store};
use futures_util::StreamExt as _;
use tempfile::TempDir;

use crate::api::{Api, TOKEN};

/// 32 bytes in base64.
pub const KEY: &str = "YmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggMSE=";
pub const USER: &str = "ana";

pub struct Machine {
    folder: TempDir,
}

impl Machine {
    /// Half of the tools filter their answer with `select`. One of the grants is [`USER`]'s.
    pub fn new(api: &Api, tools: usize, grants: usize) -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(machine.path("tools.toml"), tools_toml(api, tools)).unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(machine.keep(api, grants));
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where servers say what went wrong.
    pub fn log(&self) -> File {
        File::options().create(true).append(true).open(self.path("stderr.log")).unwrap()
    }

    async fn keep(&self, api: &Api, grants: usize) {
        let key = KeySource::Given(KEY.to_owned().into());
        let clock = Clock::system();
        let now = clock.now();
        let folder = DataFolder {
            path: self.path("data"),
            runtime: self.path("run"),
            purpose: "bench",
            clock,
        };
        let store = Store::open(folder, key).await.unwrap();
        let grant = Grant {
            provider: ProviderId::new("notes"),
            account: AccountName::default(),
            binding: Binding {
                client_id: "bench".into(),
                authorize_endpoint: format!("http://{}/authorize", api.authority()),
                token_endpoint: format!("http://{}/token", api.authority()),
                refresh_endpoint: None,
                hosts: Hosts::new([api.authority()]),
            },
            tokens: TokenSet {
                user: None,
                access: TOKEN.into(),
                refresh: None,
                expires_at: None,
                received_at: now,
            },
            scopes: Scopes::new(["notes:read"]),
            refused: Scopes::default(),
            connected_at: now,
            refreshed_at: None,
            revocation: None,
            ended: None,
            attempt: None,
            identity: None,
            retention: Retention::default(),
        };
        let others = (1..grants).map(|other| format!("user{other}"));
        let users = others.chain([USER.to_owned()]);
        futures_util::stream::iter(users)
            .for_each_concurrent(64, |user| async {
                let caller = Caller::local(UserId::new(user));
                assert!(store.keep(&caller, &grant, None).await.unwrap());
            })
            .await;
    }
}

fn tools_toml(api: &Api, tools: usize) -> String {
    let api = api.authority();
    let mut text = format!(
        r#"
[providers.notes]
base_url  = "http://{api}"
client_id = "bench"
[providers.notes.oauth]
authorize_url = "http://{api}/authorize"
token_url     = "http://{api}/token"
"#
    );
    for at in 0..tools / 2 {
        for (name, select) in [("read", ""), ("select", "select = \"[.notes[] | .title]\"")] {
            write!(
                text,
                r#"
[tools.{name}_{at}]
description  = "List notes, newest first, as far as they match."
provider     = "notes"
scopes       = ["notes:read"]
request      = "GET /notes"
params.q     = {{ optional = true, description = "Part of a title" }}
params.limit = {{ type = "integer", default = 10, max = 50, description = "How many" }}
{select}
"#
            )
            .unwrap();
        }
    }
    text
}

/// The machine's load averages.
pub fn load() -> String {
    fs::read_to_string("/proc/loadavg").map_or_else(
        |_| "unknown".into(),
        |text| text.split(' ').take(3).collect::<Vec<_>>().join(" "),
    )
}
