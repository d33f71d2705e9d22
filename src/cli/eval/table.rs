//! Reports and comparisons as text, in both languages.

use std::fmt::Write;

use crate::cli::figures::{share, time, with_interval};
use crate::measure::eval::{
    Answers, Calibrated, Comparison, Estimate, MIN_QUESTIONS, Outcome, Refusal, Report,
};
use crate::models::catalogue::JudgeCalibration;
use crate::terminal::Lang;

/// Most points shown of the refusal curve.
const MAX_POINTS: usize = 8;

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
    lines.extend(report.refusal.iter().flat_map(|refusal| self::refusal(refusal, lang)));
    lines.extend(report.answers.iter().flat_map(|answers| self::answers(answers, lang)));
    lines
        .extend(report.calibrated.iter().flat_map(|calibrated| self::calibrated(calibrated, lang)));
    lines.join("\n") + "\n"
}

fn calibrated(calibrated: &Calibrated, lang: Lang) -> Vec<String> {
    let Calibrated { model, answerable, unanswerable, .. } = calibrated;
    let counts = match lang {
        Lang::Vi => {
            format!("{model} tự xét: {answerable} câu có lời đáp, {unanswerable} câu không có")
        }
        Lang::En => {
            format!(
                "{model} as a judge: {answerable} questions with an answer, {unanswerable} without"
            )
        }
    };
    let auroc = |auroc: Option<f64>| auroc.map_or("–".to_owned(), |auroc| format!("{auroc:.3}"));
    let mut lines = vec![
        String::new(),
        counts,
        format!(
            "  AUROC: {} {}, LLM {}, {} {}",
            lang.pick("tìm kiếm", "retrieval"),
            auroc(calibrated.auroc_retrieval),
            auroc(calibrated.auroc_llm),
            lang.pick("cả hai", "both"),
            auroc(calibrated.auroc_both)
        ),
    ];
    let (Some(gate), Some(judge)) = (calibrated.gate, calibrated.judge) else {
        lines.push(match lang {
            Lang::Vi => format!("  Quá ít để hiệu chỉnh: cần {MIN_QUESTIONS} câu mỗi loại."),
            Lang::En => format!("  Too few to calibrate: it takes {MIN_QUESTIONS} of each."),
        });
        return lines;
    };
    let JudgeCalibration { llm, retrieval, bias, refused_below } = judge;
    lines.push(format!(
        "  {}: {} {}, {} {}",
        lang.pick("với câu chưa thấy", "on questions not fitted to"),
        lang.pick("độ phủ", "recall"),
        share(gate.recall),
        lang.pick("từ chối nhầm", "false refusals"),
        share(gate.false_refusals)
    ));
    lines.push(format!(
        "  {}:\n  judge = {{ llm = {llm:.3}, retrieval = {retrieval:.3}, bias = {bias:.3}, refused_below = \
         {refused_below:.3} }}",
        lang.pick("cho mục của mô hình trong danh mục", "for the LLM's entry in the catalogue")
    ));
    lines
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
    let heads = [
        lang.pick("ngưỡng", "threshold"),
        lang.pick("độ chính xác", "precision"),
        lang.pick("độ phủ", "recall"),
        lang.pick("từ chối nhầm", "false refusals"),
    ];
    let outcome = |name: &str, Outcome { precision, recall, false_refusals }: Outcome| {
        let [precision, recall, wrong] = [precision, recall, false_refusals].map(share);
        format!("  {name:18} {precision:>14} {recall:>10} {wrong:>16}")
    };
    let (precision, recall, false_refusals) =
        (refusal.precision, refusal.recall, refusal.false_refusals);
    let in_use = lang.pick("đang dùng", "in use");
    let mut lines = vec![
        String::new(),
        counts + &auroc,
        format!("  {:18} {:>14} {:>10} {:>16}", heads[0], heads[1], heads[2], heads[3]),
        outcome(in_use, Outcome { precision, recall, false_refusals }),
    ];
    let gates = [
        (lang.pick("chặt", "strict gate"), refusal.strict),
        (lang.pick("thận trọng", "careful gate"), refusal.careful),
    ];
    for (name, gate) in gates {
        lines.extend(gate.map(|gate| outcome(name, gate)));
    }
    let step = refusal.curve.len().div_ceil(MAX_POINTS).max(1);
    lines.extend(refusal.curve.iter().step_by(step).map(|point| {
        let (precision, recall) = (share(point.precision), share(point.recall));
        format!("  {:<18.3} {precision:>14} {recall:>10}", point.threshold)
    }));
    lines
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
