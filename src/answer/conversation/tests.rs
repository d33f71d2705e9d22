use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::Conversation;
use crate::answer::{Answer, AnswerOptions, Answerer, Event};
use crate::generation::local::placement::DeviceChoice;
use crate::generation::local::{Llm, LlmFiles, SamplingOptions};
use crate::generation::{LazyGenerator, LlmSource, Turns};
use crate::models::LazyModel;
use crate::retrieval::Retriever;
use crate::retrieval::fixture::Notes;

const TEXTS: [&str; 2] = [
    "The coffee machine is cleaned every Friday by the kitchen team.",
    "The printer is on the second floor and prints on both sides.",
];
const QUESTIONS: [&str; 2] =
    ["When is the coffee machine cleaned?", "What is on the second floor?"];

/// An LLM with random weights that counts its loads.
fn llm(loads: &Arc<AtomicUsize>) -> LazyGenerator {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-llama/model.gguf");
    let loads = Arc::clone(loads);
    let load = move || {
        loads.fetch_add(1, Ordering::SeqCst);
        Llm::load(&LlmFiles::Gguf(file.clone()), DeviceChoice::Cpu, 4096)
    };
    LazyGenerator {
        name: "tiny".to_owned(),
        context: 4096,
        languages: None,
        max_passages: None,
        judges: true,
        judge: None,
        source: LlmSource::Local(Box::new(LazyModel::new(load))),
        turns: Turns::default(),
    }
}

fn answerer<'a>(notes: &'a Notes, llm: &'a LazyGenerator) -> Answerer<'a> {
    let retriever = Retriever::new(&notes.index, &notes.embedder, None, None).unwrap();
    let options = AnswerOptions {
        sampling: SamplingOptions { max_tokens: 4, ..SamplingOptions::default() },
        names_below: notes.folder.path().canonicalize().ok(),
        ..AnswerOptions::default()
    };
    Answerer::new(retriever, llm, None, options, Duration::ZERO)
}

fn ask(conversation: &mut Conversation, question: &str) -> Answer {
    conversation.ask(question, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

#[test]
fn an_answer_comes_out_whole() {
    let loads = Arc::default();
    let (notes, llm) = (Notes::of(&TEXTS), llm(&loads));
    let answerer = answerer(&notes, &llm);
    let mut conversation = Conversation::new(&answerer);
    let given = format!("  {}\n", QUESTIONS[0]);
    let first = ask(&mut conversation, &given);
    assert_eq!((first.question, first.searched.as_deref()), (given, Some(QUESTIONS[0])));
    assert_eq!(first.timings_ms.rewrite, 0.0);
    let read = first.passages.iter().map(|passage| &passage.source);
    let mut names: Vec<&str> = read.clone().map(|source| &*source.document).collect();
    names.sort_unstable();
    assert_eq!(names, ["notes/0.txt", "notes/1.txt"], "it read both");
    assert!(read.clone().all(|source| Path::new(&source.document_id).is_absolute()));
    assert!(first.passages.iter().all(|passage| !passage.cited), "an LLM of noise cites nothing");

    let joined = format!("{} and its drawbacks?", QUESTIONS[0]);
    let mut told = Vec::new();
    let never = AtomicBool::new(false);
    let second = conversation
        .ask("and its drawbacks?", &never, &mut |event| match event {
            Event::Understood { query, by_llm, .. } => told.push((query.into_owned(), by_llm)),
            Event::LoadingLlm => panic!("the LLM is loaded already"),
            _ => {}
        })
        .unwrap();
    assert_eq!(second.question, "and its drawbacks?");
    assert_eq!(second.searched.as_ref(), Some(&joined));
    assert!(second.timings_ms.rewrite > 0.0);
    assert_eq!(told, [(joined, false)]);

    conversation.forget();
    assert_eq!(ask(&mut conversation, "and its drawbacks?").searched, None);
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

/// "And its drawbacks?" after a question that was refused goes on with what was answered before.
#[test]
fn a_follow_up_does_not_inherit_the_words_of_a_refused_question() {
    let loads = Arc::default();
    let (notes, llm) = (Notes::of(&[]), llm(&loads));
    let answerer = answerer(&notes, &llm);
    let mut conversation = Conversation::new(&answerer);
    let as_asked = super::RewrittenQuery::AsAsked;
    conversation.dialogue.remember(QUESTIONS[0], &as_asked, "On Fridays, by the kitchen team.");
    let refused = ask(&mut conversation, QUESTIONS[1]);
    assert!(!refused.answered, "{refused:?}");
    let next = ask(&mut conversation, "and its drawbacks?");
    assert_eq!(next.searched, Some(format!("{} and its drawbacks?", QUESTIONS[0])));
}

#[test]
fn what_cannot_be_asked_is_an_error_and_loads_nothing() {
    let loads = Arc::default();
    let (notes, llm) = (Notes::of(&TEXTS), llm(&loads));
    let answerer = answerer(&notes, &llm);
    let mut conversation = Conversation::new(&answerer);
    let error = conversation.ask(" \n", &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "the question is empty");
    assert!(notes.embedder.loaded().is_none() && llm.loaded().is_none());
}

#[test]
fn conversations_at_once_share_the_models_and_nothing_else() {
    let loads = Arc::default();
    let (notes, llm) = (Notes::of(&TEXTS), llm(&loads));
    let answerer = answerer(&notes, &llm);
    let both_asked = std::sync::Barrier::new(QUESTIONS.len());
    let talk = |question: &str| {
        let mut conversation = Conversation::new(&answerer);
        let first = ask(&mut conversation, question);
        // If conversations shared turns, each would now join or rewrite with the other's.
        both_asked.wait();
        (first.answered, ask(&mut conversation, "and its drawbacks?").searched)
    };
    std::thread::scope(|scope| {
        let threads = QUESTIONS.map(|question| (question, scope.spawn(move || talk(question))));
        for (question, thread) in threads {
            let expected = format!("{question} and its drawbacks?");
            assert_eq!(thread.join().unwrap(), (true, Some(expected)));
        }
    });
    assert_eq!(loads.load(Ordering::SeqCst), 1, "the LLM is loaded once, for both");
}
