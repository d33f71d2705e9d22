//! The report of an evaluation as a page to look at.

use anyhow::Result;
use serde::Serialize;

use super::table::{in_digits, measure_name, stage_name, thresholds};
use super::{calibration, wrong};
use crate::cli::figures::{time, with_interval};
use crate::cli::report;
use crate::cli::report::plot::{Curve, Dots, Labelled, NamedProbability, Values};
use crate::measure::eval::{Outcome, Point, QuestionScores, Refusal, Report, Stage, Wrong};
use crate::terminal::Lang;

const TEMPLATE: &str = include_str!("report.jinja");

/// What the template writes: the report, the plots of it, and what went wrong.
#[derive(Serialize)]
struct Shown<'a> {
    report: &'a Report,
    /// As columns of tables.
    stages: Vec<Column<'a>>,
    quality: Vec<Values>,
    times: Values,
    refusal: Option<RefusalPlots>,
    /// What relevance is like on these questions, line by line; empty if nothing is to be said.
    advice: Vec<String>,
    fitted: Vec<String>,
    worst: Vec<WrongRow<'a>>,
    misjudged: Vec<WrongRow<'a>>,
}

#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    stage: &'a Stage,
    /// Means with intervals, in words.
    measures: Vec<String>,
}

#[derive(Serialize)]
struct RefusalPlots {
    curve: Curve,
    dots: Dots,
    /// What each gate does, with its name, and what other thresholds would.
    outcomes: Vec<(String, Outcome)>,
}

/// What a threshold does that does not exist.
const NONE: Outcome = Outcome { precision: None, recall: None, false_refusals: None };

#[derive(Serialize)]
struct WrongRow<'a> {
    question: &'a Wrong,
    /// nDCG@10 by stage.
    scores: Vec<Option<f64>>,
    verdict: &'static str,
    /// What should have been found, and what was, in words.
    expected: Vec<String>,
    found: Vec<String>,
}

pub fn page(report: &Report, lang: Lang) -> Result<String> {
    let shown = Shown {
        report,
        stages: report.stages.iter().map(|stage| column(stage, lang)).collect(),
        quality: quality(report, lang),
        times: times(report, lang),
        refusal: report.refusal.as_ref().map(|refusal| refusal_plots(report, refusal, lang)),
        advice: report
            .advice
            .iter()
            .flat_map(|it| calibration::advice(it, &report.embedder, lang))
            .collect(),
        fitted: report
            .fitted_relevance
            .iter()
            .flat_map(|it| calibration::fitted(it, lang))
            .collect(),
        worst: wrong_rows(&report.worst, report, lang),
        misjudged: wrong_rows(&report.misjudged.surest, report, lang),
    };
    report::page(TEMPLATE, lang, &shown)
}

fn column(stage: &Stage, lang: Lang) -> Column<'_> {
    let measures = stage.measures.named().map(|(_, value)| with_interval(value)).into();
    Column { name: stage_name(&stage.stage, lang), stage, measures }
}

/// For each measure, all stages on the same axis.
fn quality(report: &Report, lang: Lang) -> Vec<Values> {
    let Some(first) = report.stages.first() else { return Vec::new() };
    let lows = report.stages.iter().flat_map(|stage| stage.measures.named().map(|(_, it)| it.low));
    // A difference of a hundredth should not look like much.
    let low = lows.fold(0.9, f64::min);
    let plot = |(at, name): (usize, &'static str)| {
        let row = |stage: &Stage| {
            let (_, estimate) = stage.measures.named()[at];
            Labelled {
                label: stage_name(&stage.stage, lang).to_owned(),
                words: with_interval(estimate),
                value: estimate.mean,
                low: estimate.low,
                high: estimate.high,
            }
        };
        let rows = report.stages.iter().map(row).collect();
        Values::intervals(measure_name(name, lang), rows, (low, 1.0))
    };
    first.measures.named().map(|(name, _)| name).into_iter().enumerate().map(plot).collect()
}

fn times(report: &Report, lang: Lang) -> Values {
    let row = |stage: &Stage| Labelled {
        label: stage_name(&stage.stage, lang).to_owned(),
        words: format!("{}, p95 {}", time(stage.median_ms), time(stage.p95_ms)),
        value: stage.median_ms,
        low: stage.median_ms,
        high: stage.p95_ms,
    };
    let title = lang.pick("Thời gian, ms", "Time, ms");
    Values::bars(title, report.stages.iter().map(row).collect())
}

