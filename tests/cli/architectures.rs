//! LLMs of other architectures than Llama, quantized, as files of the user's own.

use std::fs;

use crate::harness::{ENGLISH, Sandbox, VIETNAMESE, goldens};

const FILES: [&str; 3] = ["qwen3-q4_k_m.gguf", "gemma3-q4_k_m.gguf", "phi3-q4_k_m.gguf"];

/// An index, and the files.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::indexed();
    for file in FILES {
        let path = goldens().join("tiny-architectures").join(file);
        fs::copy(path, sandbox.path(file)).unwrap();
    }
    sandbox
}

#[test]
fn they_answer_from_a_file_on_the_cpu() {
    let sandbox = sandbox();
    for file in FILES {
        let args = ["--llm", file, "--device", "cpu", "--max-tokens", "8", "--top-k", "1"];
        let more = ["--force", "--json", ENGLISH];
        let answer = sandbox.run(&[&args[..], &more].concat()).exits(0).json();
        assert_eq!((&answer["mode"], &answer["model"]), (&"generative".into(), &file.into()));
        assert_eq!(answer["placement"]["llm"], "cpu", "{file}");
        let [prompt, generated] = ["prompt", "generated"].map(|of| answer["tokens"][of].as_u64());
        assert!(prompt > Some(200) && generated.is_some_and(|count| (1..=8).contains(&count)));
    }
}

/// An entry of the catalogue by its key, with what the catalogue says of it.
#[test]
fn an_llm_of_the_catalogue_is_named_by_its_key() {
    let sandbox = Sandbox::indexed();
    let args = ["--llm", "tiny-unjudging-llm", "--max-tokens", "4", "--force", "--json", ENGLISH];
    let answer = sandbox.run(&args).exits(0).json();
    assert_eq!(answer["model"], "Tiny LLM that cannot judge");
    // A file of that name comes first.
    sandbox.write("tiny-unjudging-llm", "no model");
    sandbox.run(&args).exits(1).tells(&["tiny-unjudging-llm"]);
    // Only LLMs are meant.
    sandbox.run(&["--llm", "tiny-embedder", ENGLISH]).fails(1, &["tiny-embedder"]);
}

/// As for every LLM: no GPU, no answer, whatever the architecture.
#[cfg(not(feature = "cuda"))]
#[test]
fn without_a_gpu_they_are_refused_in_the_same_words() {
    let sandbox = sandbox();
    let refusal = |args: &[&str]| {
        let outcome = sandbox.run(args).fails(4, &["CUDA", "hint: ", "--device cpu"]);
        let words = outcome.stderr.lines().filter(|line| line.starts_with(['e', 'h']));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = refusal(&["--device", "cuda", ENGLISH]);
    for file in FILES {
        let found = refusal(&["--device", "cuda", "--llm", file, ENGLISH]);
        let named = |line: &String| line.replace(file, "Tiny LLM");
        assert_eq!(found.iter().map(named).collect::<Vec<_>>(), expected, "{file}");
    }
    sandbox.run(&["--device", "cuda", "--llm", FILES[1], "search", VIETNAMESE]).exits(0);
}

#[test]
fn the_plan_of_their_memory_is_told_without_loading() {
    let sandbox = sandbox();
    for file in FILES {
        let doctor = sandbox.run(&["--llm", file, "--device", "cpu", "doctor"]);
        assert!(doctor.stdout.contains("KV"), "{file}: {doctor:#?}");
    }
}

#[test]
fn an_architecture_that_does_not_run_is_told_with_those_that_do() {
    let sandbox = sandbox();
    let file = sandbox.path("mamba.gguf");
    let mut bytes = fs::read(sandbox.path(FILES[0])).unwrap();
    // Of the same length: the architecture is the first value of the file.
    let at = bytes.windows(5).position(|word| word == b"qwen3").unwrap();
    bytes[at..at + 5].copy_from_slice(b"mamba");
    fs::write(&file, bytes).unwrap();
    let args = ["--llm", "mamba.gguf", "--device", "cpu", ENGLISH];
    sandbox.run(&args).fails(1, &["mamba.gguf", "\"mamba\"", "Qwen3", "Gemma 3", "Phi-4"]);
}
