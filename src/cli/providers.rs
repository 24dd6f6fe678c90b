//! `countersign providers`

use std::io::Write;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Subcommand;
use serde_json::{Value, json};

use super::Exit;
use super::next_command::NextCommand;
use super::report::{self, Hint, Usage};
use super::stdout::{MAX_LINE_CHARS, Stdout};
use crate::broker::OriginError;
use crate::catalog;
use crate::config::{self, Config, secret_ref, secrets};
use crate::model::authorization::redirect_uri;
use crate::model::credential::Credential;
use crate::model::guide::Paginate;
use crate::model::oauth::{LoopbackRule, OAuthSettings};
use crate::model::secret_ref::SecretRef;
use crate::model::text::{nearest, shown};
use crate::model::{Provider, Scopes};
use crate::web::loopback::listener::{DEFAULT_PORT, loopback_origin};
use crate::web::public_origin::public_origin;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the providers that are built in or in your tools.toml.
    List {
        /// Write them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show how to set one up: where its app is registered, and with what.
    #[command(after_help = "Exits 2 when there is no such provider.")]
    Show {
        /// The provider's name; `providers list` shows the names.
        name: String,
        /// Write it as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A provider as it is configured, or as it would be.
struct Entry {
    provider: Arc<Provider>,
    is_configured: bool,
    console_url: String,
    /// Keys that its table in tools.toml still lacks.
    needs: Vec<&'static str>,
    /// Scopes of the configured tools, and the scopes of every connection.
    scopes: Scopes,
    /// `None` for a provider without consents.
    redirect_uri: Option<Result<String, OriginError>>,
}

pub(super) fn run<W: Write>(
    command: Command,
    config: Option<&Config>,
    next_command: &NextCommand,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    match command {
        Command::List { json } => list(&names(config), config, json, out)?,
        Command::Show { name, json } => {
            let entry = entry(&name, config).ok_or_else(|| unknown(&name, config, next_command))?;
            if json {
                let mut shown = describe(&entry);
                if let Some(shown) = shown.as_object_mut() {
                    shown.insert("version".into(), 1.into());
                }
                out.line(&serde_json::to_string_pretty(&shown)?)?;
            } else {
                for line in lines(&entry, next_command) {
                    out.line(&line)?;
                }
            }
        }
    }
    Ok(Exit::Done)
}

/// Returns the names of the built-in and the configured providers, sorted.
fn names(config: Option<&Config>) -> Vec<String> {
    let own = config.into_iter().flat_map(|config| config.providers.keys());
    let mut names: Vec<String> =
        catalog::ids().map(str::to_owned).chain(own.map(ToString::to_string)).collect();
    names.sort();
    names.dedup();
    names
}

fn unknown(name: &str, config: Option<&Config>, next_command: &NextCommand) -> anyhow::Error {
    let names = names(config);
    let hint = match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "`{}` shows them all; any other OAuth 2 server is described in tools.toml",
            next_command.command(&["providers", "list"])
        ),
    };
    anyhow!(Usage(format!("there is no provider `{name}`"))).context(Hint(hint))
}

fn entry(name: &str, config: Option<&Config>) -> Option<Entry> {
    let configured = config.and_then(|config| config.providers.get(name));
    let (provider, console_url, needs) = if let Some(provider) = configured {
        let console = provider.console_url.as_ref().map(ToString::to_string);
        (Arc::clone(provider), console.unwrap_or_default(), Vec::new())
    } else {
        let known = config::built_in(name)?;
        (known.provider, known.console_url, known.needs)
    };
    let oauth = oauth(&provider);
    let tools = config.into_iter().flat_map(|config| &config.tools);
    let scopes = tools
        .filter(|tool| tool.provider.as_ref() == Some(&provider.id))
        .fold(oauth.map(|oauth| oauth.scopes.clone()).unwrap_or_default(), |all, tool| {
            all.union(&tool.scopes)
        });
    let redirect_uri = oauth
        .filter(|oauth| oauth.grant.is_by_consent())
        .map(|oauth| origin_for(config, &provider, oauth.loopback))
        .map(|origin| origin.map(|origin| redirect_uri(&origin, &provider.id)));
    Some(Entry {
        is_configured: configured.is_some(),
        console_url,
        needs,
        scopes,
        redirect_uri,
        provider,
    })
}

