//! The recipes of docs/scripts.md do what the page says, as they stand there.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::harness::{Outcome, Sandbox, skipped};

/// What each recipe prints, in the order of the page. `None`: nothing.
const PRINTED: [Option<&str>; 9] = [
    Some("The office is open from eight to five on weekdays. [1] (notes/faq.jsonl#office-hours)\n"),
    Some("found: The office is open from eight to five on weekdays. [1]\n"),
    Some("weekdays. [1]\n- notes/faq.jsonl#office-hours, line 1\n"),
    Some("cup\n"),
    Some("notes/coffee.txt:1:The coffee machine on the second floor"),
    Some("notes/coffee.txt:1\n"),
    None,
    Some("When is the coffee machine cleaned? → The coffee machine on the second floor is cleaned"),
    Some("weekdays. [1]\nlow_relevance\n"),
];

/// Programs that not every machine has. Where one is missing, something that reads all takes its place, so
/// that what stands before it is tried all the same.
const TOOLS: [&str; 4] = ["jq", "fzf", "xargs", "python3"];

struct Recipe {
    language: String,
    text: String,
}

/// The blocks of code of the page.
fn recipes() -> Vec<Recipe> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scripts.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```").skip(1).step_by(2);
    let recipe = |block: &str| {
        let (language, text) = block.split_once('\n').unwrap();
        Recipe { language: language.to_owned(), text: text.to_owned() }
    };
    blocks.map(recipe).collect()
}

/// Where a program is, in the folders of `PATH`.
fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The notes, indexed with models that find what is asked for, and a folder of programs.
fn kitchen() -> Sandbox {
    let sandbox = Sandbox::demo();
    fs::create_dir_all(sandbox.path("home/config/rag-query")).unwrap();
    // The LLM of the demo is slow, and what it writes is not what is tested here.
    sandbox.write("home/config/rag-query/config.toml", "extractive = true\n");
    fs::create_dir(sandbox.path("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_rag-query"), sandbox.path("bin/rag-query")).unwrap();
    let program = |name: &str, script: &str| {
        let name = format!("bin/{name}");
        sandbox.write(&name, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(sandbox.path(&name), PermissionsExt::from_mode(0o755)).unwrap();
    };
    for tool in TOOLS {
        match which(tool) {
            // Nobody is there to choose.
            Some(fzf) if tool == "fzf" => {
                program(tool, &format!("exec {} --filter 'second floor' \"$@\"", fzf.display()));
            }
            Some(_) => {}
            None => program(tool, "exec cat >/dev/null"),
        }
    }
    sandbox
}

fn run(sandbox: &Sandbox, Recipe { language, text }: &Recipe) -> Outcome {
    let (program, name, text) = match language.as_str() {
        "bash" => ("bash", "recipe.sh", format!("set -euo pipefail\n{text}")),
        "python" => ("python3", "recipe.py", text.clone()),
        // The five fields of the time, and the command.
        "crontab" => {
            let line = text.lines().next().unwrap();
            assert!(!line.contains('%'), "cron takes it for a line break: {line}");
            let command = line.splitn(6, ' ').nth(5).unwrap();
            ("sh", "recipe.sh", format!("set -eu\n{command}\n"))
        }
        other => panic!("who runs {other}?"),
    };
    sandbox.write(name, text);
    let mut folders = vec![sandbox.path("bin")];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let mut command = sandbox.surround(std::process::Command::new(program));
    command.arg(name).env("PATH", std::env::join_paths(folders).unwrap()).stdin(Stdio::null());
    Outcome::of(command.output().unwrap())
}

#[test]
fn recipes_do_what_the_page_says() {
    let sandbox = kitchen();
    let recipes = recipes();
    assert_eq!(recipes.len(), PRINTED.len(), "say what each recipe prints");
    for (recipe, printed) in recipes.iter().zip(PRINTED) {
        let is_used = |tool: &&&str| {
            recipe.text.contains(**tool) || recipe.language == tool[..tool.len() - 1]
        };
        let missing: Vec<&str> =
            TOOLS.iter().filter(is_used).filter(|tool| which(tool).is_none()).copied().collect();
        let first = recipe.text.lines().next().unwrap_or_default();
        if recipe.language == "bash" && which("bash").is_none() || missing.contains(&"python3") {
            skipped("recipes", &format!("bash and python3 for the recipe `{first}`"));
            continue;
        }
        let outcome = run(&sandbox, recipe);
        assert_eq!(outcome.stderr, "", "{first}: {outcome:#?}");
        if !missing.is_empty() {
            skipped("recipes", &format!("{} for the recipe `{first}`", missing.join(", ")));
            continue;
        }
        let outcome = outcome.exits(0);
        match printed {
            Some(printed) => assert!(outcome.stdout.contains(printed), "{first}: {outcome:#?}"),
            None => assert_eq!(outcome.stdout, "", "{first}"),
        }
    }
}
