//! The text of an answer on standard output: as it is in a pipe or a file, laid out on a terminal.

use std::io::{self, IsTerminal};

use terminal_size::terminal_size_of;

use super::prose::{Look, Prose, paragraph};
use super::{is_colorless, is_dumb, printable, to_stdout};

/// Columns of a terminal that does not tell.
const USUAL_WIDTH: usize = 80;

/// Text that is written while it arrives.
pub struct AnswerText {
    /// Absent if standard output is no terminal.
    prose: Option<Prose>,
}

impl AnswerText {
    /// Text written by an LLM, in Markdown.
    pub fn markdown() -> Self {
        Self::new(look())
    }

    /// Text that is shown as it stands, but for its line breaks.
    pub fn verbatim() -> Self {
        Self::new(Look::Source)
    }

    fn new(look: Look) -> Self {
        Self { prose: io::stdout().is_terminal().then(|| Prose::new(look)) }
    }

    /// Writes what is certain of the text so far.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn push(&mut self, text: &str) -> io::Result<()> {
        let text = printable(text);
        to_stdout(&match &mut self.prose {
            Some(prose) => prose.push(&text, width()),
            None => text,
        })
    }

    /// Writes the rest and ends the line.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn end(self) -> io::Result<()> {
        to_stdout(&(self.prose.map(|prose| prose.finish(width())).unwrap_or_default() + "\n"))
    }
}

/// A whole text with line breaks that fit the terminal; in a pipe, as it is.
pub fn laid_out(text: &str) -> String {
    if !io::stdout().is_terminal() {
        return text.to_owned();
    }
    let mut prose = Prose::new(Look::Source);
    prose.push(text, width()) + &prose.finish(width())
}

/// Prints a name in a column of so many letters, and what there is to say of it beside that.
///
/// # Errors
/// Standard output is closed.
pub fn print_entry(name: &str, column: usize, about: &str) -> io::Result<()> {
    let prefix = format!("{:column$} ", printable(name));
    let about = printable(about);
    to_stdout(&match io::stdout().is_terminal() {
        true => paragraph(&prefix, &about, width()) + "\n",
        false => format!("{prefix}{about}\n"),
    })
}

/// Asked anew for every piece of text: the window may be resized meanwhile.
fn width() -> usize {
    let columns = terminal_size_of(io::stdout()).map(|(columns, _)| usize::from(columns.0));
    columns.filter(|&columns| columns > 0).unwrap_or(USUAL_WIDTH)
}

fn look() -> Look {
    match (is_dumb(), is_colorless()) {
        (true, _) => Look::Source,
        (false, true) => Look::Styled,
        (false, false) => Look::Colored,
    }
}
