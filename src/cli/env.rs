//! `countersign env`: the variables with which our clients and those of other products call this server.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::{Args, ValueEnum};

use super::serve::{Address, token_path};
use super::stdout::Stdout;
use super::{Exit, report};
use crate::config::Config;
use crate::model::secret_ref::SecretRef;
use crate::model::server_auth::{ApiKey, KeyHolder};
use crate::model::text::quoted;

/// Key for a server of one's own machine, which takes any. Clients do not start without one.
const ANY_KEY: &str = "countersign";

#[derive(Clone, Debug, Args)]
pub(super) struct Env {
    /// The product whose clients call.
    product: Product,
    /// The address that `serve --sse` was given.
    #[arg(long, visible_alias = "http", value_name = "ADDRESS", default_value = ":8080")]
    sse: Address,
    /// The server demands the token of `serve --token`.
    #[arg(long)]
    token: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Product {
    Arcade,
    Countersign,
    Portia,
}

impl Product {
    /// Names of the variables for the address and for the key.
    fn variables(self) -> (&'static str, &'static str) {
        match self {
            Self::Arcade => ("ARCADE_BASE_URL", "ARCADE_API_KEY"),
            Self::Countersign => ("COUNTERSIGN_URL", "COUNTERSIGN_API_KEY"),
            Self::Portia => ("PORTIA_API_ENDPOINT", "PORTIA_API_KEY"),
        }
    }
}

/// Prints two `export` lines for a POSIX shell. A key stays where it is kept: the line names its
/// variable, or the command that reads it.
pub(super) fn run<W: Write>(
    env: &Env,
    config: Option<&Config>,
    out: &mut Stdout<W>,
) -> anyhow::Result<Exit> {
    let (address, key) = env.product.variables();
    let auth = config.and_then(|config| Some((config, config.server.auth.as_ref()?)));
    let Some((config, auth)) = auth.filter(|_| !env.token) else {
        out.line(&format!("export {address}={}", quoted(&origin(env.sse.0))))?;
        let value = if env.token {
            from_command(&["cat".into(), token_path()?.to_string_lossy().into()])
        } else {
            ANY_KEY.to_owned()
        };
        out.line(&format!("export {key}={value}"))?;
        return Ok(Exit::Done);
    };
    let public = config.server.public_url.as_ref();
    let public = public.map_or_else(|| origin(env.sse.0), |url| url.origin().ascii_serialization());
    out.line(&format!("export {address}={}", quoted(&public)))?;
    let is_application = |key: &&ApiKey| matches!(key.holder, KeyHolder::Application(_));
    match auth.keys.iter().find(is_application).or(auth.keys.first()) {
        Some(held) => match reference(&held.key) {
            Some(value) => out.line(&format!("export {key}={value}"))?,
            None => report::note(&format!(
                "set {key} to the key `{}`, which is in the keychain of the server's operator",
                held.name
            )),
        },
        None => report::note(&format!("set {key} to an access token of the issuer")),
    }
    Ok(Exit::Done)
}

/// Returns the shell's expression for a secret; `None` if the shell cannot read it.
fn reference(key: &SecretRef) -> Option<String> {
    match key {
        SecretRef::Env(name) => Some(format!("\"${name}\"")),
        SecretRef::File(path) => Some(from_command(&["cat".into(), path.to_string_lossy().into()])),
        SecretRef::Command(words) => Some(from_command(words)),
        SecretRef::Keyring(_) => None,
    }
}

fn from_command(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    format!("\"$({})\"", words.join(" "))
}

/// Returns the origin at which this machine reaches a server that listens at `address`.
fn origin(address: SocketAddr) -> String {
    let mut address = address;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_and_not_shown() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        for (key, line) in [
            (SecretRef::Env("APP_KEY".into()), Some("\"$APP_KEY\"")),
            (SecretRef::File("/run/a b/key".into()), Some("\"$(cat '/run/a b/key')\"")),
            (SecretRef::Command(words(&["pass", "show", "app"])), Some("\"$(pass show app)\"")),
            (SecretRef::Keyring("app".into()), None),
        ] {
            assert_eq!(reference(&key).as_deref(), line);
        }
    }

    #[test]
    fn an_address_is_one_that_this_machine_reaches() {
        for (address, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(origin(address.parse().unwrap()), expected);
        }
    }
}
