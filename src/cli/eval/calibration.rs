//! What a calibration on these questions would bring or has brought, in words: as a part of the table,
//! and for the page.

use crate::cli::figures::share;
use crate::measure::eval::{
    Advice, Calibrated, FittedRelevance, FittedSituation, MIN_QUESTIONS, Outcome,
};
use crate::models::catalogue::{Calibration, JudgeCalibration, Logistic};
use crate::retrieval::Situation;
use crate::terminal::Lang;

/// What was noticed, and what to run.
pub fn advice(advice: &Advice, embedder: &str, lang: Lang) -> Vec<String> {
    let noticed = match (*advice, lang) {
        (Advice::Uncalibrated { .. }, Lang::Vi) => {
            format!("Chưa hiệu chỉnh mức liên quan cho {embedder}: không câu nào bị từ chối.")
        }
        (Advice::Uncalibrated { .. }, Lang::En) => {
            format!("Relevance is not calibrated for {embedder}: no question is refused.")
        }
        (Advice::RefusesTooMuch { false_refusals }, Lang::Vi) => format!(
            "Mức liên quan lệch với các câu này: ngưỡng chặt từ chối nhầm {} câu có lời đáp.",
            share(Some(false_refusals))
        ),
        (Advice::RefusesTooMuch { false_refusals }, Lang::En) => format!(
            "Relevance is off on these questions: the strict gate refuses {} of those with an answer.",
            share(Some(false_refusals))
        ),
        (Advice::LetsThrough { recall, possible }, Lang::Vi) => format!(
            "Mức liên quan lệch với các câu này: ngưỡng chặt chỉ từ chối {} câu không có lời đáp, ngưỡng khác được {}.",
            share(Some(recall)),
            share(Some(possible))
        ),
        (Advice::LetsThrough { recall, possible }, Lang::En) => format!(
            "Relevance is off on these questions: the strict gate refuses {} of those without an answer, another threshold {}.",
            share(Some(recall)),
            share(Some(possible))
        ),
    };
    vec![String::new(), noticed, format!("  {}", what_to_run(advice, lang))]
}

fn what_to_run(advice: &Advice, lang: Lang) -> String {
    match (*advice, lang) {
        (Advice::Uncalibrated { answerable, unanswerable }, _)
            if answerable.min(unanswerable) < MIN_QUESTIONS =>
        {
            match lang {
                Lang::Vi => format!(
                    "Để hiệu chỉnh cần {MIN_QUESTIONS} câu có lời đáp và {MIN_QUESTIONS} câu không có; ở đây là {answerable} và {unanswerable}. Sau đó chạy lại với `--calibrate`."
                ),
                Lang::En => format!(
                    "A calibration takes {MIN_QUESTIONS} questions with an answer and {MIN_QUESTIONS} without; here are {answerable} and {unanswerable}. Then run this again with `--calibrate`."
                ),
            }
        }
        (_, Lang::Vi) => "Chạy lại với `--calibrate` để hiệu chỉnh theo các câu này; kết quả là những dòng cho danh mục của riêng bạn (docs/eval.md).".to_owned(),
        (_, Lang::En) => "Run this again with `--calibrate` to fit it to them; it prints lines for a catalogue of your own (docs/eval.md).".to_owned(),
    }
}

/// What was fitted, and what belongs into the catalogue.
pub fn fitted(fitted: &FittedRelevance, lang: Lang) -> Vec<String> {
    let heads = [
        lang.pick("câu hỏi", "questions"),
        lang.pick("đang dùng", "in use"),
        lang.pick("hiệu chỉnh lại", "fitted"),
    ];
    let title = lang.pick(
        "Mức liên quan, theo các câu này (ngưỡng chặt: từ chối nhầm → độ phủ; hiệu chỉnh lại: trên các câu chưa thấy):",
        "Relevance, fitted to these questions (strict gate: false refusals → recall; fitted: on questions not fitted to):",
    );
    let mut lines = vec![
        String::new(),
        title.to_owned(),
        format!("  {:14} {:>12} {:>20} {:>20}", "", heads[0], heads[1], heads[2]),
    ];
    lines.extend(fitted.situations.iter().map(|situation| row(situation, lang)));
    let Some(calibration) = &fitted.calibration else {
        lines.push(match lang {
            Lang::Vi => {
                format!("  Quá ít để hiệu chỉnh: cần {MIN_QUESTIONS} câu mỗi loại trong một nhóm.")
            }
            Lang::En => {
                format!("  Too few to calibrate: it takes {MIN_QUESTIONS} of each in one group.")
            }
        });
        return lines;
    };
    lines.push(format!(
        "  {} [models.{}]:",
        lang.pick(
            "cho mục của mô hình nhúng trong danh mục",
            "for the embedder's entry in the catalogue"
        ),
        fitted.embedder
    ));
    lines.extend(entry(calibration).into_iter().map(|line| format!("  {line}")));
    lines
}

