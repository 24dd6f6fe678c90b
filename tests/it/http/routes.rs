//! The table of routes, repeated: each row, and what every kind of client gets at it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};

use countersign::web::routes::{Access, Body, Listener, ROUTES, Route, RouteMethod, Spelling};
use serde_json::json;

use super::wire::{Answer, POST, Served, open};

/// Every row, in the order of the table: method, path, access, ports, limit of the body, spelling.
const MIRROR: &str = "
    GET     /connect/{ticket}                         own-origin   L-KI  -      exact
    POST    /connect/{ticket}                         own-origin   L-KI  65536  exact
    GET     /oauth/callback/{provider}                own-origin   L-KI  -      exact
    GET     /confirm/{ticket}                         own-origin   L-KI  -      exact
    POST    /confirm/{ticket}                         own-origin   L-KI  65536  exact
    GET     /signin                                   own-origin   --KI  -      exact
    POST    /signin                                   own-origin   --KI  65536  exact
    GET     /signin/callback                          own-origin   --KI  -      exact
    GET     /signin/confirmed                         own-origin   --KI  -      exact
    POST    /signout                                  own-origin   --KI  65536  exact
    GET     /connections                              session      -PKI  -      exact
    POST    /connections                              session      -PKI  65536  exact
    POST    /v1/auth/confirm_user                     rest         -PKI  4096   slashes
    POST    /v1/connections                           rest-deposit -PKI  65536  slashes
    POST    /v1/token                                 rest         -PKI  65536  slashes
    GET     /v1/admin/user_connections                rest-admin   -PKI  -      exact
    DELETE  /v1/admin/user_connections                rest-admin   -PKI  -      exact
    DELETE  /v1/admin/user_connections/{id}           rest-admin   -PKI  -      exact
    GET     /api/v0/tools/descriptions-v2/            rest         -PKI  -      exact
    GET     /api/v0/tools/descriptions/               rest         -PKI  -      exact
    POST    /api/v0/tools/batch/ready/                rest         -PKI  65536  exact
    POST    /api/v0/tools/{id}/ready/                 rest         -PKI  65536  exact
    POST    /api/v0/tools/{id}/run/                   rest         -PKI  4194304 exact
    GET     /api/v0/end-user/{id}/                    rest         -PKI  -      exact
    PUT     /api/v0/end-user/{id}/                    rest         -PKI  65536  exact
    POST    /api/v0/plans/                            rest         -PKI  1500000 exact
    POST    /api/v0/plans/embeddings/search/          rest         -PKI  -      exact
    GET     /api/v0/plans/{id}/                       rest         -PKI  -      exact
    GET     /api/v0/plan-runs/                        rest         -PKI  -      exact
    GET     /api/v0/plan-runs/{id}/                   rest         -PKI  -      exact
    PUT     /api/v0/plan-runs/{id}/                   rest         -PKI  1500000 exact
    POST    /api/v0/tool-calls/                       rest         -PKI  1500000 exact
    GET     /api/v0/agent-memory/plan-runs/{run}/outputs/{name}/ rest -PKI -     exact
    PUT     /api/v0/agent-memory/plan-runs/{run}/outputs/{name}/ rest -PKI 1500000 exact
    GET     /api/v0/agent-memory/values/{ticket}/     ticket       -PKI  -      exact
    GET     /v1/health                                anyone       -PKI  -      slashes
    GET     /v1/tools                                 rest         -PKI  -      slashes
    GET     /v1/tools/{name}                          rest         -PKI  -      exact
    GET     /v1/formatted_tools                       rest         -PKI  -      slashes
    GET     /v1/formatted_tools/{name}                rest         -PKI  -      exact
    POST    /v1/tools/execute                         rest         -PKI  4194304 slashes
    POST    /v1/tools/authorize                       rest         -PKI  65536  slashes
    POST    /v1/auth/authorize                        rest         -PKI  65536  slashes
    GET     /v1/auth/status                           rest         -PKI  -      slashes
    POST    /v1/tools/requirements                    rest         -PKI  65536  slashes
    GET     /v1/admin/secrets                         rest-admin   -PKI  -      slashes
    POST    /v1/admin/secrets/{key}                   rest-admin   -PKI  65536  exact
    DELETE  /v1/admin/secrets/{key}                   rest-admin   -PKI  -      exact
    GET     /v1/admin/settings/session_verification   rest-admin   -PKI  -      slashes
    PUT     /v1/admin/settings/session_verification   rest-admin   -PKI  65536  slashes
    GET     /v1/admin/auth_providers                  rest-admin   -PKI  -      slashes
    POST    /v1/admin/auth_providers                  rest-admin   -PKI  65536  slashes
    GET     /v1/admin/auth_providers/{id}             rest-admin   -PKI  -      exact
    PATCH   /v1/admin/auth_providers/{id}             rest-admin   -PKI  65536  exact
    DELETE  /v1/admin/auth_providers/{id}             rest-admin   -PKI  -      exact
    GET     /v1/scheduled_tools                       rest         -PKI  -      slashes
    GET     /v1/scheduled_tools/{id}                  rest         -PKI  -      exact
    GET     /.well-known/oauth-protected-resource/mcp anyone       ---I  -      slashes
    OPTIONS /.well-known/oauth-protected-resource/mcp anyone       ---I  -      slashes
    GET     /.well-known/oauth-protected-resource     anyone       ---I  -      slashes
    OPTIONS /.well-known/oauth-protected-resource     anyone       ---I  -      slashes
    GET     /health                                   anyone       -PKI  -      slashes
    GET     /health/live                              anyone       -PKI  -      exact
    GET     /openapi.json                             anyone       -PKI  -      exact
    GET     /docs                                     own-origin   -PKI  -      exact
    ANY     /mcp                                      gate         -PKI  mcp    slashes
    GET     /sse                                      gate         -PKI  -      slashes
    POST    /messages                                 gate         -PKI  mcp    slashes
    ANY     /mcp/{gateway}                            gateway      -PKI  mcp    exact
