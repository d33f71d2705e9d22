//! An LLM that is asked whether its passages answer: its word refuses, is told with its numbers, and
//! changes nothing of the answer.

use std::fmt::Write;

use serde_json::Value;

use crate::harness::{ENGLISH, Sandbox};

fn sandbox(profile: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.run(&["--profile", profile, "index", "notes"]).exits(0);
    sandbox
}

#[test]
fn a_refusal_by_the_llm_says_who_refused_and_why() {
    let sandbox = sandbox("tiny-doubted");
    let profile = ["--profile", "tiny-doubted"];
    let refused = sandbox.run(&[&profile[..], &["--json", ENGLISH]].concat()).exits(3);
    assert!(refused.stderr.contains("The LLM read the passages"), "{refused:#?}");
    assert!(refused.stderr.contains("answered: 12 %, refused below 50 %"), "{refused:#?}");
    let answer = refused.json();
    assert_eq!((&answer["answered"], &answer["answer"]), (&false.into(), &"".into()));
    assert_eq!(answer["reason"], "not_in_passages");
    assert_eq!(answer["relevance"]["gate"], "careful", "its word is worth the load");
    let llm = &answer["relevance"]["llm"];
    let probability = llm["probability"].as_f64().unwrap();
    assert!((probability - 0.1192).abs() < 1e-3 && llm["log_odds"].is_number(), "{llm}");
    assert_eq!(answer["model"], "Tiny doubting LLM");
    assert_eq!(answer["placement"]["llm"], "cpu");
    let time = |stage: &str| answer["timings_ms"][stage].as_f64().unwrap();
    assert!(time("prefill") > 0.0 && time("judge") > 0.0 && time("decode") == 0.0, "{answer}");
    let plain = sandbox.run(&[&profile[..], &["--explain", ENGLISH]].concat()).exits(3);
    assert_eq!(plain.stdout, "");
    assert!(plain.stderr.contains("judged 0.1192  refused below 0.50"), "{plain:#?}");
    // A user who insists is answered, and the LLM is not asked for its opinion.
    let forced = sandbox.run(&[&profile[..], &["--force", "--json", ENGLISH]].concat()).exits(0);
    assert_eq!(forced.json()["relevance"]["llm"], Value::Null);
}

#[test]
fn an_answer_is_the_same_with_a_judgement_before_it() {
    let sandbox = sandbox("tiny-judged");
    let options = ["--json", "--max-tokens", "24", ENGLISH];
    let judged = sandbox.run(&[&["--profile", "tiny-judged"][..], &options].concat()).exits(0);
    assert!(judged.stderr.contains("answered: 88 %"), "{judged:#?}");
    let judged = judged.json();
    assert_eq!(judged["answered"], true);
    let forced = [&["--profile", "tiny-judged", "--force"][..], &options].concat();
    let unasked = sandbox.run(&forced).exits(0).json();
    assert_eq!(judged["answer"], unasked["answer"]);
    assert_eq!(judged["tokens"], unasked["tokens"]);
}

#[test]
fn a_calibration_gives_the_line_for_the_catalogue() {
    let sandbox = sandbox("tiny-careful");
    let mut questions = String::new();
    for n in 0..20 {
        let _ = writeln!(
            questions,
            "{{\"question\":\"What does tokenization split, case {n}?\",\"relevant\":[\"tokenization.md\"]}}\n\
             {{\"question\":\"What is the capital of Mongolia, case {n}?\",\"relevant\":[]}}"
        );
    }
    sandbox.write("q.jsonl", &questions);
    let profile = ["--profile", "tiny-careful"];
    let eval = ["eval", "q.jsonl", "--calibrate"];
    let table = sandbox.run(&[&profile[..], &eval].concat()).exits(0).stdout;
    assert!(table.contains("20 questions with an answer, 20 without"), "{table}");
    assert!(table.contains("AUROC: retrieval 0.") && table.contains("false refusals"), "{table}");
    let line = table.lines().find(|line| line.trim_start().starts_with("judge = {")).unwrap();
    let entry: toml::Table = line.trim().parse().unwrap();
    assert!(entry["judge"]["refused_below"].as_float() <= Some(0.5), "{line}");

    let few = [&profile[..], &eval, &["--limit", "10"]].concat();
    let report = sandbox.run(&[&few[..], &["--json"]].concat()).exits(0).json();
    assert!(report["per_question"][0]["judged"].is_number());
    let calibrated = &report["calibrated"];
    assert_eq!((&calibrated["answerable"], &calibrated["judge"]), (&5.into(), &Value::Null));
    assert!(calibrated["auroc_llm"].is_number());
    let table = sandbox.run(&few).exits(0).stdout;
    assert!(table.contains("Too few to calibrate: it takes 20 of each."), "{table}");
    // Retrieval's own judgement is fitted in any case, and nobody is loaded for it.
    let alone = [&profile[..], &["--extractive"], &eval].concat();
    let table = sandbox.run(&alone).exits(0).stdout;
    let lines: String = table
        .lines()
        .filter(|line| line.contains("relevance."))
        .map(|line| line.trim().to_owned() + "\n")
        .collect();
    let entry: toml::Table = lines.parse().unwrap();
    assert_eq!(entry["relevance"].as_table().unwrap().len(), 4, "{table}");
    assert!(!table.contains("judge = {"), "{table}");

    sandbox.run(&["--profile", "tiny", "index", "notes", "--rebuild"]).exits(0);
    let first = sandbox.run(&["--profile", "tiny", "eval", "q.jsonl", "--calibrate"]).exits(0);
    assert!(first.stderr.contains("Only relevance is calibrated"), "{first:#?}");
    assert!(first.stdout.contains("[models.tiny-embedder]:"), "{first:#?}");
    let plain = sandbox.run(&["--profile", "tiny", "eval", "q.jsonl"]).exits(0).stdout;
    assert!(plain.contains("not calibrated for Tiny embedder") && plain.contains("`--calibrate`"));
}
