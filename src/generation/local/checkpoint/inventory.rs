//! Compares a checkpoint's tensors with those of a Llama before any is loaded.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::gguf::{BETTER_FILE, Gguf};
use super::names::{Name, Part};
use super::shards;
use crate::generation::local::model::config::LlamaConfig;

/// Divisors of the RoPE frequencies in a GGUF file, `[head_dim / 2]`.
const ROPE_FREQS: &str = "rope_freqs.weight";

/// Checks that a GGUF file has exactly the tensors of a model of this shape. An extra tensor (a
/// bias, another layer, an expert) implies a computation that this program does not implement.
pub fn check_gguf(gguf: &Gguf, config: &LlamaConfig) -> Result<()> {
    let mut found: HashMap<String, Vec<usize>> =
        gguf.shapes().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect();
    take(&mut found, config, Name::gguf, true, BETTER_FILE)?;
    if let Some(shape) = found.remove(ROPE_FREQS) {
        same_shape(ROPE_FREQS, &shape, &[config.head_dim / 2], BETTER_FILE)?;
    }
    nothing_else(found, BETTER_FILE)
}

/// Same as [`check_gguf`] for safetensors files; reads only their headers.
pub fn check_safetensors(files: &[PathBuf], config: &LlamaConfig) -> Result<()> {
    const NEXT: &str = "download the whole model again";
    let mut found = shards::shapes(files)?;
    take(&mut found, config, Name::hugging_face, config.tied, NEXT)?;
    // Old checkpoints store the frequencies, although they follow from the configuration.
    found.retain(|name, _| !name.ends_with(".rotary_emb.inv_freq"));
    nothing_else(found, "use a Llama 3 model")
}

/// Removes the model's tensors from `found`.
fn take(
    found: &mut HashMap<String, Vec<usize>>,
    config: &LlamaConfig,
    spelling: fn(Name) -> String,
    output_may_lack: bool,
    next: &str,
) -> Result<()> {
    for (name, shape) in tensors(config) {
        let spelled = spelling(name);
        match found.remove(&spelled) {
            Some(found) => same_shape(&spelled, &found, &shape, next)?,
            None if name == Name::Output && output_may_lack => {} // tied to the embedding
            None => {
                bail!("there is no tensor {spelled}: the model is not whole, or no Llama; {next}")
            }
        }
    }
    Ok(())
}

/// All tensors of a model of this shape, rows first.
fn tensors(config: &LlamaConfig) -> impl Iterator<Item = (Name, Vec<usize>)> {
    let LlamaConfig { hidden, heads, kv_heads, head_dim, feed_forward, vocabulary, .. } = *config;
    // The configuration bounds both factors, so the product cannot overflow.
    let (q, kv) = (heads * head_dim, kv_heads * head_dim);
    let layer = move |layer| {
        [
            (Part::AttentionNorm, vec![hidden]),
            (Part::Q, vec![q, hidden]),
            (Part::K, vec![kv, hidden]),
            (Part::V, vec![kv, hidden]),
            (Part::AttentionOutput, vec![hidden, q]),
            (Part::FeedForwardNorm, vec![hidden]),
            (Part::Gate, vec![feed_forward, hidden]),
            (Part::Up, vec![feed_forward, hidden]),
            (Part::Down, vec![hidden, feed_forward]),
        ]
        .map(|(part, shape)| (Name::Layer(layer, part), shape))
    };
    [
        (Name::Embedding, vec![vocabulary, hidden]),
        (Name::Norm, vec![hidden]),
        (Name::Output, vec![vocabulary, hidden]),
    ]
    .into_iter()
    .chain((0..config.layers).flat_map(layer))
}

fn same_shape(name: &str, found: &[usize], wanted: &[usize], next: &str) -> Result<()> {
    if found != wanted {
        bail!(
            "tensor {name} has the shape {found:?}, not {wanted:?} as the model's configuration says; {next}"
        );
    }
    Ok(())
}

fn nothing_else(found: HashMap<String, Vec<usize>>, next: &str) -> Result<()> {
    let count = found.len();
    if let Some(name) = found.into_keys().min() {
        bail!("there are {count} tensors that a Llama does not have, such as {name}; {next}");
    }
    Ok(())
}