";

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const SEALING: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const ANA: &str = "ana-key-0123456789abcdef0123456789";
const ADMIN: &str = "admin-key-0123456789abcdef0123456789";
const APP: &str = "app-key-0123456789abcdef0123456789";
/// The public host of the ports where users sign in.
const HOST: &str = "tools.example.com";

fn row(route: &Route) -> String {
    let method = match route.method {
        RouteMethod::Get => "GET",
        RouteMethod::Post => "POST",
        RouteMethod::Put => "PUT",
        RouteMethod::Patch => "PATCH",
        RouteMethod::Delete => "DELETE",
        RouteMethod::Options => "OPTIONS",
        RouteMethod::Any => "ANY",
    };
    let access = match route.access {
        Access::Anyone => "anyone",
        Access::OwnOrigin => "own-origin",
        Access::Session => "session",
        Access::Rest => "rest",
        Access::Ticket => "ticket",
        Access::RestAdmin => "rest-admin",
        Access::RestDeposit => "rest-deposit",
        Access::Gate => "gate",
        Access::Gateway => "gateway",
    };
    let ports = [
        (Listener::Loopback, 'L'),
        (Listener::OnePerson, 'P'),
        (Listener::Keys, 'K'),
        (Listener::Issuer, 'I'),
    ];
    let ports = ports.map(|(port, sign)| if route.listeners.contains(&port) { sign } else { '-' });
    let body = match route.body {
        Body::Unread => "-".to_owned(),
        Body::UpTo(bytes) => bytes.to_string(),
        Body::Mcp => "mcp".to_owned(),
    };
    let spelling = match route.spelling {
        Spelling::Exact => "exact",
        Spelling::ExtraSlashes => "slashes",
    };
    let ports = String::from_iter(ports);
    [method, route.path, access, &ports, &body, spelling].join(" ")
}

/// The rows of the mirror, with single spaces.
fn mirror() -> Vec<String> {
    let rows = MIRROR.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    rows.filter(|row| !row.is_empty()).collect()
}

#[test]
fn the_table_has_these_rows_and_no_others() {
    let rows: Vec<String> = ROUTES.iter().map(row).collect();
    assert_eq!(rows, mirror());
}

/// A client, by what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// No credentials, at the right host.
    Nobody,
    /// A key that the server does not know.
    Invented,
    /// The key of a user.
    User,
    /// The key of an application.
    Application,
    /// The key of an application that may administer.
    Administrator,
    /// The browser of a signed-in user.
    Browser,
    /// A request from another site's page, with a user's key and session.
    ForeignOrigin,
    /// A request for another host, with a user's key and session.
    ForeignHost,
}

const CLIENTS: [Client; 8] = [
    Client::Nobody,
    Client::Invented,
    Client::User,
    Client::Application,
    Client::Administrator,
    Client::Browser,
    Client::ForeignOrigin,
    Client::ForeignHost,
];

/// A port of one kind, and how its clients name it.
struct Port {
    /// `L`, `P`, `K` or `I`, as in the mirror.
    kind: char,
    address: String,
    host: String,
    /// The cookie of a signed-in user's browser.
    session: Option<String>,
}

