//! `countersign check`, `tools` and `schema`.

use std::process::Command;

use serde_json::{Value, json};

use crate::command::{countersign, fixture, package, run, untold};

/// The literal secret of the fixture.
const CANARY: &str = "c4n4ry";

fn check(name: &str) -> Command {
    let mut command = countersign();
    command.arg("check").arg(fixture(name));
    command
}

fn json(command: &mut Command) -> (i32, Value) {
    let (code, stdout, stderr) = run(command.arg("--json"));
    (
        code,
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}")),
    )
}

#[test]
fn ten_mistakes_are_ten_errors_each_with_its_place_and_a_hint() {
    let (code, report) = json(&mut check("ten_mistakes.toml"));
    assert_eq!(code, 5);
    let errors: Vec<(u64, u64, &str)> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|problem| problem["severity"] == "error")
        .map(|problem| {
            (
                problem["line"].as_u64().unwrap(),
                problem["column"].as_u64().unwrap(),
                problem["code"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        (5, 1, "config::unknown_key"),
        (9, 17, "secret::literal"),
        (12, 13, "url::invalid"),
        (18, 1, "config::unknown_key"),
        (19, 43, "tool::placeholder"),
        (26, 16, "tool::provider"),
        (33, 28, "config::syntax"),
        (39, 21, "tool::host"),
        (45, 47, "param::default"),
        (46, 31, "tool::jq"),
    ];
    assert_eq!(errors, expected);
    for problem in report["problems"].as_array().unwrap() {
        assert!(problem["hint"].is_string(), "{problem}");
    }
}

#[test]
fn a_literal_secret_is_reported_and_never_shown() {
    for arguments in [&[][..], &["--json"]] {
        let (code, stdout, stderr) = run(check("ten_mistakes.toml").args(arguments));
        assert_eq!(code, 5);
        assert!(stdout.contains("a secret stands here as it is"));
        assert!(!stdout.contains(CANARY) && !stderr.contains(CANARY));
    }
}

#[test]
fn of_the_whole_language_only_what_is_not_served_yet_is_an_error() {
    let (code, report) = json(&mut check("language.toml"));
    assert_eq!(code, 5);
    let messages: Vec<&str> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|problem| problem["severity"] == "error")
        .map(|problem| problem["message"].as_str().unwrap())
        .collect();
    // Apart from errors, unset secrets and loopback warnings, nothing is reported.
    let others = report["problems"].as_array().unwrap().iter().filter(|problem| {
        problem["severity"] == "warning"
            && !["secret::unset", "provider::loopback"].contains(&problem["code"].as_str().unwrap())
    });
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&Value>::new());
    let expected = [
        "`paginate`",
        "`each`",
        "`confirm`",
        "`[openapi.stripe]`",
        "`[mcp.linear]`",
        "`[mcp.files]`",
    ]
    .map(|key| format!("{key} is not supported by this version yet"));
    assert_eq!(messages, expected);
}

#[test]
fn our_own_tools_toml_passes_and_unset_secrets_are_warnings() {
    let (code, report) = json(countersign().arg("check").arg(package("tools.toml")));
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["ok"], true);
    assert!(report["tools"].as_u64().unwrap() > 10);
    for problem in report["problems"].as_array().unwrap() {
        assert_eq!(problem["code"], "secret::unset", "{problem}");
    }
}

