//! A whole server in this process, composed by [`countersign::app`] as the binary composes it, with
//! a clock that the test moves.
//!
//! Each room of tests adds its own vocabulary (`consent/world.rs`, `sign_in/world.rs`,
//! `identity/world.rs`), and what stands beside the server: a [`provider::Provider`], an issuer, browsers.

mod clock;
pub mod provider;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use countersign::app::{Access, App, Http, Links, Settings};
use countersign::broker::code::CodeTools;
use countersign::config::{self, Config};
use countersign::model::server_auth::ResolvedAuth;
use countersign::model::tool::{Piece, Template};
use countersign::store::{DataFolder, KeySource, LazyStore, MasterKey, Memory, Tables};
use countersign::web::port::local_peer::AllowedUsers;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub use clock::TestClock;

use super::free_port;

/// A tool that needs no account and that [`confirm_payments`] makes its user confirm; `origin` is
/// that of its API.
pub fn payments(origin: &str) -> String {
    format!(
        r#"
        [tools.pay]
        title       = "Pay"
        description = "Pays."
        request     = "POST {origin}/pay"
        [tools.pay.params]
        sum  = {{ type = "integer", description = "How much." }}
        to   = {{ type = "string", description = "To whom." }}
        note = {{ type = "string", description = "What for.", default = "lunch" }}
        "#
    )
}

/// Makes users confirm each call of a tool whose name begins with `pay`.
pub fn confirm_payments(config: &mut Config) {
    let param = |name: &str| Piece::Param(name.into());
    let pieces = ["Pay ".to_owned(), " to ".to_owned(), "?".to_owned()].map(Piece::Text);
    let [pay, to, end] = pieces;
    let question = Template(vec![pay, param("sum"), to, param("to"), end]);
    for tool in &mut config.tools {
        tool.confirm = tool.name.as_str().starts_with("pay").then(|| question.clone());
    }
}

pub struct World {
    pub app: Arc<App>,
    pub clock: TestClock,
    place: Place,
}

/// What a server's process finds on its machine, and the next one finds again.
struct Place {
    folder: TempDir,
    records: Records,
    key: SecretString,
    /// Scheme and host at which browsers reach the server; `None`: the loopback listener.
    public: Option<String>,
    /// The loopback listener's port. Each world has its own, so that tests that run at once do not
    /// wait for that of another one.
    port: u16,
    /// Sets what `tools.toml` has no key for yet.
    alter: fn(&mut Config),
    code: CodeTools,
}

enum Records {
    Memory(Memory),
    /// In the folder `data`.
    Folder,
}

impl World {
    /// A server over this `tools.toml`, whose store is in memory.
    pub fn new(clock: &TestClock, tools: &str) -> Self {
        Self::at(None, clock, tools)
    }

    /// Like [`Self::new`], at a public origin if one is given, e.g. `https://tools.example`.
    pub fn at(public: Option<&str>, clock: &TestClock, tools: &str) -> Self {
        Self::altered(public, clock, tools, |_| {})
    }

    /// Like [`Self::at`], with a configuration that `alter` changes after it is read.
    pub fn altered(
        public: Option<&str>,
        clock: &TestClock,
        tools: &str,
        alter: fn(&mut Config),
    ) -> Self {
        let code = CodeTools::default();
        Self::over(Records::Memory(Memory::default()), public, clock, tools, (alter, code))
    }

    /// Like [`Self::at`], with tools that are code.
    pub fn coded(public: Option<&str>, clock: &TestClock, tools: &str, code: CodeTools) -> Self {
        let memory = Records::Memory(Memory::default());
        Self::over(memory, public, clock, tools, (|_| {}, code))
    }

    /// Like [`Self::new`], with a data folder, for tests of its files and of several processes, and
    /// with a configuration that `alter` changes after it is read.
    pub fn in_folder(clock: &TestClock, tools: &str, alter: fn(&mut Config)) -> Self {
        Self::over(Records::Folder, None, clock, tools, (alter, CodeTools::default()))
    }

