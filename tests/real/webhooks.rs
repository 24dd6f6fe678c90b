//! Webhooks of the binary: signatures that the published libraries of Standard Webhooks accept, and
//! events that outlive `kill -9`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::arcade::world::{APP_KEY, Keyed};
use crate::harness::{Served, part, request, wait_until};

const SECRET: &str = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0";
const NEW_SECRET: &str = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3";
const OTHER_SECRET: &str = "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3Ro";

/// Status of a receiver that does not answer.
const SILENT: u16 = 0;

/// A receiver that keeps what it is sent.
struct Receiver {
    address: String,
    status: Arc<AtomicU16>,
    requests: Arc<Mutex<Vec<Delivery>>>,
}

#[derive(Clone, Debug)]
struct Delivery {
    headers: BTreeMap<String, String>,
    body: String,
    /// Status that it was answered with.
    status: u16,
}

impl Delivery {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn is(&self, kind: &str, user: &str) -> bool {
        let event = self.event();
        event["type"] == kind && event["data"]["user_id"] == user
    }
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let status = Arc::new(AtomicU16::new(204));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::clone(&status), Arc::clone(&requests));
        std::thread::spawn(move || {
            // Connections that are not answered stay open.
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let status = answer.load(Ordering::SeqCst);
                let Some(delivery) = read(&mut stream, status) else { continue };
                seen.lock().unwrap().push(delivery);
                if status == SILENT {
                    silent.push(stream);
                } else {
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                    );
                    let _ = stream.write_all(head.as_bytes());
                }
            }
        });
        Self { address, status, requests }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.requests.lock().unwrap().clone()
    }

    /// Whether it has taken this event.
    fn has_taken(&self, kind: &str, user: &str) -> bool {
        self.deliveries().iter().any(|it| it.status == 204 && it.is(kind, user))
    }

    fn table(&self, secret: &str) -> String {
        format!(
            "[webhooks.main]\nurl = \"http://{}/hooks\"\nsecret = \"cmd:echo {secret}\"\nkey = \"app\"\n",
            self.address
        )
    }
}

fn read(stream: &mut TcpStream, status: u16) -> Option<Delivery> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<String, String> =
        lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length: usize = headers["content-length"].parse().unwrap();
    let mut body = bytes[head..].to_vec();
    let mut rest = vec![0; length - body.len()];
    stream.read_exact(&mut rest).ok()?;
    body.extend(rest);
    Some(Delivery { headers, body: String::from_utf8(body).unwrap(), status })
}

fn post(served: &Served, path: &str, body: &Value) -> Value {
    let headers = [("authorization", APP_KEY), ("content-type", "application/json")];
    request("POST", &format!("{}{path}", served.origin()), &headers, &body.to_string()).json()
}

/// Returns the link of a user who has to consent.
fn link(keyed: &Keyed, user: &str) -> String {
    let body = json!({ "tool_name": "Notes.Read", "user_id": user });
    let asked = post(&keyed.served, "/v1/tools/authorize", &body);
    asked["url"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned()
}

fn connect(keyed: &Keyed, user: &str) {
    keyed.visit(user, &link(keyed, user)).approves();
}

/// Kills the server and starts another one on its data.
fn killed(keyed: Keyed) -> Keyed {
    let Keyed { world, app, bare, home, served } = keyed;
    // SIGKILL.
    drop(served);
    let served = Served::start(&home);
    app.confirm_to(&served);
    Keyed { world, app, bare, home, served }
}

/// Returns the status with which the code of docs/webhooks.md answers each request, in each
/// language.
fn verified(requests: &[Delivery], secret: &str) -> Vec<(Vec<u64>, Vec<Value>)> {
    let folder = part("COUNTERSIGN_REAL_DIR").join("webhooks");
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/webhooks.md");
    let programs =
        [("COUNTERSIGN_REAL_PYTHON", "verify.py"), ("COUNTERSIGN_REAL_NODE", "verify.mjs")];
    let run = |(program, file): (&str, &str)| {
        let mut child = Command::new(part(program))
            .arg(folder.join(file))
            .arg(document)
            .env_clear()
            .env("MY_APP_WEBHOOK_SECRET", secret)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        for Delivery { headers, body, .. } in requests {
            writeln!(input, "{}", json!({ "headers": headers, "body": body })).unwrap();
        }
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{file}: {output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let answers: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let statuses = answers.iter().map(|answer| answer["status"].as_u64().unwrap()).collect();
        (statuses, answers.iter().map(|answer| answer["handled"].clone()).collect())
    };
    programs.into_iter().map(run).collect()
}

#[test]
fn the_published_libraries_accept_every_event_and_no_altered_one() {
    let receiver = Receiver::start();
    let keyed = Keyed::start(&receiver.table(&format!("{NEW_SECRET},{SECRET}")));
    connect(&keyed, "ana");
    let path = "/v1/admin/user_connections?user_id=ana";
    let url = format!("{}{path}", keyed.served.origin());
    request("DELETE", &url, &[("authorization", APP_KEY)], "");
    wait_until("two events", || receiver.deliveries().len() == 2);
    let tested = keyed.home.run(&["webhooks", "test", "main"]);
    assert_eq!(tested.code, Some(0), "{tested:?}");
    let all = receiver.deliveries();
    let kinds = ["connection.created", "connection.revoked", "webhook.test"];
    let expected: Vec<Value> =
        all.iter().zip(kinds).map(|(it, kind)| json!([[it.id(), kind]])).collect();
    for secret in [SECRET, NEW_SECRET] {
        for (statuses, handled) in verified(&all, secret) {
            assert_eq!((statuses, &handled), (vec![204; 3], &expected), "{all:?}");
        }
    }
    let altered = |change: &dyn Fn(&mut Delivery)| {
        let mut altered = all[0].clone();
        change(&mut altered);
        altered
    };
    let bad = [
        altered(&|it| it.body = it.body.replace("\"ana\"", "\"eve\"")),
        altered(&|it| *it.headers.get_mut("webhook-id").unwrap() += "x"),
        altered(&|it| *it.headers.get_mut("webhook-timestamp").unwrap() = "1800000000".into()),
        altered(&|it| drop(it.headers.remove("webhook-signature"))),
    ];
    for (statuses, handled) in verified(&bad, SECRET) {
        assert_eq!((statuses, handled), (vec![401; 4], vec![json!([]); 4]));
    }
    for (statuses, _) in verified(&all, OTHER_SECRET) {
        assert_eq!(statuses, [401; 3]);
    }
    assert!(!keyed.home.log().contains("whsec_"), "{}", keyed.home.log());
}

#[test]
fn an_event_that_was_being_sent_when_its_server_was_killed_is_sent_again() {
    let receiver = Receiver::start();
    receiver.answers(SILENT);
    let keyed = Keyed::start(&receiver.table(SECRET));
    connect(&keyed, "ana");
    wait_until("the first attempt", || receiver.deliveries().len() == 1);
    let keyed = killed(keyed);
    receiver.answers(204);
    wait_until("the second attempt", || receiver.has_taken("connection.created", "ana"));
    let all = receiver.deliveries();
    assert_eq!(all[0].id(), all.last().unwrap().id());
    let listed = keyed.home.run(&["webhooks", "list", "--json"]).json();
    assert_eq!(listed["webhooks"][0]["waiting"], 0, "{listed}");
}