#[test]
fn our_own_tools_toml_is_valid_by_our_own_schema() {
    let (code, stdout, _) = run(countersign().arg("schema"));
    assert_eq!(code, 0);
    let schema: Value = serde_json::from_str(&stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let document = as_json("tools.toml");
    let errors: Vec<String> =
        validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let mut wrong = document;
    wrong["tools"]["github_star_repo"]["scope"] = "x".into();
    assert!(!validator.is_valid(&wrong));
    let with = |auth: Value| {
        let mut document = as_json("tools.toml");
        document["server"]["auth"] = auth;
        validator.is_valid(&document)
    };
    let key = json!({ "name": "ana", "key": "env:ANA_KEY", "user": "ana" });
    assert!(with(json!({ "issuer": "https://login.example.com", "api_keys": [key] })));
    assert!(!with(json!({ "isuer": "https://login.example.com" })));
    assert!(!with(json!({ "api_keys": [{ "name": "ana", "user": "ana" }] })));
}

#[test]
fn the_schema_that_editors_read_is_the_one_we_write() {
    let written = std::fs::read_to_string(package("tools.schema.json")).unwrap();
    let (_, stdout, _) = run(countersign().arg("schema"));
    assert!(written == stdout, "run `countersign schema > tools.schema.json`");
}

fn as_json(path: &str) -> Value {
    let text = std::fs::read_to_string(package(path)).unwrap();
    let table: toml::Table = text.parse().unwrap();
    serde_json::to_value(table).unwrap()
}

#[test]
fn tools_are_listed_and_shown() {
    let (code, report) =
        json(countersign().args(["tools", "list", "--config"]).arg(package("tools.toml")));
    assert_eq!(code, 0);
    let names: Vec<&str> = report["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted() && names.contains(&"github_star_repo"));
    let (code, tool) = json(
        countersign()
            .args(["tools", "show", "github_star_repo", "--config"])
            .arg(package("tools.toml")),
    );
    assert_eq!(code, 0);
    assert_eq!(tool["effect"], "write");
    assert_eq!(tool["request"], "PUT https://api.github.com/user/starred/{owner}/{repo}");
}

#[test]
fn an_unknown_tool_is_wrong_usage_and_the_nearest_is_named() {
    let (code, stdout, stderr) = run(countersign()
        .args(["tools", "show", "github_star_rep", "--config"])
        .arg(package("tools.toml")));
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("did you mean `github_star_repo`?"), "{stderr}");
}

#[test]
fn wrong_arguments_are_wrong_usage() {
    assert_eq!(run(countersign().arg("chek")).0, 2);
    assert_eq!(run(countersign().arg("--help")).0, 0);
}

/// Runs `check` on a file and returns line, column, message and hint of each problem.
pub(crate) fn problems(tools: &str) -> Vec<(u64, u64, String, String)> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tools.toml"), tools).unwrap();
    let (_, report) = json(countersign().args(["check", "tools.toml"]).current_dir(&folder));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let problem = |problem: &Value| {
        let place = |key: &str| problem[key].as_u64().unwrap();
        (place("line"), place("column"), text(&problem["message"]), text(&problem["hint"]))
    };
    report["problems"].as_array().unwrap().iter().map(problem).collect()
}

