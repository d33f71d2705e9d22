//! What tests watch and change while a model runs. Outside of tests, all of it is empty.

pub use hooks::*;

#[cfg(not(test))]
mod hooks {
    /// Counts kernels that a GPU is asked to start: decode waits for these.
    #[inline(always)]
    pub fn count_launches(_count: usize) {}

    /// Whether the CPU is to run what a GPU runs.
    #[inline(always)]
    pub fn only_candle() -> bool {
        false
    }

    /// A layer asks a GPU for memory.
    #[inline(always)]
    #[expect(clippy::unnecessary_wraps, reason = "in tests there may be none left")]
    pub fn layer_memory() -> candle_core::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod hooks {
    use std::cell::Cell;

    pub use crate::generation::local::placement::gpu::fake::allocate as layer_memory;

    thread_local! {
        static LAUNCHES: Cell<usize> = const { Cell::new(0) };
        static ONLY_CANDLE: Cell<bool> = const { Cell::new(false) };
    }

    /// Counted where the code that a GPU runs starts kernels, so that a test on the CPU, which runs
    /// the same code, sees the same number.
    pub fn count_launches(count: usize) {
        LAUNCHES.set(LAUNCHES.get() + count);
    }

    /// The launches of `work`, on this thread.
    pub fn launches_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = LAUNCHES.get();
        let result = work();
        (result, LAUNCHES.get() - before)
    }

    pub fn only_candle() -> bool {
        ONLY_CANDLE.get()
    }

    /// Loads and runs on the CPU what a GPU runs: candle's products and our fused steps.
    pub fn as_on_a_gpu<T>(work: impl FnOnce() -> T) -> T {
        ONLY_CANDLE.set(true);
        let result = work();
        ONLY_CANDLE.set(false);
        result
    }
}
