//! The real models of the demo profile, and tiny encoders of every supported kind, against
//! transformers. The scripts in `tests/goldens/` made the numbers.
//!
//! The real models come from `models/prepare-demo`; the test command prepares them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use rag_query::internals::embedding::encoder::{
    Encoder, EncoderCheckpoint, EncoderConfig, Sequence, TextTokenizer,
};
use rag_query::internals::embedding::{Embedder, Tokens, normalize};
use rag_query::internals::generation::local::placement::DeviceChoice;
use rag_query::internals::generation::local::tokenizer::Piece;
use rag_query::internals::generation::local::{Llm, LlmFiles, SamplingOptions, Stop};
use rag_query::internals::models::Catalogue;
use rag_query::internals::models::catalogue::{EmbedderSpec, Pooling, Precision};
use rag_query::internals::retrieval::rerank::CrossEncoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&fs::read(goldens().join(name)).unwrap()).unwrap()
}

/// A prepared model's folder.
fn prepared(folder: &str) -> PathBuf {
    let models = std::env::var_os("RAG_QUERY_MODELS").map_or_else(
        || dirs::data_dir().expect("a data folder").join("rag-query/models"),
        PathBuf::from,
    );
    let folder = models.join(folder);
    assert!(folder.is_dir(), "{} is missing: run models/prepare-demo", folder.display());
    folder
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn load_embedder(folder: &Path, spec: EmbedderSpec) -> Embedder {
    let file = |name| folder.join(name);
    Embedder::load(&file("config.json"), &file("tokenizer.json"), &file("model.safetensors"), spec)
        .unwrap()
}

static E5: LazyLock<Embedder> = LazyLock::new(|| {
    let catalogue = Catalogue::load(None).unwrap();
    let entry = catalogue.model("multilingual-e5-small-q4_0").unwrap();
    // The reference does not know about directions that are taken out of vectors afterwards.
    let spec = EmbedderSpec { language_directions: None, ..entry.embedder().unwrap().clone() };
    load_embedder(&prepared("multilingual-e5-small-q4_0"), spec)
});

#[derive(Deserialize)]
struct EmbedderGolden {
    cases: Vec<EmbedderCase>,
}

#[derive(Deserialize)]
struct EmbedderCase {
    prefix: String,
    text: String,
    vector: Vec<f32>,
}

#[test]
fn e5_equals_transformers() {
    let golden: EmbedderGolden = read("embedder.json");
    assert_eq!(golden.cases.len(), 20);
    for case in &golden.cases {
        let embedding = match case.prefix.as_str() {
            "query: " => E5.embed_query(&case.text, Tokens::Dropped).unwrap(),
            "passage: " => E5.embed_passages(&[&case.text], Tokens::Dropped).unwrap().remove(0),
            other => panic!("unknown prefix {other:?}"),
        };
        let cosine = cosine(&embedding.vector, &case.vector);
        println!("{cosine:.6}  {}", case.text.chars().take(40).collect::<String>());
        assert!(cosine >= 0.999, "{cosine} for {:?}", case.text);
    }
}

#[test]
fn a_batch_equals_its_texts_one_by_one() {
    let golden: EmbedderGolden = read("embedder.json");
    let texts: Vec<&str> = golden.cases.iter().map(|case| case.text.as_str()).collect();
    let batch = E5.embed_passages(&texts, Tokens::Kept).unwrap();
    for (text, in_batch) in texts.iter().zip(&batch) {
        let alone = E5.embed_passages(&[text], Tokens::Kept).unwrap().remove(0);
        assert!(cosine(&alone.vector, &in_batch.vector) > 0.99999, "{text}");
        assert_eq!(alone.tokens.len(), in_batch.tokens.len());
        for (a, b) in alone.tokens.iter().zip(&in_batch.tokens) {
            assert_eq!(a.span, b.span);
            assert!(cosine(&a.vector, &b.vector) > 0.9999);
        }
    }
}

#[test]
fn token_vectors_belong_to_their_text() {
    let text = "Học máy là gì?";
    let embedding = E5.embed_query(text, Tokens::Kept).unwrap();
    let covered: String = embedding.tokens.iter().map(|token| &text[token.span.clone()]).collect();
    // Punctuation has no vector of its own.
    assert_eq!(covered.replace(' ', ""), "Họcmáylàgì");
}

#[test]
fn what_looks_like_a_special_token_is_text() {
    assert!(E5.count_tokens("</s>") > 1);
    assert!(E5.count_tokens("<mask>") > 1);
}

#[test]
fn long_questions_are_cut_and_long_passages_are_errors() {
    let long = "học máy ".repeat(2000);
    E5.embed_query(&long, Tokens::Kept).unwrap();
    let error = E5.embed_passages(&[&long], Tokens::Dropped).unwrap_err().to_string();
    assert!(error.contains("window"), "{error}");
}

#[derive(Deserialize)]
struct EncoderGolden {
    #[serde(rename = "tiny-xlm-roberta")]
    embedder: Vec<TextCase>,
    #[serde(rename = "tiny-xlm-roberta-classifier")]
    xlm_roberta: Vec<PairCase>,
    #[serde(rename = "tiny-bert-classifier")]
    bert: Vec<PairCase>,
    #[serde(rename = "tiny-modernbert")]
    modern: Vec<ModernCase>,
    #[serde(rename = "tiny-modernbert-silu")]
    modern_silu: Vec<ModernCase>,
}

#[derive(Deserialize)]
struct TextCase {
    text: String,
    vector: Vec<f32>,
}

#[derive(Deserialize)]
struct PairCase {
    question: String,
    passage: String,
    logit: f32,
}

/// Unit vectors of a text.
#[derive(Deserialize)]
struct ModernCase {
    /// Not of random ids.
    text: Option<String>,
    ids: Vec<u32>,
    mean: Vec<f32>,
    first: Vec<f32>,
    last: Vec<f32>,
}

/// An embedder like BGE-M3: XLM-RoBERTa, first token, no prefixes.
#[test]
fn xlm_roberta_with_cls_pooling_equals_transformers() {
    let golden: EncoderGolden = read("encoders.json");
    let dimension = golden.embedder[0].vector.len();
    let spec = EmbedderSpec {
        pooling: Pooling::Cls,
        query_prefix: String::new(),
        passage_prefix: String::new(),
        max_tokens: 254,
        chunk_tokens: None,
        dimension,
        relevance: None,
        support: None,
        precision: Precision::F32,
        language_directions: None,
        token_books: None,
    };
    let embedder = load_embedder(&goldens().join("tiny-xlm-roberta"), spec);
    let texts: Vec<&str> = golden.embedder.iter().map(|case| case.text.as_str()).collect();
    let batch = embedder.embed_passages(&texts, Tokens::Dropped).unwrap();
    for (case, embedding) in golden.embedder.iter().zip(&batch) {
        assert!(cosine(&embedding.vector, &case.vector) > 0.9999, "{}", case.text);
    }
}

#[test]
fn cross_encoders_equal_transformers() {
    let golden: EncoderGolden = read("encoders.json");
    for (folder, cases) in [
        ("tiny-xlm-roberta-classifier", &golden.xlm_roberta),
        ("tiny-bert-classifier", &golden.bert),
    ] {
        check_cross_encoder(&goldens().join(folder), cases, 254);
    }
}

/// With both activations, without and with biases, and from both forms of the configuration; texts
/// shorter and much longer than the window of local attention.
#[test]
fn modern_berts_equal_transformers() {
    let golden: EncoderGolden = read("encoders.json");
    for (folder, cases) in
        [("tiny-modernbert", &golden.modern), ("tiny-modernbert-silu", &golden.modern_silu)]
    {
        let folder = goldens().join(folder);
        assert!(cases.iter().any(|case| case.ids.len() > 200));
        let errors = modern_errors(&folder, cases, Precision::F32);
        assert!(errors.largest < 5e-5, "{}: {errors:?}", folder.display());
    }
}

/// How far unit vectors are off.
#[derive(Debug)]
struct Errors {
    /// Of any value.
    largest: f32,
    /// The lowest of any vector.
    cosine: f32,
}

/// Of texts one by one and in one batch.
fn modern_errors(folder: &Path, cases: &[ModernCase], precision: Precision) -> Errors {
    let config = EncoderConfig::read(&folder.join("config.json")).unwrap();
    let tensors = EncoderCheckpoint::open(&folder.join("model.safetensors")).unwrap();
    let encoder = Encoder::load(&config, &tensors, precision).unwrap();
    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json")).unwrap();
    let read = |case: &ModernCase| {
        let text = case.text.as_ref().map(|text| Sequence::from(&tokenizer.encode(text).unwrap()));
        text.unwrap_or_else(|| Sequence { ids: case.ids.clone(), types: vec![0; case.ids.len()] })
    };
    let texts: Vec<Sequence> = cases.iter().map(read).collect();
    let together = encoder.forward(&texts.iter().collect::<Vec<_>>());
    let mut errors = Errors { largest: 0.0, cosine: 1.0 };
    for (i, (case, text)) in cases.iter().zip(&texts).enumerate() {
        assert_eq!(text.ids, case.ids, "{:?}", case.text);
        let alone = encoder.forward(&[text]);
        for rows in [alone.rows(0).collect::<Vec<_>>(), together.rows(i).collect()] {
            let mut mean = vec![0f32; config.hidden];
            for row in &rows {
                mean.iter_mut().zip(*row).for_each(|(sum, value)| *sum += value);
            }
            let (first, last) = (rows[0].to_vec(), rows[rows.len() - 1].to_vec());
            for (mut found, expected) in
                [(mean, &case.mean), (first, &case.first), (last, &case.last)]
            {
                normalize(&mut found);
                errors.cosine = errors.cosine.min(cosine(&found, expected));
                let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
                errors.largest = off.fold(errors.largest, f32::max);
            }
        }
    }
    println!("{} in {precision:?}: {errors:?}", folder.display());
    errors
}

/// 13 layers, 384 wide, like bekko-embedding-v1-a25m, on up to 8,192 tokens. `tests/goldens/encoders.py
/// --real-shape DIR` makes the random weights, which are too large to commit.
#[test]
#[ignore = "needs RAG_QUERY_REAL_SHAPE, a folder made by encoders.py --real-shape"]
fn a_modern_bert_of_the_real_shape_equals_transformers() {
    #[derive(Deserialize)]
    struct Golden {
        modernbert: Vec<ModernCase>,
    }
    let dir =
        PathBuf::from(std::env::var_os("RAG_QUERY_REAL_SHAPE").expect("RAG_QUERY_REAL_SHAPE"));
    let golden: Golden =
        serde_json::from_slice(&fs::read(dir.join("golden.json")).unwrap()).unwrap();
    let errors = modern_errors(&dir.join("modernbert"), &golden.modernbert, Precision::F32);
    assert!(errors.cosine > 0.9999, "{errors:?}");
    modern_errors(&dir.join("modernbert"), &golden.modernbert, Precision::Int8);
}

/// mmBERT has the vocabulary of Gemma 2. `tests/goldens/gemma2_tokenizer.py FOLDER` fetches it; it is too
/// large to commit.
#[test]
#[ignore = "needs RAG_QUERY_GEMMA2, a folder made by gemma2_tokenizer.py"]
fn a_real_vocabulary_of_256_000_tokens_equals_its_reference() {
    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<TokenizedText>,
    }
    let folder = PathBuf::from(std::env::var_os("RAG_QUERY_GEMMA2").expect("RAG_QUERY_GEMMA2"));
    let golden: Golden =
        serde_json::from_slice(&fs::read(folder.join("golden.json")).unwrap()).unwrap();
    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer.vocabulary(), 256_000);
    assert!(golden.cases.len() > 1000);
    for TokenizedText { text, ids } in &golden.cases {
        let encoding = tokenizer.encode(text).unwrap();
        assert_eq!(encoding.get_ids(), ids, "{text:?}");
        assert_eq!(tokenizer.count(text) + 2, ids.len(), "{text:?}");
    }
}

