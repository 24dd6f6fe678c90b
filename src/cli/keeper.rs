//! `countersign keeper`, which this program starts itself ([`crate::app::keeper`]).

use std::io::{self, Read as _, Write as _};

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

use super::serve::ended;
use super::{Exit, run_async};
use crate::app::keeper::{KeeperOrder, READY_BYTE};
use crate::store::keeper::KeeperLock;

/// Maximum bytes of an order, which is some paths and a key; the rest is not read.
const MAX_ORDER_BYTES: u64 = 64 * 1024;

/// Runs the keeper.
///
/// # Errors
/// If this process was not started by a server (then it has changed nothing), the order cannot be
/// read, or there is a keeper already.
pub(super) fn run() -> anyhow::Result<Exit> {
    detach().context("this command is started by a server that has made a link, not by hand")?;
    let mut order = Zeroizing::new(Vec::new());
    io::stdin().take(MAX_ORDER_BYTES).read_to_end(&mut order)?;
    let order = KeeperOrder::read(&order).context("the order cannot be read")?;
    let Some(lock) = KeeperLock::take(order.data())? else { bail!("there is a keeper") };
    // Nothing is logged: standard error leads nowhere.
    run_async(async move {
        let ready = || {
            let mut starter = let_go_of_streams()?;
            starter.write_all(&[READY_BYTE])
        };
        order.app().keep(lock, ready, ended()).await?;
        Ok(Exit::Done)
    })
}

/// Leaves the host's session and process group, which the host ends as a whole.
fn detach() -> io::Result<()> {
    #[cfg(unix)]
    rustix::process::setsid()?;
    // Otherwise other programs see the name of the link by which it was started.
    #[cfg(target_os = "linux")]
    let _ = std::fs::write("/proc/self/comm", "countersign");
    Ok(())
}

/// Replaces the streams of the process that has started this one, and returns the last of them, for
/// the answer to that process.
fn let_go_of_streams() -> io::Result<Box<dyn io::Write>> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd as _;
        let starter = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let nothing = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&nothing)?;
        rustix::stdio::dup2_stdout(&nothing)?;
        Ok(Box::new(starter))
    }
    #[cfg(not(unix))]
    Ok(Box::new(io::stdout()))
}
