//! After a host has ended its server: open links, and one process that answers them.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use rustix::process::Pid;
use serde_json::json;

use crate::command::{countersign, run};
use crate::stdio::Session;
use crate::support::browser::{Browser, Page};
use crate::support::process::keepers::{End, end_all, keeper, until_gone};
use crate::support::provider::{self, Act, Server};
use crate::support::{wait_until, wait_within};

/// How long a keeper may stay after a browser has seen how the last link ended. On an idle machine
/// it stays an eighth of this.
const LINGER: Duration = Duration::from_secs(8);

/// One machine, with a provider beside it.
struct Machine {
    folder: tempfile::TempDir,
    provider: Server,
}

impl Machine {
    async fn new() -> Self {
        Self::with("").await
    }

    /// Adds these lines to `[server]`.
    async fn with(server: &str) -> Self {
        let provider = Server::start(|request| {
            Act::Say(match request.split(' ').nth(1).unwrap() {
                "/token" => provider::json(r#"{"access_token":"a-token"}"#),
                "/read" if request.to_ascii_lowercase().contains("bearer a-token") => {
                    provider::json(r#"{"ok":true}"#)
                }
                _ => provider::answer("401 Unauthorized", "", ""),
            })
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let tools = crate::consent::tools_toml(&provider.origin);
        fs::write(
            folder.path().join("tools.toml"),
            format!("[server]\nport = {port}\n{server}\n{tools}"),
        )
        .unwrap();
        Self { folder, provider }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join(".local/share/countersign")
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = countersign();
        command.current_dir(&self.folder).env("HOME", self.folder.path()).args(arguments);
        command
    }

    /// Starts a server as hosts do: the leader of a process group, with secrets in its environment.
    fn server(&self, user: &str) -> Session {
        let mut command = self.command(&["serve", "--stdio", "--user", user]);
        command.process_group(0).env("HOST_SECRET", "of-the-host");
        Session::start(&mut command)
    }

    /// The process that owns the data folder, according to the folder's lock.
    fn owner(&self) -> String {
        let note = fs::read_to_string(self.data().join("store.lock")).unwrap_or_default();
        note.split(',').next().unwrap_or_default().to_owned()
    }

    fn until_owned_by(&self, pid: u32) {
        let name = format!("process {pid}");
        wait_until(&format!("the owner {name}"), || self.owner() == name);
    }

    /// The processes that have a file of the data folder open.
    fn processes(&self) -> Vec<u32> {
        let data = self.data();
        let is_of_data = |pid: &u32| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|file| file.starts_with(&data))
        };
        let pids = fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(is_of_data)
            .collect()
    }

    /// Waits until no process has a file of the data folder open: a process that has released its
    /// locks is about to end.
    fn until_left_alone(&self) {
        wait_within(LINGER, "a folder that no process has open", || self.processes().is_empty());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end_all(self.folder.path());
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn link(session: &mut Session) -> String {
    let text = session.failure("read", &json!({}));
    text.lines().find(|line| line.starts_with("http://127.0.0.1:")).expect(&text).to_owned()
}

fn runs(session: &mut Session) -> bool {
    let answer = session.ask("tools/call", &json!({ "name": "read", "arguments": {} }));
    answer["result"]["isError"] != true
}

/// Opens the link and goes to the provider.
async fn depart(browser: &Browser, link: &str) -> Page {
    let page = browser.get(link).await;
    let departure = browser.post(link, &[("answer", "continue"), ("shown", page.shown())]).await;
    assert_eq!(departure.status, StatusCode::SEE_OTHER, "{}", departure.text);
    departure
}

/// Comes back from the provider; returns the redirect to the page that says how the link ended.
async fn arrive(browser: &Browser, departure: &Page) -> Page {
    let (redirect, state) = (departure.parameter("redirect_uri"), departure.parameter("state"));
    let arrival = browser.get(&format!("{redirect}?state={state}&code=c0de")).await;
    assert_eq!(arrival.status, StatusCode::SEE_OTHER, "{}", arrival.text);
    arrival
}

/// Like [`arrive`], and follows the redirect.
async fn come_back(browser: &Browser, departure: &Page) -> Page {
    browser.get(arrive(browser, departure).await.location()).await
}

/// Connects to the listener repeatedly: browsers may come at any moment, and do not retry when they
/// are refused.
struct Visitors {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u32>,
}

impl Visitors {
    fn of(link: &str) -> Self {
        let address = link.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut refused = 0;
            while !stopped.load(Ordering::Relaxed) {
                refused += u32::from(std::net::TcpStream::connect(&address).is_err());
                std::thread::sleep(Duration::from_millis(2));
            }
            refused
        });
        Self { stop, thread }
    }

    fn refused(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn pid(raw: u32) -> Pid {
    Pid::from_raw(i32::try_from(raw).unwrap()).unwrap()
}

/// Ends a server as some hosts do.
fn end_by(end: End, session: Session) {
    end.signal(session.pid());
    match end {
        End::Eof => drop(session),
        _ => session.wait(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_is_completed_however_the_server_was_ended() {
    for end in End::ALL {
        let machine = Machine::new().await;
        let mut session = machine.server("ana");
        let link = link(&mut session);
        let is_kept = keeper(&machine.data()).is_some();
        assert!(is_kept, "{end:?}: a keeper is ready before the link is given");
        end_by(end, session);
        let browser = Browser::new();
        let departure = depart(&browser, &link).await;
        let page = come_back(&browser, &departure).await;
        assert_eq!(page.status, StatusCode::OK, "{end:?}: {}", page.text);
        assert!(page.text.contains("is connected"), "{end:?}: {}", page.text);
        let gone = until_gone(&machine.data());
        assert!(gone < LINGER, "{end:?}: {gone:?}");
        machine.until_left_alone();
        assert!(runs(&mut machine.server("ana")), "{end:?}");
        assert_eq!(machine.provider.requests().len(), 2, "{end:?}");
    }
}

/// Another process has to notice, open the store and listen; connections wait until then.
#[tokio::test(flavor = "multi_thread")]
async fn no_browser_is_refused_while_the_folder_changes_its_owner() {
    for end in End::ALL {
        let machine = Machine::new().await;
        let mut session = machine.server("ana");
        let link = link(&mut session);
        let visitors = Visitors::of(&link);
        end_by(end, session);
        let page = Browser::new().get(&link).await;
        assert_eq!((page.status, visitors.refused()), (StatusCode::OK, 0), "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_at_the_provider_when_the_host_closes_comes_back() {
    for end in End::ALL {
        let machine = Machine::new().await;
        let mut session = machine.server("ana");
        let link = link(&mut session);
        let browser = Browser::new();
        let departure = depart(&browser, &link).await;
        end_by(end, session);
        let page = come_back(&browser, &departure).await;
        assert!(page.text.contains("is connected"), "{end:?}: {}", page.text);
        // The page offers no action that would need a process that is gone.
        assert!(!page.text.contains("value=\"disconnect\""), "{end:?}: {}", page.text);
        assert!(page.text.contains("countersign auth revoke acme --user=ana"), "{}", page.text);
        until_gone(&machine.data());
        assert!(runs(&mut machine.server("ana")), "{end:?}");
    }
}

/// Browsers follow a redirect at once, but a machine can be busy.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_is_slow_still_sees_how_its_link_ended() {
    let machine = Machine::new().await;
    let mut session = machine.server("ana");
    let link = link(&mut session);
    end_by(End::Kill, session);
    let browser = Browser::new();
    let departure = depart(&browser, &link).await;
    let arrival = arrive(&browser, &departure).await;
    // The keeper has looked for open links several times by then, and does not stay for longer than
    // three seconds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let page = browser.get(arrival.location()).await;
    assert!(page.text.contains("is connected"), "{}", page.text);
    assert!(until_gone(&machine.data()) < LINGER);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_servers_at_once_leave_one_keeper() {
    let machine = Machine::new().await;
    let links: Vec<String> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..50)
            .map(|n| {
                let machine = &machine;
                scope.spawn(move || {
                    let mut session = machine.server(&format!("user{n}"));
                    let link = link(&mut session);
                    end_by(End::Kill, session);
                    link
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let kept = keeper(&machine.data()).expect("a keeper");
    assert_eq!(machine.processes(), [kept]);
    let browser = Browser::new();
    for link in &links {
        let page = browser.get(link).await;
        assert_eq!(page.status, StatusCode::OK);
        browser.post(link, &[("answer", "decline"), ("shown", page.shown())]).await;
        browser.get(link).await;
    }
    assert!(until_gone(&machine.data()) < LINGER);
    machine.until_left_alone();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_holds_nothing_of_its_host() {
    let machine = Machine::new().await;
    let key = run(&mut machine.command(&["key", "generate"])).1;
    let mut command = machine.command(&["serve", "--stdio"]);
    command.env("COUNTERSIGN_KEY", key.trim()).env("HOST_SECRET", "of-the-host");
    command.env("LANG", "C.UTF-8");
    let mut session = Session::start(&mut command);
    let link = link(&mut session);
    let kept = keeper(&machine.data()).unwrap();
    let read = |file: &str| fs::read_to_string(format!("/proc/{kept}/{file}")).unwrap();
    for secret in [key.trim(), "of-the-host", "COUNTERSIGN_KEY", "HOST_SECRET"] {
        assert!(!read("environ").contains(secret) && !read("cmdline").contains(secret), "{secret}");
    }
    assert!(read("environ").contains("LANG=C.UTF-8"));
    assert_eq!(rustix::process::getsid(Some(pid(kept))).unwrap(), pid(kept));
    for stream in 0..3 {
        let file = fs::read_link(format!("/proc/{kept}/fd/{stream}")).unwrap();
        assert_eq!(file, Path::new("/dev/null"), "{stream}");
    }
    // The keeper received the key all the same.
    end_by(End::Kill, session);
    let browser = Browser::new();
    let page = come_back(&browser, &depart(&browser, &link).await).await;
    assert!(page.text.contains("is connected"), "{}", page.text);
    until_gone(&machine.data());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_leaves_the_folder_to_a_server_and_takes_it_back() {
    let machine = Machine::new().await;
    let mut session = machine.server("ana");
    let link = link(&mut session);
    let kept = keeper(&machine.data()).unwrap();
    assert_eq!(machine.owner(), format!("process {}", session.pid()));
    for _ in 0..2 {
        end_by(End::Kill, session);
        machine.until_owned_by(kept);
        assert_eq!(Browser::new().get(&link).await.status, StatusCode::OK);
        // A read-only command does not take over the listener.
        let (code, said, _) = run(&mut machine.command(&["auth", "status", "--json"]));
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        // 4: nothing is connected yet.
        assert_eq!((code, &said["keeper"]["pid"]), (4, &json!(kept)));
        let (_, said, _) = run(&mut machine.command(&["auth", "status"]));
        assert!(said.contains(&format!("A keeper (process {kept})")), "{said}");
        assert_eq!(run(&mut machine.command(&["key", "status"])).0, 0);
        assert_eq!(run(&mut machine.command(&["store", "verify"])).0, 0);
        assert_eq!(machine.owner(), format!("process {kept}"));

        // It hands over once it has stayed for a while and no browser is connected.
        let visitors = Visitors::of(&link);
        session = machine.server("ana");
        assert_eq!(self::link(&mut session), link);
        machine.until_owned_by(session.pid());
        assert_eq!(visitors.refused(), 0);
        assert_eq!(Browser::new().get(&link).await.status, StatusCode::OK);
        assert_eq!(keeper(&machine.data()), Some(kept), "it stays for the next end");
    }
    // The page of a server that stays offers what that server can do.
    let browser = Browser::new();
    let page = come_back(&browser, &depart(&browser, &link).await).await;
    assert!(page.text.contains("value=\"disconnect\">Disconnect<"), "{}", page.text);
    assert!(until_gone(&machine.data()) < LINGER);
    assert!(!machine.processes().iter().any(|pid| *pid != session.pid() && *pid != kept));
}

/// A hand-over keeps browsers waiting for a moment, so it waits while a user is at the provider.
#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_awaits_a_person_hands_nothing_over() {
    let machine = Machine::new().await;
    let mut session = machine.server("ana");
    let link = link(&mut session);
    let kept = keeper(&machine.data()).unwrap();
    end_by(End::Kill, session);
    let browser = Browser::new();
    let departure = depart(&browser, &link).await;
    let session = machine.server("ana");
    // Longer than a hand-over takes otherwise.
    tokio::time::sleep(Duration::from_secs(9)).await;
    let owner = fs::read_to_string(machine.data().join("store.lock")).unwrap();
    assert!(owner.starts_with(&format!("process {kept},")), "{owner}");
    let page = come_back(&browser, &departure).await;
    assert!(page.text.contains("is connected"), "{}", page.text);
    assert!(until_gone(&machine.data()) < LINGER);
    drop(session);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_keeper_the_link_says_that_it_ends_with_the_server() {
    let machine = Machine::with("keeper = false").await;
    let mut session = machine.server("ana");
    let text = session.failure("read", &json!({}));
    assert!(text.contains("works only while this server runs"), "{text}");
    assert!(text.contains("`countersign auth login acme --user=ana`"), "{text}");
    assert_eq!(machine.processes(), [session.pid()]);
    end_by(End::Kill, session);
    assert!(machine.processes().is_empty());

    let machine = Machine::new().await;
    let mut session = machine.server("ana");
    let text = session.failure("read", &json!({}));
    assert!(!text.contains("only while"), "{text}");
    end_by(End::Eof, session);
}

/// In a container, the published port leads to an address other than 127.0.0.1. The keeper listens
/// there, too.
#[tokio::test(flavor = "multi_thread")]
async fn links_are_listened_for_at_another_address() {
    let machine = Machine::with("listen_address = \"0.0.0.0\"").await;
    let mut session = machine.server("ana");
    let link = link(&mut session);
    let port = link.trim_start_matches("http://127.0.0.1:").split('/').next().unwrap();
    let elsewhere = format!("127.0.0.2:{port}");
    for is_ended in [false, true] {
        if is_ended {
            end_by(End::Kill, std::mem::replace(&mut session, machine.server("ben")));
        }
        // Like a port that is published on the host's 127.0.0.1, which browsers name.
        let browser =
            Browser::behind(&format!("http://127.0.0.1:{port}"), &format!("http://{elsewhere}"));
        assert_eq!(browser.get(&link).await.status, StatusCode::OK);
        let named = Browser::new().get(&link.replace("127.0.0.1", "127.0.0.2")).await;
        assert_eq!(named.status, StatusCode::MISDIRECTED_REQUEST);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_ends_with_its_data_folder() {
    let machine = Machine::new().await;
    let mut session = machine.server("ana");
    let link = link(&mut session);
    let kept = keeper(&machine.data()).unwrap();
    end_by(End::Kill, session);
    machine.until_owned_by(kept);
    // The keeper notes its ownership before it opens the store, which creates a missing folder.
    // Wait for a page first.
    assert_eq!(Browser::new().get(&link).await.status, StatusCode::OK);
    fs::rename(machine.data(), machine.folder.path().join("away")).unwrap();
    let kept = format!("/proc/{kept}/fd/0");
    wait_until("the end of the keeper", || !Path::new(&kept).exists());
    assert!(!machine.data().exists(), "it brought the folder back");
}

#[test]
fn it_is_no_command_for_people() {
    let (code, said, error) = run(countersign().arg("keeper").stdin(std::process::Stdio::null()));
    assert_eq!((code, said.as_str()), (1, ""), "{error}");
    let (_, help, _) = run(countersign().arg("--help"));
    assert!(!help.contains("keeper"), "{help}");
}
