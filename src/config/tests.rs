mod credentials;
mod server_auth;
mod toolkits;
mod webhooks;

use super::*;
use crate::model::credential::{Credential, KeyPlace, Shared};
use crate::model::oauth::ClientSecret;
use crate::model::secret_ref::{SecretRef, Setting};
use crate::model::tool::{Body, Effect, HttpAction, Item, Kind, Node, Param, Piece, Template};

fn parse(source: &str) -> Result<Config, Problems> {
    super::parse(Path::new("tools.toml"), source, &[], FoundBy::Argument, Depth::Check)
}

fn good(source: &str) -> Config {
    parse(source).unwrap_or_else(|problems| panic!("{source}\n{:#?}", problems.list))
}

fn params(tool: &Tool) -> &[Param] {
    tool.input.params()
}

fn action(tool: &Tool) -> &HttpAction {
    tool.action.request().expect("a request")
}

fn param(name: &str) -> Template {
    Template(vec![Piece::Param(name.into())])
}

fn text(text: &str) -> Template {
    Template(vec![Piece::Text(text.into())])
}

/// A valid tool, to which a test adds its mistake.
const TOOL: &str = "[tools.a]\ndescription = \"d\"\n";
const GET: &str = "request = \"GET https://api.example.com/x\"\n";
/// A provider, ending within its OAuth table, which a test continues.
const OAUTH: &str = "[providers.acme]\nclient_id = \"x\"\n[providers.acme.oauth]\nauthorize_url = \"https://a.example/a\"\ntoken_url = \"https://a.example/t\"\n";
const POST: &str = "request = \"POST https://api.example.com/x\"\n";

#[test]
fn an_empty_file_is_a_server_without_tools() {
    for source in ["", "\n", "# nothing\r\n"] {
        let config = good(source);
        let codes: Vec<_> = config.warnings.iter().map(|warning| warning.code).collect();
        assert!(config.tools.is_empty() && codes == ["tools::count"], "{codes:?}");
        assert_eq!(config.server.name, "countersign");
    }
}

#[test]
fn parameters_go_where_they_are_named_else_into_query_or_body() {
    let config = good(
        r#"
        [tools.get]
        description = "d"
        request     = "GET https://api.example.com/a/{id}/b?fixed=1&x={y}"
        params.id   = "The id"
        params.y    = "The y"
        params.z    = { as = "zed", optional = true, type = "integer" }
        query.units = "metric"

        [tools.post]
        description = "d"
        request     = "POST https://api.example.com/a"
        params.b    = "B"
        params.a    = { as = "aye", default = 10 }

        [tools.form]
        description = "d"
        request     = "PUT https://api.example.com/a"
        params.b    = "B"
        form        = {}
        "#,
    );
    let [form, get, post] = config.tools.as_slice() else { panic!("three tools") };
    assert_eq!(action(get).path, [text("a"), param("id"), text("b")]);
    let query =
        [("fixed", text("1")), ("x", param("y")), ("units", text("metric")), ("zed", param("z"))];
    assert_eq!(action(get).query, query.map(|(name, value)| (name.to_owned(), value)));
    assert!(matches!(action(get).body, Body::None));
    assert_eq!(get.effect, Effect::Read);
    assert!(params(get).iter().all(|param| param.required == (param.name != "z")));

    let Body::Json(body) = &action(post).body else { panic!("a body") };
    let expected =
        [("b", "b"), ("aye", "a")].map(|(wire, name)| (wire.to_owned(), Node::Param(name.into())));
    assert_eq!(*body, Node::Table(expected.to_vec()));
    assert_eq!(params(post)[1].kind, Kind::Integer, "the default shows the type");
    assert_eq!(post.effect, Effect::Destroy);
    assert!(matches!(&action(form).body, Body::Form(fields) if fields.len() == 1));
}

#[test]
fn a_body_keeps_types_and_braces() {
    let config = good(
        r#"
        [tools.a]
        description = "d"
        request = "POST https://api.example.com/graphql"
        params.n = { type = "integer" }
        params.tags = { type = "array", items = "integer" }
        body = { query = "{{ me }}", n = "{n}", t = "n={n}", fixed = [1, true, { deep = "{tags}" }] }
        "#,
    );
    let Body::Json(Node::Table(body)) = &action(&config.tools[0]).body else { panic!("a table") };
    let get =
        |name: &str| body.iter().find(|(key, _)| key == name).map(|(_, node)| node).expect(name);
    assert_eq!(*get("query"), Node::Fixed("{ me }".into()));
    assert_eq!(*get("n"), Node::Param("n".into()));
    assert!(matches!(get("t"), Node::Text(_)));
    assert!(matches!(get("fixed"), Node::List(items) if items.len() == 3));
    assert_eq!(params(&config.tools[0])[1].kind, Kind::Array(Item::Integer));
}

