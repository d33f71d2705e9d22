//! The report of `rag-query bench` as a page to look at.

use anyhow::Result;
use serde::Serialize;

use super::Report;
use crate::cli::figures::{share, time};
use crate::cli::report;
use crate::cli::report::plot::{Labelled, Values};
use crate::terminal::Lang;

const TEMPLATE: &str = include_str!("report.jinja");

/// What the template writes: the report, and the plots of it that have rows.
#[derive(Serialize)]
struct Shown<'a> {
    report: &'a Report,
    plots: Vec<Values>,
}

pub fn page(report: &Report, lang: Lang) -> Result<String> {
    let plots = [
        (lang.pick("Một lần tìm, ms", "One search, ms"), search(report, lang)),
        (
            lang.pick("So với mức nhanh nhất của máy", "Share of the machine's peak"),
            shares(report, lang),
        ),
        (lang.pick("Nạp mô hình, ms", "Loading the models, ms"), loads(report)),
    ];
    let plots = plots.into_iter().filter(|(_, rows)| !rows.is_empty());
    let plots = plots.map(|(title, rows)| Values::bars(title, rows)).collect();
    report::page(TEMPLATE, lang, &Shown { report, plots })
}

fn bar(label: impl Into<String>, value: f64, words: String) -> Labelled {
    Labelled { label: label.into(), words, value, low: value, high: value }
}

fn search(report: &Report, lang: Lang) -> Vec<Labelled> {
    let Some(figures) = &report.search.figures else { return Vec::new() };
    let stages = [
        (lang.pick("nhúng câu hỏi", "embedding the question"), figures.embed_ms),
        (lang.pick("tìm kiếm", "searching"), figures.search_ms),
        (lang.pick("xếp hạng lại", "reranking"), figures.rerank_ms),
        (lang.pick("tất cả", "all"), figures.p50_ms),
    ];
    stages.into_iter().map(|(name, ms)| bar(name, ms, time(ms))).collect()
}

fn shares(report: &Report, lang: Lang) -> Vec<Labelled> {
    let passages = report.embedder.passages.iter().map(|passages| {
        let name = match lang {
            Lang::Vi => format!("nhúng đoạn {} token", passages.tokens),
            Lang::En => format!("embedding passages of {} tokens", passages.tokens),
        };
        (name, passages.share_of_peak)
    });
    let writing = report.llm.iter().filter_map(|llm| {
        let name = lang.pick("LLM viết (tốc độ bộ nhớ)", "LLM, writing (memory bandwidth)");
        Some((name.to_owned(), llm.share_of_memory?))
    });
    passages.chain(writing).map(|(name, value)| bar(name, value, share(Some(value)))).collect()
}

fn loads(report: &Report) -> Vec<Labelled> {
    let embedder = Some((&report.embedder.name, report.embedder.load_ms));
    let reranker = report.reranker.as_ref().and_then(|it| Some((&it.name, it.load_ms?)));
    let llm = report.llm.as_ref().map(|it| (&it.name, it.load_ms));
    let loaded = [embedder, reranker, llm].into_iter().flatten();
    loaded.map(|(name, ms)| bar(name, ms, time(ms))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::{
        EmbedderReport, LlmReport, Machine, PassagesReport, Problem, RerankerReport, SearchFigures,
        SearchReport,
    };
    use crate::models::catalogue::Precision;

    fn report() -> Report {
        let passages = PassagesReport {
            tokens: 61,
            passages_per_s: 612.4,
            gflops: 431.0,
            share_of_peak: 0.612,
        };
        let figures = SearchFigures {
            chunks: 88,
            questions: 21,
            p50_ms: 44.7,
            embed_ms: 3.21,
            search_ms: 0.55,
            rerank_ms: 40.9,
        };
        Report {
            version: "0.1.0",
            profile: "<script>alert(1)</script>".to_owned(),
            machine: Machine {
                cpu: "AVX2",
                threads: 2,
                peak_f32_gflops: 140.0,
                peak_int8_gflops: 704.0,
                memory_gb_per_s: 18.3,
            },
            embedder: EmbedderReport {
                name: "<img src=x>".to_owned(),
                precision: Precision::Int8,
                load_ms: 55.4,
                question_tokens: 12,
                question_ms: 2.9,
                passages: vec![passages],
            },
            reranker: Some(RerankerReport {
                name: "Tiny \"reranker\"".to_owned(),
                load_ms: Some(7.77),
                passages: 30,
                passage_tokens: 200,
                rerank_ms: 812.0,
            }),
            search: SearchReport {
                index: "index & notes".to_owned(),
                figures: Some(figures),
                problem: None,
            },
            llm: Some(LlmReport {
                name: "Llama".to_owned(),
                device: "cpu".to_owned(),
                load_ms: 2104.0,
                prompt_tokens: 256,
                prefill_tokens_per_s: 96.4,
                decode_tokens_per_s: Some(11.2),
                weights_bytes: Some(92_000_000),
                decode_gb_per_s: Some(13.4),
                share_of_memory: Some(0.73),
            }),
        }
    }

    #[test]
    fn the_page_has_every_figure_in_both_languages() {
        for (lang, words) in [(Lang::En, "Share of the machine"), (Lang::Vi, "Nạp mô hình")] {
            let html = page(&report(), lang).unwrap();
            report::assert_well_formed(&html);
            let html = html.replace("&#x2f;", "/");
            for part in [
                words,
                "AVX2",
                "140 GFLOP/s",
                "704 GOP/s",
                "18.3 GB/s",
                "55 ms",
                "2.90 ms",
                "612/s",
                "431 GOP/s",
                "61.2 %",
                "7.77 ms",
                "812 ms",
                "index &amp; notes",
                "45 ms",
                "3.21 ms",
                "0.55 ms",
                "41 ms",
                "2104 ms",
                "96.4 token/s",
                "11.2 token/s",
                "13.4 GB/s",
                "73.0 %",
                "&lt;img src",
            ] {
                assert!(html.contains(part), "{part}: {html}");
            }
        }
    }

    #[test]
    fn what_was_not_measured_is_told() {
        let mut report = report();
        let problem = Problem {
            error: "there is no index".to_owned(),
            hint: Some("index <NOTES>".to_owned()),
        };
        report.search =
            SearchReport { index: "x".to_owned(), figures: None, problem: Some(problem) };
        report.reranker = None;
        report.llm = None;
        let html = page(&report, Lang::En).unwrap();
        report::assert_well_formed(&html);
        for part in ["there is no index", "index &lt;NOTES&gt;", "add --with-llm"] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
