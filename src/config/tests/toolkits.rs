//! `[toolkits]` and `[gateways]`, and the names of tools in other products' contracts.

use super::*;
use crate::model::face::Face;
use crate::model::gateway::OfferedTools;

/// A GitHub app, so that its toolkit can be used.
const GITHUB: &str = "[providers.github]\nclient_id = \"us\"\nclient_secret = \"env:HOME\"\n";

fn names(config: &Config) -> Vec<&str> {
    config.tools.iter().map(|tool| tool.name.as_str()).collect()
}

#[test]
fn a_toolkit_gives_the_tools_that_are_listed() {
    let config = good(&format!(
        "{GITHUB}[toolkits]\ngithub = [\"star_repo\", \"search_repos\"]\n{TOOL}{GET}"
    ));
    assert_eq!(names(&config), ["a", "github_search_repos", "github_star_repo"]);
    let [_, search, star] = &config.tools[..] else { panic!("three") };
    assert_eq!(search.faces.at(Face::Portia).id.as_deref(), Some("portia:github::search_repos"));
    assert_eq!(search.faces.at(Face::Portia).to_theirs("query"), "search_term");
    assert!(star.scopes.iter().eq(["public_repo"]), "{:?}", star.scopes);
    assert_eq!(config.providers.len(), 1);
}

#[test]
fn a_star_gives_all_tools_and_each_toolkit_can_be_used_whole() {
    for id in crate::catalog::toolkits::ids() {
        let toolkit = toolkit(id).expect("a toolkit");
        let app = "client_id = \"us\"\nclient_secret = \"env:HOME\"\n";
        let own = match toolkit.provider.as_str() {
            "zendesk" => "subdomain = \"acme\"\n",
            _ => "",
        };
        let provider = toolkit.provider.as_str();
        let config = good(&format!("[providers.{provider}]\n{app}{own}[toolkits]\n{id} = \"*\"\n"));
        let all: Vec<&str> = toolkit.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names(&config), all);
        assert!(config.tools.iter().all(|tool| tool.provider.is_some()), "{id}");
    }
}

#[test]
fn mistakes_in_toolkits() {
    expect_each(&[
        (format!("{GITHUB}[toolkits]\ngithub = [\"star_rep\"]"), "5:11", "no tool `star_rep`"),
        (format!("{GITHUB}[toolkits]\ngithub = [\"github_star_repo\"]"), "5:11", "has no tool"),
        (format!("{GITHUB}[toolkits]\ngithub = \"all\""), "5:10", "`github` is a list"),
        ("[toolkits]\ngithb = \"*\"".to_owned(), "2:1", "no toolkit `githb`"),
        (
            format!(
                "{GITHUB}[toolkits]\ngithub = \"*\"\n[tools.GitHub_star_repo]\ndescription = \"d\"\n{GET}"
            ),
            "5:10",
            "the same tool",
        ),
        ("[toolkits]\nzendesk = [\"search_tickets\"]".to_owned(), "2:1", "subdomain"),
    ]);
}

#[test]
fn names_in_contracts_are_read_and_checked() {
    let param = "params.owner = \"o\"\nparams.repo = \"r\"\n";
    let tool = |more: &str| format!("{TOOL}{GET}{param}{more}");
    let config = good(&tool(
        "ids = { arcade = \"Github.StarRepo\", portia = \"portia:github::star_repo\" }\n\
         args.portia = { \"owner/repo\" = \"repo\" }\nargs.arcade = { owner = \"login\" }\n\
         returns = { type = \"str\", description = \"done\" }\nshould_summarize = true\n",
    ));
    let faces = &config.tools[0].faces;
    assert_eq!(faces.arcade.id.as_deref(), Some("Github.StarRepo"));
    assert_eq!(faces.arcade.to_theirs("owner"), "login");
    assert_eq!(faces.portia.args[0].ours, ["owner", "repo"]);
    let returns = &config.tools[0].returns;
    assert_eq!(returns.kind.as_deref(), Some("str"));
    assert!(returns.should_summarize);
    expect_each(&[
        (tool("ids.arcade = \"StarRepo\""), "6:14", "no id of a tool for Arcade"),
        (tool("ids.arcade = \"A.B.C\""), "6:14", "no id of a tool for Arcade"),
        (tool("ids.arcade = \"1a.B\""), "6:14", "no id of a tool for Arcade"),
        (tool("ids.portia = \"a,b\""), "6:14", "no id of a tool for Portia"),
        (tool("ids.portia = \"\""), "6:14", "no id of a tool for Portia"),
        (tool("ids.langchain = \"x\""), "6:5", "unknown key `langchain`"),
        (tool("args.arcade = { repos = \"x\" }"), "6:17", "no parameter `repos`"),
        (tool("args.arcade = { owner = \"x\", repo = \"x\" }"), "6:37", "another parameter"),
        (
            tool("args.arcade = { \"owner/repo\" = \"x\", repo = \"y\" }"),
            "6:37",
            "has a name there already",
        ),
    ]);
}

