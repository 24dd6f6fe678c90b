//! Two tools for GitHub, written in Rust and served beside those of a `tools.toml`.
//!
//! ```console
//! $ cargo run --example github_tools -- tools list
//! $ cargo run --example github_tools -- serve --stdio
//! ```

use std::process::ExitCode;

use countersign::prelude::*;

fn main() -> ExitCode {
    Server::builder().tool(SearchGitHubRepos::default()).tool(StarGitHubRepo::default()).main()
}

/// Searches repositories. Needs no scope: a token alone raises GitHub's rate limit.
pub struct SearchGitHubRepos {
    /// Scheme and host of GitHub's API.
    pub api: String,
}

/// Arguments of [`SearchGitHubRepos`].
#[derive(Deserialize, JsonSchema)]
pub struct Search {
    /// Words to search for, e.g. `mcp server language:rust`
    query: String,
    /// Order of the repositories
    sort: Option<Order>,
    /// How many repositories to return
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 50))]
    limit: u8,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    Stars,
    Forks,
}

fn ten() -> u8 {
    10
}

/// Repositories that were found.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// The best ones first
    items: Vec<Repo>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Repo {
    full_name: String,
    description: Option<String>,
    stargazers_count: u64,
}

impl Default for SearchGitHubRepos {
    fn default() -> Self {
        Self { api: "https://api.github.com".into() }
    }
}

impl Tool for SearchGitHubRepos {
    type Args = Search;
    type Output = Found;

    fn name(&self) -> &str {
        "github_search_repos"
    }

    fn id(&self) -> Option<&str> {
        Some("portia:github::search_repos")
    }

    fn description(&self) -> &str {
        "Searches GitHub for repositories. Use it to find a repository whose name is not known."
    }

    fn effect(&self) -> Effect {
        Effect::Read
    }

    fn authorization(&self) -> Option<Authorization> {
        Some(Authorization::new("github", []))
    }

    async fn run(&self, ctx: &Context, args: Search) -> Result<Found, ToolError> {
        if args.query.trim().is_empty() {
            return Err(Clarification::input("query", "What should be searched for?").into());
        }
        let sort = args.sort.map(|order| match order {
            Order::Stars => "stars",
            Order::Forks => "forks",
        });
        let url = format!("{}/search/repositories", self.api);
        let search = ctx.http().get(&url).query("q", args.query).query("sort", sort);
        Ok(search.query("per_page", args.limit).send().await?.json()?)
    }
}

/// Stars a repository for the user.
pub struct StarGitHubRepo {
    /// Scheme and host of GitHub's API.
    pub api: String,
}

/// Arguments of [`StarGitHubRepo`].
#[derive(Deserialize, JsonSchema)]
pub struct Star {
    /// Owner and name, e.g. `rust-lang/rust`
    repo: String,
}

impl Default for StarGitHubRepo {
    fn default() -> Self {
        Self { api: "https://api.github.com".into() }
    }
}

impl Tool for StarGitHubRepo {
    type Args = Star;
    type Output = String;

    fn name(&self) -> &str {
        "github_star_repo"
    }

    fn id(&self) -> Option<&str> {
        Some("portia:github::star_repo")
    }

    fn description(&self) -> &str {
        "Stars a GitHub repository for the user."
    }

    fn effect(&self) -> Effect {
        Effect::Write
    }

    fn idempotent(&self) -> bool {
        true
    }

    fn authorization(&self) -> Option<Authorization> {
        Some(Authorization::new("github", ["public_repo"]))
    }

    async fn run(&self, ctx: &Context, args: Star) -> Result<String, ToolError> {
        let Some((owner, name)) = args.repo.split_once('/') else {
            return Err(ToolError::soft("`repo` is an owner and a name, e.g. `rust-lang/rust`"));
        };
        let url = format!("{}/user/starred/{{owner}}/{{name}}", self.api);
        let starred = ctx.http().put(&url).path("owner", owner).path("name", name).send().await?;
        match starred.success() {
            Ok(_) => Ok(format!("Starred {}.", args.repo)),
            Err(error) if error.is_not_found() => {
                Err(ToolError::soft(format!("there is no repository `{}`", args.repo)))
            }
            Err(error) => Err(error.into()),
        }
    }
}
