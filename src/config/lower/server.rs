//! `[server]` and `[store]`; [`super::server_auth`] reads `[server.auth]`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::super::file::server::ServerTable;
use super::super::findings::Findings;
use super::super::read::not_yet;
use super::super::span::{At, Text};
use super::super::{Server, environment};
use super::{Depth, address, choice, server_auth, within};
use crate::model::retention::Retention;
use crate::model::{Allowed, AllowedHost, AllowedOrigin, ConsentMode};
use crate::net::Cidr;

/// Lower bound of `max_chars`: fewer characters are no useful answer.
const MIN_RESULT_CHARS: i64 = 200;
/// Upper bound of `max_chars`: more characters are no useful answer to a model.
const MAX_RESULT_CHARS: i64 = 1_000_000;

/// `keep_runs` is that of `[store]`.
pub(super) fn server(
    table: ServerTable,
    keep_runs: Option<&At<i64>>,
    depth: Depth,
    find: &mut Findings<'_>,
) -> Server {
    warn_of_what_does_not_fit(&table, find);
    let default = Server::default();
    Server {
        name: table.name.and_then(|name| server_name(name, find)).unwrap_or(default.name),
        instructions: table.instructions.map(|text| text.value),
        public_url: table.public_url.and_then(|text| public_url(&text, find)),
        after_connect: table.after_connect.and_then(|text| address::url(&text, find)),
        consent: table.consent.and_then(|word| choice(&word, &ConsentMode::WORDS, find)),
        max_chars: table.max_chars.and_then(|it| max_chars(&it, find)).unwrap_or(default.max_chars),
        allow_private: table
            .allow_private
            .unwrap_or_default()
            .into_iter()
            .filter_map(|text| block(&text, "server::allow_private", find))
            .collect(),
        port: table.port.and_then(|port| loopback_port(&port, find)),
        listen_address: table.listen_address.and_then(|text| listen_address(&text, find)),
        auth: table.auth.map(|auth| server_auth::server_auth(&auth, depth, find)),
        trusted_proxies: table
            .trusted_proxies
            .unwrap_or_default()
            .into_iter()
            .filter_map(|text| proxies(&text, find))
            .collect(),
        allowed: Allowed {
            hosts: table
                .allowed_hosts
                .unwrap_or_default()
                .into_iter()
                .filter_map(|text| allowed_host(&text, find))
                .collect(),
            origins: table
                .allowed_origins
                .unwrap_or_default()
                .into_iter()
                .filter_map(|text| allowed_origin(&text, find))
                .collect(),
        },
        keeper: table.keeper.map_or(default.keeper, |keeper| keeper.value),
        keep_runs: keep_runs.and_then(|days| days_of(days, find)).unwrap_or(default.keep_runs),
        document_limits: default.document_limits,
        // A key of `[store]`, which is read later.
        retention: default.retention,
    }
}

fn allowed_host(text: &Text, find: &mut Findings<'_>) -> Option<AllowedHost> {
    match AllowedHost::parse(text.as_str()) {
        Ok(host) => Some(host),
        Err(error) => {
            find.error("server::allowed_hosts", &text.span, error.to_string())
                .hint("write a name as it stands in the client's URL, e.g. `countersign` (any port) or `countersign:8080`");
            None
        }
    }
}

fn allowed_origin(text: &Text, find: &mut Findings<'_>) -> Option<AllowedOrigin> {
    match AllowedOrigin::parse(text.as_str()) {
        Ok(origin) => Some(origin),
        Err(error) => {
            find.error("server::allowed_origins", &text.span, error.to_string())
                .hint("write scheme and host, e.g. `https://chat.example.com` or `chrome-extension://abc`; `*` stands for the host of a scheme that is not the web's, e.g. `vscode-webview://*`");
            None
        }
    }
}

