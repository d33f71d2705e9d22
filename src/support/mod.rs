//! Small things that several modules need and none of them owns.

pub mod bounded;
pub mod disk;
mod limits;
pub mod logistic;
pub mod milliseconds;
pub mod mmap;
pub mod proxy;
pub mod random;
pub mod scratch;
pub mod tls;
pub mod whole;
pub mod worker;
