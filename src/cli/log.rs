//! The log: to standard error, as `COUNTERSIGN_LOG` and `COUNTERSIGN_LOG_FORMAT` ask.

mod writer;

use std::io::IsTerminal as _;

use anyhow::{Context as _, anyhow};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::report::{Hint, Usage};
use crate::config::environment;
use crate::model::text::shown;
use writer::LogWriter;

/// Levels, the quietest first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Parts of `countersign` for which `COUNTERSIGN_LOG` may set a level.
const PARTS: [&str; 16] = [
    "app", "broker", "catalog", "cli", "config", "identity", "mcp", "model", "net", "oauth",
    "record", "registry", "store", "upstream", "web", "words",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Starts logging; `usual` is the level unless `COUNTERSIGN_LOG` sets one. A second call changes
/// nothing.
///
/// # Errors
/// If the filter or format does not exist. Logging then uses the usual level or the text format.
pub(super) fn begin(usual: LevelFilter) -> anyhow::Result<()> {
    let (format, wrong_format) =
        or_usual(format(environment::log_format().as_deref()), Format::Text);
    let (asked, wrong_filter) = or_usual(asked(environment::log().as_deref()), Targets::new());
    let stderr = std::io::stderr();
    let is_coloured = stderr.is_terminal() && !environment::no_color();
    let writer = match LogWriter::start(format == Format::Json) {
        Some(writer) => BoxMakeWriter::new(writer),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        Format::Text => lines.with_ansi(is_coloured).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let _ = tracing_subscriber::registry().with(filter(&asked, usual)).with(lines).try_init();
    wrong_format.or(wrong_filter).map_or(Ok(()), Err)
}

/// Waits until all logged lines are written, for a moment at most.
pub(super) fn flush() {
    writer::flush();
}

fn or_usual<T>(parsed: anyhow::Result<T>, usual: T) -> (T, Option<anyhow::Error>) {
    match parsed {
        Ok(parsed) => (parsed, None),
        Err(error) => (usual, Some(error)),
    }
}

fn format(asked: Option<&str>) -> anyhow::Result<Format> {
    match asked.map(str::trim) {
        None | Some("" | "text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other) => {
            let problem = format!(
                "COUNTERSIGN_LOG_FORMAT: `{}` is not a format",
                shown(other, MAX_WORD_CHARS)
            );
            Err(anyhow!(Usage(problem))).context(Hint("formats are `text` and `json`".into()))
        }
    }
}

/// Maximum characters of a wrong word in a message; the rest is cut.
const MAX_WORD_CHARS: usize = 60;

fn asked(asked: Option<&str>) -> anyhow::Result<Targets> {
    let words = asked.unwrap_or_default().split(',').map(str::trim);
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    // An empty text would parse as `error`.
    if words.is_empty() {
        return Ok(Targets::new());
    }
    for word in &words {
        check(word).map_err(|(problem, hint)| {
            anyhow!(Usage(format!("COUNTERSIGN_LOG: {problem}"))).context(Hint(hint))
        })?;
    }
    Ok(words.join(",").to_lowercase().parse()?)
}

/// Checks one word of the filter.
///
/// # Errors
/// The problem, and a hint with the valid names.
fn check(word: &str) -> Result<(), (String, String)> {
    let (part, level) = match word.split_once('=') {
        Some((part, level)) => (Some(part), level),
        None if word.starts_with("countersign") => (Some(word), "trace"),
        None => (None, word),
    };
    if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
        let problem = format!("`{}` is not a level", shown(level, MAX_WORD_CHARS));
        let hint = format!("levels are {}, e.g. `COUNTERSIGN_LOG=debug`", LEVELS.join(", "));
        return Err((problem, hint));
    }
    let is_known = part.is_none_or(|part| {
        let mut names = part.split("::");
        names.next() == Some("countersign") && names.next().is_none_or(|name| PARTS.contains(&name))
    });
    if is_known {
        return Ok(());
    }
    let part = shown(part.unwrap_or_default(), MAX_WORD_CHARS);
    let hint = format!(
        "parts are countersign::{}, e.g. `COUNTERSIGN_LOG=warn,countersign::record=info`",
        PARTS.join(", countersign::")
    );
    Err((format!("`{part}` is not a part of this log"), hint))
}

/// Allows our own targets as requested, and at most warnings of other crates: at finer levels HTTP
/// and MCP libraries log whole messages, and with them tokens, codes and links.
fn filter(asked: &Targets, usual: LevelFilter) -> Targets {
    let own = asked.default_level().unwrap_or(usual);
    let finer: Vec<_> = asked
        .iter()
        .filter(|(target, _)| target.starts_with("countersign"))
        .map(|(target, level)| (target.to_owned(), level))
        .collect();
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        // Its warnings contain whole error responses, the link included, and its errors what a
        // client said before the protocol began. The code that uses it logs the relevant part.
        .with_target("rmcp", LevelFilter::OFF)
        .with_target("countersign", own)
        .with_targets(finer)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn filtered(text: &str) -> Targets {
        filter(&text.parse().unwrap_or_default(), LevelFilter::INFO)
    }

    #[test]
    fn other_peoples_details_never_show() {
        for asked in
            ["", "trace", "hyper=trace", "rmcp=debug,trace", "countersign=trace,hyper=trace"]
        {
            let filter = filtered(asked);
            for foreign in ["hyper::proto", "reqwest", "oauth2", "rmcp::service", "rustls"] {
                assert!(!filter.would_enable(foreign, &Level::INFO), "{asked} {foreign}");
            }
            assert!(!filter.would_enable("rmcp::service", &Level::ERROR), "{asked}");
        }
        let by = |text: &str| {
            let filter = filter(&asked(Some(text)).unwrap(), LevelFilter::INFO);
            move |target: &str, level| filter.would_enable(target, &level)
        };
        assert!(by("trace")("countersign::broker", Level::TRACE));
        assert!(by("")("countersign::broker", Level::INFO));
        assert!(!by("")("countersign::broker", Level::DEBUG));
        assert!(by("countersign::net=debug")("countersign::net", Level::DEBUG));
        assert!(by("warn, countersign::record=INFO")("countersign::record", Level::INFO));
        assert!(!by("warn,countersign::record=info")("countersign::web", Level::INFO));
        assert!(!by("off")("countersign::broker", Level::ERROR));
    }

    #[test]
    fn a_filter_or_format_that_does_not_exist_is_refused() {
        for good in
            ["", " ", "debug", "WARN", "countersign=trace", "countersign::store::sled=debug"]
        {
            assert!(asked(Some(good)).is_ok(), "{good}");
        }
        for bad in [
            "verbose",
            "debg",
            "countersign=loud",
            "hyper=trace",
            "countersign::borker=info",
            "7",
            "=",
        ] {
            assert!(asked(Some(bad)).is_err(), "{bad}");
        }
        assert_eq!(format(None).unwrap(), Format::Text);
        assert_eq!(format(Some("json")).unwrap(), Format::Json);
        for bad in ["JSON", "pretty", "yaml", "text,json"] {
            assert!(format(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_part_is_known() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut parts = vec!["record".to_owned()];
        for entry in std::fs::read_dir(source).unwrap() {
            let name =
                entry.unwrap().file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
            if !["main", "lib"].contains(&&*name) && !parts.contains(&name) {
                parts.push(name);
            }
        }
        parts.sort();
        assert_eq!(parts, PARTS);
    }
}
