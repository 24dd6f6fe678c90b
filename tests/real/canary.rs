//! A canary in place of every secret, and a search for each of them after every possible event, at
//! the most verbose log level.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Dialect, Held, Home, Search, Server, Visit, Way, World, contents, hex, paste, request,
};
use crate::support::process::keepers;

const MASTER_KEY: [u8; 32] = *b"canary of the master key \x01\x02\xf3\xe4\xd5\xc6\xb7";
const CLIENT_SECRET: &str = "canary-client+secret/with:signs%25";
const API_KEY: &str = "canary-api-key+0123/456789:abc";

/// A user's own key. It opens nothing: the echo accepts any key.
const PASTED_KEY: &str = "canary-pasted-key+0123/456789:abc";

/// Everything that is searched, besides the files on disk.
struct Seen {
    world: World,
    /// The API that takes a key.
    keyed: World,
    /// The API that takes each user's own key.
    own: World,
    home: Home,
    /// Standard output, and the answers of tools and commands.
    output: String,
    cookies: Vec<String>,
}

impl Seen {
    fn new() -> Self {
        let client = json!({
            "client_id": "web-basic",
            "client_secret": CLIENT_SECRET,
            "auth": "client_secret_basic",
            "any_port": true,
        });
        let canaries = json!({
            "access_token": "canary-access-",
            "refresh_token": "canary-refresh-",
            "code": "canary-code-",
        });
        let world = World::with(&json!({"clients": [client], "canary": canaries}), json!({}));
        // Sends the key back in every encoding, besides the request itself.
        let echoing = |key: &str| {
            let again = [STANDARD.encode(key), hex(key.as_bytes()), key.to_owned()];
            World::with(&json!({}), json!({"echo_extra": {"again": again}}))
        };
        let (keyed, own) = (echoing(API_KEY), echoing(PASTED_KEY));
        let tools = format!("{}\n{}", world.tools(), keyed_tools(keyed.api(), own.api()))
            .replace("client_id ", "accounts = true\nscopes = [\"openid\"]\nclient_id ");
        let home = Home::new(&tools)
            .with("COUNTERSIGN_KEY", &STANDARD.encode(MASTER_KEY))
            .with("NOTES_CLIENT_SECRET", CLIENT_SECRET)
            .with("WEATHER_KEY", API_KEY)
            .with("COUNTERSIGN_LOG", "trace");
        Self { world, keyed, own, home, output: String::new(), cookies: Vec::new() }
    }

    fn visit(&self, link: &str) -> Visit {
        Visit::to(link).keeping_pages(&self.home.path("pages"))
    }

    fn hold(&mut self, link: &str) -> Held {
        let held = self.visit(link).hold();
        let (_, value) = held.cookie.split_once('=').unwrap();
        self.cookies.push(value.into());
        held
    }

    /// Ends a server and records everything that it said.
    fn end(&mut self, server: Server) {
        let (_, heard) = server.close();
        for message in heard {
            self.output.push_str(&message.to_string());
            self.output.push('\n');
        }
    }

    fn page(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) {
        let reply = request(method, url, headers, "");
        self.output.push_str(&reply.body);
        self.output.push('\n');
    }

    fn issued(&self, kind: &str) -> Vec<String> {
        let issued = self.world.issued();
        let all = issued[kind].as_array().unwrap_or_else(|| panic!("{kind}: {issued}")).clone();
        all.iter().filter_map(Value::as_str).map(Into::into).collect()
    }

    /// Returns a search for all that must not be seen.
    fn search(&self) -> Search {
        let mut search = Search::default();
        search.add("the master key", &MASTER_KEY);
        search.add("the master key as given", STANDARD.encode(MASTER_KEY).as_bytes());
        search.add("the client secret", CLIENT_SECRET.as_bytes());
        search.add("the API key", API_KEY.as_bytes());
        search.add("the pasted key", PASTED_KEY.as_bytes());
        for kind in
            ["access_tokens", "refresh_tokens", "codes", "id_tokens", "states", "code_verifiers"]
        {
            let all = self.issued(kind);
            assert!(all.len() > 2, "{kind}: too few to be a test");
            for (at, secret) in all.iter().enumerate() {
                search.add(&format!("{kind} {at}"), secret.as_bytes());
            }
        }
        for cookie in &self.cookies {
            search.add("a cookie", cookie.as_bytes());
        }
        search
    }

