//! Ids of tools in other products' contracts, and how clients write them.

use std::collections::HashMap;

use super::Tool;
use super::face::Face;

/// The ids of all tools in one contract.
#[derive(Debug)]
pub struct PublicIds {
    /// The id of each tool, in the order of the registry.
    ids: Vec<String>,
    by_key: HashMap<String, Vec<usize>>,
}

impl PublicIds {
    /// Reads the ids of these tools.
    pub fn of<'t>(tools: impl Iterator<Item = &'t Tool>, face: Face) -> Self {
        let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
        let mut ids = Vec::new();
        for (at, tool) in tools.enumerate() {
            let id = id(tool, face);
            for written in [&*id, &*made(tool.name.as_str(), face), tool.name.as_str()] {
                let found = by_key.entry(key(written, face)).or_default();
                if !found.contains(&at) {
                    found.push(at);
                }
            }
            ids.push(id);
        }
        Self { ids, by_key }
    }

    /// Returns the id of the tool at this index.
    pub fn id(&self, at: usize) -> &str {
        self.ids.get(at).map_or("", String::as_str)
    }

    /// Returns the indices of the tools that a client may mean by this id: several if the contract
    /// does not distinguish their ids.
    pub fn find(&self, written: &str, face: Face) -> &[usize] {
        self.by_key.get(&key(written, face)).map_or(&[], Vec::as_slice)
    }
}

/// Returns a tool's id in a contract: the one in `tools.toml`, or one made from its name.
fn id(tool: &Tool, face: Face) -> String {
    let written = tool.faces.at(face).id.clone();
    written.unwrap_or_else(|| made(tool.name.as_str(), face))
}

/// Makes an id from a tool's name, whose first word becomes the toolkit.
fn made(name: &str, face: Face) -> String {
    let (toolkit, tool) = match name.split_once(['_', '-']) {
        Some((toolkit, tool)) if !toolkit.is_empty() && !tool.is_empty() => (toolkit, tool),
        _ => match face {
            Face::Arcade => ("countersign", name),
            Face::Portia => ("tools", name),
        },
    };
    match face {
        Face::Arcade => format!("{}.{}", pascal_case(toolkit), pascal_case(tool)),
        Face::Portia => format!("countersign:{toolkit}:{tool}"),
    }
}

/// Writes `star_repo` as `StarRepo`.
pub fn pascal_case(name: &str) -> String {
    let words = name.split(['_', '-']);
    let capitalized = words.flat_map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
    });
    capitalized.collect()
}

/// Returns the common form of all spellings of an id that mean one tool. Arcade's clients write
/// `Github.StarRepo`, `Github_StarRepo` and `Github.StarRepo@1.0.0`; Portia's ids are compared byte
/// by byte.
fn key(written: &str, face: Face) -> String {
    match face {
        Face::Portia => written.to_owned(),
        Face::Arcade => {
            let (name, _) = written.split_once('@').unwrap_or((written, ""));
            let letters = name.chars().filter(|c| !matches!(c, '.' | '_' | '-'));
            letters.map(|c| c.to_ascii_lowercase()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_from_the_name() {
        for (name, arcade, portia) in [
            ("github_star_repo", "Github.StarRepo", "countersign:github:star_repo"),
            ("gmail_list_emails", "Gmail.ListEmails", "countersign:gmail:list_emails"),
            ("whoami", "Countersign.Whoami", "countersign:tools:whoami"),
            ("x-post", "X.Post", "countersign:x:post"),
            ("_private", "Countersign.Private", "countersign:tools:_private"),
            ("a__b", "A.B", "countersign:a:_b"),
        ] {
            assert_eq!(made(name, Face::Arcade), arcade);
            assert_eq!(made(name, Face::Portia), portia);
        }
    }

    #[test]
    fn arcade_s_spellings_mean_one_tool() {
        for written in [
            "Github.StarRepo",
            "Github_StarRepo",
            "GitHub.StarRepo",
            "github_star_repo",
            "Github.StarRepo@1.2.3",
            "github.starrepo@",
        ] {
            assert_eq!(key(written, Face::Arcade), "githubstarrepo", "{written}");
        }
        assert_ne!(key("A:b", Face::Portia), key("a:b", Face::Portia));
    }
}