/// 12 layers, 384 wide, like the default profile's reranker. `tests/goldens/encoders.py --real-shape
/// DIR` makes the random weights, which are too large to commit.
#[test]
#[ignore = "needs RAG_QUERY_REAL_SHAPE, a folder made by encoders.py --real-shape"]
fn a_cross_encoder_of_the_real_shape_equals_transformers() {
    #[derive(Deserialize)]
    struct Golden {
        #[serde(rename = "xlm-roberta-classifier")]
        cases: Vec<PairCase>,
    }
    let dir =
        PathBuf::from(std::env::var_os("RAG_QUERY_REAL_SHAPE").expect("RAG_QUERY_REAL_SHAPE"));
    let golden: Golden =
        serde_json::from_slice(&fs::read(dir.join("golden.json")).unwrap()).unwrap();
    check_cross_encoder(&dir.join("xlm-roberta-classifier"), &golden.cases, 512);
}

fn check_cross_encoder(folder: &Path, cases: &[PairCase], max_tokens: usize) {
    let file = |name| folder.join(name);
    let model = CrossEncoder::load(
        &file("config.json"),
        &file("tokenizer.json"),
        &file("model.safetensors"),
        max_tokens,
        Precision::F32,
    )
    .unwrap();
    let mut questions: Vec<&str> = cases.iter().map(|case| case.question.as_str()).collect();
    questions.dedup();
    for case in cases {
        let score = model.score(&case.question, &[&case.passage]).unwrap()[0];
        println!("{}: {score:.6}, transformers {:.6}", folder.display(), case.logit);
        assert!(
            (score - case.logit).abs() < 1e-3,
            "{score} instead of {} for {:?}",
            case.logit,
            case.question
        );
    }
    // All passages in one padded batch.
    let passages: Vec<&str> = cases.iter().map(|case| case.passage.as_str()).collect();
    for question in questions {
        let scores = model.score(question, &passages).unwrap();
        for (case, score) in cases.iter().zip(scores).filter(|(case, _)| case.question == question)
        {
            assert!((score - case.logit).abs() < 1e-3, "{score} in a batch for {:?}", case.passage);
        }
    }
}