#[test]
fn tools_that_a_contract_does_not_distinguish_are_reported_where_it_is_reached() {
    let tool = |name: &str, more: &str| format!("[tools.{name}]\ndescription = \"d\"\n{GET}{more}");
    let alike = format!("{}{}", tool("github_getrepo", ""), tool("github_get_repo", ""));
    let warnings = good(&alike).warnings;
    assert!(warnings.iter().any(|it| it.message.contains("one name to Arcade's clients")));
    let same = |ids: &str| format!("{}{}", tool("b_c", ids), tool("d", ids));
    let listed = format!("{alike}[gateways]\nsales = [\"github_getrepo\"]");
    expect_each(&[
        (same("ids.arcade = \"Demo.Hello\"\n"), "5:8", "one name to Arcade's clients"),
        (same("ids.portia = \"x:y\"\n"), "5:8", "one name to Portia's clients"),
        (listed, "1:8", "one name to Arcade's clients"),
    ]);
}

#[test]
fn gateways_list_tools_by_name() {
    let config = good(&format!(
        "[gateways]\nsales = [\"a\", \"off\"]\nempty = []\n{TOOL}{GET}[tools.off]\ndescription = \"d\"\ndisabled = true\n{GET}"
    ));
    let tools = |name| config.gateways.tools(name);
    let OfferedTools::These(sales) = tools("sales").unwrap() else { panic!("a list") };
    assert_eq!(sales.iter().map(crate::model::ToolName::as_str).collect::<Vec<_>>(), ["a"]);
    assert!(!tools("empty").unwrap().has(&crate::model::ToolName::new("a")));
    assert_eq!(tools("all"), Some(OfferedTools::All));
    assert_eq!(tools("Sales"), None);
    expect_each(&[
        (format!("[gateways]\nall = []\n{TOOL}{GET}"), "2:1", "has every tool already"),
        (format!("[gateways]\n\"a/b\" = []\n{TOOL}{GET}"), "2:1", "a part of its path"),
        (format!("[gateways]\nSales = [\"a\"]\n{TOOL}{GET}"), "2:1", "a part of its path"),
        (format!("[gateways]\nsales = [\"b\"]\n{TOOL}{GET}"), "2:10", "there is no tool `b`"),
        (format!("[gateways]\nsales = \"a\"\n{TOOL}{GET}"), "2:9", "is a list"),
    ]);
}

