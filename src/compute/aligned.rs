//! Buffers that begin at a cache line and keep their memory from use to use.
//!
//! A vector of 512 bits and a row of a matrix tile take a cache line each; one that begins elsewhere
//! costs two. And fresh memory is slow: the system clears every page that it hands out.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

const LINE_BYTES: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE_BYTES]);

/// Plain numbers, which may be read from any bytes.
///
/// # Safety
/// Every bit pattern is a value of the type, there is no padding in it, and its size divides 64.
pub unsafe trait PlainNumber: Copy + Send + Sync {}

// SAFETY: it is a primitive number of 1 byte.
unsafe impl PlainNumber for i8 {}
// SAFETY: it is a primitive number of 1 byte.
unsafe impl PlainNumber for u8 {}
// SAFETY: it is a primitive number of 2 bytes.
unsafe impl PlainNumber for u16 {}
// SAFETY: it is a primitive number of 4 bytes, and NaNs are values too.
unsafe impl PlainNumber for f32 {}

/// A slice of numbers that begins at a cache line.
pub struct AlignedBuf<T> {
    lines: Vec<Line>,
    length: usize,
    numbers: PhantomData<T>,
}

impl<T> Default for AlignedBuf<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), length: 0, numbers: PhantomData }
    }
}

impl<T: PlainNumber> AlignedBuf<T> {
    /// Makes it `length` numbers long. They have the values of an earlier use, or are zero.
    pub fn resize(&mut self, length: usize) {
        let bytes = length.checked_mul(size_of::<T>()).expect("a buffer fits the address space");
        let lines = bytes.div_ceil(LINE_BYTES);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0; LINE_BYTES]));
        }
        self.length = length;
    }
}

impl<T: PlainNumber> Deref for AlignedBuf<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold at least `length` numbers (see `resize`) and are aligned for them,
        // and any bytes are numbers.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl<T: PlainNumber> DerefMut for AlignedBuf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and the lines are borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_kept() {
        let mut numbers = AlignedBuf::<f32>::default();
        assert!(numbers.is_empty());
        numbers.resize(33);
        assert_eq!((numbers.len(), numbers.as_ptr() as usize % LINE_BYTES), (33, 0));
        assert!(numbers.iter().all(|&x| x == 0.0));
        numbers[32] = 5.0;
        numbers.resize(1);
        numbers.resize(33);
        assert_eq!(numbers[32], 5.0);
    }
}
