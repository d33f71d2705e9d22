//! Scores texts that need not be in the index, as the reranker would.

use anyhow::Result;

use super::rerank::{LateInteraction, Reranker};
use super::retriever::{Retriever, query_tokens};
use crate::embedding::{Embedding, Tokens, dot};
use crate::support::logistic::sigmoid;
use crate::text::background;

impl Retriever<'_> {
    /// How well each of the texts answers the question; higher is better, and comparable only within
    /// one question. A cross-encoder's scores are probabilities, those of late interaction and of the
    /// embedder alone cosines.
    ///
    /// # Errors
    /// A model fails to load or run, or a text is longer than what the embedder reads, unless a
    /// cross-encoder cuts it.
    pub fn score(&self, question: &str, texts: &[String]) -> Result<Vec<f32>> {
        if let Some(Reranker::CrossEncoder(model)) = self.reranker() {
            let logits = model.get()?.score(question, texts)?;
            return Ok(logits.into_iter().map(sigmoid).collect());
        }
        let late = self.reranks();
        let tokens = if late { Tokens::Kept } else { Tokens::Dropped };
        let embedder = self.embedder()?;
        let asked = embedder.embed_query(question, tokens)?;
        let embedded = embedder.embed_passages(texts, tokens)?;
        if !late {
            return Ok(embedded.iter().map(|text| dot(&text.vector, &asked.vector)).collect());
        }
        // Words weigh what they weigh in general: the texts are not those of the index.
        let lexical = self.index().lexical(question)?.weighed_by(&background::weight);
        let weights = |word: &str| [lexical.word_idf(word); 2];
        let query = query_tokens(question, &asked, &weights);
        let late_interaction = LateInteraction::with_embedded(self.mean_token(), &query);
        let score = |text: &Embedding| {
            let maxsim = late_interaction.maxsim_of(text).centred;
            f32::midpoint(dot(&text.vector, &asked.vector), maxsim)
        };
        Ok(embedded.iter().map(score).collect())
    }
}