    /// Returns which secret stands where: in the output, the log, the pages, or a file below HOME.
    fn leaks(&self, search: &Search) -> Vec<String> {
        let mut places = vec![("the output".to_owned(), self.output.clone().into_bytes())];
        for name in ["stderr.log", "pages"] {
            places.push((name.into(), fs::read(self.home.path(name)).unwrap()));
        }
        // The last server has ended, and its keeper must not change a file while it is read.
        keepers::end_all(&self.home.path("home"));
        for (file, content) in contents(&self.home.path("home")) {
            places.push((file.display().to_string(), content));
        }
        places
            .iter()
            .inspect(|(place, content)| assert!(!content.is_empty() || place.contains("home")))
            .flat_map(|(place, content)| {
                search.find(content).into_iter().map(move |name| format!("{name}, in {place}"))
            })
            .collect()
    }
}

fn keyed_tools(api: &str, own: &str) -> String {
    let tool = |name: &str, provider: &str, request: &str| {
        format!(
            "[tools.{name}]\ndescription = \"x\"\nprovider = \"{provider}\"\n\
             request = \"{request}\"\n"
        )
    };
    let mut text = format!(
        r#"
[providers.weather]
base_url = "{api}"
api_key  = {{ query = "appid", value = "env:WEATHER_KEY" }}
[providers.weather_header]
base_url = "{api}"
api_key  = {{ header = "X-Key", prefix = "Key ", value = "env:WEATHER_KEY" }}
[providers.weather_nowhere]
base_url = "http://127.0.0.1:1"
api_key  = {{ query = "appid", value = "env:WEATHER_KEY" }}
"#
    );
    for (name, base, test) in [
        ("own", own, "/echo"),
        ("own_refused", own, "/me"),
        ("own_nowhere", "http://127.0.0.1:1", "/"),
    ] {
        let _ = write!(
            text,
            "[providers.{name}]\nbase_url = \"{base}\"\n\
             api_key = {{ query = \"own\", ask = \"Paste it.\", test = \"GET {test}\" }}\n"
        );
        text.push_str(&tool(name, name, "GET /echo"));
    }
    text.push_str(&tool("own_broken", "own", "GET /fault/500"));
    text.push_str(&tool("weather", "weather", "GET /echo"));
    text.push_str(&tool("weather_header", "weather_header", "GET /echo"));
    text.push_str(&tool("weather_broken", "weather", "GET /fault/500"));
    text.push_str(&tool("weather_redirect", "weather", "GET /fault/redirect"));
    text.push_str(&tool("weather_lost", "weather", "GET /nowhere"));
    text.push_str(&tool("weather_reset", "weather", "GET /fault/reset"));
    text.push_str(&tool("weather_nowhere", "weather_nowhere", "GET /"));
    text
}

#[test]
fn no_secret_is_seen_anywhere() {
    let mut seen = Seen::new();
    for (user, dialect) in
        [("plain", Dialect::PLAIN), ("errors", Dialect::ERRORS), ("rounds", Dialect::ROUNDS)]
    {
        let server = connect(&mut seen, dialect, user);
        let server = use_and_refresh(&mut seen, server, dialect, user);
        let server = stray(&mut seen, server);
        seen.end(server);
        commands(&mut seen, user);
    }
    keys(&mut seen);
    pasted(&mut seen);
    wrong_key(&mut seen);

    let search = seen.search();
    plant(&seen, &search);
    assert_eq!(seen.leaks(&search), Vec::<String>::new());
}

fn connect(seen: &mut Seen, dialect: Dialect, user: &str) -> Server {
    let mut server = Server::start_as(&seen.home, dialect, user);
    let prompt = server.call("whoami", &json!({})).asked();
    seen.page("GET", &prompt.url, &[]);
    come_back(seen, &prompt.url);
    if prompt.way == Way::Input {
        server.finish_rounds("whoami", &json!({}), &prompt).ran();
    }
    server.call("whoami", &json!({})).ran();
    server
}

/// Comes back from another browser, which uses the state up; then to a wrong host, and twice from
/// the right browser.
fn come_back(seen: &mut Seen, link: &str) {
    let held = seen.hold(link);
    seen.page("GET", &held.callback_url, &[]);
    let held = seen.hold(link);
    seen.page("GET", &held.callback_url, &[("cookie", &held.cookie), ("host", "evil.example")]);
    seen.page("GET", &held.callback_url, &[("cookie", &held.cookie)]);
    seen.page("GET", &held.callback_url, &[("cookie", &held.cookie)]);
}

