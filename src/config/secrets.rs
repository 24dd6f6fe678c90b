//! Reads secrets: from the environment, files, commands and the keychain.
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
use super::secret_ref::written;
use crate::model::secret_ref::{SecretRef, Setting};

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

/// Returns the secret of a variable or a file, for a check; `None` if there is none, or only a program
/// could tell.
pub(crate) fn readable(reference: &SecretRef) -> Option<SecretString> {
    let read = match reference {
        SecretRef::Env(name) => variable(name).ok()?,
        SecretRef::File(path) => text(read_regular(path).ok()?, String::new).ok()?,
        SecretRef::Command(_) | SecretRef::Keyring(_) => return None,
    };
    cleaned(read, reference).ok()
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
    use crate::config::secret_ref::parse;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
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