/// Origin to which a provider sends browsers back; `None` if the provider would refuse it.
fn origin_for(
    config: Option<&Config>,
    provider: &Provider,
    rule: LoopbackRule,
) -> Result<String, OriginError> {
    let server = config.map(|config| &config.server);
    let public = server.filter(|server| server.auth.is_some());
    if let Some(public) = public.and_then(|server| server.public_url.as_ref()) {
        let public = public.origin().ascii_serialization();
        return public_origin(&public, provider.id.clone(), rule);
    }
    let port = server.and_then(|server| server.port).unwrap_or(DEFAULT_PORT);
    match rule {
        LoopbackRule::Refused => Err(OriginError::HttpsOnly(provider.id.clone())),
        _ => Ok(loopback_origin(rule, port)),
    }
}

fn oauth(provider: &Provider) -> Option<&OAuthSettings> {
    match &provider.credential {
        Credential::OAuth(settings) => Some(settings),
        Credential::Shared(_) | Credential::Asked(_) => None,
    }
}

fn list<W: Write>(
    names: &[String],
    config: Option<&Config>,
    as_json: bool,
    out: &mut Stdout<W>,
) -> anyhow::Result<()> {
    let entries: Vec<Entry> = names.iter().filter_map(|name| entry(name, config)).collect();
    if as_json {
        let providers: Vec<Value> = entries
            .iter()
            .map(|Entry { provider, is_configured, .. }| {
                json!({
                    "name": provider.id,
                    "title": provider.title,
                    "about": provider.guide.about,
                    "configured": is_configured,
                })
            })
            .collect();
        let shown = json!({ "version": 1, "providers": providers });
        out.line(&serde_json::to_string_pretty(&shown)?)?;
        return Ok(());
    }
    let width = |text: fn(&Entry) -> &str| {
        entries.iter().map(|entry| text(entry).chars().count()).max().unwrap_or(0)
    };
    let name_width = width(|entry| entry.provider.id.as_str());
    let title_width = width(|entry| &entry.provider.title);
    for Entry { provider, is_configured, .. } in &entries {
        let mark = if *is_configured { '*' } else { ' ' };
        let line = format!(
            "{mark} {:name_width$}  {:title_width$}  {}",
            provider.id.as_str(),
            shown(&provider.title, MAX_LINE_CHARS),
            shown(&provider.guide.about, MAX_LINE_CHARS)
        );
        out.line(line.trim_end())?;
    }
    if config.is_some() {
        report::note("* is in your tools.toml");
    }
    Ok(())
}

/// Returns all information about a provider, each line with its label.
fn lines(entry: &Entry, next_command: &NextCommand) -> Vec<String> {
    let Entry { provider, .. } = entry;
    let guide = &provider.guide;
    let mut lines = Vec::new();
    let about = if guide.about.is_empty() { String::new() } else { format!(": {}", guide.about) };
    lines.push(shown(&format!("{} ({}){about}", provider.id, provider.title), MAX_LINE_CHARS));
    let mut say = |word: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("  {word:9} {}", shown(text, MAX_LINE_CHARS)));
        }
    };
    say("register", &entry.console_url);
    say("", &guide.register);
    if let Some(oauth) = oauth(provider) {
        if let Some(uri) = &entry.redirect_uri {
            say("redirect", &redirect(uri, oauth.loopback));
        }
        match entry.scopes.join(", ") {
            none if none.is_empty() => say("scopes", "none are asked for yet"),
            scopes => say("scopes", &scopes),
        }
        // A configured provider shows the scopes of its tools; for others, list the known scopes.
        for (scope, words) in provider.scope_words.iter().filter(|_| !entry.is_configured) {
            say("  known", &format!("{scope}: {words}"));
        }
    }
    if let Credential::Asked(asked) = &provider.credential {
        say("asks", &asked.words);
    }
    if provider.accounts {
        let login = ["auth", "login", provider.id.as_str(), "--account", "NAME"];
        say("accounts", &format!("several; `{}` connects one more", next_command.command(&login)));
    }
    for key in &entry.needs {
        say("write", &format!("`{key} = \"…\"` into [providers.{}]", provider.id));
    }
    for reference in provider.credential.references() {
        say("set", &format!("{}{}", wanted(&reference), set(&reference)));
    }
    say("tokens", &guide.tokens);
    say("revoke", &end(provider, next_command));
    if let Some(paginate) = &guide.paginate {
        say("lists", &written(paginate));
    }
    for note in &guide.notes {
        say("note", note);
    }
    lines
}

