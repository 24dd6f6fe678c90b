//! `countersign serve --sse`: who may call, by configuration and arguments, or why the server does
//! not start.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::Context as _;
use url::Url;

use super::address::Address;
use super::token_file::{self, TokenFileError};
use super::{Serve, ended, started};
use crate::app::{Access, Http};
use crate::broker::events::TARGET as RECORD;
use crate::cli::report::{self, Hinted, Usage, hinted};
use crate::cli::store_options::Process;
use crate::cli::{Exit, Program, store_options};
use crate::config::Server;
use crate::config::server_auth::{self, AuthError};
use crate::identity::KeyError;
use crate::model::server_auth::ResolvedAuth;
use crate::store::KeySource;
use crate::web::http_origin;
use crate::web::port::local_peer::AllowedUsers;

pub(super) async fn serve(
    serve: &Serve,
    Address(address): Address,
    program: &Program,
) -> anyhow::Result<Exit> {
    let config = program.load()?;
    let plan = Plan::of(serve, address, &config.server).await?;
    if let Plan::Many(_) = plan {
        // The operator must see now what prevents links, before the first user needs one.
        report::warnings(&config);
    }
    let listener = bind(address)?;
    let bound = listener.local_addr()?;
    let origins = origins(bound, config.server.public_url.as_ref());
    let public = origins.first().filter(|_| matches!(plan, Plan::Many(_))).cloned();
    let (access, said) = plan.access(serve, public.as_deref())?;
    let allowed_users = match access {
        Access::Local(_) | Access::Token(..) => AllowedUsers::of_this_user(),
        Access::Many { .. } => AllowedUsers::Any,
    };
    let app = serve.local.server(config, &program.code, "serve --sse", public, Process::Service)?;
    let others = match (&access, allowed_users.is_enforced()) {
        (Access::Many { .. }, _) => "",
        (_, true) => "; other users of this machine are refused",
        (_, false) => "; other users of this machine cannot be told from you here",
    };
    if matches!(access, Access::Many { .. }) {
        // The operator provides its key; a wrong key must not wait for the first user.
        app.broker.store().await.map_err(hinted)?;
    }
    let authenticator = app.authenticator(access).map_err(hinted)?;
    report::note(&format!(
        "listening on http://{bound}/mcp (older clients: http://{bound}/sse); callers: {said}{others}"
    ));
    let http = Http { listener, authenticator, origins, allowed_users };
    started(&app, &said);
    let end = async {
        ended().await;
        tracing::info!(target: RECORD, "draining");
    };
    let served = app.serve_http(http, end).await;
    tracing::info!(target: RECORD, "ended");
    served.context("the port could not be served")?;
    Ok(Exit::Done)
}

/// Callers that the server accepts.
enum Plan {
    Local,
    Token,
    Many(Box<ResolvedAuth>),
}

impl Plan {
    /// Decides which callers the server accepts.
    ///
    /// # Errors
    /// If callers could not be told apart, or the arguments contradict the configuration.
    /// Everything that a server for many users lacks is reported at once; the last problem is the
    /// error.
    async fn of(serve: &Serve, address: SocketAddr, server: &Server) -> anyhow::Result<Self> {
        let is_local = address.ip().is_loopback();
        let Some(auth) = &server.auth else {
            if !is_local {
                return Err(hinted(Refusal::Exposed(address)));
            }
            if server.public_url.is_some() {
                return Err(hinted(Refusal::PublicWithoutAuth));
            }
            return Ok(if serve.token { Self::Token } else { Self::Local });
        };
        for (is_given, flag) in [(serve.token, "--token"), (serve.local.user.is_some(), "--user")] {
            if is_given {
                let problem = format!(
                    "`{flag}` is for a server of one person, and [server.auth] says who calls this one"
                );
                return Err(Usage(problem).into());
            }
        }
        let mut wants = Vec::new();
        if matches!(store_options::key_source()?, KeySource::Automatic(_)) {
            wants.push(hinted(Refusal::NoKey));
        }
        if !is_local && server.public_url.is_none() {
            wants.push(hinted(Refusal::NoPublicUrl(address)));
        }
        let auth = match server_auth::resolve(auth).await {
            Ok(auth) => auth,
            Err(errors) => {
                wants.extend(errors.into_iter().map(hinted));
                ResolvedAuth::default()
            }
        };
        let Some(last) = wants.pop() else { return Ok(Self::Many(Box::new(auth))) };
        wants.iter().for_each(report::failure);
        Err(last)
    }

