//! Where words begin and end.

use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;

use super::spelling::latin;

/// The words of `text` by Unicode's rules (UAX #29), with a dictionary or a model for scripts
/// that do not separate them, each with its byte offset.
pub fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    each_word(text, &mut |start, word| words.push((start, word)));
    words
}

/// Calls `found` with every word of `text` and its byte offset.
///
/// ASCII white space always separates words, so each run between is cut by itself: plain Latin text
/// here, which is a tenth of the work, and all other text by ICU.
fn each_word<'a>(text: &'a str, found: &mut impl FnMut(usize, &'a str)) {
    let mut segmenter = None;
    let mut start = 0;
    for run in text.split(|c: char| c.is_ascii_whitespace()) {
        if !each_latin_word(run, &mut |at, word| found(start + at, word)) {
            let segmenter = segmenter.get_or_insert_with(|| {
                WordSegmenter::new_auto(WordBreakInvariantOptions::default())
            });
            let mut from = 0;
            // Does not go by ICU's word types: a word that ends in a combining mark has none.
            for end in segmenter.segment_str(run).skip(1) {
                if run[from..end].contains(char::is_alphanumeric) {
                    found(start + from, &run[from..end]);
                }
                from = end;
            }
        }
        start += run.len() + 1;
    }
}

/// Finds the words of a run without white space. If it takes ICU to do so, finds none and returns
/// `false`: if there is a letter of another script, or a sign that may join what is beside it.
fn each_latin_word<'a>(run: &'a str, found: &mut impl FnMut(usize, &'a str)) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || latin(c).is_some();
    // What joins two letters or two digits, as in "3.5" or "can't".
    let joins = |c: char| matches!(c, '.' | ',' | ':' | ';' | '\'');
    let mut before = [' '; 2];
    for c in run.chars() {
        if !(is_word(c) || c.is_ascii_punctuation() && c != '_')
            || is_word(before[0]) && joins(before[1]) && is_word(c)
        {
            return false;
        }
        before = [before[1], c];
    }
    let mut start = 0;
    for word in run.split(|c: char| c.is_ascii_punctuation()) {
        if !word.is_empty() {
            found(start, word);
        }
        start += word.len() + 1;
    }
    true
}
