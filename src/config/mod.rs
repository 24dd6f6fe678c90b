//! From `tools.toml` to the model.
//!
//! 1. [`environment`] finds the file, `source` reads it as text.
//! 2. `syntax` parses it into values that know their place, in spite of mistakes.
//! 3. [`mod@file`] reads those into the tables of the language, as they are written.
//! 4. `lower` makes [`Provider`]s and [`Tool`]s of them, with [`crate::catalog`]'s values for what
//!    built-in providers leave out.
//!
//! A file that the person has not named is trusted less: the working folder may be a repository that
//! was cloned a minute ago. Such a file must be writable by this user alone, and what acts in the
//! person's name must be trusted first ([`trust`]).
//!
//! No step stops at the first mistake: each adds to the same [`Problems`], which come out together.
//! No step follows a reference to a secret; [`secret_ref`] does that when one is needed, and
//! [`server_auth`] before the first call is accepted.

pub mod environment;
pub mod file;
mod lower;
mod misplaced;
pub(crate) mod problem;
pub mod read;
pub mod secret_ref;
pub mod server_auth;
mod source;
pub(crate) mod syntax;
pub mod trust;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;
use url::Url;

use crate::model::server_auth::ServerAuth;
use crate::model::tool::Action;
use crate::model::{Allowed, ConsentMode, Provider, ProviderId, Tool};
use crate::net::Cidr;
use environment::{Found, FoundBy};
use file::File;
pub use lower::{BuiltIn, built_in};
use problem::Findings;
pub use problem::{Problem, Problems, Severity, Span};
use read::Read as _;
use trust::Trusted;

/// A `tools.toml` that can be served. The default serves no tool.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub path: PathBuf,
    pub server: Server,
    /// Those with a table of their own, and built-in ones that a tool uses.
    pub providers: BTreeMap<ProviderId, Arc<Provider>>,
    /// Sorted by name; disabled ones are left out.
    pub tools: Vec<Tool>,
    /// Where grants are kept, if not in the platform's data folder.
    pub store: Option<PathBuf>,
    /// What does not keep the file from being served; refers to `source`.
    pub warnings: Vec<Problem>,
    /// The file's text, for showing warnings.
    pub source: Arc<str>,
    /// What in it would need trust if it was found in the working folder.
    pub needs: Vec<trust::Need>,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub instructions: Option<String>,
    /// Scheme and host where browsers reach us; `None`: the loopback listener.
    pub public_url: Option<Url>,
    pub after_connect: Option<Url>,
    /// How consents are asked for; `None`: as each client's address says, else
    /// [`ConsentMode::Auto`].
    pub consent: Option<ConsentMode>,
    pub max_chars: usize,
    /// Blocks of private addresses, e.g. `10.1.0.0/16`, that hosts learnt from outside may have.
    pub allow_private: Vec<Cidr>,
    /// The loopback listener's port, if not the default.
    pub port: Option<u16>,
    /// The address that the loopback listener listens on, if not 127.0.0.1. Links lead to 127.0.0.1 all
    /// the same: it is for a port that a container or a virtual machine publishes.
    pub listen_address: Option<IpAddr>,
    /// `[server.auth]`; `None`: one local user.
    pub auth: Option<ServerAuth>,
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Names and origins of `/mcp` besides the server's own; empty without [`Self::auth`].
    pub allowed: Allowed,
    /// Whether open links are answered when the process that made them has ended.
    pub keeper: bool,
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
        }
    }
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What serving needs: every mistake that could send a request to the wrong place, or keep a
    /// host from listing the tools.
    Serve,
    /// Also what is found out anyway when a tool is called, and what is merely unwise.
    Check,
}

/// Reads a `tools.toml` for serving.
///
/// jq filters are compiled when a tool is first called and secrets looked up when they are needed,
/// so that a server with ten thousand tools starts as fast as one with ten.
///
/// # Errors
/// Every problem at once, warnings included; at least one of them is an error.
pub fn load(found: impl Into<Found>) -> Result<Config, Problems> {
    read_at(&found.into(), Depth::Serve)
}

/// [`load`], with all that `countersign check` looks at besides: jq filters, output schemas, unset
/// secrets (a warning), what hosts cannot cope with (warnings).
///
/// # Errors
/// As [`load`].
pub fn check(found: impl Into<Found>) -> Result<Config, Problems> {
    read_at(&found.into(), Depth::Check)
}

/// Reads a `tools.toml` for [`Trusted::add`]: its text, and what it declares.
///
/// # Errors
/// As [`load`].
pub fn read_for_trust(path: &Path) -> Result<(String, Config), Problems> {
    let source = source::read(path).map_err(|error| unreadable(path, &error))?;
    let config = parse(path, &source, FoundBy::Argument, Depth::Serve)?;
    Ok((source, config))
}

fn read_at(found: &Found, depth: Depth) -> Result<Config, Problems> {
    let path = &found.path;
    let vouched = if found.by.is_named() { Ok(()) } else { source::vouch(path) };
    match vouched.and_then(|()| source::read(path)) {
        Ok(source) => parse(path, &source, found.by, depth),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &source::SourceError) -> Problems {
    let mut find = Findings::new("");
    find.whole(Severity::Error, "config::file", error.to_string()).hint(error.hint());
    find.finish(path)
}

fn parse(path: &Path, source: &str, by: FoundBy, depth: Depth) -> Result<Config, Problems> {
    let mut find = Findings::new(source);
    let (table, errors) = DeTable::parse_recoverable(source);
    let needs = trust::needs(source, table.get_ref());
    let file = if errors.is_empty() {
        read_table(table, &mut find)
    } else {
        let mended = syntax::mend(source, &mut find);
        read_table(DeTable::parse_recoverable(&mended).0, &mut find)
    };
    let mut lowered = lower::lower(file, depth, &mut find);
    // After everything else: its mistakes are said of a file that is not trusted yet, too.
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
    for Tool { action: Action::Http(action), .. } in &mut lowered.tools {
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
