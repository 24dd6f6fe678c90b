//! `[server]` and `[store]`.

use std::path::{Path, PathBuf};

use url::Url;

use super::super::Server;
use super::super::file::ServerTable;
use super::super::problem::Findings;
use super::super::read::{At, Text, not_yet};
use super::{address, choice, within};
use crate::model::credential::Retention;
use crate::net::Cidr;

/// Fewer characters are no answer.
const LEAST_CHARS: i64 = 200;
/// More is no answer to a model either.
const MOST_CHARS: i64 = 1_000_000;

pub(super) fn server(table: ServerTable, find: &mut Findings<'_>) -> Server {
    let default = Server::default();
    Server {
        name: table.name.and_then(|name| server_name(name, find)).unwrap_or(default.name),
        instructions: table.instructions.map(|text| text.value),
        public_url: table.public_url.and_then(|text| public_url(&text, find)),
        after_connect: table.after_connect.and_then(|text| address::url(&text, find)),
        max_chars: table.max_chars.and_then(|it| max_chars(&it, find)).unwrap_or(default.max_chars),
        allow_private: table
            .allow_private
            .unwrap_or_default()
            .into_iter()
            .filter_map(|text| block(&text, find))
            .collect(),
        port: table.port.and_then(|port| loopback_port(&port, find)),
        auth: None,
        trusted_proxies: Vec::new(),
    }
}

fn server_name(name: Text, find: &mut Findings<'_>) -> Option<String> {
    if name.value.trim().is_empty() || name.value.chars().any(char::is_control) {
        find.error("server::name", &name.span, "the server needs a name of printable characters")
            .hint("e.g. `my-tools`");
        return None;
    }
    Some(name.value)
}

/// Redirect URIs are made from it, so it is an origin and nothing more.
fn public_url(text: &Text, find: &mut Findings<'_>) -> Option<Url> {
    let url = address::url(text, find)?;
    if url.path() != "/" || url.query().is_some() {
        find.error(
            "server::public_url",
            &text.span,
            "`public_url` is scheme and host, without a path",
        )
        .hint(format!("write `{}`", url.origin().ascii_serialization()));
        return None;
    }
    find.warning(
        "server::public_url",
        &text.span,
        "`public_url` is for serving over HTTP, which this version does not do yet",
    )
    .hint("links lead to this machine's loopback address");
    Some(url)
}

pub(super) fn max_chars(given: &At<i64>, find: &mut Findings<'_>) -> Option<usize> {
    let given = within("max_chars", LEAST_CHARS..=MOST_CHARS, given, find)?;
    usize::try_from(given).ok()
}

fn block(text: &Text, find: &mut Findings<'_>) -> Option<Cidr> {
    if let Ok(block) = text.as_str().parse() {
        return Some(block);
    }
    find.error("server::allow_private", &text.span, "this is no block of addresses")
        .hint("write an address or a block like `10.1.0.0/16`");
    None
}

fn loopback_port(port: &At<i64>, find: &mut Findings<'_>) -> Option<u16> {
    u16::try_from(within("port", 1..=i64::from(u16::MAX), port, find)?).ok()
}

const RETENTIONS: [(&str, Retention); 3] = [
    ("refresh", Retention::Refresh),
    ("no_refresh", Retention::NoRefresh),
    ("use_once", Retention::UseOnce),
];

/// How long grants are kept.
pub(super) fn retention(text: &Text, find: &mut Findings<'_>) -> Option<Retention> {
    choice(text, &RETENTIONS, find)
}

/// Where grants are kept, if not in the platform's data folder.
pub(super) fn store(url: &Text, find: &mut Findings<'_>) -> Option<PathBuf> {
    match url.value.split_once(':') {
        Some(("sled", "")) => None,
        Some(("sled", path)) if Path::new(path).is_absolute() => Some(path.into()),
        Some(("postgres" | "postgresql", _)) => {
            super::secret::hide(url, find);
            not_yet(&url.span, "a Postgres store", find);
            None
        }
        _ => {
            super::secret::hide(url, find);
            find.error("store::url", &url.span, "this names no store")
                .hint("write `sled:` for the platform's data folder, or `sled:/absolute/path`");
            None
        }
    }
}
