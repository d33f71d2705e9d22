//! On which GPUs this program's kernels have been checked, with `ci/gpu-check`.

use serde::Deserialize;

/// The figures of the last check, put there by `build.rs`; `null` if there are none.
const FIGURES: &str = include_str!(concat!(env!("OUT_DIR"), "/gpu-check.json"));

#[derive(Deserialize)]
struct Figures {
    gpu: Card,
    #[serde(default)]
    finished: bool,
    failures: Vec<String>,
}

#[derive(Deserialize)]
struct Card {
    name: String,
}

/// The product name of the GPU on which everything held.
pub fn card() -> Option<String> {
    passed(FIGURES)
}

fn passed(figures: &str) -> Option<String> {
    let figures: Figures = serde_json::from_str(figures).ok()?;
    (figures.finished && figures.failures.is_empty()).then_some(figures.gpu.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_check_that_came_to_its_end_and_found_nothing_counts() {
        let figures = |finished, failures: &str| {
            let gpu = r#"{"device": "cuda:0", "name": "NVIDIA H200", "free_bytes": 1}"#;
            format!(r#"{{"gpu": {gpu}, "finished": {finished}, "failures": [{failures}]}}"#)
        };
        assert_eq!(passed(&figures(true, "")).as_deref(), Some("NVIDIA H200"));
        assert_eq!(passed(&figures(false, "")), None);
        assert_eq!(passed(&figures(true, r#""parity""#)), None);
        assert_eq!(passed("null"), None);
    }
}
