//! Numbers written in groups of three digits: 1.000.000 = 1,000,000 = 1 000 000 = 1000000.

/// Groups beyond which digits in threes are columns of a table, and not one number.
const MAX_GROUPS: usize = 5;

/// A number without the signs between its groups.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ungrouped {
    /// All its digits; a point before the decimals, if it has some.
    pub digits: String,
    /// Whether the word could also be read with a decimal point: "1.000" may be a thousand or one.
    pub is_ambiguous: bool,
}

/// Reads a word as a number in groups; `None` if it is none, such as 1.5, 0.125, 2024.10 or a date.
///
/// With two groups or more, or with decimals after another sign, it can be nothing else. One group
/// may be decimals if the sign is a point or a comma.
pub(super) fn ungrouped(word: &str) -> Option<Ungrouped> {
    let (head, rest) = word.split_at(leading_digits(word));
    if !is_head(head) {
        return None;
    }
    let sign = rest.chars().next().filter(|c| matches!(c, '.' | ',' | '\'' | '’' | '_'))?;
    let mut digits = head.to_owned();
    let (mut rest, mut groups) = (rest, 0);
    while let Some(group) = rest.strip_prefix(sign)
        && leading_digits(group) == 3
    {
        digits.push_str(&group[..3]);
        rest = &group[3..];
        groups += 1;
    }
    let decimals = rest.strip_prefix(['.', ',']).filter(|_| !rest.starts_with(sign));
    match decimals {
        _ if groups == 0 => return None,
        None if rest.is_empty() => {}
        Some(decimals) if !decimals.is_empty() && is_digits(decimals) => {
            let decimals = decimals.trim_end_matches('0');
            if !decimals.is_empty() {
                digits.push('.');
                digits.push_str(decimals);
            }
        }
        _ => return None,
    }
    let is_ambiguous = groups == 1 && rest.is_empty() && matches!(sign, '.' | ',');
    Some(Ungrouped { digits, is_ambiguous })
}

/// How many of the words of `text`, from the first, are the groups of one number with a space between
/// each two; 0 if they are none.
pub(super) fn spaced(text: &str, words: &[(usize, &str)]) -> usize {
    let is_space = |between: &str| matches!(between, " " | "\u{a0}" | "\u{202f}" | "\u{2009}");
    if !words.first().is_some_and(|(_, head)| is_head(head)) {
        return 0;
    }
    let follows = |pair: &[(usize, &str)]| {
        let [(before, left), (start, right)] = pair else { return false };
        is_space(&text[before + left.len()..*start]) && right.len() == 3 && is_digits(right)
    };
    match words.windows(2).take_while(|pair| follows(pair)).count() {
        0 => 0,
        more => more + 1,
    }
}

/// Whether so many groups are one number.
pub(super) fn is_one_number(groups: usize) -> bool {
    (2..=MAX_GROUPS).contains(&groups)
}

/// What a number in groups begins with: one to three digits, the first of them no zero.
fn is_head(word: &str) -> bool {
    (1..=3).contains(&word.len()) && is_digits(word) && !word.starts_with('0')
}

fn is_digits(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn leading_digits(word: &str) -> usize {
    word.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_between_groups_are_dropped() {
        let read = |word| ungrouped(word).map(|number| (number.digits, number.is_ambiguous));
        for word in ["1.000.000", "1,000,000", "1'000'000", "1_000_000"] {
            assert_eq!(read(word), Some(("1000000".to_owned(), false)), "{word}");
        }
        assert_eq!(read("1.000.000,00"), Some(("1000000".to_owned(), false)));
        for word in ["12.345,67", "12,345.670", "12_345.67"] {
            assert_eq!(read(word), Some(("12345.67".to_owned(), false)), "{word}");
        }
        for word in ["1.000", "1,000"] {
            assert_eq!(read(word), Some(("1000".to_owned(), true)), "{word}");
        }
        for word in [
            "1.5",
            "0.125",
            "0,125",
            "1.50.000",
            "1.0000",
            "01.02.2026",
            "2024.100",
            "192.168.1.1",
            "1.000.",
            "1.000,",
            "1.000.00",
            "1000",
            "",
            "a",
            "1,000.5x",
            "0912.345.678",
        ] {
            assert_eq!(read(word), None, "{word}");
        }
    }

    #[test]
    fn spaces_between_groups() {
        let groups = |text: &str| {
            let words: Vec<(usize, &str)> = text
                .split([' ', '\u{a0}', ',', '\n'])
                .filter(|word| !word.is_empty())
                .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
                .collect();
            spaced(text, &words)
        };
        assert_eq!(groups("1 000 000 đồng"), 3);
        assert_eq!(groups("12\u{a0}345"), 2);
        for text in ["1  000", "1\n000", "1, 000", "2024 100", "012 345", "1 00", "1", "", "x 100"]
        {
            assert_eq!(groups(text), 0, "{text}");
        }
        assert!(is_one_number(3) && !is_one_number(6));
    }
}