/// Warns about settings that have no effect, or not the intended one.
fn warn_of_what_does_not_fit(table: &ServerTable, find: &mut Findings<'_>) {
    let Some(auth) = &table.auth else {
        if let Some(url) = &table.public_url {
            find.warning(
                "server::public_url",
                &url.span,
                "`public_url` has no effect without [server.auth]",
            )
            .hint("say in [server.auth] who calls; links of one local user lead to this machine's loopback address");
        }
        if let Some(proxy) = table.trusted_proxies.iter().flatten().next() {
            find.warning(
                "server::trusted_proxies",
                &proxy.span,
                "`trusted_proxies` has no effect without [server.auth]",
            )
            .hint("say in [server.auth] who calls; a server for one local user takes no calls from a proxy");
        }
        for (key, list) in
            [("allowed_hosts", &table.allowed_hosts), ("allowed_origins", &table.allowed_origins)]
        {
            if let Some(first) = list.iter().flatten().next() {
                find.warning(
                    "server::allowed",
                    &first.span,
                    format!("`{key}` has no effect without [server.auth]"),
                )
                .hint("say in [server.auth] who calls: without credentials, host and origin are all that keeps other sites out");
            }
        }
        return;
    };
    if table.public_url.is_none() && !find.may_be_there(&table.span, "public_url") {
        find.warning(
            "server::public_url",
            &auth.span,
            "without `public_url`, links lead to the loopback address that is served",
        )
        .label("only browsers on this machine get there")
        .hint("write in [server] where browsers reach this server, e.g. `public_url = \"https://tools.example.com\"`");
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

/// Reads `public_url`. Redirect URIs are made from it, so it must be an origin only.
fn public_url(text: &Text, find: &mut Findings<'_>) -> Option<Url> {
    let url = address::browser_url(text, find)?;
    if url.path() != "/" || url.query().is_some() {
        find.error(
            "server::public_url",
            &text.span,
            "`public_url` is scheme and host, without a path",
        )
        .hint(format!("write `{}`", url.origin().ascii_serialization()));
        return None;
    }
    Some(url)
}

pub(super) fn max_chars(given: &At<i64>, find: &mut Findings<'_>) -> Option<usize> {
    let given = within("max_chars", MIN_RESULT_CHARS..=MAX_RESULT_CHARS, given, find)?;
    usize::try_from(given).ok()
}

/// Reads a block of trusted proxies, which say where a request comes from and which host name the
/// client called.
fn proxies(text: &Text, find: &mut Findings<'_>) -> Option<Cidr> {
    let block = block(text, "server::trusted_proxies", find)?;
    if block.is_wider_than_a_network() {
        find.error(
            "server::trusted_proxies",
            &text.span,
            "these are more addresses than any network of one's own has",
        )
        .label("strangers would be believed")
        .hint("write the addresses of your proxies, e.g. `10.0.0.7` or `10.0.0.0/28`");
        return None;
    }
    if block.is_wider_than_proxies() {
        find.warning(
            "server::trusted_proxies",
            &text.span,
            "a client within this block says itself where its requests come from",
        )
        .label("clients may be in there too")
        .hint("write the addresses of proxies only, e.g. `10.0.0.7` or `10.0.0.0/28`; limits on tries count by address");
    }
    Some(block)
}

fn block(text: &Text, code: &'static str, find: &mut Findings<'_>) -> Option<Cidr> {
    if let Ok(block) = text.as_str().parse() {
        return Some(block);
    }
    let key = code.trim_start_matches("server::");
    let message = format!("`{key}` takes an IP address or a block of addresses");
    find.error(code, &text.span, message)
        .hint("write e.g. `10.0.0.7` or `10.1.0.0/16`; a host name is not resolved here");
    None
}

fn loopback_port(port: &At<i64>, find: &mut Findings<'_>) -> Option<u16> {
    u16::try_from(within("port", 1..=i64::from(u16::MAX), port, find)?).ok()
}

fn listen_address(text: &Text, find: &mut Findings<'_>) -> Option<IpAddr> {
    let Ok(address) = text.as_str().parse::<IpAddr>() else {
        find.error(
            "server::listen_address",
            &text.span,
            "`listen_address` is an IP address without a port",
        )
        .hint("write e.g. `0.0.0.0`; the port is the setting `port`");
        return None;
    };
    if !address.is_loopback() {
        find.warning(
            "server::listen_address",
            &text.span,
            "the pages behind links can be reached from other machines",
        )
        .label("anyone who gets there with a link can use it")
        .hint("publish the port on the loopback address of the host alone, e.g. `-p 127.0.0.1:8971:8971`");
    }
    Some(address)
}

const RETENTIONS: [(&str, Retention); 3] = [
    ("refresh", Retention::Refresh),
    ("no_refresh", Retention::NoRefresh),
    ("use_once", Retention::UseOnce),
];

/// Reads `keep_runs`, a number of days.
fn days_of(days: &At<i64>, find: &mut Findings<'_>) -> Option<Duration> {
    let days = within("keep_runs", 1..=3650, days, find)?;
    Some(Duration::from_hours(24 * days.unsigned_abs()))
}

/// Reads how long grants are kept.
pub(super) fn retention(text: &Text, find: &mut Findings<'_>) -> Option<Retention> {
    choice(text, &RETENTIONS, find)
}

/// Reads the folder of the store; `None` for the platform's data folder, or after reporting a
/// problem.
pub(super) fn store(url: &Text, find: &mut Findings<'_>) -> Option<PathBuf> {
    match url.value.split_once(':') {
        Some(("sled", "")) => None,
        Some(("sled", path)) if Path::new(path).is_absolute() => Some(path.into()),
        Some(("sled", path)) if path.starts_with('~') => {
            match environment::expanded(Path::new(path)) {
                Ok(path) => Some(path),
                Err(error) => {
                    find.error("store::url", &url.span, error.to_string()).hint(error.hint());
                    None
                }
            }
        }
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
