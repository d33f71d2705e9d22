//! Zeros from the system, whose pages take memory only once they are written.

use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use crate::compute::aligned::PlainNumber;

/// A slice of numbers, zero at first. A lack of memory is an error, not the end of the program.
pub struct AnonMmap<T> {
    map: MmapMut,
    numbers: PhantomData<T>,
}

impl<T: PlainNumber> AnonMmap<T> {
    /// # Errors
    /// When the system does not give that much memory.
    pub fn new(count: usize) -> io::Result<Self> {
        let bytes = count.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { map: MmapMut::map_anon(bytes)?, numbers: PhantomData })
    }
}

impl<T: PlainNumber> Deref for AnonMmap<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let length = self.map.len() / size_of::<T>();
        // SAFETY: the map has the bytes of that many numbers, it begins at a page, and any bytes are
        // numbers.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), length) }
    }
}

impl<T: PlainNumber> DerefMut for AnonMmap<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let length = self.map.len() / size_of::<T>();
        // SAFETY: as in `deref`, and the map is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), length) }
    }
}
