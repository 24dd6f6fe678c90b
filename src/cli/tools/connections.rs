//! `countersign tools call connections`

use std::io::Write;

use anyhow::anyhow;
use serde_json::{Map, Value};
use tracing::level_filters::LevelFilter;

use super::{Needed, Shown};
use crate::broker::ready::connections::Connections;
use crate::broker::ready::{Asking, ConsentState};
use crate::cli::next_command::NextCommand;
use crate::cli::report::Usage;
use crate::cli::stdout::Stdout;
use crate::cli::store_options::StoreOptions;
use crate::cli::{Exit, block_on};
use crate::config::Config;
use crate::model::{FailureKind, Principal};
use crate::registry::accept_connections;
use crate::words::{connections_data, connections_text, failure_text};

/// Says which accounts the user has connected, and what tools still need. It makes no links: they
/// would lead to this process, which is about to end.
pub(super) fn run<W: Write>(
    arguments: Map<String, Value>,
    config: Config,
    next_command: &NextCommand,
    local: StoreOptions,
    as_json: bool,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let tools = accept_connections(Some(arguments)).map_err(|problem| {
        anyhow!(Usage(failure_text(&FailureKind::InvalidArguments(problem).into())))
    })?;
    block_on(LevelFilter::WARN, async move {
        let app = local.app(config, "tools call")?;
        let principal = Principal::local(local.caller()?);
        let looked = app.broker.connections(&principal, tools.as_deref(), Asking::Look).await;
        app.close().await;
        let shown = match looked {
            Err(failure) => failure.into(),
            Ok(connections) => Shown {
                text: connections_text(&connections, &next(&connections, next_command, &local)),
                structured: Some(connections_data(&connections)),
                is_error: false,
                note: None,
                for_operator: None,
            },
        };
        shown.write(as_json, out)
    })
}

/// Returns the commands that start the missing consents, a line for each.
fn next(connections: &Connections, next_command: &NextCommand, local: &StoreOptions) -> String {
    let missing = connections.needed.iter().filter_map(|consent| match &consent.state {
        ConsentState::Needed { .. } => {
            let need = &consent.need;
            Some(Needed::new(need.provider.id.clone(), need.account.clone(), need.scopes.clone()))
        }
        ConsentState::Ready { .. } | ConsentState::RefusedOften | ConsentState::Failed(_) => None,
    });
    let lines = missing.map(|needed| format!("Next: {}", needed.next(next_command, local)));
    lines.collect::<Vec<_>>().join("\n")
}
