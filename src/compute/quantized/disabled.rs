//! The kernels of quantized matrices, on CPUs that they are not written for: the same names, but
//! [`Isa::detect`] finds nothing, and nothing can be made without an [`Isa`].

#![expect(dead_code, reason = "what would read the fields needs an Isa")]

use std::convert::Infallible;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;

use crate::compute::activation::Activation;

/// Proof of the instructions, which cannot be made here.
#[derive(Debug, Clone, Copy)]
pub struct Isa(Infallible);

impl Isa {
    pub fn detect() -> Option<Self> {
        None
    }
}

pub struct Activations(Isa);

impl Activations {
    pub fn new(isa: Isa) -> Self {
        Self(isa)
    }

    pub fn take(&mut self, _values: &[f32], _columns: usize, _norm: Option<Infallible>) {
        match self.0.0 {}
    }

    pub fn rows(&self) -> usize {
        match self.0.0 {}
    }
}

pub struct Matrix(Isa);

impl Matrix {
    pub fn new(
        isa: Isa,
        _dtype: GgmlDType,
        _shape: &[usize],
        _bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    ) -> Option<Self> {
        match isa.0 {}
    }

    pub fn isa(&self) -> Isa {
        self.0
    }

    pub fn rows(&self) -> usize {
        match self.0.0 {}
    }

    pub fn columns(&self) -> usize {
        match self.0.0 {}
    }

    pub fn dequantized(&self, _ids: &[u32]) -> Vec<f32> {
        match self.0.0 {}
    }
}

pub enum Store {
    Overwrite,
}

pub fn products(_matrices: &[&Matrix], xs: &[Activations], _store: Store, _out: &mut [f32]) {
    match xs[0].0.0 {}
}

pub fn gated_product(
    _activation: Activation,
    _gate: &Matrix,
    _up: &Matrix,
    xs: &[Activations],
    _out: &mut [f32],
) {
    match xs[0].0.0 {}
}

pub struct FusedLayer {
    pub attention_norm: Vec<f32>,
    pub qkv: [Arc<Matrix>; 3],
    pub qkv_bias: Option<Vec<f32>>,
    pub head_norms: Option<[Vec<f32>; 2]>,
    pub attention_output: Arc<Matrix>,
    pub attention_post_norm: Option<Vec<f32>>,
    pub feed_forward_norm: Vec<f32>,
    pub gate: Arc<Matrix>,
    pub up: Arc<Matrix>,
    pub down: Arc<Matrix>,
    pub feed_forward_post_norm: Option<Vec<f32>>,
}

pub struct FusedModel {
    pub embedding: Arc<Matrix>,
    pub embedding_scale: f32,
    pub layers: Vec<FusedLayer>,
    pub activation: Activation,
    pub norm: Vec<f32>,
    pub output: Arc<Matrix>,
    pub epsilon: f32,
}

#[derive(Default)]
pub struct Workspace;

impl FusedModel {
    pub fn logits<'a, 'b>(
        &self,
        _tokens: &[u32],
        _rows: usize,
        _position: usize,
        _caches: impl Iterator<
            Item = (&'a mut dyn attention::Attend, crate::compute::rope::RopeTables<'b>),
        >,
        _workspace: &mut Workspace,
    ) -> Vec<f32> {
        match self.embedding.0.0 {}
    }
}

pub mod attention {
    use std::io;
    use std::marker::PhantomData;

    use super::Isa;
    use crate::compute::aligned::AlignedBuf;
    use crate::compute::heads::{AttentionShape, HeadChanges};

    pub trait Attend {
        fn attend(
            &mut self,
            qkv: &[f32],
            changes: HeadChanges,
            position: usize,
            rotated: &mut AlignedBuf<f32>,
            out: &mut [f32],
        );

        #[cfg(test)]
        fn bytes(&self) -> u64;
    }

    pub struct KvCache<T>(Isa, PhantomData<T>);

    impl<T> KvCache<T> {
        pub fn new(isa: Isa, _shape: AttentionShape, _context: usize) -> io::Result<Self> {
            match isa.0 {}
        }
    }

    impl<T> Attend for KvCache<T> {
        fn attend(
            &mut self,
            _qkv: &[f32],
            _changes: HeadChanges,
            _position: usize,
            _rotated: &mut AlignedBuf<f32>,
            _out: &mut [f32],
        ) {
            match self.0.0 {}
        }

        #[cfg(test)]
        fn bytes(&self) -> u64 {
            match self.0.0 {}
        }
    }
}
