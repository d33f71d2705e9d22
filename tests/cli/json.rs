//! The JSON contract: every key with its type, for programs that read the output.

use serde_json::{Value, json};

use crate::harness::{ENGLISH, Sandbox, VIETNAMESE};

/// Replaces every value by its type, so that a whole object compares with what it should be.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!(null),
        Value::Bool(_) => json!("bool"),
        Value::Number(number) if number.is_u64() => json!("count"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(object) => {
            object.iter().map(|(key, value)| (key.clone(), shape(value))).collect()
        }
    }
}

fn answer_shape(llm: &Value, citation: &Value) -> Value {
    json!({
        "question": "string", "searched": null, "answered": "bool", "reason": llm["reason"],
        "relevance": { "probability": "number", "gate": "string", "refused_below": null, "llm": null },
        "mode": "string",
        "answer": "string", "citations": [citation], "passages": [passage_shape()], "unsupported": [],
        "model": llm["model"],
        "placement": { "embedder": "string", "reranker": "string", "llm": llm["model"] },
        "timings_ms": {
            "rewrite": "number", "load_index": "number", "embed": "number", "search": "number",
            "rerank": "number", "load_llm": "number", "prefill": "number", "decode": "number",
            "judge": "number", "check": "number",
        },
        "tokens": { "prompt": "count", "generated": "count" },
    })
}

fn citation_shape() -> Value {
    json!({
        "n": "count", "document": "string", "heading": "string", "lines": ["count", "count"], "score": "number",
        "cited_by": "string",
    })
}

/// Of a passage that the answer does not cite.
fn passage_shape() -> Value {
    json!({
        "n": "count", "document": "string", "heading": "string", "lines": ["count", "count"], "score": "number",
        "cited": "bool", "text": "string",
    })
}

/// The answer without its citations, because it is its own affair whether an LLM of noise cites; and
/// with the first of its passages alone.
fn with_one_passage(mut answer: Value) -> Value {
    answer["citations"] = json!([]);
    let mut first = answer["passages"][0].clone();
    first.as_object_mut().unwrap().remove("cited_by");
    answer["passages"] = json!([first]);
    answer
}

fn without_citations(mut shape: Value) -> Value {
    shape["citations"] = json!([]);
    shape
}

#[test]
fn a_generative_answer_has_every_key() {
    let sandbox = Sandbox::indexed();
    let args = ["--profile", "tiny-endless", "--json", "--max-tokens", "4", ENGLISH];
    let answer = sandbox.run(&args).exits(0).json();
    let llm = json!({ "model": "string", "reason": "string" });
    let expected = without_citations(answer_shape(&llm, &citation_shape()));
    assert_eq!(shape(&with_one_passage(answer.clone())), expected);
    assert_eq!(answer["question"], ENGLISH);
    assert_eq!(answer["answered"], true);
    assert_eq!(answer["reason"], "max_tokens");
    assert_eq!(answer["mode"], "generative");
    assert_eq!(answer["model"], "Tiny endless LLM");
    assert_eq!(answer["placement"], json!({ "embedder": "cpu", "reranker": "cpu", "llm": "cpu" }));
    assert_eq!(answer["tokens"]["generated"], 4);
    assert!(answer["tokens"]["prompt"].as_u64() > Some(100), "{answer}");
    assert!(answer["timings_ms"]["load_llm"].as_f64() > Some(0.0), "{answer}");
    // It is the best of the passages that the LLM can read.
    assert_eq!(answer["passages"][0]["n"], 1);
    assert!(answer["passages"][0]["document"].as_str().unwrap().starts_with("notes/"), "{answer}");
}

