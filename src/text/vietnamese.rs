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

#[cfg(test)]
mod tests {
    use super::*;

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
