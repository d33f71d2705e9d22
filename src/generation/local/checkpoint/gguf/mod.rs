//! A GGUF model: metadata, and tensors in one or more memory-mapped files.
//!
//! A large model may be split (`name-00001-of-00003.gguf`, …); the parts are read as one model.

mod header;
mod texts;
mod types;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use memmap2::Mmap;

use crate::generation::local::checkpoint::names::Name;
use crate::generation::local::checkpoint::view::{Mapped, TensorView};
use crate::support::mmap;
use header::{Header, TensorInfo};
pub use texts::Texts;
pub use types::BETTER_FILE;

/// An integer from GGUF metadata, whatever its width. (candle's own accessors require the exact
/// type, but writers differ.)
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

/// An open GGUF model: headers read and validated, data mapped.
pub struct Gguf {
    path: PathBuf,
    metadata: HashMap<String, Value>,
    texts: HashMap<String, Texts>,
    tensors: HashMap<String, (Arc<Mmap>, TensorInfo)>,
}

impl Gguf {
    /// Maps the file and reads its header. The path of any part opens all of a split model.
    ///
    /// # Errors
    /// Names the file and says what to do.
    pub fn open(path: &Path) -> Result<Self> {
        let part = Part::open(path)?;
        match Split::of(&part.header.metadata).with_context(|| unusable(path))? {
            None => Self::join(path, vec![part]),
            Some(split) => Self::open_split(path, &split),
        }
    }

    /// Opens all parts of the split model that `path` belongs to.
    fn open_split(path: &Path, split: &Split) -> Result<Self> {
        let Split { number, count, .. } = *split;
        let ending = |number| format!("-{:05}-of-{count:05}.gguf", number + 1);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let stem = name.strip_suffix(&ending(number)).with_context(|| {
            format!(
                "{} is part {} of {count} of a split model, so its name must end in {}; give it \
                 the name that it was published under",
                path.display(),
                number + 1,
                ending(number)
            )
        })?;
        let mut parts: Vec<Part> = Vec::new();
        for number in 0..count {
            let path = path.with_file_name(format!("{stem}{}", ending(number)));
            ensure!(
                path.exists(),
                "{} is missing: it is part {} of {count} of a split model; download it into the \
                 folder of the others",
                path.display(),
                number + 1
            );
            let part = Part::open(&path)?;
            let found = Split::of(&part.header.metadata).with_context(|| unusable(&path))?;
            ensure!(
                found.as_ref().is_some_and(|found| (found.number, found.count) == (number, count)),
                "{} is not part {} of {count}, as its name says; download it again",
                path.display(),
                number + 1
            );
            parts.push(part);
        }
        let promised =
            Split::of(&parts[0].header.metadata).ok().flatten().and_then(|split| split.tensors);
        let tensors = parts.iter().map(|part| part.header.tensors.len() as u64).sum::<u64>();
        ensure!(
            promised.is_none_or(|promised| promised == tensors),
            "the {count} parts of {} hold {tensors} tensors together, not {}; download them again",
            path.display(),
            promised.unwrap_or_default()
        );
        Self::join(path, parts)
    }

    /// Combines the tensors of all parts with the metadata of the first.
    fn join(path: &Path, parts: Vec<Part>) -> Result<Self> {
        let (mut metadata, mut texts) = (None, None);
        let mut tensors = HashMap::new();
        for Part { map, header } in parts {
            metadata.get_or_insert(header.metadata);
            texts.get_or_insert_with(|| {
                let texts = header.texts.into_iter();
                texts.map(|(key, spans)| (key, Texts::new(Arc::clone(&map), spans))).collect()
            });
            for info in header.tensors {
                let name = info.name.clone();
                let twice = tensors.insert(name, (Arc::clone(&map), info));
                if let Some((_, twice)) = twice {
                    bail!(
                        "tensor {} is in two parts of {}; download them again",
                        twice.name,
                        path.display()
                    );
                }
            }
        }
        let (metadata, texts) = (metadata.unwrap_or_default(), texts.unwrap_or_default());
        Ok(Self { path: path.to_owned(), metadata, texts, tensors })
    }

