//! An index that stays open between questions, and is opened anew when it has changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::index::{Index, Location, Selection, Settings, Stamp};

/// Parts of the index that stay open beside the whole.
const MAX_SELECTIONS: usize = 8;
/// How long an index on a server is used before it is opened anew; nothing tells that it changed.
const MAX_AGE: Duration = Duration::from_mins(1);

/// One index, and the parts of it that were asked for last.
pub struct WarmIndex {
    location: Location,
    /// Settings that it must have been built with.
    wanted: Settings,
    open: Mutex<Vec<Opened>>,
}

struct Opened {
    selection: Selection,
    stamp: Option<Stamp>,
    at: Instant,
    index: Arc<dyn Index>,
}

impl Opened {
    fn is_current(&self, stamp: Option<&Stamp>) -> bool {
        match stamp {
            Some(_) => self.stamp.as_ref() == stamp,
            None => self.at.elapsed() < MAX_AGE,
        }
    }
}

impl WarmIndex {
    /// Opens nothing.
    pub fn new(location: Location, wanted: Settings) -> Self {
        Self { location, wanted, open: Mutex::default() }
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// What is selected of the index as it is now, and the time it took to open.
    ///
    /// # Errors
    /// It cannot be opened, was built with other settings, or nothing in it is selected.
    pub fn get(&self, selection: &Selection) -> Result<(Arc<dyn Index>, Duration)> {
        let start = Instant::now();
        // Taken before it is opened: a change in between is found at the next question.
        let stamp = self.location.stamp();
        // Whoever comes second waits for the first, instead of opening it again.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|opened| opened.is_current(stamp.as_ref()));
        if let Some(at) = open.iter().position(|opened| opened.selection == *selection) {
            // The one used last goes to the end.
            let opened = open.remove(at);
            let index = Arc::clone(&opened.index);
            open.push(opened);
            return Ok((index, start.elapsed()));
        }
        let mut index = self.location.open()?;
        index.settings().check(&self.wanted)?;
        selection.apply(index.as_mut())?;
        let index: Arc<dyn Index> = Arc::from(index);
        if open.len() > MAX_SELECTIONS {
            open.remove(0);
        }
        let at = Instant::now();
        let selection = selection.clone();
        open.push(Opened { selection, stamp, at, index: Arc::clone(&index) });
        Ok((index, start.elapsed()))
    }
}
