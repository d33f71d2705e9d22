//! Reports and comparisons as text, in both languages.

use std::fmt::Write;

use super::{calibration, wrong};
use crate::cli::figures::{share, time, with_interval};
use crate::measure::eval::{
    Aim, Answers, Comparison, Estimate, Kind, Outcome, Point, Refusal, Report, Stage,
};
use crate::terminal::Lang;

pub fn report(report: &Report, lang: Lang) -> String {
    let mut lines = vec![format!(
        "{}: {} {}, {} {}, {}{}",
        report.questions_file,
        report.questions,
        lang.pick("câu hỏi", "questions"),
        lang.pick("cấu hình", "profile"),
        report.profile,
        report.embedder,
        report.reranker.as_ref().map_or_else(String::new, |name| format!(" + {name}"))
    )];
    if !report.stages.is_empty() {
        lines.push(String::new());
        let median = lang.pick("trung vị", "median");
        let mut head = format!("{:10}", "");
        for name in ["hit@1", "recall@10", "MRR@10", "nDCG@10"] {
            let _ = write!(head, "{name:21}");
        }
        lines.push(format!("{head}{median:>10}{:>10}", "p95"));
    }
    for stage in &report.stages {
        let mut row = format!("{:10}", stage_name(&stage.stage, lang));
        for (_, value) in stage.measures.named() {
            let _ = write!(row, "{:21}", with_interval(value));
        }
        lines.push(format!("{row}{:>10}{:>10}", time(stage.median_ms), time(stage.p95_ms)));
    }
    lines.extend(kinds(&report.kinds, &report.stages, lang));
    lines.extend(report.refusal.iter().flat_map(|refusal| self::refusal(refusal, lang)));
    let advised = report.advice.iter();
    lines.extend(advised.flat_map(|it| calibration::advice(it, &report.embedder, lang)));
    lines.extend(report.fitted_relevance.iter().flat_map(|it| calibration::fitted(it, lang)));
    lines.extend(report.answers.iter().flat_map(|answers| self::answers(answers, lang)));
    lines.extend(
        report.calibrated.iter().flat_map(|calibrated| calibration::judged(calibrated, lang)),
    );
    lines.extend(wrong::lines(&report.worst, &report.misjudged, lang));
    lines.join("\n") + "\n"
}

/// nDCG@10 of each kind of question.
fn kinds(kinds: &[Kind], stages: &[Stage], lang: Lang) -> Vec<String> {
    if kinds.is_empty() {
        return Vec::new();
    }
    let width = kinds.iter().map(|kind| kind.kind.chars().count()).max().unwrap_or_default().max(8);
    let mut head = format!("{:width$} {:>9}  ", "nDCG@10", lang.pick("câu hỏi", "questions"));
    for stage in stages {
        let _ = write!(head, "{:21}", stage_name(&stage.stage, lang));
    }
    let row = |Kind { kind, questions, ndcg_at_10 }: &Kind| {
        let mut row = format!("{kind:width$} {questions:>9}  ");
        for stage in stages {
            let value = ndcg_at_10.get(&stage.stage).map(with_interval).unwrap_or_default();
            let _ = write!(row, "{value:21}");
        }
        row.trim_end().to_owned()
    };
    let rows = kinds.iter().map(row);
    [String::new(), head.trim_end().to_owned()].into_iter().chain(rows).collect()
}

