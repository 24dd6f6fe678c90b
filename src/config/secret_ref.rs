//! References to secrets: `env:NAME`, `keyring:NAME`, `file:/path`, `cmd:program args`.
//!
//! A reference is parsed when the file is loaded and resolved ([`super::secrets`]) when the secret
//! is needed, so that a server starts without the secrets of tools that are never called.

use std::path::Path;

use super::environment;
use crate::model::secret_ref::SecretRef;

/// Prefixes of references.
pub(crate) const SCHEMES: [&str; 4] = ["env:", "keyring:", "file:", "cmd:"];

/// Reason why a string is not a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    #[error("a secret stands here as it is")]
    Literal,
    #[error("`env:` wants the name of a variable")]
    Variable,
    #[error("`env:` leads to no variable of Countersign's own")]
    Own,
    #[error("`file:` wants an absolute path")]
    File,
    #[error("`file:` finds no other user's home folder")]
    Home,
    #[error("`cmd:` wants a program and its arguments, quotes closed")]
    Command,
    /// A relative path starts in the working folder, which the MCP host chooses: a cloned
    /// repository could contain a program of that name.
    #[error("`cmd:` does not run what lies at a relative path")]
    Relative,
    #[error("`keyring:` wants the name of an entry")]
    Keyring,
}

impl RefError {
    /// Gives an example of a valid reference.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Literal | Self::Variable | Self::Own => "e.g. `env:GITHUB_CLIENT_SECRET`",
            Self::File | Self::Home => "e.g. `file:/run/secrets/github`",
            Self::Command => "e.g. `cmd:pass show github`",
            Self::Relative => {
                "write an absolute path, or the name of a program on the PATH; e.g. `cmd:/usr/local/bin/token github`"
            }
            Self::Keyring => "e.g. `keyring:github`",
        }
    }
}

/// Whether a string at least begins like a reference.
pub(crate) fn looks_like_one(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

/// Parses a reference.
///
/// # Errors
/// [`RefError`] if it is none. The error never contains the string, which may be the secret itself.
pub fn parse(text: &str) -> Result<SecretRef, RefError> {
    let Some((scheme, rest)) = text.split_once(':') else { return Err(RefError::Literal) };
    match scheme {
        // Otherwise the file could have the master key sent to a host that it names.
        "env" if is_our_own(rest) => Err(RefError::Own),
        "env" if is_variable_name(rest) => Ok(SecretRef::Env(rest.into())),
        "env" => Err(RefError::Variable),
        "file" => match environment::expanded(Path::new(rest)) {
            Ok(path) if path.is_absolute() => Ok(SecretRef::File(path)),
            Ok(_) => Err(RefError::File),
            Err(_) => Err(RefError::Home),
        },
        "cmd" => command(rest).map(SecretRef::Command),
        "keyring" if is_entry_name(rest) => Ok(SecretRef::Keyring(rest.into())),
        "keyring" => Err(RefError::Keyring),
        _ => Err(RefError::Literal),
    }
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a variable is Countersign's own. Ignores case, as Windows does.
fn is_our_own(name: &str) -> bool {
    name.to_ascii_uppercase().starts_with("COUNTERSIGN_")
}

fn is_entry_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Parses a program, by its name or absolute path, and its arguments. The meaning of arguments is
/// unknown, so only explicitly relative paths such as `./x` are refused.
fn command(text: &str) -> Result<Vec<String>, RefError> {
    let mut words = split_words(text).ok_or(RefError::Command)?;
    if words.iter().any(|word| is_explicitly_relative(word)) {
        return Err(RefError::Relative);
    }
    let program = words.first_mut().ok_or(RefError::Command)?;
    let path = environment::expanded(Path::new(program)).map_err(|_| RefError::Home)?;
    let is_name = matches!(
        path.components().collect::<Vec<_>>()[..],
        [std::path::Component::Normal(name)] if name == path.as_os_str()
    );
    if !is_name && !path.is_absolute() {
        return Err(RefError::Relative);
    }
    *program = path.into_os_string().into_string().map_err(|_| RefError::Command)?;
    Ok(words)
}

fn is_explicitly_relative(word: &str) -> bool {
    let mut parts = word.split(std::path::is_separator);
    matches!(parts.next(), Some("." | "..")) && parts.next().is_some()
}

/// Splits at white space; quotes hold words together. There is no shell, so no other character is
/// special. `None` if a quote is not closed or there is no program.
fn split_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (quote.is_none() && words.first().is_some_and(|program| !program.is_empty())).then_some(words)
}

/// Formats a reference as in `tools.toml`, but without the arguments of a command.
pub fn written(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Env(name) => format!("env:{name}"),
        SecretRef::File(path) => format!("file:{}", path.display()),
        // Arguments may contain the password of a password manager.
        SecretRef::Command(words) => format!("cmd:{}", words.first().map_or("", String::as_str)),
        SecretRef::Keyring(name) => format!("keyring:{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        assert_eq!(parse("env:A_1"), Ok(SecretRef::Env("A_1".into())));
        assert_eq!(parse("file:/a b"), Ok(SecretRef::File("/a b".into())));
        assert_eq!(parse("keyring:google"), Ok(SecretRef::Keyring("google".into())));
        let words = ["op", "read", "a b", ""].map(str::to_owned).to_vec();
        assert_eq!(parse("cmd:op  read 'a b' \"\""), Ok(SecretRef::Command(words)));
        for (text, program) in [
            ("cmd:/usr/bin/op read op://vault/item", "/usr/bin/op"),
            ("cmd:pass show mail/github .", "pass"),
            ("cmd:.hidden", ".hidden"),
        ] {
            let Ok(SecretRef::Command(words)) = parse(text) else { panic!("{text}") };
            assert_eq!(words[0], program);
        }
        let Ok(SecretRef::Command(words)) = parse("cmd:~/bin/token ~/x") else { panic!("~") };
        assert!(Path::new(&words[0]).is_absolute() && words[0].ends_with("/bin/token"));
        assert_eq!(words[1], "~/x", "there is no shell");
    }

    #[test]
    fn what_is_no_reference_is_a_literal_or_says_what_is_missing() {
        assert_eq!(parse("hunter2"), Err(RefError::Literal));
        assert_eq!(parse("abc:def"), Err(RefError::Literal));
        assert_eq!(parse("ENV:A"), Err(RefError::Literal));
        assert_eq!(parse("env:"), Err(RefError::Variable));
        assert_eq!(parse("env:1A"), Err(RefError::Variable));
        assert_eq!(parse("env:A B"), Err(RefError::Variable));
        assert_eq!(parse("env:COUNTERSIGN_KEY"), Err(RefError::Own));
        assert_eq!(parse("env:countersign_key"), Err(RefError::Own));
        assert_eq!(parse("file:secret"), Err(RefError::File));
        assert_eq!(parse("cmd: "), Err(RefError::Command));
        assert_eq!(parse("cmd:'a"), Err(RefError::Command));
        for relative in [
            "./token",
            "../token",
            "bin/token",
            ".",
            "..",
            "token/",
            "./a/../token",
            "'./to ken' x",
            "sh ./token",
            "sh -c ../token",
        ] {
            assert_eq!(parse(&format!("cmd:{relative}")), Err(RefError::Relative), "{relative}");
        }
        assert_eq!(parse("keyring:a/b"), Err(RefError::Keyring));
    }
}