#[test]
fn a_misspelt_key_is_one_problem_and_not_also_missing() {
    let found = problems(
        "[tools.a]\ndescription = \"x\"\nrequset = \"GET https://api.example.com/\"\n\
         [tools.b]\ndescripton = \"x\"\nrequest = \"GET https://api.example.com/\"\n\
         [tools.c]\ndescription = \"x\"\n",
    );
    let expected = [
        (3, 1, "unknown key `requset`", "did you mean `request`?"),
        (5, 1, "unknown key `descripton`", "did you mean `description`?"),
        (7, 1, "`request` is missing", "e.g. `request = \"GET /search\"`"),
    ];
    let expected = expected
        .map(|(line, column, message, hint)| (line, column, message.to_owned(), hint.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn a_credential_in_a_tool_is_sent_to_where_it_belongs() {
    let found = problems(&format!(
        "[tools.a]\ndescription = \"x\"\nrequest = \"GET https://api.example.com/\"\n\
         api_key = {{ query = \"key\", value = \"{CANARY}\" }}\nbearer = \"{CANARY}\"\n"
    ));
    for ((_, _, message, hint), key) in found.iter().zip(["api_key", "bearer"]) {
        assert_eq!(message, &format!("unknown key `{key}`"));
        assert!(hint.starts_with(&format!("`{key}` belongs in [providers.NAME]")), "{hint}");
    }
    assert_eq!(found.len(), 2);
    assert!(!format!("{found:?}").contains(CANARY));
}

#[test]
fn an_unset_secret_is_shown_where_the_file_refers_to_it() {
    let tool = "[tools.a]\ndescription = \"x\"\nprovider = \"acme\"\nrequest = \"GET /\"\nselect = \".\"\n";
    let provider = "[providers.acme]\nbase_url = \"https://api.example.com\"\n\
                    api_key = { query = \"key\", value = \"env:ACME_KEY\" }\n";
    let found = problems(&format!("{tool}{provider}"));
    assert_eq!((found[0].0, found[0].1), (8, 36), "{found:?}");
    assert!(found[0].2.contains("`ACME_KEY` is not set"), "{found:?}");
    let auth = "[server.auth]\nissuer = \"https://login.example.com\"\nclient_id = \"env:OUR_ID\"\n\
                client_secret = \"env:OUR_SECRET\"\n[[server.auth.api_keys]]\nname = \"ana\"\n\
                key = \"env:ANA_KEY\"\nuser = \"ana\"\n";
    let unset: Vec<_> = problems(auth)
        .into_iter()
        .filter(|(_, _, message, _)| message.ends_with("is not set"))
        .map(|(line, column, message, hint)| {
            let name = message.split('`').nth(1).unwrap().to_owned();
            assert!(hint.starts_with(&format!("set {name} where")), "{hint}");
            (line, column, name)
        })
        .collect();
    let expected = [(3, 13, "OUR_ID"), (4, 17, "OUR_SECRET"), (7, 7, "ANA_KEY")];
    assert_eq!(unset, expected.map(|(line, column, name)| (line, column, name.to_owned())));
    // One warning per provider names all its unset variables.
    let several = format!("{tool}{}", provider.replace("api_key", "headers = { X-A = \"x\" }\nclient_id = \"env:ACME_ID\"\nclient_secret = \"env:ACME_SECRET\"\noauth = { authorize_url = \"https://acme.example/a\", token_url = \"https://acme.example/t\", loopback = \"any-port\" }\n#"));
    let found: Vec<_> = problems(&several).into_iter().filter(|it| it.2.contains("set")).collect();
    let [(_, _, message, hint)] = &*found else { panic!("{found:?}") };
    assert_eq!(message, "the environment variables `ACME_ID`, `ACME_SECRET` are not set");
    assert!(hint.starts_with("set ACME_ID, ACME_SECRET where"), "{hint}");
    // A built-in provider's references stand in no file; the problem points to the tool that needs
    // them.
    let found = problems(&tool.replace("acme", "github"));
    assert_eq!((found[0].0, found[0].1), (3, 12), "{found:?}");
}

#[test]
fn tools_of_a_broken_file_are_not_listed() {
    let (code, stdout, stderr) =
        run(countersign().args(["tools", "list", "--config"]).arg(fixture("ten_mistakes.toml")));
    assert_eq!((code, stdout.as_str()), (5, ""));
    assert!(stderr.contains("ten_mistakes.toml:5:1: error[config::unknown_key]"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    use std::process::Stdio;
    let mut child =
        countersign().arg("schema").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

/// A folder as cloned from another person's repository.
#[cfg(unix)]
fn folder_with(tools: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tools.toml"), tools).unwrap();
    folder
}

#[cfg(unix)]
fn with_key(reference: &str) -> String {
    format!(
        "[providers.acme]\nbase_url = \"http://127.0.0.1:9\"\n\
         api_key = {{ query = \"key\", value = \"{reference}\" }}\n\
         [tools.get_it]\ndescription = \"x\"\nprovider = \"acme\"\nrequest = \"GET /x\"\n"
    )
}

#[cfg(unix)]
#[test]
fn a_found_file_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode;
    let folder = folder_with(
        "[tools.get_it]\ndescription = \"x\"\nrequest = \"GET http://127.0.0.1:9/x\"\n",
    );
    let file = folder.path().join("tools.toml");
    let check = || run(untold().arg("check").current_dir(&folder));
    assert_eq!(check().0, 0);
    for (path, usual) in [(file.as_path(), 0o600), (folder.path(), 0o700)] {
        std::fs::set_permissions(path, mode(usual | 0o002)).unwrap();
        let (code, stdout, _) = check();
        assert_eq!(code, 5, "{stdout}");
        assert!(stdout.contains("others may write") && stdout.contains("--config"), "{stdout}");
        let named = run(countersign().args(["check", "tools.toml"]).current_dir(&folder));
        assert_eq!(named.0, 0);
        std::fs::set_permissions(path, mode(usual)).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn the_master_key_is_for_nobody_else() {
    for reference in ["env:COUNTERSIGN_KEY", "env:COUNTERSIGN_KEY_FILE"] {
        let folder = folder_with(&with_key(reference));
        let (code, report) = json(countersign().args(["check", "tools.toml"]).current_dir(&folder));
        assert_eq!((code, &report["problems"][0]["code"]), (5, &"secret::reference".into()));
    }
    // The `cmd:` program sees the variable that is not ours, and none of our key variables.
    let script = r#"cmd:sh -c 'test -n $MARK && test -z \"$COUNTERSIGN_KEY$COUNTERSIGN_KEY_FILE\" && echo k'"#;
    let folder = folder_with(&with_key(script));
    let (_, stdout, stderr) = run(countersign()
        .args(["tools", "call", "get_it", "--config", "tools.toml"])
        .envs([("PATH", "/usr/bin:/bin"), ("MARK", "1")])
        .env("COUNTERSIGN_KEY", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
        .env("COUNTERSIGN_KEY_FILE", "/nonexistent")
        .current_dir(&folder));
    assert!(format!("{stdout}{stderr}").contains("cannot be connected to"), "{stdout}{stderr}");
}

/// Problems that keep a server for many people from starting.
#[test]
fn what_a_server_for_many_needs_is_looked_at_before_it_starts() {
    let tools = r#"
        [server]
        public_url = "https://tools.example.com"
        [[server.auth.api_keys]]
        name = "one"
        key  = "env:ONE_KEY"
        user = "ana"
        [tools.read]
        description = "Read."
        request     = "GET https://api.example.com/x"
        max_chars   = 1000
    "#;
    let folder = folder_with(tools);
    let check = |variables: &[(&str, &str)]| {
        let mut command = countersign();
        command.args(["check", "tools.toml"]).current_dir(&folder);
        json(command.envs(variables.iter().copied()))
    };
    let sealing = ("COUNTERSIGN_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    let good = "0123456789abcdef0123456789";
    let both = format!("{good}new,{good}");
    for value in [good, &both] {
        let (code, report) = check(&[sealing, ("ONE_KEY", value)]);
        assert_eq!((code, report["problems"].as_array().unwrap().len()), (0, 0), "{report}");
    }
    let (code, report) = check(&[("ONE_KEY", good)]);
    let said = report.to_string();
    assert!(code == 0 && said.contains("neither COUNTERSIGN_KEY nor"), "{said}");
    for short in ["c4n4ry", "0123456789abcdef0123456789,c4n4ry"] {
        let (code, report) = check(&[sealing, ("ONE_KEY", short)]);
        let said = report.to_string();
        assert!(code == 5 && said.contains("less than 20"), "{said}");
        assert!(!said.contains(CANARY), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_asked_where_that_is_wanted() {
    let issuer = crate::support::provider::Server::start(|request| {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let at = |path: &str| format!("http://{host}{path}");
        crate::support::provider::Act::Say(match request.split(' ').nth(1).unwrap() {
            "/.well-known/openid-configuration" => crate::support::provider::json(
                json!({"issuer": at(""), "authorization_endpoint": at("/authorize"),
                    "token_endpoint": at("/token"), "jwks_uri": at("/jwks")})
                .to_string(),
            ),
            "/jwks" => crate::support::provider::json(json!({"keys": []}).to_string()),
            _ => crate::support::provider::answer("404 Not Found", "", ""),
        })
    })
    .await;
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", dead.local_addr().unwrap());
    drop(dead);
    let check = |url: &str, more: &[&str]| {
        let folder =
            folder_with(&format!("[server.auth]\nissuer = \"{url}\"\nclient_id = \"us\"\n"));
        let mut command = countersign();
        json(command.args(["check", "tools.toml"]).args(more).current_dir(&folder))
    };
    assert_eq!(check(&nobody, &[]).0, 0, "it is not asked unless that is wanted");
    assert_eq!(issuer.connections(), 0);
    assert_eq!(check(&issuer.origin, &["--online"]).0, 0);
    let elsewhere = format!("{}/realms/x", issuer.origin);
    for wrong in [nobody, elsewhere] {
        let (code, report) = check(&wrong, &["--online"]);
        let problem = &report["problems"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((code, &problem["code"]), (5, &"auth::issuer".into()), "{report}");
        assert!(problem["hint"].is_string(), "{report}");
    }
}
