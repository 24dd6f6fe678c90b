//! References to secrets: `env:NAME`, `keyring:NAME`, `file:/path`, `cmd:program args`.
//!
//! A reference is parsed when the file is loaded and resolved when the secret is needed, so that a
//! server starts without the secrets of tools that are never called.
//!
//! The platform's own program (`secret-tool`, `security`) reads the keychain, run by the same code
//! as `cmd:`. A library would bring a D-Bus client and its own cryptography into every start; and a
//! keychain that is locked over SSH and never answers is simply a command that timed out.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;

use super::environment;
use crate::model::secret_ref::{SecretRef, Setting};

/// Prefixes of references.
pub(crate) const SCHEMES: [&str; 4] = ["env:", "keyring:", "file:", "cmd:"];

/// Time limit for a command, which is then killed ([`SecretError::Slow`]).
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for a secret file, e.g. on a network drive that does not answer.
const FILE_TIMEOUT: Duration = Duration::from_secs(5);
/// Secret files read at a time; further reads wait. A read that hangs keeps its thread for good,
/// and name look-ups need threads of the same pool.
const MAX_CONCURRENT_READS: usize = 8;
static FILES: Semaphore = Semaphore::const_new(MAX_CONCURRENT_READS);
/// Size limit of a secret in bytes; more is refused. Above any secret, below most wrong files.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// Service name of the entries in the keychain.
const KEYCHAIN_SERVICE: &str = "countersign";

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

/// A reference that does not lead to a secret. Names the reference, never a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    #[error("the environment variable `{0}` holds the text `${{…}}` instead of a value")]
    Unexpanded(String),
    #[error("the secret file `{}` cannot be read", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    #[error("the secret file `{}` is no regular file", .0.display())]
    NotAFile(PathBuf),
    #[error("the secret file `{}` could not be read within {time} s", .0.display(), time = FILE_TIMEOUT.as_secs())]
    SlowFile(PathBuf),
    #[error("the command `{0}` cannot be run")]
    Command(String, #[source] std::io::Error),
    #[error("the command `{0}` failed ({1})")]
    Failed(String, std::process::ExitStatus),
    #[error("the command `{0}` gave no answer within {time} s", time = COMMAND_TIMEOUT.as_secs())]
    Slow(String),
    #[error("the keychain has no entry `{0}`")]
    NoEntry(String),
    #[error("this platform's keychain is not supported (`keyring:{0}`)")]
    NoKeychain(String),
    #[error("the secret at `{0}` is empty")]
    Empty(String),
    #[error("the secret at `{0}` holds a line break or another control character")]
    Control(String),
    #[error("the secret at `{0}` is no text, or longer than {max} KiB", max = MAX_SECRET_BYTES / 1024)]
    NotText(String),
}

impl SecretError {
    /// Returns the environment variable that is not set.
    pub(crate) fn variable(&self) -> Option<&str> {
        match self {
            Self::Unset(name) => Some(name),
            _ => None,
        }
    }

    /// Tells the operator how to fix this.
    pub fn hint(&self) -> String {
        match self {
            Self::Unset(name) => set_hint(name),
            Self::Unexpanded(name) => format!(
                "this MCP host does not fill in variables: write the value of {name} into its `env` entry"
            ),
            Self::File(..) => "create the file, readable by the server's user only".into(),
            Self::NotAFile(_) => {
                "name a regular file; folders, pipes, sockets and devices are not read, and `cmd:` runs a program".into()
            }
            Self::SlowFile(_) => "check the drive on which the file is".into(),
            Self::Command(..) => {
                "the program must be on the PATH of the server; there is no shell".into()
            }
            Self::Failed(..) | Self::Slow(..) => {
                "run the command in a terminal to see what it says; it must not ask anything".into()
            }
            Self::NoEntry(name) => format!(
                "store it: `secret-tool store --label=countersign service {KEYCHAIN_SERVICE} account {name}` (Linux) or `security add-generic-password -s {KEYCHAIN_SERVICE} -a {name} -w` (macOS)"
            ),
            Self::NoKeychain(_) => "use `env:`, `file:` or `cmd:` instead".into(),
            Self::Empty(_) | Self::Control(_) | Self::NotText(_) => {
                "it must be the secret and nothing else; one line break at its end is ignored"
                    .into()
            }
        }
    }
}

