//! Asks questions about an index, each in the light of those before it.
//!
//! ```text
//! cargo run --release --example ask -- demo /tmp/notes-index "What is tokenization?" "Why is it needed?"
//! ```
//!
//! `examples/index_folder.rs` makes such an index.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rag_query::{AnswerOptions, Conversation, Event, Location, Models};

fn main() -> Result<()> {
    // PDF files and chat templates are read in processes of their own, which this program becomes.
    if rag_query::serve_job().is_some() {
        return Ok(());
    }
    let mut arguments = std::env::args_os().skip(1);
    let usage = "usage: ask PROFILE INDEX QUESTION…";
    let profile = arguments.next().context(usage)?;
    let index = Location::Directory(arguments.next().context(usage)?.into());
    let questions: Vec<String> =
        arguments.map(|question| question.to_string_lossy().into_owned()).collect();
    ensure!(!questions.is_empty(), usage);

    // Describes the profile's three models and loads none of them.
    let models = Models::of_profile(&profile.to_string_lossy())?;

    let index = index.open()?;
    index.settings().check(&models.index_settings)?;
    let answerer = models.answerer(index.as_ref(), AnswerOptions::default(), Duration::ZERO)?;
    let mut conversation = Conversation::new(&answerer);
    let interrupted = AtomicBool::new(false);
    for question in &questions {
        println!("> {question}");
        // The first answer that needs the LLM loads it.
        let answer = conversation.ask(question, &interrupted, &mut |event| match event {
            Event::Understood { query, .. } => println!("(searching for: {query})"),
            Event::Text { text } => print!("{text}"),
            _ => {}
        })?;
        println!();
        if let Some(reason) = answer.reason {
            println!("({reason:?})");
        }
        for citation in &answer.citations {
            println!("[{}] {} — {}", citation.n, citation.document, citation.heading);
        }
        println!();
    }
    Ok(())
}
