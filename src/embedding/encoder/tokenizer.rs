//! Text → token ids, for the encoders.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use anyhow::{Result, anyhow};
use foldhash::fast::RandomState;
use serde::Deserialize;
use tokenizers::{
    AddedToken, DecoderWrapper, EncodeInput, Encoding, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, Tokenizer, TokenizerImpl, TruncationParams, TruncationStrategy,
};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::unigram::{Unigram, Vocabulary};
use crate::models::{json, tokenizer};

/// Texts are cut to this many bytes before anything looks at their tokens: a window of 8,192
/// tokens is never longer, and a megabyte without a space costs nothing.
const MAX_TEXT_BYTES: usize = 256 << 10;

/// Words whose number of tokens a thread remembers.
const REMEMBERED_WORDS: usize = 1 << 17;
/// Longer words are rare, and those of scripts without spaces never return.
const MAX_REMEMBERED_BYTES: usize = 48;

thread_local! {
    /// The words that this thread has met; no other thread waits for them.
    static WORDS: RefCell<Words> = RefCell::default();
}

/// The words that any thread has met. Tokenizing every word anew on each core took a third of the
/// time of cutting some ten megabytes into chunks.
static ALL_WORDS: LazyLock<RwLock<Words>> = LazyLock::new(RwLock::default);

/// How many tokens words have.
#[derive(Default)]
struct Words {
    /// The number of the tokenizer that counted.
    of: u64,
    counts: HashMap<Arc<str>, u32, RandomState>,
}

impl Words {
    fn get(&self, of: u64, word: &str) -> Option<u32> {
        (self.of == of).then(|| self.counts.get(word).copied()).flatten()
    }

    fn insert(&mut self, of: u64, word: Arc<str>, count: u32) {
        if self.of != of || self.counts.len() >= REMEMBERED_WORDS {
            self.counts.clear();
            self.of = of;
        }
        self.counts.insert(word, count);
    }
}

/// A tokenizer that treats everything it is given as ordinary text.
pub struct TextTokenizer {
    kind: TokenizerKind,
    /// Tells this tokenizer from others of the process; `None` if the words of a text cannot be
    /// tokenized one by one.
    words: Option<u64>,
}

/// The library's tokenizer, around a model of its own or around ours.
enum TokenizerKind {
    Library(Box<Tokenizer>),
    Unigram(Box<UnigramTokenizer>),
}

type UnigramTokenizer = TokenizerImpl<
    Unigram,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

impl TextTokenizer {
    /// Reads `tokenizer.json`.
    pub fn load(path: &Path) -> Result<Self> {
        let json = json::bytes(path)?;
        if let Some(tokenizer) = unigram(&json) {
            let words = number(tokenizer.get_pre_tokenizer());
            return Ok(Self { kind: TokenizerKind::Unigram(Box::new(tokenizer)), words });
        }
        let mut tokenizer = tokenizer::parse(&json, path)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| anyhow!("cannot truncate: {error}"))?;
        let words = number(tokenizer.get_pre_tokenizer());
        Ok(Self { kind: TokenizerKind::Library(Box::new(tokenizer)), words })
    }

    /// Cuts the longer part of a pair so that the whole has at most `max_tokens`.
    pub fn with_window(mut self, max_tokens: usize) -> Result<Self> {
        let window = Some(TruncationParams {
            max_length: max_tokens,
            strategy: TruncationStrategy::LongestFirst,
            ..TruncationParams::default()
        });
        match &mut self.kind {
            TokenizerKind::Library(tokenizer) => tokenizer.with_truncation(window).map(drop),
            TokenizerKind::Unigram(tokenizer) => tokenizer.with_truncation(window).map(drop),
        }
        .map_err(|error| anyhow!("cannot truncate: {error}"))?;
        Ok(self)
    }

    /// Tokens with the model's own first and last ones.
    pub fn encode(&self, text: &str) -> Result<Encoding> {
        self.with_own_tokens(composed(bounded(text)).into())
    }

    /// A question and a passage as the one sequence that a cross-encoder reads.
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<Encoding> {
        self.with_own_tokens((composed(bounded(first)), composed(bounded(second))).into())
    }

    fn with_own_tokens(&self, input: EncodeInput) -> Result<Encoding> {
        match &self.kind {
            TokenizerKind::Library(tokenizer) => tokenizer.encode(input, true),
            TokenizerKind::Unigram(tokenizer) => tokenizer.encode(input, true),
        }
        .map_err(|error| anyhow!("cannot tokenize: {error}"))
    }

    /// Number of tokens in `text`, without the model's own.
    ///
    /// A text has few different words, so each is tokenized once and remembered.
    pub fn count(&self, text: &str) -> usize {
        let Some(own) = self.words else { return self.count_all(text) };
        WORDS.with_borrow_mut(|words| {
            let count = |word: &str| match words.get(own, word) {
                Some(count) => count as usize,
                None if word.len() > MAX_REMEMBERED_BYTES => self.count_all(word),
                None => {
                    let (word, count) = self.count_new(own, word);
                    words.insert(own, word, count);
                    count as usize
                }
            };
            text.split_ascii_whitespace().map(count).sum()
        })
    }

    /// Tokens of a word that is new to this thread, and the word as all threads share it.
    fn count_new(&self, own: u64, word: &str) -> (Arc<str>, u32) {
        {
            let all = ALL_WORDS.read().unwrap_or_else(PoisonError::into_inner);
            let known = (all.of == own).then(|| all.counts.get_key_value(word)).flatten();
            if let Some((word, &count)) = known {
                return (Arc::clone(word), count);
            }
        }
        let (word, count): (Arc<str>, u32) = (word.into(), self.count_all(word) as u32);
        let mut all = ALL_WORDS.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(own, Arc::clone(&word), count);
        (word, count)
    }

    fn count_all(&self, text: &str) -> usize {
        let composed = composed(text);
        let encoding = match &self.kind {
            TokenizerKind::Library(tokenizer) => tokenizer.encode_fast(composed, false),
            TokenizerKind::Unigram(tokenizer) => tokenizer.encode_fast(composed, false),
        };
        // The accepted models tokenize any text. Should one fail, the text counts as the most tokens
        // that it could have.
        encoding.map_or(text.len(), |encoding| encoding.len())
    }

    /// Number of different tokens.
    pub fn vocabulary(&self) -> usize {
        match &self.kind {
            TokenizerKind::Library(tokenizer) => tokenizer.get_vocab_size(true),
            TokenizerKind::Unigram(tokenizer) => tokenizer.get_vocab_size(true),
        }
    }
}

