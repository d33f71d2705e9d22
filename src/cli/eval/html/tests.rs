use std::collections::BTreeMap;

use super::*;
use crate::measure::eval::{Estimate, Measures};

const HOSTILE: &str = "</td><script>alert(1)</script><img src=x onerror=alert(2)> \"&'";

fn stage(name: &str, mean: f64) -> Stage {
    let estimate = Estimate { mean, low: mean - 0.123, high: mean + 0.0456 };
    let measures = Measures {
        hit_at_1: estimate,
        recall_at_10: estimate,
        mrr_at_10: estimate,
        ndcg_at_10: estimate,
    };
    Stage { stage: name.to_owned(), questions: 4, measures, median_ms: 3.25, p95_ms: 17.0 }
}

fn question(id: &str, answerable: bool, relevance: f32, ndcg: f64) -> QuestionScores {
    let scores = Measures { hit_at_1: ndcg, recall_at_10: ndcg, mrr_at_10: ndcg, ndcg_at_10: ndcg };
    let scores = [("bm25", scores), ("dense", scores)].map(|(stage, it)| (stage.to_owned(), it));
    QuestionScores {
        id: id.to_owned(),
        question: format!("Question {id}?"),
        answerable,
        relevance,
        refused: relevance < 0.5,
        scores: if answerable { scores.into() } else { BTreeMap::new() },
        ..QuestionScores::default()
    }
}

fn report(per_question: Vec<QuestionScores>) -> Report {
    let refusal = serde_json::json!({
        "answerable": 4, "unanswerable": 2, "threshold": 0.5, "precision": 0.512, "recall": 0.624,
        "false_refusals": 0.256, "strict": {"precision": 0.512, "recall": 0.624, "false_refusals": 0.256},
        "careful": {"precision": null, "recall": 0.0, "false_refusals": 0.0}, "auroc": 0.8765,
        "curve": [{"threshold": 0.1, "precision": null, "recall": 0.0},
                  {"threshold": 0.2, "precision": 1.0, "recall": 0.5},
                  {"threshold": 0.9, "precision": 0.5, "recall": 1.0}],
    });
    Report {
        version: "0.1.0".to_owned(),
        profile: HOSTILE.to_owned(),
        embedder: HOSTILE.to_owned(),
        reranker: None,
        questions_file: HOSTILE.to_owned(),
        questions: per_question.len(),
        stages: vec![stage("bm25", 0.654), stage("dense", 0.789)],
        refusal: Some(serde_json::from_value(refusal).unwrap()),
        answers: None,
        calibrated: None,
        per_question,
    }
}

fn six() -> Vec<QuestionScores> {
    vec![
        question("good", true, 0.98, 1.0),
        question("bad", true, 0.97, 0.25),
        question("worse", true, 0.96, 0.125),
        question("refused", true, 0.01, 1.0),
        question("missing", false, 0.02, 0.0),
        question("taken", false, 0.7, 0.0),
    ]
}

#[test]
fn the_page_has_the_figures_of_the_report_in_both_languages() {
    for (lang, words) in [(Lang::En, "Quality of each stage"), (Lang::Vi, "Chất lượng từng bước")]
    {
        let html = page(&report(six()), lang).unwrap();
        report::assert_well_formed(&html);
        for part in [
            words,
            "0.654 [0.531, 0.700]",
            "0.789 [0.666, 0.835]",
            "3.25 ms, p95 17 ms",
            "AUROC 0.876",
            "51.2 %",
            "62.4 %",
            "25.6 %",
            "Question worse?",
            "0.125",
            "Question taken?",
            "0.700",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}

#[test]
fn what_went_wrong_is_listed_with_the_worst_first() {
    let html = page(&report(six()), Lang::En).unwrap();
    let (_, lists) = html.split_once("Ranked worst").unwrap();
    let (worst, misjudged) = lists.split_once("Misjudged").unwrap();
    let listed = |list: &str| -> Vec<String> {
        let found = list.split("Question ").skip(1).filter_map(|rest| rest.split('?').next());
        found.map(str::to_owned).collect()
    };
    assert_eq!(listed(worst), ["worse", "bad"]);
    assert_eq!(listed(misjudged), ["refused", "taken"]);

    let all_right = page(&report(vec![question("good", true, 0.9, 1.0)]), Lang::En).unwrap();
    assert!(!all_right.contains("Ranked worst") && !all_right.contains("Misjudged"));

    let many = (0..9).map(|i| question(&format!("q{i}"), true, 0.1, f64::from(i) / 9.0)).collect();
    let html = page(&report(many), Lang::En).unwrap();
    let (_, lists) = html.split_once("Ranked worst").unwrap();
    let (worst, misjudged) = lists.split_once("Misjudged").unwrap();
    assert_eq!(listed(worst), ["q0", "q1", "q2", "q3", "q4"]);
    assert!(listed(misjudged).len() == WORST && misjudged.contains("In all: 9."), "{misjudged}");
}

/// Questions, names of files and models come from anywhere.
#[test]
fn what_is_hostile_stays_text() {
    let mut questions = six();
    questions[1].question = HOSTILE.to_owned();
    questions[2].id = HOSTILE.to_owned();
    let html = page(&report(questions), Lang::En).unwrap();
    report::assert_well_formed(&html);
    assert!(html.contains("&lt;script&gt;alert(1)") && !html.contains("<img"), "{html}");
}

#[test]
fn a_report_without_labels_is_a_page_too() {
    let mut bare = report(Vec::new());
    bare.stages.clear();
    bare.refusal = None;
    report::assert_well_formed(&page(&bare, Lang::Vi).unwrap());
}