    /// Returns the access and its description.
    fn access(self, serve: &Serve, public: Option<&str>) -> anyhow::Result<(Access, String)> {
        Ok(match self {
            Self::Local => (Access::Local(serve.local.caller()?), "one local user".into()),
            Self::Token => {
                let path = token_file::path()?;
                let token = token_file::read_or_make(&path).map_err(hinted)?;
                let said = format!("the bearer of the token in `{}`", path.display());
                (Access::Token(serve.local.caller()?, token), said)
            }
            Self::Many(auth) => {
                let resource = public.unwrap_or_default().parse::<Url>();
                let resource = resource.and_then(|origin| origin.join("/mcp"));
                let resource = resource.context("this server has no address")?;
                let said = format!("[server.auth]; public address {resource}");
                (Access::Many { auth, resource }, said)
            }
        })
    }
}

/// Returns the origin for each name of the server; browsers and links use the first.
fn origins(bound: SocketAddr, public: Option<&Url>) -> Vec<String> {
    let port = bound.port();
    let mut names = Vec::new();
    names.extend(public.map(|url| url.origin().ascii_serialization()));
    if bound.ip().is_loopback() || bound.ip().is_unspecified() {
        names.extend(["127.0.0.1", "localhost", "[::1]"].map(|host| http_origin(host, port)));
    } else {
        let host = match bound.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        names.push(http_origin(&host, port));
    }
    names
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| {
        hinted(match error.kind() {
            io::ErrorKind::AddrInUse => Refusal::Taken(address),
            io::ErrorKind::PermissionDenied => Refusal::NotAllowed(address),
            _ => Refusal::Unusable(address, error),
        })
    })
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("`{0}` can be reached from other machines, and nobody would be asked who they are")]
    Exposed(SocketAddr),
    #[error("`public_url` invites everybody, and nobody would be asked who they are")]
    PublicWithoutAuth,
    #[error(
        "the store of a server for many people needs a key that is kept elsewhere than beside it"
    )]
    NoKey,
    #[error("`{0}` can be reached from other machines, and it is not known by which name")]
    NoPublicUrl(SocketAddr),
    #[error("port {} of `{}` is taken by another program", .0.port(), .0.ip())]
    Taken(SocketAddr),
    #[error("port {} of `{}` is not this user's to listen on", .0.port(), .0.ip())]
    NotAllowed(SocketAddr),
    #[error("`{0}` cannot be listened on")]
    Unusable(SocketAddr, #[source] io::Error),
}

impl Hinted for Refusal {
    fn hint(&self) -> String {
        match self {
            Self::Exposed(address) => format!(
                "write [server.auth] in tools.toml, with an `issuer` or keys in [[server.auth.api_keys]]; or serve this machine alone, with `--sse :{}`",
                address.port()
            ),
            Self::PublicWithoutAuth => {
                "write [server.auth] in tools.toml, with an `issuer` or keys in [[server.auth.api_keys]]; or remove `public_url`".into()
            }
            Self::NoKey => {
                "set COUNTERSIGN_KEY to what `countersign key generate` prints, or COUNTERSIGN_KEY_FILE to a file that holds it".into()
            }
            Self::NoPublicUrl(_) => {
                "write in [server] where clients and browsers reach this server, e.g. `public_url = \"https://tools.example.com\"`".into()
            }
            Self::Taken(address) => format!(
                "end that program, or choose another port, e.g. `--sse {}`; port 0 takes a free one",
                SocketAddr::new(address.ip(), address.port().wrapping_add(1))
            ),
            Self::NotAllowed(_) => "choose a port from 1024 on, e.g. `--sse :8080`".into(),
            Self::Unusable(..) => {
                "choose an address of this machine, e.g. `--sse :8080`".into()
            }
        }
    }
}

impl Hinted for AuthError {
    fn hint(&self) -> String {
        self.hint()
    }
}

impl Hinted for KeyError {
    fn hint(&self) -> String {
        self.hint().into()
    }
}

impl Hinted for TokenFileError {
    fn hint(&self) -> String {
        self.hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_public_name_and_where_it_listens() {
        let of = |bound: &str, public: Option<&str>| {
            let public = public.map(|url| url.parse().unwrap());
            origins(bound.parse().unwrap(), public.as_ref())
        };
        let local = ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"];
        assert_eq!(of("127.0.0.1:8080", None), local);
        let public = "https://tools.example.com";
        let everywhere = of("0.0.0.0:8080", Some("https://tools.example.com:443/"));
        assert_eq!(everywhere, [&[public], &local[..]].concat());
        assert_eq!(of("10.0.0.7:80", Some(public)), [public, "http://10.0.0.7"]);
        assert_eq!(of("127.0.0.1:80", None)[0], "http://127.0.0.1");
    }
}
