//! How often an LLM's rewriting of a follow-up is used, and how often it is right, on follow-ups
//! about the sample notes. Right is what names the thing that the follow-up left out; people may
//! read the rest.
//!
//! ```text
//! cargo bench --bench rewriting -- FILE.gguf
//! cargo bench --bench rewriting -- openai:http://HOST:PORT/v1#MODEL
//! cargo bench --bench rewriting -- --count questions.jsonl
//! ```
//!
//! `--count` needs no LLM: it lists the questions of a file, as `rag-query eval` reads it, that are
//! taken for follow-ups.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rag_query::internals::answer::conversation::{
    Dialogue, Rewriter, RewrittenQuery, is_follow_up,
};
use rag_query::internals::answer::{Event, RewriteTemplate};
use rag_query::internals::generation::Generator;
use rag_query::internals::generation::local::placement::DeviceChoice;
use rag_query::internals::generation::local::{Llm, LlmFiles};
use rag_query::internals::generation::remote::{Endpoint, Key, Pool};
use rag_query::internals::support::tls;

/// Tokens that prompt and question may have together.
const CONTEXT: usize = 4096;

#[derive(Parser)]
struct Args {
    /// A GGUF file, a Hugging Face folder, or servers, as in `--llm`
    #[arg(required_unless_present = "count")]
    llm: Option<String>,
    /// A file of questions
    #[arg(long, conflicts_with = "llm")]
    count: Option<PathBuf>,
    /// Where a file runs
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// `cargo bench` says this
    #[arg(long, hide = true)]
    bench: bool,
}

/// A question, its answer, a follow-up, and what a right rewriting of it names.
type Case = (&'static str, &'static str, &'static str, &'static str);

const ENGLISH: [Case; 12] = [
    (
        "What is tokenization?",
        "It splits a text into smaller units, the tokens. [1]",
        "Why is it needed?",
        "tokenization",
    ),
    (
        "What is byte pair encoding?",
        "It merges the most frequent pair of symbols again and again. [1]",
        "and its drawbacks?",
        "byte pair encoding",
    ),
    (
        "Who introduced word2vec?",
        "Tomas Mikolov and colleagues, in 2013. [2]",
        "How does it work?",
        "word2vec",
    ),
    (
        "What is the transformer architecture?",
        "A neural network that is built on self-attention. [1]",
        "Who invented it?",
        "transformer",
    ),
    (
        "What is BERT?",
        "A transformer encoder that reads a sentence in both directions. [1]",
        "What about GPT?",
        "gpt",
    ),
    (
        "What is a reranker?",
        "A model that looks at question and passage together. [3]",
        "How expensive is it?",
        "reranker",
    ),
    ("What is BM25?", "A lexical ranking function. [1]", "When does it fail?", "bm25"),
    (
        "What is retrieval-augmented generation?",
        "An LLM answers from passages that were found before. [1]",
        "What are its limits?",
        "retrieval-augmented generation",
    ),
    (
        "What are hallucinations of a language model?",
        "Statements that sound right and are invented. [2]",
        "How are they reduced?",
        "hallucinations",
    ),
    (
        "What is quantization?",
        "Storing weights with fewer bits. [1]",
        "Does it hurt quality?",
        "quantization",
    ),
    (
        "What does BLEU measure?",
        "The overlap of n-grams with a reference. [1]",
        "And ROUGE?",
        "rouge",
    ),
    (
        "What is named entity recognition?",
        "It finds names of people, places and organizations. [1]",
        "Where is it used?",
        "named entity recognition",
    ),
];

