//! `eval`: its figures follow from the rankings, its errors name the line, and two runs compare.

use std::fs;

use serde_json::Value;

use crate::harness::{DEMO, Sandbox};
use crate::server::{Reaction, Server};

const QUESTIONS: &str = r#"{"id":"a","question":"What is it that tokenization splits a text into?","relevant":["tokenization.md"],"answers":["tokens"]}
{"id":"b","question":"The office is open from eight to five on weekdays.","relevant":["office-hours"]}
{"id":"c","question":"What is the capital of Mongolia?","relevant":[]}
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::indexed();
    sandbox.write("q.jsonl", QUESTIONS);
    sandbox
}

fn figure(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {report}"))
}

#[test]
fn every_stage_is_measured_and_the_right_words_are_found() {
    let report = sandbox().run(&["eval", "q.jsonl", "--json"]).exits(0).json();
    assert_eq!(report["questions"], 3);
    let stages = report["stages"].as_array().unwrap();
    let names: Vec<&str> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["bm25", "dense", "fused", "reranked"]);
    for stage in stages {
        assert_eq!(stage["questions"], 2);
        let mean = |measure: &str| figure(stage, &format!("/{measure}/mean"));
        assert!(mean("hit_at_1") <= mean("ndcg_at_10") && mean("mrr_at_10") <= 1.0, "{stage}");
        assert!(figure(stage, "/median_ms") <= figure(stage, "/p95_ms"));
    }
    // The words are the documents' own, whatever random embeddings say.
    assert_eq!(figure(&stages[0], "/hit_at_1/mean"), 1.0);
    assert_eq!(figure(&stages[0], "/ndcg_at_10/low"), 1.0);
    assert_eq!(report["refusal"]["unanswerable"], 1);
    assert_eq!(report["refusal"]["threshold"], Value::Null);
    assert_eq!(report["answers"], Value::Null);
    assert_eq!(report["per_question"][2]["scores"], serde_json::json!({}));
}

/// Not the file, which another way of cutting would not change, but the passages that say it.
#[test]
fn a_quote_ranks_where_the_passages_that_say_it_do() {
    let sandbox = sandbox();
    let text = fs::read_to_string(sandbox.path("notes/tokenization.md")).unwrap();
    let line = text.lines().rfind(|line| line.split_whitespace().count() > 5).unwrap();
    let label = serde_json::json!({"document": "tokenization.md", "quote": line.to_uppercase()});
    let question = |relevant: Value| serde_json::json!({"question": line, "relevant": [relevant], "kind": ["prose", "en"]});
    sandbox.write("quotes.jsonl", question(label).to_string());
    let report = sandbox.run(&["eval", "quotes.jsonl", "--json"]).exits(0).json();
    assert_eq!(figure(&report, "/stages/0/hit_at_1/mean"), 1.0);
    assert_eq!(report["kinds"][0]["kind"], "en");
    assert_eq!(figure(&report, "/kinds/1/ndcg_at_10/bm25/mean"), 1.0);
    let table = sandbox.run(&["eval", "quotes.jsonl"]).exits(0).stdout;
    assert!(table.contains("prose            1  1.000 [1.000, 1.000]"), "{table}");

    let unsaid = serde_json::json!({"document": "tokenization.md", "quote": "nobody says this"});
    sandbox.write("quotes.jsonl", question(unsaid).to_string());
    let told = ["quotes.jsonl, line 1: `relevant`, entry 1: ", "does not say \"nobody says this\""];
    sandbox.run(&["eval", "quotes.jsonl"]).fails(1, &told);
}

#[test]
fn the_worst_questions_are_named_with_what_was_found_instead() {
    let sandbox = sandbox();
    // What the question is about is elsewhere.
    let question = r#"{"id":"w","question":"The office is open from eight to five on weekdays.","relevant":["tokenization.md"]}"#;
    sandbox.write("w.jsonl", question);
    let report = sandbox.run(&["eval", "w.jsonl", "--json", "--no-rerank"]).exits(0).json();
    let worst = &report["worst"][0];
    assert_eq!(worst["id"], "w");
    assert!(worst["rank"].as_u64() > Some(1), "{worst}");
    assert_eq!(worst["found"][0]["relevant"], false);
    let found = worst["found"][0]["document"].as_str().unwrap().rsplit('/').next().unwrap();
    let rank = format!("tokenization.md – rank {}", worst["rank"]);
    let page = ["eval", "w.jsonl", "--no-rerank", "--html", "w.html"];
    let table = sandbox.run(&page).exits(0).stdout;
    let html = fs::read_to_string(sandbox.path("w.html")).unwrap();
    for part in ["Ranked worst", &rank, found] {
        assert!(table.contains(part) && html.contains(part), "{part}: {table}");
    }
}

