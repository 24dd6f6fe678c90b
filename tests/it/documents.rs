//! This version understands what README.md and docs/ tell a reader to type.

use std::fs;
use std::path::PathBuf;

use crate::command::{countersign, package, run};

/// A fenced block: its language and its text, without the indentation of a list.
struct Block {
    at: String,
    language: String,
    text: String,
}

fn documents() -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = vec![package("README.md")];
    let docs = fs::read_dir(package("docs")).unwrap().map(|entry| entry.unwrap().path());
    files.extend(docs.filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    let read = |path: PathBuf| {
        let name = path.strip_prefix(package("")).unwrap().display().to_string();
        (name, fs::read_to_string(&path).unwrap())
    };
    files.into_iter().map(read).collect()
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, text) in documents() {
        let mut open: Option<Block> = None;
        for (number, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let at = format!("{name}:{}", number + 1);
                    open = Some(Block { at, language: language.into(), text: String::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.text.extend([line.trim_start(), "\n"]),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{name}: a block that does not end");
    }
    blocks
}

fn in_language(language: &str) -> Vec<Block> {
    let found: Vec<_> = blocks().into_iter().filter(|block| block.language == language).collect();
    assert!(!found.is_empty(), "no block of {language}");
    found
}

/// Returns the arguments, if the line runs countersign.
fn called(line: &str) -> Option<Vec<String>> {
    let line = line.split(" #").next()?.split(" -d ").next()?;
    let rest = match line.strip_prefix("countersign ").or(line.strip_prefix("cargo run -- ")) {
        Some(rest) => rest,
        // A host's own command, which ends with ours.
        None if line.starts_with("claude ") => line.split_once("/countersign ")?.1,
        None => return None,
    };
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn every_command_is_understood() {
    let mut lines: Vec<(String, String)> = in_language("sh")
        .into_iter()
        .flat_map(|block| {
            let text = block.text.replace("\\\n", " ");
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.into_iter().map(move |line| (block.at.clone(), line))
        })
        .collect();
    // Commands within a sentence or a table.
    for (name, text) in documents() {
        let quoted = text.split('`').skip(1).step_by(2);
        lines.extend(
            quoted.filter(|code| !code.contains('\n')).map(|code| (name.clone(), code.to_owned())),
        );
    }
    let mut count = 0;
    for (at, line) in lines {
        let Some(words) = called(&line) else { continue };
        // With `--help`, clap parses every word before it, and runs nothing.
        let (code, _, stderr) = run(countersign().args(&words).arg("--help"));
        assert_eq!(code, 0, "{at}: {line}: {stderr}");
        count += 1;
    }
    assert!(count > 15, "only {count} commands were found");
}

#[test]
fn every_tools_toml_passes_its_check() {
    for block in in_language("toml") {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tools.toml"), &block.text).unwrap();
        let (code, stdout, stderr) = run(countersign().arg("check").current_dir(&folder));
        assert_eq!(code, 0, "{}: {stdout}{stderr}", block.at);
    }
}

#[test]
fn every_entry_of_a_host_is_json_that_starts_us() {
    for block in in_language("json") {
        let entry: serde_json::Value = serde_json::from_str(&block.text)
            .unwrap_or_else(|error| panic!("{}: {error}", block.at));
        let arguments = entry["mcpServers"]["countersign"]["args"].as_array().unwrap();
        let words = arguments.iter().map(|word| word.as_str().unwrap());
        let (code, _, stderr) = run(countersign().args(words).arg("--help"));
        assert_eq!(code, 0, "{}: {stderr}", block.at);
    }
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    for (name, text) in documents() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") || target.starts_with('#') {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = package(&name).parent().unwrap().join(file);
            let linked = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name}: {target}"));
            let is_there = anchor.is_empty() || headings(&linked).any(|one| one == anchor);
            assert!(is_there, "{name}: {target}");
        }
    }
}

/// The anchors of a document's headings.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
    })
}
