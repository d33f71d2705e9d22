//! The tensors of a model, and their names in each format.

/// A tensor of a model.
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
    QBias,
    KBias,
    VBias,
    /// Q, K and V, one above the other.
    Qkv,
    /// Of each head of Q.
    QNorm,
    /// Of each head of K.
    KNorm,
    AttentionOutput,
    /// Of what attention adds.
    AttentionPostNorm,
    FeedForwardNorm,
    Gate,
    Up,
    /// Gate and up, one above the other.
    GateUp,
    Down,
    /// Of what the feed-forward block adds.
    FeedForwardPostNorm,
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
            Part::AttentionNorm => "attn_norm.weight",
            Part::Q => "attn_q.weight",
            Part::K => "attn_k.weight",
            Part::V => "attn_v.weight",
            Part::QBias => "attn_q.bias",
            Part::KBias => "attn_k.bias",
            Part::VBias => "attn_v.bias",
            Part::Qkv => "attn_qkv.weight",
            Part::QNorm => "attn_q_norm.weight",
            Part::KNorm => "attn_k_norm.weight",
            Part::AttentionOutput => "attn_output.weight",
            Part::AttentionPostNorm => "post_attention_norm.weight",
            Part::FeedForwardNorm => "ffn_norm.weight",
            Part::Gate => "ffn_gate.weight",
            Part::Up | Part::GateUp => "ffn_up.weight",
            Part::Down => "ffn_down.weight",
            Part::FeedForwardPostNorm => "post_ffw_norm.weight",
        };
        format!("blk.{layer}.{part}")
    }

    /// Its name in a Hugging Face checkpoint of a Llama, and of what only other architectures have,
    /// in theirs.
    pub fn hugging_face(self) -> String {
        let (layer, part) = match self {
            Self::Embedding => return "model.embed_tokens.weight".to_owned(),
            Self::Norm => return "model.norm.weight".to_owned(),
            Self::Output => return "lm_head.weight".to_owned(),
            Self::Layer(layer, part) => (layer, part),
        };
        let part = match part {
            Part::AttentionNorm => "input_layernorm.weight",
            Part::Q => "self_attn.q_proj.weight",
            Part::K => "self_attn.k_proj.weight",
            Part::V => "self_attn.v_proj.weight",
            Part::QBias => "self_attn.q_proj.bias",
            Part::KBias => "self_attn.k_proj.bias",
            Part::VBias => "self_attn.v_proj.bias",
            Part::Qkv => "self_attn.qkv_proj.weight",
            Part::QNorm => "self_attn.q_norm.weight",
            Part::KNorm => "self_attn.k_norm.weight",
            Part::AttentionOutput => "self_attn.o_proj.weight",
            Part::AttentionPostNorm => "post_self_attn_layernorm.weight",
            Part::FeedForwardNorm => "post_attention_layernorm.weight",
            Part::Gate => "mlp.gate_proj.weight",
            Part::Up => "mlp.up_proj.weight",
            Part::GateUp => "mlp.gate_up_proj.weight",
            Part::Down => "mlp.down_proj.weight",
            Part::FeedForwardPostNorm => "post_mlp_layernorm.weight",
        };
        format!("model.layers.{layer}.{part}")
    }
}
