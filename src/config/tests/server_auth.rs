//! Tests of `[server.auth]`, `allow`, and the keys of `[server]` that belong to them.

use super::*;
use crate::model::UserId;
use crate::model::principal::ConfirmOrder;
use crate::model::server_auth::{ApplicationSettings, KeyHolder};
use crate::model::tool::Allowed;

const ISSUER: &str = "[server.auth]\nissuer = \"https://login.example.com\"\nclient_id = \"us\"\n";

/// Returns a key's table of four lines, of which a test supplies the last.
fn key(name: &str, more: &str) -> String {
    let variable = name.to_ascii_uppercase().replace('-', "_");
    format!("[[server.auth.api_keys]]\nname = \"{name}\"\nkey = \"env:{variable}\"\n{more}\n")
}

fn auth(source: &str) -> ServerAuth {
    good(source).server.auth.expect("an auth")
}

/// Returns the position and message of each warning, without those that most tests cause.
fn warnings(source: &str) -> Vec<String> {
    let warnings = good(source).warnings.into_iter();
    warnings
        .filter(|warning| {
            !["secret::unset", "tools::count", "tool::select"].contains(&warning.code)
        })
        .map(|warning| format!("{}:{}: {}", warning.line, warning.column, warning.message))
        .collect()
}

/// Asserts that the only warning is at this position, with this part of its message.
fn expect_warning(source: &str, place: &str, part: &str) {
    let found = warnings(source);
    let is_it =
        |warning: &String| warning.starts_with(&format!("{place}: ")) && warning.contains(part);
    assert!(found.len() == 1 && found.iter().all(is_it), "{source}\n{found:#?}");
}

#[test]
fn an_issuer_and_keys_are_read() {
    let auth = auth(&format!(
        "[server]\npublic_url = \"https://tools.example.com\"\ntrusted_proxies = [\"10.0.0.0/8\", \"fd00::1\"]\n\
         {ISSUER}client_secret = \"env:S\"\naudience = \"api://tools\"\nuser_claim = \"oid\"\n\
         groups_claim = \"https://example.com/groups\"\nintrospect = true\n{}{}",
        key("ana", "user = \"ana@example.com\""),
        key("my-app", "verifier_url = \"https://app.example.com/verify?a=b\""),
    ));
    let issuer = auth.issuer.expect("an issuer");
    assert_eq!(issuer.url.as_str(), "https://login.example.com/");
    assert_eq!(issuer.audience.as_deref(), Some("api://tools"));
    assert_eq!(issuer.client_id, Some(Setting::Literal("us".into())));
    assert_eq!(issuer.client_secret, Some(SecretRef::Env("S".into())));
    assert_eq!(issuer.user_claim, "oid");
    assert_eq!(issuer.groups_claim, "https://example.com/groups");
    assert!(issuer.introspect);
    let keys: Vec<_> =
        auth.keys.iter().map(|key| (key.name.as_str(), &key.key, &key.holder)).collect();
    let verifier = "https://app.example.com/verify?a=b".parse().expect("a URL");
    let expected = [
        ("ana", &SecretRef::Env("ANA".into()), &KeyHolder::Person(UserId::new("ana@example.com"))),
        (
            "my-app",
            &SecretRef::Env("MY_APP".into()),
            &KeyHolder::Application(ApplicationSettings {
                verifier_url: Some(verifier),
                ..ApplicationSettings::default()
            }),
        ),
    ];
    assert_eq!(keys, expected);
}

/// A line of an application's key.
const URL: &str = "verifier_url = \"https://a.example/v\"\n";

#[test]
fn an_application_says_when_it_confirms_a_browser() {
    for (written, expected) in [
        ("", ConfirmOrder::Before),
        ("confirm = \"before\"", ConfirmOrder::Before),
        ("confirm = \"after\"", ConfirmOrder::After),
    ] {
        let auth = auth(&key("a", &format!("{URL}{written}")));
        match &auth.keys[0].holder {
            KeyHolder::Application(settings) => assert_eq!(settings.confirm, expected),
            KeyHolder::Person(_) => panic!("a person"),
        }
    }
}

