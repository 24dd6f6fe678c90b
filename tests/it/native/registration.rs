//! Registration of tools that are code: their mistakes, and their tables in `tools.toml`.

use std::fs;

use countersign::broker::code::CodeTools;
use countersign::config::{self, Config, Problems};
use countersign::model::declared_tool::ToolProblem;
use countersign::model::tool::Action;
use countersign::prelude::*;

/// A tool of any name, description and need.
struct Any {
    name: &'static str,
    description: String,
    need: Option<Authorization>,
    id: Option<&'static str>,
}

impl Tool for Any {
    type Args = NoArgs;
    type Output = ();

    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn id(&self) -> Option<&str> {
        self.id
    }

    fn authorization(&self) -> Option<Authorization> {
        self.need.clone()
    }

    async fn run(&self, _ctx: &Context, _args: NoArgs) -> Result<(), ToolError> {
        Ok(())
    }
}

fn any(name: &'static str) -> Any {
    Any { name, description: "Does it.".into(), need: None, id: None }
}

#[expect(clippy::needless_pass_by_value, reason = "made for the call")]
fn loaded(tools: &str, code: CodeTools) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tools.toml");
    fs::write(&path, tools).unwrap();
    config::load_with(&path, &code.declared())
}

#[track_caller]
fn problem(tools: &str, code: CodeTools) -> ToolProblem {
    let problems = loaded(tools, code).expect_err("a problem");
    assert!(!problems.tools.is_empty(), "{problems}");
    assert!(problems.list.iter().all(|problem| problem.hint.is_some()), "{problems}");
    problems.tools[0].clone()
}

#[test]
fn a_description_has_at_most_1024_characters() {
    let with =
        |chars| CodeTools::default().with(Any { description: "é".repeat(chars), ..any("long") });
    assert!(loaded("", with(1024)).is_ok());
    for chars in [1025, 0] {
        let expected = ToolProblem::InvalidToolDescription { tool: "long".into(), chars };
        assert_eq!(problem("", with(chars)), expected);
        assert!(expected.to_string().starts_with("InvalidToolDescription: "));
    }
    let built = Server::builder().config("/none/such.toml").tool(any("fine"));
    assert!(matches!(built.check(), Err(ServerError::Config(_) | ServerError::Start(_))));
}

#[test]
fn names_and_ids_are_unique() {
    let two = |first, second| CodeTools::default().with(any(first)).with(any(second));
    let is_taken = |problem: &ToolProblem| matches!(problem, ToolProblem::NameTaken { .. });
    assert!(is_taken(&problem("", two("same", "SAME"))));
    assert!(is_taken(&problem("", CodeTools::default().with(any("connections")))));
    let own = "[tools.own]\ndescription = \"Reads.\"\nrequest = \"GET http://127.0.0.1:9/\"\n";
    assert!(is_taken(&problem(own, CodeTools::default().with(any("own")))));
    for bad in ["", "a b", "a.b"] {
        let bad = problem("", CodeTools::default().with(any(bad)));
        assert!(matches!(bad, ToolProblem::InvalidName { .. }), "{bad:?}");
    }
    // Arcade's clients cannot tell these apart.
    let alike = problem("", two("star_repo", "star-repo"));
    assert!(matches!(alike, ToolProblem::IdTaken { .. }), "{alike:?}");
    let id = CodeTools::default().with(Any { id: Some("a b"), ..any("ok") });
    assert!(matches!(problem("", id), ToolProblem::InvalidId { .. }));
}

#[test]
fn a_need_names_a_provider_that_exists() {
    let need = |provider: &str| {
        let need = Some(Authorization::new(provider, ["gist"]));
        CodeTools::default().with(Any { need, ..any("needy") })
    };
    let config = loaded("", need("github")).expect("a built-in provider");
    assert!(config.providers.keys().any(|id| id.as_str() == "github"));
    let unknown = problem("", need("githob"));
    let ToolProblem::UnknownProvider { nearest, .. } = &unknown else { panic!("{unknown:?}") };
    assert_eq!(nearest.as_deref(), Some("github"));
    let keyed = "[providers.keyed]\nbase_url = \"https://api.example.com\"\napi_key = { query = \"key\", value = \"env:KEY\" }\n";
    assert!(matches!(problem(keyed, need("keyed")), ToolProblem::InvalidScopes { .. }));
    // Google's scopes need no prefix.
    let gmail = Some(Authorization::new("google", ["gmail.readonly"]));
    let config = loaded("", CodeTools::default().with(Any { need: gmail, ..any("mail") })).unwrap();
    let scopes: Vec<_> = config.tools[0].scopes.iter().collect();
    assert_eq!(scopes, ["https://www.googleapis.com/auth/gmail.readonly"]);
}

#[test]
fn the_operator_s_part_is_in_tools_toml() {
    let code = || CodeTools::default().with(any("mine")).with(any("off"));
    let config = loaded(
        "[server.auth]\nissuer = \"https://id.example\"\n\
         [tools.mine]\nallow = [\"group:eng\"]\ntitle = \"Ours\"\nmax_chars = 500\ntimeout = 3\n\
         [tools.off]\ndisabled = true\n[gateways]\nfew = [\"mine\"]\n",
        code(),
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    let [tool] = config.tools.as_slice() else { panic!("{:?}", config.tools) };
    assert_eq!((tool.title.as_str(), tool.allow.as_ref().map(Vec::len)), ("Ours", Some(1)));
    let Action::Code(action) = &tool.action else { panic!("{tool:?}") };
    assert_eq!((action.max_chars, action.timeout.as_secs()), (500, 3));
    // The author's part is in the code.
    let problems = loaded("[tools.mine]\ndescription = \"Other.\"\nscopes = [\"x\"]\n", code());
    let problems = problems.expect_err("two problems");
    let codes: Vec<_> = problems.list.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["code::table", "code::table"], "{problems}");
    // Without the program's code, the same table has no request.
    assert!(loaded("[tools.mine]\ntitle = \"Ours\"\n", CodeTools::default()).is_err());
}
