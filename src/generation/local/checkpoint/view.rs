//! A tensor of a mapped file, whatever the file's format.

use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Result, Tensor};
use memmap2::Mmap;

#[cfg(feature = "cuda")]
use crate::support::mmap;

/// A byte range of a mapped file, which it keeps mapped.
#[derive(Debug, Clone)]
pub struct Mapped {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl Mapped {
    /// The range must lie within the file.
    pub fn new(map: &Arc<Mmap>, range: Range<usize>) -> Self {
        Self { map: Arc::clone(map), range }
    }

    #[cfg(test)]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut map = memmap2::MmapMut::map_anon(bytes.len()).unwrap();
        map.copy_from_slice(bytes);
        Self { map: Arc::new(map.make_read_only().unwrap()), range: 0..bytes.len() }
    }
}

#[cfg(feature = "cuda")]
impl Mapped {
    /// Announces that all of it will be read.
    pub fn will_need(&self) {
        mmap::will_need(&self.map, self.range.clone());
    }

    /// Gives its pages back, once all of it was read.
    pub fn release(&self) {
        mmap::release(&self.map, self.range.clone());
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

/// The type of numbers that stand for themselves, and not for a share in a block.
pub fn number(dtype: GgmlDType) -> Option<DType> {
    match dtype {
        GgmlDType::F32 => Some(DType::F32),
        GgmlDType::F16 => Some(DType::F16),
        GgmlDType::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// A tensor as stored in the file.
#[derive(Debug, Clone)]
pub struct TensorView {
    /// Block type.
    pub dtype: GgmlDType,
    /// Rows first.
    pub shape: Vec<usize>,
    /// Its blocks, row by row.
    pub data: Mapped,
}

impl TensorView {
    /// Some rows of a matrix.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let row_bytes = self.data.len() / self.shape[0];
        let start = self.data.range.start;
        let range = start + rows.start * row_bytes..start + rows.end * row_bytes;
        Self {
            dtype: self.dtype,
            shape: [&[rows.len()], &self.shape[1..]].concat(),
            data: Mapped { map: Arc::clone(&self.data.map), range },
        }
    }

    /// The type of its numbers; `None` if they are quantized.
    pub fn number(&self) -> Option<DType> {
        number(self.dtype)
    }

    /// Its values on the CPU, in `f32`.
    pub fn values(&self) -> Result<Tensor> {
        if let Some(dtype) = self.number() {
            let values = Tensor::from_raw_buffer(&self.data, dtype, &self.shape, &Device::Cpu)?;
            return values.to_dtype(DType::F32);
        }
        let storage = QStorage::from_data(Cow::Borrowed(&self.data), &Device::Cpu, self.dtype)?;
        QTensor::new(storage, self.shape.as_slice())?.dequantize(&Device::Cpu)
    }
}
