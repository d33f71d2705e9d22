//! The tensors of an encoder's checkpoint: safetensors, mapped, or a PyTorch `.bin`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use candle_core::pickle::PthTensors;
use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::models::safetensors;

/// An open checkpoint. Tensors are read when they are asked for.
#[derive(Clone)]
pub struct EncoderCheckpoint {
    source: Arc<TensorSource>,
    path: PathBuf,
    /// What all names begin with.
    prefix: String,
}

enum TensorSource {
    Safetensors(MmapedSafetensors),
    Pickle(PthTensors),
}

/// A matrix that is read row by row, from the mapped file where there is one.
pub struct RowTable {
    rows: usize,
    columns: usize,
    values: Values,
}

enum Values {
    /// A tensor of a mapped file.
    Mapped {
        source: Arc<TensorSource>,
        name: String,
    },
    Held(Vec<f32>),
}

/// The type of the numbers of a mapped tensor.
#[derive(Clone, Copy)]
enum NumberType {
    F32,
    F16,
    Bf16,
}

impl NumberType {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

impl TensorSource {
    /// Type, shape and bytes of a tensor of a mapped file.
    fn view(&self, name: &str) -> Option<(Option<NumberType>, Vec<usize>, &[u8])> {
        let Self::Safetensors(tensors) = self else { return None };
        let view = tensors.get(name).ok()?;
        let number_type = match DType::try_from(view.dtype()).ok() {
            Some(DType::F32) => Some(NumberType::F32),
            Some(DType::F16) => Some(NumberType::F16),
            Some(DType::BF16) => Some(NumberType::Bf16),
            _ => None,
        };
        Some((number_type, view.shape().to_vec(), view.data()))
    }
}

impl EncoderCheckpoint {
    /// Opens safetensors, or a PyTorch checkpoint if the name ends in `.bin`.
    pub fn open(path: &Path) -> Result<Self> {
        let source = if path.extension().is_some_and(|extension| extension == "bin") {
            let tensors = PthTensors::new(path, None);
            TensorSource::Pickle(tensors.with_context(|| {
                format!("cannot read {} as a PyTorch checkpoint; download it again", path.display())
            })?)
        } else {
            TensorSource::Safetensors(safetensors::open(path)?)
        };
        Ok(Self { source: Arc::new(source), path: path.to_owned(), prefix: String::new() })
    }

    /// The tensors whose names start with `prefix`, under the rest of their names.
    #[must_use]
    pub fn under(&self, prefix: &str) -> Self {
        Self { prefix: format!("{}{prefix}", self.prefix), ..self.clone() }
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        let name = format!("{}{name}", self.prefix);
        match &*self.source {
            TensorSource::Safetensors(_) => self.source.view(&name).is_some(),
            TensorSource::Pickle(tensors) => tensors.tensor_infos().contains_key(&name),
        }
    }

    /// A vector. `[length]`
    pub fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        let table = self.shaped(name, &[length])?;
        let mut values = vec![0.0; length];
        table.read(0, &mut values);
        Ok(values)
    }

    /// A matrix. `[rows, columns]`
    pub fn table(&self, name: &str, rows: usize, columns: usize) -> Result<RowTable> {
        self.shaped(name, &[rows, columns])
    }

    fn shaped(&self, name: &str, wanted: &[usize]) -> Result<RowTable> {
        let name = format!("{}{name}", self.prefix);
        let file = self.path.display();
        let missing = || format!("{file} has no tensor {name}; it is not the model it should be");
        let check = |shape: &[usize]| {
            ensure!(
                shape == wanted,
                "tensor {name} in {file} has the shape {shape:?}, and not {wanted:?} as the \
                 configuration says; download the model again"
            );
            Ok(())
        };
        let values = match &*self.source {
            TensorSource::Safetensors(_) => {
                let (number_type, shape, _) = self.source.view(&name).with_context(missing)?;
                check(&shape)?;
                number_type.with_context(|| {
                    format!("tensor {name} in {file} is of no type that this program reads")
                })?;
                Values::Mapped { source: Arc::clone(&self.source), name }
            }
            TensorSource::Pickle(tensors) => {
                let info = tensors.tensor_infos().get(&name).with_context(missing)?;
                check(info.layout.dims())?;
                let tensor = tensors.get(&name)?.with_context(missing)?;
                let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
                Values::Held(tensor.flatten_all()?.to_vec1()?)
            }
        };
        let columns = wanted.last().copied().unwrap_or(1);
        Ok(RowTable { rows: wanted.iter().product::<usize>() / columns, columns, values })
    }
}

impl RowTable {
    /// How many there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Reads the rows from `row` on that fill `values`.
    ///
    /// # Panics
    /// If the table does not have that many.
    pub fn read(&self, row: usize, values: &mut [f32]) {
        let start = row * self.columns;
        match &self.values {
            Values::Held(held) => values.copy_from_slice(&held[start..start + values.len()]),
            Values::Mapped { source, name } => {
                let (number_type, _, bytes) = source.view(name).expect("it was there when opened");
                let number_type = number_type.expect("it was checked when opened");
                let each = number_type.bytes();
                let bytes = &bytes[start * each..(start + values.len()) * each];
                widen(number_type, bytes, values);
            }
        }
    }
}

/// Little-endian numbers → f32.
fn widen(number_type: NumberType, bytes: &[u8], values: &mut [f32]) {
    // Pieces small enough for the stack: bytes of a file are not aligned.
    const PIECE: usize = 256;
    if matches!(number_type, NumberType::F32) {
        for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(4)) {
            *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        return;
    }
    for (values, bytes) in values.chunks_mut(PIECE).zip(bytes.chunks(2 * PIECE)) {
        let bits = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        if matches!(number_type, NumberType::F16) {
            let mut piece = [f16::ZERO; PIECE];
            piece.iter_mut().zip(bits).for_each(|(half, bits)| *half = f16::from_bits(bits));
            piece[..values.len()].convert_to_f32_slice(values);
        } else {
            let mut piece = [bf16::ZERO; PIECE];
            piece.iter_mut().zip(bits).for_each(|(half, bits)| *half = bf16::from_bits(bits));
            piece[..values.len()].convert_to_f32_slice(values);
        }
    }
}
