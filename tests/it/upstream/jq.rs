//! jq filters that misbehave, in the real worker process.

use std::process::Stdio;

use countersign::upstream::jq::JqError;
use tokio::time::Instant;

use super::*;
use crate::support::wait_until_async;

const WORKER: &str = env!("CARGO_BIN_EXE_countersign");

/// A filter that does not run in the server, because its cost is unknown.
const SUM: &str = "reduce .[] as $x (0; . + $x)";

async fn run(jq: &Jq, filter: &str, value: Value) -> Result<Vec<Value>, JqError> {
    let size = value.to_string().len();
    jq.run(filter, &value.into(), size).await
}

/// Like [`run`], and up to twice more if the time was over: on a busy machine two seconds may be too
/// short for any filter.
async fn run_to_its_end(jq: &Jq, filter: &str, value: Value) -> Result<Vec<Value>, JqError> {
    for _ in 0..2 {
        let result = run(jq, filter, value.clone()).await;
        if result != Err(JqError::TimedOut) {
            return result;
        }
    }
    run(jq, filter, value).await
}

#[tokio::test]
async fn a_worker_answers_and_is_kept() {
    let jq = Jq::new(WORKER.into());
    for _ in 0..3 {
        assert_eq!(run(&jq, SUM, json!([1, 2, 3])).await, Ok(vec![json!(6)]));
    }
    let joined = run(&jq, ".names | join(\", \")", json!({"names": ["a", "b"]})).await;
    assert_eq!(joined, Ok(vec![json!("a, b")]));
    let failed = run(&jq, SUM, json!([1, "a"])).await;
    assert!(matches!(failed, Err(JqError::Failed(_))), "{failed:?}");
    assert_eq!(run(&jq, SUM, json!([1])).await, Ok(vec![json!(1)]));
}

#[tokio::test]
async fn whatever_a_filter_does_the_next_call_works() {
    let jq = Jq::new(WORKER.into());
    for (filter, expected) in [
        ("def f: f; f", JqError::TimedOut),
        ("last(repeat(1))", JqError::TimedOut),
        ("reduce range(100) as $x (\"x\"; . * 16) | length", JqError::Crashed),
        ("def f: 1 + f; f", JqError::Crashed),
        ("reduce range(7) as $x (\"[\"; . * 10) | fromjson", JqError::Crashed),
    ] {
        let begun = Instant::now();
        let ended = match expected {
            JqError::TimedOut => run(&jq, filter, json!([1, 2])).await,
            _ => run_to_its_end(&jq, filter, json!([1, 2])).await,
        };
        assert_eq!(ended, Err(expected), "{filter}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{filter}");
        let next = run_to_its_end(&jq, SUM, json!([1, 2])).await;
        assert_eq!(next, Ok(vec![json!(3)]), "after {filter}");
    }
}

#[tokio::test]
async fn results_are_bounded_too() {
    let jq = Jq::new(WORKER.into());
    for (filter, words) in [
        ("reduce range(200) as $x (0; [.])", "128 levels"),
        ("[., .] | ".repeat(40).as_str(), "16 MiB"),
        ("{([1]): 1}", "key that is not a string"),
    ] {
        let filter = filter.trim_end_matches(" | ");
        let result = run_to_its_end(&jq, filter, json!(["x".repeat(100)])).await;
        let Err(JqError::Failed(message)) = result else { panic!("{filter}: {result:?}") };
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(run(&jq, SUM, json!([1])).await, Ok(vec![json!(1)]));
}

#[tokio::test]
async fn a_filter_that_takes_too_long_is_told_in_words() {
    let server = Server::saying(json_answer("[1]")).await;
    let tool = with(tool(&server), |action| action.select = Some(Filter::new("def f: f; f", 3)));
    let result = call(&tool).await;
    assert!(result.is_error && result.text.contains("took too long"), "{}", result.text);
    let hog = r#"reduce range(100) as $x ("x"; . * 16) | length"#;
    let tool = with(tool, |action| action.select = Some(Filter::new(hog, 3)));
    let mut result = call(&tool).await;
    for _ in 0..2 {
        // On a busy machine the time may be over before the memory is.
        if result.text.contains("took too long") {
            result = call(&tool).await;
        }
    }
    assert!(result.is_error && result.text.contains("too much memory"), "{}", result.text);
}

#[tokio::test]
async fn calls_wait_for_a_worker_instead_of_starting_more() {
    let jq = Jq::new(WORKER.into());
    let value = json!([1, 2, 3]);
    let calls = (0..20).map(|_| run(&jq, SUM, value.clone()));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result, Ok(vec![json!(6)]));
    }
}

/// A cancelled call ends its worker: an abandoned filter would hold one of two places.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_cancelled_call_ends_its_worker() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("worker-of-this-test");
    std::os::unix::fs::symlink(WORKER, &program).expect("a link");
    let running = || {
        let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
        processes
            .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
            .any(|line| String::from_utf8_lossy(&line).contains("worker-of-this-test"))
    };
    let jq = Jq::new(program.clone());
    tokio::select! {
        _ = run(&jq, "def f: f; f", json!(1)) => panic!("it is endless"),
        () = wait_until_async("a worker", async || running()) => {}
    }
    wait_until_async("the end of the worker", async || !running()).await;
}

#[tokio::test]
async fn a_worker_ends_with_its_parent() {
    let mut worker = tokio::process::Command::new(WORKER)
        .arg("jq-worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(worker.stdin.take());
    let status = tokio::time::timeout(Duration::from_secs(20), worker.wait()).await;
    assert!(status.expect("it ends").expect("a status").success());
}

/// Truncated or senseless requests end the worker; it neither hangs nor answers nonsense.
#[tokio::test]
async fn a_worker_refuses_broken_frames() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for frame in
        [&b"\x05\0\0\0ab"[..], b"\xff\xff\xff\xff", b"\x01\0\0\0.\xff\xff\xff\xffx", b"\x01\0"]
    {
        let mut worker = tokio::process::Command::new(WORKER)
            .arg("jq-worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut input = worker.stdin.take().expect("a pipe");
        input.write_all(frame).await.expect("written");
        drop(input);
        let mut output = Vec::new();
        let mut pipe = worker.stdout.take().expect("a pipe");
        pipe.read_to_end(&mut output).await.expect("read");
        assert!(output.is_empty(), "{output:?}");
        worker.wait().await.expect("a status");
    }
}