/// A number for a tokenizer that first cuts a text at white space, as those of XLM-R and BERT do: the
/// tokens of a text are then those of its words.
fn number(pre_tokenizer: Option<&PreTokenizerWrapper>) -> Option<u64> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let first = match pre_tokenizer? {
        PreTokenizerWrapper::Sequence(all) => all.as_ref().first()?,
        one => one,
    };
    let cuts = matches!(
        first,
        PreTokenizerWrapper::WhitespaceSplit(_) | PreTokenizerWrapper::BertPreTokenizer(_)
    );
    cuts.then(|| NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A tokenizer around our own model; `None` if the file asks for anything that our model lacks.
fn unigram(json: &[u8]) -> Option<UnigramTokenizer> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        added_tokens: Vec<Added>,
        normalizer: Option<NormalizerWrapper>,
        pre_tokenizer: Option<PreTokenizerWrapper>,
        post_processor: Option<PostProcessorWrapper>,
        model: Model,
    }
    #[derive(Deserialize)]
    struct Added {
        id: u32,
        #[serde(flatten)]
        token: AddedToken,
    }
    #[derive(Deserialize)]
    struct Model {
        #[serde(rename = "type")]
        kind: String,
        unk_id: Option<u32>,
        vocab: Vocabulary,
        #[serde(default)]
        byte_fallback: bool,
    }
    let File { added_tokens, normalizer, pre_tokenizer, post_processor, model } =
        serde_json::from_slice(json).ok()?;
    if model.kind != "Unigram" || model.byte_fallback {
        return None;
    }
    // Special tokens come from the template alone: none are looked for in a text, neither by the
    // added vocabulary nor by the model, which would find `</s>` among its pieces.
    let mut special = Vec::new();
    for Added { id, token } in added_tokens {
        if !token.special || model.vocab.get(id) != Some(&token.content) {
            return None;
        }
        special.push(id);
    }
    let model = Unigram::new(model.vocab, model.unk_id, &special)?;
    let mut tokenizer = UnigramTokenizer::new(model);
    tokenizer.with_normalizer(normalizer).ok()?;
    tokenizer.with_pre_tokenizer(pre_tokenizer);
    tokenizer.with_post_processor(post_processor);
    Some(tokenizer)
}

fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// The normalizer of XLM-R's published tokenizers drops the tone marks of decomposed Vietnamese,
/// so every text is composed (NFC) before it.
fn composed(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text.into(),
        _ => text.nfc().collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A file of XLM-R's kind, with one part replaced.
    fn file(part: &str, other: &str) -> String {
        let own = |id: u32, content: &str| {
            format!(
                r#"{{"id":{id},"content":"{content}","single_word":false,"lstrip":false,
                "rstrip":false,"normalized":false,"special":true}}"#
            )
        };
        let json = format!(
            r#"{{"version":"1.0","truncation":null,"padding":null,
            "added_tokens":[{},{},{}],
            "normalizer":{{"type":"NFKC"}},
            "pre_tokenizer":{{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}},
            "post_processor":{{"type":"TemplateProcessing",
              "single":[{{"SpecialToken":{{"id":"<s>","type_id":0}}}},
                {{"Sequence":{{"id":"A","type_id":0}}}},
                {{"SpecialToken":{{"id":"</s>","type_id":0}}}}],
              "pair":[{{"Sequence":{{"id":"A","type_id":0}}}},{{"Sequence":{{"id":"B","type_id":0}}}}],
              "special_tokens":{{"<s>":{{"id":"<s>","ids":[0],"tokens":["<s>"]}},
                "</s>":{{"id":"</s>","ids":[1],"tokens":["</s>"]}}}}}},
            "decoder":null,
            "model":{{"type":"Unigram","unk_id":2,"vocab":[["<s>",0],["</s>",0],["<unk>",0],
              ["▁",-1],["a",-2],["b",-3],["<",-4],["/s",-5],[">",-6]],"byte_fallback":false}}}}"#,
            own(0, "<s>"),
            own(1, "</s>"),
            own(2, "<unk>"),
        );
        assert!(json.contains(part), "{part}");
        json.replace(part, other)
    }

    fn load(json: &str) -> Result<TextTokenizer> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("tokenizer.json");
        fs::write(&path, json)?;
        TextTokenizer::load(&path)
    }

    fn is_ours(part: &str, other: &str) -> bool {
        matches!(load(&file(part, other)).unwrap().kind, TokenizerKind::Unigram(_))
    }

    #[test]
    fn special_tokens_in_a_text_are_text() {
        let tokenizer = load(&file("", "")).unwrap();
        let encoding = tokenizer.encode("a</s>").unwrap();
        assert_eq!(encoding.get_ids(), [0, 3, 4, 6, 7, 8, 1]);
        assert_eq!(encoding.get_special_tokens_mask(), [1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(tokenizer.count("a</s>"), 5);
        assert_eq!(tokenizer.vocabulary(), 9);
    }

    /// The tokenizers library panics where a merge is shorter than the prefix of continued words.
    #[test]
    fn merges_that_make_the_library_panic_are_an_error() {
        let json = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],
            "normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,
            "model":{"type":"BPE","dropout":null,"unk_token":null,"end_of_word_suffix":null,
              "continuing_subword_prefix":"@@@@@@","fuse_unk":false,"byte_fallback":false,
              "vocab":{"a":0,"b":1},"merges":["a b"]}}"#;
        let error = load(json).err().unwrap().to_string();
        assert!(error.contains("merges") && error.contains("tokenizer.json"), "{error}");
    }

    /// What one thread has counted is remembered for all threads, but not for other tokenizers.
    #[test]
    fn counts_are_each_tokenizers_own_on_every_thread() {
        let metaspace = r#"{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}"#;
        let by_words = format!(
            r#"{{"type":"Sequence","pretokenizers":[{{"type":"WhitespaceSplit"}},{metaspace}]}}"#
        );
        let letters = file(metaspace, &by_words);
        let pairs = load(&letters.replace(r#"["a",-2]"#, r#"["aa",-2]"#)).unwrap();
        let letters = load(&letters).unwrap();
        assert!(letters.words.is_some() && letters.words != pairs.words);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        assert_eq!(letters.count("aa b aa"), 3 + 2 + 3);
                        assert_eq!(pairs.count("aa b aa"), 2 + 2 + 2);
                    }
                });
            }
        });
    }

    #[test]
    fn our_model_is_used_only_where_it_equals_the_library() {
        assert!(is_ours("", ""));
        assert!(!is_ours(r#""byte_fallback":false"#, r#""byte_fallback":true"#));
        assert!(!is_ours(
            r#""normalized":false,"special":true"#,
            r#""normalized":false,"special":false"#
        ));
        // An added token that is not a piece.
        assert!(!is_ours(r#""content":"<s>""#, r#""content":"<S>""#));
        assert!(!is_ours(r#"["b",-3]"#, r#"["",-3]"#));
    }

    #[test]
    fn broken_files_are_errors_that_name_the_file() {
        for (part, other) in [
            (r#""unk_id":2"#, r#""unk_id":9"#),
            (r#"["b",-3]"#, r#"["b"]"#),
            ("Unigram", "Trigram"),
            ("NFKC", "NFKX"),
        ] {
            let error = load(&file(part, other)).err().expect(other).to_string();
            assert!(error.contains("tokenizer.json") && error.contains("again"), "{error}");
        }
        assert!(load(&file("", "")[..500]).is_err());
    }
}
