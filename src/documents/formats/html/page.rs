//! A page that is being read: which elements are open, what of their text is shown, and where it
//! goes.

use std::collections::HashMap;
use std::rc::Rc;

use super::elements::{
    HIDDEN, NEVER_TEXT, SURROUNDING, VOID, implied_ends, is_block, leaves_foreign,
};
use super::list::List;
use super::math::{self, OpenFormula};
use super::tag::Tag;
use super::{MAX_ATTRIBUTE, Syntax};
use crate::documents::clean::clean;
use crate::documents::contents::Extract;
use crate::documents::formats::flow::{Flow, Rows, Script};
use crate::documents::structure::Places;
use crate::documents::title::tidy_title;

/// Open elements that are remembered. Pages have a few dozen.
const MAX_DEPTH: usize = 1 << 14;

/// What of a page is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Only what is in `main`.
    pub main_only: bool,
    /// What surrounds the text, too.
    pub surrounding: bool,
    /// What is hidden until someone asks for it, too.
    pub hidden: bool,
    /// Items of the lists that count down, in the order of the lists.
    pub reversed: Vec<i64>,
}

/// Bytes of text by where they stand, whatever is shown.
#[derive(Debug, Default)]
pub(super) struct Measures {
    pub main: usize,
    /// Outside of `main`, without links.
    pub outside: usize,
    /// Links and buttons outside of `main`.
    pub links: usize,
    /// In what surrounds the text, without links.
    pub surrounding: usize,
    /// Hidden, without links and what surrounds the text.
    pub hidden: usize,
}

/// What an element means for the text in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    NeverText,
    Hidden,
    Surrounding,
    Main,
    /// A `header` in it belongs to it.
    Article,
    Link,
    /// A drawing, and what in it is text.
    Drawing,
    Label,
    Formula,
    /// It is raised or lowered.
    Script,
}

const EFFECTS: usize = Effect::Script as usize + 1;

/// A set of [`Effect`]s.
#[derive(Clone, Copy, Default)]
struct Effects(u16);

impl Effects {
    fn add(&mut self, effect: Effect, is_so: bool) {
        self.0 |= u16::from(is_so) << effect as u16;
    }

    fn has(self, effect: Effect) -> bool {
        (self.0 >> effect as u16) & 1 != 0
    }

    /// Whether its end ends the blocks in it, too.
    fn is_strong(self) -> bool {
        let weak = (1 << Effect::Link as u16) | (1 << Effect::Script as u16);
        (self.0 & !weak) != 0
    }
}

/// An element that is open.
struct Element {
    name: usize,
    effects: Effects,
    is_block: bool,
    /// Its elements are not HTML, but of a drawing or a formula.
    is_foreign: bool,
}

/// See the module's documentation.
pub(super) struct Page {
    syntax: Syntax,
    shown: Shown,
    pub measures: Measures,
    /// Items of the lists that count down.
    pub reversed: Vec<i64>,
    flow: Flow,
    /// The line of what follows.
    pub line: u32,
    title: String,
    in_title: bool,
    /// Numbers of the element names seen.
    ids: HashMap<Rc<str>, usize>,
    /// Each name, and where in `elements` it is open.
    names: Vec<(Rc<str>, Vec<usize>)>,
    elements: Vec<Element>,
    /// Where in `elements` blocks are, and those that decide what is shown.
    blocks: Vec<usize>,
    strong: Vec<usize>,
    /// How many open elements have each effect.
    effects: [usize; EFFECTS],
    /// Open lists; those that count down with their place in `reversed`.
    lists: Vec<(List, Option<usize>)>,
    formula: Option<OpenFormula>,
    /// A link has begun that has no text yet.
    link_is_empty: bool,
}

