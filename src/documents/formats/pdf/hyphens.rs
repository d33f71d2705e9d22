//! Words that a line's end breaks become whole again.
//!
//! The library puts a space where a line ends, so that a broken word reads "capabili- ty". Whether
//! its hyphen belongs to the word ("price- performance") is nowhere said. The document's other words
//! tell most; what is left goes by how hyphens are used.

use std::collections::HashSet;

use super::sheet::{Part, Sheet};

/// Words that stand before a hyphen so often that one behind them is real.
const COMPOUNDING: &str = "\
    above air audio back best better big bit book bottom brand broad build built business buy \
    byte case check client close cloud code cold color colour command company consumer content \
    context cost counter cross customer cutting data day deep device domain door double drop dry \
    early easy eight end energy error event evidence eye face fact family far fast fault feature \
    field file fine first five fixed follow force four free front full fully general goal good \
    government ground half hand hard head health heavy high higher highly home hot human \
    industry input job key know knowledge labor labour land language large last late left length \
    life light like line load long look loose low lower machine main make many market mass \
    middle mind model money month name near need never new newly next nine non north number \
    object oil old one open order output page paper past pay peer performance person plug point \
    policy poor power price problem process product profit project public quality quasi question \
    quick rate read ready real record research resource rich right risk road role root round run \
    safety sales same science search second security self semi server service set seven short \
    side sign single six slow small socio soft software source south space speed stand start \
    state step still stock strong system take target task tax team ten test text third three \
    time top trade two type ultra user value vice video wage wait war water weather web week \
    well west wide widely word work world year zero";

/// Words that stand behind a hyphen so often that one before them is real.
const COMPOUNDED: &str = "\
    based bound class dependent dimensional driven effective efficient fashioned fold free \
    friendly income intensive known level like looking made making minded only oriented \
    performance powered quality related rich saving scale sided size sized specific style term \
    type wide";

/// Ends of words, which a line's end often separates from words that may stand before hyphens.
const ENDINGS: &str = "\
    able ably ally ance ence fully ings ledge less ment mental ments ness nesses ship tion tional \
    tions ward wards";

/// After these a hyphen hangs: "pre- and post-war", "Vor- und Nachteile".
const CONJUNCTIONS: &str = "\
    and or to und oder bis bzw et ou và hoặc hay en of y e";

/// Mends the words of all pages, and those that go on in the next column or on the next page.
pub(super) fn mend(pages: &mut [Sheet]) {
    let is_broken = |text: &str| breaks(text).next().is_some();
    let texts = || pages.iter().flat_map(|page| &page.parts).flat_map(Part::texts);
    let is_open = |text: &str| text.trim_end().ends_with(is_hyphen);
    if !texts().any(|text| is_broken(text) || is_open(text)) {
        return;
    }
    let words = Words::of(texts());
    for part in pages.iter_mut().flat_map(|page| &mut page.parts) {
        if !matches!(part, Part::Code(_)) {
            part.texts_mut().filter(|text| is_broken(text)).for_each(|text| {
                *text = joined(text, &words);
            });
        }
    }
    carry_over(pages, &words);
}

/// A word broken at the end of a paragraph goes to where its other half stands.
fn carry_over(pages: &mut [Sheet], words: &Words) {
    let mut half: Option<&mut String> = None;
    // Running heads stand between, so only paragraphs of some length count.
    let paragraphs =
        pages.iter_mut().flat_map(|page| &mut page.parts).filter_map(|part| match part {
            Part::Text(text) if text.len() > 60 => Some(text),
            _ => None,
        });
    for text in paragraphs {
        if let Some(before) = half.take() {
            let start = before.trim_end().rfind(char::is_whitespace).map_or(0, |at| at + 1);
            let whole = format!("{} {}", before[start..].trim_end(), text.trim_start());
            let is_one = breaks(&whole).next().is_some_and(|at| !whole[..at].contains(' '));
            let mended = joined(&whole, words);
            if is_one && mended != whole {
                before.truncate(start);
                *text = mended;
            }
        }
        if text.trim_end().ends_with(is_hyphen) {
            half = Some(text);
        }
    }
}

fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{ad}' | '\u{2010}' | '\u{2011}')
}

/// Where hyphens stand that a word goes on behind, after white space.
fn breaks(text: &str) -> impl Iterator<Item = usize> {
    text.match_indices(is_hyphen).map(|(at, _)| at).filter(|&at| {
        let mut behind = text[at..].chars();
        behind.next();
        text[..at].ends_with(char::is_alphanumeric)
            && behind.next().is_some_and(char::is_whitespace)
            && behind.find(|c| !c.is_whitespace()).is_some_and(char::is_alphanumeric)
    })
}

/// The words of a document, in lower case and with the hyphens inside of them.
struct Words {
    known: HashSet<String>,
    is_vietnamese: bool,
}

impl Words {
    fn of<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let words = texts.flat_map(|text| text.split(|c: char| !is_of_word(c)));
        let known: HashSet<String> =
            words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
        let vietnamese = known.iter().filter(|word| word.chars().any(is_vietnamese)).count();
        Self { is_vietnamese: 20 * vietnamese > known.len(), known }
    }

    fn have(&self, word: &str) -> bool {
        self.known.contains(word)
    }

    /// Whether a syllable may be Vietnamese, whose words are not broken inside of syllables.
    fn may_be_vietnamese(&self, syllable: &str) -> bool {
        syllable.chars().any(is_vietnamese) || (self.is_vietnamese && !syllable.is_ascii())
    }
}

