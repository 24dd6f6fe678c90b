//! Takes over the open links of other processes when this process becomes the owner of the data
//! folder.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::ask_owner_to_listen::{MAX_PORT_RETRIES, PORT_RETRY_INTERVAL};
use super::listener::Loopback;
use crate::broker::Broker;
use crate::store::Role;

/// Interval before the store is asked again where open links lead, after a failure.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Listens at the origins of other processes' links whenever this process becomes the folder's
/// owner.
pub async fn follow(mut role: watch::Receiver<Role>, broker: Broker, loopback: Arc<Loopback>) {
    while role.wait_for(|role| *role == Role::Owner).await.is_ok() {
        loopback.became_owner();
        while *role.borrow() == Role::Owner {
            let open_origins = async {
                broker.consents().delete_expired().await?;
                broker.consents().open_origins().await
            };
            match open_origins.await {
                Ok(origins) => {
                    for (origin, address) in origins {
                        resume(&loopback, &origin, address).await;
                    }
                    loopback.publish_sockets();
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "the store did not say which links are open, so links of other processes cannot be opened; trying again");
                    tokio::time::sleep(STORE_RETRY_INTERVAL).await;
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
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < MAX_PORT_RETRIES => {
                tries += 1;
            }
            Err(error) => {
                tracing::warn!(origin, %error, "links of another process cannot be opened: this process could not open their port");
                return;
            }
        }
        tokio::time::sleep(PORT_RETRY_INTERVAL).await;
    }
}
