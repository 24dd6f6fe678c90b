//! How events reach a receiver that fails, is slow, is down, moves or wants no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::receiver::{
    Delivery, KEYS, Receiver, SECRET, connect, connect_for, end, failing, nothing_waits, status,
    waiting, world,
};
use crate::rest::world::World;
use crate::support::provider::{Act, answer};
use crate::support::wait_until_async;

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| &*delivery.id).collect()
}

/// Has the server look at what is due now: it looks with each event.
async fn look(world: &World, number: usize) {
    connect(world, "app", &format!("passer-by-{number}")).await;
}

#[tokio::test]
async fn an_event_is_sent_again_with_its_id_until_it_is_taken_and_the_next_one_waits() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    receiver.answers(move |delivery| {
        let is_bob = delivery.outline().contains("bob");
        let is_taken = !is_bob || up.load(Ordering::SeqCst);
        status(if is_taken { "200 OK" } else { "500 Internal Server Error" })
    });
    connect(&world, "app", "bob").await;
    failing(&world, "main", 1).await;
    // Others are not held up.
    connect(&world, "app", "eve").await;
    connect_for(&world, "app", "bob", "Notes.Write").await;
    end(&world, "app", "bob").await;
    wait_until_async("three events of bob", async || waiting(&world, "main").await.0 == 3).await;
    is_up.store(true, Ordering::SeqCst);
    world.pass(Duration::from_secs(10));
    look(&world, 1).await;
    nothing_waits(&world, "main").await;
    let deliveries = receiver.deliveries();
    let of_bob: Vec<Delivery> =
        deliveries.into_iter().filter(|it| it.outline().contains("bob")).collect();
    let outlines: Vec<String> = of_bob.iter().map(Delivery::outline).collect();
    let tries = outlines.iter().filter(|outline| *outline == "created bob").count();
    assert!(tries >= 2, "{outlines:?}");
    assert_eq!(outlines[tries..], ["widened bob", "revoked bob (application)"]);
    let created = ids(&of_bob[..tries]);
    assert!(created.iter().all(|id| *id == created[0]), "{created:?}");
    assert_ne!(of_bob[tries - 1].timestamp, of_bob[0].timestamp, "it is signed anew");
}

#[tokio::test]
async fn a_slow_receiver_holds_no_other_one_up() {
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    let tables = [slow.table("slow", "app"), fast.table("fast", "app")];
    let world = World::for_many_and(&format!("{KEYS}{}", tables.concat())).await;
    let released = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&released);
    slow.answers(move |_| Act::SayWhen(Arc::clone(&held), answer("200 OK", "", "")));
    for user in ["ana", "bob", "eve"] {
        connect(&world, "app", user).await;
    }
    slow.got(1).await;
    assert_eq!(fast.outlines(3).await, ["created ana", "created bob", "created eve"]);
    released.add_permits(1);
    nothing_waits(&world, "slow").await;
    assert_eq!(slow.deliveries().len(), 3);
}

#[tokio::test]
async fn a_receiver_that_was_down_for_an_hour_gets_everything_in_order() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    receiver.says("503 Service Unavailable");
    let users = ["ana", "bob", "eve"];
    for user in users {
        connect(&world, "app", user).await;
    }
    receiver.got(3).await;
    for (minute, user) in users.iter().enumerate() {
        world.pass(Duration::from_mins(20));
        connect_for(&world, "app", user, "Notes.Write").await;
        look(&world, minute).await;
    }
    // Each waits for its next attempt, which is up to two hours away.
    failing(&world, "main", 6).await;
    receiver.takes();
    let before = receiver.deliveries().len();
    // The first event that is taken brings the others, long before their time. An attempt may still
    // be running that was refused, hence the second minute and those after it.
    for minute in 0..20 {
        world.pass(Duration::from_mins(1));
        look(&world, 10 + minute).await;
        let emptied = nothing_waits(&world, "main");
        if tokio::time::timeout(Duration::from_secs(5), emptied).await.is_ok() {
            break;
        }
    }
    assert_eq!(waiting(&world, "main").await, (0, 0));
    let taken: Vec<String> =
        receiver.deliveries()[before..].iter().map(Delivery::outline).collect();
    for user in users {
        let of_user: Vec<&String> =
            taken.iter().filter(|outline| outline.ends_with(user)).collect();
        assert_eq!(of_user, [&format!("created {user}"), &format!("widened {user}")]);
    }
}

#[tokio::test]
async fn what_was_not_taken_in_three_days_is_parked_and_replayed_on_request() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    receiver.answers(|delivery| {
        let is_bob = delivery.outline().contains("created bob");
        status(if is_bob { "500 Internal Server Error" } else { "200 OK" })
    });
    connect(&world, "app", "bob").await;
    for attempt in 1..10 {
        let is_known = async || {
            let list = world.broker().webhooks().list().await.unwrap();
            list[0].last_failure.as_ref().is_some_and(|failure| failure.at == world.now())
        };
        wait_until_async("the next failed attempt", is_known).await;
        world.pass(Duration::from_hours(30));
        look(&world, attempt).await;
    }
    wait_until_async("a parked event", async || waiting(&world, "main").await == (0, 1)).await;
    // The next one is sent.
    end(&world, "app", "bob").await;
    wait_until_async("the next event", async || {
        receiver.deliveries().iter().any(|it| it.outline().contains("revoked bob"))
    })
    .await;
    receiver.takes();
    let before = receiver.deliveries().len();
    let replayed = world.broker().webhooks().replay("main", None).await.unwrap();
    assert_eq!((replayed.parked, replayed.waiting), (1, 0));
    assert_eq!(receiver.got(before + 1).await[before].outline(), "created bob");
    nothing_waits(&world, "main").await;
}

