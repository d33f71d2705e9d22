//! `/index` and `/profile`: the dialogue turns to other documents or other models, and begins anew.

use std::path::Path;
use std::rc::Rc;

use anyhow::Result;

use super::ground::Ground;
use super::state::{Here, Next, State};
use crate::cli::announce::{announce, tell_if_uncalibrated};
use crate::cli::index;
use crate::terminal::print_entry;

/// `/index`: what the index is, or another one and a new conversation.
pub fn turn_to_index<'a>(here: Here<'_, 'a>, state: &mut State, name: &str) -> Result<Next<'a>> {
    let ground = here.ground;
    if name.is_empty() {
        index::info(&ground.setup)?;
        return Ok(Next::Ask);
    }
    let setup = ground.setup.with_index(Path::new(name))?;
    let next = ground.with_index_of(setup, Rc::clone(&ground.models))?;
    Ok(begin_anew(here, state, next))
}

/// `/profile`: which there are, or another one and a new conversation. The models of the one before are
/// unloaded before the first of the next loads that a question needs.
pub fn turn_to_profile<'a>(here: Here<'_, 'a>, state: &mut State, name: &str) -> Result<Next<'a>> {
    let ground = here.ground;
    let setup = &ground.setup;
    if name.is_empty() {
        for known in setup.catalogue.profile_names() {
            let mark = if known == setup.profile.name { '*' } else { ' ' };
            let about = setup.catalogue.profile(known).map(|profile| profile.about);
            print_entry(&format!("{mark} {known}"), 16, &about.unwrap_or_default())?;
        }
        return Ok(Next::Ask);
    }
    let setup = setup.with_profile(name)?;
    let models = Rc::new(setup.models()?);
    announce(&setup, &models, true);
    let next = ground.with_index_of(setup, models)?;
    tell_if_uncalibrated(&next.setup, &next.models);
    Ok(begin_anew(here, state, next))
}

fn begin_anew<'a>(here: Here<'_, 'a>, state: &mut State, next: Ground<'a>) -> Next<'a> {
    *state = State::default();
    here.session.terminal.say(here.session.terminal.lang.forgotten());
    Next::On(Box::new(next))
}