fn refusal(refusal: &Refusal, lang: Lang) -> Vec<String> {
    let Refusal { answerable, unanswerable, auroc, .. } = refusal;
    let counts = match lang {
        Lang::Vi => {
            format!("Từ chối: {answerable} câu có lời đáp, {unanswerable} câu không có")
        }
        Lang::En => {
            format!("Refusal: {answerable} questions with an answer, {unanswerable} without")
        }
    };
    let auroc = auroc.map_or_else(String::new, |auroc| format!("; AUROC {auroc:.3}"));
    let in_use = Outcome {
        precision: refusal.precision,
        recall: refusal.recall,
        false_refusals: refusal.false_refusals,
    };
    let mut lines = vec![
        String::new(),
        counts + &auroc,
        format!(
            "  {:22} {:>14} {:>10} {:>16} {:>8}   {}",
            "",
            lang.pick("độ chính xác", "precision"),
            lang.pick("độ phủ", "recall"),
            lang.pick("từ chối nhầm", "false refusals"),
            "F1",
            lang.pick("ngưỡng", "threshold"),
        ),
        outcome(lang.pick("đang dùng", "in use"), in_use, None),
    ];
    let gates = [
        (lang.pick("chặt", "strict gate"), refusal.strict),
        (lang.pick("thận trọng", "careful gate"), refusal.careful),
    ];
    lines.extend(gates.into_iter().filter_map(|(name, gate)| Some(outcome(name, gate?, None))));
    let highest = refusal.aims.iter().find_map(|aim| aim.highest).map(|it| share(Some(it)));
    let not_reached = match highest {
        Some(highest) => {
            let text = lang.pick(
                "không ngưỡng nào đạt; cao nhất là",
                "reached by no threshold; the highest is",
            );
            format!("{text} {highest}")
        }
        None => {
            lang.pick("không ngưỡng nào từ chối đúng", "no threshold refuses rightly").to_owned()
        }
    };
    lines.extend(thresholds(refusal, lang).into_iter().map(|(name, point)| match point {
        Some(point) => outcome(&name, point.outcome, Some(point.threshold)),
        None => format!("  {name:22} {not_reached}"),
    }));
    lines
}

/// The thresholds that matter, with their names; some do not exist.
pub fn thresholds(refusal: &Refusal, lang: Lang) -> Vec<(String, Option<Point>)> {
    let best = lang.pick("F1 cao nhất", "best F1").to_owned();
    let aims = refusal.aims.iter().map(|Aim { precision, reached, .. }| {
        (format!("{} {precision}", lang.pick("độ chính xác", "precision")), *reached)
    });
    [(best, refusal.best_f1)].into_iter().chain(aims).collect()
}

fn outcome(name: &str, outcome: Outcome, threshold: Option<f32>) -> String {
    let Outcome { precision, recall, false_refusals } = outcome;
    let [precision, recall, wrong] = [precision, recall, false_refusals].map(share);
    let f1 = outcome.f1().map_or_else(|| "–".to_owned(), |f1| format!("{f1:.3}"));
    let threshold = threshold.map(in_digits).unwrap_or_default();
    let line =
        format!("  {name:22} {precision:>14} {recall:>10} {wrong:>16} {f1:>8}   {threshold}");
    line.trim_end().to_owned()
}

/// With as many digits as tell it from 0 and 1.
pub fn in_digits(threshold: f32) -> String {
    let digits = (3..7).find(|&digits| {
        let rounding = 0.5 * 10_f32.powi(-digits);
        threshold > rounding && 1.0 - threshold > rounding
    });
    format!("{threshold:.*}", digits.unwrap_or(7) as usize)
}

fn answers(answers: &Answers, lang: Lang) -> Vec<String> {
    let estimate = |value: &Option<Estimate>| value.as_ref().map_or("–".to_owned(), with_interval);
    let row = |label: &str, value: &str| format!("  {label:34} {value}");
    vec![
        String::new(),
        format!("{}: {}", lang.pick("Câu trả lời", "Answers"), answers.model),
        row(
            lang.pick("câu có đáp án", "questions with expected answers"),
            &answers.questions.to_string(),
        ),
        row(lang.pick("do LLM viết", "written by the LLM"), &answers.generated.to_string()),
        row(lang.pick("trùng khớp", "exact match"), &estimate(&answers.exact_match)),
        row(lang.pick("F1 theo từ", "word F1"), &estimate(&answers.f1)),
        row(
            lang.pick("trích dẫn đúng tài liệu", "citation precision"),
            &estimate(&answers.citation_precision),
        ),
        row(
            lang.pick("câu trả lời có trích dẫn", "answers with citations"),
            &share(Some(answers.citing)),
        ),
        row(lang.pick("thời gian, trung vị", "time, median"), &time(answers.median_ms)),
    ]
}