#[test]
fn candidates_are_kept_with_their_scores_where_asked_for() {
    let sandbox = sandbox();
    let report = sandbox.run(&["eval", "q.jsonl", "--json", "--candidates"]).exits(0).json();
    for question in report["per_question"].as_array().unwrap() {
        let candidates = question["candidates"].as_array().unwrap();
        let score =
            |i: usize| figure(&candidates[i], "/dense") + 0.4 * figure(&candidates[i], "/share");
        assert!((1..candidates.len()).all(|i| score(i - 1) >= score(i) - 1e-6), "{question}");
        assert!(candidates.iter().all(|candidate| candidate["rerank"].is_number()), "{question}");
        let first = candidates[0]["relevant"].as_bool().unwrap();
        match question.pointer("/scores/fused/hit_at_1") {
            Some(hit) => assert_eq!(hit.as_f64(), Some(f64::from(u8::from(first)))),
            None => assert!(!first),
        }
    }
    let plain = sandbox.run(&["eval", "q.jsonl", "--json"]).exits(0).json();
    assert_eq!(plain.pointer("/per_question/0/candidates"), None);
    assert_eq!(sandbox.run(&["eval", "q.jsonl", "--candidates"]).status, Some(2));
}

#[test]
fn without_a_reranker_there_are_three_stages_and_a_strict_threshold_refuses_all() {
    let sandbox = sandbox();
    let report = sandbox.run(&["eval", "q.jsonl", "--json", "--no-rerank"]).exits(0).json();
    assert_eq!(report["stages"].as_array().unwrap().len(), 3);
    assert_eq!(report["reranker"], Value::Null);
    let strict = Sandbox::new();
    strict.write("q.jsonl", QUESTIONS);
    strict.run(&["--profile", "tiny-strict", "index", "notes"]).exits(0);
    let report =
        strict.run(&["--profile", "tiny-strict", "eval", "q.jsonl", "--json"]).exits(0).json();
    assert_eq!(report["refusal"]["recall"], 1.0);
    assert_eq!(report["advice"]["finding"], "refuses_too_much");
    let table = strict.run(&["--profile", "tiny-strict", "eval", "q.jsonl"]).exits(0).stdout;
    assert!(table.contains("refuses 100.0 % of those with an answer"), "{table}");
    assert!(table.contains("Run this again with `--calibrate`"), "{table}");
}

#[test]
fn the_llm_answers_only_where_it_is_asked_to() {
    let sandbox = sandbox();
    let args = ["--max-tokens", "8", "eval", "q.jsonl", "--json", "--with-llm", "--limit", "1"];
    let report = sandbox.run(&args).exits(0).json();
    assert_eq!(report["questions"], 1);
    assert_eq!(report["answers"]["questions"], 1);
    assert_eq!(report["answers"]["generated"], 1);
    assert!(figure(&report, "/answers/f1/mean") <= 1.0);
    sandbox
        .run(&["eval", "q.jsonl", "--with-llm", "--extractive"])
        .fails(1, &["--with-llm", "--extractive"]);
}

