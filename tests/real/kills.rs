//! `kill -9` between any two instructions: what a user was told is connected stays connected. Only
//! a refresh token that the killed process had sent can be lost, and the loss is reported.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use countersign::model::Clock;
use countersign::model::time::utc;
use serde_json::json;

use crate::harness::{
    Dialect, Finished, Held, Home, Served, Server, Visit, World, files, page_while_it_lives,
    report, request, times, wait_until,
};

/// Reason in `auth status` for a grant that ended with a process: its attempt marker was still
/// there.
pub const BROKEN_OFF: &str =
    "a process ended in the middle of a renewal, before its answer was kept";

const ROUNDS: usize = 200;
/// Latest moment of a kill, in microseconds: longer than a callback or a renewal takes on an idle
/// machine, so that some are killed when they are done.
const LATEST: u64 = 50_000;

/// Kills a server while the provider holds its renewal; returns another one beside it, with ana's
/// consent. By then the provider has decided about the renewal.
fn in_the_middle(world: &World, fault: &serde_json::Value) -> (Home, Server) {
    let home = Home::new(&world.tools());
    let mut killed = Server::start(&home, Dialect::PLAIN);
    let prompt = killed.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    let mut other = Server::start(&home, Dialect::PLAIN);
    other.call("whoami", &json!({})).ran();
    world.pull("expire-access-tokens", &json!({}));
    world.pull("token-fault", fault);
    killed.begin("whoami", &json!({}));
    wait_until("the refresh at the provider", || world.refreshes() > 0);
    killed.kill();
    world.pull("release", &json!({}));
    (home, other)
}

#[test]
fn a_refresh_token_that_went_out_with_a_process_is_tried_once_and_its_loss_is_told() {
    let world = World::start();
    let (home, mut other) = in_the_middle(&world, &json!({"hold": true}));
    let prompt = other.call("whoami", &json!({})).asked();
    let account = status(&home, "ana");
    assert_eq!(account["state"], "ended", "{account}");
    assert!(account["reason"].as_str().unwrap().contains(BROKEN_OFF), "{account}");
    assert_eq!(world.refresh_token_sends().iter().map(Vec::len).collect::<Vec<_>>(), [2]);
    assert_eq!(world.counts()["grants_destroyed"], 1);
    Visit::to(&prompt.url).approves();
    other.call("whoami", &json!({})).ran();
}

#[test]
fn a_refresh_token_that_never_arrived_is_good_for_the_next_process() {
    let world = World::start();
    let (_home, mut other) = in_the_middle(&world, &json!({"hold": true, "drop": "before"}));
    other.call("whoami", &json!({})).ran();
    world.pull("expire-access-tokens", &json!({}));
    other.call("whoami", &json!({})).ran();
    let mut sends: Vec<usize> = world.refresh_token_sends().iter().map(Vec::len).collect();
    sends.sort_unstable();
    assert_eq!(sends, [1, 2]);
    assert_eq!(world.counts()["grants_destroyed"], 0);
}

#[derive(Debug, Default)]
struct Figures {
    consents: usize,
    consents_announced: usize,
    renewals: usize,
    renewals_announced: usize,
    /// Consents that were neither announced nor stored: their code was lost with the process.
    unkept: usize,
    /// Grants whose refresh token was lost with the process, by the provider's own record.
    lost: usize,
}

#[test]
fn nothing_that_was_announced_is_lost_to_two_hundred_kills() {
    let mut random = Random::new();
    report(&format!("seed {}", random.0));
    let world = World::with(&json!({"token_delay_ms": 5}), json!({}));
    let home = Home::new(&world.tools());
    let mut connected: Vec<String> = Vec::new();
    let mut figures = Figures::default();
    for round in 0..ROUNDS * usize::try_from(times()).unwrap() {
        let moment = Duration::from_micros(random.below(LATEST));
        if connected.is_empty() || random.below(4) == 0 {
            let user = format!("user{round}");
            let is_announced = consent(&home, &user, moment);
            figures.consents += 1;
            figures.consents_announced += usize::from(is_announced);
            if is_connected(&home, &user) {
                connected.push(user);
            } else {
                assert!(!is_announced, "round {round}: {user} was connected and is not");
                assert!(status(&home, &user).is_null(), "round {round}");
                figures.unkept += 1;
            }
        } else {
            let at = usize::try_from(random.below(connected.len() as u64)).unwrap();
            let destroyed = world.counts()["grants_destroyed"].as_u64().unwrap();
            let is_announced = renewal(&world, &home, &connected[at], moment);
            figures.renewals += 1;
            figures.renewals_announced += usize::from(is_announced);
            if !is_connected(&home, &connected[at]) {
                let user = connected.swap_remove(at);
                let account = status(&home, &user);
                assert!(!is_announced, "round {round}: {user} had run and is gone: {account}");
                let reason = account["reason"].as_str().unwrap();
                assert!(reason.contains(BROKEN_OFF), "round {round}: {account}");
                assert_eq!(world.counts()["grants_destroyed"], destroyed + 1, "round {round}");
                figures.lost += 1;
            }
        }
    }
    for user in &connected {
        assert!(is_connected(&home, user), "{user} is not connected any more");
    }
    let twice = world.refresh_token_sends().iter().filter(|times| times.len() > 1).count();
    report(&format!(
        "{figures:?}, {} connected, {twice} refresh tokens sent twice",
        connected.len()
    ));
    assert!(world.refresh_token_sends().iter().all(|times| times.len() <= 2));
    assert_eq!(world.counts()["grants_destroyed"], figures.lost);
    assert!(twice >= figures.lost);
    let aside = files(&home.data()).into_iter().find(|file| file.ends_with("damaged"));
    assert_eq!(aside, None, "the store was set aside");
}

