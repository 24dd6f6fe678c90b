//! The log: to standard error, in the words of `COUNTERSIGN_LOG`.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::environment;

/// Begins to log; `usual` is the level where `COUNTERSIGN_LOG` does not say. A second call changes
/// nothing.
pub(super) fn begin(usual: LevelFilter) {
    let stderr = std::io::stderr();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(stderr.is_terminal() && !environment::no_color())
        .with_writer(std::io::stderr);
    let asked = environment::log().unwrap_or_default();
    let _ = tracing_subscriber::registry().with(filter(&asked, usual)).with(lines).try_init();
}

/// Our own targets as asked for; everybody else's warnings at most. At finer levels HTTP and MCP
/// libraries write down whole messages, and with them tokens, codes and links.
fn filter(asked: &str, usual: LevelFilter) -> Targets {
    // An empty text would parse as `error`.
    let asked: Targets = match asked.trim() {
        "" => Targets::new(),
        asked => asked.parse().unwrap_or_default(),
    };
    let own = asked.default_level().filter(|level| *level != LevelFilter::OFF);
    let own = own.unwrap_or(usual);
    let finer: Vec<_> = asked
        .iter()
        .filter(|(target, _)| target.starts_with("countersign"))
        .map(|(target, level)| (target.to_owned(), level))
        .collect();
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        // Its warnings hold whole error responses, the link included, and its errors what a client
        // said before the protocol began. What matters of them is said by whoever uses it.
        .with_target("rmcp", LevelFilter::OFF)
        .with_target("countersign", own)
        .with_targets(finer)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn other_peoples_details_never_show() {
        for asked in
            ["", "trace", "hyper=trace", "rmcp=debug,trace", "countersign=trace,hyper=trace"]
        {
            let filter = filter(asked, LevelFilter::INFO);
            for foreign in ["hyper::proto", "reqwest", "oauth2", "rmcp::service", "rustls"] {
                assert!(!filter.would_enable(foreign, &Level::INFO), "{asked} {foreign}");
            }
            assert!(!filter.would_enable("rmcp::service", &Level::ERROR), "{asked}");
        }
        assert!(
            filter("trace", LevelFilter::INFO).would_enable("countersign::broker", &Level::TRACE)
        );
        assert!(filter("", LevelFilter::INFO).would_enable("countersign::broker", &Level::INFO));
        assert!(!filter("", LevelFilter::INFO).would_enable("countersign::broker", &Level::DEBUG));
        assert!(
            filter("countersign::net=debug", LevelFilter::INFO)
                .would_enable("countersign::net", &Level::DEBUG)
        );
    }
}
