//! The files of the LLM are opened by the first answer that needs it, and by nothing before.

use crate::harness::{ENGLISH, Sandbox, VIETNAMESE};
use crate::pty::{CTRL_D, Pty};
use crate::watch::Watch;

/// Everything that does not need the LLM.
const WITHOUT_LLM: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["index", "notes"],
    &["index", "--rebuild", "notes"],
    &["search", ENGLISH],
    &["search", "--json", VIETNAMESE],
    // The tiny LLM writes English only.
    &[VIETNAMESE],
    &["--extractive", ENGLISH],
    &["models", "list"],
    &["bench"],
    &["completions", "bash"],
];

/// Reads the header of the LLM's file to plan its memory.
const DOCTOR: &[&str] = &["doctor"];

/// A question that the LLM answers.
const WITH_LLM: &[&str] = &["--max-tokens", "4", "--json", ENGLISH];

fn watch(sandbox: &Sandbox) -> Watch {
    Watch::of(&sandbox.path("models/tiny-llama"))
}

/// Opens the dialogue and leaves it without a question.
fn empty_dialogue(sandbox: &Sandbox) {
    let mut pty = Pty::start(sandbox.command(&[]));
    pty.wait_for("❯ ");
    pty.send(CTRL_D);
    let (status, screen) = pty.end();
    assert!(status.success(), "{screen}");
}

#[test]
fn only_an_answer_of_the_llm_opens_its_files() {
    let sandbox = Sandbox::indexed();
    let mut watch = watch(&sandbox);
    for args in WITHOUT_LLM {
        sandbox.run(args).exits(0);
        assert_eq!(watch.opens(), 0, "{args:?}");
    }
    empty_dialogue(&sandbox);
    assert_eq!(watch.opens(), 0, "an empty dialogue");
    let answer = sandbox.run(WITH_LLM).exits(0);
    assert!(watch.opens() > 0, "the watch is blind: {answer:#?}");
}

#[test]
fn everything_else_works_without_the_llms_file() {
    let sandbox = Sandbox::indexed();
    sandbox.remove("models/tiny-llama/model.gguf");
    for args in WITHOUT_LLM {
        sandbox.run(args).exits(0);
    }
    let doctor = sandbox.run(DOCTOR).exits(1).stdout;
    assert!(doctor.contains("embedder  ✅") && doctor.contains("llm       ❌"), "{doctor}");
    empty_dialogue(&sandbox);
    sandbox.run(WITH_LLM).fails(1, &["tiny-llama/model.gguf"]);
}

#[test]
fn a_run_loads_the_llm_once_for_all_its_questions() {
    let sandbox = Sandbox::indexed();
    let mut watch = watch(&sandbox);
    let args = ["--max-tokens", "4", "--json"];
    sandbox.run_with_stdin(&args, "What is a token?\n").exits(0);
    let opens_for_one = watch.opens();
    assert!(opens_for_one > 0);
    let questions =
        "What is a token?\nNLP là gì?\nWhat is tokenization?\nHow does byte pair encoding begin?\n";
    let answers = sandbox.run_with_stdin(&args, questions).exits(0).json_lines();
    assert_eq!(watch.opens(), opens_for_one);
    let modes: Vec<_> = answers.iter().map(|answer| answer["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["generative", "extractive", "generative", "generative"]);
    let loading: Vec<bool> = answers
        .iter()
        .map(|answer| answer["timings_ms"]["load_llm"].as_f64().unwrap() > 0.0)
        .collect();
    assert_eq!(loading, [true, false, false, false]);
}
