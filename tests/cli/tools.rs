//! `completions`, `models` and `doctor`.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{DEMO, ENGLISH, Sandbox};

#[test]
fn completion_scripts_know_the_commands() {
    let sandbox = Sandbox::new();
    for (shell, mark) in
        [("bash", "complete -F"), ("zsh", "#compdef rag-query"), ("fish", "complete -c rag-query")]
    {
        let script = sandbox.run(&["completions", shell]).exits(0);
        assert!(script.stderr.is_empty(), "{}", script.stderr);
        for part in [mark, "search", "doctor", "--profile", "verify"] {
            let part = if shell == "fish" { part.trim_start_matches("--") } else { part };
            assert!(script.stdout.contains(part), "{shell}: no {part}");
        }
    }
}

#[test]
fn the_demo_models_are_intact() {
    let outcome = DEMO.run(&["models", "verify"]).exits(0);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert!(lines.len() >= 4 && lines.iter().all(|line| line.ends_with(": ok")), "{outcome:#?}");
    let files =
        ["config.json", "tokenizer.json", "model.safetensors", "SmolLM2-135M-Instruct.Q4_1.gguf"];
    for file in files {
        assert!(lines.iter().any(|line| line.contains(file)), "{file}: {outcome:#?}");
    }
}

#[test]
fn a_changed_demo_model_is_detected() {
    let sandbox = Sandbox::new();
    // A folder that poses as the prepared LLM: of its file, only the size is right.
    let folder = sandbox.path("prepared/smollm2-135m-instruct");
    fs::create_dir_all(&folder).unwrap();
    let gguf = fs::File::create(folder.join("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    gguf.set_len(98_362_432).unwrap();
    let mut command = sandbox.command(&["--profile", "demo", "models", "verify"]);
    command.env("RAG_QUERY_MODELS", sandbox.path("prepared"));
    let outcome = crate::harness::Outcome::of(command.output().unwrap()).exits(1);
    assert!(outcome.stdout.contains("Q4_1.gguf: changed or damaged"), "{outcome:#?}");
    assert!(outcome.stdout.contains("model.safetensors: missing"), "{outcome:#?}");
}

#[test]
fn the_list_of_models_says_which_are_here() {
    let sandbox = Sandbox::new();
    sandbox.remove("models/tiny-llama/model.gguf");
    let models = sandbox.run(&["models", "list", "--json"]).exits(0).json_lines();
    let model = |id: &str| models.iter().find(|model| model["id"] == id).unwrap_or(&Value::Null);
    assert_eq!(model("tiny-embedder")["here"], true);
    assert_eq!(model("tiny-llm")["here"], false);
    assert_eq!(model("tiny-llm")["role"], "llm");
    assert_eq!(model("llama-3.1-8b-instruct")["here"], false);
    assert_eq!(model("smollm2-135m-instruct-q4_1")["here"], true);
    // A ranking that nobody measured is not passed off as one that was.
    assert!(model("late-interaction")["measured"].is_string());
    assert!(model("mmarco-minilm-l12")["measured"].is_null());
    let text = sandbox.run(&["models", "list"]).exits(0).stdout;
    assert!(
        text.lines().any(|line| line.starts_with('✓') && line.contains("tiny-embedder")),
        "{text}"
    );
    assert!(text.lines().any(|line| line.starts_with('·') && line.contains("tiny-llm ")), "{text}");
    let of = |id: &str| text.lines().find(|line| line.contains(id)).unwrap().to_owned();
    assert!(of("mmarco-minilm-l12").contains("ranking not measured"), "{text}");
    assert!(of("late-interaction").contains("ranking measured: XQuAD"), "{text}");
    assert!(!of("tiny-llm ").contains("ranking"), "{text}");
}

#[test]
fn a_reranker_of_the_catalogue_takes_the_place_of_the_profiles() {
    let sandbox = Sandbox::indexed();
    let scores = |options: &[&str]| {
        let args = [options, &["--json", "search", ENGLISH]].concat();
        sandbox.run(&args).exits(0).json_lines()[0]["scores"]["rerank"].clone()
    };
    let other = scores(&["--reranker", "tiny-reranker"]);
    assert!(other.is_number() && other != scores(&[]));
    assert_eq!(scores(&["--reranker", "late-interaction"]), scores(&[]));
    let unknown = ["--reranker", "tiny-rerankr", "search", ENGLISH];
    sandbox.run(&unknown).fails(1, &["tiny-rerankr", "choose one of", "tiny-reranker"]);
    sandbox.run(&["--reranker", "tiny-llm", "search", ENGLISH]).fails(1, &["tiny-llm"]);
}

#[test]
fn doctor_reports_what_works_as_one_object() {
    let sandbox = Sandbox::indexed();
    let report = sandbox.run(&["doctor", "--json"]).exits(0).json();
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["profile"], "tiny");
    assert_eq!(report["llm_device"], "cpu");
    assert_eq!(report["index"]["documents"], 5);
    assert_eq!(report["index"]["problem"], Value::Null);
    let here: Vec<_> =
        report["models"].as_array().unwrap().iter().map(|model| &model["here"]).collect();
    assert_eq!(here, [&json!(true); 3]);
}

#[test]
fn doctor_plans_the_llms_memory_without_loading_it() {
    let sandbox = Sandbox::indexed();
    let doctor = |args: &[&str]| {
        let args = [&["doctor", "--json"], args].concat();
        sandbox.run(&args).json()["placement"]["llm"].clone()
    };
    let bytes = |plan: &Value, part: &str| plan[format!("{part}_bytes")].as_u64().unwrap();
    let (long, short) = (doctor(&["--context", "1024"]), doctor(&["--context", "512"]));
    assert_eq!(long["device"], "cpu");
    assert_eq!(long["problem"], Value::Null);
    let (long, short) = (&long["plan"], &short["plan"]);
    assert_eq!((&long["context"], &short["context"]), (&json!(1024), &json!(512)));
    assert_eq!(bytes(long, "weights"), bytes(short, "weights"));
    assert_eq!(bytes(long, "kv_cache"), 2 * bytes(short, "kv_cache"));
    let parts = ["weights", "kv_cache", "workspace", "margin"];
    assert_eq!(parts.iter().map(|part| bytes(long, part)).sum::<u64>(), bytes(long, "total"));
    let text = sandbox.run(&["doctor"]).exits(0).stdout;
    let plan = text.lines().find(|line| line.starts_with("plan      ✅")).expect("a plan");
    assert!(plan.contains("on cpu for a context of") && plan.contains("KV cache"), "{plan}");
    sandbox.write("models/tiny-llama/model.gguf", "no model");
    let broken = doctor(&[]);
    assert!(broken["problem"]["error"].as_str().unwrap().contains("model.gguf"), "{broken}");
}

/// The model that the benches measure has a tokenizer and a chat template like any other.
#[test]
fn the_random_model_of_the_benches_answers() {
    let sandbox = Sandbox::indexed();
    let model = sandbox.path("random.gguf");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/make_llama_gguf.py");
    let mut python = std::process::Command::new("python3");
    let made = python.args([script, "--shape", "tiny"]).arg(&model).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let args = ["--llm", model.to_str().unwrap(), "--max-tokens", "4", "--json", ENGLISH];
    let answer = sandbox.run(&args).exits(0).json();
    assert_eq!((&answer["mode"], &answer["model"]), (&json!("generative"), &json!("random.gguf")));
}

/// There is a plan, and a reason why it cannot be carried out.
#[cfg(not(feature = "cuda"))]
#[test]
fn doctor_plans_for_a_gpu_that_does_not_exist() {
    let sandbox = Sandbox::indexed();
    let args = ["doctor", "--json", "--device", "cuda:1"];
    let llm = sandbox.run(&args).exits(1).json()["placement"]["llm"].clone();
    assert_eq!(llm["device"], "cuda:1");
    assert!(llm["plan"]["margin_bytes"].as_u64().unwrap() > 0, "{llm}");
    assert!(llm["problem"]["error"].as_str().unwrap().contains("without CUDA"), "{llm}");
}

#[test]
fn doctor_reports_what_is_missing_and_fails() {
    let sandbox = Sandbox::new();
    sandbox.remove("models/tiny-llama/model.gguf");
    let report = sandbox.run(&["doctor", "--json", "--profile", "tiny-cuda"]).exits(1).json();
    assert!(
        report["index"]["problem"]["error"].as_str().unwrap().contains("there is no index"),
        "{report}"
    );
    let llm =
        report["models"].as_array().unwrap().iter().find(|model| model["role"] == "llm").unwrap();
    assert_eq!(llm["here"], false);
    assert!(llm["problem"].as_str().unwrap().contains("model.gguf"), "{report}");
    #[cfg(not(feature = "cuda"))]
    {
        assert_eq!(report["cuda_build"], false);
        assert!(
            report["gpu_problem"]["hint"].as_str().unwrap().contains("--features cuda"),
            "{report}"
        );
    }
    let text = sandbox.run(&["doctor"]).exits(1).stdout;
    assert!(text.contains("index     ❌") && text.contains("llm       ❌"), "{text}");
    // Without the LLM, an index is all that it takes.
    sandbox.run(&["index", "notes"]).exits(0);
    sandbox.run(&["doctor"]).exits(1);
    sandbox.run(&["doctor", "--extractive"]).exits(0);
}

#[test]
fn the_error_about_a_model_that_is_not_prepared_says_how_to_prepare_it() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["--profile", "demo", "index", "notes"]);
    command.env("RAG_QUERY_MODELS", sandbox.path("empty"));
    crate::harness::Outcome::of(command.output().unwrap()).fails(1, &["models/prepare-demo"]);
}

#[test]
fn the_error_about_a_model_that_is_not_cached_says_how_to_pull_it() {
    let sandbox = Sandbox::new();
    let args = ["--profile", "cpu", "--offline", "index", "notes"];
    sandbox.run(&args).fails(1, &["intfloat/multilingual-e5-small", "models pull"]);
}

#[test]
fn the_version_is_the_packages() {
    let version = Sandbox::new().run(&["--version"]).exits(0).stdout;
    assert_eq!(version, concat!("rag-query ", env!("CARGO_PKG_VERSION"), "\n"));
}
