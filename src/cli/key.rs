//! `countersign key`

use std::io::Write;

use clap::Subcommand;
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;

use super::report::{self, hinted};
use super::stdout::Stdout;
use super::store_options::{Place, Whereabouts};
use super::{Exit, Program, block_on};
use crate::model::Clock;
use crate::model::secret::ExposeSecret as _;
use crate::model::time::utc;
use crate::store::{DataKey, KeyPlace, MasterKey, Store, StoreError};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a fresh master key, as COUNTERSIGN_KEY and key files hold it.
    Generate,
    /// Seal every record with a new data key, or wrap the data keys with a new master key.
    #[command(
        after_help = "Servers may run meanwhile. A data key that was replaced is dropped by the first rotation a day later."
    )]
    Rotate {
        /// Replace the master key instead of the data key.
        #[arg(long)]
        master: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Show where the master key comes from, whether it opens the store, and the data keys.
    Status {
        /// Write it as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

pub(super) fn run<W: Write>(
    command: Command,
    program: &Program,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    match command {
        Command::Generate => {
            out.line(MasterKey::generate().to_base64().expose_secret())?;
            Ok(Exit::Done)
        }
        Command::Rotate { master, place } => {
            let at = place.find(program, "key rotate")?;
            block_on(LevelFilter::WARN, async move {
                let lazy = at.store_to_change()?;
                let store = lazy.get().await.map_err(hinted)?;
                if master { rotate_master(store, &at, out).await } else { rotate(store, out).await }
            })
        }
        Command::Status { json, place } => {
            let at = place.find(program, "key status")?;
            block_on(LevelFilter::WARN, async move { status(&at, json, out).await })
        }
    }
}

async fn rotate<W: Write>(store: &Store, out: &mut Stdout<W>) -> anyhow::Result<Exit> {
    let rotated = store.rotate_data_key(Clock::system().now()).await.map_err(hinted)?;
    out.line(&format!("data key {} seals from now on.", rotated.new))?;
    out.line(&format!("sealed anew: {}", records(rotated.resealed)))?;
    for id in rotated.dropped {
        out.line(&format!("dropped: data key {id}"))?;
    }
    for id in rotated.kept {
        out.line(&format!("kept: data key {id}, until no record needs it and a day has passed"))?;
    }
    if rotated.unreadable == 0 {
        return Ok(Exit::Done);
    }
    report::note(&format!(
        "{} did not open and stayed as they are; see `countersign store verify`",
        records(rotated.unreadable)
    ));
    Ok(Exit::Failed)
}

async fn rotate_master<W: Write>(
    store: &Store,
    at: &Whereabouts,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    store.rotate_master_key().await.map_err(hinted)?;
    out.line(&format!(
        "{} holds a new master key, and the store is wrapped with it.",
        at.keys.place()
    ))?;
    if let Some(old) = at.keys.replaced() {
        report::note(&format!(
            "The key before it is kept in `{}`, for data folders that were not opened since and for exports made before. Keep it as long as you keep one of those.",
            old.display()
        ));
    }
    Ok(Exit::Done)
}

async fn status<W: Write>(
    at: &Whereabouts,
    as_json: bool,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let lazy = at.store()?;
    let place = at.keys.place();
    let opened = match lazy.get().await {
        Ok(store) => Ok(store.data_keys().await.map_err(hinted)?),
        Err(error @ (StoreError::WrongKey { .. } | StoreError::Key(_))) => Err(error),
        Err(error) => return Err(hinted(error)),
    };
    if as_json {
        let (keys, foreign) = opened.as_ref().map(Clone::clone).unwrap_or_default();
        let status = json!({
            "version": 1,
            "store": at.data.path,
            "master_key": source(&place),
            "opens": opened.is_ok(),
            "reason": opened.as_ref().err().map(ToString::to_string),
            "data_keys": keys.iter().map(describe).collect::<Vec<_>>(),
            "records_without_key": foreign,
        });
        out.line(&serde_json::to_string_pretty(&status)?)?;
        return Ok(if opened.is_ok() { Exit::Done } else { Exit::Failed });
    }
    out.line(&format!("store: {}", at.data.path.display()))?;
    out.line(&format!("master key: {place}"))?;
    let (keys, foreign) = opened.map_err(hinted)?;
    out.line("  it opens the store")?;
    for key in &keys {
        let made = key.made_at.map_or("by an earlier version".into(), utc);
        let seals = if key.seals { ", seals" } else { "" };
        out.line(&format!("data key {}: made {made}, {}{seals}", key.id, records(key.records)))?;
    }
    if foreign > 0 {
        out.line(&format!("{} of which the data key is gone", records(foreign)))?;
    }
    Ok(Exit::Done)
}

fn source(place: &KeyPlace) -> Value {
    match place {
        KeyPlace::Variable => json!({ "from": "variable", "variable": "COUNTERSIGN_KEY" }),
        KeyPlace::File(path) => {
            json!({ "from": "file", "variable": "COUNTERSIGN_KEY_FILE", "path": path })
        }
        KeyPlace::Automatic(path) => json!({ "from": "automatic", "path": path }),
    }
}

fn describe(key: &DataKey) -> Value {
    json!({
        "id": key.id.to_string(),
        "made_at": key.made_at.map(utc),
        "seals": key.seals,
        "records": key.records,
    })
}

/// Formats a count: `1 record`.
pub(super) fn records(count: usize) -> String {
    if count == 1 { "1 record".into() } else { format!("{count} records") }
}