#[derive(Deserialize)]
struct SmolGolden {
    texts: Vec<TokenizedText>,
    messages: Vec<Message>,
    prompt_ids: Vec<u32>,
    greedy: Vec<u32>,
    greedy_text: String,
}

#[derive(Deserialize)]
struct TokenizedText {
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

#[test]
fn smollm2_writes_what_it_writes_in_transformers() {
    let golden: SmolGolden = read("smollm2.json");
    let file = prepared("smollm2-135m-instruct").join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let llm = Llm::load(&LlmFiles::Gguf(file), DeviceChoice::Cpu, 512).unwrap();
    assert_eq!(llm.placed().device, "cpu");
    for TokenizedText { text, ids } in &golden.texts {
        assert_eq!(&llm.tokenizer().encode(&[Piece::Text(text.clone())]).unwrap(), ids, "{text:?}");
    }
    let [system, user] = &golden.messages[..] else { panic!("two messages") };
    let prompt = llm.encode_chat(&system.content, &user.content).unwrap();
    assert_eq!(prompt, golden.prompt_ids);
    let options =
        SamplingOptions { max_tokens: 64, repeat_penalty: 1.0, ..SamplingOptions::default() };
    let mut streamed = String::new();
    let generation = llm
        .generate(&prompt, &options, &AtomicBool::new(false), &mut |text| streamed.push_str(text))
        .unwrap();
    let expected = golden.greedy_text.trim_end_matches("<|im_end|>");
    assert_eq!(generation.text, expected);
    assert_eq!(streamed, expected);
    assert_eq!(generation.tokens, golden.greedy[..golden.greedy.len() - 1]);
}

#[derive(Deserialize)]
struct VsLlamaCpp {
    smollm2: Conversation,
}

#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Message>,
    prompt_ids: Vec<u32>,
    greedy: Vec<u32>,
}

#[test]
fn smollm2_writes_what_it_writes_in_llama_cpp() {
    let VsLlamaCpp { smollm2: golden } = read("vs_llama_cpp.json");
    let file = prepared("smollm2-135m-instruct").join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let llm = Llm::load(&LlmFiles::Gguf(file), DeviceChoice::Cpu, 512).unwrap();
    let [system, user] = &golden.messages[..] else { panic!("two messages") };
    let prompt = llm.encode_chat(&system.content, &user.content).unwrap();
    assert_eq!(prompt, golden.prompt_ids);
    // 64 steps, of which the last ends the turn.
    assert_eq!(golden.greedy.len(), 64);
    let options = SamplingOptions { repeat_penalty: 1.0, ..SamplingOptions::default() };
    for _ in 0..2 {
        let generation =
            llm.generate(&prompt, &options, &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert_eq!(generation.tokens, golden.greedy[..63]);
        assert_eq!(generation.stop, Stop::EndOfText);
    }
}
