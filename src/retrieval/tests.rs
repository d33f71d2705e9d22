use super::fixture::Notes;
use super::rerank::Reranker;
use super::{Gate, Retriever};
use crate::models::catalogue::{Calibration, Logistic};

const TEXTS: [&str; 3] = [
    "The coffee machine is cleaned every Friday by the kitchen team.",
    "The printer is on the second floor and prints on both sides.",
    "Holidays are asked for two weeks ahead.",
];
const QUESTION: &str = "When is the coffee machine cleaned?";

#[test]
fn models_load_at_the_first_question() {
    let notes = Notes::of(&TEXTS);
    let retriever = Retriever::new(&notes.index, &notes.embedder, None, None).unwrap();
    assert!(notes.embedder.loaded().is_none());
    let retrieval = retriever.retrieve(QUESTION, 2).unwrap();
    assert!(notes.embedder.loaded().is_some());
    assert_eq!(retrieval.hits.len(), 2);
    assert!(retrieval.hits[0].passage.document.ends_with("0.txt"), "{:?}", retrieval.hits);
    assert!(retrieval.hits.iter().all(|hit| hit.scores.rerank.is_none()));
    assert!(
        !retrieval.relevance.is_refused_by(Gate::Strict),
        "without a calibration nothing is refused"
    );
}

#[test]
fn reranking_and_calibration_are_handed_in() {
    let notes = Notes::of(&TEXTS);
    let refuses_all = Logistic { bias: -9.0, strict: 0.5, ..Logistic::default() };
    let calibration = Calibration {
        within: refuses_all,
        across: refuses_all,
        unmarked: refuses_all,
        without_late: refuses_all,
    };
    let reranker = Reranker::LateInteraction;
    let retriever =
        Retriever::new(&notes.index, &notes.embedder, Some(&reranker), Some(&calibration)).unwrap();
    let retrieval = retriever.retrieve(QUESTION, 3).unwrap();
    assert!(retrieval.hits.iter().all(|hit| hit.scores.rerank.is_some()));
    assert!(retrieval.hits.is_sorted_by(|a, b| a.score >= b.score));
    assert!(retrieval.relevance.is_refused_by(Gate::Strict));
    assert!(!retrieval.relevance.is_refused_by(Gate::Careful));
    let stages = retriever.stages(QUESTION, 3, true).unwrap();
    assert_eq!(stages.reranked.unwrap().chunks.len(), 3);
    assert_eq!(stages.candidates.len(), 3);
    let ids = |hits: &[super::Hit]| hits.iter().map(|hit| hit.chunk).collect::<Vec<_>>();
    assert_eq!(ids(&stages.retrieval.hits), ids(&retrieval.hits), "measured as it is used");
}