#[test]
fn an_extractive_answer_has_the_same_keys_and_no_llm() {
    let sandbox = Sandbox::indexed();
    for args in [&["--json", VIETNAMESE][..], &["--json", "--extractive", ENGLISH]] {
        let answer = sandbox.run(args).exits(0).json();
        // How many sentences an untrained embedder finds worth citing is no part of the contract.
        let citations = answer["citations"].as_array().unwrap();
        assert!(!citations.is_empty());
        for (key, shape) in
            [("n", "count"), ("document", "string"), ("heading", "string"), ("score", "number")]
        {
            assert!(
                citations.iter().all(|citation| self::shape(&citation[key]) == shape),
                "{key}: {answer}"
            );
        }
        let cited = |passage: &&Value| passage["cited"] == true;
        let read = answer["passages"].as_array().unwrap();
        assert_eq!(read.iter().filter(cited).count(), citations.len(), "{answer}");
        assert_eq!(citations[0]["cited_by"], "quotation");
        let mut one = with_one_passage(answer.clone());
        one["citations"] = json!([citations[0]]);
        assert_eq!(shape(&one), answer_shape(&json!({}), &citation_shape()));
        assert_eq!(answer["mode"], "extractive");
        assert_eq!(answer["reason"], Value::Null);
        assert_eq!(
            answer["placement"],
            json!({ "embedder": "cpu", "reranker": "cpu", "llm": null })
        );
        assert_eq!(answer["tokens"], json!({ "prompt": 0, "generated": 0 }));
        assert_eq!(answer["timings_ms"]["load_llm"], 0.0);
    }
}

#[test]
fn without_a_reranker_none_is_reported() {
    let sandbox = Sandbox::indexed();
    let answer = sandbox.run(&["--json", "--no-rerank", VIETNAMESE]).exits(0).json();
    assert_eq!(answer["placement"], json!({ "embedder": "cpu", "reranker": null, "llm": null }));
    let hits = sandbox.run(&["search", "--json", "--no-rerank", VIETNAMESE]).exits(0).json_lines();
    assert!(hits.iter().all(|hit| hit["scores"]["rerank"].is_null()), "{hits:?}");
}

#[test]
fn a_question_that_the_documents_do_not_answer_is_answered_so() {
    let sandbox = Sandbox::new();
    let profile = ["--profile", "tiny-strict"];
    sandbox.run(&[&profile[..], &["index", "notes/tokenization.md"]].concat()).exits(0);
    let answer = sandbox.run(&[&profile[..], &["--json", ENGLISH]].concat()).exits(3).json();
    assert_eq!(answer["answered"], false);
    assert_eq!(answer["reason"], "low_relevance");
    assert_eq!(answer["answer"], "");
    assert_eq!(answer["citations"], json!([]));
    assert_eq!(answer["model"], Value::Null);
}

/// Nobody reads a quotation before it is shown, but an LLM reads its passages.
#[test]
fn what_a_quotation_would_refuse_an_llm_that_follows_is_asked() {
    let sandbox = Sandbox::new();
    let profile = ["--profile", "tiny-careful"];
    sandbox.run(&[&profile[..], &["index", "notes/tokenization.md"]].concat()).exits(0);
    let ask = |args: &[&str]| {
        sandbox.run(&[&profile[..], &["--json", "--max-tokens", "4"], args].concat())
    };
    let generated = ask(&[ENGLISH]).exits(0).json();
    assert_eq!(generated["mode"], "generative");
    assert_eq!(generated["relevance"]["gate"], "careful");
    assert_eq!(generated["relevance"]["refused_below"], 0.0);
    // Quoted because that was asked for, and because the LLM does not write the language.
    for args in [&["--extractive", ENGLISH][..], &[VIETNAMESE]] {
        let refused = ask(args).exits(3).json();
        assert_eq!(refused["relevance"]["gate"], "strict", "{refused}");
        assert_eq!(refused["relevance"]["refused_below"], 1.0);
    }
    // One that cannot judge changes nothing.
    let args = [&["--profile", "tiny-unjudging", "--json", ENGLISH][..]].concat();
    let refused = sandbox.run(&args).exits(3).json();
    assert_eq!(refused["relevance"]["gate"], "strict");
}

