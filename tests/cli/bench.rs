//! `bench`: the figures are plausible, and it measures what it can and what was asked for.

use serde_json::Value;

use crate::harness::{DEMO, Sandbox};

/// All of these figures exist and are above zero.
fn assert_positive(report: &Value, figures: &[&str]) {
    for figure in figures {
        let value = report.pointer(figure).and_then(Value::as_f64);
        assert!(value > Some(0.0), "{figure}: {report:#}");
    }
}

#[test]
fn every_figure_is_present_and_positive() {
    let report = DEMO.run(&["bench", "--json"]).exits(0).json();
    assert_positive(
        &report,
        &[
            "/machine/threads",
            "/machine/peak_f32_gflops",
            "/machine/peak_int8_gflops",
            "/machine/memory_gb_per_s",
            "/embedder/load_ms",
            "/embedder/question_ms",
            "/embedder/passages/0/passages_per_s",
            "/embedder/passages/1/gflops",
            "/embedder/passages/1/share_of_peak",
            "/reranker/rerank_ms",
            "/search/figures/chunks",
            "/search/figures/p50_ms",
            "/search/figures/embed_ms",
            "/search/figures/search_ms",
            "/search/figures/rerank_ms",
        ],
    );
    assert_eq!(report["embedder"]["precision"], "int8");
    assert_eq!(report["embedder"]["question_tokens"], 12);
    for (passages, tokens) in [(0, 56..=64), (1, 248..=256)] {
        let counted = report["embedder"]["passages"][passages]["tokens"].as_u64().unwrap();
        assert!(tokens.contains(&counted), "{report:#}");
    }
    let figure = |name: &str| report.pointer(name).and_then(Value::as_f64).unwrap();
    let share = figure("/embedder/passages/1/gflops") / figure("/machine/peak_int8_gflops");
    assert!((figure("/embedder/passages/1/share_of_peak") - share).abs() < 1e-9, "{report:#}");
    assert_eq!(report["search"]["problem"], Value::Null);
    assert_eq!(report["llm"], Value::Null);
}

#[test]
fn the_models_are_measured_even_without_an_index() {
    let sandbox = Sandbox::new();
    let args = ["bench", "--profile", "tiny-cross"];
    let report = sandbox.run(&[&args[..], &["--json"]].concat()).exits(0).json();
    assert_positive(
        &report,
        &["/embedder/question_ms", "/reranker/load_ms", "/reranker/rerank_ms"],
    );
    assert_eq!(report["search"]["figures"], Value::Null);
    sandbox
        .run(&["bench", "--profile", "tiny-cross", "--html", "no/bench.html"])
        .fails(1, &["no folder no"]);
    assert!(report["search"]["problem"]["hint"].as_str().unwrap().contains("rag-query index"));
    let more = ["--lang", "vi", "--no-rerank", "--html", "bench.html"];
    let vietnamese = sandbox.run(&[&args[..], &more].concat()).exits(0);
    let html = std::fs::read_to_string(sandbox.path("bench.html")).unwrap();
    for part in ["tiny-cross", "Tìm kiếm", "there is no index", "--with-llm"] {
        assert!(html.contains(part), "{part}: {html}");
    }
    for part in ["cấu hình tiny-cross", "Tìm kiếm: không đo", "there is no index", "--with-llm"]
    {
        assert!(vietnamese.stdout.contains(part), "{part}: {vietnamese:#?}");
    }
    assert!(!vietnamese.stdout.contains("Tiny reranker"), "{vietnamese:#?}");
    assert!(vietnamese.stderr.contains("Đang đo embedding…"), "{vietnamese:#?}");
}

#[test]
fn the_llm_is_measured_on_the_device_asked_for() {
    let sandbox = Sandbox::indexed();
    let args = ["bench", "--profile", "tiny-endless", "--with-llm", "--json"];
    let report = sandbox.run(&args).exits(0).json();
    assert_positive(
        &report,
        &[
            "/llm/load_ms",
            "/llm/prefill_tokens_per_s",
            "/llm/decode_tokens_per_s",
            "/llm/decode_gb_per_s",
            "/llm/share_of_memory",
        ],
    );
    assert_eq!(report["llm"]["device"], "cpu");
    assert_eq!(report["llm"]["prompt_tokens"], 256);
    // No machine has so many GPUs, and the CPU does not stand in for one.
    sandbox.run(&["bench", "--with-llm", "--device", "cuda:99"]).fails(4, &["hint: "]);
}
