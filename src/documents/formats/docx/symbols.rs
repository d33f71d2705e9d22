//! Signs of the fonts whose letters are pictures: Symbol and Wingdings. In files they stand at the
//! codes of other letters, or at U+F000 and more.

/// Symbol, from 0x20 on; a zero for what is no sign.
const SYMBOL: &str = "\
\u{20}!∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼\0\
\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪\0〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭\0";

/// The signs of Wingdings that say something: check boxes, marks, arrows, numbers.
const WINGDINGS: [(u8, char); 52] = [
    (0x22, '✂'),
    (0x28, '☎'),
    (0x29, '✆'),
    (0x2a, '✉'),
    (0x4a, '☺'),
    (0x4b, '😐'),
    (0x4c, '☹'),
    (0x6c, '●'),
    (0x6e, '■'),
    (0x6f, '☐'),
    (0x70, '☐'),
    (0x71, '❑'),
    (0x72, '❒'),
    (0x75, '◆'),
    (0x76, '❖'),
    (0x78, '☒'),
    (0x80, '⓪'),
    (0x81, '①'),
    (0x82, '②'),
    (0x83, '③'),
    (0x84, '④'),
    (0x85, '⑤'),
    (0x86, '⑥'),
    (0x87, '⑦'),
    (0x88, '⑧'),
    (0x89, '⑨'),
    (0x8a, '⑩'),
    (0x8c, '❶'),
    (0x8d, '❷'),
    (0x8e, '❸'),
    (0x8f, '❹'),
    (0x90, '❺'),
    (0x91, '❻'),
    (0x92, '❼'),
    (0x93, '❽'),
    (0x94, '❾'),
    (0x95, '❿'),
    (0xa7, '▪'),
    (0xa8, '☐'),
    (0xab, '★'),
    (0xd8, '➢'),
    (0xdf, '←'),
    (0xe0, '→'),
    (0xe1, '↑'),
    (0xe2, '↓'),
    (0xe7, '⬅'),
    (0xe8, '➔'),
    (0xf0, '⇨'),
    (0xfb, '✗'),
    (0xfc, '✓'),
    (0xfd, '☒'),
    (0xfe, '☑'),
];
const WINGDINGS_2: [(u8, char); 10] = [
    (0x2a, '☐'),
    (0x30, '☐'),
    (0x4f, '✗'),
    (0x50, '✓'),
    (0x51, '☒'),
    (0x52, '☑'),
    (0x53, '☒'),
    (0x54, '☒'),
    (0x97, '●'),
    (0xa3, '☐'),
];

/// What a sign of a font is in Unicode; `None` if it is decoration.
pub(super) fn sign(font: &str, code: u32) -> Option<char> {
    let own = match code {
        0x20..=0xff => u8::try_from(code).ok(),
        0xf020..=0xf0ff => u8::try_from(code - 0xf000).ok(),
        _ => None,
    };
    let listed = |signs: &[(u8, char)]| {
        signs.iter().find(|(code, _)| Some(*code) == own).map(|&(_, sign)| sign)
    };
    match (font.to_ascii_lowercase().as_str(), own) {
        ("wingdings", Some(_)) => listed(&WINGDINGS),
        ("wingdings 2", Some(_)) => listed(&WINGDINGS_2),
        ("wingdings 3" | "webdings", Some(_)) => None,
        // Nothing else has letters at those codes.
        ("symbol", Some(own)) => symbol(own),
        (_, Some(own)) if code > 0xff => symbol(own),
        _ => char::from_u32(code).filter(|&sign| sign != '\0'),
    }
}

fn symbol(code: u8) -> Option<char> {
    SYMBOL.chars().nth(usize::from(code.checked_sub(0x20)?)).filter(|&sign| sign != '\0')
}

/// Text in one of these fonts, as people see it.
pub(super) fn readable(font: &str, text: &str) -> Option<String> {
    let is_own = |c: char| ('\u{f020}'..='\u{f0ff}').contains(&c);
    text.contains(is_own).then(|| {
        let sign = |c: char| if is_own(c) { sign(font, c.into()) } else { Some(c) };
        text.chars().filter_map(sign).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_what_people_see() {
        for (font, code, expected) in [
            ("Wingdings", 0xf0fe, Some('☑')),
            ("Wingdings", 0xa8, Some('☐')),
            ("Wingdings", 0xf0ff, None),
            ("Wingdings 2", 0xf052, Some('☑')),
            ("Symbol", 0xf061, Some('α')),
            ("Symbol", 0xb3, Some('≥')),
            ("Symbol", 0xf0d0, Some('∠')),
            ("Symbol", 0xf0e5, Some('∑')),
            ("Symbol", 0xf0f2, Some('∫')),
            ("Symbol", 0xf0a0, Some('€')),
            ("Times New Roman", 0xf0b3, Some('≥')),
            ("Times New Roman", 0xb1, Some('±')),
            ("Segoe UI Symbol", 0x2612, Some('☒')),
            ("Arial", 0xd800, None),
        ] {
            assert_eq!(sign(font, code), expected, "{code:x} of {font}");
        }
        assert_eq!(readable("Symbol", "a \u{f0b3} b").as_deref(), Some("a ≥ b"));
        assert_eq!(readable("Arial", "a ≥ b"), None);
    }
}
