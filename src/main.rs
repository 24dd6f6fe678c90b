#![forbid(unsafe_code)]

use std::process::ExitCode;

use countersign::upstream::jq::{WORKER_ARGUMENT, worker_main};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == WORKER_ARGUMENT) {
        return worker_main();
    }
    countersign::cli::main()
}
