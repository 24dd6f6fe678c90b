//! `countersign webhooks`

use std::io::Write;

use clap::Subcommand;
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;

use super::report::{self, Hinted, hinted};
use super::stdout::{MAX_LINE_CHARS, Stdout};
use super::store_options::StoreOptions;
use super::{Exit, block_on};
use crate::broker::webhooks::operate::{Replayed, WebhookError, WebhookStatus};
use crate::config::Config;
use crate::model::UserId;
use crate::model::text::shown;
use crate::model::time::utc;
use crate::model::webhook::ConnectionChange;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the webhooks, and the events that wait for each.
    List {
        /// Write them as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        local: Folder,
    },
    /// Send a signed test event to the receiver of a webhook.
    #[command(
        after_help = "The event's type is `webhook.test`. Exits 1 when the receiver does not take it."
    )]
    Test {
        /// The webhook, by its name in tools.toml.
        name: String,
    },
    /// Send the events again that the receiver of a webhook has not taken.
    #[command(
        after_help = "The server that is running sends them, within half a minute: first those that were parked after three days, then those that wait for their next attempt."
    )]
    Replay {
        /// The webhook, by its name in tools.toml.
        name: String,
        /// Only the events of this user.
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        #[command(flatten)]
        local: Folder,
    },
}

/// The folder of the store.
#[derive(Debug, clap::Args)]
pub(super) struct Folder {
    /// The folder that keeps grants, instead of the platform's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<std::path::PathBuf>,
}

impl Folder {
    fn options(self) -> StoreOptions {
        StoreOptions { user: None, data: self.data }
    }
}

impl Hinted for WebhookError {
    fn hint(&self) -> String {
        self.hint()
    }
}

pub(super) fn run<W: Write>(
    command: Command,
    config: Config,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    block_on(LevelFilter::ERROR, async move {
        match command {
            Command::List { json, local } => {
                let app = local.options().app(config, "webhooks list")?;
                app.only_look();
                let list = app.broker.webhooks().list().await.map_err(hinted)?;
                if json { write_json(&list, out)? } else { write(&list, out)? }
            }
            Command::Test { name } => {
                let app = Folder { data: None }.options().app(config, "webhooks test")?;
                let took = app.broker.webhooks().test(&name).await.map_err(hinted)?;
                let took = took.as_millis();
                out.line(&format!("The receiver of `{name}` took the test event in {took} ms."))?;
            }
            Command::Replay { name, user, local } => {
                let app = local.options().app(config, "webhooks replay")?;
                let user = user.map(UserId::new);
                let replayed =
                    app.broker.webhooks().replay(&name, user.as_ref()).await.map_err(hinted)?;
                app.close().await;
                out.line(&replayed_words(&name, replayed))?;
            }
        }
        Ok(Exit::Done)
    })
}

fn replayed_words(name: &str, Replayed { parked, waiting }: Replayed) -> String {
    if parked + waiting == 0 {
        return format!("No event waits for `{name}`.");
    }
    let events =
        |count: usize| if count == 1 { "1 event".into() } else { format!("{count} events") };
    format!(
        "{} and {} are sent again by the server that is running.",
        events(parked) + " that had been parked",
        events(waiting) + " that waited"
    )
}

fn write<W: Write>(list: &[WebhookStatus], out: &mut Stdout<W>) -> anyhow::Result<()> {
    if list.is_empty() {
        report::note("tools.toml has no [webhooks]");
    }
    for status in list {
        let WebhookStatus { name, webhook, waiting, parked, users, .. } = status;
        let place = match webhook {
            // The path may hold a token of the receiver.
            Some(webhook) => format!(
                "{}  key {}  {}",
                webhook.url.origin().ascii_serialization(),
                webhook.key,
                if webhook.events.len() == ConnectionChange::ALL.len() {
                    "all events".to_owned()
                } else {
                    events(status).join(", ")
                }
            ),
            None => "not in tools.toml; its events are deleted after 30 days".into(),
        };
        out.line(&format!("{name}  {place}"))?;
        if *users > 0 {
            let oldest = status.oldest.map(|at| format!(", the oldest of {}", utc(at)));
            out.line(&format!(
                "  {waiting} waiting, {parked} parked, of {users} users{}",
                oldest.unwrap_or_default()
            ))?;
        }
        if status.others > 0 {
            out.line(&format!(
                "  {} users of another key among them: their events are not sent to `{name}`",
                status.others
            ))?;
        }
        if let Some(failure) = &status.last_failure {
            let next = status.next_attempt.map(|at| format!("; next attempt {}", utc(at)));
            out.line(&format!(
                "  last failure {}: {}{}",
                utc(failure.at),
                shown(&failure.why, MAX_LINE_CHARS),
                next.unwrap_or_default()
            ))?;
        }
    }
    Ok(())
}

fn events(status: &WebhookStatus) -> Vec<&'static str> {
    let events = status.webhook.iter().flat_map(|webhook| &webhook.events);
    events.map(|change| change.event()).collect()
}

fn write_json<W: Write>(list: &[WebhookStatus], out: &mut Stdout<W>) -> anyhow::Result<()> {
    let webhooks: Vec<Value> = list.iter().map(as_json).collect();
    out.line(&serde_json::to_string_pretty(&json!({ "version": 1, "webhooks": webhooks }))?)?;
    Ok(())
}

fn as_json(status: &WebhookStatus) -> Value {
    let webhook = status.webhook.as_ref();
    json!({
        "name": status.name,
        "configured": webhook.is_some(),
        "origin": webhook.map(|it| it.url.origin().ascii_serialization()),
        "key": webhook.map(|it| &it.key),
        "events": webhook.map(|_| events(status)),
        "waiting": status.waiting,
        "parked": status.parked,
        "users": status.users,
        "failing_users": status.failing,
        "users_of_another_key": status.others,
        "oldest": status.oldest.map(utc),
        "next_attempt": status.next_attempt.map(utc),
        "last_failure": status.last_failure.as_ref().map(|failure| {
            json!({ "at": utc(failure.at), "why": failure.why })
        }),
    })
}