#[test]
fn relative_requests_follow_the_base_url() {
    let config = good(
        r#"
        [providers.openweather]
        base_url = "https://api.openweathermap.org/data/2.5"
        api_key  = { query = "appid", value = "env:OPENWEATHER_API_KEY" }
        [tools.weather]
        description = "d"
        provider = "openweather"
        request = "GET /a%20b/"
        "#,
    );
    let weather = action(&config.tools[0]);
    assert_eq!(weather.origin.as_str(), "https://api.openweathermap.org/");
    assert_eq!(weather.path, [text("data"), text("2.5"), text("a b"), Template(vec![])]);
    let provider = &config.providers["openweather"];
    assert!(provider.hosts.admit(&weather.origin));
    let Credential::Shared(Shared::Key { place, value }) = &provider.credential else {
        panic!("a key")
    };
    assert_eq!(*place, KeyPlace::Query("appid".into()));
    assert_eq!(*value, SecretRef::Env("OPENWEATHER_API_KEY".into()));
}

#[test]
fn built_in_providers_need_no_table_and_are_overridden_by_entry() {
    let config = good(
        r#"
        [providers.gitlab]
        host = "git.example.com"
        client_id = "abc"
        oauth = { pkce = false }
        [tools.star]
        description = "d"
        provider = "github"
        scopes = ["public_repo"]
        request = "PUT /user/starred/{owner}"
        params.owner = "Owner"
        [tools.mail]
        description = "d"
        provider = "google"
        scopes = ["gmail.readonly", "email", "https://mail.google.com/"]
        request = "GET https://gmail.googleapis.com/gmail/v1/users/me/messages"
        [tools.issues]
        description = "d"
        provider = "gitlab"
        request = "GET /issues"
        "#,
    );
    let oauth = |id: &str| match &config.providers[id].credential {
        Credential::OAuth(settings) => settings.clone(),
        other => panic!("{other:?}"),
    };
    let github = oauth("github");
    assert_eq!(github.client_id, Some(Setting::Secret(SecretRef::Env("GITHUB_CLIENT_ID".into()))));
    let secret = github.client_secret.as_ref().and_then(ClientSecret::reference);
    assert_eq!(secret, Some(SecretRef::Env("GITHUB_CLIENT_SECRET".into())));
    assert!(github.implied["repo"].contains(&"public_repo".to_owned()));
    let gitlab = oauth("gitlab");
    assert_eq!(
        gitlab.endpoints.token.expect("a URL").as_str(),
        "https://git.example.com/oauth/token"
    );
    assert_eq!(gitlab.client_id, Some(Setting::Literal("abc".into())));
    assert!(!gitlab.pkce);
    assert!(config.providers["gitlab"].hosts.iter().eq(["git.example.com"]));
    let mail = config.tools.iter().find(|tool| tool.name.as_str() == "mail").expect("mail");
    let scopes =
        ["email", "https://mail.google.com/", "https://www.googleapis.com/auth/gmail.readonly"];
    assert!(mail.scopes.iter().eq(scopes));
    assert!(
        oauth("google").implied["https://www.googleapis.com/auth/userinfo.email"]
            .contains(&"email".to_owned())
    );
    assert_eq!(config.providers["google"].title, "Google");
}

#[test]
fn disabled_tools_are_left_out_and_the_rest_is_sorted() {
    let tool =
        |name: &str, more: &str| format!("[tools.{name}]\ndescription = \"d\"\n{GET}{more}\n");
    let config = good(&[tool("b", ""), tool("c", "disabled = true"), tool("a", "")].concat());
    let names: Vec<&str> = config.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(config.tools[0].title, "A");
}

#[test]
fn what_a_tools_tests_say_is_looked_at_by_check_alone() {
    let source = format!("{TOOL}{GET}tests = [{{ args = {{ a = 1 }}, expect = 'nonsense(' }}]");
    let problems = parse(&source).expect_err("two mistakes");
    assert_eq!(problems.errors().count(), 2, "{:#?}", problems.list);
    let path = Path::new("tools.toml");
    assert!(super::parse(path, &source, &[], FoundBy::Argument, Depth::Serve).is_ok());
}

