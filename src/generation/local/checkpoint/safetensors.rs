//! The safetensors files of a Hugging Face folder, mapped.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use candle_core::quantized::GgmlDType;

use super::view::{Mapped, TensorView};
use crate::models::safetensors;

/// The tensors of a model, by their names in the files.
pub struct Safetensors {
    tensors: HashMap<String, TensorView>,
}

impl Safetensors {
    /// Maps the files and reads their headers.
    ///
    /// # Errors
    /// Fails if a file is damaged, or if a tensor is duplicated or has an unsupported type.
    pub fn open(files: &[PathBuf]) -> Result<Self> {
        let mut tensors = HashMap::new();
        for path in files {
            let (map, found) = safetensors::map(path)?;
            let map = Arc::new(map);
            for safetensors::Info { name, dtype, shape, range } in found {
                let dtype = match dtype.as_str() {
                    "F32" => GgmlDType::F32,
                    "F16" => GgmlDType::F16,
                    "BF16" => GgmlDType::BF16,
                    _ => bail!(
                        "tensor {name} in {} has the type {dtype}, which this program cannot \
                         compute with; download the bf16 weights of the same model, or a GGUF file \
                         of it",
                        path.display()
                    ),
                };
                let view = TensorView { dtype, shape, data: Mapped::new(&map, range) };
                if tensors.insert(name.clone(), view).is_some() {
                    bail!(
                        "tensor {name} is in two of the safetensors files, also in {}",
                        path.display()
                    );
                }
            }
        }
        Ok(Self { tensors })
    }

    /// A tensor as stored in its file; copies nothing.
    pub fn view(&self, name: &str) -> Option<&TensorView> {
        self.tensors.get(name)
    }

    /// Name, type and shape of every tensor, in no particular order.
    pub fn contents(&self) -> impl Iterator<Item = (&str, GgmlDType, &[usize])> {
        let tensors = self.tensors.iter();
        tensors.map(|(name, view)| (name.as_str(), view.dtype, view.shape.as_slice()))
    }
}
