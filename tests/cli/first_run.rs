//! The first minutes: what a newcomer is told, and what `setup` does for them.

use std::fs;

use crate::harness::{ENGLISH, Outcome, Sandbox};

#[cfg(unix)]
#[test]
fn without_an_index_a_dialogue_says_what_to_do_first() {
    let sandbox = Sandbox::new();
    let mut pty = crate::pty::Pty::start(sandbox.command(&[]));
    for step in
        ["first three steps", "rag-query setup", "rag-query index FOLDER", "rag-query \"QUESTION\""]
    {
        pty.wait_for(step);
    }
    assert_eq!(pty.end().0.code(), Some(1));
}

#[test]
fn setup_remembers_the_profile_and_keeps_the_other_settings() {
    let sandbox = Sandbox::new();
    let file = "home/config/rag-query/config.toml";
    let done = sandbox.run(&["setup", "tiny-cross"]).exits(0);
    assert!(done.stdout.contains("model.safetensors"), "its models: {done:#?}");
    assert!(done.stderr.contains("Profile tiny-cross: Cross-encoder"), "{done:#?}");
    assert!(done.stderr.contains("rag-query index FOLDER"), "{done:#?}");
    sandbox.write(file, fs::read_to_string(sandbox.path(file)).unwrap() + "top-k = 2\n");
    sandbox.run(&["setup", "tiny-other", "--no-download"]).exits(0);
    let text = fs::read_to_string(sandbox.path(file)).unwrap();
    assert_eq!(text, "profile = \"tiny-other\"\ntop-k = 2\n");
    let mut show = sandbox.command(&["config", "show", "--origin"]);
    let shown = Outcome::of(show.env_remove("RAG_QUERY_PROFILE").output().unwrap()).exits(0);
    assert!(shown.stdout.contains("profile = tiny-other\t"), "{shown:#?}");
    sandbox.run(&["setup", "no-such-profile"]).exits(1);
    assert_eq!(fs::read_to_string(sandbox.path(file)).unwrap(), text);
}

/// Without CUDA in the build, there is no GPU to choose a profile by.
#[cfg(not(feature = "cuda"))]
#[test]
fn setup_chooses_the_cpu_where_no_gpu_can_be_used_and_says_why() {
    let sandbox = Sandbox::new();
    let done = sandbox.run(&["setup", "--no-download"]).exits(0);
    assert!(done.stderr.contains("Profile cpu: No GPU"), "{done:#?}");
    assert!(done.stderr.contains("because:") && done.stderr.contains("CUDA"), "{done:#?}");
}

#[test]
fn questions_come_from_a_file_and_answers_take_the_form_of_a_template() {
    let sandbox = Sandbox::indexed();
    sandbox
        .write("q.txt", format!("{ENGLISH}\n{{\"id\": 7, \"question\": \"What is a token?\"}}\n"));
    let template = "{{ id | default('-') }}|{{ question }}|{{ mode }}";
    let asked = sandbox.run(&["--extractive", "--file", "q.txt", "--template", template]).exits(0);
    assert_eq!(asked.stdout, format!("-|{ENGLISH}|extractive\n7|What is a token?|extractive\n"));
    sandbox.write("t.jinja", "{{ mode }}!\n");
    let from_file = sandbox.run(&["--extractive", "--template", "@t.jinja", ENGLISH]).exits(0);
    assert_eq!(from_file.stdout, "extractive!\n");
    let stdin = ["--extractive", "--file", "-", "--template", "{{ question }}"];
    assert_eq!(sandbox.run_with_stdin(&stdin, ENGLISH).exits(0).stdout, format!("{ENGLISH}\n"));
    let wrong = sandbox.run(&["--template", "{{ answer", ENGLISH]).exits(1);
    assert!(wrong.stderr.contains("the output template cannot be used"), "{wrong:#?}");
    let missing = sandbox.run(&["--file", "none.txt"]).exits(1);
    assert!(missing.stderr.contains("cannot read none.txt"), "{missing:#?}");
    sandbox.run(&["--json", "--template", "x", ENGLISH]).exits(2);
}
