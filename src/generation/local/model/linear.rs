//! Linear maps without bias: quantized or not, on the GPU or in the mapped file.

use std::slice;
use std::sync::Arc;

use candle_core::quantized::QMatMul;
use candle_core::{D, Device, Module, Result, Tensor};

use super::ops;
use super::probe::{count_launches, only_candle};
use super::values::with_values;
use crate::compute::activation::Activation;
use crate::compute::cuda::{self, Form, Rows};
use crate::compute::quantized::{Activations, Isa, Matrix, Store, gated_product, products};

/// The instruction set for our own CPU kernels. `None` means that candle computes: the model is on
/// a GPU, or the CPU lacks the instructions.
pub fn cpu_kernels(device: &Device) -> Option<Isa> {
    if device.is_cpu() && !only_candle() { Isa::detect() } else { None }
}

/// One matrix, `[outputs, inputs]`.
#[derive(Clone)]
pub enum Linear {
    /// candle's matrix, on any device.
    Candle(QMatMul),
    /// Used in place in the mapped file, by [`crate::compute::quantized`].
    Mapped(Arc<Matrix>),
}

impl Linear {
    /// `[tokens, inputs]` → `[tokens, outputs]`
    pub fn forward(&self, xs: &Rows) -> Result<Tensor> {
        match (self, xs) {
            (Self::Candle(QMatMul::QTensor(matrix)), Rows::Quantized(xs)) => {
                count_launches(1);
                xs.product(matrix)
            }
            (Self::Candle(matrix), Rows::Values(xs)) => {
                // A quantized product quantizes its input first.
                count_launches(if self.is_quantized() { 2 } else { 1 });
                matrix.forward(xs)
            }
            (Self::Mapped(matrix), Rows::Values(xs)) => mapped_products(&[matrix], xs),
            #[cfg(test)]
            (Self::Candle(matrix), Rows::AsQuantized(xs)) => {
                count_launches(1);
                matrix.forward(xs)
            }
            _ => candle_core::bail!("this matrix takes no quantized rows"),
        }
    }

    /// The form in which it takes `tokens` rows.
    pub fn form(&self, tokens: usize) -> Form {
        match self {
            Self::Candle(QMatMul::QTensor(matrix))
                if (matrix.device().is_cuda() || only_candle())
                    && cuda::takes_quantized(matrix.dtype(), tokens) =>
            {
                Form::Quantized
            }
            _ => Form::Values,
        }
    }

    /// Selects rows of the matrix, `[ids.len(), inputs]`.
    pub fn rows(&self, ids: &[u32], device: &Device) -> Result<Tensor> {
        match self {
            Self::Candle(matrix) => {
                count_launches(1);
                matrix.embedding(&Tensor::new(ids, device)?)
            }
            Self::Mapped(matrix) => {
                let shape = (ids.len(), matrix.columns());
                Tensor::from_vec(matrix.dequantized(ids), shape, device)
            }
        }
    }

    /// Whether its weights have fewer than 16 bits.
    pub fn is_quantized(&self) -> bool {
        matches!(self, Self::Candle(QMatMul::QTensor(_)) | Self::Mapped(_))
    }

    /// The matrix, if it is in the mapped file.
    pub fn mapped(&self) -> Option<&Arc<Matrix>> {
        match self {
            Self::Mapped(matrix) => Some(matrix),
            Self::Candle(_) => None,
        }
    }

    pub fn device(&self) -> Device {
        match self {
            Self::Candle(QMatMul::QTensor(tensor)) => tensor.device(),
            Self::Candle(QMatMul::Tensor(tensor) | QMatMul::TensorF16(tensor)) => {
                tensor.device().clone()
            }
            Self::Mapped(_) => Device::Cpu,
        }
    }
}

/// Matrices that share their input, stacked along the outputs: `[Σ outputs, inputs]`.
pub struct Stack(pub Vec<Linear>);

impl Stack {
    /// `[tokens, inputs]` → one or more `[tokens, outputs]`, in order; each may cover several
    /// matrices.
    pub fn forward(&self, xs: &Rows) -> Result<Vec<Tensor>> {
        if let (Some(matrices), Rows::Values(xs)) = (self.mapped(), xs) {
            let matrices: Vec<&Matrix> = matrices.into_iter().map(AsRef::as_ref).collect();
            return Ok(vec![mapped_products(&matrices, xs)?]);
        }
        self.0.iter().map(|linear| linear.forward(xs)).collect()
    }

    /// [`ops::gate`] of the outputs: `[tokens, inputs]` → `[tokens, Σ outputs / 2]`.
    pub fn forward_gated(&self, xs: &Rows, activation: Activation, form: Form) -> Result<Rows> {
        if let (Some(&[gate, up]), Rows::Values(xs)) = (self.mapped().as_deref(), xs) {
            let xs = activations(gate, xs)?;
            let mut gated = vec![0f32; xs.rows() * gate.rows()];
            gated_product(activation, gate, up, slice::from_ref(&xs), &mut gated);
            let gated = Tensor::from_vec(gated, (xs.rows(), gate.rows()), &Device::Cpu)?;
            return Ok(Rows::Values(gated));
        }
        let both = match self.forward(xs)?.as_slice() {
            [one] => one.clone(),
            several => Tensor::cat(several, D::Minus1)?,
        };
        ops::gate(&both, activation, form)
    }

    /// The form in which all of them take `tokens` rows.
    pub fn form(&self, tokens: usize) -> Form {
        let quantized = self.0.iter().all(|linear| linear.form(tokens) == Form::Quantized);
        if quantized { Form::Quantized } else { Form::Values }
    }

    /// All matrices, if all are in the mapped file.
    pub fn mapped(&self) -> Option<Vec<&Arc<Matrix>>> {
        self.0.iter().map(Linear::mapped).collect()
    }
}

/// Converts `xs`, `[tokens, inputs]`, to the form that products with `matrix` take.
fn activations(matrix: &Matrix, xs: &Tensor) -> Result<Activations> {
    let mut activations = Activations::new(matrix.isa());
    with_values([xs], |[values]| activations.take(values, matrix.columns(), None))?;
    Ok(activations)
}

/// `[tokens, inputs]` → `[tokens, Σ outputs]`
fn mapped_products(matrices: &[&Matrix], xs: &Tensor) -> Result<Tensor> {
    let Some(first) = matrices.first() else { candle_core::bail!("there is no matrix") };
    let width: usize = matrices.iter().map(|matrix| matrix.rows()).sum();
    let xs = activations(first, xs)?;
    let mut out = vec![0f32; xs.rows() * width];
    products(matrices, slice::from_ref(&xs), Store::Overwrite, &mut out);
    Tensor::from_vec(out, (xs.rows(), width), &Device::Cpu)
}
