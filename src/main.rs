#![forbid(unsafe_code)]

use std::process::ExitCode;

use countersign::prelude::Server;

fn main() -> ExitCode {
    Server::builder().main()
}
