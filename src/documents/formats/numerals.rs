//! Numbers as lists print them.

/// A number in one of Word's formats; those that are not known are decimal.
pub(crate) fn numeral(number: u32, format: &str) -> String {
    match format {
        "none" => String::new(),
        "lowerLetter" => letters(number, b'a'),
        "upperLetter" => letters(number, b'A'),
        "lowerRoman" => roman(number).to_lowercase(),
        "upperRoman" => roman(number),
        "decimalZero" => format!("{number:02}"),
        "ordinal" => ordinal(number),
        "numberInDash" => format!("- {number} -"),
        "decimalEnclosedParen" => format!("({number})"),
        "decimalEnclosedFullstop" => format!("{number}."),
        "decimalEnclosedCircle" | "decimalEnclosedCircleChinese" => circled(number),
        "vietnameseCounting" => vietnamese(number),
        "chineseCounting"
        | "chineseCountingThousand"
        | "japaneseCounting"
        | "taiwaneseCounting"
        | "taiwaneseCountingThousand"
        | "ideographDigital"
        | "koreanCounting" => chinese(number),
        // `001, 002, 003, …`: the first number says how many digits there are.
        format => match format.split(',').next() {
            Some(first) if first.starts_with('0') => {
                let width = first.len().min(9);
                format!("{number:0width$}")
            }
            _ => number.to_string(),
        },
    }
}

/// After z comes aa, then bb.
fn letters(number: u32, first: u8) -> String {
    let at = number.max(1) - 1;
    let letter = char::from(first + (at % 26) as u8);
    std::iter::repeat_n(letter, (at / 26 % 8 + 1) as usize).collect()
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

fn circled(number: u32) -> String {
    match number {
        1..=20 => char::from_u32(0x2460 + number - 1).map(String::from).unwrap_or_default(),
        _ => number.to_string(),
    }
}

fn vietnamese(number: u32) -> String {
    const DIGITS: [&str; 10] =
        ["không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín"];
    let digit = |number: u32| DIGITS[(number % 10) as usize];
    let (tens, ones) = (number / 10, number % 10);
    let last = match (tens, ones) {
        (1.., 5) => "lăm",
        (2.., 1) => "mốt",
        _ => digit(ones),
    };
    match (tens, ones) {
        (0, _) => last.to_owned(),
        (1, 0) => "mười".to_owned(),
        (1, _) => format!("mười {last}"),
        (2..=9, 0) => format!("{} mươi", digit(tens)),
        (2..=9, _) => format!("{} mươi {last}", digit(tens)),
        _ => number.to_string(),
    }
}

fn chinese(number: u32) -> String {
    const DIGITS: [&str; 10] = ["〇", "一", "二", "三", "四", "五", "六", "七", "八", "九"];
    let digit = |number: u32| DIGITS[(number % 10) as usize];
    let (tens, ones) = (number / 10, number % 10);
    let last = if ones == 0 { "" } else { digit(ones) };
    match tens {
        0 => digit(ones).to_owned(),
        1 => format!("十{last}"),
        2..=9 => format!("{}十{last}", digit(tens)),
        _ => number.to_string(),
    }
}

fn roman(number: u32) -> String {
    const DIGITS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if number >= 4000 {
        return number.to_string();
    }
    let mut rest = number;
    let mut roman = String::new();
    for (value, digits) in DIGITS {
        while rest >= value {
            roman.push_str(digits);
            rest -= value;
        }
    }
    roman
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_several_scripts() {
        let numerals = |format: &str| [1, 4, 27, 1994].map(|number| numeral(number, format));
        assert_eq!(numerals("decimal"), ["1", "4", "27", "1994"]);
        assert_eq!(numerals("decimalZero"), ["01", "04", "27", "1994"]);
        assert_eq!(numerals("001, 002, 003, ..."), ["001", "004", "027", "1994"]);
        assert_eq!(numerals("lowerLetter"), ["a", "d", "aa", "rrrrr"]);
        assert_eq!(numerals("upperRoman"), ["I", "IV", "XXVII", "MCMXCIV"]);
        assert_eq!(numerals("ordinal"), ["1st", "4th", "27th", "1994th"]);
        assert_eq!(numerals("decimalEnclosedCircle"), ["①", "④", "27", "1994"]);
        assert_eq!(numerals("vietnameseCounting"), ["một", "bốn", "hai mươi bảy", "1994"]);
        assert_eq!(numerals("chineseCounting"), ["一", "四", "二十七", "1994"]);
        assert_eq!(numeral(15, "vietnameseCounting"), "mười lăm");
        assert_eq!(numeral(21, "vietnameseCounting"), "hai mươi mốt");
        assert_eq!(numeral(10, "chineseCounting"), "十");
        assert_eq!(numeral(4000, "upperRoman"), "4000");
        assert_eq!(numeral(0, "upperLetter"), "A");
        assert_eq!(numeral(112, "ordinal"), "112th");
    }
}
