//! How often an LLM's rewriting is used, and how often it is right, on follow-ups about the sample
//! notes. Right is what names the thing that the follow-up left out; people may read the rest.
//!
//! ```text
//! RAG_QUERY_LLM=FILE.gguf cargo test --release --lib -- --ignored --nocapture trial
//! RAG_QUERY_LLM=openai:http://HOST:PORT/v1#MODEL cargo test --release --lib -- --ignored …
//! ```

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Dialogue, RewriteTemplate, Rewriter, Standalone};
use crate::generation::Generator;
use crate::generation::local::placement::DeviceChoice;
use crate::generation::local::{Llm, LlmFiles};
use crate::generation::remote::{Endpoint, Key, Pool};
use crate::support::tls;

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

fn try_all(cases: &[Case], generator: Generator) -> (usize, usize) {
    let template = RewriteTemplate::default();
    let rewriter = Some(Rewriter { generator, template: &template });
    let (mut used, mut right) = (0, 0);
    for (question, answer, follow_up, names) in cases {
        let mut dialogue = Dialogue::default();
        dialogue.remember(question, &Standalone::AsAsked, answer);
        let understood =
            dialogue.standalone(follow_up, rewriter, &AtomicBool::new(false), &mut |trouble| {
                panic!("{trouble:?}")
            });
        assert_ne!(understood, Standalone::AsAsked, "{follow_up} is a follow-up");
        if let Standalone::Rewritten(text) = &understood {
            used += 1;
            right += usize::from(text.to_lowercase().contains(names));
        }
        eprintln!("{question} {follow_up} → {understood:?}");
    }
    (used, right)
}

#[test]
#[ignore = "needs an LLM that follows instructions, in RAG_QUERY_LLM"]
fn trial() {
    let name = std::env::var("RAG_QUERY_LLM").unwrap();
    let (pool, llm);
    let generator = if Endpoint::is_meant(&name) {
        let servers = Endpoint::parse_list(&name).unwrap();
        pool = Pool::new(
            servers,
            Key::from_env().unwrap(),
            tls::roots().unwrap(),
            Duration::from_mins(2),
        )
        .unwrap();
        Generator::Remote { pool: &pool, context: 4096, rounds: 1 }
    } else {
        let files = LlmFiles::at(Path::new(&name)).unwrap();
        let device =
            if cfg!(feature = "cuda") { DeviceChoice::Cuda(None) } else { DeviceChoice::Cpu };
        llm = Llm::load(&files, device, 4096).unwrap();
        Generator::Local { llm: &llm, name: &name }
    };
    for (language, cases) in [("English", &ENGLISH), ("Vietnamese", &VIETNAMESE)] {
        let (used, right) = try_all(cases, generator);
        eprintln!("{language}: {used} of {} rewritings used, {right} right", cases.len());
    }
}
