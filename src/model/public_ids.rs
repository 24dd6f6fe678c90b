//! Ids of tools in other products' contracts, and how clients write them.

use std::collections::{HashMap, HashSet};

use super::Tool;
use super::face::Face;

/// The ids of all tools in one contract. An id goes before another tool's name and before the id
/// made from it, so that other `ids` in `tools.toml` end what makes two tools one.
#[derive(Debug)]
pub struct PublicIds {
    /// The id of each tool, in the order of the registry.
    ids: Vec<String>,
    by_key: HashMap<String, Vec<usize>>,
}

impl PublicIds {
    /// Reads the ids of these tools.
    pub fn of<'t>(tools: impl Iterator<Item = &'t Tool>, face: Face) -> Self {
        Self::from_names(
            tools.map(|tool| (tool.name.as_str(), tool.faces.at(face).id.as_deref())),
            face,
        )
    }

    /// Like [`Self::of`], from each tool's name and the id that is written for it.
    pub fn from_names<'t>(
        tools: impl Iterator<Item = (&'t str, Option<&'t str>)>,
        face: Face,
    ) -> Self {
        let tools: Vec<_> = tools.collect();
        let ids: Vec<String> = tools.iter().map(|(name, id)| public_id(name, *id, face)).collect();
        let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, id) in ids.iter().enumerate() {
            by_key.entry(key(id, face)).or_default().push(at);
        }
        let taken: HashSet<String> = by_key.keys().cloned().collect();
        for (at, (name, _)) in tools.into_iter().enumerate() {
            for key in [key(&made(name, face), face), key(name, face)] {
                if taken.contains(&key) {
                    continue;
                }
                let found = by_key.entry(key).or_default();
                if !found.contains(&at) {
                    found.push(at);
                }
            }
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

/// Returns a tool's id in a contract.
pub fn id_of(tool: &Tool, face: Face) -> String {
    public_id(tool.name.as_str(), tool.faces.at(face).id.as_deref(), face)
}

/// Returns the id in a contract of a tool of this name: the one that is written for it, or one made from its name.
pub fn public_id(name: &str, written: Option<&str>, face: Face) -> String {
    written.map_or_else(|| made(name, face), str::to_owned)
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

    /// Without it, the advice to write other `ids` would lead back to the same error.
    #[test]
    fn an_id_goes_before_the_name_of_another_tool() {
        let (plain, mine) = (("notes_list", None), ("notes-list", Some("My.Notes")));
        for tools in [[plain, mine], [mine, plain]] {
            let ids = PublicIds::from_names(tools.into_iter(), Face::Arcade);
            let found = |written| ids.find(written, Face::Arcade).iter().map(|at| tools[*at].0);
            for written in ["Notes.List", "notes_list", "notes-list"] {
                assert!(found(written).eq(["notes_list"]), "{written}");
            }
            assert!(found("My.Notes").eq(["notes-list"]));
        }
        let alike = [plain, ("notes-list", None)];
        let ids = PublicIds::from_names(alike.into_iter(), Face::Arcade);
        assert_eq!(ids.find("Notes.List", Face::Arcade), [0, 1]);
        // Neither is the other's id.
        let others = [("a_b", Some("X.Y")), ("a-b", Some("Y.Z"))];
        let ids = PublicIds::from_names(others.into_iter(), Face::Arcade);
        assert_eq!(ids.find("A.B", Face::Arcade), [0, 1]);
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