fn use_and_refresh(seen: &mut Seen, mut server: Server, dialect: Dialect, user: &str) -> Server {
    let echo = server.call("echo", &json!({})).ran();
    assert!(echo.contains("[redacted]"), "the API sent the token back: {echo}");
    seen.world.pull("expire-access-tokens", &json!({}));
    server.call("whoami", &json!({})).ran();
    // A provider that repeats what it received.
    let repeated = format!(
        "<p>{CLIENT_SECRET} {} {}</p>",
        seen.issued("refresh_tokens").last().unwrap(),
        seen.issued("access_tokens").last().unwrap(),
    );
    for fault in [
        json!({"status": 500, "body": repeated, "content_type": "text/html"}),
        json!({"status": 400, "body": {"error": "moon", "error_description": repeated}}),
        json!({"status": 200, "body": {"access_token": 1, "note": repeated}}),
        json!({"drop": "before"}),
        json!({"status": 401, "body": {"error": "invalid_client", "error_description": repeated}}),
    ] {
        seen.world.pull("expire-access-tokens", &json!({}));
        seen.world.pull("token-fault", &fault);
        server.call("whoami", &json!({}));
    }
    seen.world.pull("token-fault", &json!({"times": 0}));
    // The process that was refused leaves the provider alone for a minute, so start another.
    seen.end(server);
    let mut server = Server::start_as(&seen.home, dialect, user);
    server.call("whoami", &json!({})).ran();
    server
}

/// Consents that fail, and a grant that ends.
fn stray(seen: &mut Seen, mut server: Server) -> Server {
    let write = json!({"title": "x"});
    let prompt = server.call("write_note", &write).asked();
    seen.visit(&prompt.url).without("notes:write").go();
    // For another account, because a user who refuses one twice is not asked a third time.
    let prompt = server.call("write_note", &json!({"title": "x", "account": "other"})).asked();
    seen.visit(&prompt.url).denying().go();
    let prompt = server.call("write_note", &write).asked();
    for (from, to) in [("iss=", "iss=x"), ("code=", "code=x"), ("state=", "state=x")] {
        let held = seen.hold(&prompt.url);
        seen.page("GET", &held.callback_url.replace(from, to), &[("cookie", &held.cookie)]);
    }
    let prompt = server.call("write_note", &write).asked();
    seen.world.pull("token-fault", &json!({"status": 400, "body": {"error": "invalid_grant"}}));
    seen.visit(&prompt.url).go();
    let prompt = server.call("write_note", &write).asked();
    seen.visit(&prompt.url).approves();
    assert!(matches!(server.call("write_note", &write), Answer::Ran(_)));
    seen.world.pull("revoke-grants", &json!({}));
    let prompt = server.call("whoami", &json!({})).asked();
    seen.visit(&prompt.url).approves();
    server.call("whoami", &json!({})).ran();
    server
}

fn commands(seen: &mut Seen, user: &str) {
    for (arguments, code) in [
        (&["check"][..], 0),
        (&["check", "--json"], 0),
        (&["tools", "list", "--json"], 0),
        (&["tools", "show", "whoami"], 0),
        (&["tools", "call", "whoami", "--user", user], 0),
        (&["tools", "call", "echo", "--user", user], 0),
        (&["tools", "call", "weather"], 0),
        (&["tools", "call", "whoami", "--user", "nobody"], 4),
        (&["auth", "status", "--user", user], 0),
        (&["auth", "status", "--json", "--user", user], 0),
        (&["auth", "revoke", "notes", "--user", user], 0),
        (&["tools", "call", "whoami", "--user", user], 4),
    ] {
        let finished = seen.home.run(arguments);
        assert_eq!(finished.code, Some(code), "{arguments:?}: {finished:?}");
        seen.output.push_str(&finished.stdout);
    }
}

