//! Work shared among the cores: candle's spinning pool, whose start costs under a microsecond where
//! waking sleeping threads costs tens, hundreds of times for each token.

use std::marker::PhantomData;
use std::ops::Range;

use candle_core::utils::barrier_pool;

/// Runs `work` on parts of `0..items`, on all cores.
pub fn share(items: usize, work: impl Fn(Range<usize>) + Sync) {
    barrier_pool().execute_chunked(items, work);
}

/// Cores that [`share`] uses.
pub fn threads() -> usize {
    barrier_pool().n_workers() + 1
}

/// A slice that several threads write, each its own part.
pub struct Parts<'a, T> {
    start: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it hands out parts of a `&mut [T]`, which is as good as sending them.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Takes the slice apart.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// One part.
    ///
    /// # Safety
    /// No two parts that live at the same time overlap.
    #[allow(clippy::mut_from_ref, reason = "that is what it is for")]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: inside of the slice, and not shared, as the caller says.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