/// A line of `tools.toml` with a mistake, part of the hint, and the line that follows the hint.
type Remedy = (&'static str, &'static str, &'static str);

/// Each hint, when it is followed, leaves no problem of the toolkits and gateways.
#[test]
fn a_hint_that_is_followed_ends_the_mistake() {
    let remedies: [Remedy; 21] = [
        (
            "[toolkits]\nGitHub = [\"star_repo\"]",
            "did you mean `github`?",
            "[toolkits]\ngithub = [\"star_repo\"]",
        ),
        (
            "[toolkits]\ncalendar = \"*\"",
            "did you mean `google_calendar`?",
            "[toolkits]\ngoogle_calendar = \"*\"",
        ),
        (
            "[toolkits]\ngoogle = \"*\"",
            "one of `google_calendar`, `google_docs`,",
            "[toolkits]\ngoogle_docs = \"*\"",
        ),
        (
            "[toolkits]\nlinkedin = \"*\"",
            "declare tools of another service",
            "[tools.l]\ndescription = \"d\"\nrequest = \"GET https://api.example.com/x\"\n",
        ),
        (
            "[toolkits]\ngithub_star_repo = \"*\"",
            "that is a tool: write `github = [\"star_repo\"]`",
            "[toolkits]\ngithub = [\"star_repo\"]",
        ),
        (
            "[toolkits]\ngithub = [\"star\"]",
            "did you mean `star_repo`?",
            "[toolkits]\ngithub = [\"star_repo\"]",
        ),
        (
            "[toolkits]\ngithub = [\"Github.GetRepository\"]",
            "did you mean `get_repo`?",
            "[toolkits]\ngithub = [\"get_repo\"]",
        ),
        (
            "[toolkits]\ngithub = [\"gmail_list_emails\"]",
            "write `gmail = [\"list_emails\"]`",
            "[toolkits]\ngmail = [\"list_emails\"]",
        ),
        (
            "[toolkits]\ngithub = \"all\"",
            "`github = [\"…\"]`",
            "[toolkits]\ngithub = [\"star_repo\"]",
        ),
        ("[toolkits]\ngithub = [\"all\"]", "write `github = \"*\"`", "[toolkits]\ngithub = \"*\""),
        ("[toolkits]\ngithub = [\"*\"]", "write `github = \"*\"`", "[toolkits]\ngithub = \"*\""),
        ("[toolkits]\ngithub = []", "write `github = \"*\"` for all", "[toolkits]\ngithub = \"*\""),
        (
            "[toolkits.github]\ntools = [\"star_repo\"]",
            "below `[toolkits]`",
            "[toolkits]\ngithub = [\"star_repo\"]",
        ),
        (
            "[[toolkits.github]]\ntools = [\"star_repo\"]",
            "below `[toolkits]`",
            "[toolkits]\ngithub = [\"star_repo\"]",
        ),
        ("[gateways.sales]\ntools = [\"a\"]", "below `[gateways]`", "[gateways]\nsales = [\"a\"]"),
        ("[gateways]\nsales = [\"*\"]", "`/mcp/all` has every tool", "[gateways]\nsales = [\"a\"]"),
        (
            "[gateways]\nsales = [\"a\", \"connections\"]",
            "remove it",
            "[gateways]\nsales = [\"a\"]",
        ),
        (
            "[gateways]\nsales = [\"github_star_repo\"]",
            "e.g. `github = [\"star_repo\"]`, and list it here as `github_star_repo`",
            "[toolkits]\ngithub = [\"star_repo\"]\n[gateways]\nsales = [\"github_star_repo\"]",
        ),
        (
            "[toolkits]\ngithub = [\"star_repo\"]\n[gateways]\nsales = [\"star_repo\"]",
            "did you mean `github_star_repo`?",
            "[toolkits]\ngithub = [\"star_repo\"]\n[gateways]\nsales = [\"github_star_repo\"]",
        ),
        ("[gateways]\nsales = [\"zzz\"]", "the tools are `a`", "[gateways]\nsales = [\"a\"]"),
        ("[gateways]\nsales = []", "list the names of its tools", "[gateways]\nsales = [\"a\"]"),
    ];
    let app = |name: &str| {
        format!("[providers.{name}]\nclient_id = \"us\"\nclient_secret = \"env:HOME\"\n")
    };
    for (mistake, hint, followed) in remedies {
        let file = |lines: &str| {
            let apps = ["github", "google"].map(app).concat();
            format!("{apps}{TOOL}{GET}{lines}\n")
        };
        let source = file(mistake);
        let problems = match parse(&source) {
            Ok(config) => config.warnings,
            Err(problems) => problems.list,
        };
        let hints: Vec<&str> = problems.iter().filter_map(|it| it.hint.as_deref()).collect();
        assert!(hints.iter().any(|it| it.contains(hint)), "{mistake}: {hints:#?}");
        let left = good(&file(followed)).warnings;
        let codes = ["toolkits::", "gateways::", "tools::count", "config::"];
        let is_ours = |it: &&Problem| codes.iter().any(|code| it.code.starts_with(code));
        assert!(left.iter().find(is_ours).is_none(), "{followed}: {left:#?}");
    }
}

#[test]
fn a_tool_in_both_tables_and_a_disabled_one_at_a_gateway_have_ways_out() {
    let own = |name: &str, more: &str| format!("[tools.{name}]\ndescription = \"d\"\n{GET}{more}");
    let asked = format!("{GITHUB}[toolkits]\ngithub = [\"star_repo\", \"get_repo\"]\n");
    let both = parse(&format!("{asked}{}", own("github_star_repo", ""))).unwrap_err();
    let hint = both.list[0].hint.as_deref().unwrap();
    assert!(hint.contains("give [tools.github_star_repo] another name"), "{hint}");
    assert!(hint.contains("without `star_repo`"), "{hint}");
    good(&format!("{asked}{}", own("my_star", "")));
    let without = asked.replace("\"star_repo\", ", "");
    good(&format!("{without}{}", own("github_star_repo", "")));

    let gateway = "[gateways]\nsales = [\"off\"]\n";
    let warnings = good(&format!("{gateway}{}", own("off", "disabled = true\n"))).warnings;
    let disabled = warnings.iter().find(|it| it.code == "gateways::disabled").unwrap();
    let hint = disabled.hint.as_deref().unwrap();
    assert!(hint.contains("`disabled` from [tools.off]"), "{hint}");
    assert!(
        good(&format!("{gateway}{}", own("off", "")))
            .warnings
            .iter()
            .all(|it| it.code != "gateways::disabled")
    );
}

/// The advice of the error is to write another id for one of the two, whichever it is.
#[test]
fn another_id_ends_what_makes_two_tools_one() {
    let tool = |name: &str, more: &str| format!("[tools.{name}]\ndescription = \"d\"\n{GET}{more}");
    let gateway = "[gateways]\nsales = [\"notes_list\"]\n";
    let other = "ids = { arcade = \"My.Notes\", portia = \"my:notes\" }\n";
    for (one, two) in [("", ""), (other, ""), ("", other)] {
        let file = format!("{gateway}{}{}", tool("notes_list", one), tool("notes-list", two));
        assert_eq!(parse(&file).is_ok(), !(one.is_empty() && two.is_empty()), "{file}");
    }
}
