//! `[server]`, `[server.auth]` and `[store]`.

use super::super::read::table;
use super::super::span::{At, Text};

table! {
    /// The server as a whole.
    ServerTable {
        /// The name that hosts show. Default: `countersign`.
        "name" => name: Text,
        /// Instructions for the model about all tools together.
        "instructions" => instructions: Text,
        /// URL at which browsers reach this server, e.g. `https://tools.example.com`; with [server.auth]. Default: its loopback address.
        "public_url" => public_url: Text,
        /// URL to which a browser goes after a consent. Default: a page of this server.
        "after_connect" => after_connect: Text,
        /// How a call that needs a consent tells its client: `auto` is URL elicitation if the client declares it, else a text with the link; `text` is always that text; `result` is that text without `isError`, except for tools with `output`. Default: `auto`, unless the client's URL is `/mcp?consent=text` or `/mcp?consent=result`, which has no effect if this key is set.
        #[schemars(extend("enum" = ["auto", "text", "result"]))]
        "consent" => consent: Text,
        /// Longest tool output in characters, cut at array items. Default: 40000.
        "max_chars" => max_chars: At<i64>,
        /// Private addresses that hosts learnt from outside may have, e.g. `10.1.0.0/16`.
        "allow_private" => allow_private: Vec<Text>,
        /// The port of the loopback listener for connect links. Default: 8971.
        "port" => port: At<i64>,
        /// The address that the listener for connect links listens on, e.g. `0.0.0.0` in a container that publishes its port; links still lead to 127.0.0.1. Default: 127.0.0.1.
        "listen_address" => listen_address: Text,
        /// Authentication of callers, for a server with many users. Default: one local user.
        "auth" => auth: AuthTable,
        /// Addresses of the proxies in front of this server, e.g. `10.0.0.7`, whose X-Forwarded-For is believed. List proxies only: a client at such an address can claim to be at any other. Default: none.
        "trusted_proxies" => trusted_proxies: Vec<Text>,
        /// Further host names under which clients call /mcp, e.g. `countersign` or `countersign:8080`; with [server.auth]. Pages stay at `public_url`.
        "allowed_hosts" => allowed_hosts: Vec<Text>,
        /// Origins whose scripts may call /mcp, e.g. `https://chat.example.com` or `vscode-webview://*`; with [server.auth].
        "allowed_origins" => allowed_origins: Vec<Text>,
        /// Whether a background process answers open links after the server that made them has ended; it ends with the last link. Default: true.
        "keeper" => keeper: At<bool>,
    }
    later { "mode" }
}

table! {
    /// Callers of a server with many users: users of an issuer, holders of keys, or both.
    AuthTable {
        /// An OpenID provider whose access tokens are accepted, e.g. `https://login.example.com`, written exactly as the provider writes it; browsers sign in there.
        "issuer" => issuer: Text,
        /// Audience of access tokens. Default: the URL of /mcp.
        "audience" => audience: Text,
        /// Clients, by `client_id`, whose access tokens are accepted without an `aud`: for issuers like Cognito. The token must also say `token_use = "access"` or be of type `at+jwt`. Default: none.
        "allowed_clients" => allowed_clients: Vec<Text>,
        /// Scopes that clients are told to request from the issuer. Default: `openid`.
        "scopes" => scopes: At<Vec<Text>>,
        /// Client id of this server at the issuer, or a reference to it (`env:NAME`), with which browsers sign in.
        "client_id" => client_id: Text,
        /// A reference to the secret of that client: `env:NAME`, `keyring:NAME`, `file:/path` or `cmd:program args`.
        "client_secret" => client_secret: Text,
        /// The claim of access and ID tokens that names a person. Default: `sub`.
        "user_claim" => user_claim: Text,
        /// The claim of access tokens that lists a person's groups, for `allow` of tools. Default: `groups`.
        "groups_claim" => groups_claim: Text,
        /// Whether the issuer is asked about access tokens that are not JWTs (RFC 7662). Default: false.
        "introspect" => introspect: At<bool>,
        /// Seconds for which the issuer's answer about such a token is cached, and thus the longest delay until its revocation is noticed: 0 to 3600. Default: 60.
        "introspection_cache" => introspection_cache: At<i64>,
        /// Static keys, each of one person or of an application that names its end users.
        "api_keys" => api_keys: At<Vec<CallerKeyTable>>,
    }
}

table! {
    /// A key for calls: one person's with `user`, else an application's.
    CallerKeyTable {
        /// Name of the key in logs. It separates the key's users from those of other keys.
        #[schemars(required)]
        "name" => name: Text,
        /// A reference to the key: `env:NAME`, `keyring:NAME`, `file:/path` or `cmd:program args`.
        #[schemars(required)]
        "key" => key: Text,
        /// The person whose key it is.
        "user" => user: Text,
        /// The application's page that confirms who opened a connect link, e.g. `https://app.example.com/verify`.
        "verifier_url" => verifier_url: Text,
        /// When the application confirms who opened a link: `before` the browser is shown a page (default), or `after` the provider, as Arcade does.
        #[schemars(extend("enum" = ["before", "after"]))]
        "confirm" => confirm: Text,
        /// Whether the application may use the routes under `/v1/admin`: its users' connections, and its own providers and secrets. Default: false.
        "admin" => admin: At<bool>,
        /// Whether the application is given its users' access tokens. Default: false.
        "tokens" => tokens: At<bool>,
        /// Whether the application may move in tokens that its users consented to elsewhere, with `POST /v1/connections`. Default: false.
        "deposit" => deposit: At<bool>,
        /// Origins, beside that of `verifier_url`, to which the application may send a browser after a consent, e.g. `https://app.example.com`.
        "next_uris" => next_uris: Vec<Text>,
    }
}

table! {
    /// The store for grants.
    StoreTable {
        /// `sled:` for the platform's data folder, or `sled:/path`.
        "url" => url: Text,
        /// How long grants are kept: `refresh` (default), `no_refresh` (the refresh token is not kept) or `use_once` (deleted after one call).
        #[schemars(extend("enum" = ["refresh", "no_refresh", "use_once"]))]
        "retention" => retention: Text,
        /// Days for which what Portia's clients store (plans, runs, end users) is kept after its last change: 1 to 3650. Default: 30.
        "keep_runs" => keep_runs: At<i64>,
    }
}