impl Page {
    pub fn new(syntax: Syntax, shown: Shown) -> Self {
        Self {
            syntax,
            shown,
            measures: Measures::default(),
            reversed: Vec::new(),
            flow: Flow::default(),
            line: 1,
            title: String::new(),
            in_title: false,
            ids: HashMap::new(),
            names: Vec::new(),
            elements: Vec::new(),
            blocks: Vec::new(),
            strong: Vec::new(),
            effects: [0; EFFECTS],
            lists: Vec::new(),
            formula: None,
            link_is_empty: false,
        }
    }

    fn is_in(&self, effect: Effect) -> bool {
        self.effects[effect as usize] > 0
    }

    fn is_shown(&self) -> bool {
        !self.is_in(Effect::NeverText)
            && (!self.is_in(Effect::Hidden) || self.shown.hidden)
            && (!self.is_in(Effect::Surrounding) || self.shown.surrounding)
            && (!self.is_in(Effect::Drawing) || self.is_in(Effect::Label))
            && (!self.shown.main_only || self.is_in(Effect::Main))
    }

    /// How many elements are open.
    pub fn depth(&self) -> usize {
        self.elements.len()
    }

    pub fn text(&mut self, text: &str) {
        if self.in_title {
            if self.title.len() < MAX_ATTRIBUTE {
                self.title.push_str(text);
            }
            return;
        }
        self.measure(text.trim().len());
        if !self.is_shown() {
            return;
        }
        self.link_is_empty &= text.trim().is_empty();
        if let Some(open) = &mut self.formula {
            self.flow.at(self.line);
            open.formula.text(text);
            return;
        }
        let mut line = self.line;
        for part in text.split_inclusive('\n') {
            self.flow.at(line);
            self.flow.text(part);
            line = line.saturating_add(u32::from(part.ends_with('\n')));
        }
    }

    fn measure(&mut self, bytes: usize) {
        let is_label = !self.is_in(Effect::Drawing) || self.is_in(Effect::Label);
        if self.is_in(Effect::NeverText) || !is_label {
            return;
        }
        let is_link = self.is_in(Effect::Link);
        let measures = &mut self.measures;
        match (self.effects[Effect::Surrounding as usize], self.effects[Effect::Hidden as usize]) {
            (0, 0) if self.effects[Effect::Main as usize] > 0 => measures.main += bytes,
            (0, 0) if is_link => measures.links += bytes,
            (0, 0) => measures.outside += bytes,
            (0, _) if !is_link => measures.hidden += bytes,
            (_, 0) if !is_link => measures.surrounding += bytes,
            _ => {}
        }
    }

    /// Text that stands for an element.
    fn stand_in(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        // An emoji belongs to the word before it.
        let space = if text.contains(char::is_alphanumeric) { " " } else { "" };
        self.flow.at(self.line);
        for part in [space, text, space] {
            self.flow.text(part);
        }
    }

    /// A start tag. Whether content follows, by the rules of HTML.
    pub fn start(&mut self, tag: &Tag) -> bool {
        let name = tag.name.as_str();
        while self.is_foreign() && leaves_foreign(name) {
            self.pop();
        }
        self.end_implied(name);
        let was_foreign = self.is_foreign();
        let is_foreign = was_foreign || matches!(name, "svg" | "math");
        let is_empty = (tag.self_closing && (is_foreign || self.syntax != Syntax::Html))
            || (!was_foreign && VOID.contains(&name));
        let is_open = !is_empty && self.elements.len() < MAX_DEPTH;
        if is_open {
            self.push(tag, is_foreign);
        }
        if self.is_shown() {
            self.begin(tag, is_open);
        }
        !is_empty && !is_foreign
    }

    /// Whether the elements that follow are of a drawing or a formula.
    fn is_foreign(&self) -> bool {
        self.elements.last().is_some_and(|element| element.is_foreign)
    }