/// Tells the operator how to set variables.
pub(crate) fn set_hint(names: &str) -> String {
    format!(
        "set {names} where the server is started (an MCP host: under `env` in its entry for this server)"
    )
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

/// Resolves a reference to its secret, without a line break at its end.
///
/// # Errors
/// [`SecretError`] if there is no value, or the value cannot be a secret.
pub async fn resolve(reference: &SecretRef) -> Result<SecretString, SecretError> {
    cleaned(follow(reference).await?, reference)
}

/// Returns the text of a setting, resolved if it is a reference.
///
/// # Errors
/// [`SecretError`], as [`resolve`].
pub async fn resolve_setting(setting: &Setting) -> Result<String, SecretError> {
    match setting {
        Setting::Literal(text) => Ok(text.clone()),
        Setting::Secret(reference) => Ok(resolve(reference).await?.expose_secret().to_owned()),
    }
}

/// Resolves a reference to a secret of several lines: a PEM key or a service account's JSON.
///
/// # Errors
/// [`SecretError`] if there is no value.
pub async fn resolve_document(reference: &SecretRef) -> Result<SecretString, SecretError> {
    let document = SecretString::from(follow(reference).await?);
    if document.expose_secret().trim().is_empty() {
        return Err(SecretError::Empty(written(reference)));
    }
    Ok(document)
}

async fn follow(reference: &SecretRef) -> Result<String, SecretError> {
    match reference {
        SecretRef::Env(name) => variable(name),
        SecretRef::File(path) => read_file(path).await,
        SecretRef::Command(words) => run(words).await,
        SecretRef::Keyring(name) => ask_keychain(name).await,
    }
}

/// Returns why a reference leads to no secret, as far as known without running a program.
pub(crate) fn is_missing(reference: &SecretRef) -> Option<SecretError> {
    match reference {
        SecretRef::Env(name) => variable(name).err(),
        SecretRef::File(path) => match std::fs::metadata(path) {
            Ok(found) if found.is_file() => None,
            Ok(_) => Some(SecretError::NotAFile(path.clone())),
            Err(error) => Some(SecretError::File(path.clone(), error)),
        },
        SecretRef::Command(_) | SecretRef::Keyring(_) => None,
    }
}

fn variable(name: &str) -> Result<String, SecretError> {
    match environment::variable(name) {
        // Claude Code and others pass `${NAME}` on when NAME is not set; MCPB leaves it empty.
        Some(value) if value.starts_with("${") && value.ends_with('}') => {
            Err(SecretError::Unexpanded(name.into()))
        }
        Some(value) if !value.trim().is_empty() => Ok(value),
        _ => Err(SecretError::Unset(name.into())),
    }
}

async fn read_file(path: &Path) -> Result<String, SecretError> {
    let slow = || SecretError::SlowFile(path.into());
    let read = async {
        let place = FILES.acquire().await.map_err(|_| slow())?;
        let path = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || {
            let read = read_regular(&path);
            // Released only when the thread is free again, even if the caller has timed out.
            drop(place);
            read
        });
        // The process is about to end, or the thread panicked.
        reading.await.map_err(|_| slow())?
    };
    let bytes = tokio::time::timeout(FILE_TIMEOUT, read).await.map_err(|_| slow())??;
    text(bytes, || format!("file:{}", path.display()))
}

/// Reads a regular file, at most one byte more than a secret may have.
///
/// Opening a named pipe without a writer would block, hence `O_NONBLOCK`. The type of the opened
/// file is checked, because the path may lead to another file a moment later.
fn read_regular(path: &Path) -> Result<Vec<u8>, SecretError> {
    let failed = |error| SecretError::File(path.into(), error);
    let mut options = std::fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        options.custom_flags(flags.bits().cast_signed());
    }
    let file = match options.open(path) {
        Ok(file) => file,
        // A socket cannot be opened at all.
        Err(_) if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) => {
            return Err(SecretError::NotAFile(path.into()));
        }
        Err(error) => return Err(failed(error)),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(SecretError::NotAFile(path.into()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Converts bytes to text. An error contains none of the bytes.
fn text(bytes: Vec<u8>, reference: impl Fn() -> String) -> Result<String, SecretError> {
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(SecretError::NotText(reference()));
    }
    String::from_utf8(bytes).map_err(|_| SecretError::NotText(reference()))
}

async fn run(words: &[String]) -> Result<String, SecretError> {
    let program = words.first().cloned().unwrap_or_default();
    let failed = |error| SecretError::Command(program.clone(), error);
    let mut command = tokio::process::Command::new(&program);
    for variable in environment::KEY_VARIABLES {
        command.env_remove(variable);
    }
    let mut child = command
        .args(words.iter().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Some password managers repeat secrets in their error messages.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let answer = tokio::time::timeout(COMMAND_TIMEOUT, async {
        let mut bytes = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).await?;
        }
        if bytes.len() as u64 > MAX_SECRET_BYTES {
            // It may write forever; dropping `child` kills it.
            return Ok((bytes, None));
        }
        Ok((bytes, Some(child.wait().await?)))
    });
    let (bytes, status) = match answer.await {
        Ok(answer) => answer.map_err(failed)?,
        Err(_) => return Err(SecretError::Slow(program)),
    };
    match status {
        Some(status) if !status.success() => Err(SecretError::Failed(program, status)),
        _ => text(bytes, || format!("cmd:{program}")),
    }
}

