//! The header of a GGUF file (versions 2 and 3, little-endian): metadata and the tensor table.
//!
//! The file is untrusted: every count and length is checked against the bytes present before memory
//! is allocated for it, and every tensor against the end of the file. Source:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;

use super::texts::Span;
use super::types::{self, BETTER_FILE};

/// Header size limit in bytes. Llama 3.1's takes 8 MB, nearly all of it tokens and merges.
const MAX_BYTES: usize = 128 << 20;
/// Limit on metadata values, including list elements. Llama 3.1's tokens, kinds and merges make
/// 540,000.
const MAX_VALUES: usize = 4 << 20;
/// Maximum nesting of lists; published files have none.
const MAX_DEPTH: usize = 4;
/// The largest published Llama, with 405 billion weights, has 1,138.
const MAX_TENSORS: u64 = 1 << 16;
/// `GGML_MAX_DIMS` of ggml.h.
const MAX_DIMENSIONS: u32 = 4;
/// In bytes, from the specification.
const MAX_TENSOR_NAME: u64 = 64;
/// In bytes, from the specification.
const MAX_KEY: u64 = (1 << 16) - 1;
/// GGUF metadata type numbers.
const TEXT: u32 = 8;
const LIST: u32 = 9;
/// Default if `general.alignment` is absent.
const DEFAULT_ALIGNMENT: u64 = 32;
/// The specification requires a multiple of 8; beyond a huge page, alignment makes no sense.
const ALIGNMENTS: Range<u64> = 8..(2 << 20) + 1;

/// Why a header cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HeaderError {
    /// It is inconsistent, or does not fit the file's length.
    #[error("{0}: the file is damaged or not whole; download it again")]
    Damaged(String),
    /// It is valid but unsupported. Says what to download instead.
    #[error("{0}")]
    Unsupported(String),
}

type Result<T> = std::result::Result<T, HeaderError>;

macro_rules! damaged {
    ($($message:tt)*) => { HeaderError::Damaged(format!($($message)*)) };
}

/// Everything that precedes the tensor data.
#[derive(Debug)]
pub struct Header {
    /// By key, excluding string lists.
    pub metadata: HashMap<String, Value>,
    /// String lists by key, as the location of each string.
    pub texts: HashMap<String, Vec<Span>>,
    /// In file order.
    pub tensors: Vec<TensorInfo>,
}

/// An entry of the tensor table.
#[derive(Debug, Clone)]
pub struct TensorInfo {
    /// As in the file.
    pub name: String,
    /// Block type.
    pub dtype: GgmlDType,
    /// Rows first, as in candle. (The file has columns first.)
    pub shape: Vec<usize>,
    /// Byte range in the file.
    pub range: Range<usize>,
}

impl Header {
    /// Parses the header of `file`, the bytes of a whole GGUF file. Each resulting tensor lies
    /// within the file, and no two overlap.
    pub fn read(file: &[u8]) -> Result<Self> {
        let file_start = &file[..file.len().min(MAX_BYTES)];
        let mut reader = Reader { all: file_start, rest: file_start, values: MAX_VALUES };
        let total = reader.rest.len();
        version(&mut reader)?;
        let tensor_count = reader.u64()?;
        let key_count = reader.u64()?;
        // Minimum sizes: name, dimensions, one length, type, offset; and key, type, one byte.
        reader.room(tensor_count, 8 + 4 + 8 + 4 + 8, "tensors")?;
        reader.room(key_count, 8 + 4 + 1, "metadata values")?;
        if tensor_count > MAX_TENSORS {
            return Err(damaged!("it says that it has {tensor_count} tensors"));
        }
        let (mut metadata, mut texts) = (HashMap::new(), HashMap::new());
        for _ in 0..key_count {
            let key = reader.name(MAX_KEY, "metadata key")?;
            let kind = reader.u32()?;
            let of_key = |error| match error {
                HeaderError::Damaged(what) => damaged!("metadata {key:?}: {what}"),
                other @ HeaderError::Unsupported(_) => other,
            };
            if metadata.contains_key(&key) || texts.contains_key(&key) {
                return Err(damaged!("metadata {key:?} is there twice"));
            }
            if kind == LIST && reader.rest.starts_with(&TEXT.to_le_bytes()) {
                let spans = reader.texts().map_err(of_key)?;
                texts.insert(key, spans);
            } else {
                let value = reader.value(kind, 0).map_err(of_key)?;
                metadata.insert(key, value);
            }
        }
        let table: Vec<Entry> =
            (0..tensor_count).map(|_| Entry::read(&mut reader)).collect::<Result<_>>()?;
        let alignment = alignment(&metadata)?;
        let data = ((total - reader.rest.len()) as u64).next_multiple_of(alignment);
        let tensors: Vec<TensorInfo> = table
            .into_iter()
            .map(|entry| entry.locate(data, alignment, file.len()))
            .collect::<Result<_>>()?;
        check_apart(&tensors)?;
        Ok(Self { metadata, texts, tensors })
    }
}