#[test]
fn a_hit_has_every_key() {
    let sandbox = Sandbox::indexed();
    let hits = sandbox.run(&["search", "--json", "--top-k", "3", ENGLISH]).exits(0).json_lines();
    assert_eq!(hits.len(), 3);
    for (i, hit) in hits.iter().enumerate() {
        let contract = json!({
            "question": "string", "rank": "count", "document": "string", "heading": "string",
            "lines": ["count", "count"], "score": "number", "text": "string",
            "scores": { "dense": "number", "bm25": "number", "fused": "number", "rerank": "number" },
        });
        // More keys may come; these stay.
        let keys = contract.as_object().unwrap().keys();
        let found: Value = keys
            .map(|key| (key.clone(), shape(&hit[key])))
            .collect::<serde_json::Map<_, _>>()
            .into();
        assert_eq!(found, contract, "{hit}");
        assert_eq!(hit["question"], ENGLISH);
        assert_eq!(hit["rank"], i + 1);
        assert!(hit["lines"][0].as_u64() <= hit["lines"][1].as_u64(), "{hit}");
    }
    let scores: Vec<f64> = hits.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
}

#[test]
fn hits_point_at_the_lines_that_have_their_text() {
    let sandbox = Sandbox::indexed();
    let hits = sandbox.run(&["search", "--json", "--top-k", "20", ENGLISH]).exits(0).json_lines();
    let mut files = 0;
    for hit in &hits {
        let document = hit["document"].as_str().unwrap();
        if document.contains('#') {
            continue;
        }
        files += 1;
        let file = std::fs::read_to_string(sandbox.path(document)).unwrap();
        let line = |i: usize| hit["lines"][i].as_u64().unwrap() as usize;
        let lines: Vec<&str> = file.lines().skip(line(0) - 1).take(line(1) + 1 - line(0)).collect();
        assert!(lines.join("\n").contains(hit["text"].as_str().unwrap()), "{hit}");
    }
    assert!(files >= 4, "{hits:?}");
}