fn keys(seen: &mut Seen) {
    let mut server = Server::start(&seen.home, Dialect::PLAIN);
    for tool in ["weather", "weather_header"] {
        let text = server.call(tool, &json!({})).ran();
        assert!(text.contains("[redacted]"), "the API sent the key back: {text}");
    }
    for tool in ["weather_broken", "weather_lost", "weather_reset", "weather_nowhere"] {
        server.call(tool, &json!({})).failed();
    }
    // Redirects to the same host, with the key.
    server.call("weather_redirect", &json!({})).ran();
    let log = seen.keyed.api_log();
    let sent = log.iter().filter(|request| request["query"]["appid"] == API_KEY).count();
    assert!(sent >= 4, "the key was really sent: {log:?}");
    seen.end(server);
}

/// Pastes the key where it is refused, where no API answers, and where it is stored.
fn pasted(seen: &mut Seen) {
    let mut server = Server::start(&seen.home, Dialect::PLAIN);
    for (tool, status) in [("own_refused", 200), ("own_nowhere", 200), ("own", 303)] {
        let link = server.call(tool, &json!({})).asked().url;
        let page = paste(&link, PASTED_KEY);
        assert_eq!(page.status, status, "{tool}: {}", page.body);
        seen.output.push_str(&page.body);
        seen.page("GET", &link, &[]);
    }
    let text = server.call("own", &json!({})).ran();
    assert!(text.contains("[redacted]"), "the API sent the key back: {text}");
    server.call("own_broken", &json!({})).failed();
    let log = seen.own.api_log();
    let sent = log.iter().filter(|request| request["query"]["own"] == PASTED_KEY).count();
    assert!(sent >= 2, "the key was really sent: {log:?}");
    seen.end(server);
}

fn wrong_key(seen: &mut Seen) {
    let mut command = seen.home.command(&["serve", "--stdio"]);
    command.env("COUNTERSIGN_KEY", STANDARD.encode([9; 32]));
    let mut server = Server::spawn(command, Dialect::PLAIN);
    server.shake_hands();
    server.call("whoami", &json!({})).failed();
    seen.end(server);
    let mut command = seen.home.command(&["serve", "--stdio"]);
    command.env("COUNTERSIGN_KEY", format!("{}x", STANDARD.encode(MASTER_KEY)));
    let mut server = Server::spawn(command, Dialect::PLAIN);
    server.shake_hands();
    server.call("whoami", &json!({})).failed();
    seen.end(server);
}

/// Tests the search itself, in the same places: it finds what is planted there.
fn plant(seen: &Seen, search: &Search) {
    let planted = seen.home.data().join("planted");
    let refresh_token = seen.issued("refresh_tokens").pop().unwrap();
    for secret in [
        hex(&MASTER_KEY),
        STANDARD.encode(MASTER_KEY),
        STANDARD.encode(format!("web-basic:{CLIENT_SECRET}")),
        format!("…{refresh_token}…"),
        percent_encoding::utf8_percent_encode(API_KEY, percent_encoding::NON_ALPHANUMERIC)
            .to_string(),
        STANDARD.encode(PASTED_KEY),
    ] {
        fs::write(&planted, &secret).unwrap();
        let found = seen.leaks(search);
        let name = planted.display().to_string();
        assert!(found.iter().any(|leak| leak.ends_with(&name)), "{secret} was planted: {found:?}");
    }
    fs::remove_file(&planted).unwrap();
}

/// The automatically generated key stands in its file and nowhere else.
#[test]
fn the_automatic_key_stands_in_its_file_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::start();
    let home = Home::new(&world.tools()).with("COUNTERSIGN_LOG", "trace");
    let mut server = Server::start(&home, Dialect::PLAIN);
    let prompt = server.call("whoami", &json!({})).asked();
    Visit::to(&prompt.url).approves();
    server.call("whoami", &json!({})).ran();
    let (_, heard) = server.close();
    let key = fs::read_to_string(home.key_file()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.key_file()), 0o600);
    assert_eq!(mode(&home.data()), 0o700);
    let mut search = Search::default();
    search.add("the key", key.trim().as_bytes());
    search.add("the key's bytes", &STANDARD.decode(key.trim()).unwrap());
    assert!(!search.find(key.as_bytes()).is_empty(), "the search finds it in its file");
    assert_eq!(search.find(home.log().as_bytes()), Vec::<&str>::new());
    assert_eq!(search.find(json!(heard).to_string().as_bytes()), Vec::<&str>::new());
    keepers::end_all(&home.path("home"));
    for (file, content) in contents(&home.path("home")) {
        if file != home.key_file() {
            assert_eq!(search.find(&content), Vec::<&str>::new(), "{file:?}");
        }
    }
}