#[test]
fn an_application_has_the_rights_that_are_written() {
    let rights = |written: &str| match &auth(&key("a", &format!("{URL}{written}"))).keys[0].holder {
        KeyHolder::Application(it) => (it.admin, it.tokens, it.deposit, it.next_origins.clone()),
        KeyHolder::Person(_) => panic!("a person"),
    };
    assert_eq!(rights(""), (false, false, false, Vec::new()));
    assert_eq!(rights("admin = true"), (true, false, false, Vec::new()));
    assert_eq!(rights("tokens = true"), (false, true, false, Vec::new()));
    assert_eq!(rights("deposit = true"), (false, false, true, Vec::new()));
    assert_eq!(
        rights("next_uris = [\"https://b.example:443/\", \"http://localhost:3000\"]"),
        (false, false, false, vec!["https://b.example".into(), "http://localhost:3000".into()])
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let issuer =
        auth("[server.auth]\nissuer = \"http://127.0.0.1:9/realms/x/\"").issuer.expect("one");
    assert_eq!(issuer.url.as_str(), "http://127.0.0.1:9/realms/x/");
    assert_eq!((issuer.user_claim.as_str(), issuer.groups_claim.as_str()), ("sub", "groups"));
    assert!(issuer.audience.is_none() && issuer.client_id.is_none() && !issuer.introspect);
    let config = good("");
    assert!(config.server.auth.is_none() && config.server.trusted_proxies.is_empty());
    let proxies = good("[server]\ntrusted_proxies = [\"10.1.0.0/16\"]").server.trusted_proxies;
    assert!(proxies[0].contains("10.1.2.3".parse().expect("an address")));
}

#[test]
fn what_clients_may_be_and_are_told_is_read() {
    let public = "[server]\npublic_url = \"https://tools.example.com\"\nallowed_hosts = [\"tools:8080\"]\nallowed_origins = [\"https://a.example\", \"chrome-extension://abc\"]\n";
    let config = good(&format!(
        "{public}{ISSUER}client_secret = \"env:S\"\nintrospect = true\nintrospection_cache = 0\n\
         scopes = [\"openid\", \"api://tools/call\"]\nallowed_clients = [\"abc\"]\n"
    ));
    assert!(config.server.allowed.hosts[0].is("tools:8080"));
    assert!(config.server.allowed.origins[1].is("chrome-extension://abc"));
    let issuer = config.server.auth.and_then(|auth| auth.issuer).expect("an issuer");
    assert_eq!(issuer.scopes, ["openid", "api://tools/call"]);
    assert_eq!(issuer.allowed_clients, ["abc"]);
    assert_eq!(issuer.introspection_cache, std::time::Duration::ZERO);
    let issuer = auth(ISSUER).issuer.expect("an issuer");
    assert_eq!(issuer.scopes, ["openid"]);
    assert_eq!(issuer.introspection_cache.as_secs(), 60);
    for list in ["allowed_hosts = [\"tools\"]", "allowed_origins = [\"https://a.example\"]"] {
        let warned = warnings(&format!("[server]\n{list}"));
        assert!(warned.len() == 1 && warned[0].contains("no effect without"), "{warned:?}");
    }
    let server = |list: &str| format!("[server]\n{list}\n{}", key("ana", "user = \"ana\""));
    expect_each(&[
        (server("allowed_hosts = [\"https://tools\"]"), "2:18", "no host name"),
        (server("allowed_hosts = [\"*\"]"), "2:18", "every site"),
        (server("allowed_origins = [\"*\"]"), "2:20", "every site"),
        (server("allowed_origins = [\"https://*.example.com\"]"), "2:20", "every site"),
        (server("allowed_origins = [\"a.example\"]"), "2:20", "no origin"),
        (format!("{ISSUER}scopes = [\"a b\"]"), "4:11", "one word"),
        (
            format!("{ISSUER}scopes = [\"openid\", \"offline_access\"]"),
            "4:21",
            "no right at this server",
        ),
        (format!("{ISSUER}introspection_cache = 3601"), "4:23", "lies between 0 and 3600"),
        (
            format!("[server.auth]\nscopes = [\"a\"]\n{}", key("a", "user = \"a\"")),
            "2:10",
            "`scopes` is about an issuer",
        ),
    ]);
}

#[test]
fn mistakes_about_the_issuer() {
    expect_each(&[
        ("[server.auth]".to_owned(), "1:1", "nothing says whose calls"),
        ("[server.auth]\napi_keys = []".to_owned(), "1:1", "nothing says whose calls"),
        ("[server.auth]\napi_keys = [\"hunter2\"]".to_owned(), "2:13", "a table is wanted"),
        ("[server.auth]\nisuer = \"https://a.example\"".to_owned(), "2:1", "unknown key `isuer`"),
        (
            "[[server.auth.api_key]]\nname = \"a\"\nkey = \"hunter2\"".to_owned(),
            "1:15",
            "unknown key `api_key`",
        ),
        (
            "[server.auth]\naudience = \"x\"\nintrospect = true".to_owned(),
            "2:12",
            "`audience` is about an issuer",
        ),
        (
            format!("[server.auth]\nuser_claim = \"sub\"\n{}", key("a", "user = \"a\"")),
            "2:14",
            "`user_claim` is about an issuer",
        ),
        (
            "[server.auth]\nissuer = \"http://login.example.com\"".to_owned(),
            "2:11",
            "loopback and private hosts only",
        ),
        (
            "[server.auth]\nissuer = \"https://login.example.com/?tenant=1\"".to_owned(),
            "2:10",
            "no query",
        ),
        ("[server.auth]\nissuer = \"https://login.example.com#x\"".to_owned(), "2:11", "fragment"),
        (
            "[server.auth]\nissuer = \"https://u:hunter2@login.example.com\"".to_owned(),
            "2:11",
            "user name",
        ),
        ("[server.auth]\nissuer = \"login.example.com\"".to_owned(), "2:11", "no URL"),
        (format!("{ISSUER}client_secret = \"hunter2\""), "4:17", "a secret stands here"),
        (
            format!("{ISSUER}client_secret = \"env:COUNTERSIGN_KEY\""),
            "4:17",
            "of Countersign's own",
        ),
        (format!("{ISSUER}audience = \"\""), "4:12", "one word"),
        (format!("{ISSUER}audience = \"a b\""), "4:12", "one word"),
        (format!("{ISSUER}groups_claim = \" \""), "4:16", "one word"),
        (format!("{ISSUER}user_claim = \"\""), "4:14", "one word"),
        (format!("{ISSUER}user_claim = \"client_id\""), "4:14", "no person's name"),
        (format!("{ISSUER}introspect = true"), "1:1", "`client_secret` is missing"),
        (format!("{ISSUER}introspect = \"yes\""), "4:14", "`true` or `false`"),
        (
            "[server.auth]\nissuer = \"https://a.example\"\nclient_secret = \"env:S\"".to_owned(),
            "1:1",
            "`client_id` is missing",
        ),
        (
            "[server.auth]\nissuer = \"https://a.example\"\nclient_id = \"a b\"".to_owned(),
            "3:13",
            "no client id",
        ),
    ]);
}

#[test]
fn mistakes_about_keys() {
    let long = "n".repeat(65);
    expect_each(&[
        (
            "[[server.auth.api_keys]]\nkey = \"env:A\"\nuser = \"a\"".to_owned(),
            "1:1",
            "`name` is missing",
        ),
        (
            "[[server.auth.api_keys]]\nname = \"a\"\nuser = \"a\"".to_owned(),
            "1:1",
            "`key` is missing",
        ),
        (
            "[[server.auth.api_keys]]\nname = \"a\"\nky = \"hunter2\"\nuser = \"a\"".to_owned(),
            "3:1",
            "unknown key `ky`",
        ),
        (
            "[[server.auth.api_keys]]\nname = \"a\"\nkey = \"hunter2\"\nuser = \"a\"".to_owned(),
            "3:7",
            "a secret stands here",
        ),
        (
            "[[server.auth.api_keys]]\nname = \"a\"\nkey = [\"hunter2\"]\nuser = \"a\"".to_owned(),
            "3:7",
            "`key` is a text, not a list",
        ),
        (key("a b", "user = \"a\"").replace("env:A B", "env:A"), "2:8", "a key's name has 1 to 64"),
        (key(&long, "user = \"a\""), "2:8", "a key's name has 1 to 64"),
        (key("", "user = \"a\"").replace("env:", "env:A"), "2:8", "a key's name has 1 to 64"),
        (
            key("é", "user = \"a\"").replace("env:É", "env:A").replace("env:é", "env:A"),
            "2:8",
            "a key's name has 1 to 64",
        ),
        (
            key("a", "user = \"a\"") + &key("a", "user = \"b\"").replace("env:A", "env:B"),
            "6:8",
            "a key `a` already",
        ),
        (
            key("a", "user = \"a\"") + &key("A", "user = \"b\"").replace("env:A", "env:B"),
            "6:8",
            "differ by case only",
        ),
        (
            key("a", "user = \"a\"") + &key("b", "user = \"b\"").replace("env:B", "env:A"),
            "7:7",
            "the key of `a` already",
        ),
        (key("a", "user = \"\""), "4:8", "the user id must"),
        (key("a", "user = \" ana\""), "4:8", "the user id must"),
        (key("a", "user = \"an\\na\""), "4:8", "control characters"),
        (key("a", &format!("user = \"{}\"", "a".repeat(257))), "4:8", "the user id must"),
        (key("a", "user = \"a\"\nverifier_url = \"https://a.example\""), "4:8", "one person's key"),
        (key("a", "verifier_url = \"http://a.example/v\""), "4:17", "`http://`"),
        (key("a", "verifier_url = \"http://10.0.0.1/v\""), "4:17", "by `https://` only"),
        (key("a", "verifier_url = \"https://a.example/v#x\""), "4:17", "fragment"),
        (
            key("a", "verifier_url = \"https://a.example/v?flow_id=1\""),
            "4:16",
            "`flow_id` is not free",
        ),
        (
            key("a", "verifier_url = \"https://a.example/v?x=1&flow%5Fid=1\""),
            "4:16",
            "`flow_id` is not free",
        ),
        (key("a", "verifier_url = \"https://u:hunter2@a.example/v\""), "4:17", "user name"),
        (key("a", "verifier_url = \"javascript://a.example/v\""), "4:17", "only `https://`"),
        (key("a", "verifier_url = \"https://a.example/v\"\nconfirm = \"later\""), "5:11", ""),
        (key("a", "confirm = \"after\""), "4:11", "there is none"),
        (key("a", "user = \"a\"\nconfirm = \"after\""), "5:11", "there is none"),
        (key("a", "user = \"a\"\nadmin = true"), "5:9", "`admin` is for the key of an app"),
        (key("a", "user = \"a\"\ntokens = false"), "5:10", "`tokens` is for"),
        (key("a", "user = \"a\"\ndeposit = true"), "5:11", "`deposit` is for"),
        (
            key("a", "user = \"a\"\nnext_uris = [\"https://a.example\"]"),
            "5:14",
            "`next_uris` is for",
        ),
        (key("a", &format!("{URL}next_uris = [\"https://a.example/x\"]")), "5:14", "an origin"),
        (key("a", &format!("{URL}next_uris = [\"https://a.example?x\"]")), "5:14", "an origin"),
        (key("a", &format!("{URL}next_uris = [\"http://a.example\"]")), "5:15", "`http://`"),
        (key("a", &format!("{URL}admin = \"yes\"")), "5:9", ""),
    ]);
    for good_url in [
        "http://127.0.0.1:9/v",
        "http://localhost:9/v",
        "http://[::1]:9/v",
        "https://a.example/v?x=1",
    ] {
        auth(&key("a", &format!("verifier_url = \"{good_url}\"")));
    }
}

/// A key with one mistake can have others, which are found too.
#[test]
fn every_mistake_is_found_at_once() {
    let source = key("a", "user = \"\"") + &key("A", "user = \" \"") + &key("b c", "user = \"b\"");
    let problems = parse(&source).expect_err("mistakes");
    let places: Vec<_> = problems.errors().map(|error| (error.line, error.code)).collect();
    let expected = [
        (4, "auth::user"),
        (6, "auth::key_name"),
        (7, "auth::key"),
        (8, "auth::user"),
        (10, "auth::key_name"),
        (11, "secret::reference"),
    ];
    assert_eq!(places, expected, "{:#?}", problems.list);
}

#[test]
fn what_keeps_links_from_being_made_is_a_warning() {
    let public = "[server]\npublic_url = \"https://tools.example.com\"\n";
    assert_eq!(warnings(&format!("{public}{ISSUER}")), Vec::<String>::new());
    assert_eq!(
        warnings(&format!("{public}{}", key("ana", "user = \"ana\""))),
        Vec::<String>::new()
    );
    let without_id = ISSUER.replace("client_id = \"us\"\n", "");
    expect_warning(&format!("{public}{without_id}"), "4:10", "without `client_id`");
    expect_warning(&format!("{public}{}", key("a", "")), "4:8", "without `verifier_url`");
    expect_warning(ISSUER, "1:1", "links lead to the loopback address");
    expect_warning("[server]\npublic_url = \"https://a.example\"", "2:14", "no effect without");
    expect_warning("[server]\ntrusted_proxies = [\"10.0.0.1\"]", "2:20", "no effect without");
    let local = public.replace("https://tools.example.com", "http://localhost:8080");
    assert_eq!(warnings(&format!("{local}{ISSUER}")), Vec::<String>::new());
}

#[test]
fn what_would_mix_up_people_is_a_warning() {
    let public = "[server]\npublic_url = \"https://tools.example.com\"\n";
    let email = format!("{public}{ISSUER}user_claim = \"email\"");
    expect_warning(&email, "6:14", "may pass from one person to another");
    let two = key("a", "user = \"ana\"") + &key("b", "user = \"ana\"");
    expect_warning(&format!("{public}{two}"), "10:8", "is not there with the key `a`");
    // An issuer's name for a person is seldom an e-mail address.
    let address = key("a", "user = \"ana@example.com\"");
    expect_warning(&format!("{public}{ISSUER}{address}"), "9:8", "by `sub`, which is seldom");
    let by_email = ISSUER.replace("client_id", "user_claim = \"oid\"\nclient_id");
    assert_eq!(warnings(&format!("{public}{by_email}{address}")), Vec::<String>::new());
    for (block, count) in [
        ("10.0.0.7", 0),
        ("10.0.0.0/28", 0),
        ("10.0.0.0/8", 1),
        ("172.16.0.0/12", 1),
        ("fd00::/64", 1),
    ] {
        let proxies = format!("{public}trusted_proxies = [\"{block}\"]\n{ISSUER}");
        assert_eq!(warnings(&proxies).len(), count, "{block}: {:?}", warnings(&proxies));
    }
    // With an issuer, both keys stand for the same person.
    assert_eq!(warnings(&format!("{public}{ISSUER}{two}")), Vec::<String>::new());
}

/// Returns the source of the tool `a` with this `allow` list, followed by these tables.
fn allowing(auth: &str, list: &str) -> String {
    format!(
        "{TOOL}{GET}allow = {list}\n[server]\npublic_url = \"https://tools.example.com\"\n{auth}"
    )
}

#[test]
fn a_tool_may_be_for_people_and_groups() {
    let config =
        good(&allowing(ISSUER, "[\"group:eng\", \"user:ana@example.com\", \"group:a:b\"]"));
    let expected = [
        Allowed::Group("eng".into()),
        Allowed::User(UserId::new("ana@example.com")),
        Allowed::Group("a:b".into()),
    ];
    assert_eq!(config.tools[0].allow.as_deref(), Some(&expected[..]));
    let ignored = ["tool::select", "secret::unset"];
    let others = config.warnings.iter().filter(|warning| !ignored.contains(&warning.code));
    assert_eq!(others.count(), 0, "{:#?}", config.warnings);
    let nobody = good(&allowing(ISSUER, "[]"));
    assert_eq!(nobody.tools[0].allow.as_deref(), Some(&[][..]));
    assert_eq!(good(&format!("{TOOL}{GET}")).tools[0].allow, None);
}

#[test]
fn mistakes_in_allow() {
    let both = format!("{ISSUER}{}", key("app", "verifier_url = \"https://a.example/v\""));
    let apps = key("app", "verifier_url = \"https://a.example/v\"") + &key("ana", "user = \"ana\"");
    expect_each(&[
        (allowing(ISSUER, "[\"eng\"]"), "4:10", "neither that it is a group nor a person"),
        (allowing(ISSUER, "[\"groups:eng\"]"), "4:10", "neither that it is a group nor a person"),
        (allowing(ISSUER, "[\"group:\"]"), "4:10", "a group's name"),
        (allowing(ISSUER, "[\"group: eng\"]"), "4:10", "a group's name"),
        (allowing(ISSUER, "[\"user:\"]"), "4:10", "the user id must"),
        (allowing(ISSUER, "\"group:eng\""), "4:9", "`allow` is a list, not a text"),
        (allowing(ISSUER, "[1]"), "4:10", "a text is wanted here"),
        (allowing(&both, "[\"user:ana\"]"), "4:10", "the application `app` could name anybody so"),
        (allowing(&apps, "[\"user:ana\"]"), "4:10", "the application `app` could name anybody so"),
    ]);
    let hint = |list: &str| {
        let problems = parse(&allowing(ISSUER, list)).expect_err(list);
        problems.list[0].hint.clone().expect("a hint")
    };
    assert!(hint("[\"eng\"]").contains("`group:eng`") && hint("[\"eng\"]").contains("`user:eng`"));
    assert_eq!(hint("[\"groups:eng\"]"), "did you mean `group:eng`?");
    assert_eq!(hint("[\"usr:ana\"]"), "did you mean `user:ana`?");
    // The users of the only application cannot be confused with others.
    good(&allowing(&key("app", "verifier_url = \"https://a.example/v\""), "[\"user:ana\"]"));
}

#[test]
fn an_allow_without_effect_is_a_warning() {
    expect_warning(&format!("{TOOL}{GET}allow = [\"group:eng\"]"), "4:9", "no effect without");
    expect_warning(&format!("{TOOL}{GET}allow = []"), "4:9", "no effect without");
    expect_warning(&allowing(ISSUER, "[]"), "4:9", "nobody may call");
    let keys = key("ana", "user = \"ana\"");
    expect_warning(
        &allowing(&keys, "[\"user:ana\", \"group:eng\"]"),
        "4:22",
        "nobody is in a group",
    );
}

#[test]
fn a_provider_that_wants_https_has_it_with_a_public_url() {
    let tool = "[providers.gitlab]\noauth = { loopback = \"refused\" }\n[tools.a]\ndescription = \"d\"\nprovider = \"gitlab\"\nrequest = \"GET /x\"\n";
    let public = "[server]\npublic_url = \"https://tools.example.com\"\n";
    let warned =
        |source: &str| warnings(source).iter().any(|it| it.contains("https redirect URIs"));
    assert!(warned(tool));
    assert!(warned(&format!("{tool}{ISSUER}")));
    assert!(!warned(&format!("{tool}{public}{ISSUER}")));
}
