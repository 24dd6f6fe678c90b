//! Shared by the commands that work on this machine's store: its user, folder and key.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::Program;
use super::report::{Hint, Usage};
use crate::app::keeper::KeeperLauncher;
use crate::app::{App, Links, Settings};
use crate::broker::code::CodeTools;
use crate::config::{Config, environment};
use crate::model::{Caller, Clock, UserId};
use crate::store::{DataFolder, KeySource, LazyStore};

#[derive(Clone, Debug, Default, Args)]
pub(super) struct StoreOptions {
    /// The end user, instead of COUNTERSIGN_USER or `default`.
    #[arg(long, value_name = "ID")]
    pub(super) user: Option<String>,
    /// The folder that keeps grants, instead of the platform's data folder.
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
}

impl StoreOptions {
    /// Returns the user of this machine.
    ///
    /// # Errors
    /// If the user id could not be told apart from another one on a page or in a log.
    pub(super) fn caller(&self) -> anyhow::Result<Caller> {
        let user = self.user.clone().or_else(environment::user);
        let user = user.unwrap_or_else(|| Caller::DEFAULT_USER.into());
        match UserId::parse(&user) {
            Ok(user) => Ok(Caller::local(user)),
            Err(problem) if self.user.is_some() => Err(Usage(problem.to_string()).into()),
            Err(problem) => Err(problem.into()),
        }
    }

    /// Assembles the app for a command. `purpose` names the command to other processes.
    pub(super) fn app(&self, config: Config, purpose: &'static str) -> anyhow::Result<App> {
        self.app_with(config, &CodeTools::default(), purpose)
    }

    /// Like [`Self::app`], for a command that runs tools.
    pub(super) fn app_with(
        &self,
        config: Config,
        code: &CodeTools,
        purpose: &'static str,
    ) -> anyhow::Result<App> {
        self.assemble(config, code, purpose, None, Process::Command)
    }

    /// Like [`Self::app_with`], for a server that all users' browsers reach at [`Settings::public`].
    pub(super) fn server(
        &self,
        config: Config,
        code: &CodeTools,
        purpose: &'static str,
        public: Option<String>,
        process: Process,
    ) -> anyhow::Result<App> {
        let address = config.server.listen_address.filter(|address| !address.is_loopback());
        if let (Some(address), None) = (address, &public) {
            tracing::warn!(
                %address,
                "links are listened for on `listen_address`, which other machines may reach; they still lead to 127.0.0.1, and anyone who reaches the address with a link can use it"
            );
        }
        self.assemble(config, code, purpose, public, process)
    }

    fn assemble(
        &self,
        config: Config,
        code: &CodeTools,
        purpose: &'static str,
        public: Option<String>,
        process: Process,
    ) -> anyhow::Result<App> {
        let clock = Clock::system();
        let data = folder(self.data.clone().or_else(|| config.store.clone()), purpose, &clock)?;
        let keys = key_source()?;
        let program = crate::upstream::jq::own_program();
        let is_kept = process != Process::Command && config.server.keeper && public.is_none();
        let keeper = is_kept.then(|| KeeperLauncher {
            program: program.clone(),
            environment: environment::for_keeper(),
            data: data.clone(),
            keys: keys.clone(),
        });
        let links = Links {
            keeper,
            end_with_process: process == Process::OfHost,
            is_short_lived: process == Process::Command,
        };
        let store = LazyStore::new(data, keys);
        let code = code.clone();
        Ok(App::new(config, Settings { store, clock, public, worker: program, links, code }))
    }
}

/// How long a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// Until it has done one thing.
    Command,
    /// Until its host ends it, which may be after one call.
    OfHost,
    /// Until an operator ends it.
    Service,
}

/// Which store, for commands that look at it as a whole.
#[derive(Clone, Debug, Args)]
pub(super) struct Place {
    /// The store's folder, instead of the one that tools.toml names or the platform's.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// A store's folder and the source of its master key.
pub(super) struct Whereabouts {
    pub(super) data: DataFolder,
    pub(super) keys: KeySource,
}

impl Place {
    /// Finds the store. `program` has the file that names the folder; with `--data` none is needed.
    /// `purpose` names this process to others.
    pub(super) fn find(
        self,
        program: &Program,
        purpose: &'static str,
    ) -> anyhow::Result<Whereabouts> {
        let data = match self.data {
            Some(data) => Some(data),
            None => program.load()?.store,
        };
        let data = folder(data, purpose, &Clock::system())?;
        Ok(Whereabouts { data, keys: key_source()? })
    }
}

impl Whereabouts {
    /// Returns the store for reading; nothing is written.
    pub(super) fn store(&self) -> anyhow::Result<LazyStore> {
        let lazy = self.store_to_change()?;
        lazy.only_look();
        Ok(lazy)
    }

    /// Returns the store, which must exist: no command on a store as a whole creates one.
    pub(super) fn store_to_change(&self) -> anyhow::Result<LazyStore> {
        let is_empty = match std::fs::read_dir(&self.data.path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if is_empty {
            bail!("there is no store at `{}`", self.data.path.display());
        }
        Ok(LazyStore::new(self.data.clone(), self.keys.clone()))
    }
}

fn folder(
    given: Option<PathBuf>,
    purpose: &'static str,
    clock: &Clock,
) -> anyhow::Result<DataFolder> {
    let path = given
        .or_else(environment::data_folder)
        .context("there is no home folder to keep grants in")
        .context(Hint("give one with `--data DIR`".into()))?;
    Ok(DataFolder {
        path: absolute(&path)?,
        runtime: environment::runtime_folder(),
        purpose,
        clock: clock.clone(),
    })
}

/// Returns the source of the master key: `COUNTERSIGN_KEY`, `COUNTERSIGN_KEY_FILE`, or our own file
/// in the configuration folder. A copy of the data folder thus does not contain its key.
pub(super) fn key_source() -> anyhow::Result<KeySource> {
    if let Some(key) = environment::key() {
        return Ok(KeySource::Given(key));
    }
    if let Some(path) = environment::key_file() {
        return Ok(KeySource::File(expanded(&path)?));
    }
    let folder = environment::config_folder()
        .context("there is no home folder to keep the store's key in")
        .context(Hint("set COUNTERSIGN_KEY or COUNTERSIGN_KEY_FILE".into()))?;
    Ok(KeySource::Automatic(folder.join("master.key")))
}

/// Returns the path with a leading `~/` replaced.
pub(super) fn expanded(path: &Path) -> anyhow::Result<PathBuf> {
    environment::expanded(path).map_err(|error| {
        let hint = Hint(error.hint().into());
        anyhow::Error::new(Usage(error.to_string())).context(hint)
    })
}

/// Makes a path absolute: hosts start us in a folder of their choice, and messages must name a path
/// that the user can find.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let path = &expanded(path)?;
    std::path::absolute(path).with_context(|| format!("`{}` is no usable path", path.display()))
}