    /// Ends the elements whose end tags may be left out before this one.
    fn end_implied(&mut self, name: &str) {
        let last_of =
            |page: &Self, names: &[&str]| names.iter().filter_map(|name| page.place_of(name)).max();
        let (ends, beyond) = implied_ends(name);
        let beyond = last_of(self, beyond);
        let ended = last_of(self, ends).filter(|&at| beyond.is_none_or(|beyond| beyond < at));
        // A block ends the paragraph before it.
        let paragraph = self.blocks.last().copied().filter(|_| is_block(name));
        let paragraph = paragraph.filter(|&at| self.place_of("p") == Some(at));
        // What is in `noscript` ends nothing outside.
        let is_inside = |at: &usize| self.strong.last().is_none_or(|strong| strong <= at);
        if let Some(at) = [ended, paragraph].into_iter().flatten().filter(is_inside).min() {
            self.pop_to(at);
        }
    }

    /// Where in `elements` the innermost of this name is.
    fn place_of(&self, name: &str) -> Option<usize> {
        self.ids.get(name).and_then(|&id| self.names[id].1.last().copied())
    }

    fn push(&mut self, tag: &Tag, is_foreign: bool) {
        let name = tag.name.as_str();
        let id = self.id(name);
        let at = self.elements.len();
        let holds_html = matches!(name, "title" | "desc" | "foreignobject") || math::is_token(name);
        let element = Element {
            name: id,
            effects: self.effects_of(tag, is_foreign),
            is_block: is_block(name),
            is_foreign: is_foreign && !holds_html,
        };
        for (effect, count) in self.effects.iter_mut().enumerate() {
            *count += usize::from((element.effects.0 >> effect) & 1);
        }
        self.names[id].1.push(at);
        if element.is_block {
            self.blocks.push(at);
        }
        if element.effects.is_strong() {
            self.strong.push(at);
        }
        self.elements.push(element);
        match name {
            "ul" | "menu" => self.lists.push((List::unordered(), None)),
            "ol" => self.begin_ordered(tag),
            "title" if self.title.is_empty() && !is_foreign => self.in_title = true,
            _ => {}
        }
    }

    fn begin_ordered(&mut self, tag: &Tag) {
        let place = tag.reversed.then_some(self.reversed.len());
        let items = place.map(|place| self.shown.reversed.get(place).copied().unwrap_or(1));
        self.reversed.extend(place.map(|_| 0));
        let list = List::ordered(tag.start, tag.list_style.unwrap_or_default(), items);
        self.lists.push((list, place));
    }

    fn effects_of(&self, tag: &Tag, is_foreign: bool) -> Effects {
        let name = tag.name.as_str();
        let in_drawing = self.is_in(Effect::Drawing) && is_foreign;
        let is_page = matches!(name, "html" | "body");
        // The header or footer of an article belongs to it, and so does a note.
        let own = tag.note || (self.is_in(Effect::Article) && matches!(name, "header" | "footer"));
        let surrounds = match self.syntax {
            Syntax::Chapter => name == "nav",
            _ => SURROUNDING.contains(&name) && !own,
        };
        let is_whole = is_page || matches!(name, "main" | "article");
        let is_note_mark = name == "a" && tag.note_mark && !self.is_in(Effect::Script);
        let mut effects = Effects::default();
        let is_open_template = name == "template" && tag.open;
        let is_definition = in_drawing && matches!(name, "defs" | "metadata" | "symbol");
        let is_program = NEVER_TEXT.contains(&name) && !is_open_template;
        effects.add(Effect::NeverText, is_program || is_definition);
        let is_closed = HIDDEN.contains(&name) && !(name == "dialog" && tag.open);
        // Notes are often hidden until someone points at their mark.
        effects.add(Effect::Hidden, is_closed || (tag.hidden && !is_page && !tag.note));
        effects.add(Effect::Surrounding, (surrounds || tag.surrounding) && !is_whole);
        effects.add(Effect::Main, name == "main" || tag.main);
        effects.add(Effect::Article, matches!(name, "article" | "main" | "section"));
        effects.add(Effect::Link, (name == "a" && tag.link) || matches!(name, "button" | "option"));
        effects.add(Effect::Drawing, name == "svg");
        let is_label = matches!(name, "text" | "title" | "desc" | "foreignobject");
        effects.add(Effect::Label, in_drawing && is_label);
        effects.add(Effect::Formula, name == "math" || self.is_in(Effect::Formula));
        let is_styled = tag.script.is_some() && !self.is_in(Effect::Script) && !is_block(name);
        let is_script = matches!(name, "sup" | "sub") || is_note_mark || is_styled;
        effects.add(Effect::Script, is_script && !self.is_in(Effect::Formula));
        effects
    }

