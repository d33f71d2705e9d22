//! The pages that Word saw: it records where each page begins, though not in paragraphs without
//! text, and in each cell of a row that crosses pages.

/// Counts pages along a document.
pub(super) struct Pages {
    current: u32,
    /// The last page so far: text in a row's second cell stands after the first cell's.
    last: u32,
    /// Page breaks that Word has not recorded yet, and does not where no text follows.
    due: u32,
    /// Whether Word recorded any page.
    pub are_recorded: bool,
    /// Open table rows: the page where each begins, and the last one that it reaches.
    rows: Vec<(u32, u32)>,
}

impl Default for Pages {
    fn default() -> Self {
        Self { current: 1, last: 1, due: 0, are_recorded: false, rows: Vec::new() }
    }
}

impl Pages {
    /// Somebody put a page break here.
    pub fn break_page(&mut self) {
        self.due += 1;
    }

    /// Word recorded that a page begins here, whoever made the break.
    pub fn record(&mut self) {
        self.are_recorded = true;
        self.due = self.due.saturating_sub(1);
        self.turn(1);
    }

    /// The page of the text that follows.
    pub fn at_text(&mut self) -> u32 {
        let due = std::mem::take(&mut self.due);
        self.turn(due);
        self.last
    }

    fn turn(&mut self, pages: u32) {
        self.current = self.current.saturating_add(pages);
        self.last = self.last.max(self.current);
    }

    pub fn begin_row(&mut self) {
        self.rows.push((self.current, self.current));
    }

    /// Each cell begins where its row does.
    pub fn begin_cell(&mut self) {
        if let Some((first, _)) = self.rows.last() {
            self.current = *first;
        }
    }

    pub fn end_cell(&mut self) {
        if let Some((_, last)) = self.rows.last_mut() {
            *last = self.current.max(*last);
        }
    }

    pub fn end_row(&mut self) {
        if let Some((_, last)) = self.rows.pop() {
            self.current = last.max(self.current);
        }
    }
}
