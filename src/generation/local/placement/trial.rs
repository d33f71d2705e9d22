//! A trial of a GPU's kernels on small data, before gigabytes are loaded for them.
//!
//! A kernel that was not compiled for a GPU fails where nobody looks, or only after the whole model
//! has been loaded. The first use also makes the driver translate it, which belongs to the time of
//! loading.

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{DType, Device, Module, Result, Tensor};

use crate::compute::cuda::{self, Form, Rows};
use crate::compute::norm::rms_norm;

const ROWS: usize = 32;
/// The largest block of any type.
const COLUMNS: usize = 256;

/// Checks the results of products with matrices of these types.
pub fn products(device: &Device, types: &[GgmlDType]) -> Result<()> {
    for &kind in types {
        let (here, there) = matrix(device, kind)?;
        let (here, there) = (here.dequantize(&Device::Cpu)?.t()?, QMatMul::from_qtensor(there)?);
        // One row and several rows use different kernels.
        for rows in [1, 32] {
            let values = values((rows, COLUMNS), 11)?;
            let expected = values.matmul(&here)?;
            let computed = there.forward(&values.to_device(device)?)?;
            // The kernels quantize activations to 8 bits.
            compare(&format!("{kind:?}"), &computed, &expected, 0.02)?;
        }
    }
    Ok(())
}

/// Checks the results of this program's own kernels that write rows, on activations of this type,
/// and of products with rows that they have quantized; its other kernels are in the same module.
pub fn own_kernels(device: &Device, dtype: DType, types: &[GgmlDType]) -> Result<()> {
    const EPSILON: f32 = 1e-5;
    if !device.is_cuda() {
        return Ok(());
    }
    let (hidden, delta) = (values((2, COLUMNS), 7)?, values((2, COLUMNS), 11)?);
    let weight = values((1, COLUMNS), 5)?.flatten_all()?;
    let sum = (&hidden + &delta)?;
    let normed =
        rms_norm(&sum.flatten_all()?.to_vec1::<f32>()?, &weight.to_vec1::<f32>()?, EPSILON);
    let normed = Tensor::from_vec(normed, (2, COLUMNS), &Device::Cpu)?;
    let there = |tensor: &Tensor| tensor.to_dtype(dtype)?.to_device(device);
    let (hidden, delta, weight) = (there(&hidden)?, there(&delta)?, there(&weight)?);
    let add_norm = |form| cuda::add_norm(&hidden, Some(&delta), &weight, EPSILON, form);
    // bf16 has 8 bits, and the sum is rounded before its norm is.
    let tolerance = if dtype == DType::F32 { 1e-5 } else { 0.02 };
    let (summed, rows) = add_norm(Form::Values)?;
    compare("add_norm", &summed, &sum, tolerance)?;
    compare("add_norm", rows.values()?, &normed, tolerance)?;
    if dtype != DType::F32 {
        return Ok(());
    }
    let Rows::Quantized(rows) = add_norm(Form::Quantized)?.1 else { return Ok(()) };
    for &kind in types.iter().filter(|kind| cuda::takes_quantized(**kind, 2)) {
        let (here, there) = matrix(device, kind)?;
        let expected = normed.matmul(&here.dequantize(&Device::Cpu)?.t()?)?;
        compare(&format!("{kind:?}"), &rows.product(&there)?, &expected, 0.02)?;
    }
    Ok(())
}

/// A matrix of this type on the host and on the device.
fn matrix(device: &Device, kind: GgmlDType) -> Result<(QTensor, QTensor)> {
    let here = QTensor::quantize(&values((ROWS, COLUMNS), 7)?, kind)?;
    let storage = QStorage::from_data(here.data()?, device, kind)?;
    Ok((here, QTensor::new(storage, (ROWS, COLUMNS))?))
}

/// Values from -1 to 1 that repeat after `period`.
fn values(shape: (usize, usize), period: usize) -> Result<Tensor> {
    let half = (period / 2) as f32;
    let value = |i: usize| ((i * 5 % period) as f32 - half) / half;
    Tensor::from_vec((0..shape.0 * shape.1).map(value).collect::<Vec<f32>>(), shape, &Device::Cpu)
}

fn compare(kernel: &str, computed: &Tensor, expected: &Tensor, tolerance: f32) -> Result<()> {
    let computed = computed.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let error = (computed - expected)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    let scale = expected.abs()?.max_all()?.to_scalar::<f32>()?;
    if error.is_nan() || error > tolerance * scale {
        candle_core::bail!(
            "its {kernel} kernel computes wrong numbers (off by {error} of {scale}); this program \
             was built for other GPUs"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every type that a GGUF file may have and a GPU has kernels for.
    const TYPES: [GgmlDType; 10] = [
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q2K,
        GgmlDType::Q3K,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ];

    #[test]
    fn right_products_pass_their_trial() {
        products(&Device::Cpu, &TYPES).unwrap();
    }

    #[test]
    fn wrong_numbers_and_nan_do_not_pass() {
        let right = values((2, 8), 7).unwrap();
        compare("a", &right, &right, 0.0).unwrap();
        let off = right.affine(1.0, 0.1).unwrap();
        let error = compare("Q6K", &off, &right, 0.02).unwrap_err().to_string();
        assert!(error.contains("its Q6K kernel computes wrong numbers"), "{error}");
        let nan = (&right / 0.0).unwrap();
        assert!(compare("a", &(&nan * 0.0).unwrap(), &right, 0.02).is_err());
    }
}
