//! Reads `tools.toml` into the model.
//!
//! 1. [`environment`] finds the file, `source` reads its text.
//! 2. `syntax` parses the text into values with positions, in spite of mistakes.
//! 3. [`mod@file`] reads the values into the tables of the language, as written.
//! 4. `lower` turns the tables into [`Provider`]s and [`Tool`]s. [`crate::catalog`] supplies the
//!    values that a built-in provider's table leaves out.
//!
//! A file that the user has not named is trusted less: the working folder may be a repository that
//! was cloned a minute ago. Such a file must be writable by this user alone, and in the working
//! folder the user must trust it before it acts in the user's name ([`trust`]).
//!
//! No step stops at the first mistake: all steps add to the same [`Problems`], which are reported
//! together. No step resolves a reference to a secret: [`secrets`] does so when the secret is
//! needed, and [`server_auth`] before the server accepts the first call.

pub mod environment;
pub mod file;
pub(crate) mod findings;
mod lower;
mod misplaced;
pub(crate) mod problem;
pub mod read;
mod redaction;
pub mod secret_ref;
pub mod secrets;
pub mod server_auth;
mod source;
pub(crate) mod span;
pub(crate) mod syntax;
mod tables;
pub mod trust;
pub(crate) mod unknown_key;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;
use url::Url;

use crate::model::declared_tool::DeclaredTool;
use crate::model::gateway::Gateways;
use crate::model::retention::Retention;
use crate::model::run::DocumentLimits;
use crate::model::server_auth::ServerAuth;
use crate::model::webhook::Webhook;
use crate::model::{Allowed, ConsentMode, Provider, ProviderId, Tool};
use crate::net::Cidr;
use environment::{Found, FoundBy};
use file::File;
use findings::Findings;
pub use lower::{
    BuiltIn, RestRules, ShippedTool, Toolkit, ToolkitTool, UnfitField, built_in, rest_provider,
    shipped_tool, toolkit,
};
pub use problem::{Problem, Problems, Severity};
use read::Read as _;
pub use span::Span;
use trust::Trusted;

/// A `tools.toml` that can be served. The default has no tools.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub path: PathBuf,
    pub server: Server,
    /// Providers with a table of their own, and built-in providers that a tool uses.
    pub providers: BTreeMap<ProviderId, Arc<Provider>>,
    /// Sorted by name, without disabled tools.
    pub tools: Vec<Tool>,
    pub gateways: Gateways,
    pub webhooks: Vec<Webhook>,
    /// Folder of the store for grants; `None`: in the platform's data folder.
    pub store: Option<PathBuf>,
    /// Problems that do not prevent serving the file. Their spans refer to `source`.
    pub warnings: Vec<Problem>,
    /// The file's text with literal secrets redacted, for showing warnings.
    pub source: Arc<str>,
    /// Parts of the file that need the user's trust if it was found in the working folder.
    pub needs: Vec<trust::Need>,
}

/// The `[server]` table.
#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub instructions: Option<String>,
    /// Scheme and host at which browsers reach this server; `None`: the loopback listener.
    pub public_url: Option<Url>,
    /// Page to which a browser goes after a consent; `None`: a page of this server.
    pub after_connect: Option<Url>,
    /// How a call asks for a consent; `None`: as the client's URL says, else [`ConsentMode::Auto`].
    pub consent: Option<ConsentMode>,
    /// Longest output of a tool in characters, unless the tool sets its own limit.
    pub max_chars: usize,
    /// Blocks of private addresses, e.g. `10.1.0.0/16`, that hosts learnt from outside may have.
    pub allow_private: Vec<Cidr>,
    /// The loopback listener's port, if not the default.
    pub port: Option<u16>,
    /// The address that the loopback listener listens on, if not 127.0.0.1. For a container or
    /// virtual machine that publishes the port; links still lead to 127.0.0.1.
    pub listen_address: Option<IpAddr>,
    /// `[server.auth]`; `None`: one local user.
    pub auth: Option<ServerAuth>,
    /// Addresses of proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Host names and origins accepted at `/mcp` besides the server's own; no effect without
    /// [`Self::auth`].
    pub allowed: Allowed,
    /// Whether a keeper answers open links after the process that made them has ended.
    pub keeper: bool,
    /// How long what clients store of their plans is kept after its last change.
    pub keep_runs: Duration,
    /// How much of that is kept. `tools.toml` has no key for it.
    pub document_limits: DocumentLimits,
    /// How consents are kept at providers that do not say it.
    pub retention: Retention,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: "countersign".into(),
            instructions: None,
            public_url: None,
            after_connect: None,
            consent: None,
            max_chars: 40_000,
            allow_private: Vec::new(),
            port: None,
            listen_address: None,
            auth: None,
            trusted_proxies: Vec::new(),
            allowed: Allowed::default(),
            keeper: true,
            keep_runs: Duration::from_hours(30 * 24),
            document_limits: DocumentLimits::default(),
            retention: Retention::default(),
        }
    }
}

