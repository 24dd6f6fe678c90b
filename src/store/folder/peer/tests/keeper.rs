//! Tests of the processes to which a keeper hands the folder.

use tokio::time::timeout;

use super::super::frame::{About, PROTOCOL};
use super::*;
use crate::store::folder::keeper::KEEPER_PURPOSE;

/// A keeper owns the folder only while no server does.
#[tokio::test]
async fn a_keeper_leaves_the_folder_to_servers_and_to_other_versions() {
    let mut place = Place::new();
    drop(place.open().await.unwrap());
    place.data.purpose = KEEPER_PURPOSE;
    let answering = Answering::default();
    let role = watch::Sender::new(Role::Peer);
    let keeper = place.open_with(&answering, &role).await.unwrap();
    keeper.swap(&key("k"), None, Some(&bytes(b"v"))).await.unwrap();
    // A command is served.
    place.data.purpose = "auth status";
    let command = place.open().await.unwrap();
    assert_eq!(command.get(&key("k")).await.unwrap(), Some(bytes(b"v")));
    assert_eq!(*role.borrow(), Role::Owner);
    drop(command);
    // A process of another version gets no hello, so that it tries the lock again.
    let about = |purpose: &str| About { purpose: purpose.into(), ..Hello::own("").about };
    let newer = Hello { protocol: PROTOCOL + 1, about: about("auth status") };
    let socket = Address::read("store.sock", &place.data.path);
    let mut peer = Framed::new(socket.connect().await.unwrap(), frame::codec());
    peer.send(newer.encode()).await.unwrap();
    assert!(!matches!(peer.next().await, Some(Ok(_))));
    timeout(Duration::from_secs(5), answering.needed()).await.expect("it is told");
    // A server that stays gets the folder.
    place.data.purpose = "serve --stdio";
    let its_role = watch::Sender::new(Role::Peer);
    let server = place.open_with(&Answering::default(), &its_role).await.unwrap();
    assert_eq!(*its_role.borrow(), Role::Peer);
    timeout(Duration::from_secs(20), answering.wanted()).await.expect("it is told");
    keeper.step_down().await;
    let mut its_role = its_role.subscribe();
    let owns = its_role.wait_for(|role| *role == Role::Owner);
    timeout(Duration::from_secs(5), owns).await.expect("it gets the folder").unwrap();
    assert_eq!(*role.borrow(), Role::Peer);
    assert_eq!(server.get(&key("k")).await.unwrap(), Some(bytes(b"v")));
    assert_eq!(keeper.get(&key("k")).await.unwrap(), Some(bytes(b"v")));
    drop(server);
    let mut role = role.subscribe();
    let owns = role.wait_for(|role| *role == Role::Owner);
    timeout(Duration::from_secs(5), owns).await.expect("it takes the folder back").unwrap();
}

#[tokio::test]
async fn a_keeper_brings_no_folder_back() {
    let mut place = Place::new();
    place.data.purpose = KEEPER_PURPOSE;
    assert!(place.open().await.is_err());
    assert!(!place.data.path.exists());
}

/// A host can suspend its server, which would then keep the port.
#[tokio::test]
async fn the_keeper_alone_holds_the_owner_s_listening_sockets() {
    let mut place = Place::new();
    let (owner, peer, keeper) = (Answering::default(), Answering::default(), Answering::default());
    let roles = watch::Sender::new(Role::Peer);
    let owned = place.open_with(&owner, &roles).await.unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    owner.sockets().publish(vec![Arc::new(socket)]);
    place.data.purpose = "serve --stdio";
    let served = place.open_with(&peer, &watch::Sender::new(Role::Peer)).await.unwrap();
    place.data.purpose = KEEPER_PURPOSE;
    let kept = place.open_with(&keeper, &watch::Sender::new(Role::Peer)).await.unwrap();
    for sockets in [peer.sockets(), keeper.sockets()] {
        timeout(Duration::from_secs(5), sockets.arrived()).await.expect("it is known");
    }
    assert!(peer.sockets().take(address).is_none());
    assert!(keeper.sockets().take(address).is_some());
    drop((served, kept, owned));
}
