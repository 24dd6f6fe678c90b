//! A full disk: nothing that was stored is lost, and everything resumes once there is room again.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::{
    Dialect, Held, Home, Prompt, Reply, Server, Visit, World, press, request, wait_until,
};

/// A file system of a few megabytes, which only root may mount.
struct SmallDisk(PathBuf);

fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", program]);
    command
}

impl SmallDisk {
    fn mount(path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        let owner = rustix::process::geteuid().as_raw();
        let mounted = as_root("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size=3m,mode=0700,uid={owner}"))
            .arg("countersign-test")
            .arg(path)
            .status();
        assert!(mounted.unwrap().success(), "a small disk can only be mounted as root");
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path.into())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test left behind may still hold a file.
        let _ = as_root("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes until not one more byte fits.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [64 * 1024, 1024, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

fn serve(home: &Home, disk: &SmallDisk) -> Server {
    // The data folder is deeper than the disk's root, so that the filler beside it is no foreign
    // file inside it.
    let mut command = home.command(&["serve", "--stdio", "--user", "ana", "--data"]);
    command.arg(disk.0.join("data"));
    let mut server = Server::spawn(command, Dialect::PLAIN);
    server.shake_hands();
    server
}

#[test]
fn a_full_disk_during_a_refresh_loses_nothing() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let disk = SmallDisk::mount(&home.path("disk"));
    let mut server = serve(&home, &disk);
    let prompt = server.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    server.call("whoami", &json!({})).ran();

    let filler = disk.0.join("filler");
    fill(&filler);
    // The rest of an allocated page may still take a record or two.
    let text = (0..64).find_map(|_| {
        world.pull("expire-access-tokens", &json!({}));
        let answer = server.begin("whoami", &json!({}));
        let message = server.wait(answer);
        let result = &message["result"];
        (result["isError"] == true).then(|| result["content"][0]["text"].to_string())
    });
    let text = text.expect("the disk was never full");
    assert!(text.contains("no space left"), "{text}");
    assert!(!text.contains("/connect/"), "no new consent is asked for: {text}");
    let sent = world.refreshes();
    server.call("whoami", &json!({})).failed();
    assert_eq!(world.refreshes(), sent, "the spent refresh token is not sent again");

    fs::remove_file(&filler).unwrap();
    server.call("whoami", &json!({})).ran();
    world.pull("expire-access-tokens", &json!({}));
    server.call("whoami", &json!({})).ran();
    assert_eq!(world.counts()["refresh_reuses"], 0, "{}", world.counts());
    assert_eq!(world.counts()["grants_destroyed"], 0);
    server.kill();

    let mut server = serve(&home, &disk);
    server.call("whoami", &json!({})).ran();
    server.close();
}

/// A server on a small disk, with a consent that has got as far as the provider's answer.
fn at_the_callback(home: &Home) -> (SmallDisk, Server, Prompt, Held) {
    let disk = SmallDisk::mount(&home.path("disk"));
    let mut server = serve(home, &disk);
    let prompt = server.call("whoami", &json!({})).asked();
    let held = Visit::to(&prompt.url).hold();
    (disk, server, prompt, held)
}

fn come_back(held: &Held) -> Reply {
    request("GET", &held.callback_url, &[("cookie", &held.cookie)], "")
}

/// Takes all the room. Clicks on the link use up what allocated pages still have.
fn fill_for_good(disk: &SmallDisk, prompt: &Prompt) -> PathBuf {
    let filler = disk.0.join("filler");
    fill(&filler);
    let refused =
        (0..16).map(|_| press(&prompt.url, &[], "continue")).find(|reply| reply.status == 503);
    assert_full(&refused.expect("the disk was never full"));
    filler
}

fn assert_full(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.body);
    for words in ["No space left", "Free some space"] {
        assert!(reply.body.contains(words), "{}", reply.body);
    }
}

#[test]
fn a_full_disk_is_noticed_before_a_code_is_spent() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let (disk, mut server, prompt, held) = at_the_callback(&home);
    let filler = fill_for_good(&disk, &prompt);
    assert_full(&come_back(&held));
    assert_eq!(world.exchanged(), 0, "the code was spent");
    let text = server.call("whoami", &json!({})).failed();
    assert!(text.contains("no space left"), "{text}");

    fs::remove_file(&filler).unwrap();
    assert_eq!(come_back(&held).status, 303);
    server.call("whoami", &json!({})).ran();
    assert_eq!(world.exchanged(), 1);
}

#[test]
fn a_disk_that_fills_up_while_a_code_is_exchanged_costs_no_consent() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let (disk, mut server, prompt, held) = at_the_callback(&home);
    // The provider holds its answer until the disk is full.
    world.pull("token-fault", &json!({"hold": true}));
    let (filler, reply) = std::thread::scope(|scope| {
        let coming = scope.spawn(|| come_back(&held));
        wait_until("the code at the provider", || world.exchanged() > 0);
        let filler = fill_for_good(&disk, &prompt);
        world.pull("release", &json!({}));
        (filler, coming.join().unwrap())
    });
    assert_full(&reply);
    let text = server.call("whoami", &json!({})).failed();
    assert!(text.contains("no space left"), "{text}");
    assert!(!text.contains("/connect/"), "no second consent is asked for: {text}");

    fs::remove_file(&filler).unwrap();
    server.call("whoami", &json!({})).ran();
    world.pull("expire-access-tokens", &json!({}));
    server.call("whoami", &json!({})).ran();
    assert_eq!(world.exchanged(), 1);
    server.kill();
    serve(&home, &disk).call("whoami", &json!({})).ran();
}

#[test]
fn a_server_that_ends_on_a_full_disk_keeps_what_it_holds_in_memory() {
    let world = World::start();
    let home = Home::new(&world.tools());
    let disk = SmallDisk::mount(&home.path("disk"));
    let mut server = serve(&home, &disk);
    let prompt = server.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    server.call("whoami", &json!({})).ran();
    // A link whose clicks use up the rest of allocated pages.
    let other = server.call("write_note", &json!({"title": "x"})).asked();
    // The reserve is made in the background during the first calls.
    let reserve = disk.0.join("data/reserve");
    let is_made = || fs::metadata(&reserve).is_ok_and(|file| file.len() == 1 << 20);
    wait_until("the reserve", is_made);

    // The provider holds its answer to the renewal until the disk is full.
    let refreshes = world.refreshes();
    world.pull("expire-access-tokens", &json!({}));
    world.pull("token-fault", &json!({"hold": true}));
    let call = server.begin("whoami", &json!({}));
    wait_until("the refresh at the provider", || world.refreshes() > refreshes);
    let filler = fill_for_good(&disk, &other);
    world.pull("release", &json!({}));
    assert_eq!(server.wait(call)["result"]["isError"], true);
    for _ in 0..5 {
        server.call("whoami", &json!({})).failed();
    }
    home.log_with("do not end this process before");
    home.log_with("no space left on the disk");
    let said = home.log_with("the store cannot be used");
    assert_eq!(said.matches("the store cannot be used").count(), 1, "{said}");

    let (status, _) = server.close();
    assert!(status.success());
    let said = home.log();
    assert!(said.contains("all consents that were held in memory are kept"), "{said}");
    assert!(!reserve.exists(), "the reserve was kept");
    fs::remove_file(&filler).unwrap();

    let mut server = serve(&home, &disk);
    server.call("whoami", &json!({})).ran();
    assert_eq!(world.counts()["refresh_reuses"], 0, "{}", world.counts());
    assert_eq!(world.counts()["grants_destroyed"], 0);
    server.close();
}
