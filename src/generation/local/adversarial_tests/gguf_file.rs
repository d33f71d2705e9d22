//! Writes GGUF files, valid or corrupt.

use std::collections::BTreeMap;

use candle_core::quantized::gguf_file::Value;

use super::tiny;
use crate::generation::local::checkpoint::gguf::Gguf;

/// A GGUF file to write, valid or corrupt.
#[derive(Clone)]
pub struct Model {
    pub version: u32,
    pub counts: Option<(u64, u64)>,
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<Tensor>,
}

#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    /// In file order: columns first.
    pub shape: Vec<u64>,
    pub kind: u32,
    pub data: Vec<u8>,
    /// Overrides the correct offset.
    pub offset: Option<u64>,
}

impl Model {
    /// The tiny Llama of the goldens, with tensors by name.
    pub fn tiny() -> Self {
        let gguf = Gguf::open(&tiny().join("model.gguf")).unwrap();
        let metadata: BTreeMap<_, _> = gguf.all_metadata().into_iter().collect();
        let mut names: Vec<_> = gguf.shapes().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        let tensors = names.into_iter().map(|name| {
            let view = gguf.view(&name).unwrap();
            let shape = view.shape.iter().rev().map(|&length| length as u64).collect();
            Tensor { name, shape, kind: 0, data: view.data.to_vec(), offset: None }
        });
        Self {
            version: 3,
            counts: None,
            metadata: metadata.into_iter().collect(),
            tensors: tensors.collect(),
        }
    }

    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.metadata.retain(|(other, _)| other != key);
        self.metadata.push((key.to_owned(), value));
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        let keys = self.metadata.len();
        self.metadata.retain(|(other, _)| other != key);
        assert!(self.metadata.len() < keys, "no {key} to remove");
        self
    }

    pub fn tensor(mut self, name: &str, change: impl FnOnce(&mut Tensor)) -> Self {
        change(self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        let counts = (self.tensors.len() as u64, self.metadata.len() as u64);
        let (tensors, keys) = self.counts.unwrap_or(counts);
        out.extend(tensors.to_le_bytes());
        out.extend(keys.to_le_bytes());
        for (key, value) in &self.metadata {
            write_text(&mut out, key);
            out.extend(type_number(value).to_le_bytes());
            write_value(&mut out, value);
        }
        let mut next = 0;
        for tensor in &self.tensors {
            write_text(&mut out, &tensor.name);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            for length in &tensor.shape {
                out.extend(length.to_le_bytes());
            }
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(next).to_le_bytes());
            next += (tensor.data.len() as u64).next_multiple_of(32);
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(&tensor.data);
        }
        out
    }
}

pub fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn type_number(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(n) => out.push(*n),
        Value::I8(n) => out.extend(n.to_le_bytes()),
        Value::U16(n) => out.extend(n.to_le_bytes()),
        Value::I16(n) => out.extend(n.to_le_bytes()),
        Value::U32(n) => out.extend(n.to_le_bytes()),
        Value::I32(n) => out.extend(n.to_le_bytes()),
        Value::F32(n) => out.extend(n.to_le_bytes()),
        Value::Bool(n) => out.push(u8::from(*n)),
        Value::String(n) => write_text(out, n),
        Value::Array(list) => {
            out.extend(list.first().map_or(4, type_number).to_le_bytes());
            out.extend((list.len() as u64).to_le_bytes());
            for each in list {
                write_value(out, each);
            }
        }
        Value::U64(n) => out.extend(n.to_le_bytes()),
        Value::I64(n) => out.extend(n.to_le_bytes()),
        Value::F64(n) => out.extend(n.to_le_bytes()),
    }
}

pub fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}
