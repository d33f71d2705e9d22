//! How figures are written, in tables and reports alike.

use crate::measure::eval::Estimate;

/// Short times get more digits than long ones.
pub fn time(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

pub fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

/// `0.954 [0.900, 1.000]`
pub fn with_interval(Estimate { mean, low, high }: &Estimate) -> String {
    format!("{mean:.3} [{low:.3}, {high:.3}]")
}
