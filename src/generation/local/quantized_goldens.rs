//! Every tensor type found in GGUF files of Llama 3.1, on a tiny random model: compared with numpy
//! and transformers, which are exact, and with llama.cpp, which rounds as we do.
//!
//! `tests/goldens/vs_llama_cpp.py` generated the file and the expected values.

use std::fs;
use std::path::PathBuf;

use crate::compute::cuda::Rows;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::checkpoint::Checkpoint;
use super::checkpoint::gguf::Gguf;
use super::checkpoint::names::{Name, Part};
use super::goldens::{Logits, goldens, greedy, largest_difference};
use crate::generation::local::*;

#[derive(Deserialize)]
struct Golden {
    tensors: Vec<Matrix>,
    prompt_ids: Vec<u32>,
    /// From transformers, with the file's weights in float32.
    exact: Vec<Logits>,
    /// From llama.cpp.
    tiny: Tiny,
}

#[derive(Deserialize)]
struct Matrix {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    /// Of the first rows, weighted by cos(0.1 column²).
    sums: Vec<f64>,
}

#[derive(Deserialize)]
struct Tiny {
    logits: Vec<Logits>,
    /// The largest error of llama.cpp's logits relative to the exact ones, over the whole text.
    noise: f32,
    greedy: Vec<u32>,
}

fn golden() -> Golden {
    serde_json::from_slice(&fs::read(goldens().join("vs_llama_cpp.json")).unwrap()).unwrap()
}

fn file() -> PathBuf {
    goldens().join("tiny-llama-quantized/model.gguf")
}

fn load() -> Llm {
    Llm::load(&LlmFiles::Gguf(file()), DeviceChoice::Cpu, 1024).unwrap()
}

/// Column weights of the golden sums.
fn weights(columns: usize) -> Vec<f32> {
    (0..columns).map(|column| (0.1 * (column * column) as f64).cos() as f32).collect()
}

fn matrix(gguf: &Gguf, name: &str) -> Vec<Vec<f32>> {
    gguf.view(name).unwrap().values().unwrap().to_vec2().unwrap()
}

#[test]
fn every_tensor_type_is_read_as_numpy_reads_it() {
    let gguf = Gguf::open(&file()).unwrap();
    let golden = golden();
    for Matrix { name, kind, sums } in &golden.tensors {
        let found = format!("{:?}", gguf.view(name).unwrap().dtype);
        assert_eq!(found, kind.replace("_K", "K"), "{name}");
        for (values, expected) in matrix(&gguf, name).iter().zip(sums) {
            let products = values.iter().zip(weights(values.len()));
            let sum: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(b)).sum();
            assert!((sum - expected).abs() < 1e-4, "{name} ({kind}): {sum}, {expected}");
        }
    }
    let mut kinds: Vec<&str> = golden.tensors.iter().map(|t| t.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let all = "BF16 F16 F32 Q2_K Q3_K Q4_0 Q4_1 Q4_K Q5_0 Q5_1 Q5_K Q6_K Q8_0";
    assert_eq!(kinds.join(" "), all);
}

/// One token and many use different kernels. Rounding activations to 8 bits causes errors of a few
/// thousandths of the row's norm; a wrong nibble or scale causes hundreds of times as much.
#[test]
fn every_tensor_type_multiplies() {
    const TOLERANCE: f64 = 0.015;
    let checkpoint = Checkpoint::Gguf(Gguf::open(&file()).unwrap());
    let gguf = Gguf::open(&file()).unwrap();
    let loader = checkpoint.loader(&Device::Cpu, DType::F32).unwrap();
    for Matrix { name, kind, sums } in &golden().tensors {
        let values = matrix(&gguf, name);
        let columns = values[0].len();
        let linear = loader.linear(named(name), values.len(), columns).unwrap();
        for tokens in [1, 2, 9, 40] {
            let xs = weights(columns).repeat(tokens);
            let xs = Tensor::from_vec(xs, (tokens, columns), &Device::Cpu).unwrap();
            let ys = linear.forward(&Rows::Values(xs)).unwrap().to_vec2::<f32>().unwrap();
            for ((found, expected), row) in ys.iter().flat_map(|y| y.iter().zip(sums).zip(&values))
            {
                let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                let off = (f64::from(*found) - expected).abs() / length;
                assert!(off < TOLERANCE, "{name} ({kind}), {tokens} tokens: off by {off}");
            }
        }
    }
}

fn named(gguf: &str) -> Name {
    let parts =
        [Part::Q, Part::K, Part::V, Part::AttentionOutput, Part::Gate, Part::Up, Part::Down];
    let layers = (0..2).flat_map(|layer| parts.map(|part| Name::Layer(layer, part)));
    let mut names = layers.chain([Name::Embedding, Name::Output]);
    names.find(|name| name.gguf() == gguf).unwrap()
}

/// The error relative to the exact logits must be close to llama.cpp's, for any chunk size.
/// (Measured with float32 activations: 0.35; llama.cpp: 0.42.) Misreading the file causes errors of
/// several units.
#[test]
fn logits_are_as_near_to_the_exact_ones_as_llama_cpps() {
    let golden = golden();
    let mut llm = load();
    let limit = 1.5 * golden.tiny.noise;
    for chunk in [1, 7, 512] {
        let off = largest_difference(llm.model(), &golden.exact, &golden.prompt_ids, chunk);
        assert!(off <= limit, "chunks of {chunk}: off by {off}");
    }
    let off = largest_difference(llm.model(), &golden.tiny.logits, &golden.prompt_ids, 512);
    assert!(off <= limit, "off llama.cpp by {off}");
}

#[test]
fn greedy_tokens_equal_llama_cpps_also_for_the_second_question() {
    let golden = golden();
    let llm = load();
    assert_eq!(golden.tiny.greedy.len(), 64);
    assert_eq!(greedy(&llm, &golden.prompt_ids), golden.tiny.greedy);
    greedy(&llm, &golden.prompt_ids[..50]);
    assert_eq!(greedy(&llm, &golden.prompt_ids), golden.tiny.greedy, "after another question");
}