fn refusal_plots(report: &Report, refusal: &Refusal, lang: Lang) -> RefusalPlots {
    let Refusal { precision, recall, false_refusals, strict, careful, curve, .. } = refusal;
    let in_use =
        Outcome { precision: *precision, recall: *recall, false_refusals: *false_refusals };
    let outcomes = [
        (lang.pick("đang dùng", "in use"), Some(in_use)),
        (lang.pick("ngưỡng chặt", "strict gate"), *strict),
        (lang.pick("ngưỡng thận trọng", "careful gate"), *careful),
    ];
    let outcomes: Vec<_> =
        outcomes.into_iter().filter_map(|(name, outcome)| Some((name, outcome?))).collect();
    let place = |outcome: &Outcome| outcome.recall.zip(outcome.precision);
    let marks = outcomes.iter().filter_map(|(name, it)| Some(((*name).to_owned(), place(it)?)));
    let points: Vec<_> = curve.iter().filter_map(|it| place(&it.outcome)).collect();
    let dots = |answerable: bool| -> Vec<NamedProbability> {
        let some = report.per_question.iter().filter(|it| it.answerable == answerable);
        some.map(|it| (f64::from(it.relevance), name(it), it.refused == it.answerable)).collect()
    };
    let rows = [
        (lang.pick("có lời đáp", "with an answer"), true),
        (lang.pick("không có lời đáp", "without an answer"), false),
    ];
    let rows = rows.map(|(label, answerable)| (label.to_owned(), dots(answerable)));
    let others = thresholds(refusal, lang).into_iter().map(|(name, point)| match point {
        Some(Point { threshold, outcome }) => {
            (format!("{name}: {}", in_digits(threshold)), outcome)
        }
        None => (format!("{name}: {}", lang.pick("không đạt", "not reached")), NONE),
    });
    let named = outcomes.iter().map(|(name, outcome)| ((*name).to_owned(), *outcome));
    RefusalPlots {
        outcomes: named.chain(others).collect(),
        curve: Curve::new(&points, marks.collect()),
        dots: Dots::new(rows.into()),
    }
}

/// What is shown of a dot that the mouse is on.
fn name(question: &QuestionScores) -> String {
    let QuestionScores { id, question, relevance, .. } = question;
    format!("{id}: {question} ({relevance:.3})")
}

fn wrong_rows<'a>(questions: &'a [Wrong], report: &Report, lang: Lang) -> Vec<WrongRow<'a>> {
    let stages = || report.stages.iter().map(|stage| stage.stage.as_str());
    let row = |question: &'a Wrong| WrongRow {
        question,
        scores: stages().map(|stage| question.ndcg_at_10.get(stage).copied()).collect(),
        verdict: wrong::verdict(question, lang),
        expected: wrong::expected(question, lang),
        found: wrong::found(question, lang),
    };
    questions.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::measure::eval::{Advice, Estimate, Measures, Misjudged};

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
        let scores =
            Measures { hit_at_1: ndcg, recall_at_10: ndcg, mrr_at_10: ndcg, ndcg_at_10: ndcg };
        let scores =
            [("bm25", scores), ("dense", scores)].map(|(stage, it)| (stage.to_owned(), it));
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

    fn wrong(id: &str, text: &str, refused: bool) -> Wrong {
        serde_json::from_value(serde_json::json!({
            "id": id, "question": text, "answerable": refused, "relevance": 0.7, "refused": refused,
            "ndcg_at_10": {"bm25": 0.125, "dense": 0.25},
            "expected": [{"document": "/n/right.md"}], "rank": 7,
            "found": [{"document": "/n/wrong.md", "heading": "A > B", "lines": [3, 9], "relevant": false}],
        }))
        .unwrap()
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
            advice: Some(Advice::RefusesTooMuch { false_refusals: 0.256 }),
            fitted_relevance: None,
            calibrated: None,
            kinds: Vec::new(),
            worst: vec![wrong("worse", "Question worse?", false)],
            misjudged: Misjudged {
                in_all: 9,
                surest: vec![wrong("taken", "Question taken?", false)],
            },
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
        for (lang, words) in
            [(Lang::En, "Quality of each stage"), (Lang::Vi, "Chất lượng từng bước")]
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
                "--calibrate",
            ] {
                assert!(html.contains(part), "{part}: {html}");
            }
        }
    }

    #[test]
    fn what_went_wrong_is_listed_with_what_was_found_instead() {
        let html = page(&report(six()), Lang::En).unwrap();
        let (_, lists) = html.split_once("Ranked worst").unwrap();
        let (worst, misjudged) = lists.split_once("Misjudged").unwrap();
        for part in ["Question worse?", "right.md – rank 7", "wrong.md (lines 3–9): A &gt; B"] {
            assert!(worst.contains(part), "{part}: {worst}");
        }
        assert!(
            misjudged.contains("Question taken?") && misjudged.contains("In all: 9."),
            "{misjudged}"
        );

        let mut right = report(vec![question("good", true, 0.9, 1.0)]);
        right.worst.clear();
        right.misjudged = Misjudged::default();
        let html = page(&right, Lang::En).unwrap();
        assert!(!html.contains("Ranked worst") && !html.contains("Misjudged"));
    }

    /// Questions, names of files and models come from anywhere.
    #[test]
    fn what_is_hostile_stays_text() {
        let mut questions = six();
        questions[1].question = HOSTILE.to_owned();
        questions[2].id = HOSTILE.to_owned();
        let mut hostile = report(questions);
        hostile.worst = vec![wrong(HOSTILE, HOSTILE, true)];
        hostile.worst[0].outcome.found[0].heading = HOSTILE.to_owned();
        hostile.worst[0].outcome.expected[0].quote = Some(HOSTILE.to_owned());
        let html = page(&hostile, Lang::En).unwrap();
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
}