async fn ask_keychain(name: &str) -> Result<String, SecretError> {
    let command: &[&str] = if cfg!(target_os = "macos") {
        &["security", "find-generic-password", "-s", KEYCHAIN_SERVICE, "-a", name, "-w"]
    } else if cfg!(unix) {
        &["secret-tool", "lookup", "service", KEYCHAIN_SERVICE, "account", name]
    } else {
        return Err(SecretError::NoKeychain(name.into()));
    };
    let words: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    match run(&words).await {
        Err(SecretError::Failed(..)) => Err(SecretError::NoEntry(name.into())),
        answer => answer,
    }
}

/// Removes the line break that editors and `echo` leave, and refuses values that are no secret.
fn cleaned(mut value: String, reference: &SecretRef) -> Result<SecretString, SecretError> {
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    // From here on the value is wiped when dropped, also if an error is returned.
    let length = value.len();
    let has_control = value.chars().any(char::is_control);
    let secret = SecretString::from(value);
    match () {
        () if length == 0 => Err(SecretError::Empty(written(reference))),
        () if has_control => Err(SecretError::Control(written(reference))),
        () => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

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

    #[test]
    fn a_file_is_its_text_without_the_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let read = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            block_on(resolve(&SecretRef::File(path.clone())))
        };
        assert_eq!(read(b"s3cret\r\n").unwrap().expose_secret(), "s3cret");
        assert!(matches!(read(b"\n"), Err(SecretError::Empty(_))));
        assert!(matches!(read(b"a\nb"), Err(SecretError::Control(_))));
        assert!(matches!(read(b"\xff"), Err(SecretError::NotText(_))));
        assert!(!read(b"hunter2\nx").unwrap_err().to_string().contains("hunter2"));
        std::fs::write(&path, "a\nb\n").unwrap();
        let document = || block_on(resolve_document(&SecretRef::File(path.clone())));
        assert_eq!(document().unwrap().expose_secret(), "a\nb\n");
        std::fs::write(&path, "\n \n").unwrap();
        assert!(matches!(document(), Err(SecretError::Empty(_))));
    }

    /// Opening or reading one of these could take forever.
    #[cfg(unix)]
    #[test]
    fn only_a_regular_file_is_a_secret_file() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        let devices = ["/dev/zero", "/dev/null", "/dev/tty"].map(PathBuf::from);
        let others = [folder.path().to_owned(), pipe.clone(), socket, link];
        for path in others.into_iter().chain(devices) {
            let reference = SecretRef::File(path.clone());
            let begun = tokio::time::Instant::now();
            let error = block_on(resolve(&reference)).unwrap_err();
            let is_told = match &error {
                SecretError::NotAFile(_) => true,
                // The test may run without a terminal.
                SecretError::File(..) => path.ends_with("tty"),
                _ => false,
            };
            assert!(is_told, "{}: {error}", path.display());
            assert!(begun.elapsed() < FILE_TIMEOUT, "{}", path.display());
            assert!(!error.hint().is_empty() && is_missing(&reference).is_some());
        }
        // Many reads at once occupy no threads: a later name look-up still gets one.
        block_on(async {
            let reference = SecretRef::File(pipe);
            let all = (0..600).map(|_| resolve(&reference));
            let all = futures_util::future::join_all(all).await;
            assert!(all.iter().all(|one| matches!(one, Err(SecretError::NotAFile(_)))));
            assert!(tokio::net::lookup_host("localhost:1").await.is_ok());
        });
        let target = folder.path().join("target");
        std::fs::write(&target, "s3cret").unwrap();
        std::fs::remove_file(folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join("link")).unwrap();
        let linked = block_on(resolve(&SecretRef::File(folder.path().join("link"))));
        assert_eq!(linked.unwrap().expose_secret(), "s3cret");
        std::fs::write(&target, vec![b'x'; 1 << 20]).unwrap();
        let large = block_on(resolve(&SecretRef::File(target)));
        assert!(matches!(large, Err(SecretError::NotText(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_writes_without_end_is_ended() {
        let begun = tokio::time::Instant::now();
        let error = block_on(resolve(&parse("cmd:cat /dev/zero").unwrap())).unwrap_err();
        assert!(matches!(error, SecretError::NotText(_)), "{error}");
        assert!(begun.elapsed() < COMMAND_TIMEOUT);
    }

    #[cfg(unix)]
    #[test]
    fn a_command_answers_or_says_how_it_failed() {
        let ask = |command: &str| block_on(resolve(&parse(command).unwrap()));
        assert_eq!(ask("cmd:echo 's3 cret'").unwrap().expose_secret(), "s3 cret");
        assert!(matches!(ask("cmd:false"), Err(SecretError::Failed(..))));
        assert!(matches!(ask("cmd:no-such-program-here"), Err(SecretError::Command(..))));
    }

    #[test]
    fn an_unset_variable_says_so() {
        let error =
            block_on(resolve(&SecretRef::Env("COUNTERSIGN_TEST_UNSET".into()))).unwrap_err();
        assert!(error.to_string().contains("COUNTERSIGN_TEST_UNSET"));
        assert!(error.hint().contains("COUNTERSIGN_TEST_UNSET"));
    }
}
