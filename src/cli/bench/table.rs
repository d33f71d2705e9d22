//! The report of `rag-query bench` as text, in both languages.

use super::{EmbedderReport, LlmReport, Report, RerankerReport, SearchReport};
use crate::cli::figures::time;
use crate::models::catalogue::Precision;
use crate::terminal::Lang;

/// Width of the labels, in columns.
const LABEL: usize = 30;

pub fn text(report: &Report, lang: Lang) -> String {
    let machine = &report.machine;
    let threads = lang.pick("luồng", "threads");
    let mut lines = vec![
        format!(
            "rag-query {}, {} {}",
            report.version,
            lang.pick("cấu hình", "profile"),
            report.profile
        ),
        format!(
            "{}: {} {threads}, {} {}",
            lang.pick("Bộ xử lý", "Processor"),
            machine.threads,
            lang.pick("lệnh", "instructions"),
            machine.cpu
        ),
        row(
            lang.pick("nhanh nhất, f32", "peak f32"),
            &rate(machine.peak_f32_gflops, Precision::F32),
        ),
        row(
            lang.pick("nhanh nhất, int8", "peak int8"),
            &rate(machine.peak_int8_gflops, Precision::Int8),
        ),
        row(
            lang.pick("đọc bộ nhớ", "memory read bandwidth"),
            &format!("{:.1} GB/s", machine.memory_gb_per_s),
        ),
    ];
    lines.extend(embedder(&report.embedder, lang));
    lines.extend(report.reranker.iter().flat_map(|reranker| self::reranker(reranker, lang)));
    lines.extend(search(&report.search, lang));
    lines.extend(match &report.llm {
        Some(llm) => self::llm(llm, lang),
        None => vec![
            lang.pick("LLM: không đo; thêm --with-llm để đo", "LLM: not measured; add --with-llm")
                .to_owned(),
        ],
    });
    lines.join("\n") + "\n"
}

fn embedder(report: &EmbedderReport, lang: Lang) -> Vec<String> {
    let precision = format!("{:?}", report.precision).to_lowercase();
    let mut lines = vec![
        format!("{}: {} ({precision})", lang.pick("Embedding", "Embedder"), report.name),
        row(loading(lang), &time(report.load_ms)),
        row(
            &format!(
                "{} {} token{}",
                lang.pick("câu hỏi", "question of"),
                report.question_tokens,
                lang.pick("", "s")
            ),
            &time(report.question_ms),
        ),
    ];
    lines.extend(report.passages.iter().map(|passages| {
        let what = match lang {
            Lang::Vi => format!("đoạn {} token", passages.tokens),
            Lang::En => format!("passages of {} tokens", passages.tokens),
        };
        let value = format!(
            "{:.0}/s, {}, {} {}",
            passages.passages_per_s,
            rate(passages.gflops, report.precision),
            percent(passages.share_of_peak),
            lang.pick("mức nhanh nhất", "of the peak")
        );
        row(&what, &value)
    }));
    lines
}

fn reranker(report: &RerankerReport, lang: Lang) -> Vec<String> {
    let RerankerReport { passages, passage_tokens, .. } = report;
    let what = match lang {
        Lang::Vi => format!("{passages} đoạn {passage_tokens} token"),
        Lang::En => format!("{passages} passages of {passage_tokens} tokens"),
    };
    let mut lines = vec![format!("{}: {}", lang.pick("Xếp hạng lại", "Reranker"), report.name)];
    lines.extend(report.load_ms.map(|load| row(loading(lang), &time(load))));
    lines.push(row(&what, &time(report.rerank_ms)));
    lines
}

fn search(report: &SearchReport, lang: Lang) -> Vec<String> {
    let name = lang.pick("Tìm kiếm", "Search");
    if let Some(figures) = &report.figures {
        let chunks = lang.pick("đoạn", "chunks");
        let what = match lang {
            Lang::Vi => format!("trung vị của {} câu hỏi", figures.questions),
            Lang::En => format!("median of {} questions", figures.questions),
        };
        return vec![
            format!("{name}: {}, {} {chunks}", report.index, figures.chunks),
            row(&what, &time(figures.p50_ms)),
            row(lang.pick("  embedding", "  embedding"), &time(figures.embed_ms)),
            row(lang.pick("  tìm", "  searching"), &time(figures.search_ms)),
            row(lang.pick("  xếp hạng lại", "  reranking"), &time(figures.rerank_ms)),
        ];
    }
    let problem = report.problem.iter().flat_map(|problem| {
        let hint = problem.hint.iter().map(|hint| format!("  hint: {hint}"));
        [format!("  {}", problem.error)].into_iter().chain(hint)
    });
    let none = format!("{name}: {}", lang.pick("không đo", "not measured"));
    [none].into_iter().chain(problem).collect()
}

fn llm(report: &LlmReport, lang: Lang) -> Vec<String> {
    let speed = |tokens: f64| format!("{tokens:.1} token/s");
    let mut lines = vec![
        format!("LLM: {} ({})", report.name, report.device),
        row(lang.pick("nạp", "loading"), &time(report.load_ms)),
        row(
            &format!("{} {} token", lang.pick("đọc", "reading"), report.prompt_tokens),
            &speed(report.prefill_tokens_per_s),
        ),
    ];
    lines.extend(report.decode_tokens_per_s.map(|tokens| {
        let bytes = report.decode_gb_per_s.map(|bytes| format!(", {bytes:.1} GB/s"));
        let share = report.share_of_memory.map(|share| {
            format!(", {} {}", percent(share), lang.pick("tốc độ bộ nhớ", "of memory bandwidth"))
        });
        let value = speed(tokens) + &bytes.unwrap_or_default() + &share.unwrap_or_default();
        row(lang.pick("viết", "writing"), &value)
    }));
    lines
}

fn row(label: &str, value: &str) -> String {
    format!("  {label:LABEL$} {value}")
}

fn loading(lang: Lang) -> &'static str {
    lang.pick("nạp (tệp đã trong bộ nhớ)", "loading (files cached)")
}

fn rate(operations: f64, precision: Precision) -> String {
    let unit = match precision {
        Precision::F32 => "GFLOP/s",
        Precision::Int8 => "GOP/s",
    };
    format!("{operations:.0} {unit}")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}
