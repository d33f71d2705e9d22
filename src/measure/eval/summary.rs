//! What all questions together say.

use std::collections::BTreeSet;

use super::bootstrap::estimate;
use super::refusal::{Refusal, refusal};
use super::{AnswerFacts, Answers, Asked, Kind, Measures, QuestionScores, STAGES, Stage, cases};
use crate::measure::median;

/// Means over all questions, by stage; stages without scores are left out.
pub fn stages(asked: &[Asked]) -> Vec<Stage> {
    let stage = |stage: &str| {
        let scored = asked.iter().filter_map(|asked| asked.scores.scores.get(stage).copied());
        let of_stage: Vec<Measures<f64>> = scored.collect();
        if of_stage.is_empty() {
            return None;
        }
        let mut times: Vec<f64> =
            asked.iter().filter_map(|asked| asked.times.get(stage).copied()).collect();
        times.sort_by(f64::total_cmp);
        let of = |value: fn(&Measures<f64>) -> f64| {
            estimate(&of_stage.iter().map(value).collect::<Vec<_>>())
        };
        Some(Stage {
            stage: stage.to_owned(),
            questions: of_stage.len(),
            measures: Measures {
                hit_at_1: of(|measures| measures.hit_at_1),
                recall_at_10: of(|measures| measures.recall_at_10),
                mrr_at_10: of(|measures| measures.mrr_at_10),
                ndcg_at_10: of(|measures| measures.ndcg_at_10),
            },
            p95_ms: times.get(times.len() * 95 / 100).copied().unwrap_or_default(),
            median_ms: median(times),
        })
    };
    STAGES.into_iter().filter_map(stage).collect()
}

/// nDCG@10 by stage for each kind of question, by name; of those that say what answers them.
pub fn kinds(asked: &[Asked]) -> Vec<Kind> {
    let labelled = || asked.iter().filter(|asked| !asked.scores.scores.is_empty());
    let names: BTreeSet<&String> = labelled().flat_map(|asked| &asked.scores.kinds).collect();
    let kind = |name: &String| {
        let of_kind: Vec<&QuestionScores> = labelled()
            .map(|asked| &asked.scores)
            .filter(|scores| scores.kinds.contains(name))
            .collect();
        let stage = |stage: &str| {
            let scored = of_kind.iter().filter_map(|scores| scores.scores.get(stage));
            let values: Vec<f64> = scored.map(|measures| measures.ndcg_at_10).collect();
            (!values.is_empty()).then(|| (stage.to_owned(), estimate(&values)))
        };
        let ndcg_at_10 = STAGES.into_iter().filter_map(stage).collect();
        Kind { kind: name.clone(), questions: of_kind.len(), ndcg_at_10 }
    };
    names.into_iter().map(kind).collect()
}

/// Scores refusal; `None` unless some question has no answer in the documents.
pub fn refusals(asked: &[Asked], threshold: Option<f32>) -> Option<Refusal> {
    let cases = cases(asked);
    cases.iter().any(|case| !case.answerable).then(|| refusal(&cases, threshold))
}

/// Scores the answers; `None` if none were generated.
pub fn answers(asked: &[Asked], model: &str) -> Option<Answers> {
    let facts: Vec<&AnswerFacts> = asked.iter().filter_map(|asked| asked.answer.as_ref()).collect();
    if facts.is_empty() {
        return None;
    }
    let scored = || asked.iter().filter_map(|asked| asked.scores.answer.as_ref());
    let some = |values: Vec<f64>| (!values.is_empty()).then(|| estimate(&values));
    let likeness: Vec<_> = scored().filter_map(|answer| answer.likeness).collect();
    let answered: Vec<_> = facts.iter().filter(|facts| facts.answered).collect();
    let citing = answered.iter().filter(|facts| facts.cites).count();
    Some(Answers {
        model: model.to_owned(),
        questions: likeness.len(),
        exact_match: some(likeness.iter().map(|likeness| likeness.exact_match).collect()),
        f1: some(likeness.iter().map(|likeness| likeness.f1).collect()),
        citation_precision: some(scored().filter_map(|answer| answer.citation_precision).collect()),
        citing: citing as f64 / answered.len().max(1) as f64,
        generated: facts.iter().filter(|facts| facts.generated).count(),
        median_ms: median(facts.iter().map(|facts| facts.ms).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_the_mean_of_its_questions_and_a_question_may_be_of_several() {
        let asked = |kinds: &[&str], ndcg: f64| {
            let measures =
                Measures { hit_at_1: ndcg, recall_at_10: ndcg, mrr_at_10: ndcg, ndcg_at_10: ndcg };
            Asked::of(QuestionScores {
                kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
                scores: [("fused".to_owned(), measures)].into(),
                ..QuestionScores::default()
            })
        };
        let mut all = vec![asked(&["law", "vi"], 1.0), asked(&["law"], 0.5), asked(&[], 0.0)];
        // Says nothing of what answers it.
        all.push(Asked::of(QuestionScores {
            kinds: ["none".to_owned()].into(),
            ..QuestionScores::default()
        }));
        let kinds = kinds(&all);
        let of = |kind: &Kind| (kind.kind.clone(), kind.questions, kind.ndcg_at_10["fused"].mean);
        let found: Vec<_> = kinds.iter().map(of).collect();
        assert_eq!(found, [("law".to_owned(), 2, 0.75), ("vi".to_owned(), 1, 1.0)]);
    }
}
