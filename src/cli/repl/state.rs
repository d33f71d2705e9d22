//! What the dialogue remembers, and asking within it.

use anyhow::Result;

use super::ground::Ground;
use super::status;
use crate::answer::Answer;
use crate::answer::conversation::Dialogue;
use crate::cli::lines::Input;
use crate::cli::session::Session;

/// Where a dialogue is.
#[derive(Clone, Copy)]
pub struct Here<'h, 'a> {
    pub ground: &'h Ground<'a>,
    pub session: &'h Session<'h>,
}

/// What follows a line.
pub enum Next<'a> {
    Ask,
    /// Goes on, on another ground.
    On(Box<Ground<'a>>),
    Leave,
}

/// State that commands can read and change.
#[derive(Default)]
pub struct State {
    pub dialogue: Dialogue,
    /// What was asked and answered since the conversation began.
    pub turns: Vec<Turn>,
    /// The last question, even if it failed.
    pub asked: Option<Asked>,
}

/// A question with its answer.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    pub question: String,
    /// Empty if there is none.
    pub answer: String,
    /// Those that it cites, as people read them.
    pub sources: Vec<String>,
    /// Absent if it comes from a file.
    pub full: Option<Answer>,
}

/// What it takes to ask a question again.
pub struct Asked {
    pub question: String,
    /// What was said before it.
    pub before: Dialogue,
    /// Turns before it.
    pub turns: usize,
}

impl State {
    /// How many sources the last answer has.
    pub fn sources(&self) -> usize {
        let answer = self.turns.last().and_then(|turn| turn.full.as_ref());
        answer.map_or(0, |answer| answer.passages.len())
    }

    /// After turns that were had before.
    pub fn resumed(turns: Vec<Turn>) -> Self {
        let said = |turns: &[Turn]| {
            Dialogue::after(turns.iter().map(|turn| (&*turn.question, &*turn.answer)))
        };
        let asked = turns.split_last().map(|(last, before)| Asked {
            question: last.question.clone(),
            before: said(before),
            turns: before.len(),
        });
        Self { dialogue: said(&turns), turns, asked }
    }
}

pub fn ask<'a>(here: Here<'_, 'a>, state: &mut State, question: &str) -> Result<Next<'a>> {
    let session = here.session;
    let before = state.dialogue.clone();
    state.asked = Some(Asked { question: question.to_owned(), before, turns: state.turns.len() });
    let answer = session.answer(&Input::of(question), &mut state.dialogue)?;
    if let Some(line) = status::line(&answer) {
        session.terminal.say(&line);
    }
    state.turns.push(Turn {
        question: question.to_owned(),
        answer: answer.answer.clone(),
        sources: answer.citations.iter().map(|citation| session.source(citation)).collect(),
        full: Some(answer),
    });
    Ok(Next::Ask)
}
