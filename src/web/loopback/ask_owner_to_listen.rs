//! How a process asks the owner of the data folder to listen for browsers, and the owner's answer.
//!
//! Several processes share a data folder, and only its owner listens: a link has to work after the
//! process that made it has ended, and a port that a provider demands exactly can be opened only
//! once. The other processes ask the owner to listen for them ([`origin`], [`answer`]); the next
//! owner finds in the store where links lead ([`super::open_links`]). The store carries question
//! and answer between processes and does not interpret them (`store/folder/ask_owner.rs`).

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::listener::{DEFAULT_PORT, Loopback, NoPort};
use crate::broker::OriginError;
use crate::model::ProviderId;
use crate::model::oauth::LoopbackRule;
use crate::store::{AskError, LazyStore};

/// Number of retries, and the interval between them, for an owner that answers no questions, such
/// as a short command that only serves the store. After the last, the request fails.
const MAX_OWNER_RETRIES: u32 = 20;
const OWNER_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Number of retries, and the interval between them, for a port whose last owner has ended. After
/// the last, the port counts as taken.
pub(super) const MAX_PORT_RETRIES: u32 = 100;
pub(super) const PORT_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// A request to listen on a port under a rule.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct ListenRequest {
    port: u16,
    rule: LoopbackRule,
    /// The address to listen on, if not the loopback address.
    #[serde(default)]
    address: Option<IpAddr>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum ListenReply {
    /// The owner listens at this origin, e.g. `http://127.0.0.1:8971`.
    At(String),
    Taken,
    Failed(String),
}

/// Returns scheme, host and port for link and callback of this provider; the owner listens there on
/// return.
///
/// # Errors
/// [`OriginError`]: the provider accepts only https, the port is taken, or the owner or the store
/// fails.
pub async fn origin(
    store: &LazyStore,
    port: Option<u16>,
    address: Option<IpAddr>,
    provider: ProviderId,
    rule: LoopbackRule,
) -> Result<String, OriginError> {
    if rule == LoopbackRule::Refused {
        return Err(OriginError::HttpsOnly(provider));
    }
    let port = port.unwrap_or(DEFAULT_PORT);
    let garbled = || OriginError::Failed("the owner's answer could not be read".to_owned());
    let question =
        serde_json::to_vec(&ListenRequest { port, rule, address }).map_err(|_| garbled())?;
    let reply = ask(store, &question).await?;
    match serde_json::from_slice(&reply).map_err(|_| garbled())? {
        ListenReply::At(origin) if is_fit(&origin, port, rule) => Ok(origin),
        ListenReply::At(_) => Err(garbled()),
        ListenReply::Taken => Err(OriginError::Taken { provider, host: rule.host(), port }),
        ListenReply::Failed(why) => Err(OriginError::Failed(why)),
    }
}

/// Whether `origin` satisfies the rule. The owner is a process of ours; even if it were not, a link
/// must not lead to another place.
fn is_fit(origin: &str, wanted: u16, rule: LoopbackRule) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    let port_fits = rule.any_port() || url.port_or_known_default() == Some(wanted);
    url.scheme() == "http" && url.host_str() == Some(rule.host()) && port_fits && url.path() == "/"
}

async fn ask(store: &LazyStore, question: &[u8]) -> Result<Vec<u8>, OriginError> {
    let mut tries = 0;
    loop {
        match store.ask(question).await {
            Ok(reply) => return Ok(reply),
            Err(AskError::Unanswered) if tries < MAX_OWNER_RETRIES => tries += 1,
            Err(AskError::Unanswered) => {
                let why = AskError::Unanswered.to_string();
                return Err(OriginError::Failed(why));
            }
            Err(AskError::Store(error)) => return Err(error.into()),
        }
        tokio::time::sleep(OWNER_RETRY_INTERVAL).await;
    }
}

/// Answers the request of [`origin`], in the owner's process.
pub async fn answer(loopback: &Loopback, question: Vec<u8>) -> Vec<u8> {
    let reply = match serde_json::from_slice(&question) {
        Ok(question) => listen(loopback, question).await,
        Err(_) => ListenReply::Failed("the request to open a port could not be read".to_owned()),
    };
    serde_json::to_vec(&reply).unwrap_or_default()
}

async fn listen(
    loopback: &Loopback,
    ListenRequest { port, rule, address }: ListenRequest,
) -> ListenReply {
    let mut tries = 0;
    loop {
        // Checked before the attempt: if false, an earlier owner and the keeper have already
        // released the port.
        let may_be_held = tries < MAX_PORT_RETRIES && loopback.is_new_owner();
        tries += 1;
        match loopback.origin(port, rule, address, may_be_held) {
            Ok(origin) => return ListenReply::At(origin),
            Err(NoPort::Taken) if may_be_held => tokio::time::sleep(PORT_RETRY_INTERVAL).await,
            Err(NoPort::Taken) => return ListenReply::Taken,
            Err(NoPort::Io(error)) => return ListenReply::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::loopback::listener::loopback_origin;

    #[test]
    fn an_origin_fits_the_port_that_it_was_made_for_and_no_other() {
        let rule = LoopbackRule::Exact;
        for port in [80, 443, 8971] {
            assert!(is_fit(&loopback_origin(rule, port), port, rule), "{port}");
            assert!(!is_fit(&loopback_origin(rule, port), 8080, rule), "{port}");
        }
        for elsewhere in
            ["http://evil.example:8971", "https://127.0.0.1:8971", "http://127.0.0.1:8971/x"]
        {
            assert!(!is_fit(elsewhere, 8971, rule), "{elsewhere}");
        }
    }
}
