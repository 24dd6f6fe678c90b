//! The packages as they are published, and their types.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::packages::{self, PYTHON, TYPESCRIPT, run, source, tsc};
use crate::harness::part;

/// What is published: a wheel and a source archive with one dependency, and a package without any.
#[test]
fn the_packages_hold_what_their_users_need() {
    let names = |package: &packages::Package| -> Vec<String> {
        let name = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
        package.archives.iter().map(name).collect()
    };
    assert_eq!(
        names(&PYTHON),
        ["countersign_client-0.1.0-py3-none-any.whl", "countersign_client-0.1.0.tar.gz"]
    );
    let metadata = PYTHON.installed.join("countersign_client-0.1.0.dist-info/METADATA");
    let metadata = fs::read_to_string(metadata).unwrap();
    let needed: Vec<_> =
        metadata.lines().filter(|line| line.starts_with("Requires-Dist")).collect();
    assert_eq!(needed, ["Requires-Dist: httpx>=0.27,<1"]);
    assert!(PYTHON.installed.join("countersign/py.typed").is_file());

    assert_eq!(names(&TYPESCRIPT), ["countersign-client-0.1.0.tgz"]);
    let package = TYPESCRIPT.installed.join("node_modules/@countersign/client");
    let manifest = fs::read(package.join("package.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert!(manifest.get("dependencies").is_none(), "{manifest}");
    for file in ["README.md", "dist/index.js", "dist/index.d.ts", "dist/types.d.ts"] {
        assert!(package.join(file).is_file(), "{file}");
    }
    assert!(!package.join("src").exists());
}

/// A strict type checker accepts the Python client and its examples, and sees the types that its
/// methods have.
#[test]
fn the_types_of_the_python_client_hold() {
    let own = part("COUNTERSIGN_REAL_DIR").join("own_clients/checked_types.py");
    let examples =
        ["langgraph_interrupt.py", "openai_agents_approval.py", "pydantic_ai_deferred.py"];
    run(Command::new(part("COUNTERSIGN_REAL_CLIENTS_PYTHON"))
        .args(["-m", "mypy", "--strict", "--no-incremental", "--python-executable"])
        .arg(part("COUNTERSIGN_REAL_AGENTS_PYTHON"))
        .arg(PYTHON.installed.join("countersign"))
        .arg(own)
        .args(examples.map(|name| source("python").join("examples").join(name)))
        .current_dir(&PYTHON.installed));
}

/// The compiler accepts the example, and sees the types that the methods of the packed client have.
#[test]
fn the_types_of_the_typescript_client_hold() {
    let project = TYPESCRIPT.installed.join("tsconfig.json");
    let options = json!({
        "compilerOptions": {
            "target": "es2022", "module": "nodenext", "lib": ["es2023", "dom"], "types": [], "strict": true,
            "noEmit": true, "skipLibCheck": true, "erasableSyntaxOnly": true, "verbatimModuleSyntax": true,
        },
        "include": ["examples", "checked_types.ts"],
    });
    let own = part("COUNTERSIGN_REAL_DIR").join("own_clients/checked_types.ts");
    fs::copy(own, TYPESCRIPT.installed.join("checked_types.ts")).unwrap();
    fs::write(&project, options.to_string()).unwrap();
    tsc(&["--project".as_ref(), project.as_ref()]);
}