/// Asserts that each source has one error, at this position and with this part of its message.
fn expect_each<S: AsRef<str>>(table: &[(S, &str, &str)]) {
    let mut wrong = Vec::new();
    for (source, place, part) in table {
        let source = source.as_ref();
        let problems = parse(source).expect_err(source);
        let errors: Vec<String> = problems.errors().map(Problem::line).collect();
        let is_found = errors
            .iter()
            .any(|error| error.starts_with(&format!("{place}: ")) && error.contains(part));
        if !is_found || errors.len() != 1 {
            wrong.push(format!("{source}\nwanted {place}: {part}\nfound {errors:#?}"));
        }
        assert!(!format!("{problems:?}").contains("hunter2"), "{source}");
        assert!(problems.list.iter().all(|problem| problem.hint.is_some()), "{:#?}", problems.list);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn mistakes_in_server_store_and_at_the_top() {
    expect_each(&[
        ("[server]\npublic_url = \"https://a.example/path\"", "2:14", "without a path"),
        ("[server]\nport = 0", "2:8", "`port` lies"),
        ("[server]\nmax_chars = 1", "2:13", "`max_chars` lies"),
        ("[server]\nconsent = \"txt\"", "2:11", "did you mean `text`? The choices are"),
        ("[server]\nallow_private = [\"10.0.0.0/33\"]", "2:18", "block of addresses"),
        ("[server]\nname = 5", "2:8", "`name` is a text, not a whole number"),
        ("[server]\nmode = \"x\"", "2:1", "`mode` is not supported by this version yet"),
        ("[server]\npublic_url = \"http://10.0.0.1\"", "2:15", "by `https://` only"),
        ("[server]\npublic_url = \"http://tools\"", "2:15", "by `https://` only"),
        ("[server]\npublic_url = \"https://ana:hunter2@a.example\"", "2:15", "user name"),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/33\"]", "2:20", "block of addresses"),
        ("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]", "2:20", "more addresses than any"),
        ("[server]\ntrusted_proxies = [\"128.0.0.0/1\"]", "2:20", "more addresses than any"),
        ("[server]\ntrusted_proxies = [\"::/0\"]", "2:20", "more addresses than any"),
        ("[server]\nauth = \"hunter2\"", "2:8", "`auth` is a table"),
        (
            "[store]\nurl = \"postgres://u:p@h/d\"",
            "2:7",
            "a Postgres store is not supported by this version yet",
        ),
        ("[store]\nretention = \"for_ever\"", "2:13", "`for_ever` is not a retention"),
        ("[store]\nurl = \"redis://x\"", "2:7", "no store"),
        ("[openapi.x]\nspec = \"a\"", "1:1", "`[openapi.x]` is not supported by this version yet"),
        ("[mcp.x]\nurl = \"a\"", "1:1", "`[mcp.x]` is not supported by this version yet"),
        ("[tool.x]\n", "1:2", "unknown key `tool`"),
    ]);
}

#[test]
fn mistakes_in_requests() {
    expect_each(&[
        (format!("{TOOL}request = \"/x\""), "3:11", "a method and an address"),
        (format!("{TOOL}request = \"FETCH https://a.example\""), "3:12", "no method"),
        (format!("{TOOL}request = \"GET /x\""), "3:11", "needs a whole URL"),
        (format!("{TOOL}request = \"GET //evil.example/x\""), "3:16", "neither a path nor a URL"),
        (
            format!("{TOOL}request = \"GET https://{{h}}.example/x\"\nparams.h = \"H\""),
            "3:16",
            "never reach the host",
        ),
        (
            format!("{TOOL}request = \"GET https://a.example/{{x}}\""),
            "3:34",
            "`{x}` is not a parameter of `a`",
        ),
        (format!("{TOOL}request = \"GET https://a.example/x#y\""), "3:35", "fragment"),
        (format!("{TOOL}request = \"GET https://a.example/../x\""), "3:34", "`..` segments"),
        (format!("{TOOL}request = \"GET https://a.example/a//b\""), "3:36", "`..` segments"),
        (format!("{TOOL}request = \"GET https://a.example/%2e%2e/b\""), "3:34", "`..` segments"),
        (
            format!("{TOOL}request = \"GET https://a.example/?{{x}}=1\"\nparams.x = \"X\""),
            "3:35",
            "the name of a query parameter",
        ),
        (
            format!("{TOOL}request = \"GET https://a.example/?api_key=hunter2\""),
            "3:43",
            "carries a credential",
        ),
        (
            format!(
                "{TOOL}request = \"GET https://a.example/{{x}}\"\nparams.x = {{ optional = true, description = \"X\" }}"
            ),
            "3:34",
            "may be left out",
        ),
        (
            format!(
                "{TOOL}request = \"GET https://a.example/{{x}}\"\nparams.x = {{ type = \"array\", description = \"X\" }}"
            ),
            "3:34",
            "cannot stand in a path",
        ),
        (
            format!("{TOOL}request = \"GET https://a.example/a b}}\""),
            "3:37",
            "no part of a placeholder",
        ),
        (
            format!(
                "{TOOL}request = \"GET /user\"
provider = \"github\"
scopes = [\"a b\"]"
            ),
            "5:11",
            "no scope",
        ),
    ]);
}

#[test]
fn mistakes_in_parameters() {
    expect_each(&[
        (
            format!(
                "{TOOL}{GET}params.a = {{ as = \"q\", description = \"A\" }}\nparams.q = \"Q\""
            ),
            "5:8",
            "`q` is sent twice",
        ),
        (format!("{TOOL}{GET}params.a = \"A\"\nquery.a = 1"), "4:8", "`a` is sent twice"),
        (format!("{TOOL}{GET}params.\"a b\" = \"A\""), "4:8", "a parameter's name"),
        (
            format!("{TOOL}{GET}params.a = {{ type = \"int\", description = \"A\" }}"),
            "4:21",
            "`int` is not a type",
        ),
        (
            format!("{TOOL}{GET}params.a = {{ defualt = 1, description = \"A\" }}"),
            "4:14",
            "unknown key `defualt`",
        ),
        (
            format!(
                "{TOOL}{GET}params.a = {{ type = \"integer\", default = \"x\", description = \"A\" }}"
            ),
            "4:42",
            "not of the parameter's type",
        ),
        (
            format!(
                "{TOOL}{GET}params.a = {{ enum = [\"x\", \"y\"], default = \"z\", description = \"A\" }}"
            ),
            "4:43",
            "not among `enum`",
        ),
        (
            format!("{TOOL}{GET}params.a = {{ enum = [], description = \"A\" }}"),
            "4:21",
            "no value is allowed",
        ),
        (
            format!(
                "{TOOL}{GET}params.a = {{ type = \"integer\", min = 5, max = 1, description = \"A\" }}"
            ),
            "4:38",
            "`min` is greater than `max`",
        ),
        (
            format!("{TOOL}{GET}params.a = {{ default = 5, max = 1, description = \"A\" }}"),
            "4:24",
            "greater than `max`",
        ),
        (format!("{TOOL}{POST}params.a = \"A\"\nbody = {{ b = 1 }}"), "4:8", "`a` goes nowhere"),
        (format!("{TOOL}{POST}params.a = \"A\"\nform = {{ b = 1 }}"), "4:8", "`a` goes nowhere"),
    ]);
}

#[test]
fn mistakes_in_the_rest_of_a_tool() {
    expect_each(&[
        (
            "[tools.a]\nrequest = \"GET https://a.example/\"".to_owned(),
            "1:1",
            "`description` is missing",
        ),
        ("[tools.a]\ndescription = \"d\"".to_owned(), "1:1", "`request` is missing"),
        (format!("{TOOL}{GET}scope = [\"x\"]"), "4:1", "unknown key `scope`"),
        (format!("{TOOL}{GET}provider = \"githup\""), "4:12", "no provider `githup`"),
        (format!("{TOOL}{POST}body = {{ b = 1 }}\nform = {{ b = 1 }}"), "5:8", "`body` and `form`"),
        (format!("{TOOL}{GET}body = {{ b = 1 }}"), "4:8", "GET has no body"),
        (format!("{TOOL}{GET}headers.\"{{x}}\" = \"1\""), "4:9", "the name of a header is fixed"),
        (format!("{TOOL}{GET}headers.\"a b\" = \"1\""), "4:9", "no name of a header"),
        (format!("{TOOL}{GET}headers.Host = \"x\""), "4:9", "written by the client"),
        (format!("{TOOL}{GET}headers.X = \"a\\r\\nb\""), "4:13", "no control characters"),
        (
            format!("{TOOL}{GET}headers.Authorization = \"Bearer hunter2\""),
            "4:9",
            "carries a credential",
        ),
        (format!("{TOOL}{GET}reply = \"x\"\nselect = \".\""), "4:9", "`reply` and `select`"),
        (format!("{TOOL}{GET}effect = \"delete\""), "4:10", "`delete` is not an effect"),
        (format!("{TOOL}{GET}timeout = 0"), "4:11", "between 1 and 120"),
        (format!("{TOOL}{GET}scopes = [\"a\"]"), "4:11", "scopes without a provider"),
        (
            format!("{TOOL}{GET}provider = \"github\""),
            "3:16",
            "would not be sent to `api.example.com`",
        ),
        (
            format!(
                "[providers.k]\nbase_url = \"https://api.example.com\"\napi_key = {{ query = \"k\", value = \"env:K\" }}\n{TOOL}{GET}provider = \"k\"\nscopes = [\"a\"]"
            ),
            "8:11",
            "a key or password has no scopes",
        ),
        (format!("{TOOL}{GET}select = \".a | nosuch\""), "4:16", "`nosuch` does not exist"),
        (format!("{TOOL}{GET}error = \"if\""), "4:12", "does not compile"),
        (format!("{TOOL}{GET}output = {{ type = \"array\" }}"), "4:10", "must be an object"),
        (
            format!(
                "{TOOL}{GET}output = {{ type = \"object\", properties = {{ a = {{ type = \"text\" }} }} }}"
            ),
            "4:57",
            "no valid JSON Schema",
        ),
        (
            format!(
                "{TOOL}{GET}output = {{ type = \"object\", properties = {{ a = {{ \"$ref\" = \"#\" }} }} }}"
            ),
            "4:59",
            "`$ref`",
        ),
        (
            format!("{TOOL}{GET}confirm = \"x\""),
            "4:1",
            "`confirm` is not supported by this version yet",
        ),
        (format!("[tools.connections]\ndescription = \"d\"\n{GET}"), "1:8", "built-in tool"),
        (format!("[tools.Find_Tools]\ndescription = \"d\"\n{GET}"), "1:8", "built-in tool"),
        (format!("{TOOL}{GET}[tools.A]\ndescription = \"d\"\n{GET}"), "4:8", "differ by case only"),
        (format!("[tools.\"a b\"]\ndescription = \"d\"\n{GET}"), "1:8", "letters, digits"),
        (
            format!("[tools.\"{}\"]\ndescription = \"d\"\n{GET}", "a".repeat(65)),
            "1:8",
            "at most 64",
        ),
        (format!("{TOOL}{GET}{TOOL}{GET}"), "4:8", "`a` is given twice"),
    ]);
}

#[test]
fn mistakes_in_providers() {
    let acme = "[providers.acme]\nbase_url = \"https://api.acme.example\"\napi_key = { header = \"X-Key\", value = \"env:ACME_KEY\" }\n";
    expect_each(&[
        ("[providers.Acme]\nclient_id = \"x\"".to_owned(), "1:12", "a provider's name"),
        ("[providers.acme]\nbase_url = \"https://a.example\"".to_owned(), "1:12", "how `acme` grants access"),
        ("[providers.acme]\nclient_id = \"x\"".to_owned(), "1:12", "where `acme` grants access"),
        ("[providers.acme.oauth]\nissuer = \"https://a.example\"".to_owned(), "1:12", "`client_id` is missing"),
        ("[providers.github]\nclient_secret = \"hunter2\"".to_owned(), "2:17", "a secret stands here"),
        ("[providers.github]\nclient_secret = \"env:a b\"".to_owned(), "2:17", "`env:` wants"),
        ("[providers.github]\nclient_secrt = \"hunter2\"".to_owned(), "2:1", "unknown key `client_secrt`"),
        ("[providers.github]\ntenant = \"x\"".to_owned(), "2:10", "`tenant` means nothing"),
        ("[providers.microsoft]\ntenant = \"x/../y\"".to_owned(), "2:10", "no tenant"),
        ("[providers.gitlab]\nhost = \"https://x\"".to_owned(), "2:8", "no host"),
        ("[providers.github]\noauth = { params = { state = \"x\" } }".to_owned(), "2:22", "not free to be set"),
        ("[providers.github]\nhosts = [\"*.com\"]".to_owned(), "2:10", "top-level domain"),
        ("[providers.github]\nfailure = { message = [\"error\"] }".to_owned(), "2:24", "no JSON pointer"),
        (format!("{acme}[tools.a]\ndescription = \"d\"\nprovider = \"acme\"\nrequest = \"GET https://other.example/\""), "7:16", "would not be sent to `other.example`"),
        ("[providers.acme]\nbase_url = \"https://a.example\"\napi_key = { value = \"env:A\" }".to_owned(), "3:11", "where does the key go"),
        (format!("{OAUTH}revoke_url = \"https://a.example/r\"\nrevoke_request = {{ authorization = \"x\" }}"), "7:18", "what is posted"),
        (format!("{OAUTH}revoke_url = \"https://a.example/r\"\nrevoke_request = {{ form = {{ t = \"{{refresh_token}}\" }} }}"), "7:33", "nothing is known"),
        (format!("{OAUTH}token_params = {{ grant_type = \"x\" }}"), "6:18", "not free to be set"),
        (format!("{OAUTH}identity = {{ request = \"GET https://a.example/me\" }}"), "6:12", "`id`"),
        (format!("{OAUTH}identity = {{ request = \"DELETE https://a.example/me\", id = \"/id\" }}"), "6:24", "`DELETE` is not among the choices"),
        (format!("{OAUTH}identity = {{ request = \"GET https://a.example/me\", id = \"id\" }}"), "6:57", "no JSON pointer"),
        (format!("{OAUTH}userinfo_url = \"https://evil.example/me\""), "6:16", "`identity` is at evil.example"),
        (format!("{OAUTH}identity = {{ request = \"GET https://evil.example/me\", id = \"/id\" }}"), "6:12", "`identity` is at evil.example"),
        (format!("{OAUTH}revoke_url = \"https://evil.example/r\""), "6:14", "`revoke_url` is at evil.example"),
        (format!("{OAUTH}device_url = \"https://evil.example/d\""), "6:14", "`device_url` is at evil.example"),
        ("[providers.github.oauth]\ndevice_url = \"https://evil.example/d\"".to_owned(), "2:14", "`device_url` is at evil.example"),
        (format!("{OAUTH}scope_parameter = \"redirect_uri\""), "6:19", "not free to be set"),
        ("[providers.github]\nguide = { paginate = { cursor = \"c\" } }".to_owned(), "2:22", "how are lists paged"),
        ("[providers.shopify]\nshop = \"evil.example/\"".to_owned(), "2:8", "this is no shop"),
        ("[providers.shopify]\ntitle = \"S\"".to_owned(), "1:12", "`shopify` needs `shop`"),
        ("[providers.salesforce]\nhost = \"*.salesforce.com\"".to_owned(), "2:8", "this is no host"),
        ("[providers.acme]\nbase_url = \"https://ana:hunter2@a.example\"\napi_key = { query = \"k\", value = \"env:A\" }".to_owned(), "2:13", "user name or password"),
    ]);
}

#[test]
fn what_cannot_be_read_hides_nothing_else_and_causes_nothing() {
    let source = format!(
        "{TOOL}request = \"GET https://a.example/{{x}}\"\nparams.x = {{ description \"X\" }}\neffect = \"reed\"\n"
    );
    let problems = parse(&source).expect_err("two mistakes");
    let places: Vec<usize> = problems.errors().map(|problem| problem.line).collect();
    assert_eq!(places, [4, 5], "{:#?}", problems.list);
}

#[test]
fn crlf_and_tabs_change_no_place() {
    let problems = parse("[server]\r\n\tname\t=\t5\r\n").expect_err("a mistake");
    assert_eq!((problems.list[0].line, problems.list[0].column), (2, 9));
}

#[test]
fn what_is_unwise_is_a_warning() {
    let tool = |i| format!("[tools.t{i}]\ndescription = \"d\"\n{GET}");
    let tools = (0..41).map(tool).collect::<Vec<_>>().concat();
    let config = good(&tools);
    let has = |config: &Config, part: &str| {
        config.warnings.iter().filter(|warning| warning.message.contains(part)).count() == 1
    };
    assert!(has(&config, "41 tools"));
    let config = good(&format!("[tools.{}]\ndescription = \"d\"\n{GET}", "a".repeat(41)));
    assert!(has(&config, "mcp__countersign__"));
    let config = good(&format!("{TOOL}{GET}params.x = {{ type = \"integer\" }}"));
    assert!(has(&config, "no description"));
}

#[test]
fn a_file_that_ends_anywhere_is_read_to_its_end() {
    let whole = include_str!("../../tools.toml");
    for end in (0..whole.len()).step_by(61).filter(|&end| whole.is_char_boundary(end)) {
        let source = &whole[..end];
        if let Err(problems) = parse(source) {
            assert!(problems.list.len() < 30, "{source}\n{problems}");
        }
    }
}
