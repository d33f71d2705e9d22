//! Vietnamese spelling.

use unicode_normalization::UnicodeNormalization;

/// The combining marks of the tones: grave, acute, tilde, hook above, dot below.
pub(crate) const TONES: [char; 5] = ['\u{300}', '\u{301}', '\u{303}', '\u{309}', '\u{323}'];

/// What a syllable may begin with.
const ONSETS: &str = "ngh ng nh n gh gi g kh k ch c tr th t ph p qu b d đ h l m r s v x";

/// What may follow, without the tone.
const RHYMES: &str = "\
a ac ach ai am an ang anh ao ap at au ay ăc ăm ăn ăng ăp ăt âc âm ân âng âp ât âu ây \
e ec em en eng eo ep et ê êch êm ên ênh êp êt êu i ia ich iêc iêm iên iêng iêp iêt iêu im in inh ip \
it iu o oa oac oach oai oam oan oang oanh oao oap oat oay oăc oăm oăn oăng oăt oc oe oen oeo oet oi \
om on ong ooc oong op ot ô ôc ôi ôm ôn ông ôp ôt ơ ơi ơm ơn ơp ơt u ua uân uâng uât uây uc uê uêch \
uênh ui um un ung uơ uôc uôi uôm uôn uông uôt up ut uy uya uych uyên uyêt uynh uyn uyp uyt uyu ư ưa \
ưc ưi ưm ưn ưng ươc ươi ươm ươn ương ươp ươt ươu ưt ưu y yêm yên yêng yêt yêu ynh yt";

/// Whether a word, in any case and in composed form, is spelt as a Vietnamese syllable.
pub(crate) fn is_syllable(word: &str) -> bool {
    let mut tone = None;
    let mut letters = String::new();
    for c in word.chars().flat_map(char::to_lowercase).nfd() {
        if TONES.contains(&c) {
            if tone.replace(c).is_some() {
                return false;
            }
        } else {
            letters.push(c);
        }
    }
    let letters: String = letters.nfc().collect();
    let is_rhyme = |rest: &str| {
        // A syllable that ends in a stop has only two of the tones.
        let stops = rest.ends_with(['c', 'p', 't']) || rest.ends_with("ch");
        let fits = !stops || matches!(tone, None | Some('\u{301}' | '\u{323}'));
        fits && RHYMES.split_ascii_whitespace().any(|rhyme| rhyme == rest)
    };
    is_rhyme(&letters)
        || ONSETS
            .split_ascii_whitespace()
            .filter_map(|onset| letters.strip_prefix(onset))
            .any(is_rhyme)
}

/// Letters that stand for a Vietnamese one in texts from old programs and fonts: eth and the African
/// D for đ, gha for ư, a caron for the breve. In lower case.
const LOOK_ALIKES: [(char, char); 4] = [('ð', 'đ'), ('ɖ', 'đ'), ('ƣ', 'ư'), ('ǎ', 'ă')];

/// Whether a letter, in any case, may stand for a Vietnamese one.
pub(crate) fn is_look_alike(letter: char) -> bool {
    letter.to_lowercase().any(|lower| LOOK_ALIKES.iter().any(|&(found, _)| found == lower))
}

/// A word in lower case with the right letters for look-alikes, if it is a Vietnamese syllable then:
/// the Icelandic "það" stays.
pub(crate) fn right_letters(word: String) -> String {
    if !word.contains(is_look_alike) {
        return word;
    }
    let right =
        |c: char| LOOK_ALIKES.iter().find(|&&(found, _)| found == c).map_or(c, |&(_, right)| right);
    let righted: String = word.chars().map(right).nfc().collect();
    if is_syllable(&righted) { righted } else { word }
}

/// How words end that may have a second spelling, which [`one_spelling`] removes.
pub(crate) const HAS_TWO_SPELLINGS: [char; 8] = ['a', 'e', 'y', 'ý', 'ỳ', 'ỷ', 'ỹ', 'ỵ'];

