//! Finds the user that a command means, and lists the users.
//!
//! A user belongs to the authority that vouches for the name: this machine (`local`), an
//! application's or user's key, or the issuer. `--of` names it as `auth users` shows it.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::anyhow;
use serde_json::json;

use super::or_none;
use crate::app::App;
use crate::cli::Exit;
use crate::cli::report::{self, Hint, Usage, hinted};
use crate::cli::stdout::Stdout;
use crate::cli::store_options::StoreOptions;
use crate::model::Caller;
use crate::model::server_auth::ServerAuth;
use crate::model::text::{quoted, shown};
use crate::store::StoredUser;

/// Maximum users listed in a hint; for more, the hint gives their number.
const MAX_LISTED_USERS: usize = 10;
/// Maximum characters shown of a namespace or user id; the rest is cut.
const MAX_NAME_CHARS: usize = 256;

/// A user named on the command line.
pub(super) struct NamedUser {
    pub(super) caller: Caller,
    /// Named by `--user` or `--of`, or another user than this machine's.
    pub(super) is_named: bool,
}

/// Users among whom to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// Users who have connected an account.
    Connected,
    /// Also users who have only an open link or a signed-in browser.
    Present,
}

/// Finds the user. Without `--of` and `[server.auth]` it is the user of this machine.
///
/// # Errors
/// If there is no such user, or several; the hint lists the users that exist.
pub(super) async fn find(
    app: &App,
    serves_many: bool,
    local: &StoreOptions,
    of: Option<&str>,
    among: Among,
) -> anyhow::Result<NamedUser> {
    let own = local.caller()?;
    let mut users = or_none(app.broker.users().all(std::slice::from_ref(&own)).await)?;
    if unnamed(&users) > 0 {
        // Records of an earlier version name no user, but a lookup by name finds them.
        let known: Vec<Caller> = namespaces(&users, of)
            .into_iter()
            .map(|namespace| Caller { namespace, user: own.user.clone() })
            .chain([own.clone()])
            .collect();
        users = or_none(app.broker.users().all(&known).await)?;
    }
    let begun = match among {
        Among::Connected => Vec::new(),
        Among::Present => or_none(app.broker.users().who_began().await)?,
    };
    let mut called: Vec<&Caller> = Vec::new();
    for caller in users.iter().filter_map(|user| user.caller.as_ref()).chain(&begun) {
        let is_meant = caller.user == own.user && of.is_none_or(|of| is_namespace(of, caller));
        if is_meant && !called.contains(&caller) {
            called.push(caller);
        }
    }
    let is_named = local.user.is_some() || of.is_some();
    let found = match &*called {
        [one] => (*one).clone(),
        // On a single-user machine the plain command still means that machine's user.
        several if !serves_many && several.contains(&&own) => own,
        [] if !is_named && !serves_many => own,
        [] => return Err(nobody(&users, &own, of)),
        several => return Err(ambiguous(several)),
    };
    let is_named = is_named || !found.is_local();
    Ok(NamedUser { caller: found, is_named })
}

/// Like [`find`], for a command that ends all of the user's access. Records the end before any step
/// that can fail: a consent in progress leaves no record by which to find the user, and must not be
/// kept either.
///
/// # Errors
/// Like [`find`]. The end is recorded even if the user has nothing here.
pub(super) async fn find_to_end(
    app: &App,
    auth: Option<&ServerAuth>,
    local: &StoreOptions,
    of: Option<&str>,
) -> anyhow::Result<NamedUser> {
    let candidates = candidates(auth, &local.caller()?, of);
    let cut_off = async || {
        for caller in &candidates {
            app.broker.users().cut_off(caller).await.map_err(hinted)?;
        }
        anyhow::Ok(())
    };
    let is_clear = auth.is_none() || of.is_some();
    if is_clear {
        cut_off().await?;
    }
    let found = find(app, auth.is_some(), local, of, Among::Present).await;
    // If several users match, the operator has to choose one first.
    if found.as_ref().is_err_and(|error| error.downcast_ref::<Usage>().is_none()) {
        if !is_clear {
            cut_off().await?;
        }
        report::note("A consent that this user has under way now is not kept.");
    }
    found
}

/// Returns the users that a command may mean, by the settings alone.
fn candidates(auth: Option<&ServerAuth>, own: &Caller, of: Option<&str>) -> Vec<Caller> {
    let mut known = vec![own.namespace.clone()];
    if let Some(ServerAuth { issuer, keys }) = auth {
        if let Some(issuer) = issuer {
            // Its discovery document says which of the two it is.
            let url = issuer.url.as_str();
            known.extend([url.to_owned(), url.trim_end_matches('/').to_owned()]);
        }
        known.extend(keys.iter().map(|key| Caller::namespace_of_key(&key.name)));
    }
    let caller = |namespace| Caller { namespace, user: own.user.clone() };
    let known = known.into_iter().map(caller);
    let named: Vec<_> = known.filter(|it| of.is_none_or(|of| is_namespace(of, it))).collect();
    if named.is_empty() {
        // A key or an issuer that tools.toml no longer names.
        return namespaces(&[], of).into_iter().map(caller).collect();
    }
    named
}

