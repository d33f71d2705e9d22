//! Numbers that start at a cache line, in room that is kept from use to use.
//!
//! Vectors of 512 bits and the rows of matrix tiles are a cache line each: one that begins elsewhere
//! costs two. And fresh memory is slow: the system hands out every page of it cleared.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

const BYTES: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; BYTES]);

/// Types of which every bit pattern is a value, and whose size divides a line.
pub trait Number: Copy + Send + Sync {}

impl Number for i8 {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for f32 {}

/// A slice of numbers.
pub struct Lines<T> {
    lines: Vec<Line>,
    length: usize,
    number: PhantomData<T>,
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), length: 0, number: PhantomData }
    }
}

impl<T: Number> Lines<T> {
    /// Makes it `length` numbers long. They are what was there before, or zeros.
    pub fn resize(&mut self, length: usize) {
        let lines = (length * size_of::<T>()).div_ceil(BYTES);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0; BYTES]));
        }
        self.length = length;
    }
}

impl<T: Number> Deref for Lines<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the lines have as many bytes (see `resize`), and every bit pattern is a number.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl<T: Number> DerefMut for Lines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and they are borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_aligned_and_kept() {
        let mut lines = Lines::<f32>::default();
        assert!(lines.is_empty());
        lines.resize(33);
        assert_eq!((lines.len(), lines.as_ptr() as usize % BYTES), (33, 0));
        assert!(lines.iter().all(|&x| x == 0.0));
        lines[32] = 5.0;
        lines.resize(1);
        lines.resize(33);
        assert!((lines[32] - 5.0).abs() < f32::EPSILON);
    }
}