fn joined(text: &str, words: &Words) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut from = 0;
    for at in breaks(text) {
        let hyphen = text[at..].chars().next().unwrap_or('-');
        let behind = at + hyphen.len_utf8();
        let rest = text[behind..].trim_start();
        let first = last_word(&text[..at]);
        let second = &rest[..rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len())];
        mended.push_str(&text[from..at]);
        from = text.len() - rest.len();
        match link(first, hyphen, second, words) {
            Link::None => {}
            Link::Hyphen => mended.push(hyphen),
            Link::Gap => mended.push_str(&text[at..from]),
        }
    }
    mended.push_str(&text[from..]);
    mended
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || is_hyphen(c)
}

fn last_word(text: &str) -> &str {
    let start = text.char_indices().rev().find(|&(_, c)| !is_of_word(c));
    start.map_or(text, |(at, c)| &text[at + c.len_utf8()..])
}

/// What stays between the halves of a broken word.
#[derive(Debug, PartialEq)]
enum Link {
    None,
    Hyphen,
    /// They are two words.
    Gap,
}

fn link(first: &str, hyphen: char, second: &str, words: &Words) -> Link {
    let [lower_first, lower_second] = [first, second].map(str::to_lowercase);
    if is_in(CONJUNCTIONS, &lower_second) {
        return Link::Gap;
    }
    if hyphen == '\u{ad}' {
        return Link::None;
    }
    if words.have(&format!("{lower_first}{lower_second}")) {
        return Link::None;
    }
    if ['-', '\u{2010}', '\u{2011}']
        .iter()
        .any(|h| words.have(&format!("{lower_first}{h}{lower_second}")))
    {
        return Link::Hyphen;
    }
    let is_lower = |word: &str| word.chars().all(char::is_lowercase);
    let begins_word = first.chars().skip(1).all(char::is_lowercase);
    // Names, numbers, letters (x-ray) and words with further hyphens are broken nowhere else.
    if !begins_word || !is_lower(second) || first.chars().nth(1).is_none() {
        return Link::Hyphen;
    }
    // Programs that break words write this one, so that it can be told from a real one.
    if hyphen == '\u{2010}' {
        return Link::None;
    }
    if [first, second].iter().any(|half| words.may_be_vietnamese(half)) {
        return Link::Hyphen;
    }
    let is_word = second.len() > 3 && !is_in(ENDINGS, &lower_second);
    let is_compound =
        is_in(COMPOUNDED, &lower_second) || (is_word && is_in(COMPOUNDING, &lower_first));
    if is_compound { Link::Hyphen } else { Link::None }
}

fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// Letters that no other language with hyphenation has.
fn is_vietnamese(c: char) -> bool {
    matches!(c, '\u{1ea0}'..='\u{1ef9}' | 'ơ' | 'Ơ' | 'ư' | 'Ư' | 'đ' | 'Đ' | 'ă' | 'Ă')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(text: &str) -> String {
        let other = "The notation is well known: re-entrant. Capability. Tiếng Việt của người dân.";
        joined(text, &Words::of([other].into_iter()))
    }

    #[test]
    fn broken_words_are_whole_again() {
        assert_eq!(mended("every capabili- ty of the system"), "every capability of the system");
        assert_eq!(mended("ad‐ ministrative  com‐ munication"), "administrative  communication");
        assert_eq!(mended("Ad\u{ad} ministration, nota-\ntion"), "Administration, notation");
        assert_eq!(mended("a state- ment, work- ing"), "a statement, working");
        assert_eq!(mended("die Rechtsschutzversiche- rung"), "die Rechtsschutzversicherung");
    }

    #[test]
    fn real_hyphens_stay() {
        for (broken, whole) in [
            ("the price- performance ratio", "the price-performance ratio"),
            ("state-of-the- art models", "state-of-the-art models"),
            ("from 2020- 2024", "from 2020-2024"),
            ("COVID- 19, Jean- Paul, e- mail", "COVID-19, Jean-Paul, e-mail"),
            ("a re- entrant lock", "a re-entrant lock"),
            ("Mát- xcơ-va, Mát-xcơ- va, Ác- hen-ti-na", "Mát-xcơ-va, Mát-xcơ-va, Ác-hen-ti-na"),
            ("xích- lô đạp", "xích-lô đạp"),
        ] {
            assert_eq!(mended(broken), whole);
        }
    }

    #[test]
    fn what_is_no_broken_word_is_left_alone() {
        for text in
            ["pre- and post-war", "Vor- und Nachteile", "Hà Nội - Huế", "x - 1", "a -b", "5- "]
        {
            assert_eq!(mended(text), text);
        }
    }

    #[test]
    fn a_word_goes_on_on_the_next_page() {
        let page = |text: &str| Sheet {
            parts: vec![Part::Text(text.to_owned()), Part::Text("– 7 –".to_owned())],
            ..Sheet::default()
        };
        let long = "The first page says so much that it does not fit and lists each capabili-";
        let rest = "ty of the system on the second one, which goes on for a while like this.";
        let mut pages = [page(long), page(rest)];
        mend(&mut pages);
        let texts: Vec<&str> = pages.iter().flat_map(|page| page.parts[0].texts()).collect();
        assert!(texts[0].ends_with("lists each "));
        assert!(texts[1].starts_with("capability of the system"));
    }
}
