//! A full disk: nothing that was kept is lost, and with room again everything goes on by itself.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::{Dialect, Home, Server, Visit, World};

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

/// Writes until there is no room for another byte.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [64 * 1024, 1024, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_during_a_refresh_loses_nothing() {
    let world = World::start();
    let home = Home::new(&world.tools());
    // Deeper than the data folder, so that the filler beside it is nothing foreign inside it.
    let disk = SmallDisk::mount(&home.path("disk"));
    let data = disk.0.join("data");
    let serve = |home: &Home| {
        let mut command = home.command(&["serve", "--stdio", "--data"]);
        command.arg(&data);
        let mut server = Server::spawn(command, Dialect::PLAIN);
        server.shake_hands();
        server
    };
    let mut server = serve(&home);
    let prompt = server.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    server.call("whoami", &json!({})).ran();

    let filler = disk.0.join("filler");
    fill(&filler);
    // What is left of a page that is allocated already may still take a record or two.
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

    let mut server = serve(&home);
    server.call("whoami", &json!({})).ran();
    server.close();
}
