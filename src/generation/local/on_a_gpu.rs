//! How generation works with a device that computes on its own time, and that may fail.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::placement::gpu::GpuError;
use super::placement::gpu::fake::{FakeDriver, GIB, fail_after, gpu};
use super::*;

/// Two chunks.
const LONG: usize = PREFILL_CHUNK + 8;

fn load() -> anyhow::Result<Llm> {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama/model.gguf");
    Llm::load(&LlmFiles::Gguf(tiny), DeviceChoice::Cuda(None), LONG + 64)
}

fn prompt(tokens: usize) -> Vec<u32> {
    (0..tokens as u32).map(|i| 1 + i * 7 % 370).collect()
}

fn ask(llm: &Llm, tokens: usize) -> anyhow::Result<Generation> {
    let options = SamplingOptions { max_tokens: 8, ..SamplingOptions::default() };
    llm.generate(&prompt(tokens), &options, &AtomicBool::new(false), &mut |_| {})
}

/// A GPU with a queue: what it is given takes `slowness`, but only whoever waits notices.
fn slow_gpu(slowness: Duration) -> &'static FakeDriver {
    FakeDriver { slowness, takes: GIB, ..FakeDriver::with([gpu(0, 20 * GIB)]) }.activate()
}

#[test]
fn each_chunk_of_a_prompt_is_waited_for_before_the_time_is_read() {
    let slowness = Duration::from_millis(200);
    let driver = slow_gpu(slowness);
    let llm = load().unwrap();
    driver.events();
    let options = SamplingOptions { max_tokens: 8, ..SamplingOptions::default() };
    let stop = AtomicBool::new(false);
    let mut before_text = None;
    let mut watch = |_: &str| {
        before_text.get_or_insert_with(|| driver.events());
    };
    let generation = llm.generate(&prompt(LONG), &options, &stop, &mut watch).unwrap();
    assert_eq!(before_text.unwrap(), ["finish"; 2], "both chunks are read");
    assert!(driver.events().is_empty(), "tokens wait for nothing but their own copy");
    assert!(generation.prefill >= 2 * slowness, "{generation:?}");
}

#[test]
fn an_interruption_is_heard_between_the_chunks_of_a_prompt() {
    let driver = slow_gpu(Duration::from_millis(200));
    let llm = load().unwrap();
    driver.events();
    let interrupted = Arc::new(AtomicBool::new(false));
    let user = Arc::clone(&interrupted);
    let user = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        user.store(true, Ordering::Relaxed);
    });
    let options = SamplingOptions::default();
    let generation = llm.generate(&prompt(LONG), &options, &interrupted, &mut |_| {}).unwrap();
    user.join().unwrap();
    assert_eq!((generation.stop, generation.tokens.len()), (Stop::Interrupted, 0));
    assert!(driver.events().len() < 2, "it did not read the prompt to its end");
}

/// candle does not look whether its products were launched.
#[test]
fn a_kernel_that_was_not_launched_ends_the_answer_and_gives_no_wrong_token() {
    slow_gpu(Duration::ZERO);
    let llm = load().unwrap();
    let whole = ask(&llm, 9).unwrap();
    // In the prompt, and at each token.
    for failing in 0..=whole.tokens.len() {
        fail_after(failing, "CUDA_ERROR_INVALID_VALUE");
        let mut text = String::new();
        let options = SamplingOptions { max_tokens: 8, ..SamplingOptions::default() };
        let stop = AtomicBool::new(false);
        let error =
            llm.generate(&prompt(9), &options, &stop, &mut |piece| text += piece).unwrap_err();
        let gpu = error.downcast_ref::<GpuError>().expect("it ends with exit code 4");
        assert!(gpu.to_string().contains("CUDA_ERROR_INVALID_VALUE"), "{gpu}");
        assert!(whole.text.starts_with(&text) && text.len() < whole.text.len(), "{text}");
    }
    assert_eq!(ask(&llm, 9).unwrap().tokens, whole.tokens, "nothing of them is left");
}

#[test]
fn kernels_that_were_not_launched_while_loading_fail_the_load() {
    let driver = slow_gpu(Duration::ZERO);
    // After the trial, and after everything.
    for failing in [0, 1] {
        fail_after(failing, "CUDA_ERROR_NO_BINARY_FOR_GPU");
        let error = load().err().expect("it is not loaded");
        // candle keeps work memory for each device that it opened, so each attempt took more.
        assert_eq!(driver.events().last(), Some(&"reset"), "nothing is left of it");
        let gpu = error.downcast_ref::<GpuError>().expect("it ends with exit code 4");
        assert!(gpu.to_string().contains("CUDA_ERROR_NO_BINARY_FOR_GPU"), "{gpu}");
        load().unwrap();
        driver.set_free(0, 20 * GIB);
    }
}

/// A launch that fails leaves a mark, which another error may keep from being seen.
#[test]
fn a_second_failure_of_an_answer_is_not_the_next_ones() {
    slow_gpu(Duration::ZERO);
    let llm = load().unwrap();
    let whole = ask(&llm, 9).unwrap();
    let stale = |_: &mut Resident| {
        fail_after(0, "CUDA_ERROR_INVALID_VALUE");
        anyhow::bail!("CUDA_ERROR_OUT_OF_MEMORY")
    };
    llm.residence.lend::<()>(stale).unwrap_err();
    assert_eq!(ask(&llm, 9).unwrap().tokens, whole.tokens);
}

/// After such an error, everything in the GPU's memory is lost.
#[test]
fn an_error_that_kills_the_context_loses_the_model_and_the_next_question_loads_it_anew() {
    let driver = slow_gpu(Duration::ZERO);
    let llm = load().unwrap();
    let whole = ask(&llm, 9).unwrap();
    driver.events();
    fail_after(3, "CUDA_ERROR_ILLEGAL_ADDRESS");
    let error = ask(&llm, 9).unwrap_err();
    assert!(error.to_string().contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{error}");
    assert_eq!(driver.events(), ["finish", "reset"]);
    assert_eq!(llm.measure().memory.unwrap().measured, Some(0), "its memory is free again");
    assert_eq!(ask(&llm, 9).unwrap().tokens, whole.tokens);
    let again = driver.events();
    assert_eq!(again.iter().filter(|event| **event == "open").count(), 1, "{again:?}");
    assert_eq!(ask(&llm, 9).unwrap().tokens, whole.tokens);
    assert_eq!(driver.events(), ["finish"], "it is loaded once");
}

#[test]
fn a_context_that_stays_broken_is_an_error_each_time_and_can_be_tried_again() {
    let driver = slow_gpu(Duration::ZERO);
    let llm = load().unwrap();
    let whole = ask(&llm, 9).unwrap();
    for _ in 0..2 {
        fail_after(0, "CUDA_ERROR_ECC_UNCORRECTABLE");
        let error = ask(&llm, 9).unwrap_err();
        let gpu = error.downcast_ref::<GpuError>().expect("it ends with exit code 4");
        assert!(gpu.hint().contains("start rag-query again"), "{}", gpu.hint());
    }
    driver.set_free(0, 20 * GIB);
    assert_eq!(ask(&llm, 9).unwrap().tokens, whole.tokens);
}
