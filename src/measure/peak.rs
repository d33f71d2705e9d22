//! Peak throughput of this machine, the yardstick for the speed of models.

use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use crate::compute::SimdLevel;
use crate::compute::dense::tile::{
    self, CODE_ROWS, CodePanel, CodeRows, GROUP, Line, Out, PANEL, ROWS, Rows,
};
use crate::compute::pool::{parallel_for, threads};
use crate::models::catalogue::Precision;

/// Bytes to read, more than the caches of a few cores hold on any CPU.
const MEMORY_BYTES: usize = 512 << 20;
/// Values per unit of work.
const MEMORY_BLOCK: usize = 1 << 17;

/// Throughput of the matrix kernels on all cores with all data in L1 cache, in 10⁹ operations per
/// second.
pub fn operations(precision: Precision) -> f64 {
    const DEPTH: usize = 4 * GROUP;
    const TILES: usize = 20_000;
    let level = SimdLevel::detect();
    let work = |_: Range<usize>| match precision {
        Precision::F32 => {
            let (values, panel) = ([0.5; ROWS * DEPTH], [Line([0.5; PANEL]); DEPTH]);
            let mut tile = [0.0; ROWS * 2 * PANEL];
            for _ in 0..TILES / 2 {
                let values = black_box(values.as_slice());
                let rows = Rows::new(values, DEPTH, ROWS);
                let out = Out::new(&mut tile, 2 * PANEL);
                tile::product_two(level, rows, [&panel; 2], out);
            }
        }
        Precision::Int8 => {
            const GROUPS: usize = DEPTH / GROUP;
            let (codes, scales) = ([1; CODE_ROWS * DEPTH], [1.0; CODE_ROWS * GROUPS]);
            let offsets = [-tile::weight_zero(level) * GROUP as i32; CODE_ROWS * GROUPS];
            let panel = CodePanel { codes: &[65; DEPTH * PANEL], scales: &[1.0; GROUPS * PANEL] };
            let mut tile = [0.0; CODE_ROWS * PANEL];
            let products = tile::CodeProducts::new(level);
            for _ in 0..TILES {
                let codes = black_box(codes.as_slice());
                let rows = CodeRows { codes, scales: &scales, offsets: &offsets, count: CODE_ROWS };
                let out = Out::new(&mut tile, PANEL);
                products.product(rows, panel, out);
            }
        }
    };
    let threads = threads();
    let rows = if precision == Precision::F32 { ROWS } else { CODE_ROWS };
    let operations = 2.0 * (threads * TILES * rows * DEPTH * PANEL) as f64;
    operations / fastest(|| parallel_for(threads, work)) / 1e9
}

/// Memory read bandwidth of all cores together, in 10⁹ bytes per second.
pub fn memory() -> f64 {
    // Not zeros: untouched zero pages all map to one physical page, which would stay in the cache.
    let values = vec![1u64; MEMORY_BYTES / size_of::<u64>()];
    let blocks: Vec<&[u64]> = values.chunks(MEMORY_BLOCK).collect();
    let read = |some: Range<usize>| {
        for block in &blocks[some] {
            black_box(block.iter().fold(0u64, |sum, value| sum.wrapping_add(*value)));
        }
    };
    MEMORY_BYTES as f64 / fastest(|| parallel_for(blocks.len(), read)) / 1e9
}

/// Time of the fastest of five runs in seconds: noise only ever makes a run slower.
fn fastest(run: impl Fn()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..5).map(time).fold(f64::INFINITY, f64::min)
}
