//! Kernels over f32 and int8 rows: matrix products, softmax and norms, and scans of vectors.

#[cfg(target_arch = "x86_64")]
pub mod amx;
pub mod gated;
pub mod rotary;
pub mod rows;
pub mod scan;
pub mod tile;