/// Checks magic number and version; on failure, says what the file is instead.
fn version(reader: &mut Reader) -> Result<()> {
    if reader.rest.starts_with(b"version https://git-lfs") {
        let what = "it is a pointer of Git LFS, not the model itself; run `git lfs pull`, or \
                    download the file from its page";
        return Err(HeaderError::Unsupported(what.to_owned()));
    }
    let magic = reader.array::<4>()?;
    if [*b"tjgg", *b"fmgg", *b"lmgg"].contains(&magic) {
        let what = format!("it has llama.cpp's format from before GGUF; {BETTER_FILE}");
        return Err(HeaderError::Unsupported(what));
    }
    if magic != *b"GGUF" {
        return Err(damaged!("it does not begin as a GGUF file does"));
    }
    let unsupported = |what: &str| Err(HeaderError::Unsupported(format!("{what}; {BETTER_FILE}")));
    match reader.u32()? {
        2 | 3 => Ok(()),
        1 => unsupported("it has version 1 of GGUF, which nobody has written since 2023"),
        version if version.swap_bytes() <= 0xff => {
            unsupported("its numbers are big-endian, this program reads little-endian files")
        }
        version => unsupported(&format!("it has version {version} of GGUF, this program knows 3")),
    }
}

fn alignment(metadata: &HashMap<String, Value>) -> Result<u64> {
    let Some(value) = metadata.get("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
    super::integer(value)
        .filter(|alignment| alignment.is_power_of_two() && ALIGNMENTS.contains(alignment))
        .ok_or_else(|| damaged!("its general.alignment is no power of two from 8 to 2 MiB"))
}

/// Checks that no two tensors overlap.
fn check_apart(tensors: &[TensorInfo]) -> Result<()> {
    let mut names = HashSet::new();
    if let Some(twice) = tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
        return Err(damaged!("tensor {} is there twice", twice.name));
    }
    let mut by_place: Vec<&TensorInfo> = tensors.iter().collect();
    by_place.sort_unstable_by_key(|tensor| tensor.range.start);
    match by_place.windows(2).find(|pair| pair[0].range.end > pair[1].range.start) {
        Some(pair) => Err(damaged!("tensors {} and {} overlap", pair[0].name, pair[1].name)),
        None => Ok(()),
    }
}

/// A tensor table entry, before the start of the data is known.
struct Entry {
    name: String,
    dtype: GgmlDType,
    shape: Vec<usize>,
    bytes: u64,
    offset: u64,
}

impl Entry {
    fn read(reader: &mut Reader) -> Result<Self> {
        let name = reader.name(MAX_TENSOR_NAME, "tensor name")?;
        let dimensions = reader.u32()?;
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(damaged!("tensor {name} has {dimensions} dimensions"));
        }
        let lengths: Vec<u64> =
            (0..dimensions).map(|_| reader.u64()).collect::<Result<Vec<u64>>>()?;
        let dtype = types::dtype(reader.u32()?).map_err(|kind| {
            HeaderError::Unsupported(format!(
                "tensor {name} has the type {kind}, which this program cannot compute with; \
                 {BETTER_FILE}"
            ))
        })?;
        let offset = reader.u64()?;
        let absurd = || damaged!("tensor {name} has the shape {lengths:?}");
        // `isize::MAX` bounds every allocation; the check against the file length follows.
        let elements = lengths
            .iter()
            .try_fold(1u64, |product, &length| product.checked_mul(length))
            .filter(|&elements| elements > 0 && isize::try_from(elements).is_ok())
            .ok_or_else(absurd)?;
        let block = dtype.block_size() as u64;
        if !lengths[0].is_multiple_of(block) {
            return Err(absurd());
        }
        let bytes = (elements / block).checked_mul(dtype.type_size() as u64).ok_or_else(absurd)?;
        let shape = lengths.iter().rev().map(|&length| length as usize).collect();
        Ok(Self { name, dtype, shape, bytes, offset })
    }

    fn locate(self, data: u64, alignment: u64, file: usize) -> Result<TensorInfo> {
        let Self { name, dtype, shape, bytes, offset } = self;
        if !offset.is_multiple_of(alignment) {
            return Err(damaged!("tensor {name} is not aligned to {alignment} bytes"));
        }
        let start = data.checked_add(offset);
        let range = start.and_then(|start| Some(start..start.checked_add(bytes)?));
        match range {
            Some(range) if range.end <= file as u64 => {
                let range = range.start as usize..range.end as usize;
                Ok(TensorInfo { name, dtype, shape, range })
            }
            _ => Err(damaged!(
                "tensor {name} should end at byte {}, but the file has {file}",
                range.map_or_else(|| "2^64 or later".to_owned(), |range| range.end.to_string())
            )),
        }
    }
}

