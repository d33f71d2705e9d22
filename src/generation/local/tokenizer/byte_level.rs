//! Byte-level BPE (Radford et al. 2019) from a GGUF file, around the tokenizers library's cut of text
//! into words. candle-core has such a function, but it knows neither `llama-bpe` nor `smollm` and
//! silently cuts their text as GPT-2 does.

use anyhow::{Context, Result, anyhow, bail};
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::normalizers::{NFC, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, Model, SplitDelimiterBehavior, TokenizerImpl};

use super::bpe::Bpe;
use super::vocabulary::{Kind, Vocabulary};
use super::{DAMAGED, Engine};

/// Llama 3's cut of text into words (tokenizer.json of meta-llama/Llama-3.1-8B); also Phi-4's.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen2's and Qwen3's (tokenizer.json of Qwen/Qwen3-8B): digits one by one.
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// GPT-4o's, which Phi-4-mini has (`o200k_base` of tiktoken).
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Mistral Nemo's and its successors' (`tekken.json` of mistral-common).
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The tokenizers library around one of its own models or ours.
pub type Around<M> =
    TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

impl<M: Model + Send + Sync> Engine for Around<M> {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.encode_fast(text, false);
        Ok(encoding.map_err(|error| anyhow!("cannot tokenize: {error}"))?.get_ids().to_vec())
    }

    fn decode(&self, ids: &[u32]) -> Result<String> {
        self.decode(ids, true).map_err(|error| anyhow!("cannot decode a token: {error}"))
    }

    fn token(&self, id: u32) -> Option<String> {
        self.id_to_token(id)
    }
}

/// The tokenizer that a GGUF file describes.
pub fn tokenizer(vocabulary: &Vocabulary) -> Result<Around<Bpe>> {
    let cut = vocabulary.cut()?;
    let pre_tokenizer = pre_tokenizer(cut)?;
    let merges = vocabulary.merges()?;
    let bpe = Bpe::new(vocabulary.tokens.clone(), merges, takes_whole_words(cut));
    let bpe = bpe.context(DAMAGED)?;
    let mut tokenizer = Around::new(bpe);
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
    // llama.cpp leaves this out; tokenizer.json has it.
    if cut == "qwen2" {
        let _ = tokenizer.with_normalizer(Some(NFC));
    }
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let added = |kind| {
        let special = kind == Kind::Special;
        let token = move |text: &str| AddedToken::from(text, special).normalized(false);
        vocabulary.of_kind(kind).map(move |(_, text)| token(&text))
    };
    tokenizer
        .add_tokens(added(Kind::Special).chain(added(Kind::Defined)))
        .map_err(|error| anyhow!("its special tokens: {error}"))?;
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

/// Whether a word that is a token is taken as it is, whatever the merges would make of it.
fn takes_whole_words(cut: &str) -> bool {
    is_llama_3(cut) || cut == "tekken"
}

fn is_llama_3(cut: &str) -> bool {
    matches!(cut, "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe")
}

/// How text is cut before the merges, by `tokenizer.ggml.pre`.
///
/// Source: `llm_tokenizer_bpe` in llama.cpp's `llama-vocab.cpp`, and the models' tokenizer.json.
fn pre_tokenizer(cut: &str) -> Result<PreTokenizerWrapper> {
    let pattern = match cut {
        _ if cut == "dbrx" || is_llama_3(cut) => Some(LLAMA_3),
        "qwen2" | "deepseek-r1-qwen" => Some(QWEN_2),
        "gpt-4o" => Some(GPT_4O),
        "tekken" => Some(TEKKEN),
        _ => None,
    };
    if let Some(pattern) = pattern {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        let words = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|error| anyhow!("the pattern of {cut} does not compile: {error}"))?;
        return Ok(
            Sequence::new(vec![words.into(), ByteLevel::new(false, true, false).into()]).into()
        );
    }
    match cut {
        "smollm" => Ok(Sequence::new(vec![
            Digits::new(true).into(),
            ByteLevel::new(false, true, true).into(),
        ])
        .into()),
        "default" | "gpt-2" => Ok(ByteLevel::new(false, true, true).into()),
        other => bail!(
            "the file's tokenizer cuts text by the rule {other:?}, which this program does not know \
             (it knows llama-bpe, qwen2, dbrx, gpt-4o, tekken, smollm and gpt-2)"
        ),
    }
}