fn row(situation: &FittedSituation, lang: Lang) -> String {
    let FittedSituation { situation, answerable, unanswerable, now, fitted } = situation;
    let name = match situation {
        Situation::Within => lang.pick("cùng ngôn ngữ", "within"),
        Situation::Across => lang.pick("khác ngôn ngữ", "across"),
        Situation::Unmarked => lang.pick("không dấu", "unmarked"),
        Situation::WithoutLate => lang.pick("không xếp lại", "without late"),
    };
    let outcome = |outcome: &Option<Outcome>| {
        outcome.map_or_else(
            || "–".to_owned(),
            |it| format!("{} → {}", share(it.false_refusals), share(it.recall)),
        )
    };
    let questions = format!("{answerable} + {unanswerable}");
    format!("  {name:14} {questions:>12} {:>20} {:>20}", outcome(now), outcome(fitted))
}

/// The lines of the catalogue.
pub fn entry(calibration: &Calibration) -> Vec<String> {
    let Calibration { within, across, unmarked, without_late } = calibration;
    let named = [
        ("within", within),
        ("across", across),
        ("unmarked", unmarked),
        ("without_late", without_late),
    ];
    named.map(|(name, weights)| format!("relevance.{name} = {{ {} }}", weighed(weights))).into()
}

/// Weights that are not zero, and the thresholds.
fn weighed(weights: &Logistic) -> String {
    let Logistic { cosine, coverage, late, chunks, bias, strict, careful } = *weights;
    let named = [
        ("cosine", cosine),
        ("coverage", coverage),
        ("late", late),
        ("chunks", chunks),
        ("bias", bias),
    ];
    let some = named.into_iter().filter(|(_, weight)| *weight != 0.0);
    let mut parts: Vec<String> =
        some.map(|(name, weight)| format!("{name} = {weight:.3}")).collect();
    // Rounded down, so that what was just not refused is not.
    let down = |threshold: f32| (1e4 * threshold).floor() / 1e4;
    let thresholds = [("strict", strict), ("careful", careful)].into_iter();
    parts.extend(thresholds.map(|(name, threshold)| format!("{name} = {:.4}", down(threshold))));
    parts.join(", ")
}

/// What the LLM's own judgement is worth, and what belongs into the catalogue.
pub fn judged(calibrated: &Calibrated, lang: Lang) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_the_catalogue_are_read_again_as_they_were_fitted() {
        let within = Logistic {
            coverage: 2.94,
            late: 91.631,
            chunks: -0.5,
            bias: -72.82,
            strict: 0.498_76,
            careful: 0.06,
            ..Logistic::default()
        };
        let nothing = Logistic::default();
        let calibration =
            Calibration { within, across: nothing, unmarked: nothing, without_late: nothing };
        let lines = entry(&calibration).join("\n");
        let entry: toml::Table = lines.parse().unwrap();
        let read: Calibration = entry["relevance"].clone().try_into().unwrap();
        assert_eq!(read.within, Logistic { strict: 0.4987, ..within });
        assert_eq!(read.across, nothing, "refuses nothing");
    }

    #[test]
    fn advice_says_what_was_noticed_and_what_to_run() {
        let told = |of: Advice, lang| advice(&of, "BGE-M3", lang).join("\n");
        let few = Advice::Uncalibrated { answerable: 30, unanswerable: 3 };
        let text = told(few, Lang::En);
        for part in ["BGE-M3", "no question is refused", "here are 30 and 3", "`--calibrate`"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let enough = told(Advice::Uncalibrated { answerable: 30, unanswerable: 20 }, Lang::En);
        assert!(
            enough.contains("catalogue of your own") && !enough.contains("here are"),
            "{enough}"
        );
        let off = told(Advice::RefusesTooMuch { false_refusals: 0.25 }, Lang::En);
        assert!(off.contains("refuses 25.0 % of those with an answer"), "{off}");
        let vi = told(Advice::LetsThrough { recall: 0.1, possible: 0.9 }, Lang::Vi);
        assert!(
            vi.contains("10.0 %") && vi.contains("90.0 %") && vi.contains("--calibrate"),
            "{vi}"
        );
    }

    #[test]
    fn a_fit_is_shown_beside_what_is_in_use() {
        let outcome =
            |recall| Outcome { precision: None, recall: Some(recall), false_refusals: Some(0.025) };
        let of = |calibration| FittedRelevance {
            embedder: "bge-m3".to_owned(),
            situations: vec![FittedSituation {
                situation: Situation::Across,
                answerable: 40,
                unanswerable: 25,
                now: Some(outcome(0.5)),
                fitted: Some(outcome(0.75)),
            }],
            calibration,
        };
        let nothing = Logistic::default();
        let calibration = Calibration {
            within: nothing,
            across: nothing,
            unmarked: nothing,
            without_late: nothing,
        };
        let text = fitted(&of(Some(calibration)), Lang::En).join("\n");
        let row = "  across              40 + 25       2.5 % → 50.0 %       2.5 % → 75.0 %";
        assert!(
            text.contains(row) && text.contains("[models.bge-m3]:\n  relevance.within"),
            "{text}"
        );
        let few = fitted(&of(None), Lang::Vi).join("\n");
        assert!(few.contains("Quá ít để hiệu chỉnh: cần 20"), "{few}");
    }
}
