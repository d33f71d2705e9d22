//! Work shared among the cores: candle's spinning pool, whose start costs under a microsecond where
//! waking sleeping threads costs tens, hundreds of times for each token.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::utils::barrier_pool;

thread_local! {
    /// Whether this thread works on its part of something.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on parts of `0..items`, on all cores; within such work, on this one alone.
///
/// Parts are large at first and single items in the end: the cores finish together, and where they
/// wait for memory, each reads on and on for a while (guided self-scheduling, Polychronopoulos and
/// Kuck 1987).
pub fn share(items: usize, work: impl Fn(Range<usize>) + Sync) {
    if items == 0 {
        return;
    }
    if BUSY.get() {
        work(0..items);
        return;
    }
    let cores = threads();
    let next = AtomicUsize::new(0);
    let take =
        |start: usize| (start < items).then(|| start + ((items - start) / (2 * cores)).max(1));
    barrier_pool().execute(|_| {
        let _busy = Busy::new();
        while let Ok(start) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            work(start..take(start).expect("the update was made"));
        }
    });
}

/// Marks this thread as busy until it is dropped, by a panic too.
struct Busy;

impl Busy {
    fn new() -> Self {
        BUSY.set(true);
        Self
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.set(false);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        for items in [0, 1, 2, 3, 17, 1000] {
            let mut counts = vec![0u32; items];
            let parts = Parts::new(&mut counts);
            // Within shared work, more of it is done where it is.
            share(items, |some| {
                share(some.len(), |inner| {
                    for i in inner {
                        let item = some.start + i;
                        // SAFETY: no other call has this item.
                        unsafe { parts.part(item..item + 1)[0] += 1 };
                    }
                });
            });
            assert!(counts.iter().all(|&count| count == 1), "{items}");
        }
    }
}
