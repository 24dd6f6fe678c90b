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