/// A word in lower case, in one of the spellings that Vietnamese allows it.
pub(crate) fn one_spelling(word: String) -> String {
    i_for_y(tone_on_second_vowel(word))
}

/// Vietnamese writes the tone of an open oa, oe or uy on either vowel (hòa = hoà); here it is on the
/// second.
fn tone_on_second_vowel(word: String) -> String {
    let mut tail = word.char_indices().rev();
    let (Some((last_at, last)), Some((first_at, first))) = (tail.next(), tail.next()) else {
        return word;
    };
    let mut decomposed = std::iter::once(first).nfd();
    let (Some(vowel), Some(tone), None) = (decomposed.next(), decomposed.next(), decomposed.next())
    else {
        return word;
    };
    if !matches!((vowel, last), ('o', 'a' | 'e') | ('u', 'y')) || !TONES.contains(&tone) {
        return word;
    }
    let moved = [vowel, last, tone].into_iter().nfc();
    debug_assert_eq!(last_at + last.len_utf8(), word.len());
    word[..first_at].chars().chain(moved).collect()
}

/// After these consonants a syllable that is nothing but a long i is spelt with either letter (kĩ =
/// kỹ, quí = quý); here it is i. Elsewhere y is another sound (tai and tay, hui and huy).
const BEFORE_I_OR_Y: [&str; 8] = ["h", "k", "l", "m", "s", "t", "v", "qu"];

fn i_for_y(mut word: String) -> String {
    let i = match word.chars().next_back() {
        Some('y') => 'i',
        Some('ý') => 'í',
        Some('ỳ') => 'ì',
        Some('ỷ') => 'ỉ',
        Some('ỹ') => 'ĩ',
        Some('ỵ') => 'ị',
        _ => return word,
    };
    let y = word.pop();
    word.push(if BEFORE_I_OR_Y.contains(&word.as_str()) { i } else { y.unwrap_or(i) });
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_count_in_syllables_only() {
        for (found, right) in [
            ("ðường", "đường"),
            ("ɖất", "đất"),
            ("trƣờng", "trường"),
            ("tƣ\u{300}", "từ"),
            ("ðƣợc", "được"),
            ("nǎm", "năm"),
        ] {
            assert_eq!(right_letters(found.to_owned()), right);
        }
        for word in ["það", "veður", "ƣa̱", "hǎo", "đường"] {
            assert_eq!(right_letters(word.to_owned()), word);
        }
    }

    #[test]
    fn either_placement_of_the_tone_and_either_letter_are_one_spelling() {
        let one = |word: &str| one_spelling(word.to_owned());
        for group in [
            &["hòa", "hoà"][..],
            &["thúy", "thuý"],
            &["kĩ", "kỹ"],
            &["mĩ", "mỹ"],
            &["sĩ", "sỹ"],
            &["lí", "lý"],
            &["quí", "quý", "qúy"],
            &["ti", "ty"],
            &["vị", "vỵ"],
        ] {
            assert!(group.iter().all(|word| one(word) == one(group[0])), "{group:?}");
        }
        for [left, right] in
            [["tai", "tay"], ["ai", "ay"], ["ui", "uy"], ["hui", "huy"], ["í", "ý"]]
        {
            assert_ne!(one(left), one(right));
        }
        assert_eq!(one("y"), "y");
    }

    #[test]
    fn syllables() {
        let text = "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi \
                    nghiêng khuya quýt gì giếng giặt ươm yêu ủy hòa hoà khoẻ QUỐC ÂN huỳnh loè xoong";
        for word in text.split_whitespace() {
            assert!(is_syllable(word), "{word}");
        }
        for word in
            ["café", "für", "être", "ăâ", "bảc", "trwờng", "í©", "xìn̉", "đđ", "œuvre", "ngày-", ""]
        {
            assert!(!is_syllable(word), "{word}");
        }
    }
}
