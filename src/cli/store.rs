//! `countersign store`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use tracing::level_filters::LevelFilter;

use super::key::records;
use super::report::{self, hinted};
use super::stdout::Stdout;
use super::store_options::{Place, Whereabouts, expanded};
use super::{Exit, Program, block_on};
use crate::model::Clock;
use crate::store::{Archive, Exported, Kind, Store, StoreError, Verified};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the whole store into one file, still sealed.
    #[command(after_help = "The master key is not in it: without that key the file opens nothing.")]
    Export {
        /// A new file, or `-` for standard output.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Bring an export back into an empty store.
    Import {
        /// The file that `store export` wrote, or `-` for standard input.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Check that everything that is kept can be read: accounts, links, sign-ins. Changes nothing.
    #[command(after_help = "Exits 1 when something is damaged.")]
    Verify {
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
        Command::Export { file, place } => {
            let file = expanded(&file)?;
            let at = place.find(program, "store export")?;
            block_on(LevelFilter::WARN, async move { export(&at, &file, out).await })
        }
        Command::Import { file, place } => {
            let file = expanded(&file)?;
            let at = place.find(program, "store import")?;
            block_on(LevelFilter::WARN, async move { import(at, &file, out).await })
        }
        Command::Verify { json, place } => {
            let at = place.find(program, "store verify")?;
            block_on(LevelFilter::WARN, async move { verify(&at, json, out).await })
        }
    }
}

fn is_stream(file: &Path) -> bool {
    file.as_os_str() == "-"
}

async fn export<W: Write>(
    at: &Whereabouts,
    file: &Path,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let lazy = at.store()?;
    let store = lazy.get().await.map_err(hinted)?;
    let now = Clock::system().now();
    let exported = if is_stream(file) {
        let mut streams = Some(out.stream());
        let again = || io::Error::other("the keys were rotated meanwhile; export again");
        store.export(now, || streams.take().ok_or_else(again)).await
    } else {
        store.export_to_file(now, file).await
    };
    let Exported { records: exported, left_out } = exported
        .map_err(hinted)
        .with_context(|| format!("`{}` was not written", file.display()))?;
    report::note(&format!(
        "exported {}; keep the master key too, which is in {}",
        records(exported),
        at.keys.place()
    ));
    if left_out.is_empty() {
        return Ok(Exit::Done);
    }
    let count = records(left_out.len());
    report::note(&format!("error: left out {count}, too large to be read:"));
    for key in left_out {
        report::note(&format!("  {key}"));
    }
    Ok(Exit::Failed)
}

async fn import<W: Write>(
    at: Whereabouts,
    file: &Path,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let archive =
        if is_stream(file) { Archive::receive(io::stdin().lock()) } else { Archive::open(file) };
    let mut archive = archive
        .map_err(hinted)
        .with_context(|| format!("`{}` was not imported", file.display()))?;
    let place = at.keys.place();
    let imported = Store::import(at.data.clone(), at.keys, &mut archive).await.map_err(hinted)?;
    out.line(&format!(
        "imported {} into {}, exported at {}",
        records(imported.added),
        at.data.path.display(),
        archive.exported_at
    ))?;
    let Some(error) = imported.locked else { return Ok(Exit::Done) };
    // A key that is still to be put in its place is no failure; a key that does not fit is one.
    if let StoreError::Key(_) = &error {
        report::note(&format!("but {place} does not open it: {error}\n  help: {}", error.hint()));
        return Ok(Exit::Done);
    }
    let why = match &error {
        StoreError::WrongKey { .. } => "they were sealed with another key".into(),
        error => error.to_string(),
    };
    report::note(&format!(
        "error: the records are in place, but {place} does not open them: {why}\n  help: {}",
        error.hint()
    ));
    Ok(Exit::Failed)
}

async fn verify<W: Write>(
    at: &Whereabouts,
    as_json: bool,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let lazy = at.store()?;
    let store = lazy.get().await.map_err(hinted)?;
    let verified = store.verify().await.map_err(hinted)?;
    // A store that no longer opened was set aside before this check could read it.
    let ok = verified.is_good() && store.notice().is_none();
    if as_json {
        let kinds: Vec<_> = verified.kinds.iter().map(describe).collect();
        let found = json!({
            "version": 1,
            "store": at.data.path,
            "ok": ok,
            "kinds": kinds,
            "orphans": verified.orphans,
            "notice": store.notice().map(ToString::to_string),
        });
        out.line(&serde_json::to_string_pretty(&found)?)?;
    } else {
        tell(&verified, out)?;
    }
    Ok(if ok { Exit::Done } else { Exit::Failed })
}

fn tell<W: Write>(verified: &Verified, out: &mut Stdout<W>) -> std::io::Result<()> {
    let is_there = |kind: &&Kind| kind.good > 0 || !kind.bad.is_empty();
    if !verified.kinds.iter().any(|kind| is_there(&kind)) {
        out.line("✓ nothing is kept yet")?;
    }
    for kind in verified.kinds.iter().filter(is_there) {
        let sign = if kind.bad.is_empty() { '✓' } else { '✗' };
        out.line(&format!("{sign} {}: {} good", words(&kind.name), kind.good))?;
        for bad in &kind.bad {
            out.line(&format!("    {}: {}: {}", bad.key, records(bad.records), bad.why))?;
        }
    }
    if verified.orphans > 0 {
        out.line(&format!(
            "  {} of which the authorization is gone; no harm, they go when their time is over",
            records(verified.orphans)
        ))?;
    }
    Ok(())
}

/// Returns the operator's word for a kind of records.
fn words(kind: &str) -> &str {
    match kind {
        "grant" => "accounts",
        "used" => "times of last use",
        "authorization" => "requests for consent",
        "ticket" => "links",
        "state" => "visits to a provider",
        "unconfirmed" | "unclaimed" => "consents that an application has to confirm",
        "verification" => "browsers that an application has to confirm",
        "session" => "signed-in browsers",
        "signin" => "sign-ins under way",
        "cutoff" => "ends of a user's access",
        "deposited" => "tokens that were moved in",
        "disconnected" => "ends of a connection",
        // A kind from a newer version.
        other => other,
    }
}

fn describe(kind: &Kind) -> serde_json::Value {
    let bad: Vec<_> = kind
        .bad
        .iter()
        .map(|bad| json!({ "key": bad.key, "reason": bad.why.to_string(), "records": bad.records }))
        .collect();
    json!({ "kind": kind.name, "good": kind.good, "bad": bad })
}
