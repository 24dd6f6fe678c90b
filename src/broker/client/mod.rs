//! This server as a client of providers.
//!
//! - [`registration`]: our registrations at providers
//! - [`credential`] and [`assertion`]: keys, passwords and signed assertions, as credentials of a
//!   call
//! - [`token_request`]: renews a token, and gets one for the server itself
//! - [`token_endpoints`]: which providers are in trouble, or refuse us; [`resend`] spaces retries
//! - [`refusal`]: what a refusal of our client means

pub mod assertion;
pub mod credential;
pub(super) mod refusal;
pub(super) mod registration;
pub(super) mod resend;
pub(super) mod token_endpoints;
pub(super) mod token_request;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use url::Url;

use self::registration::Bound;
use self::token_endpoints::TokenEndpoints;
use super::Parts;
use super::events::Events;
use crate::model::{Clock, ProviderId};
use crate::oauth::{Metadata, OAuthClient};

/// Our client at each provider: resolves its registration, makes its token requests, and knows how
/// the token endpoints answer them.
pub(super) struct Clients {
    oauth: OAuthClient,
    clock: Clock,
    events: Events,
    bound: Mutex<HashMap<ProviderId, Arc<Bound>>>,
    metadata: Mutex<HashMap<Url, Arc<Metadata>>>,
    endpoints: TokenEndpoints,
}

impl Clients {
    pub(super) fn new(parts: &Parts, events: Events) -> Self {
        Self {
            oauth: parts.oauth.clone(),
            clock: parts.clock.clone(),
            events,
            bound: Mutex::default(),
            metadata: Mutex::default(),
            endpoints: TokenEndpoints::default(),
        }
    }

    /// The token endpoints that may be asked now.
    pub(super) fn endpoints(&self) -> &TokenEndpoints {
        &self.endpoints
    }
}
