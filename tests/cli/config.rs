//! Files of settings: what goes before what, what a stranger's project may set, and indexes that know
//! what belongs in them.

use std::fs;

use crate::harness::{Outcome, Sandbox};

fn user_file(sandbox: &Sandbox, text: &str) {
    fs::create_dir_all(sandbox.path("home/config/rag-query")).unwrap();
    sandbox.write("home/config/rag-query/config.toml", text);
}

/// The value and the origin of a setting.
fn setting(outcome: &Outcome, name: &str) -> (String, String) {
    let line = outcome.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
    let (value, origin) = line.unwrap_or_else(|| panic!("{outcome:#?}")).split_once('\t').unwrap();
    (value.to_owned(), origin.to_owned())
}

fn is(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

#[test]
fn the_command_line_goes_before_the_environment_the_project_the_user_and_the_default() {
    let sandbox = Sandbox::new();
    user_file(&sandbox, "top-k = 3\nmax-tokens = 99\nseed = 5\nprofile = \"cpu\"\n");
    sandbox.write(".rag-query.toml", "top-k = 4\nmax-tokens = 77\nextractive = true\n");
    let user = sandbox.path("home/config/rag-query/config.toml").display().to_string();
    let project = sandbox.path(".rag-query.toml").display().to_string();
    let show = ["config", "show", "--origin"];
    let shown = sandbox.run(&[&show[..], &["--top-k", "6"]].concat()).exits(0);
    assert_eq!(setting(&shown, "top-k"), is("6", "--top-k"));
    assert_eq!(setting(&shown, "profile"), is("tiny", "RAG_QUERY_PROFILE"));
    assert_eq!(setting(&shown, "max-tokens"), is("77", &project));
    assert_eq!(setting(&shown, "extractive"), is("true", &project));
    assert_eq!(setting(&shown, "seed"), is("5", &user));
    assert_eq!(setting(&shown, "temperature"), is("0", "default"));
    assert_eq!(setting(&shown, "llm"), is("-", "default"));
    // From a folder of the project as from its own, and a flag can be unset again.
    let below = sandbox.command(&[&show[..], &["--extractive=false"]].concat());
    let below =
        Outcome::of({ below }.current_dir(sandbox.path("notes")).output().unwrap()).exits(0);
    assert_eq!(setting(&below, "top-k"), is("4", &project));
    assert_eq!(setting(&below, "extractive"), is("false", "--extractive"));
    let without = sandbox.run(&[&show[..], &["--no-config"]].concat()).exits(0);
    assert_eq!(setting(&without, "top-k"), is("5", "default"));
    let json = sandbox.run(&["config", "show", "--json"]).exits(0).stdout;
    assert!(json.contains(r#"{"name":"seed","value":"5","origin":"#), "{json}");
}

#[test]
fn settings_have_their_effect() {
    let sandbox = Sandbox::indexed();
    let cited = |outcome: Outcome| outcome.json()["passages"].as_array().unwrap().len();
    let ask = ["--json", "What is tokenization?"];
    user_file(&sandbox, "top-k = 1\nextractive = true");
    let answer = sandbox.run(&ask).exits(0);
    assert_eq!(answer.json()["mode"], "extractive");
    assert_eq!(cited(answer), 1);
    assert!(cited(sandbox.run(&[&["--top-k", "3"][..], &ask].concat()).exits(0)) > 1);
}

#[test]
fn what_is_wrong_in_a_file_is_a_usage_error_that_names_it() {
    let sandbox = Sandbox::new();
    sandbox.write(".rag-query.toml", "topk = 4");
    let wrong = sandbox.run(&["models", "list"]).exits(2);
    assert!(wrong.stderr.contains(".rag-query.toml: there is no setting `topk`"), "{wrong:#?}");
    assert!(wrong.stderr.contains("did you mean `top-k`?"), "{wrong:#?}");
    assert!(wrong.stderr.contains("--no-config"), "{wrong:#?}");
    sandbox.run(&["models", "list", "--no-config"]).exits(0);
}

/// A folder from somebody else must not run programs or load models because one asks a question in it.
#[cfg(unix)]
#[test]
fn a_project_runs_no_program_until_it_is_trusted_as_it_is() {
    let sandbox = Sandbox::new();
    let mark = sandbox.path("ran");
    let project = |extra: &str| {
        let text = format!("reader = [\"odg=touch {}\"]\ntop-k = 4\n{extra}", mark.display());
        sandbox.write(".rag-query.toml", text);
    };
    project("");
    sandbox.write("notes/drawing.odg", "binary\0");
    let index = ["index", "notes"];
    let held = sandbox.run(&index).exits(0);
    assert!(held.stderr.contains(".rag-query.toml sets reader, without effect"), "{held:#?}");
    assert!(held.stderr.contains("rag-query trust"), "{held:#?}");
    assert!(!mark.exists());
    let shown = sandbox.run(&["config", "show", "--origin"]).exits(0);
    assert_eq!(setting(&shown, "reader"), is("-", "default"));
    assert_eq!(setting(&shown, "top-k").0, "4");
    sandbox.run(&["trust"]).exits(0);
    let trusted = sandbox.run(&index);
    assert!(!trusted.stderr.contains("without effect"), "{trusted:#?}");
    assert!(mark.exists(), "{trusted:#?}");
    // A change, such as a pull brings, takes the trust away.
    project("seed = 1");
    assert!(sandbox.run(&index).stderr.contains("without effect"));
    sandbox.run(&["trust"]).exits(0);
    assert!(!sandbox.run(&index).stderr.contains("without effect"));
    sandbox.run(&["trust", "--revoke"]).exits(0);
    assert!(sandbox.run(&index).stderr.contains("without effect"));
}

#[test]
fn a_named_index_knows_what_belongs_in_it() {
    let sandbox = Sandbox::new();
    sandbox.write(
        ".rag-query.toml",
        "[indexes.all]\nroots = [\"notes\"]\n\
         [indexes.texts]\nroots = [\"notes\"]\ninclude = [\"*.txt\"]\ndescription = \"Only texts\"\n",
    );
    let documents = |name: &str| {
        let list = sandbox.run(&["--index", name, "index", "list"]).exits(0).stdout;
        list.lines().count()
    };
    sandbox.run(&["--index", "@texts", "index"]).exits(0);
    let names = sandbox.run(&["index", "names"]).exits(0).stdout;
    let lines: Vec<&str> = names.lines().collect();
    assert!(lines[0].starts_with("@all  not built yet: `rag-query --index @all index`"), "{names}");
    assert!(
        lines[1].starts_with("@texts  1 documents") && lines[1].ends_with("— Only texts"),
        "{names}"
    );
    assert_eq!(lines.len(), 2);
    assert_eq!(documents("@texts"), 1);
    // All of them, where no index is named.
    let all = sandbox.command(&["index"]).env_remove("RAG_QUERY_INDEX").output().unwrap();
    let all = Outcome::of(all).exits(0);
    assert!(all.stderr.contains("@all") && all.stderr.contains("@texts"), "{all:#?}");
    assert_eq!(documents("@all"), 5);
    // The user's index of the same name is another one.
    let outside = sandbox.run(&["--no-config", "--index", "@texts", "index", "list"]);
    assert_ne!(outside.status, Some(0), "{outside:#?}");
}

#[test]
fn without_paths_an_index_is_updated_from_what_it_follows() {
    let sandbox = Sandbox::new();
    let nothing = sandbox.run(&["index"]).exits(2);
    assert!(nothing.stderr.contains("name files or folders"), "{nothing:#?}");
    sandbox.run(&["index", "notes", "--include", "*.md"]).exits(0);
    sandbox.write("notes/new.md", "# New\n\nSomething new.");
    sandbox.write("notes/new.txt", "Something else.");
    let updated = sandbox.run(&["index"]).exits(0);
    assert!(updated.stderr.contains("1 new or changed"), "{updated:#?}");
}
