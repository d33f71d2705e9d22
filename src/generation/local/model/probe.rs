//! Hooks for tests to observe and alter a running model. No-ops outside of tests.

pub use hooks::*;

#[cfg(not(test))]
mod hooks {
    /// Counts kernel launches on a GPU, which bound the speed of decode.
    #[inline(always)]
    pub fn count_launches(_count: usize) {}

    /// Whether the CPU should run the GPU's code path.
    #[inline(always)]
    pub fn only_candle() -> bool {
        false
    }

    /// Marks where a layer allocates GPU memory.
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

    /// Counted where the GPU code path launches kernels, so that a test running that path on the
    /// CPU gets the same number.
    pub fn count_launches(count: usize) {
        LAUNCHES.set(LAUNCHES.get() + count);
    }

    /// Runs `work` and returns its launches on this thread.
    pub fn launches_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = LAUNCHES.get();
        let result = work();
        (result, LAUNCHES.get() - before)
    }

    pub fn only_candle() -> bool {
        ONLY_CANDLE.get()
    }

    /// Loads and runs on the CPU with the GPU's code path: candle's products and our fused steps.
    pub fn as_on_a_gpu<T>(work: impl FnOnce() -> T) -> T {
        ONLY_CANDLE.set(true);
        let result = work();
        ONLY_CANDLE.set(false);
        result
    }
}
