//! Measures of a ranking, with binary relevance.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The rank at which all measures are cut off.
const DEPTH: usize = 10;

/// Ranking measures: of one question (`f64`), or means over many ([`super::Estimate`]).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures<T> {
    /// Whether the first one is relevant.
    pub hit_at_1: T,
    /// Share of the relevant ones that rank in the first ten.
    pub recall_at_10: T,
    /// 1 / rank of the first relevant one; 0 if none is in the first ten.
    pub mrr_at_10: T,
    /// Σ 1 / log₂(rank + 1) over the relevant ones in the first ten, divided by that of an
    /// ideal ranking (Järvelin and Kekäläinen 2002).
    pub ndcg_at_10: T,
}

impl<T> Measures<T> {
    /// With their names in the JSON.
    pub fn named(&self) -> [(&'static str, &T); 4] {
        [
            ("hit_at_1", &self.hit_at_1),
            ("recall_at_10", &self.recall_at_10),
            ("mrr_at_10", &self.mrr_at_10),
            ("ndcg_at_10", &self.ndcg_at_10),
        ]
    }
}

/// Measures a ranking without duplicates, best first. `relevant` must not be empty.
pub fn measure<T: Ord>(ranking: &[T], relevant: &BTreeSet<T>) -> Measures<f64> {
    let found: Vec<usize> = ranking
        .iter()
        .take(DEPTH)
        .enumerate()
        .filter(|(_, found)| relevant.contains(*found))
        .map(|(place, _)| place)
        .collect();
    let gain = |places: &mut dyn Iterator<Item = usize>| -> f64 {
        // A sum of nothing would be −0.
        places.map(|place| 1.0 / (place as f64 + 2.0).log2()).fold(0.0, |sum, gain| sum + gain)
    };
    Measures {
        hit_at_1: f64::from(u8::from(found.first() == Some(&0))),
        recall_at_10: found.len() as f64 / relevant.len().max(1) as f64,
        mrr_at_10: found.first().map_or(0.0, |&place| 1.0 / (place as f64 + 1.0)),
        ndcg_at_10: gain(&mut found.iter().copied())
            / gain(&mut (0..relevant.len().clamp(1, DEPTH))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(ranking: &str, relevant: &str) -> Measures<f64> {
        let names = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        measure(&names(ranking), &BTreeSet::from_iter(names(relevant)))
    }

    #[test]
    fn a_perfect_ranking_has_one_in_everything() {
        let perfect =
            Measures { hit_at_1: 1.0, recall_at_10: 1.0, mrr_at_10: 1.0, ndcg_at_10: 1.0 };
        assert_eq!(measured("abcd", "ab"), perfect);
    }

    /// Two of three relevant documents, at ranks 2 and 4:
    /// nDCG = (1/log₂3 + 1/log₂5) / (1 + 1/log₂3 + ½).
    #[test]
    fn measures_are_those_computed_by_hand() {
        let measures = measured("xaybz", "abc");
        assert_eq!(measures.hit_at_1, 0.0);
        assert!((measures.recall_at_10 - 2.0 / 3.0).abs() < 1e-12);
        assert!((measures.mrr_at_10 - 0.5).abs() < 1e-12);
        assert!((measures.ndcg_at_10 - 0.498_189_256_5).abs() < 1e-6, "{measures:?}");
    }

    /// Golden values from `tests/goldens/eval.py`.
    #[test]
    fn measures_are_those_of_trec_eval() {
        #[derive(Deserialize)]
        struct Case {
            ranking: Vec<String>,
            relevant: BTreeSet<String>,
            measures: Measures<f64>,
        }
        let golden = include_str!("../../../tests/goldens/eval.json");
        let cases: Vec<Case> = serde_json::from_str(golden).unwrap();
        assert_eq!(cases.len(), 20);
        for case in cases {
            let ours = measure(&case.ranking, &case.relevant);
            for ((name, ours), (_, golden)) in ours.named().iter().zip(case.measures.named()) {
                assert!((**ours - golden).abs() < 1e-9, "{name}: {ours} {golden}");
            }
        }
    }

    /// It was −0, and printed so.
    #[test]
    fn what_finds_nothing_scores_zero_without_a_sign() {
        assert!(measured("abc", "x").ndcg_at_10.is_sign_positive());
    }

    #[test]
    fn nothing_below_the_tenth_counts_and_ten_are_enough() {
        assert_eq!(measured("0123456789a", "a").mrr_at_10, 0.0);
        assert_eq!(measured("012345678a", "a").recall_at_10, 1.0);
        // With twelve relevant documents, the ideal ranking has ten of them in the first ten.
        assert!((measured("abcdefghij", "abcdefghijkl").ndcg_at_10 - 1.0).abs() < 1e-12);
    }
}