#[test]
fn documents_are_named_as_seen_from_here() {
    let sandbox = Sandbox::indexed();
    let documents = |mut command: std::process::Command| -> Vec<String> {
        let hits = crate::harness::Outcome::of(command.output().unwrap()).exits(0).json_lines();
        let mut names: Vec<_> =
            hits.iter().map(|hit| hit["document"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    };
    let args = ["search", "--json", "--top-k", "20", "office"];
    assert_eq!(
        documents(sandbox.command(&args)),
        [
            "notes/coffee.txt",
            "notes/faq.jsonl#holiday",
            "notes/faq.jsonl#office-hours",
            "notes/nlp.md",
            "notes/tokenization.md"
        ]
    );
    // From another folder the path is absolute.
    let mut elsewhere = sandbox.command(&args);
    elsewhere.current_dir(sandbox.path("home"));
    let absolute = sandbox.path("notes/coffee.txt");
    assert_eq!(documents(elsewhere)[0], absolute.to_str().unwrap());
}

#[test]
fn answers_come_one_a_line_and_in_order() {
    let sandbox = Sandbox::indexed();
    let questions =
        ["NLP là gì?", "What is a token?", "Văn phòng nghỉ khi nào?", "When is the office open?"];
    let args = ["--json", "--max-tokens", "4"];
    let answers = sandbox.run_with_stdin(&args, questions.join("\n")).exits(0).json_lines();
    let asked: Vec<_> = answers.iter().map(|answer| answer["question"].as_str().unwrap()).collect();
    assert_eq!(asked, questions);

    let args = ["search", "--json", "--top-k", "1"];
    let hits = sandbox.run_with_stdin(&args, questions.join("\n")).exits(0).json_lines();
    let asked: Vec<_> = hits.iter().map(|hit| hit["question"].as_str().unwrap()).collect();
    assert_eq!(asked, questions);
}

#[test]
fn questions_come_back_byte_for_byte() {
    let sandbox = Sandbox::indexed();
    let questions = ["\u{a0}What  is a\ttoken? ", "Va\u{306}n pho\u{300}ng?"];
    let input = format!("\u{feff}{}", questions.join("\r\n"));
    for args in [&["--json", "--extractive"][..], &["search", "--json", "--top-k", "1"]] {
        let lines = sandbox.run_with_stdin(args, &input).exits(0).json_lines();
        let asked: Vec<_> = lines.iter().map(|line| line["question"].as_str().unwrap()).collect();
        assert_eq!(asked, questions);
        let searched: Vec<_> = lines.iter().map(|line| &line["searched"]).collect();
        assert_eq!(searched, ["What is a token?", "Văn phòng?"]);
    }
    let args = ["search", "--json", "--top-k", "1", "two  spaces"];
    assert_eq!(sandbox.run(&args).exits(0).json_lines()[0]["question"], "two  spaces");
}

#[test]
fn json_lines_bring_their_ids_back_and_a_failure_stops_nothing() {
    let sandbox = Sandbox::indexed();
    let input = "{\"id\": {\"n\": [1, null]}, \"question\": \" What  is a token?\"}\n{\"id\": 7, \"question\": \" \"}\n\
                 {\"id\": \"x\"}\nWhat is a token?\n{\"question\": \"What is a token?\", \"id\": null}\n";
    for args in [&["--json", "--extractive"][..], &["search", "--json", "--top-k", "1"]] {
        let lines = sandbox.run_with_stdin(args, input).exits(2).json_lines();
        let ids: Vec<_> = lines.iter().map(|line| line.get("id").cloned()).collect();
        let expected = [
            Some(json!({ "n": [1, null] })),
            Some(json!(7)),
            Some(json!("x")),
            None,
            Some(json!(null)),
        ];
        assert_eq!(ids, expected, "{args:?}");
        assert_eq!(lines[0]["question"], " What  is a token?");
        let failed = (&lines[1]["error"]["message"], &lines[1]["question"]);
        assert_eq!(failed, (&json!("the question is empty"), &json!(" ")));
        assert_eq!(lines[2]["error"]["exit"], 2);
    }
}

#[test]
fn a_text_is_listed_once_with_its_other_places() {
    let sandbox = Sandbox::new();
    for name in ["a.md", "b.md", "c.md"] {
        sandbox.write(name, "# Lease\n\nThe lease runs for three years.\n");
    }
    sandbox.write("d.md", "# Change\n\nThe lease now runs for four years.\n");
    sandbox.run(&["index", "a.md", "b.md", "c.md", "d.md"]).exits(0);
    let hits = sandbox.run(&["search", "--json", "--top-k", "2", "lease"]).exits(0).json_lines();
    let texts: Vec<_> = hits.iter().map(|hit| hit["text"].as_str().unwrap()).collect();
    assert!(texts.iter().any(|text| text.contains("four")), "{texts:?}");
    let copied = hits.iter().find(|hit| hit["text"].as_str().unwrap().contains("three")).unwrap();
    let copies = copied["copies"].as_array().unwrap();
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0]["heading"], "Lease");
    assert_eq!(copies[0]["lines"], json!([3, 3]));
    let shown = sandbox.run(&["--lang", "en", "search", "--top-k", "2", "lease"]).exits(0).stdout;
    assert!(shown.contains("also in: "), "{shown}");
}

#[test]
fn a_cross_encoder_and_safetensors_keep_the_same_contract() {
    let sandbox = Sandbox::indexed();
    let args = ["--profile", "tiny-cross", "--json", "--max-tokens", "4", ENGLISH];
    let answer = sandbox.run(&args).exits(0).json();
    // Whether a random model comes to its end within four tokens is its own affair, and what it says.
    let mut answer = answer;
    for sentence in std::mem::replace(&mut answer["unsupported"], json!([])).as_array().unwrap() {
        assert_eq!(shape(sentence), json!({ "text": "string", "start": "count", "end": "count" }));
    }
    let llm = json!({ "model": "string", "reason": shape(&answer["reason"]) });
    let expected = without_citations(answer_shape(&llm, &citation_shape()));
    assert_eq!(shape(&with_one_passage(answer)), expected);
}

#[test]
fn greedy_answers_are_the_same_each_time() {
    let sandbox = Sandbox::indexed();
    let ask = || sandbox.run(&["--json", "--max-tokens", "16", ENGLISH]).exits(0).json();
    let (first, second) = (ask(), ask());
    assert_eq!(first["answer"], second["answer"]);
    assert_eq!(first["citations"], second["citations"]);
}