    /// Another process that shares the store and knows no tools, as a keeper does.
    pub fn keeper(&self) -> App {
        let settings = Settings {
            store: self.place.store(&self.clock),
            clock: self.clock.clock(),
            public: None,
            worker: env!("CARGO_BIN_EXE_countersign").into(),
            links: Links::default(),
            code: CodeTools::default(),
        };
        App::new(Config::default(), settings)
    }

    fn over(
        records: Records,
        public: Option<&str>,
        clock: &TestClock,
        tools: &str,
        (alter, code): (fn(&mut Config), CodeTools),
    ) -> Self {
        let place = Place {
            folder: tempfile::tempdir().expect("a temporary folder"),
            records,
            key: MasterKey::generate().to_base64(),
            public: public.map(str::to_owned),
            port: free_port(),
            alter,
            code,
        };
        fs::write(place.tools(), tools).expect("tools.toml can be written");
        let clock = clock.clone();
        Self { app: place.app(&clock), clock, place }
    }

    /// Like a restart with the same records, after `written` in `tools.toml` has become `instead`.
    pub async fn restarted(self, written: &str, instead: &str) -> Self {
        let Self { app, clock, place } = self;
        let tools = fs::read_to_string(place.tools()).expect("a tools.toml");
        assert!(tools.contains(written), "no `{written}` in tools.toml");
        fs::write(place.tools(), tools.replace(written, instead)).expect("it can be written");
        app.close().await;
        Self { app: place.app(&clock), clock, place }
    }

    /// The folder of a store that is not in memory.
    pub fn data(&self) -> PathBuf {
        self.place.data()
    }

    /// The tables of another process that shares the store.
    pub fn tables_of_a_peer(&self) -> Tables {
        self.place.store(&self.clock).into_tables().1
    }

    /// Access for many people, at the server's public origin.
    pub fn for_many(&self, auth: ResolvedAuth) -> Access {
        let public = self.place.public.as_deref().expect("a public origin");
        let resource = format!("{public}/mcp").parse().expect("a URL");
        Access::Many { auth: Box::new(auth), resource }
    }

    /// Serves MCP and the pages on a port of its own until the test ends, as `serve --sse` does;
    /// returns the port's address, e.g. `http://127.0.0.1:4711`.
    pub fn serve(&self, access: Access) -> String {
        self.serve_until(access, std::future::pending()).0
    }

    /// Like [`Self::serve`], until `end`. The task ends with the server.
    pub fn serve_until(
        &self,
        access: Access,
        end: impl Future<Output = ()> + Send + 'static,
    ) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("its address"));
        let (origin, allowed_users) = match (&access, &self.place.public) {
            (Access::Many { .. }, Some(public)) => (public, AllowedUsers::Any),
            _ => (&address, AllowedUsers::of_this_user()),
        };
        let origins = vec![origin.clone()];
        let authenticator = self.app.authenticator(access).expect("callers can be told apart");
        let http = Http { listener, authenticator, origins, allowed_users };
        let app = Arc::clone(&self.app);
        let served = async move { app.serve_http(http, end).await.expect("a port") };
        (address, tokio::spawn(served))
    }
}

impl Place {
    fn tools(&self) -> PathBuf {
        self.folder.path().join("tools.toml")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The store, as one more process has it.
    fn store(&self, clock: &TestClock) -> LazyStore {
        let (keys, clock) = (KeySource::Given(self.key.clone()), clock.clock());
        match &self.records {
            Records::Memory(memory) => LazyStore::in_memory(memory.clone(), keys, clock),
            Records::Folder => {
                let runtime = self.folder.path().join("run");
                let data = DataFolder { path: self.data(), runtime, purpose: "test", clock };
                LazyStore::new(data, keys)
            }
        }
    }

    fn app(&self, clock: &TestClock) -> Arc<App> {
        let config = config::load_with(&self.tools(), &self.code.declared());
        let mut config = config.unwrap_or_else(|problems| panic!("{problems}"));
        config.server.port.get_or_insert(self.port);
        (self.alter)(&mut config);
        let settings = Settings {
            store: self.store(clock),
            clock: clock.clock(),
            public: self.public.clone(),
            worker: env!("CARGO_BIN_EXE_countersign").into(),
            links: Links::default(),
            code: self.code.clone(),
        };
        Arc::new(App::new(config, settings))
    }
}
