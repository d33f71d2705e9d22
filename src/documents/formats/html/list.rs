//! Numbers of list items, as a page shows them.

/// An open list.
#[derive(Debug)]
pub(super) struct List {
    /// The number of the next item; `None` if items have no numbers.
    next: Option<i64>,
    step: i64,
    style: Style,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Style {
    #[default]
    Decimal,
    SmallLetters,
    Letters,
    SmallRoman,
    Roman,
    None,
}

impl List {
    pub fn unordered() -> Self {
        Self { next: None, step: 1, style: Style::None }
    }

    /// `items` is how many items a list has that counts down.
    pub fn ordered(start: Option<i64>, style: Style, items: Option<i64>) -> Self {
        let step = if items.is_some() { -1 } else { 1 };
        Self { next: Some(start.or(items).unwrap_or(1)), step, style }
    }

    /// The marker of the next item; `value` and `style` are its own.
    pub fn marker(&mut self, value: Option<i64>, style: Option<Style>) -> String {
        let Some(next) = self.next else { return "-".to_owned() };
        let number = value.unwrap_or(next);
        self.next = Some(number.saturating_add(self.step));
        match style.unwrap_or(self.style).written(number) {
            Some(number) => format!("{number}."),
            None => "-".to_owned(),
        }
    }
}

impl Style {
    /// What the attribute `type` says.
    pub fn of_type(value: &str) -> Option<Self> {
        match value.trim() {
            "1" => Some(Self::Decimal),
            "a" => Some(Self::SmallLetters),
            "A" => Some(Self::Letters),
            "i" => Some(Self::SmallRoman),
            "I" => Some(Self::Roman),
            _ => None,
        }
    }

    /// What a style sheet says: `list-style-type: lower-alpha`. `style` is in lower case, without
    /// white space.
    pub fn of_css(style: &str) -> Option<Self> {
        let (_, value) = style.split_once("list-style")?;
        let value = value.split_once(':')?.1.split(';').next()?;
        let named = |names: &[&str]| names.iter().any(|name| value.contains(name));
        match () {
            () if named(&["lower-alpha", "lower-latin"]) => Some(Self::SmallLetters),
            () if named(&["upper-alpha", "upper-latin"]) => Some(Self::Letters),
            () if named(&["lower-roman"]) => Some(Self::SmallRoman),
            () if named(&["upper-roman"]) => Some(Self::Roman),
            () if named(&["decimal"]) => Some(Self::Decimal),
            () if named(&["none", "disc", "circle", "square"]) => Some(Self::None),
            () => None,
        }
    }

    fn written(self, number: i64) -> Option<String> {
        let capital = |text: String| text.to_ascii_uppercase();
        match self {
            Self::Decimal => Some(number.to_string()),
            Self::SmallLetters => Some(letters(number).unwrap_or_else(|| number.to_string())),
            Self::Letters => Some(letters(number).map_or_else(|| number.to_string(), capital)),
            Self::SmallRoman => Some(roman(number).unwrap_or_else(|| number.to_string())),
            Self::Roman => Some(roman(number).map_or_else(|| number.to_string(), capital)),
            Self::None => None,
        }
    }
}

/// `a` to `z`, then `aa`.
fn letters(number: i64) -> Option<String> {
    let mut number = u64::try_from(number).ok().filter(|&number| number > 0)?;
    let mut letters = Vec::new();
    while number > 0 {
        number -= 1;
        letters.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    Some(letters.into_iter().rev().collect())
}

fn roman(number: i64) -> Option<String> {
    const DIGITS: [(i64, &str); 13] = [
        (1000, "m"),
        (900, "cm"),
        (500, "d"),
        (400, "cd"),
        (100, "c"),
        (90, "xc"),
        (50, "l"),
        (40, "xl"),
        (10, "x"),
        (9, "ix"),
        (5, "v"),
        (4, "iv"),
        (1, "i"),
    ];
    let mut rest = Some(number).filter(|number| (1..4000).contains(number))?;
    let mut roman = String::new();
    for (value, digit) in DIGITS {
        while rest >= value {
            roman.push_str(digit);
            rest -= value;
        }
    }
    Some(roman)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_pages_show_them() {
        let written = |style: Style, number| style.written(number).unwrap();
        assert_eq!(written(Style::SmallLetters, 2), "b");
        assert_eq!(written(Style::Letters, 28), "AB");
        assert_eq!(written(Style::SmallLetters, 702), "zz");
        assert_eq!(written(Style::SmallRoman, 1994), "mcmxciv");
        assert_eq!(written(Style::Roman, 4), "IV");
        // What has no letters keeps its digits.
        assert_eq!(written(Style::Roman, 4000), "4000");
        assert_eq!(written(Style::Letters, 0), "0");
        assert_eq!(written(Style::Decimal, -3), "-3");
    }

    #[test]
    fn lists_count_from_anywhere_and_down() {
        let mut list = List::ordered(Some(5), Style::Decimal, None);
        assert_eq!(list.marker(None, None), "5.");
        assert_eq!(list.marker(Some(9), None), "9.");
        assert_eq!(list.marker(None, Some(Style::Letters)), "J.");
        let mut list = List::ordered(None, Style::Decimal, Some(2));
        assert_eq!([list.marker(None, None), list.marker(None, None)], ["2.", "1."]);
        let mut list = List::ordered(Some(i64::MAX), Style::Letters, None);
        list.marker(None, None);
        assert_eq!(list.marker(None, None).len(), 15);
        assert_eq!(List::unordered().marker(Some(3), None), "-");
    }

    #[test]
    fn style_sheets_say_it_too() {
        assert_eq!(
            Style::of_css("color:red;list-style-type:lower-alpha"),
            Some(Style::SmallLetters)
        );
        assert_eq!(Style::of_css("list-style:upper-romaninside"), Some(Style::Roman));
        assert_eq!(Style::of_css("list-style-image:url(a.png)"), None);
        assert_eq!(Style::of_css("color:red"), None);
    }
}
