//! Origins at which browsers reach this machine, for all processes of a data folder.
//!
//! Several processes share a data folder, and only its owner listens: a link has to work after the
//! process that made it has ended, and a port that a provider demands exactly can be opened only
//! once. The other processes ask the owner to listen for them, and the next owner finds in the
//! store where links lead ([`follow`]).

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use url::Url;

use super::listener::{DEFAULT_PORT, Loopback, NoPort};
use crate::broker::{Broker, OriginError};
use crate::model::ProviderId;
use crate::model::oauth::LoopbackRule;
use crate::store::{AskError, LazyStore, Role};

/// Number of retries, and the interval between them, for an owner that answers no questions, such
/// as a short command that only serves the store. After the last, the request fails.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_millis(100);

/// Number of retries, and the interval between them, for a port whose last owner has ended. After
/// the last, the port counts as taken.
const PORT_TRIES: u32 = 100;
const PORT_RETRY: Duration = Duration::from_millis(20);

/// Interval before the store is asked again where open links lead, after a failure.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// A request to listen on a port under a rule.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Question {
    port: u16,
    rule: LoopbackRule,
    /// The address to listen on, if not the loopback address.
    #[serde(default)]
    address: Option<IpAddr>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Reply {
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
    let garbled = || OriginError::Failed("the answer to that wish could not be read".to_owned());
    let question = serde_json::to_vec(&Question { port, rule, address }).map_err(|_| garbled())?;
    let reply = ask(store, &question).await?;
    match serde_json::from_slice(&reply).map_err(|_| garbled())? {
        Reply::At(origin) if is_fit(&origin, port, rule) => Ok(origin),
        Reply::At(_) => Err(garbled()),
        Reply::Taken => Err(OriginError::Taken { provider, host: rule.host(), port }),
        Reply::Failed(why) => Err(OriginError::Failed(why)),
    }
}

/// Like [`origin`], for a server that all browsers reach at `public`.
///
/// # Errors
/// [`OriginError`]: the provider accepts no redirect URI at `public`.
pub fn public(
    public: &str,
    provider: ProviderId,
    rule: LoopbackRule,
) -> Result<String, OriginError> {
    let host = match public.split_once("://") {
        Some(("http", rest)) => rest.split(':').next().unwrap_or_default(),
        // The rules of providers for loopback addresses do not apply to https.
        _ => return Ok(public.to_owned()),
    };
    if rule == LoopbackRule::Refused {
        Err(OriginError::HttpsOnly(provider))
    } else if rule.host() == "localhost" && host != rule.host() {
        Err(OriginError::OtherHost { provider, host: rule.host() })
    } else {
        Ok(public.to_owned())
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
            Err(AskError::Unanswered) if tries < TRIES => tries += 1,
            Err(AskError::Unanswered) => {
                let why = AskError::Unanswered.to_string();
                return Err(OriginError::Failed(why));
            }
            Err(AskError::Store(error)) => return Err(error.into()),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Answers the request of [`origin`], in the owner's process.
pub async fn answer(loopback: &Loopback, question: Vec<u8>) -> Vec<u8> {
    let reply = match serde_json::from_slice(&question) {
        Ok(question) => listen(loopback, question).await,
        Err(_) => Reply::Failed("the wish could not be read".to_owned()),
    };
    serde_json::to_vec(&reply).unwrap_or_default()
}

async fn listen(loopback: &Loopback, Question { port, rule, address }: Question) -> Reply {
    let mut tries = 0;
    loop {
        // Checked before the attempt: if false, an earlier owner and the keeper have already
        // released the port.
        let may_be_held = tries < PORT_TRIES && loopback.has_just_begun();
        tries += 1;
        match loopback.origin(port, rule, address, may_be_held) {
            Ok(origin) => return Reply::At(origin),
            Err(NoPort::Taken) if may_be_held => tokio::time::sleep(PORT_RETRY).await,
            Err(NoPort::Taken) => return Reply::Taken,
            Err(NoPort::Io(error)) => return Reply::Failed(error.to_string()),
        }
    }
}

/// Listens at the origins of other processes' links whenever this process becomes the folder's
/// owner.
pub async fn follow(mut role: watch::Receiver<Role>, broker: Broker, loopback: Arc<Loopback>) {
    while role.wait_for(|role| *role == Role::Owner).await.is_ok() {
        loopback.begin();
        while *role.borrow() == Role::Owner {
            let open_origins = async {
                broker.delete_expired().await?;
                broker.consents().open_origins().await
            };
            match open_origins.await {
                Ok(origins) => {
                    for (origin, address) in origins {
                        resume(&loopback, &origin, address).await;
                    }
                    loopback.settle();
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "links of other processes lead nowhere for now");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
        if role.changed().await.is_err() {
            return;
        }
    }
}

/// Listens at `origin` once the process that listened there has released the port: the system
/// closes the files of a killed process one by one.
async fn resume(loopback: &Loopback, origin: &str, address: Option<IpAddr>) {
    let mut tries = 0;
    loop {
        match loopback.resume(origin, address) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES => {
                tries += 1;
            }
            Err(error) => {
                tracing::warn!(origin, %error, "links of another process lead nowhere now");
                return;
            }
        }
        tokio::time::sleep(PORT_RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::loopback::listener;

    #[test]
    fn an_origin_fits_the_port_that_it_was_made_for_and_no_other() {
        let rule = LoopbackRule::Exact;
        for port in [80, 443, 8971] {
            assert!(is_fit(&listener::origin(rule, port), port, rule), "{port}");
            assert!(!is_fit(&listener::origin(rule, port), 8080, rule), "{port}");
        }
        for elsewhere in
            ["http://evil.example:8971", "https://127.0.0.1:8971", "http://127.0.0.1:8971/x"]
        {
            assert!(!is_fit(elsewhere, 8971, rule), "{elsewhere}");
        }
    }
}
