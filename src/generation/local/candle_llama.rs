//! Compares our Llama with that of candle-transformers, for prompts without goldens.

use std::fs;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama as candle;

use super::goldens::{TOLERANCE, goldens, largest};
use super::{DeviceChoice, Llm, LlmFiles};
use crate::support::random::SplitMix64;

/// Processes a prompt in one pass and returns the logits after its last token.
struct CandleLlama {
    model: candle::Llama,
    config: candle::Config,
}

impl CandleLlama {
    fn load() -> Self {
        let folder = goldens().join("tiny-llama");
        let config = fs::read(folder.join("config.json")).unwrap();
        let config: candle::LlamaConfig = serde_json::from_slice(&config).unwrap();
        let config = config.into_config(false);
        let weights = fs::read(folder.join("model.safetensors")).unwrap();
        let weights =
            VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu).unwrap();
        Self { model: candle::Llama::load(weights, &config).unwrap(), config }
    }

    fn logits(&self, prompt: &[u32]) -> Vec<f32> {
        let mut cache = candle::Cache::new(true, DType::F32, &self.config, &Device::Cpu).unwrap();
        let prompt = Tensor::new(prompt, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = self.model.forward(&prompt, 0, &mut cache).unwrap();
        logits.squeeze(0).unwrap().to_vec1().unwrap()
    }
}

#[test]
fn logits_equal_those_of_candle_transformers_on_random_prompts() {
    let reference = CandleLlama::load();
    let files = LlmFiles::at(&goldens().join("tiny-llama")).unwrap();
    let mut llm = Llm::load(&files, DeviceChoice::Cpu, 1024).unwrap();
    let mut random = SplitMix64::new(7);
    // RoPE is scaled beyond position 64.
    for length in [1, 2, 63, 64, 65, 300] {
        let prompt: Vec<u32> =
            (0..length).map(|_| random.below(reference.config.vocab_size) as u32).collect();
        let mut cache = llm.model().cache(1024).unwrap();
        let ours = llm.model().forward(&prompt, &mut cache).unwrap().to_vec1().unwrap();
        let difference = largest(&ours, &reference.logits(&prompt));
        assert!(difference < TOLERANCE, "{length} tokens: off by {difference}");
    }
}
