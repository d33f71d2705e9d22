//! Products of a few rows with a quantized matrix, by candle's kernels.
//!
//! candle quantizes the rows anew for every product. Here, whatever wrote the rows has quantized
//! them already, so that a product is one launch.

use std::ffi::c_void;

use candle_core::cuda_backend::kernels::ffi;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Result, Tensor, bail};

use super::launch::{address, cuda_device};

/// Values in a block of quantized activations.
const BLOCK: usize = 32;
/// Bytes of a block: the scale and the sum in half precision, and 32 values.
const BLOCK_BYTES: usize = 36;
/// The most rows that candle's kernels take.
const MOST_ROWS: usize = 8;

/// A product: matrix, rows, output, columns and rows of the matrix, blocks in one of the rows, values
/// in a row of the output, number of rows, stream.
type Product = unsafe extern "C" fn(
    *const c_void,
    *const c_void,
    *mut c_void,
    i32,
    i32,
    i32,
    i32,
    i32,
    *mut c_void,
);

fn product(dtype: GgmlDType) -> Option<Product> {
    Some(match dtype {
        GgmlDType::Q4_0 => ffi::launch_mmvq_gguf_q4_0_f32_plain,
        GgmlDType::Q4_1 => ffi::launch_mmvq_gguf_q4_1_f32_plain,
        GgmlDType::Q5_0 => ffi::launch_mmvq_gguf_q5_0_f32_plain,
        GgmlDType::Q5_1 => ffi::launch_mmvq_gguf_q5_1_f32_plain,
        GgmlDType::Q8_0 => ffi::launch_mmvq_gguf_q8_0_f32_plain,
        GgmlDType::Q2K => ffi::launch_mmvq_gguf_q2_k_f32_plain,
        GgmlDType::Q3K => ffi::launch_mmvq_gguf_q3_k_f32_plain,
        GgmlDType::Q4K => ffi::launch_mmvq_gguf_q4_k_f32_plain,
        GgmlDType::Q5K => ffi::launch_mmvq_gguf_q5_k_f32_plain,
        GgmlDType::Q6K => ffi::launch_mmvq_gguf_q6_k_f32_plain,
        _ => return None,
    })
}

/// Whether a product of so many rows with a matrix of type `dtype` takes them quantized.
pub fn takes_quantized(dtype: GgmlDType, rows: usize) -> bool {
    rows <= MOST_ROWS && product(dtype).is_some()
}

/// Rows of activations in 8 bits: `[rows, columns]`.
pub struct Quantized {
    blocks: Tensor,
    rows: usize,
    columns: usize,
}

impl Quantized {
    /// Memory for rows that a kernel will write.
    pub(super) fn empty(rows: usize, columns: usize, device: &Device) -> Result<Self> {
        if !columns.is_multiple_of(BLOCK) {
            bail!("rows of {columns} values cannot be quantized");
        }
        let bytes = rows * columns / BLOCK * BLOCK_BYTES;
        // SAFETY: the kernel writes all of it before anything reads it.
        let blocks = unsafe { Tensor::empty(bytes, DType::U8, device)? };
        Ok(Self { blocks, rows, columns })
    }

    pub(super) fn address(&self) -> Result<u64> {
        address(&self.blocks)
    }

    /// The product with a matrix, `[outputs, columns]`: `[rows, outputs]` in `f32`.
    pub fn product(&self, matrix: &QTensor) -> Result<Tensor> {
        let (outputs, columns) = matrix.shape().dims2()?;
        let Some(product) = product(matrix.dtype()) else {
            bail!("there is no product of quantized rows with {:?}", matrix.dtype())
        };
        if columns != self.columns || self.rows > MOST_ROWS {
            bail!("{} rows of {} do not fit a matrix of {columns}", self.rows, self.columns);
        }
        let device = self.blocks.device();
        // SAFETY: the kernel writes all of it.
        let out = unsafe { Tensor::empty((self.rows, outputs), DType::F32, device)? };
        let stream = cuda_device(&self.blocks)?.cuda_stream();
        let (rows, to) = (self.address()? as *const c_void, address(&out)? as *mut c_void);
        // SAFETY: the shapes are those of the tensors, all of them are on this device, and their
        // memory is freed on the same stream. candle launches these functions with rows of its own
        // the same way (fast_mmvq.rs), but pads them; the kernels read no padding.
        unsafe {
            product(
                matrix.device_ptr()?.cast(),
                rows,
                to,
                columns as i32,
                outputs as i32,
                (columns / BLOCK) as i32,
                outputs as i32,
                self.rows as i32,
                stream.cu_stream().cast(),
            );
        }
        Ok(out)
    }
}
