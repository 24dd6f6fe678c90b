//! Webhooks: tell applications what becomes of their users' connections.
//!
//! - [`outbox`]: stores each event before the change that causes it
//! - [`claim`]: takes a queue for this process, and finds out what a crash has left open
//! - [`deliver`]: sends what waits, in order for each user, with retries
//! - [`operate`]: what operators see and do
//!
//! An event is stored before its grant is written and confirmed afterwards ([`outbox`]), so a crash
//! at any point loses none: the grant itself shows whether a prepared change has happened
//! ([`claim`]). Each event is delivered at least once, under the same id each time.
//!
//! Only users of an application's key cause events. Users of an issuer or of this machine, and the
//! server itself, belong to no application.

mod claim;
mod deliver;
pub mod operate;
pub(super) mod outbox;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Parts;
use super::events::Events;
use crate::config::secrets;
use crate::model::chain;
use crate::model::signing_keys::SigningKeys;
use crate::model::webhook::Webhook;
use deliver::Receiver;
use outbox::Outbox;

/// The webhooks of this server. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    outbox: Outbox,
    parts: Arc<Parts>,
    events: Events,
    /// State of each receiver in this process, by the name of its webhook.
    receivers: Mutex<HashMap<String, Receiver>>,
}

impl Webhooks {
    pub(super) fn new(outbox: Outbox, parts: &Arc<Parts>, events: Events) -> Self {
        let receivers = Mutex::default();
        Self(Arc::new(Inner { outbox, parts: Arc::clone(parts), events, receivers }))
    }

    fn all(&self) -> &[Webhook] {
        &self.0.parts.webhooks
    }

    /// Returns the keys of a webhook, or why there are none. They are looked up each time, so that
    /// an exchanged secret counts without a restart where its reference allows it.
    async fn keys(&self, webhook: &Webhook) -> Result<SigningKeys, String> {
        let secret = secrets::resolve(&webhook.secret).await;
        let secret = secret.map_err(|error| format!("{}; {}", chain(&error), error.hint()))?;
        SigningKeys::parse(&secret).map_err(|error| format!("its `secret` is no secret: {error}"))
    }
}
