//! A GGUF file: metadata, and the tensors in the mapped file.

use std::borrow::Cow;
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use candle_core::Device;
use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::{QStorage, QTensor, gguf_file};
use memmap2::Mmap;

use super::checkpoint::Name;

/// A whole number in GGUF metadata, whatever its width. (candle's own accessors want the exact one,
/// and writers differ.)
pub fn integer(value: &Value) -> Option<u64> {
    match *value {
        Value::U8(n) => Some(n.into()),
        Value::U16(n) => Some(n.into()),
        Value::U32(n) => Some(n.into()),
        Value::U64(n) => Some(n),
        Value::I8(n) => n.try_into().ok(),
        Value::I16(n) => n.try_into().ok(),
        Value::I32(n) => n.try_into().ok(),
        Value::I64(n) => n.try_into().ok(),
        _ => None,
    }
}

/// An opened GGUF file: header read, data mapped.
pub struct Gguf {
    /// Metadata and tensor table.
    pub content: gguf_file::Content,
    map: Mmap,
    path: PathBuf,
}

impl Gguf {
    /// Maps the file and reads its header.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        // SAFETY: model files are not changed while they are in use.
        let map = unsafe { Mmap::map(&file) }
            .with_context(|| format!("cannot map {}", path.display()))?;
        let damaged = || format!("{} is not a whole GGUF file; download it again", path.display());
        // candle divides by this value when it reads the header.
        let content =
            std::panic::catch_unwind(|| gguf_file::Content::read(&mut Cursor::new(&map[..])))
                .map_err(|_| anyhow!("its header is nonsense"))
                .and_then(|content| Ok(content?))
                .with_context(damaged)?;
        for (name, info) in &content.tensor_infos {
            gguf_tensor_range(&content, info, map.len())
                .with_context(|| format!("tensor {name} lies outside of the file"))
                .with_context(damaged)?;
        }
        Ok(Self { content, map, path: path.to_owned() })
    }

    /// Bytes of all tensors.
    pub fn weight_bytes(&self) -> u64 {
        let size =
            |info| gguf_tensor_range(&self.content, info, self.map.len()).map_or(0, |r| r.len());
        self.content.tensor_infos.values().map(|info| size(info) as u64).sum()
    }

    /// Rows of the token embedding table.
    pub fn vocabulary(&self) -> Result<usize> {
        let name = Name::Embedding.gguf();
        let info = self.content.tensor_infos.get(&name).with_context(|| self.lacks(&name))?;
        Ok(info.shape.dims2()?.0)
    }

    /// Loads a tensor onto a device.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<QTensor> {
        let info = self.content.tensor_infos.get(name).with_context(|| self.lacks(name))?;
        let range = gguf_tensor_range(&self.content, info, self.map.len())
            .with_context(|| format!("tensor {name} lies outside of {}", self.path.display()))?;
        let storage =
            QStorage::from_data(Cow::Borrowed(&self.map[range]), device, info.ggml_dtype)?;
        Ok(QTensor::new(storage, info.shape.clone())?)
    }

    fn lacks(&self, name: &str) -> String {
        format!("{} has no tensor {name}; it is not a complete Llama model", self.path.display())
    }
}

/// The bytes of a tensor in a file of `length` bytes, if they lie in it.
fn gguf_tensor_range(
    content: &gguf_file::Content,
    info: &gguf_file::TensorInfo,
    length: usize,
) -> Option<std::ops::Range<usize>> {
    let elements = info.shape.dims().iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))?;
    let block = info.ggml_dtype.block_size();
    if elements == 0 || !elements.is_multiple_of(block) {
        return None;
    }
    let bytes = (elements / block).checked_mul(info.ggml_dtype.type_size())?;
    let start = usize::try_from(content.tensor_data_offset.checked_add(info.offset)?).ok()?;
    let end = start.checked_add(bytes)?;
    (end <= length).then_some(start..end)
}
