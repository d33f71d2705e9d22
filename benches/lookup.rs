//! Answers questions from a paragraph each, with and without guessing tokens from the prompt, in turns,
//! and prints as one line of JSON how fast both are, how many tokens were guessed, and whether all
//! answers are the same.
//!
//! ```text
//! cargo bench --bench lookup -- model.gguf xquad-en/questions.jsonl xquad-en/corpus.jsonl --limit 100
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::Parser;
use rag_query::internals::generation::local::placement::DeviceChoice;
use rag_query::internals::generation::local::{Generation, Llm, LlmFiles, SamplingOptions};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

const INSTRUCTION: &str =
    "Answer the question in two or three sentences, with words of the text where possible.";

#[derive(Parser)]
struct Args {
    /// A GGUF file or a Hugging Face folder
    model: PathBuf,
    /// JSON Lines of `question` and `relevant`, the ids of its paragraphs
    questions: PathBuf,
    /// JSON Lines of `id` and `text`
    corpus: PathBuf,
    /// `cpu`, `cuda` or `cuda:N`
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Questions to ask, evenly from all
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Tokens of an answer
    #[arg(long, default_value_t = 96)]
    max_tokens: usize,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Deserialize)]
struct Question {
    question: String,
    relevant: Vec<String>,
}

#[derive(Deserialize)]
struct Paragraph {
    id: String,
    text: String,
}

fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Tokens and the seconds that they took.
#[derive(Default)]
struct Speed {
    tokens: usize,
    seconds: f64,
}

impl Speed {
    fn add(&mut self, generation: &Generation) {
        self.tokens += generation.tokens.len();
        self.seconds += generation.decode.as_secs_f64();
    }

    fn tokens_per_s(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let llm = Llm::load(&LlmFiles::at(&args.model)?, args.device, 2048)?;
    let questions: Vec<Question> = lines(&args.questions)?;
    let corpus: Vec<Paragraph> = lines(&args.corpus)?;
    let texts: HashMap<String, String> =
        corpus.into_iter().map(|paragraph| (paragraph.id, paragraph.text)).collect();
    let step = questions.len().div_ceil(args.limit.max(1)).max(1);
    let (mut with, mut without) = (Speed::default(), Speed::default());
    let (mut guessed, mut same, mut asked) = (0, 0, 0);
    for (turn, question) in questions.iter().step_by(step).enumerate() {
        let text =
            question.relevant.first().and_then(|id| texts.get(id)).context("no such text")?;
        let user = format!("{text}\n\n{}", question.question);
        let prompt = llm.encode_chat(INSTRUCTION, &user)?;
        let write = |lookup| {
            let max_tokens = args.max_tokens;
            let options = SamplingOptions { max_tokens, lookup, ..SamplingOptions::default() };
            llm.generate(&prompt, &options, &AtomicBool::new(false), &mut |_| {})
        };
        let first = write(turn % 2 == 0)?;
        let second = write(turn % 2 == 1)?;
        let (guessing, plain) = if turn % 2 == 0 { (first, second) } else { (second, first) };
        with.add(&guessing);
        without.add(&plain);
        guessed += guessing.guessed;
        same += usize::from(guessing.tokens == plain.tokens);
        asked += 1;
    }
    println!(
        "{}",
        json!({
            "model": args.model.file_name().map(|name| name.to_string_lossy()),
            "device": llm.placed().device,
            "questions": asked,
            "same_answers": same,
            "tokens": without.tokens,
            "guessed_share": guessed as f64 / with.tokens.max(1) as f64,
            "tokens_per_s_without": without.tokens_per_s(),
            "tokens_per_s_with": with.tokens_per_s(),
            "ratio": with.tokens_per_s() / without.tokens_per_s(),
        })
    );
    Ok(())
}
