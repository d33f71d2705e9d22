//! Small things that several rooms need and none of them owns.

pub mod bounded;
pub mod mmap;
pub mod random;
pub mod tls;
