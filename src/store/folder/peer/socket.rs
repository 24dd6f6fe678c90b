//! The owner's socket: its location, and the check of the user at the other end.
//!
//! The socket lies in the data folder, which is private, if possible. A socket's path is short (108
//! bytes on Linux, 104 on macOS), and not every file system supports sockets. If the data folder
//! cannot hold it, the socket lies in a private folder of ours in the runtime directory. That may
//! be `/tmp`, so the folder's name is random and recorded in the data folder: another user cannot
//! take an unknown name in advance. The owner writes the socket's address into `store.lock`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::StreamCommon as _;
use interprocess::local_socket::traits::tokio::Stream as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, Name, ToFsName as _};
use sha2::{Digest as _, Sha256};

use secrecy::ExposeSecret as _;

use crate::model::secret;
use crate::store::private_file;

const SOCKET: &str = "store.sock";

/// File with the name of the folder in the runtime directory, if one was ever needed.
const RECORD: &str = "socket.folder";
const PREFIX: &str = "countersign-";

/// Location of a socket. On Windows it is a pipe, which lies in no folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(PathBuf);

impl Address {
    /// Returns the address as text for peers: the name alone if it lies in the data folder, which
    /// another process may see under another path. `None` if the path is not Unicode.
    pub(crate) fn written(&self, data: &Path) -> Option<&str> {
        match self.0.strip_prefix(data) {
            Ok(name) => name.to_str(),
            Err(_) => self.0.to_str(),
        }
    }

    pub(crate) fn read(written: &str, data: &Path) -> Self {
        Self(data.join(written))
    }

    /// Returns the one address of every owner of the folder, on systems where it is fixed
    /// (Windows).
    pub(crate) fn fixed(data: &Path) -> Option<Self> {
        let data = fs::canonicalize(data).ok()?;
        cfg!(windows).then(|| Self(PathBuf::from(format!(r"\\.\pipe\{}", name_of(&data)))))
    }

    pub(super) async fn connect(&self) -> io::Result<Stream> {
        let stream = Stream::connect(self.name()?).await?;
        if is_ours(&stream) { Ok(stream) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    fn name(&self) -> io::Result<Name<'_>> {
        self.0.as_path().to_fs_name::<GenericFilePath>()
    }
}

/// Listens in the data folder, or else in the runtime directory. The caller holds the folder's
/// lock, so a socket that is there already belongs to no process any more.
///
/// Call within a runtime.
pub(super) fn listen(data: &Path, runtime: &Path) -> io::Result<(Listener, Address)> {
    if let Some(fixed) = Address::fixed(data) {
        return bind(fixed);
    }
    bind(Address(data.join(SOCKET))).or_else(|error| {
        tracing::debug!(%error, "no socket in the data folder");
        bind(Address(beside(data, runtime)?.join(SOCKET)))
    })
}

/// Returns the private folder in the runtime directory for this data folder. Reuses the recorded
/// one, so that owners do not leave one folder each. Makes a new one if that is not usable, e.g.
/// because another user took its name after a reboot.
fn beside(data: &Path, runtime: &Path) -> io::Result<PathBuf> {
    let record = data.join(RECORD);
    let recorded = fs::read_to_string(&record).unwrap_or_default();
    if let Some(name) = recorded.strip_suffix('\n').filter(|name| is_own_name(name)) {
        let folder = runtime.join(name);
        if private_file::create_folder(&folder).and_then(|()| is_private(&folder)).unwrap_or(false)
        {
            return Ok(folder);
        }
    }
    private_file::create_folder(runtime)?;
    let name = format!("{PREFIX}{}", secret::random_ticket().expose_secret());
    let folder = runtime.join(&name);
    // Fails if the name is taken.
    private_file::create_new_folder(&folder)?;
    // The caller holds the folder's lock, so no other owner writes it at the same time.
    private_file::overwrite(&record, format!("{name}\n").as_bytes())?;
    Ok(folder)
}

fn is_private(folder: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(folder)?;
    Ok(metadata.is_dir()
        && private_file::is_ours(&metadata)
        && !private_file::is_exposed(&metadata))
}

fn is_own_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|random| {
        !random.is_empty() && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Returns a name that differs for every data folder.
fn name_of(canonical: &Path) -> String {
    let hash = Sha256::digest(canonical.as_os_str().as_encoded_bytes());
    hash.iter().take(8).fold(PREFIX.to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

fn bind(address: Address) -> io::Result<(Listener, Address)> {
    if cfg!(unix) {
        match fs::remove_file(&address.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let options = ListenerOptions::new().name(address.name()?);
    let listener = for_owner_only(options)?.create_tokio()?;
    #[cfg(unix)]
    fs::set_permissions(&address.0, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok((listener, address))
}

/// Gives all rights on a pipe to its owner only, with none inherited. A socket needs no such rule:
/// its folder keeps other users out.
#[cfg_attr(not(windows), expect(clippy::unnecessary_wraps, reason = "a pipe can be refused"))]
fn for_owner_only(options: ListenerOptions<'_>) -> io::Result<ListenerOptions<'_>> {
    #[cfg(windows)]
    {
        use interprocess::os::windows::local_socket::ListenerOptionsExt as _;
        use interprocess::os::windows::security_descriptor::SecurityDescriptor;
        let owner_only = widestring::u16cstr!("D:P(A;;GA;;;OW)");
        return Ok(options.security_descriptor(SecurityDescriptor::deserialize(owner_only)?));
    }
    #[cfg(not(windows))]
    Ok(options)
}

/// Returns the Unix socket, over which descriptors can be passed.
#[cfg(unix)]
pub(super) fn inner(stream: &Stream) -> &tokio::net::UnixStream {
    let Stream::UdSocket(stream) = stream;
    stream.inner()
}

/// Same-user check: whether the operating system reports this user at the other end.
#[cfg_attr(not(unix), expect(unused_variables))]
pub(super) fn is_ours(stream: &Stream) -> bool {
    #[cfg(unix)]
    return stream
        .peer_creds()
        .is_ok_and(|peer| peer.euid() == Some(rustix::process::geteuid().as_raw()));
    // The pipe's access rights ensure it.
    #[cfg(not(unix))]
    true
}