/// Returns the possible namespaces of a user: each meaning of `--of`, and the namespaces of known
/// users.
fn namespaces(users: &[StoredUser], of: Option<&str>) -> BTreeSet<String> {
    let named = users.iter().filter_map(|user| user.caller.as_ref());
    let meant = of.into_iter().flat_map(|of| {
        let of = of.trim_end_matches('/');
        [of.to_owned(), format!("{of}/"), Caller::namespace_of_key(of)]
    });
    named.map(|caller| caller.namespace.clone()).chain(meant).collect()
}

/// Number of accounts whose records name no user.
fn unnamed(users: &[StoredUser]) -> usize {
    let unnamed = users.iter().filter(|user| user.caller.is_none());
    unnamed.map(|user| user.grants.values().sum::<usize>()).sum()
}

fn nobody(users: &[StoredUser], own: &Caller, of: Option<&str>) -> anyhow::Error {
    let user = shown(own.user.as_str(), MAX_NAME_CHARS);
    let of = of.map(|of| format!(" of {}", shown(of, MAX_NAME_CHARS))).unwrap_or_default();
    let problem = format!("no user `{user}`{of} has anything here to show or to end");
    let named: Vec<String> =
        users.iter().filter_map(|user| user.caller.as_ref()).map(arguments).collect();
    let hint = match named.len() {
        0 if unnamed(users) > 0 => format!(
            "{} accounts were kept by an earlier version, which did not note whose they are; name their user with `--user` and `--of`",
            unnamed(users)
        ),
        0 => {
            "no user has connected an account; `countersign auth users` lists users who have".into()
        }
        count if count > MAX_LISTED_USERS => {
            format!("{count} users have connected accounts; `countersign auth users` lists them")
        }
        _ => format!("users who have connected accounts: {}", named.join("; ")),
    };
    anyhow!(problem).context(Hint(hint))
}

fn ambiguous(callers: &[&Caller]) -> anyhow::Error {
    let all: Vec<String> = callers.iter().map(|caller| arguments(caller)).collect();
    let problem = format!("{} users have this id", callers.len());
    anyhow!(Usage(problem)).context(Hint(format!("write which: {}", all.join("; "))))
}

/// Formats a user's options: `--user ben --of my-app`.
fn arguments(caller: &Caller) -> String {
    let user = shown(caller.user.as_str(), MAX_NAME_CHARS);
    format!("--user {} --of {}", quoted(&user), quoted(&word(caller)))
}

/// The word that `--of` takes for this user's namespace.
pub(super) fn word(caller: &Caller) -> String {
    shown(caller.of(), MAX_NAME_CHARS)
}

fn is_namespace(of: &str, caller: &Caller) -> bool {
    let namespace = caller.namespace.as_str();
    let is_url = namespace.contains("://");
    of == namespace
        || of == word(caller)
        || (is_url
            && (of == "issuer" || of.trim_end_matches('/') == namespace.trim_end_matches('/')))
}

/// Lists the users and the providers that they have connected.
pub(super) async fn list<W: Write>(
    app: &App,
    local: &StoreOptions,
    as_json: bool,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let users = or_none(app.broker.users().all(&[local.caller()?]).await)?;
    let unnamed = unnamed(&users);
    let named = users.iter().filter_map(|user| Some((user.caller.as_ref()?, &user.grants)));
    if as_json {
        let users: Vec<_> = named
            .map(|(caller, grants)| {
                let of = word(caller);
                json!({ "user": caller.user, "of": of, "accounts": grants })
            })
            .collect();
        let shown = json!({ "version": 1, "users": users, "unnamed_accounts": unnamed });
        out.line(&serde_json::to_string_pretty(&shown)?)?;
        return Ok(Exit::Done);
    }
    if users.is_empty() {
        report::note("No user has connected an account.");
    }
    for (caller, grants) in named {
        let accounts: Vec<String> = grants
            .iter()
            .map(|(provider, count)| match count {
                1 => provider.to_string(),
                count => format!("{provider} ({count} accounts)"),
            })
            .collect();
        let user = shown(caller.user.as_str(), MAX_NAME_CHARS);
        let of = word(caller);
        out.line(&format!("{user} (of {of}): {}", accounts.join(", ")))?;
    }
    if unnamed > 0 {
        report::note(&format!(
            "{unnamed} more accounts were kept by an earlier version, which did not note whose they are; each is named once it is renewed or connected again, and `countersign auth revoke --all --user USER --of WHERE` finds those of a user whom you name"
        ));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserId;

    fn caller(namespace: &str) -> Caller {
        Caller { namespace: namespace.into(), user: UserId::new("ana") }
    }

    #[test]
    fn a_namespace_is_named_by_the_word_that_is_shown() {
        let issuer = "https://login.example.com/";
        for (of, namespace) in [
            ("local", "local"),
            ("my-app", "key:my-app"),
            ("key:my-app", "key:my-app"),
            ("key:local", "key:local"),
            ("issuer", issuer),
            ("https://login.example.com", issuer),
        ] {
            let caller = caller(namespace);
            assert!(is_namespace(of, &caller), "{of} {namespace}");
            assert!(is_namespace(&word(&caller), &caller), "{namespace}");
        }
        for (of, namespace) in [
            ("local", "key:local"),
            ("my-app", "key:my-app2"),
            ("issuer", "key:issuer2"),
            ("https://login.example.com", "key:https://login.example.com"),
        ] {
            assert!(!is_namespace(of, &caller(namespace)), "{of} {namespace}");
        }
    }
}
