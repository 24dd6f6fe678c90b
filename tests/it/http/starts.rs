//! Reasons not to start, and the messages of a start.

use std::net::TcpListener;
use std::process::Stdio;

use super::wire::Served;
use crate::command::{countersign, run};

const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const ONE_KEY: &str = r#"
    [[server.auth.api_keys]]
    name = "one"
    key  = "env:ONE_KEY"
    user = "ana"
"#;

fn refusal(tools: &str, variables: &[(&str, &str)], arguments: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tools.toml"), tools).unwrap();
    let mut command = countersign();
    command.current_dir(&folder).env("HOME", folder.path()).arg("serve").args(arguments);
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    let (code, stdout, stderr) = run(&mut command);
    assert_eq!(stdout, "", "{stderr}");
    assert!(!stderr.contains("listening"), "{stderr}");
    (code, stderr)
}

#[test]
fn what_must_not_be_served_is_refused_with_the_way_out() {
    let public = "[server]\npublic_url = \"https://tools.example.com\"\n";
    let auth = format!("{public}{ONE_KEY}");
    let other = ONE_KEY.replace("\"one\"", "\"two\"").replace("ONE_KEY", "SAME_KEY");
    let wrong = ("COUNTERSIGN_KEY", "hunter2-which-is-no-key");
    let (twice, same) = (format!("{auth}{other}"), ("SAME_KEY", "0123456789abcdef0123456789"));
    let (key, one) = (("COUNTERSIGN_KEY", KEY), ("ONE_KEY", "0123456789abcdef0123456789"));
    let cases: &[(&str, &[_], &[_], i32, &str, &str)] = &[
        ("", &[], &["--sse", "0.0.0.0:0"], 1, "`0.0.0.0:0` can be reached", "write [server.auth]"),
        ("", &[], &["--http", "[::]:0"], 1, "`[::]:0` can be reached", "--sse :0"),
        ("", &[], &["--sse", "0.0.0.0:0", "--token"], 1, "can be reached", "write [server.auth]"),
        (public, &[], &["--sse", ":0"], 1, "`public_url` invites", "remove `public_url`"),
        (&auth, &[one], &["--sse", ":0"], 1, "needs a key", "set COUNTERSIGN_KEY to what"),
        (ONE_KEY, &[key, one], &["--sse", "0.0.0.0:0"], 1, "by which name", "`public_url = "),
        (&auth, &[key], &["--sse", ":0"], 1, "the key `one` of", "set ONE_KEY where"),
        (
            &auth,
            &[wrong, one],
            &["--sse", ":0"],
            1,
            "COUNTERSIGN_KEY does not hold a key",
            "generate",
        ),
        (
            &twice,
            &[key, one, same],
            &["--sse", ":0"],
            1,
            "have the same value",
            "`openssl rand -hex 32`",
        ),
        (&auth, &[key, one], &["--sse", ":0", "--token"], 2, "`--token` is for", ""),
        (&auth, &[key, one], &["--sse", ":0", "--user", "bob"], 2, "`--user` is for", ""),
        ("", &[], &["--stdio", "--sse", ":0"], 2, "cannot be used with", ""),
        ("", &[], &["--stdio", "--token"], 2, "cannot be used with", ""),
        ("", &[], &[], 2, "--stdio", ""),
        ("", &[], &["--sse", "tools.example.com:80"], 2, "an IP address or `localhost`", ":8080"),
        ("", &[], &["--sse", "8080"], 2, "a port alone needs a colon", "`:8080` listens on this"),
        ("", &[], &["--sse", "http://127.0.0.1"], 2, "without a scheme or path", ":8080"),
    ];
    for (tools, variables, arguments, expected, problem, hint) in cases {
        let (code, stderr) = refusal(tools, variables, arguments);
        assert_eq!(code, *expected, "{arguments:?}: {stderr}");
        assert!(stderr.contains(problem), "{arguments:?}: {stderr}");
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
    }
}

/// Problems that the operator has to fix before the next start.
#[test]
fn all_that_a_server_for_many_lacks_is_said_at_once() {
    let other = ONE_KEY.replace("\"one\"", "\"two\"").replace("ONE_KEY", "TWO_KEY");
    let tools = format!("{ONE_KEY}{other}");
    let (code, stderr) = refusal(&tools, &[("TWO_KEY", "short")], &["--sse", "0.0.0.0:0"]);
    assert_eq!(code, 1, "{stderr}");
    for want in [
        "needs a key that is kept elsewhere",
        "by which name",
        "the key `one` of",
        "the key `two` of [server.auth] has less than 20",
    ] {
        assert_eq!(stderr.matches(want).count(), 1, "{want}: {stderr}");
    }
}

/// Behind an untrusted proxy, all clients share the limits of one client.
#[test]
fn a_proxy_that_is_not_trusted_is_told_of_once() {
    let served = Served::start(ONE_KEY, |command| {
        command.env("COUNTERSIGN_KEY", KEY).env("ONE_KEY", "0123456789abcdef0123456789")
    });
    for _ in 0..3 {
        let forwarded = [("X-Forwarded-For", "192.0.2.1")];
        assert_eq!(served.ask("POST /mcp", &forwarded, b"{}").status, 401);
    }
    let said = served.end();
    assert_eq!(said.matches("`trusted_proxies` in [server]").count(), 1, "{said}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, stderr) = refusal("", &[], &["--sse", &format!(":{port}")]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains(&format!("port {port} of `127.0.0.1` is taken")), "{stderr}");
    assert!(stderr.contains(&format!("--sse 127.0.0.1:{}", port.wrapping_add(1))), "{stderr}");
}

#[test]
fn it_says_where_it_is_and_who_may_call() {
    let served = Served::over("");
    let line = format!(
        "listening on http://{0}/mcp (older clients: http://{0}/sse); callers: one local user; other users of this machine ",
        served.address
    );
    assert!(served.said.contains(&line), "{}", served.said);
    #[cfg(target_os = "linux")]
    assert!(served.said.contains("this machine are refused\n"), "{}", served.said);
    assert_eq!(served.ask("GET /health", &[], b"").status, 200);
    served.end();
}

#[test]
fn a_token_is_made_once_kept_to_oneself_and_not_said() {
    let served = Served::start("", |command| command.arg("--token"));
    let path = served.folder.path().join(".config/countersign/http.token");
    let token = std::fs::read_to_string(&path).unwrap();
    assert!(served.said.contains(&format!("`{}`", path.display())), "{}", served.said);
    assert!(!served.said.contains(token.trim()));
}
