//! `allow` of a tool: who sees and calls it.

use super::super::file::server::AuthTable;
use super::super::findings::Findings;
use super::super::span::{At, Text};
use crate::model::UserId;
use crate::model::text::{nearest, shown};
use crate::model::tool::Allowed;

const CODE: &str = "tool::allow";
/// Characters of an entry that a hint repeats; the rest is cut.
const MAX_QUOTED_CHARS: usize = 60;

/// Facts about the callers on which the meaning of `allow` depends.
pub(super) struct Callers {
    /// Whether the server distinguishes callers, instead of one local user who may do everything.
    are_told_apart: bool,
    /// Whether there is an issuer that says which groups a caller is in.
    have_groups: bool,
    /// An application that could name one of its users like a user of an issuer or of another key.
    namesake: Option<String>,
}

impl Callers {
    pub(super) fn of(auth: Option<&AuthTable>) -> Self {
        let keys =
            || auth.and_then(|auth| auth.api_keys.as_ref()).into_iter().flat_map(|it| &it.value);
        let have_groups = auth.is_some_and(|auth| auth.issuer.is_some());
        let others = keys().count() > 1 || have_groups;
        let application = keys().filter(|key| key.user.is_none()).find_map(|key| key.name.as_ref());
        Self {
            are_told_apart: auth.is_some(),
            have_groups,
            namesake: application.filter(|_| others).map(|name| name.value.clone()),
        }
    }
}

pub(super) fn allow(
    list: &At<Vec<Text>>,
    callers: &Callers,
    find: &mut Findings<'_>,
) -> Vec<Allowed> {
    if !callers.are_told_apart {
        find.warning(CODE, &list.span, "`allow` has no effect without [server.auth]")
            .hint("say in [server.auth] who calls; one local user may call every tool");
    } else if list.value.is_empty() && !find.has_error_within(&list.span) {
        find.warning(CODE, &list.span, "nobody may call this tool").hint(
            "name a group or a person, e.g. `allow = [\"group:eng\"]`, or write `disabled = true`",
        );
    }
    list.value.iter().filter_map(|text| allowed(text, callers, find)).collect()
}

fn allowed(text: &Text, callers: &Callers, find: &mut Findings<'_>) -> Option<Allowed> {
    match text.value.split_once(':') {
        Some(("group", name)) => group(name, text, callers, find),
        Some(("user", id)) => user(id, text, callers, find),
        other => {
            let (word, name) = other.unwrap_or(("", text.as_str()));
            let name = shown(name, MAX_QUOTED_CHARS);
            let draft = find
                .error(CODE, &text.span, "this says neither that it is a group nor a person")
                .label("whose name is it?");
            match nearest(word, ["group", "user"]) {
                Some(near) => draft.hint(format!("did you mean `{near}:{name}`?")),
                None => draft.hint(format!(
                    "write `group:{name}` for everybody whom the issuer counts among it, `user:{name}` for one person"
                )),
            };
            None
        }
    }
}

fn group(name: &str, text: &Text, callers: &Callers, find: &mut Findings<'_>) -> Option<Allowed> {
    if name.is_empty() || name.trim() != name || name.chars().any(char::is_control) {
        find.error(CODE, &text.span, "`group:` wants a group's name, without space around it")
            .hint("e.g. `group:eng`, as the issuer's claim lists it");
        return None;
    }
    if callers.are_told_apart && !callers.have_groups {
        find.warning(CODE, &text.span, "nobody is in a group: holders of keys have none")
            .hint("name people with `user:ID`, or write the `issuer` in [server.auth] whose tokens list groups");
    }
    Some(Allowed::Group(name.to_owned()))
}

/// Reads `user:ID`. The server separates ids by the issuer or key that vouches for them, which
/// `user:` does not name.
fn user(id: &str, text: &Text, callers: &Callers, find: &mut Findings<'_>) -> Option<Allowed> {
    let id = match UserId::parse(id) {
        Ok(id) => id,
        Err(error) => {
            find.error(CODE, &text.span, error.to_string()).hint("e.g. `user:ana@example.com`");
            return None;
        }
    };
    if let Some(application) = &callers.namesake {
        find.error(
            CODE,
            &text.span,
            format!("the application `{application}` could name anybody so, and call this tool"),
        )
        .label("whose user is it?")
        .hint("allow a `group:` of the issuer, whom no application can name, or serve the application with a tools.toml of its own");
        return None;
    }
    Some(Allowed::User(id))
}