pub fn comparison(comparison: &Comparison, lang: Lang) -> String {
    let count = match lang {
        Lang::Vi => format!("{} câu hỏi chung", comparison.questions),
        Lang::En => format!("{} questions in both", comparison.questions),
    };
    let mut lines = vec![
        count,
        String::new(),
        format!("{:10}{:20}{:>7} {:>7}   {:26} {:>7}", "", "", "A", "B", "B − A", "p"),
    ];
    for difference in &comparison.differences {
        let Estimate { mean, low, high } = difference.difference;
        let gain = format!("{mean:+.4} [{low:+.4}, {high:+.4}]");
        lines.push(format!(
            "{:10}{:20}{:7.4} {:7.4}   {gain:26} {:7.4}",
            stage_name(&difference.stage, lang),
            measure_name(difference.measure, lang),
            difference.a,
            difference.b,
            difference.p
        ));
    }
    lines.join("\n") + "\n"
}

pub fn stage_name(stage: &str, lang: Lang) -> &str {
    match stage {
        "bm25" => "BM25",
        "dense" => lang.pick("vectơ", "dense"),
        "fused" => lang.pick("kết hợp", "fused"),
        "reranked" => lang.pick("xếp lại", "reranked"),
        "refusal" => lang.pick("từ chối", "refusal"),
        "answers" => lang.pick("trả lời", "answers"),
        other => other,
    }
}

pub fn measure_name(measure: &str, lang: Lang) -> &str {
    match measure {
        "hit_at_1" => "hit@1",
        "recall_at_10" => "recall@10",
        "mrr_at_10" => "MRR@10",
        "ndcg_at_10" => "nDCG@10",
        "accuracy" => lang.pick("đúng", "accuracy"),
        "exact_match" => lang.pick("trùng khớp", "exact match"),
        "f1" => "F1",
        "citation_precision" => lang.pick("trích dẫn đúng", "citation precision"),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_near_certainty_keep_their_digits() {
        for (threshold, text) in
            [(0.5, "0.500"), (0.9996, "0.9996"), (0.00002, "0.00002"), (0.999_998, "0.999998")]
        {
            assert_eq!(in_digits(threshold), text);
        }
    }

    fn refusal(aims: Vec<Aim>) -> String {
        let outcome =
            Outcome { precision: Some(0.8), recall: Some(0.4), false_refusals: Some(0.1) };
        let refusal = Refusal {
            answerable: 10,
            unanswerable: 10,
            threshold: Some(0.5),
            precision: Some(0.8),
            recall: Some(0.4),
            false_refusals: Some(0.1),
            strict: None,
            careful: None,
            auroc: Some(0.75),
            best_f1: Some(Point { threshold: 0.25, outcome }),
            aims,
            curve: Vec::new(),
        };
        super::refusal(&refusal, Lang::En).join("\n")
    }

    #[test]
    fn the_table_of_thresholds_shows_those_that_matter() {
        let outcome =
            Outcome { precision: Some(0.9), recall: Some(0.2), false_refusals: Some(0.02) };
        let reached = Some(Point { threshold: 0.125, outcome });
        let table = refusal(vec![
            Aim { precision: 0.9, reached, highest: Some(0.92) },
            Aim { precision: 0.95, reached: None, highest: Some(0.92) },
        ]);
        for line in [
            "  in use                         80.0 %     40.0 %           10.0 %    0.533",
            "  best F1                        80.0 %     40.0 %           10.0 %    0.533   0.250",
            "  precision 0.9                  90.0 %     20.0 %            2.0 %    0.327   0.125",
            "  precision 0.95         reached by no threshold; the highest is 92.0 %",
        ] {
            assert!(table.lines().any(|it| it == line), "{line}: {table}");
        }
        let none = refusal(vec![Aim { precision: 0.9, reached: None, highest: None }]);
        assert!(none.contains("no threshold refuses rightly"), "{none}");
    }
}