/// Gives a consent, and kills the server at that moment after the browser has come back. Returns
/// whether the browser was told of a success.
fn consent(home: &Home, user: &str, moment: Duration) -> bool {
    let mut server = Server::start_as(home, Dialect::PLAIN, user);
    let prompt = server.call("whoami", &json!({})).asked();
    let Held { callback_url, cookie } = Visit::to(&prompt.url).signed_in_as(user).hold();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let reply = page_while_it_lives(&callback_url, &[("cookie", &cookie)]);
        tell.send(reply.map(|reply| reply.status))
    });
    let early = told.recv_timeout(moment);
    server.kill();
    let status = match early {
        Err(RecvTimeoutError::Timeout) => told.recv().unwrap(),
        told => told.unwrap(),
    };
    status == Some(303)
}

/// Makes a call with an expired token, and kills the server at that moment after. Returns whether
/// the call ran.
fn renewal(world: &World, home: &Home, user: &str, moment: Duration) -> bool {
    let mut server = Server::start_as(home, Dialect::PLAIN, user);
    // The kill should not interrupt what a process does only once.
    server.call("whoami", &json!({})).ran();
    world.pull("expire-access-tokens", &json!({}));
    let call = server.begin("whoami", &json!({}));
    let answer = server.end_within(call, moment);
    server.kill();
    answer.map(|answer| answer.ran()).is_some()
}

/// Whether a call runs in a process that has just opened the store; otherwise it must ask for a
/// consent.
#[track_caller]
fn is_connected(home: &Home, user: &str) -> bool {
    let called: Finished = home.run(&["tools", "call", "whoami", "--user", user]);
    match called.code {
        Some(0) => {
            assert!(called.stdout.contains(&format!("\"{user}\"")), "{called:?}");
            true
        }
        Some(4) => false,
        _ => panic!("{called:?}\n{}", home.log()),
    }
}

/// The user's only account, as `auth status` reports it.
fn status(home: &Home, user: &str) -> serde_json::Value {
    home.run(&["auth", "status", "--json", "--user", user]).json()["accounts"][0].clone()
}

/// Xorshift (Marsaglia 2003): the numbers follow from the seed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(RandomState::new().hash_one(0) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Kills the server while an API holds the call: the API may have done what it was asked to.
#[test]
fn a_call_with_a_key_that_died_with_its_server_never_runs_twice() {
    let api = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = api.local_addr().unwrap();
    let home = Home::new(&format!(
        "[tools.star]\ndescription = \"Stars.\"\nids = {{ arcade = \"Github.Star\" }}\nrequest = \"POST http://{address}/star\"\n"
    ));
    let served = Served::start(&home);
    let body = json!({ "tool_name": "Github.Star", "input": {} }).to_string();
    let host = served.origin().trim_start_matches("http://").to_owned();
    let mut client = TcpStream::connect(&host).unwrap();
    let head = format!(
        "POST /v1/tools/execute HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer x\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(head.as_bytes()).unwrap();
    let (mut held, _) = api.accept().unwrap();
    let mut begun = [0; 11];
    held.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"POST /star ");
    // SIGKILL.
    drop(served);
    assert!(client.read_to_end(&mut Vec::new()).is_ok_and(|count| count == 0));

    let served = Served::start(&home);
    api.set_nonblocking(true).unwrap();
    let again = |key: &str| {
        let headers = [
            ("authorization", "Bearer x"),
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        request("POST", &format!("{}/v1/tools/execute", served.origin()), &headers, &body).json()
    };
    for _ in 0..3 {
        let answer = again("k");
        assert_eq!(answer["success"], false, "{answer}");
        let message = answer["output"]["error"]["message"].as_str().unwrap();
        assert!(message.contains("it is not known whether it ran"), "{message}");
    }
    assert_eq!(api.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "it was sent again");
}

/// Kills the server while an API holds a scheduled call, and lets the next one look for it.
#[test]
fn a_scheduled_call_that_died_with_its_server_never_runs_twice() {
    let api = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = api.local_addr().unwrap();
    let home = Home::new(&format!(
        "[tools.star]\ndescription = \"Stars.\"\nids = {{ arcade = \"Github.Star\" }}\nrequest = \"POST http://{address}/star\"\n"
    ));
    let headers = [("authorization", "Bearer x"), ("content-type", "application/json")];
    let served = Served::start(&home);
    let url = format!("{}/v1/tools/execute", served.origin());
    let body = json!({ "tool_name": "Github.Star", "run_at": utc(Clock::system().now()) });
    let scheduled = request("POST", &url, &headers, &body.to_string()).json();
    assert_eq!(scheduled["status"], "scheduled", "{scheduled}");
    let look = |served: &Served| {
        let id = scheduled["id"].as_str().unwrap();
        let url = format!("{}/v1/scheduled_tools/{id}", served.origin());
        request("GET", &url, &headers, "").json()
    };
    let (mut held, _) = api.accept().unwrap();
    let mut begun = [0; 11];
    held.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"POST /star ");
    assert_eq!(look(&served)["execution_status"], "running");
    // SIGKILL.
    drop(served);

    let served = Served::start(&home);
    wait_until("the end of the call", || look(&served)["execution_status"] == "failed");
    let call = look(&served);
    let message = call["attempts"][0]["system_error_message"].as_str().unwrap();
    assert!(message.contains("it is not known whether it ran"), "{message}");
    api.set_nonblocking(true).unwrap();
    assert_eq!(api.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "it was sent again");
}