const VIETNAMESE: [Case; 12] = [
    (
        "Transformer là gì?",
        "Kiến trúc mạng nơ-ron dựa trên cơ chế chú ý. [1]",
        "còn nhược điểm?",
        "transformer",
    ),
    (
        "Tách từ tiếng Việt là gì?",
        "Là xác định ranh giới của từ trong câu. [1]",
        "Vì sao cần nó?",
        "tách từ",
    ),
    ("BM25 là gì?", "Hàm xếp hạng theo từ khóa. [1]", "Nó hoạt động thế nào?", "bm25"),
    ("BERT là gì?", "Mô hình mã hóa đọc câu theo cả hai chiều. [1]", "Thế còn GPT?", "gpt"),
    (
        "Ai giới thiệu word2vec?",
        "Tomas Mikolov và cộng sự, năm 2013. [1]",
        "Nó dùng để làm gì?",
        "word2vec",
    ),
    (
        "Ảo giác của mô hình ngôn ngữ là gì?",
        "Là thông tin bịa ra nhưng nghe hợp lý. [2]",
        "Giảm nó bằng cách nào?",
        "ảo giác",
    ),
    (
        "RAG là gì?",
        "Mô hình trả lời dựa trên các đoạn tìm được. [1]",
        "Ưu điểm của nó là gì?",
        "rag",
    ),
    (
        "Dịch máy là gì?",
        "Dịch văn bản tự động từ ngôn ngữ này sang ngôn ngữ khác. [1]",
        "còn lịch sử?",
        "dịch máy",
    ),
    (
        "Mã hóa cặp byte (BPE) là gì?",
        "Là cách gộp dần cặp ký hiệu hay gặp nhất. [1]",
        "Ai đề xuất nó?",
        "bpe",
    ),
    (
        "Chuẩn hóa Unicode là gì?",
        "Đưa văn bản về một dạng duy nhất như NFC. [1]",
        "Tại sao?",
        "chuẩn hóa unicode",
    ),
    (
        "TF-IDF là gì?",
        "Trọng số của từ theo tần suất và độ hiếm. [1]",
        "Cách này có nhược điểm gì?",
        "tf-idf",
    ),
    (
        "Nhận dạng thực thể có tên là gì?",
        "Tìm tên người, địa danh và tổ chức trong văn bản. [1]",
        "Ví dụ?",
        "nhận dạng thực thể",
    ),
];

fn main() -> Result<()> {
    let Args { llm, count, device, .. } = Args::parse();
    if let Some(questions) = count {
        return count_follow_ups(&questions);
    }
    let name = llm.context("no LLM")?;
    if Endpoint::is_meant(&name) {
        let servers = Endpoint::parse_list(&name)?;
        let pool = Pool::new(servers, Key::from_env()?, tls::roots()?, Duration::from_mins(2))?;
        return report(Generator::Remote { pool: &pool, context: CONTEXT, rounds: 1 });
    }
    let llm = Llm::load(&LlmFiles::at(Path::new(&name))?, device, CONTEXT)?;
    report(Generator::Local { llm: &llm, name: &name })
}

fn count_follow_ups(path: &Path) -> Result<()> {
    let (mut all, mut taken) = (0, 0);
    for line in std::fs::read_to_string(path)?.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let question = line["question"].as_str().context("a line without a question")?;
        all += 1;
        if is_follow_up(question) {
            taken += 1;
            eprintln!("{question}");
        }
    }
    println!("{taken} of {all} questions are taken for follow-ups");
    Ok(())
}

fn report(generator: Generator) -> Result<()> {
    for (language, cases) in [("English", &ENGLISH), ("Vietnamese", &VIETNAMESE)] {
        let (used, right) = try_all(cases, generator)?;
        println!("{language}: {used} of {} rewritings used, {right} right", cases.len());
    }
    Ok(())
}

/// How many rewritings are used, and how many of these are right.
fn try_all(cases: &[Case], generator: Generator) -> Result<(usize, usize)> {
    let template = RewriteTemplate::default();
    let (mut used, mut right) = (0, 0);
    for (question, answer, follow_up, names) in cases {
        let mut dialogue = Dialogue::default();
        dialogue.remember(question, &RewrittenQuery::AsAsked, answer);
        let rewriter = |_: &mut dyn FnMut(Event)| Some(Rewriter { generator, template: &template });
        let mut failure = None;
        let query =
            dialogue.understand(follow_up, rewriter, &AtomicBool::new(false), &mut |event| {
                if let Event::NotRewritten { error } = event {
                    failure = Some(error.into_owned());
                }
            });
        if let Some(failure) = failure {
            bail!("{failure}");
        }
        ensure!(query != RewrittenQuery::AsAsked, "{follow_up} is not taken for a follow-up");
        if let RewrittenQuery::ByLlm(text) = &query {
            used += 1;
            right += usize::from(text.to_lowercase().contains(names));
        }
        eprintln!("{question} {follow_up} → {query:?}");
    }
    Ok((used, right))
}
