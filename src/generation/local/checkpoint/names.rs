//! The tensors of a Llama, and their names in each format.

/// A tensor of the Llama architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Token embedding table, `[vocabulary, hidden]`.
    Embedding,
    /// The final norm, `[hidden]`.
    Norm,
    /// The output matrix, `[vocabulary, hidden]`.
    Output,
    /// A tensor of layer `.0`.
    Layer(usize, Part),
}

/// The tensors of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are named as in the paper")]
pub enum Part {
    AttentionNorm,
    Q,
    K,
    V,
    AttentionOutput,
    FeedForwardNorm,
    Gate,
    Up,
    Down,
}

impl Name {
    /// Its name in a GGUF file.
    pub fn gguf(self) -> String {
        let (layer, part) = match self {
            Self::Embedding => return "token_embd.weight".to_owned(),
            Self::Norm => return "output_norm.weight".to_owned(),
            Self::Output => return "output.weight".to_owned(),
            Self::Layer(layer, part) => (layer, part),
        };
        let part = match part {
            Part::AttentionNorm => "attn_norm",
            Part::Q => "attn_q",
            Part::K => "attn_k",
            Part::V => "attn_v",
            Part::AttentionOutput => "attn_output",
            Part::FeedForwardNorm => "ffn_norm",
            Part::Gate => "ffn_gate",
            Part::Up => "ffn_up",
            Part::Down => "ffn_down",
        };
        format!("blk.{layer}.{part}.weight")
    }

    /// Its name in a Hugging Face checkpoint.
    pub fn hugging_face(self) -> String {
        let (layer, part) = match self {
            Self::Embedding => return "model.embed_tokens.weight".to_owned(),
            Self::Norm => return "model.norm.weight".to_owned(),
            Self::Output => return "lm_head.weight".to_owned(),
            Self::Layer(layer, part) => (layer, part),
        };
        let part = match part {
            Part::AttentionNorm => "input_layernorm",
            Part::Q => "self_attn.q_proj",
            Part::K => "self_attn.k_proj",
            Part::V => "self_attn.v_proj",
            Part::AttentionOutput => "self_attn.o_proj",
            Part::FeedForwardNorm => "post_attention_layernorm",
            Part::Gate => "mlp.gate_proj",
            Part::Up => "mlp.up_proj",
            Part::Down => "mlp.down_proj",
        };
        format!("model.layers.{layer}.{part}.weight")
    }
}
