use std::process::ExitCode;

fn main() -> ExitCode {
    use countersign::upstream::select::{WORKER_ARGUMENT, worker_main};
    if std::env::args_os().nth(1).is_some_and(|word| word == WORKER_ARGUMENT) {
        return worker_main();
    }
    ExitCode::SUCCESS
}