#[tokio::test]
async fn events_survive_the_process_and_are_sent_by_the_next_one() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    receiver.says("500 Internal Server Error");
    connect(&world, "app", "bob").await;
    connect_for(&world, "app", "bob", "Notes.Write").await;
    receiver.got(1).await;
    let before = receiver.deliveries().len();
    let world = world.restarted_with("[tools.", "[tools.", Duration::from_mins(1)).await;
    receiver.takes();
    nothing_waits(&world, "main").await;
    let all = receiver.deliveries();
    let taken: Vec<String> = all[before..].iter().map(Delivery::outline).collect();
    let taken: Vec<&str> =
        taken.iter().map(String::as_str).skip_while(|it| it.starts_with("created")).collect();
    assert_eq!(taken, ["widened bob"], "{all:?}");
    assert_eq!(all[0].id, all[before].id);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let world = world(&receiver).await;
    let location = format!("Location: {}\r\n", elsewhere.origin());
    receiver.answers(move |_| Act::Say(answer("308 Permanent Redirect", &location, "")));
    connect(&world, "app", "bob").await;
    receiver.got(1).await;
    let failure = async || world.broker().webhooks().list().await.unwrap()[0].last_failure.clone();
    wait_until_async("a failure", async || failure().await.is_some()).await;
    assert_eq!(failure().await.unwrap().why, "answered 308");
    assert_eq!(elsewhere.deliveries().len(), 0);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone_until_the_restart() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    receiver.says("410 Gone");
    connect(&world, "app", "bob").await;
    receiver.got(1).await;
    receiver.takes();
    for number in 0..3 {
        look(&world, number).await;
    }
    wait_until_async("four users who wait", async || waiting(&world, "main").await.0 == 4).await;
    assert_eq!(receiver.deliveries().len(), 1);
    let world = world.restarted_with("[tools.", "[tools.", Duration::from_secs(1)).await;
    nothing_waits(&world, "main").await;
    assert_eq!(receiver.deliveries().len(), 5);
}

#[tokio::test]
async fn a_receiver_says_how_long_it_is_left_alone() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    receiver.answers(|delivery| {
        let is_bob = delivery.outline().contains("bob");
        let head = if is_bob { "429 Too Many Requests" } else { "500 Internal Server Error" };
        Act::Say(answer(head, "Retry-After: 7200\r\n", ""))
    });
    connect(&world, "app", "bob").await;
    receiver.got(1).await;
    let next = async || world.broker().webhooks().list().await.unwrap()[0].next_attempt;
    wait_until_async("a next attempt", async || next().await.is_some()).await;
    assert_eq!(next().await.unwrap().since(world.now()), Duration::from_hours(2));
}

#[tokio::test]
async fn an_exchanged_secret_counts_at_once_and_the_former_one_beside_it() {
    const NEW: &str = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let receiver = Receiver::start().await;
    let table = receiver
        .table("main", "app")
        .replace(&format!("cmd:echo {SECRET}"), &format!("file:{}", file.display()));
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let world = World::for_many_and(&format!("{KEYS}{table}")).await;
    connect(&world, "app", "bob").await;
    assert!(!receiver.got(1).await[0].is_signed_with(NEW));
    nothing_waits(&world, "main").await;
    std::fs::write(&file, format!("{NEW},{SECRET}\n")).unwrap();
    connect(&world, "app", "eve").await;
    assert!(receiver.got(2).await[1].is_signed_with(NEW));
    nothing_waits(&world, "main").await;
    // Without a secret, events wait.
    std::fs::remove_file(&file).unwrap();
    connect(&world, "app", "zoe").await;
    wait_until_async("an event that waits", async || waiting(&world, "main").await.0 == 1).await;
    std::fs::write(&file, SECRET).unwrap();
    look(&world, 1).await;
    nothing_waits(&world, "main").await;
    assert_eq!(receiver.deliveries().len(), 4);
}

#[tokio::test]
async fn the_events_of_one_application_are_never_sent_to_another_one_of_that_name() {
    let (receiver, others) = (Receiver::start().await, Receiver::start().await);
    let world = world(&receiver).await;
    receiver.says("500 Internal Server Error");
    connect(&world, "app", "bob").await;
    receiver.got(1).await;
    let before = receiver.deliveries().len();
    let (own, of_other) = (receiver.table("main", "app"), others.table("main", "other"));
    let world = world.restarted_with(&own, &of_other, Duration::from_mins(1)).await;
    connect(&world, "other", "eve").await;
    assert_eq!(others.outlines(1).await, ["created eve"]);
    wait_until_async("what is left", async || waiting(&world, "main").await.0 == 1).await;
    assert_eq!(world.broker().webhooks().list().await.unwrap()[0].others, 1);
    assert_eq!(receiver.deliveries().len(), before);
    assert_eq!(others.deliveries().len(), 1);
}

#[tokio::test]
async fn a_test_event_is_signed_and_its_failure_explained() {
    let receiver = Receiver::start().await;
    let world = world(&receiver).await;
    let webhooks = world.broker().webhooks();
    webhooks.test("main").await.unwrap();
    let [delivery] = &receiver.deliveries()[..] else { panic!("one event") };
    assert_eq!(delivery.json()["type"], "webhook.test");
    receiver.says("401 Unauthorized");
    let error = webhooks.test("main").await.unwrap_err();
    let told = format!("{error}; {}", error.hint());
    assert!(told.contains("answered 401") && told.contains("the secret"), "{told}");
    let error = webhooks.test("mian").await.unwrap_err();
    assert_eq!(error.hint(), "did you mean `main`?");
}