impl Port {
    /// Returns the status alone: some answers are streams without an end.
    fn ask(&self, client: Client, method: &str, path: &str) -> u16 {
        let target = format!("{method} {}", path.replace(['{', '}'], "x"));
        let key = match client {
            Client::Nobody | Client::Browser => None,
            Client::Invented => Some("invented-0123456789abcdef0123456789"),
            Client::User | Client::ForeignOrigin | Client::ForeignHost => Some(ANA),
            Client::Application => Some(APP),
            Client::Administrator => Some(ADMIN),
        };
        let bearer = key.map(|key| format!("Bearer {key}"));
        let has_session = !matches!(
            client,
            Client::Nobody
                | Client::Invented
                | Client::User
                | Client::Application
                | Client::Administrator
        );
        let cookie = self.session.as_deref().filter(|_| has_session);
        let host = if client == Client::ForeignHost { "evil.example" } else { &self.host };
        let origin = (client == Client::ForeignOrigin).then_some("https://evil.example");
        let mut headers = vec![("Host", host), ("Connection", "close"), POST[0], POST[1]];
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        headers.extend(cookie.map(|cookie| ("Cookie", cookie)));
        headers.extend(origin.map(|origin| ("Origin", origin)));
        let mut line = String::new();
        BufReader::new(open(&self.address, &target, &headers, b"")).read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("{target} {client:?}: {line:?}"))
    }

    /// The statuses that the table promises.
    fn promised(&self, client: Client, method: &str, path: &str) -> &'static [u16] {
        let rows: Vec<Vec<String>> = mirror()
            .iter()
            .map(|row| row.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .filter(|row| row[1] == path && row[3].contains(self.kind))
            .collect();
        let has = |method: &str| rows.iter().any(|row| row[0] == method || row[0] == "ANY");
        // HEAD is GET without a body (RFC 9110 §9.3.2).
        let is_taken = has(method) || (method == "HEAD" && has("GET"));
        let access = rows.first().map_or("none", |row| row[2].as_str());
        match access {
            "anyone" if is_taken => &[200, 204, 503],
            "rest" | "rest-admin" | "rest-deposit" if is_taken => match client {
                _ if method == "HEAD" => &[405],
                Client::ForeignHost => &[421],
                Client::Nobody | Client::Browser => &[401],
                Client::Invented if self.kind != 'P' => &[401],
                Client::Administrator if self.kind != 'P' => &[200, 204, 400, 404],
                Client::Application if self.kind != 'P' && access == "rest" => &[200, 400, 404],
                Client::ForeignOrigin => &[403],
                // No right to administer or deposit, or no application that confirms browsers.
                _ if access.starts_with("rest-") || path == "/v1/auth/confirm_user" => &[403],
                // A person's key names no other user.
                Client::User if path.contains("/end-user/") && self.kind != 'P' => &[400, 403],
                _ => &[200, 400, 404],
            },
            "ticket" if is_taken => match client {
                _ if method == "HEAD" => &[405],
                Client::ForeignHost => &[421],
                Client::ForeignOrigin => &[403],
                _ => &[404],
            },
            "anyone" | "rest" | "ticket" | "rest-admin" | "rest-deposit" => &[405],
            "gate" | "gateway" => self.promised_by_gate(client, method, path, is_taken),
            // Pages, and what is at no address of this port.
            _ => match (client, method) {
                (Client::ForeignHost, _) => &[421],
                (_, "HEAD") => &[405],
                (Client::ForeignOrigin, "POST") => &[403],
                _ if access == "none" => &[404],
                _ if !is_taken => &[405],
                _ if access == "session" && !self.is_signed_in(client) => &[303],
                (_, "GET") if access == "session" => &[200],
                // No form has the token of our own pages here.
                (_, "POST") => &[403],
                // A signed-in browser goes on; an unknown link or an incomplete answer does not.
                _ => &[200, 303, 400, 410],
            },
        }
    }

    fn promised_by_gate(
        &self,
        client: Client,
        method: &str,
        path: &str,
        is_taken: bool,
    ) -> &'static [u16] {
        let is_for_one = self.kind == 'P';
        match client {
            _ if method == "HEAD" => &[405],
            Client::ForeignHost => &[421],
            Client::ForeignOrigin => &[403],
            Client::Nobody | Client::Invented | Client::Browser if !is_for_one => &[401],
            // The issuer's port knows keys too. An application has to name its user in a header.
            Client::Application | Client::Administrator if !is_for_one => &[400, 401],
            _ if !is_taken && path.contains('{') => &[404],
            _ if !is_taken => &[405],
            _ if path == "/sse" => &[200],
            // No message of MCP is in these requests.
            _ => &[400, 404, 405, 406, 415],
        }
    }

    /// Whether this client's requests carry a session, or need none.
    fn is_signed_in(&self, client: Client) -> bool {
        let is_browser = matches!(client, Client::Browser | Client::ForeignOrigin);
        self.kind == 'P' || (is_browser && self.session.is_some())
    }

    /// Sends every client with every method to every path.
    fn walk(&self) {
        let rows = mirror();
        let paths: BTreeSet<&str> = rows.iter().map(|row| row.split(' ').nth(1).unwrap()).collect();
        let mut wrong = Vec::new();
        for path in paths.into_iter().chain(["/", "/nothing"]) {
            for method in METHODS {
                for client in CLIENTS {
                    let promised = self.promised(client, method, path);
                    let status = self.ask(client, method, path);
                    if !promised.contains(&status) {
                        wrong.push(format!(
                            "{} {method} {path} {client:?}: {status}, not {promised:?}",
                            self.kind
                        ));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// A port where users sign in.
fn many(auth: &str) -> Served {
    let tools = format!(
        r#"
        [server]
        public_url = "https://{HOST}"
        {auth}
        [[server.auth.api_keys]]
        name = "ana"
        key  = "env:ANA_KEY"
        user = "ana"
        [[server.auth.api_keys]]
        name = "app"
        key  = "env:APP_KEY"
        [[server.auth.api_keys]]
        name    = "admin"
        key     = "env:ADMIN_KEY"
        admin   = true
        deposit = true
        "#
    );
    Served::start(&tools, |command| {
        command.env("COUNTERSIGN_KEY", SEALING);
        command.env("ANA_KEY", ANA).env("APP_KEY", APP).env("ADMIN_KEY", ADMIN)
    })
}

/// Signs a browser in with ana's key; returns its cookie.
fn session(served: &Served) -> String {
    let cookie = |answer: &Answer| {
        let set = answer.header("set-cookie").unwrap_or_else(|| panic!("{answer:?}"));
        set.split(';').next().unwrap().to_owned()
    };
    let page = served.ask("GET /signin", &[("Host", HOST)], b"");
    let first = cookie(&page);
    let token = page.body.split("name=\"csrf\" value=\"").nth(1).expect("a token");
    let form = format!("key={ANA}&csrf={}", token.split('"').next().unwrap());
    let headers =
        [("Host", HOST), ("Cookie", &first), ("Content-Type", "application/x-www-form-urlencoded")];
    let signed_in = served.ask("POST /signin", &headers, form.as_bytes());
    assert_eq!(signed_in.status, 303, "{signed_in:?}");
    cookie(&signed_in)
}

#[test]
fn a_port_of_one_person_keeps_the_promises_of_the_table() {
    let served = Served::over("");
    let (address, host) = (served.address.clone(), served.address.clone());
    Port { kind: 'P', address, host, session: None }.walk();
}

#[test]
fn a_port_with_keys_keeps_the_promises_of_the_table() {
    let served = many("");
    let session = Some(session(&served));
    Port { kind: 'K', address: served.address.clone(), host: HOST.into(), session }.walk();
}

#[test]
fn a_port_with_an_issuer_keeps_the_promises_of_the_table() {
    // Port 9 discards: the issuer does not answer, and no browser signs in.
    let served = many("[server.auth]\nissuer = \"http://127.0.0.1:9\"\nclient_id = \"us\"");
    Port { kind: 'I', address: served.address.clone(), host: HOST.into(), session: None }.walk();
}

#[test]
fn the_loopback_listener_keeps_the_promises_of_the_table() {
    let served = Served::over(CONNECTABLE);
    // The listener opens with the first link.
    let call =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "read" } });
    let session = served.session(&[]);
    let prompt = served.post(&[("Mcp-Session-Id", &session)], &call);
    let (_, link) = prompt.body.split_once("http://").unwrap_or_else(|| panic!("{prompt:?}"));
    let address = link.split('/').next().unwrap().to_owned();
    assert!(address != served.address && link.contains("/connect/"), "{link}");
    Port { kind: 'L', host: address.clone(), address, session: None }.walk();
}

const CONNECTABLE: &str = r#"
    [providers.acme]
    client_id = "us"
    base_url  = "https://api.acme.example"
    [providers.acme.oauth]
    authorize_url = "https://login.acme.example/authorize"
    token_url     = "https://login.acme.example/token"
    loopback      = "any-port"

    [tools.read]
    description = "Reads."
    provider    = "acme"
    request     = "GET /notes"
"#;
