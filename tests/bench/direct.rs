//! Calls the API directly, without Countersign.

use futures_util::StreamExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::IN_FLIGHT;
use crate::load::api::{Api, mark, token};
use crate::load::figures::Figures;
use crate::machine::USER;

/// Sends the same request with plain reqwest, on kept-alive connections.
pub struct Direct {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
}

impl Direct {
    pub fn new(api: &Api) -> Self {
        // reqwest requires a crypto provider even where nothing is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, client, url: format!("http://{}/notes", api.address()) }
    }

    pub fn one_by_one(&self, calls: usize, times: &mut Figures) {
        self.runtime.block_on(async {
            for _ in 0..calls {
                let began = Instant::now();
                self.call().await;
                times.add(began.elapsed());
            }
        });
    }

    pub fn at_once(&self, calls: usize) {
        let calls = futures_util::stream::iter(0..calls).map(|_| self.call());
        self.runtime.block_on(calls.buffer_unordered(IN_FLIGHT).for_each(|()| async {}));
    }

    async fn call(&self) {
        let answer = self.client.get(&self.url).bearer_auth(token(USER)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().contains(&mark(USER)));
    }
}
