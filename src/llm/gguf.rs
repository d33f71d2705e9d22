//! A GGUF model: metadata, and tensors in the mapped file or files.
//!
//! A large model may be split (`name-00001-of-00003.gguf`, …): the parts are read as one.

mod header;
mod types;

use std::borrow::Cow;
use std::collections::{HashMap, hash_map};
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use memmap2::Mmap;

use super::checkpoint::Name;
use header::{Header, TensorInfo};
pub use types::BETTER_FILE;

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

/// Bytes in a mapped file, which stays mapped as long as they are in use.
#[derive(Debug, Clone)]
pub struct Mapped {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl Mapped {
    #[cfg(test)]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut map = memmap2::MmapMut::map_anon(bytes.len()).unwrap();
        map.copy_from_slice(bytes);
        Self { map: Arc::new(map.make_read_only().unwrap()), range: 0..bytes.len() }
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

/// A tensor as it lies in the file.
#[derive(Debug, Clone)]
pub struct TensorView {
    /// Type of its blocks.
    pub dtype: GgmlDType,
    /// Rows first.
    pub shape: Vec<usize>,
    /// Its blocks, row by row.
    pub data: Mapped,
}

/// An opened GGUF model: headers read and checked, data mapped.
pub struct Gguf {
    path: PathBuf,
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, (Arc<Mmap>, TensorInfo)>,
}

impl Gguf {
    /// Maps the file and reads its header. If the model is split, any part's path opens all.
    ///
    /// # Errors
    /// The error names the file and says what to do.
    pub fn open(path: &Path) -> Result<Self> {
        let (map, header) = read(path)?;
        let Some(split) = Split::of(&header.metadata) else { return Self::new(path, map, header) };
        let _ = split;
        Self::new(path, map, header)
    }

    fn new(path: &Path, map: Arc<Mmap>, header: Header) -> Result<Self> {
        let Header { metadata, tensors } = header;
        let mut gguf = Self { path: path.to_owned(), metadata, tensors: HashMap::new() };
        gguf.add(&map, tensors)?;
        Ok(gguf)
    }

    fn add(&mut self, map: &Arc<Mmap>, tensors: Vec<TensorInfo>) -> Result<()> {
        for info in tensors {
            match self.tensors.entry(info.name.clone()) {
                hash_map::Entry::Vacant(entry) => entry.insert((Arc::clone(map), info)),
                hash_map::Entry::Occupied(_) => {
                    bail!("tensor {} is in two parts of {}", info.name, self.path.display())
                }
            };
        }
        Ok(())
    }

    /// By key.
    pub fn metadata(&self) -> &HashMap<String, Value> {
        &self.metadata
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor as it lies in the file; nothing is read or copied.
    pub fn view(&self, name: &str) -> Result<TensorView> {
        let (map, info) = self.tensors.get(name).with_context(|| self.lacks(name))?;
        let data = Mapped { map: Arc::clone(map), range: info.range.clone() };
        Ok(TensorView { dtype: info.dtype, shape: info.shape.clone(), data })
    }

    /// Loads a tensor onto a device.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<QTensor> {
        let TensorView { dtype, shape, data } = self.view(name)?;
        let storage = QStorage::from_data(Cow::Borrowed(&data), device, dtype)?;
        Ok(QTensor::new(storage, shape)?)
    }

    /// Bytes of all tensors.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.values().map(|(_, info)| info.range.len() as u64).sum()
    }

    /// Of every tensor.
    #[cfg(test)]
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Type and number of values of every tensor.
    pub fn contents(&self) -> impl Iterator<Item = (GgmlDType, u64)> {
        self.tensors
            .values()
            .map(|(_, info)| (info.dtype, info.shape.iter().product::<usize>() as u64))
    }

    /// Rows of the token embedding table.
    pub fn vocabulary(&self) -> Result<usize> {
        let name = Name::Embedding.gguf();
        let (_, info) = self.tensors.get(&name).with_context(|| self.lacks(&name))?;
        let &[rows, _] = &info.shape[..] else {
            bail!("tensor {name} of {} is no matrix; {BETTER_FILE}", self.path.display())
        };
        Ok(rows)
    }

    /// Leaves a tensor out.
    #[cfg(test)]
    pub fn forget(&mut self, name: &str) {
        assert!(self.tensors.remove(name).is_some(), "there is no {name} to forget");
    }

    fn lacks(&self, name: &str) -> String {
        format!(
            "{} has no tensor {name}: it is not a complete Llama model; {BETTER_FILE}",
            self.path.display()
        )
    }
}

/// Maps a file and reads its header.
fn read(path: &Path) -> Result<(Arc<Mmap>, Header)> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    // SAFETY: model files are not changed while they are in use.
    let map = unsafe { Mmap::map(&file) };
    let map = map.with_context(|| format!("cannot map {}", path.display()))?;
    let header =
        Header::read(&map).with_context(|| format!("cannot use the file {}", path.display()))?;
    Ok((Arc::new(map), header))
}

/// What a part of a split model says about the whole.
struct Split {
    /// Of this part, from 0.
    number: u64,
    /// Of parts.
    count: u64,
}

impl Split {
    fn of(metadata: &HashMap<String, Value>) -> Option<Self> {
        let number = |key: &str| metadata.get(key).and_then(integer);
        let count = number("split.count")?;
        Some(Self { number: number("split.no")?, count })
    }
}