    /// Opens a file held in memory.
    #[cfg(test)]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut map = memmap2::MmapMut::map_anon(bytes.len().max(1))?;
        map[..bytes.len()].copy_from_slice(bytes);
        let part = Part { header: Header::read(bytes)?, map: Arc::new(map.make_read_only()?) };
        Self::join(Path::new("memory"), vec![part])
    }

    /// A file with a string list and nothing else.
    #[cfg(test)]
    pub fn of_texts(key: &str, texts: &[String]) -> Self {
        let texts = HashMap::from([(key.to_owned(), Texts::of(texts))]);
        let (metadata, tensors) = (HashMap::new(), HashMap::new());
        Self { path: PathBuf::from("memory"), metadata, texts, tensors }
    }

    /// Names and shapes (rows first) of all tensors, in no particular order.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.values().map(|(_, info)| (info.name.as_str(), info.shape.as_slice()))
    }

    /// A string list by key.
    pub fn texts(&self, key: &str) -> Option<&Texts> {
        self.texts.get(key)
    }

    /// All metadata, including string lists.
    #[cfg(test)]
    pub fn all_metadata(&self) -> HashMap<String, Value> {
        let text = |text: &[u8]| Value::String(String::from_utf8_lossy(text).into_owned());
        let lists = self.texts.iter();
        let lists =
            lists.map(|(key, texts)| (key.clone(), Value::Array(texts.iter().map(text).collect())));
        self.metadata.clone().into_iter().chain(lists).collect()
    }

    #[cfg(test)]
    pub fn set(&mut self, key: &str, value: Value) {
        self.metadata.insert(key.to_owned(), value);
    }

    /// Metadata by key, excluding string lists.
    pub fn metadata(&self) -> &HashMap<String, Value> {
        &self.metadata
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor as stored in the file; copies nothing.
    pub fn view(&self, name: &str) -> Result<TensorView> {
        let (map, info) = self.tensors.get(name).with_context(|| self.lacks(name))?;
        let data = Mapped::new(map, info.range.clone());
        Ok(TensorView { dtype: info.dtype, shape: info.shape.clone(), data })
    }

    /// Total size of all tensors in bytes.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.values().map(|(_, info)| info.range.len() as u64).sum()
    }

    /// Name, type and shape of every tensor.
    pub fn contents(&self) -> impl Iterator<Item = (&str, GgmlDType, &[usize])> {
        self.tensors
            .values()
            .map(|(_, info)| (info.name.as_str(), info.dtype, info.shape.as_slice()))
    }

    /// Number of rows of the token embedding table.
    pub fn vocabulary(&self) -> Result<usize> {
        let name = Name::Embedding.gguf();
        let (_, info) = self.tensors.get(&name).with_context(|| self.lacks(&name))?;
        let &[rows, _] = &info.shape[..] else {
            bail!("tensor {name} of {} is no matrix; {BETTER_FILE}", self.path.display())
        };
        Ok(rows)
    }

    /// Removes a tensor from the model.
    #[cfg(test)]
    pub fn forget(&mut self, name: &str) {
        assert!(self.tensors.remove(name).is_some(), "there is no {name} to forget");
    }

    fn lacks(&self, name: &str) -> String {
        format!(
            "{} has no tensor {name}: it is not a complete model; {BETTER_FILE}",
            self.path.display()
        )
    }
}

fn unusable(path: &Path) -> String {
    format!("cannot use {}", path.display())
}

/// A single file of a model.
struct Part {
    map: Arc<Mmap>,
    header: Header,
}

impl Part {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        // Mapping a named pipe fails, and the error for a folder would be cryptic.
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        ensure!(is_file, "{} is not a file", path.display());
        let map = mmap::map(&file).with_context(|| format!("cannot map {}", path.display()))?;
        let header = Header::read(&map).with_context(|| unusable(path))?;
        Ok(Self { map: Arc::new(map), header })
    }
}

/// What one part of a split model says about the whole.
///
/// Source: `llama_model_loader` in llama.cpp's `llama-model-loader.cpp`, and its `gguf-split`.
struct Split {
    /// Number of this part, from 0.
    number: u64,
    /// Number of parts.
    count: u64,
    /// Number of tensors in all parts.
    tensors: Option<u64>,
}

impl Split {
    /// `None` if the file is the whole model.
    fn of(metadata: &HashMap<String, Value>) -> Result<Option<Self>> {
        let number = |key: &str| match metadata.get(key) {
            None => Ok(None),
            Some(value) => integer(value)
                .map(Some)
                .with_context(|| format!("{key} is no count; download the file again")),
        };
        let Some(count) = number("split.count")?.filter(|&count| count > 1) else {
            return Ok(None);
        };
        let number_of_part = number("split.no")?.filter(|&number| number < count);
        Ok(Some(Self {
            number: number_of_part.with_context(|| {
                format!("it is one of {count} parts, but does not say which (split.no)")
            })?,
            count,
            tensors: number("split.tensors.count")?,
        }))
    }
}
