//! The line below an answer: which LLM wrote it, where, how much of the GPU's memory is in use, and how
//! fast it wrote.

use std::time::Duration;

use crate::answer::{Answer, Pace};
use crate::generation::local::placement::gpu::{self, Driver, Gpu, gib};

/// `None` if no LLM took part.
pub fn line(answer: &Answer) -> Option<String> {
    let mut parts = vec![answer.model.clone()?];
    let place = answer.placement.llm.as_deref().unwrap_or_default();
    match gpu(gpu::driver(), place) {
        Some(Gpu { name, free, total, .. }) => {
            let used = gib(total.saturating_sub(free));
            parts.push(format!("{place} ({name})"));
            parts.push(format!("VRAM {} / {}", used.trim_end_matches(" GiB"), gib(total)));
        }
        None => parts.push(place.to_owned()),
    }
    let decode = Duration::from_secs_f64(answer.timings_ms.decode / 1e3);
    if let Some(rate) = (Pace { tokens: answer.tokens.generated, decode }).rate() {
        parts.push(format!("{rate:.0} token/s"));
    }
    parts.retain(|part| !part.is_empty());
    Some(format!("   📟 {}", parts.join(" · ")))
}

/// The GPU that a device of this machine is on. It is only looked at if that takes no CUDA context.
fn gpu(driver: &dyn Driver, device: &str) -> Option<Gpu> {
    let ordinal = device.strip_prefix("cuda:")?.parse().ok()?;
    driver.observes().then(|| driver.gpu(ordinal).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::local::placement::gpu::fake::{self, FakeDriver};

    #[test]
    fn only_a_gpu_of_this_machine_is_looked_at() {
        let driver = FakeDriver::with([fake::gpu(0, 10 << 30)]);
        assert_eq!(gpu(&driver, "cuda:0").map(|gpu| gpu.free), Some(10 << 30));
        for device in ["cpu", "remote:127.0.0.1:8000", "cuda:", ""] {
            assert_eq!(gpu(&driver, device), None, "{device}");
        }
    }
}