fn redirect(uri: &Result<String, OriginError>, rule: LoopbackRule) -> String {
    let uri = match uri {
        Ok(uri) => uri,
        Err(error) => return format!("{error}: {}", error.hint()),
    };
    let is_loopback = uri.starts_with("http://");
    let how = if rule.any_port() && is_loopback { "any port will do" } else { "to the letter" };
    format!("{uri} ({how})")
}

/// Returns `GITHUB_CLIENT_ID`, or the reference as it is written.
fn wanted(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Env(name) => name.clone(),
        other => secret_ref::written(other),
    }
}

fn set(reference: &SecretRef) -> &'static str {
    match secrets::is_missing(reference) {
        Some(_) => " (not set)",
        None => "",
    }
}

fn end(provider: &Provider, next_command: &NextCommand) -> String {
    let title = &provider.title;
    let consented = oauth(provider).filter(|oauth| oauth.grant.is_by_consent());
    match consented.map(|oauth| &oauth.endpoints) {
        Some(endpoints) if endpoints.revoke.is_some() => {
            let revoke = next_command.command(&["auth", "revoke", provider.id.as_str()]);
            format!("`{revoke}` ends a consent at {title}, too")
        }
        // A discovery document may name a revocation endpoint.
        Some(endpoints) if endpoints.token.is_none() => String::new(),
        Some(_) => format!("a consent is forgotten here; {title} is not told"),
        None => String::new(),
    }
}

/// Describes how to get the next page of a list.
fn written(paginate: &Paginate) -> String {
    match paginate {
        Paginate::Link => "the `Link` header of an answer leads to the next page".into(),
        Paginate::Page(param) => format!("`{param}` in the query is the number of the page"),
        Paginate::Cursor { param, next } => {
            format!("`{param}` in the query takes `{next}` of the answer before")
        }
    }
}

fn describe(entry: &Entry) -> Value {
    let provider = &entry.provider;
    let oauth = oauth(provider);
    let references: Vec<Value> = provider
        .credential
        .references()
        .iter()
        .map(|reference| {
            let is_set = secrets::is_missing(reference).is_none();
            json!({ "reference": secret_ref::written(reference), "set": is_set })
        })
        .collect();
    json!({
        "name": provider.id,
        "title": provider.title,
        "configured": entry.is_configured,
        "guide": provider.guide,
        "console_url": entry.console_url,
        "base_url": provider.base_url,
        "hosts": provider.hosts,
        "redirect_uri": entry.redirect_uri.as_ref().and_then(|uri| uri.as_ref().ok()),
        "loopback": oauth.map(|oauth| oauth.loopback),
        "scopes": entry.scopes,
        "scope_words": provider.scope_words,
        "accounts": provider.accounts,
        "asks": match &provider.credential {
            Credential::Asked(asked) => Some(&asked.words),
            Credential::OAuth(_) | Credential::Shared(_) => None,
        },
        "needs": entry.needs,
        "secrets": references,
        "revocation": oauth.is_some_and(|oauth| oauth.endpoints.revoke.is_some()),
        "device": oauth.is_some_and(|oauth| oauth.endpoints.device.is_some()),
    })
}
