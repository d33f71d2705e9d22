//! A GPU that cannot be used is an error; the CPU never stands in for it.
#![cfg(not(feature = "cuda"))]

use crate::harness::{ENGLISH, Sandbox, VIETNAMESE};

const CUDA_PROFILE: [&str; 2] = ["--profile", "tiny-cuda"];

fn with<'a>(first: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [first, rest].concat()
}

#[test]
fn an_unusable_gpu_exits_with_4_and_gives_no_answer() {
    let sandbox = Sandbox::indexed();
    for gpu in [&CUDA_PROFILE[..], &["--device", "cuda"], &["--device", "cuda:1"]] {
        for more in [&[][..], &["--json"], &["--quiet"]] {
            let args = [gpu, more, &[ENGLISH]].concat();
            sandbox.run(&args).fails(4, &["CUDA", "hint: ", "--device cpu"]);
        }
    }
}

#[test]
fn what_needs_no_llm_works_without_the_gpu() {
    let sandbox = Sandbox::indexed();
    for args in
        [&["search", ENGLISH][..], &[VIETNAMESE], &["--extractive", ENGLISH], &["index", "notes"]]
    {
        let outcome = sandbox.run(&with(&CUDA_PROFILE, args)).exits(0);
        assert!(!outcome.stderr.contains("error"), "{outcome:#?}");
    }
    let hits = sandbox.run(&with(&CUDA_PROFILE, &["search", "--json", ENGLISH])).json_lines();
    assert!(!hits.is_empty());
}

#[test]
fn the_cpu_is_used_on_explicit_request() {
    let sandbox = Sandbox::indexed();
    let args = with(&CUDA_PROFILE, &["--device", "cpu", "--max-tokens", "4", "--json", ENGLISH]);
    let answer = sandbox.run(&args).exits(0).json();
    assert_eq!(answer["mode"], "generative");
    assert_eq!(answer["placement"]["llm"], "cpu");
}

#[test]
fn a_profile_that_declares_the_cpu_says_so() {
    let sandbox = Sandbox::indexed();
    sandbox.run(&[VIETNAMESE]).exits(0).tells(&["profile tiny runs the LLM on the CPU"]);
    let asked = sandbox.run(&["--device", "cpu", VIETNAMESE]).exits(0);
    assert!(!asked.stderr.contains("runs the LLM on the CPU"), "{asked:#?}");
}

#[test]
fn in_a_pipe_the_questions_that_need_no_gpu_are_answered() {
    let sandbox = Sandbox::indexed();
    let args = with(&CUDA_PROFILE, &["--json"]);
    let outcome = sandbox.run_with_stdin(&args, format!("{ENGLISH}\n{VIETNAMESE}\n")).exits(4);
    let [refused, answered] = &outcome.json_lines()[..] else { panic!("{outcome:#?}") };
    assert_eq!((&refused["question"], &refused["error"]["exit"]), (&ENGLISH.into(), &4.into()));
    assert_eq!((&answered["question"], &answered["answered"]), (&VIETNAMESE.into(), &true.into()));
}