/// The remainder of the header, and the remaining budget of values.
struct Reader<'a> {
    all: &'a [u8],
    rest: &'a [u8],
    values: usize,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: u64) -> Result<&'a [u8]> {
        let (bytes, rest) = usize::try_from(count)
            .ok()
            .and_then(|count| self.rest.split_at_checked(count))
            .ok_or_else(|| damaged!("the header ends too early"))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| damaged!("the header ends too early"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Fails unless `count` items of at least `size` bytes each can follow.
    fn room(&self, count: u64, size: u64, what: &str) -> Result<()> {
        match count.checked_mul(size) {
            Some(bytes) if bytes <= self.rest.len() as u64 => Ok(()),
            _ => Err(damaged!("{count} {what} do not fit into the header")),
        }
    }

    /// A key or tensor name: bounded, non-empty, UTF-8.
    fn name(&mut self, longest: u64, what: &str) -> Result<String> {
        let length = self.u64()?;
        if !(1..=longest).contains(&length) {
            return Err(damaged!("a {what} has {length} bytes"));
        }
        let name = str::from_utf8(self.bytes(length)?);
        Ok(name.map_err(|_| damaged!("a {what} is not text"))?.to_owned())
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Value> {
        self.values =
            self.values.checked_sub(1).ok_or_else(|| damaged!("over {MAX_VALUES} values"))?;
        Ok(match kind {
            0 => Value::U8(self.array::<1>()?[0]),
            1 => Value::I8(self.array().map(i8::from_le_bytes)?),
            2 => Value::U16(self.array().map(u16::from_le_bytes)?),
            3 => Value::I16(self.array().map(i16::from_le_bytes)?),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(self.array().map(i32::from_le_bytes)?),
            6 => Value::F32(self.array().map(f32::from_le_bytes)?),
            7 => match self.array()? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [other] => return Err(damaged!("{other} is no truth value")),
            },
            TEXT => {
                let length = self.u64()?;
                // Some published files have invalid UTF-8 in their vocabulary.
                Value::String(String::from_utf8_lossy(self.bytes(length)?).into_owned())
            }
            LIST => Value::Array(self.list(depth)?),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(self.array().map(i64::from_le_bytes)?),
            12 => Value::F64(self.array().map(f64::from_le_bytes)?),
            other => return Err(damaged!("it has the unknown type {other}")),
        })
    }

    /// Reads a list's element type and count, and checks that the header has room for them.
    fn list_head(&mut self) -> Result<(u32, u64)> {
        let kind = self.u32()?;
        let smallest = match kind {
            2 | 3 => 2,
            4..=6 => 4,
            TEXT | 10..=12 => 8,
            LIST => 4 + 8,
            _ => 1,
        };
        let length = self.u64()?;
        self.room(length, smallest, "values of a list")?;
        if length > self.values as u64 {
            return Err(damaged!("over {MAX_VALUES} values"));
        }
        Ok((kind, length))
    }

    /// Reads a list of strings as the location of each.
    fn texts(&mut self) -> Result<Vec<Span>> {
        let (_, count) = self.list_head()?;
        self.values -= count as usize;
        let mut spans = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let length = self.u64()?;
            let start = self.all.len() - self.rest.len();
            self.bytes(length)?;
            // Both are below [`MAX_BYTES`].
            spans.push(Span { start: start as u32, length: length as u32 });
        }
        Ok(spans)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>> {
        if depth == MAX_DEPTH {
            return Err(damaged!("lists are nested {MAX_DEPTH} deep"));
        }
        let (kind, length) = self.list_head()?;
        let mut list = Vec::with_capacity(length as usize);
        for _ in 0..length {
            list.push(self.value(kind, depth + 1)?);
        }
        Ok(list)
    }
}