/// How thoroughly a file is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Finds every mistake that could send a request to the wrong place or keep a host from listing
    /// the tools.
    Serve,
    /// Also finds mistakes that a call of the tool would reveal, and settings that are merely
    /// unwise.
    Check,
}

/// Reads a `tools.toml` for serving.
///
/// jq filters are compiled when their tool is first called, and secrets are looked up when they are
/// needed, so that a server with ten thousand tools starts as fast as one with ten.
///
/// # Errors
/// All problems of the file, warnings included, if at least one is an error.
pub fn load(found: impl Into<Found>) -> Result<Config, Problems> {
    load_with(found, &[])
}

/// Like [`load`], for a program whose code has these tools.
///
/// # Errors
/// As [`load`].
pub fn load_with(found: impl Into<Found>, code: &[DeclaredTool]) -> Result<Config, Problems> {
    read_at(&found.into(), code, Depth::Serve)
}

/// Returns the configuration of a program that has no `tools.toml`: its code and the built-in
/// providers alone.
///
/// # Errors
/// As [`load`].
pub fn without_file(code: &[DeclaredTool]) -> Result<Config, Problems> {
    parse(Path::new(environment::FILE_NAME), "", code, FoundBy::Argument, Depth::Serve)
}

/// Like [`load`], and also checks jq filters, output schemas, example calls, unset secrets (a
/// warning) and limits of hosts (warnings). Used by `countersign check`.
///
/// # Errors
/// As [`load`].
pub fn check(found: impl Into<Found>, code: &[DeclaredTool]) -> Result<Config, Problems> {
    read_at(&found.into(), code, Depth::Check)
}

/// Reads a `tools.toml` for [`Trusted::add`]. Returns its text and what it declares.
///
/// # Errors
/// As [`load`].
pub fn read_for_trust(path: &Path, code: &[DeclaredTool]) -> Result<(String, Config), Problems> {
    let source = source::read(path).map_err(|error| unreadable(path, &error))?;
    let config = parse(path, &source, code, FoundBy::Argument, Depth::Serve)?;
    Ok((source, config))
}

fn read_at(found: &Found, code: &[DeclaredTool], depth: Depth) -> Result<Config, Problems> {
    let path = &found.path;
    let vouched = if found.by.is_named() { Ok(()) } else { source::vouch(path) };
    match vouched.and_then(|()| source::read(path)) {
        Ok(source) => parse(path, &source, code, found.by, depth),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &source::SourceError) -> Problems {
    let mut find = Findings::new("");
    find.whole(Severity::Error, "config::file", error.to_string()).hint(error.hint());
    find.finish(path)
}

fn parse(
    path: &Path,
    source: &str,
    code: &[DeclaredTool],
    by: FoundBy,
    depth: Depth,
) -> Result<Config, Problems> {
    let mut find = Findings::new(source).of_language(&tables::TABLES);
    let (table, errors) = DeTable::parse_recoverable(source);
    let needs = trust::needs(source, table.get_ref());
    let file = if errors.is_empty() {
        read_table(table, &mut find)
    } else {
        let mended = syntax::mend(source, &mut find);
        read_table(DeTable::parse_recoverable(&mended).0, &mut find)
    };
    let mut lowered = lower::lower(file, code, depth, &mut find);
    // Trust is checked last, so that an untrusted file's mistakes are reported too.
    let trusted = Trusted::load().ok();
    let is_trusted = by != FoundBy::WorkingFolder
        || trust::is_built_in(source)
        || trusted.as_ref().is_some_and(|trusted| trusted.holds(path, source.as_bytes()));
    if let (false, Some(need)) = (is_trusted, needs.first()) {
        let message = if trusted.is_some_and(|trusted| trusted.knows(path)) {
            "this file was found in the current folder, and it has changed since you trusted it"
        } else {
            "this file was found in the current folder, and you have not trusted it"
        };
        find.error("config::trust", &need.span, message)
            .label(need.power.words())
            .hint("read it, then run `countersign trust`; or name it with `--config` or COUNTERSIGN_CONFIG");
    }
    for action in lowered.tools.iter_mut().filter_map(|tool| tool.action.request_mut()) {
        action.is_untrusted = !is_trusted;
    }
    let failed = find.has_errors();
    let problems = find.finish(path);
    if failed {
        return Err(problems);
    }
    Ok(Config {
        path: problems.path,
        server: lowered.server,
        providers: lowered.providers,
        tools: lowered.tools,
        gateways: lowered.gateways,
        webhooks: lowered.webhooks,
        store: lowered.store,
        warnings: problems.list,
        source: problems.source,
        needs,
    })
}

fn read_table(table: toml::Spanned<DeTable<'_>>, find: &mut Findings<'_>) -> File {
    let value = toml::Spanned::new(table.span(), toml::de::DeValue::Table(table.into_inner()));
    let file = File::read(&value, find).unwrap_or_default();
    misplaced::name_places(&value, find);
    file
}

#[cfg(test)]
mod tests;
