//! Builds the next command to run, which works as printed.
//!
//! A command about another file, user or folder than the current one would be worse than none, so
//! it repeats the options that this process was given for them.

use std::path::PathBuf;

use super::store_options::StoreOptions;
use crate::model::AccountName;
use crate::model::text::quoted;

/// How this process was started.
#[derive(Clone, Debug)]
pub(super) struct NextCommand {
    program: String,
    config: Option<PathBuf>,
}

impl NextCommand {
    pub(super) fn new(config: Option<PathBuf>) -> Self {
        let program = std::env::args_os().next();
        let program =
            program.map_or_else(|| "countersign".into(), |name| name.to_string_lossy().into());
        Self { program, config }
    }

    /// Returns a command for the current file, e.g. `countersign tools list`.
    pub(super) fn command(&self, words: &[&str]) -> String {
        self.words(words, None)
    }

    /// Like [`Self::command`], and also for the current user and folder.
    pub(super) fn local(&self, words: &[&str], local: &StoreOptions) -> String {
        self.words(words, Some(local))
    }

    fn words(&self, words: &[&str], local: Option<&StoreOptions>) -> String {
        let mut all = vec![self.program.clone()];
        all.extend(words.iter().map(|&word| word.to_owned()));
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let options = [
            ("--config", self.config.as_ref().map(path)),
            ("--user", local.and_then(|local| local.user.clone())),
            ("--data", local.and_then(|local| local.data.as_ref().map(path))),
        ];
        for (option, value) in options {
            // `--user=-x`: a value that begins with a dash needs this form.
            match value {
                Some(value) if value.starts_with('-') => all.push(format!("{option}={value}")),
                Some(value) => all.extend([option.to_owned(), value]),
                None => {}
            }
        }
        all.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// Returns the words of `auth login` for an account.
pub(super) fn login(provider: &str, account: &AccountName) -> Vec<String> {
    let mut words: Vec<String> = ["auth", "login", provider].map(str::to_owned).into();
    if !account.is_default() {
        // In one word: a name may begin with a dash.
        words.push(format!("--account={account}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_is_about_the_same_file_person_and_folder() {
        let next_command =
            NextCommand { program: "countersign".into(), config: Some("my tools.toml".into()) };
        let local = StoreOptions { user: Some("-o'hara".into()), data: Some("/d".into()) };
        assert_eq!(
            next_command.local(&["auth", "login", "acme", "--scopes", "a:b,$(c)"], &local),
            r"countersign auth login acme --scopes 'a:b,$(c)' --config 'my tools.toml' '--user=-o'\''hara' --data /d"
        );
        assert_eq!(
            next_command.command(&["tools", "list"]),
            "countersign tools list --config 'my tools.toml'"
        );
    }
}