    /// What a start tag means for the text.
    fn begin(&mut self, tag: &Tag, is_open: bool) {
        let name = tag.name.as_str();
        if self.formula.is_some() {
            return self.begin_part(tag, is_open);
        }
        let flow = &mut self.flow;
        match name {
            "br" => flow.line_break(),
            "hr" => flow.end_block(),
            "img" | "area" => self.stand_in(&tag.alt),
            "input" => self.field(tag),
            _ if !is_open => {}
            "math" => self.formula = Some(OpenFormula::new(tag)),
            // A heading that was not closed ends at the first paragraph after it.
            "p" if flow.has_heading() => flow.end_heading(),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                flow.begin_heading(usize::from(name.as_bytes()[1] - b'0'));
            }
            "pre" | "listing" | "xmp" => flow.begin_verbatim(),
            "table" => flow.begin_table(),
            "thead" | "tbody" | "tfoot" => flow.end_row_group(),
            "tr" => {
                let is_header = self.place_of("thead") > self.place_of("table");
                self.flow.begin_row();
                if is_header {
                    self.flow.header_row();
                }
            }
            "td" | "th" => {
                flow.begin_cell();
                flow.set_cell_columns(tag.columns.unwrap_or(1));
                flow.set_cell_rows(tag.rows.map_or(Rows::One, Rows::Count));
            }
            "li" => self.begin_item(tag),
            "a" | "sup" | "sub" => self.begin_inline(tag),
            "option" => {
                flow.line_break();
                flow.text(if tag.checked { "[x] " } else { "" });
            }
            "rt" => flow.text("("),
            "text" | "foreignobject" => flow.end_block(),
            "button" | "title" | "desc" => flow.text(" "),
            "tspan" if tag.placed => flow.text(" "),
            name if is_block(name) => flow.end_block(),
            _ if tag.script.is_some() => self.begin_inline(tag),
            _ => {}
        }
    }

    fn begin_part(&mut self, tag: &Tag, is_open: bool) {
        let Some(open) = &mut self.formula else { return };
        if is_open || tag.self_closing {
            open.formula.begin(math::part(tag));
        }
        if !is_open && tag.self_closing {
            open.formula.end();
        }
    }

    fn begin_item(&mut self, tag: &Tag) {
        let depth = self.lists.len();
        let marker = match self.lists.last_mut() {
            Some((list, place)) => {
                if let Some(items) = place.and_then(|place| self.reversed.get_mut(place)) {
                    *items += 1;
                }
                list.marker(tag.value, tag.list_style)
            }
            None => "-".to_owned(),
        };
        self.flow.begin_item(depth, &marker);
    }

    fn begin_inline(&mut self, tag: &Tag) {
        let begins_script = self.elements.last().is_some_and(|it| it.effects.has(Effect::Script));
        let script = match tag.name.as_str() {
            _ if tag.note_mark => Script::Note,
            "sub" => Script::Sub,
            "a" => tag.script.unwrap_or(Script::Note),
            _ if self.link_is_empty => Script::Note,
            _ => tag.script.unwrap_or(Script::Super),
        };
        if begins_script {
            self.flow.begin_script(script);
        } else if self.is_in(Effect::Script) && (tag.link || tag.note_mark) {
            self.flow.set_script(Script::Note);
        }
        self.link_is_empty = tag.name == "a" && tag.link;
    }

    /// What is in a field of a form.
    fn field(&mut self, tag: &Tag) {
        match tag.kind.as_str() {
            "checkbox" | "radio" => {
                self.flow.at(self.line);
                self.flow.text(if tag.checked { " [x] " } else { " [ ] " });
            }
            "hidden" | "password" | "file" | "color" | "range" => {}
            "image" => self.stand_in(&tag.alt),
            _ => self.stand_in(&tag.field),
        }
    }

    /// An end tag.
    pub fn end(&mut self, name: &str) {
        let name = match name.rsplit_once(':') {
            Some((_, local)) if self.syntax != Syntax::Html => local,
            _ => name,
        };
        if name == "br" && self.syntax == Syntax::Html && self.is_shown() {
            self.flow.line_break();
        }
        let Some(at) = self.place_of(name) else { return };
        // The end tag of an inline element ends nothing beyond the block around it.
        let is_inline = !is_block(name) && !self.elements[at].effects.is_strong();
        if !is_inline || self.blocks.last().is_none_or(|&block| block < at) {
            self.pop_to(at);
        }
    }

    /// Ends all elements from there on.
    pub fn pop_to(&mut self, at: usize) {
        while self.elements.len() > at {
            self.pop();
        }
    }

    /// The innermost open element ends.
    fn pop(&mut self) {
        let was_shown = self.is_shown();
        let Some(element) = self.elements.pop() else { return };
        for (effect, count) in self.effects.iter_mut().enumerate() {
            *count -= usize::from((element.effects.0 >> effect) & 1);
        }
        if element.is_block {
            self.blocks.pop();
        }
        if element.effects.is_strong() {
            self.strong.pop();
        }
        let (name, places) = &mut self.names[element.name];
        places.pop();
        let name = Rc::clone(name);
        match &*name {
            "title" => self.in_title = false,
            "ul" | "ol" | "menu" => {
                self.lists.pop();
            }
            _ => {}
        }
        if was_shown {
            self.finish_element(&name, element.effects);
        }
    }

    /// What the end of an element means for the text.
    fn finish_element(&mut self, name: &str, effects: Effects) {
        if effects.has(Effect::Formula) && self.formula.is_some() {
            return self.end_part();
        }
        let flow = &mut self.flow;
        match name {
            _ if effects.has(Effect::Script) => flow.end_script(),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => flow.end_heading(),
            "pre" | "listing" | "xmp" => flow.end_verbatim(),
            "table" => flow.end_table(),
            "thead" | "tbody" | "tfoot" => flow.end_row_group(),
            "tr" => flow.end_row(),
            "td" | "th" => flow.end_cell(),
            "li" => flow.end_item(),
            "rt" => flow.text(")"),
            "text" => flow.end_block(),
            "button" | "title" | "desc" | "select" => flow.text(" "),
            name if is_block(name) => flow.end_block(),
            _ => {}
        }
    }

    fn end_part(&mut self) {
        if self.is_in(Effect::Formula) {
            if let Some(open) = &mut self.formula {
                open.formula.end();
            }
        } else if let Some(OpenFormula { formula, alt, is_block }) = self.formula.take() {
            let text = formula.finish();
            if is_block {
                self.flow.end_block();
            }
            self.flow.text(if text.is_empty() { &alt } else { &text });
            if is_block {
                self.flow.end_block();
            }
        }
    }

    fn id(&mut self, name: &str) -> usize {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let name: Rc<str> = name.into();
        self.ids.insert(Rc::clone(&name), self.names.len());
        self.names.push((name, Vec::new()));
        self.names.len() - 1
    }

    pub fn finish(mut self) -> Extract {
        self.pop_to(0);
        let title = tidy_title(&clean(&self.title));
        // `Bài viết - Tên trang`: the heading alone says it better.
        let heading = self.flow.first_heading().map(str::to_owned);
        let title = match (title, heading) {
            (Some(title), Some(heading)) if title.starts_with(&heading) => Some(heading),
            (title, _) => title,
        };
        Extract { title, ..self.flow.finish(Places::Lines) }
    }
}
