//! What a dialogue stands on. Nothing of it changes: `/index`, `/profile` and `/set` make another, on
//! which the dialogue goes on.

use std::rc::Rc;

use anyhow::Result;

use crate::answer::AnswerOptions;
use crate::cli::respondent::{Backend, Respondent};
use crate::cli::setup::Setup;
use crate::profile::Models;

/// What can be chosen anew for each answer.
#[derive(Debug, Clone)]
pub struct Choices {
    pub options: AnswerOptions,
    pub explain: bool,
    pub show_thinking: bool,
}

#[derive(Clone)]
pub struct Ground<'a> {
    pub setup: Setup<'a>,
    pub models: Rc<Models>,
    backend: Backend,
    pub choices: Choices,
    /// What the dialogue began with.
    pub began: Choices,
}

impl<'a> Ground<'a> {
    /// `backend` is where answers come from.
    pub fn new(setup: Setup<'a>, models: Models, backend: Backend, options: AnswerOptions) -> Self {
        let choices = Choices {
            options,
            explain: setup.global.explain,
            show_thinking: setup.global.show_thinking,
        };
        Self { setup, models: Rc::new(models), backend, began: choices.clone(), choices }
    }

    /// Who answers.
    pub fn respondent(&self) -> Result<Respondent<'_>> {
        self.backend.respondent(&self.setup, &self.models, self.choices.options.clone())
    }

    /// The same with other choices.
    pub fn with(&self, choices: Choices) -> Self {
        Self { choices, ..self.clone() }
    }

    /// The index of another set-up, with its models.
    pub fn with_index_of(&self, setup: Setup<'a>, models: Rc<Models>) -> Result<Self> {
        let backend = Backend::find(&setup, &models, &self.choices.options)?;
        Ok(Self { setup, models, backend, ..self.clone() })
    }
}
