//! Linear maps without bias: quantized or not, on the GPU or in the mapped file.

#[cfg(target_arch = "x86_64")]
use std::sync::Arc;

#[cfg(target_arch = "x86_64")]
use candle_core::Storage;
use candle_core::quantized::QMatMul;
use candle_core::{D, Device, Module, Result, Tensor};

use super::ops::{self, launches};
#[cfg(target_arch = "x86_64")]
use crate::compute::quantized::{Activations, Matrix, Then, gated_product, products};

/// One matrix, `[outputs, inputs]`.
#[derive(Clone)]
pub enum Linear {
    /// candle's, on any device.
    Candle(QMatMul),
    /// In the mapped file, with the products of [`crate::compute::quantized`].
    #[cfg(target_arch = "x86_64")]
    Mapped(Arc<Matrix>),
}

impl Linear {
    /// `[tokens, inputs]` → `[tokens, outputs]`
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        match self {
            Self::Candle(matrix) => {
                // A quantized product first quantizes its input.
                launches::count(if self.is_quantized() { 2 } else { 1 });
                matrix.forward(xs)
            }
            #[cfg(target_arch = "x86_64")]
            Self::Mapped(matrix) => mapped_products(&[matrix], xs),
        }
    }

    /// Rows of the matrix as vectors, `[ids.len(), inputs]`.
    pub fn rows(&self, ids: &[u32], device: &Device) -> Result<Tensor> {
        match self {
            Self::Candle(matrix) => {
                launches::count(1);
                matrix.embedding(&Tensor::new(ids, device)?)
            }
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

    /// The matrix, if it is in the mapped file.
    #[cfg(target_arch = "x86_64")]
    pub fn mapped(&self) -> Option<Arc<Matrix>> {
        match self {
            Self::Mapped(matrix) => Some(matrix.clone()),
            Self::Candle(_) => None,
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
    /// `[tokens, inputs]` → `[tokens, outputs]` of one or more matrices each, in order.
    pub fn forward(&self, xs: &Tensor) -> Result<Vec<Tensor>> {
        #[cfg(target_arch = "x86_64")]
        if let Some(matrices) = self.mapped() {
            return Ok(vec![mapped_products(&matrices, xs)?]);
        }
        self.0.iter().map(|linear| linear.forward(xs)).collect()
    }

    /// [`ops::gate`] of the outputs: `[tokens, inputs]` → `[tokens, Σ outputs / 2]`.
    pub fn forward_gated(&self, xs: &Tensor) -> Result<Tensor> {
        #[cfg(target_arch = "x86_64")]
        if let Some(&[gate, up]) = self.mapped().as_deref() {
            let xs = activations(xs, gate.columns())?;
            let shape = (xs.rows, gate.rows());
            let mut gated = vec![0f32; xs.rows * gate.rows()];
            gated_product(gate, up, &xs, &mut gated);
            return Tensor::from_vec(gated, shape, &Device::Cpu);
        }
        ops::gate(&match self.forward(xs)?.as_slice() {
            [one] => one.clone(),
            several => Tensor::cat(several, D::Minus1)?,
        })
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

/// Computes with the values of tensors on the CPU; the result is a vector.
#[cfg(target_arch = "x86_64")]
pub fn on_values<const N: usize>(
    tensors: [&Tensor; N],
    compute: impl FnOnce([&[f32]; N]) -> Vec<f32>,
) -> Result<Tensor> {
    let values = with_values(tensors, compute)?;
    let length = values.len();
    Tensor::from_vec(values, length, &Device::Cpu)
}

/// The values of `f32` tensors on the CPU.
#[cfg(target_arch = "x86_64")]
pub fn with_values<T, const N: usize>(
    tensors: [&Tensor; N],
    compute: impl FnOnce([&[f32]; N]) -> T,
) -> Result<T> {
    let tensors: Vec<Tensor> =
        tensors.iter().map(|tensor| tensor.contiguous()).collect::<Result<_>>()?;
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = [[].as_slice(); N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else {
            candle_core::bail!("a CPU operation was given a tensor on a GPU")
        };
        let start = layout.start_offset();
        *slice = &storage.as_slice::<f32>()?[start..start + layout.shape().elem_count()];
    }
    Ok(compute(slices))
}

#[cfg(target_arch = "x86_64")]
fn activations(xs: &Tensor, columns: usize) -> Result<Activations> {
    with_values([xs], |[values]| Activations::new(values, columns))
}

#[cfg(target_arch = "x86_64")]
fn mapped_products(matrices: &[&Matrix], xs: &Tensor) -> Result<Tensor> {
    let width: usize = matrices.iter().map(|matrix| matrix.rows()).sum();
    let columns = matrices.first().map_or(0, |matrix| matrix.columns());
    let xs = activations(xs, columns)?;
    let mut out = vec![0f32; xs.rows * width];
    products(matrices, &xs, Then::Replace, &mut out);
    Tensor::from_vec(out, (xs.rows, width), &Device::Cpu)
}