#[test]
fn answers_of_a_server_are_measured_as_local_ones() {
    let sandbox = sandbox();
    let busy = Reaction::status("503 Service Unavailable", "", "{}");
    let server = Server::start(vec![busy, Reaction::Says(&["The ", "tokens [1].\n"])]);
    let llm = server.llm();
    let args = ["eval", "q.jsonl", "--json", "--with-llm", "--llm", &llm];
    let report = sandbox.run(&args).exits(0).json();
    // Three questions, one of which was asked twice.
    assert_eq!(server.requests().len(), 4);
    let answers = &report["answers"];
    assert_eq!((&answers["questions"], &answers["generated"]), (&1.into(), &3.into()));
    assert_eq!(answers["model"], "m");
    assert_eq!(figure(&report, "/answers/exact_match/mean"), 1.0);
    assert_eq!(report["per_question"][0]["answer"]["text"], "The tokens [1].");
    assert!(figure(&report, "/answers/median_ms") > 0.0, "{report}");

    let unknown =
        Reaction::status("404 Not Found", "", r#"{"error":{"message":"model \"m\" not found"}}"#);
    let server = Server::start(vec![Reaction::Says(&["tokens"]), unknown]);
    let args = ["eval", "q.jsonl", "--json", "--with-llm", "--llm", &server.llm()];
    sandbox.run(&args).fails(1, &["question b", "does not know the model `m`"]);
    // Without `--with-llm` nobody is asked.
    sandbox.run(&["eval", "q.jsonl", "--json", "--llm", &server.llm()]).exits(0);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_sample_is_always_the_same() {
    let sandbox = sandbox();
    let sample = || {
        let report =
            sandbox.run(&["eval", "q.jsonl", "--json", "--limit", "2", "--sample"]).exits(0).json();
        let questions = report["per_question"].as_array().unwrap().clone();
        questions.iter().map(|question| question["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(sample().len(), 2);
    assert_eq!(sample(), sample());
}

#[test]
fn two_reports_compare_question_by_question() {
    let sandbox = sandbox();
    for (name, args) in [("a.json", &[][..]), ("b.json", &["--no-rerank", "--limit", "2"][..])] {
        let args = [&["eval", "q.jsonl", "--json"], args].concat();
        sandbox.write(name, sandbox.run(&args).exits(0).stdout);
    }
    let args = ["eval", "--compare", "a.json", "b.json"];
    let outcome =
        sandbox.run(&[&args[..], &["--json"]].concat()).exits(0).tells(&["1 are only in A"]);
    let comparison = outcome.json();
    assert_eq!(comparison["questions"], 2);
    for difference in comparison["differences"].as_array().unwrap() {
        assert_ne!(difference["stage"], "reranked");
        assert_eq!(difference["difference"]["mean"], 0.0);
        assert_eq!(difference["p"], 1.0);
    }
    let table = sandbox.run(&args).exits(0).stdout;
    assert!(table.contains("nDCG@10") && table.contains("B − A"), "{table}");
    sandbox.run(&["eval", "--compare", "a.json", "q.jsonl"]).fails(1, &["q.jsonl is not a report"]);
}

#[test]
fn a_report_can_be_looked_at_and_replaces_no_other_file() {
    let sandbox = sandbox();
    let args = ["eval", "q.jsonl", "--json", "--html", "report.html"];
    for _ in 0..2 {
        let report = sandbox.run(&args).exits(0).tells(&["report.html"]).json();
        let html = fs::read_to_string(sandbox.path("report.html")).unwrap();
        for stage in report["stages"].as_array().unwrap() {
            let figure = |of: &str| figure(stage, &format!("/ndcg_at_10/{of}"));
            let words =
                format!("{:.3} [{:.3}, {:.3}]", figure("mean"), figure("low"), figure("high"));
            assert!(html.contains(&words), "{words}: {html}");
        }
        assert!(html.contains("What is the capital of Mongolia?"), "{html}");
    }
    let args = ["eval", "q.jsonl", "--html", "q.jsonl"];
    sandbox.run(&args).fails(1, &["q.jsonl is no report", "not overwritten"]);
    assert_eq!(fs::read_to_string(sandbox.path("q.jsonl")).unwrap(), QUESTIONS);
    let args = ["eval", "--compare", "a.json", "b.json", "--html", "c.html"];
    assert_eq!(sandbox.run(&args).status, Some(2));
}

#[test]
fn errors_name_the_file_the_line_and_the_document() {
    let sandbox = sandbox();
    sandbox
        .write("bad.jsonl", format!("{QUESTIONS}{{\"question\":\"x\",\"relevant\":[\"y.md\"]}}"));
    sandbox.run(&["eval", "bad.jsonl"]).fails(1, &["bad.jsonl, line 4", "\"y.md\""]);
    sandbox.write("bad.jsonl", r#"{"question":"x","relevant":[],"answers":[null]}"#);
    let told = ["bad.jsonl, line 1: `answers`, entry 1: expected a text, found null"];
    sandbox.run(&["eval", "bad.jsonl"]).fails(1, &told);
    sandbox.run(&["eval", "none.jsonl"]).fails(1, &["none.jsonl"]);
    assert_eq!(sandbox.run(&["eval"]).status, Some(2));
    assert_eq!(sandbox.run(&["eval", "q.jsonl", "--sample"]).status, Some(2));
}

#[test]
fn people_get_a_table_in_their_language() {
    DEMO.write("q.jsonl", QUESTIONS);
    let table = DEMO.run(&["eval", "q.jsonl", "--lang", "vi"]).exits(0).stdout;
    for part in [
        "nDCG@10",
        "xếp lại",
        "Từ chối: 2 câu có lời đáp, 1 câu không có",
        "đang dùng",
        "F1 cao nhất",
        "độ chính xác 0.95",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    fs::remove_file(DEMO.path("q.jsonl")).unwrap();
}
