//! Llama's heavy operations on the CPU, at the speed of its memory.
//!
//! candle's own matrix products keep a second, repacked copy of the weights and reach a third of
//! llama.cpp's decode speed. These read the weights where they lie in the mapped file: loading costs
//! nothing, and memory holds them once. They need AVX2, FMA and F16C, which x86-64 has had since
//! 2013 ([`Isa`] is the proof); elsewhere candle's products do the work, and this module is
//! `disabled.rs`.

#![allow(clippy::cast_ptr_alignment, reason = "vectors are loaded and stored unaligned")]

mod activations;
mod amx;
mod anon_mmap;
pub mod attention;
mod avx2;
mod avx512;
mod exp;
mod formats;
mod fused;
mod isa;
mod lanes;
mod matrix;
mod packed;
mod scratch;

pub use activations::Activations;
pub use fused::{FusedLayer, FusedModel, Workspace};
pub use isa::Isa;
pub use matrix::{Matrix, Store, gated_product, products};
