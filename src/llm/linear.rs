//! Linear maps without bias: quantized or not, on the GPU or in the mapped file.

use std::sync::Arc;

use candle_core::quantized::QMatMul;
use candle_core::{D, DType, Device, Module, Result, Storage, Tensor};
use candle_nn::ops::silu;

#[cfg(target_arch = "x86_64")]
use super::cpu::{Activations, Matrix, add_products, gated_product};

/// One matrix, `[outputs, inputs]`.
#[derive(Clone)]
pub enum Linear {
    /// candle's, on any device.
    Candle(QMatMul),
    /// In the mapped file, with the products of [`super::cpu`].
    #[cfg(target_arch = "x86_64")]
    Mapped(Arc<Matrix>),
}

impl Linear {
    /// `[tokens, inputs]` → `[tokens, outputs]`
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        match self {
            Self::Candle(matrix) => matrix.forward(xs),
            #[cfg(target_arch = "x86_64")]
            Self::Mapped(matrix) => mapped_products(&[matrix], xs, None),
        }
    }

    /// Rows of the matrix as vectors, `[ids.len(), inputs]`.
    pub fn rows(&self, ids: &[u32], device: &Device) -> Result<Tensor> {
        match self {
            Self::Candle(matrix) => matrix.embedding(&Tensor::new(ids, device)?),
            #[cfg(target_arch = "x86_64")]
            Self::Mapped(matrix) => {
                let shape = (ids.len(), matrix.columns());
                Tensor::from_vec(matrix.dequantized(ids), shape, device)
            }
        }
    }

    /// Whether it holds less than 16 bits a weight.
    pub fn is_quantized(&self) -> bool {
        match self {
            Self::Candle(matrix) => matches!(matrix, QMatMul::QTensor(_)),
            #[cfg(target_arch = "x86_64")]
            Self::Mapped(_) => true,
        }
    }

    /// Where the matrix is.
    pub fn device(&self) -> Device {
        match self {
            Self::Candle(QMatMul::QTensor(tensor)) => tensor.device(),
            Self::Candle(QMatMul::Tensor(tensor) | QMatMul::TensorF16(tensor)) => {
                tensor.device().clone()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Mapped(_) => Device::Cpu,
        }
    }
}

/// Matrices with the same inputs, one below the other: `[Σ outputs, inputs]`.
pub struct Stack(pub Vec<Linear>);

impl Stack {
    /// `[tokens, inputs]` → `[tokens, Σ outputs]`
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        #[cfg(target_arch = "x86_64")]
        if let Some(matrices) = self.mapped() {
            return mapped_products(&matrices, xs, None);
        }
        match self.0.as_slice() {
            [one] => one.forward(xs),
            several => {
                let outputs: Result<Vec<Tensor>> =
                    several.iter().map(|linear| linear.forward(xs)).collect();
                Tensor::cat(&outputs?, D::Minus1)
            }
        }
    }

    /// [`Stack::forward`], added to `onto`.
    pub fn forward_onto(&self, xs: &Tensor, onto: &Tensor) -> Result<Tensor> {
        #[cfg(target_arch = "x86_64")]
        if let Some(matrices) = self.mapped() {
            return mapped_products(&matrices, xs, Some(onto));
        }
        self.forward(xs)? + onto
    }

    /// `silu(first half) · second half` of the outputs (`SwiGLU`, Shazeer 2020):
    /// `[tokens, inputs]` → `[tokens, Σ outputs / 2]`.
    pub fn forward_gated(&self, xs: &Tensor) -> Result<Tensor> {
        #[cfg(target_arch = "x86_64")]
        if let Some(&[gate, up]) = self.mapped().as_deref() {
            let xs = activations(xs, gate.columns())?;
            let shape = (xs.rows, gate.rows());
            return Tensor::from_vec(gated_product(gate, up, &xs), shape, &Device::Cpu);
        }
        if let [gate, up] = self.0.as_slice() {
            return silu(&gate.forward(xs)?)? * up.forward(xs)?;
        }
        let both = self.forward(xs)?;
        let width = both.dim(D::Minus1)? / 2;
        silu(&both.narrow(D::Minus1, 0, width)?.contiguous()?)?
            * both.narrow(D::Minus1, width, width)?.contiguous()?
    }

    /// All of the matrices, if all are mapped.
    #[cfg(target_arch = "x86_64")]
    fn mapped(&self) -> Option<Vec<&Matrix>> {
        self.0
            .iter()
            .map(|linear| match linear {
                Linear::Mapped(matrix) => Some(matrix.as_ref()),
                Linear::Candle(_) => None,
            })
            .collect()
    }
}

/// The values of an `f32` tensor on the CPU.
pub fn with_values<T>(xs: &Tensor, use_values: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let xs = xs.contiguous()?.to_dtype(DType::F32)?;
    let (storage, layout) = xs.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("a CPU operation was given a tensor on a GPU")
    };
    let start = layout.start_offset();
    use_values(&storage.as_slice::<f32>()?[start..start + layout.shape().elem_count()])
}

#[cfg(target_arch = "x86_64")]
fn activations(xs: &Tensor, columns: usize) -> Result<Activations> {
    with_values(xs, |values| Ok(Activations::new(values, columns)))
}

#[cfg(target_arch = "x86_64")]
fn mapped_products(matrices: &[&Matrix], xs: &Tensor, onto: Option<&Tensor>) -> Result<Tensor> {
    let width: usize = matrices.iter().map(|matrix| matrix.rows()).sum();
    let columns = matrices.first().map_or(0, |matrix| matrix.columns());
    let xs = activations(xs, columns)?;
    let mut out = match onto {
        Some(onto) => with_values(onto, |values| Ok(values.to_vec()))?,
        None => vec![0f32; xs.rows * width],
    };
    add_products(matrices, &xs, &mut out);
    Tensor::from_vec(out, (xs.rows, width), &Device::Cpu)
}
