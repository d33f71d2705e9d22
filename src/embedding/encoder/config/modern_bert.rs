//! What `config.json` says of a ModernBERT beyond its sizes.
//!
//! Which layers see how far, and by which base they rotate, is written in two ways: older files
//! count layers (`global_attn_every_n_layers`) and name two bases; those of transformers 5 name the
//! kind of each layer (`layer_types`) and the rotation of each kind (`rope_parameters`).

use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use super::lacking;
use crate::compute::dense::gated::Activation;
use crate::models::json;

/// What distinguishes one ModernBERT from another of the same sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct ModernBert {
    /// What the tokens of each layer see.
    pub sights: Vec<Sight>,
    /// How far a token sees to either side in a layer of [`Sight::Near`].
    pub reach: usize,
    /// The base of the rotations in layers of [`Sight::All`].
    pub global_base: f64,
    /// The base of the rotations in layers of [`Sight::Near`].
    pub local_base: f64,
    /// What half of the feed-forward network's inner values go through.
    pub activation: Activation,
    /// Whether norms have biases.
    pub norm_bias: bool,
    /// Whether the products around attention have biases.
    pub attention_bias: bool,
    /// Whether the products of the feed-forward network have biases.
    pub mlp_bias: bool,
    pub(super) epsilon: f32,
}

/// What the tokens of a layer see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The whole text.
    All,
    /// Their neighbours.
    Near,
}

/// The fields as they are written, with the defaults of transformers.
#[derive(Deserialize)]
#[serde(default)]
struct Fields {
    hidden_activation: String,
    norm_eps: f32,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    local_attention: usize,
    global_attn_every_n_layers: usize,
    layer_types: Option<Vec<String>>,
    global_rope_theta: f64,
    /// `null`: as for the layers that see everything.
    local_rope_theta: Option<f64>,
    rope_parameters: Option<Rotations>,
    rope_scaling: Option<serde_json::Value>,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            hidden_activation: "gelu".to_owned(),
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            local_attention: 128,
            global_attn_every_n_layers: 3,
            layer_types: None,
            global_rope_theta: 160_000.0,
            local_rope_theta: Some(10_000.0),
            rope_parameters: None,
            rope_scaling: None,
        }
    }
}

#[derive(Deserialize)]
struct Rotations {
    full_attention: Option<Rotation>,
    sliding_attention: Option<Rotation>,
}

#[derive(Deserialize)]
struct Rotation {
    #[serde(default = "plain")]
    rope_type: String,
    rope_theta: Option<f64>,
}

fn plain() -> String {
    "default".to_owned()
}

impl ModernBert {
    /// Reads what a file says of a model of `layers` layers.
    pub(super) fn read(path: &Path, layers: usize) -> Result<Self> {
        let fields: Fields = json::read(path)?;
        let activation = match fields.hidden_activation.as_str() {
            "gelu" => Activation::Gelu,
            "silu" => Activation::Silu,
            other => bail!(lacking(path, "hidden_activation", other)),
        };
        let (global_base, local_base) = fields.bases(path)?;
        Ok(Self {
            sights: fields.sights(path, layers)?,
            reach: fields.local_attention / 2,
            global_base,
            local_base,
            activation,
            norm_bias: fields.norm_bias,
            attention_bias: fields.attention_bias,
            mlp_bias: fields.mlp_bias,
            epsilon: fields.norm_eps,
        })
    }
}

impl Fields {
    fn sights(&self, path: &Path, layers: usize) -> Result<Vec<Sight>> {
        let Some(types) = &self.layer_types else {
            let every = self.global_attn_every_n_layers;
            ensure!(every > 0, lacking(path, "global_attn_every_n_layers", "0"));
            let sight = |layer: usize| match layer.is_multiple_of(every) {
                true => Sight::All,
                false => Sight::Near,
            };
            return Ok((0..layers).map(sight).collect());
        };
        ensure!(
            types.len() == layers,
            "{} names the attention of {} layers, but the model has {layers}; download it again",
            path.display(),
            types.len()
        );
        let sight = |kind: &String| match kind.as_str() {
            "full_attention" => Ok(Sight::All),
            "sliding_attention" => Ok(Sight::Near),
            other => bail!(lacking(path, "layer_types", other)),
        };
        types.iter().map(sight).collect()
    }

    /// The bases for layers that see everything, and for those that see what is near.
    fn bases(&self, path: &Path) -> Result<(f64, f64)> {
        if let Some(scaling) = &self.rope_scaling {
            bail!(lacking(path, "rope_scaling", &scaling.to_string()));
        }
        let mut global = self.global_rope_theta;
        let mut local = self.local_rope_theta.unwrap_or(global);
        if let Some(Rotations { full_attention, sliding_attention }) = &self.rope_parameters {
            ensure!(
                full_attention.is_some() || sliding_attention.is_some(),
                lacking(path, "rope_parameters", "the same for all layers")
            );
            for (base, rotation) in [(&mut global, full_attention), (&mut local, sliding_attention)]
            {
                let Some(Rotation { rope_type, rope_theta }) = rotation else { continue };
                ensure!(rope_type == "default", lacking(path, "rope_type", rope_type));
                *base = rope_theta.unwrap_or(*base);
            }
        }
        for base in [global, local] {
            let whole = base.is_finite() && base >= 1.0;
            ensure!(whole, lacking(path, "a base of rotations", &base.to_string()));
        }
        Ok((global, local))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(fields: &str, layers: usize) -> Result<ModernBert> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("config.json");
        fs::write(&path, format!("{{{fields}}}"))?;
        ModernBert::read(&path, layers)
    }

    #[test]
    fn both_forms_say_the_same() {
        let old = r#""global_attn_every_n_layers": 3, "local_attention": 128, "norm_eps": 1e-5,
            "global_rope_theta": 160000, "local_rope_theta": 20000, "position_embedding_type": "sans_pos""#;
        let new = r#""layer_types": ["full_attention", "sliding_attention", "sliding_attention",
            "full_attention"], "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0}}"#;
        let old = read(old, 4).unwrap();
        assert_eq!(old, read(new, 4).unwrap());
        assert_eq!(old.sights, [Sight::All, Sight::Near, Sight::Near, Sight::All]);
        assert_eq!((old.reach, old.global_base, old.local_base), (64, 160_000.0, 20_000.0));
    }

    #[test]
    fn without_a_local_base_there_is_one_base() {
        let one = read(r#""global_rope_theta": 80000, "local_rope_theta": null"#, 1).unwrap();
        assert_eq!((one.global_base, one.local_base), (80_000.0, 80_000.0));
        let default = read("", 1).unwrap();
        assert_eq!((default.global_base, default.local_base), (160_000.0, 10_000.0));
    }

    #[test]
    fn what_the_program_lacks_is_refused_by_name() {
        for (fields, named) in [
            (r#""hidden_activation": "relu""#, "hidden_activation = relu"),
            (r#""global_attn_every_n_layers": 0"#, "global_attn_every_n_layers"),
            (r#""layer_types": ["chunked_attention"]"#, "chunked_attention"),
            (r#""layer_types": []"#, "0 layers"),
            (r#""rope_scaling": {"rope_type": "yarn"}"#, "rope_scaling"),
            (r#""rope_parameters": {"rope_theta": 1e4}"#, "rope_parameters"),
            (r#""rope_parameters": {"full_attention": {"rope_type": "yarn"}}"#, "yarn"),
            (r#""global_rope_theta": 0"#, "base"),
        ] {
            let error = read(fields, 1).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("config.json"), "{error}");
        }
    }
}
