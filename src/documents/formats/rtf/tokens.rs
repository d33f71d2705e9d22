//! Cuts an RTF file into its control words, its groups and its text.

/// One token. What cannot be read as RTF is text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'r> {
    Open,
    Close,
    /// `\word`, `\word12`, `\word-3 `.
    Word(&'r [u8], Option<i32>),
    /// `\` and a character that is no letter.
    Symbol(u8),
    /// `\'hh`.
    Byte(u8),
    Text(&'r [u8]),
}

pub(super) struct Tokens<'r> {
    rest: &'r [u8],
}

impl<'r> Tokens<'r> {
    pub fn new(bytes: &'r [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, bytes: usize) -> &'r [u8] {
        let (taken, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// What follows a backslash.
    fn control(&mut self) -> Option<Token<'r>> {
        let letters = self.rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        if letters == 0 {
            let symbol = *self.take(1).first()?;
            if symbol != b'\'' {
                return Some(Token::Symbol(symbol));
            }
            let digits = self.rest.iter().take(2).take_while(|byte| byte.is_ascii_hexdigit());
            let digits = digits.count();
            let digits = std::str::from_utf8(self.take(digits)).unwrap_or_default();
            return Some(Token::Byte(u8::from_str_radix(digits, 16).unwrap_or(b'?')));
        }
        let word = self.take(letters);
        let sign = usize::from(self.rest.first() == Some(&b'-'));
        let digits = self.rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = if digits == 0 {
            None
        } else {
            std::str::from_utf8(self.take(sign + digits))
                .ok()
                .and_then(|number| number.parse().ok())
        };
        if self.rest.first() == Some(&b' ') {
            self.take(1);
        }
        if word == b"bin" {
            // Whatever these bytes look like.
            self.take(number.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(0)));
        }
        Some(Token::Word(word, number))
    }
}

impl<'r> Iterator for Tokens<'r> {
    type Item = Token<'r>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.rest.first()? {
                b'{' => {
                    self.take(1);
                    return Some(Token::Open);
                }
                b'}' => {
                    self.take(1);
                    return Some(Token::Close);
                }
                b'\\' => {
                    self.take(1);
                    return self.control();
                }
                // Files are broken into lines anywhere.
                b'\r' | b'\n' | b'\0' => {
                    self.take(1);
                }
                _ => {
                    let is_text =
                        |byte: &&u8| !matches!(byte, b'{' | b'}' | b'\\' | b'\r' | b'\n' | b'\0');
                    let text = self.rest.iter().take_while(is_text).count();
                    return Some(Token::Text(self.take(text)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_symbols_bytes_and_text() {
        let tokens: Vec<Token> =
            Tokens::new(b"{\\rtf1\\b0 a\r\nb\\'e9\\~\\u-3913 ?\\bin3 {}\\x}\\'z\\").collect();
        assert_eq!(
            tokens,
            [
                Token::Open,
                Token::Word(b"rtf", Some(1)),
                Token::Word(b"b", Some(0)),
                Token::Text(b"a"),
                Token::Text(b"b"),
                Token::Byte(0xe9),
                Token::Symbol(b'~'),
                Token::Word(b"u", Some(-3913)),
                Token::Text(b"?"),
                Token::Word(b"bin", Some(3)),
                Token::Text(b"x"),
                Token::Close,
                Token::Byte(b'?'),
                Token::Text(b"z"),
            ]
        );
        let huge = Tokens::new(b"\\bin99999999999 a\\u99999999999 b").collect::<Vec<_>>();
        assert_eq!(huge.last(), Some(&Token::Text(b"b")));
    }
}
