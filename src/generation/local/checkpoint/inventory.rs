//! Compares a checkpoint's tensors with those of its architecture before any is loaded.

use std::collections::HashMap;

use anyhow::{Result, bail};

use super::gguf::{BETTER_FILE, Gguf};
use super::names::{Name, Part};
use super::safetensors::Safetensors;
use crate::generation::local::model::config::{LlamaConfig, RopeScaling};

/// Divisors of the RoPE frequencies in a GGUF file, `[rotated / 2]`: of Llama 3.1, and of Phi for
/// contexts beyond its original one, and within.
pub const ROPE_FREQS: &str = "rope_freqs.weight";
pub const ROPE_FACTORS_LONG: &str = "rope_factors_long.weight";
pub const ROPE_FACTORS_SHORT: &str = "rope_factors_short.weight";

/// Checks that a GGUF file has exactly the tensors of a model of this shape. An extra tensor (a
/// bias, another layer, an expert) implies a computation that this program does not implement.
pub fn check_gguf(gguf: &Gguf, config: &LlamaConfig) -> Result<()> {
    let mut found: HashMap<String, Vec<usize>> =
        gguf.shapes().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect();
    take(&mut found, config, Name::gguf, true, BETTER_FILE)?;
    let divisors: &[&str] = match config.rope_scaling {
        RopeScaling::Long { .. } => &[ROPE_FACTORS_LONG, ROPE_FACTORS_SHORT],
        _ => &[ROPE_FREQS],
    };
    for name in divisors {
        if let Some(shape) = found.remove(*name) {
            same_shape(name, &shape, &[config.rotated / 2], BETTER_FILE)?;
        }
    }
    nothing_else(found, config, BETTER_FILE)
}

/// Same as [`check_gguf`] for safetensors files.
pub fn check_safetensors(safetensors: &Safetensors, config: &LlamaConfig) -> Result<()> {
    const NEXT: &str = "download the whole model again";
    let mut found: HashMap<String, Vec<usize>> =
        safetensors.contents().map(|(name, _, shape)| (name.to_owned(), shape.to_vec())).collect();
    take(&mut found, config, Name::hugging_face, config.tied, NEXT)?;
    // Old checkpoints store the frequencies, although they follow from the configuration.
    found.retain(|name, _| !name.ends_with(".rotary_emb.inv_freq"));
    nothing_else(found, config, "use a Llama 3 model")
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
                bail!(
                    "there is no tensor {spelled}: the model is not whole, or no {:?}; {next}",
                    config.architecture.name
                )
            }
        }
    }
    Ok(())
}

/// All tensors of a model of this shape, rows first.
fn tensors(config: &LlamaConfig) -> impl Iterator<Item = (Name, Vec<usize>)> {
    let LlamaConfig { hidden, vocabulary, .. } = *config;
    let layer = |layer| {
        parts(config).into_iter().map(move |(part, shape)| (Name::Layer(layer, part), shape))
    };
    [
        (Name::Embedding, vec![vocabulary, hidden]),
        (Name::Norm, vec![hidden]),
        (Name::Output, vec![vocabulary, hidden]),
    ]
    .into_iter()
    .chain((0..config.layers).flat_map(layer))
}

/// The tensors of a layer.
fn parts(config: &LlamaConfig) -> Vec<(Part, Vec<usize>)> {
    let LlamaConfig { architecture, hidden, heads, kv_heads, head_dim, feed_forward, .. } = *config;
    // The configuration bounds both factors, so the product cannot overflow.
    let (q, kv) = (heads * head_dim, kv_heads * head_dim);
    let mut parts = vec![
        (Part::AttentionNorm, vec![hidden]),
        (Part::AttentionOutput, vec![hidden, q]),
        (Part::FeedForwardNorm, vec![hidden]),
        (Part::Down, vec![hidden, feed_forward]),
    ];
    if architecture.is_joined {
        parts.extend([
            (Part::Qkv, vec![q + 2 * kv, hidden]),
            (Part::GateUp, vec![2 * feed_forward, hidden]),
        ]);
    } else {
        parts.extend([
            (Part::Q, vec![q, hidden]),
            (Part::K, vec![kv, hidden]),
            (Part::V, vec![kv, hidden]),
            (Part::Gate, vec![feed_forward, hidden]),
            (Part::Up, vec![feed_forward, hidden]),
        ]);
    }
    if architecture.qkv_bias {
        parts.extend([(Part::QBias, vec![q]), (Part::KBias, vec![kv]), (Part::VBias, vec![kv])]);
    }
    if architecture.head_norms {
        parts.extend([(Part::QNorm, vec![head_dim]), (Part::KNorm, vec![head_dim])]);
    }
    if architecture.post_norms {
        parts.extend([
            (Part::AttentionPostNorm, vec![hidden]),
            (Part::FeedForwardPostNorm, vec![hidden]),
        ]);
    }
    parts
}

fn same_shape(name: &str, found: &[usize], wanted: &[usize], next: &str) -> Result<()> {
    if found != wanted {
        bail!(
            "tensor {name} has the shape {found:?}, not {wanted:?} as the model's configuration says; {next}"
        );
    }
    Ok(())
}

fn nothing_else(
    found: HashMap<String, Vec<usize>>,
    config: &LlamaConfig,
    next: &str,
) -> Result<()> {
    let count = found.len();
    if let Some(name) = found.into_keys().min() {
        bail!(
            "there are {count} tensors that the architecture {:?} does not have, such as {name}; {next}",
            config.architecture.name
        );
    }
    Ok(())
}
