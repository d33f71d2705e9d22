//! The model: configuration, layers and KV cache.

pub(crate) mod adjustments;
pub(crate) mod architecture;
pub(crate) mod config;
pub(crate) mod kv_cache;
pub(crate) mod linear;
pub(crate) mod llama;
pub(crate) mod ops;
pub(crate) mod probe;
pub(crate) mod rope;
pub(crate) mod values;
