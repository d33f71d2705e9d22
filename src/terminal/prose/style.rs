//! How text looks on a terminal.

use std::fmt::Write;

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Text alone, so Markdown stays as it was written: a terminal that obeys no sequences.
    Source,
    /// Bold, italics and underlines, without colours (`NO_COLOR`).
    Styled,
    /// Colours too.
    Colored,
}

/// A set of styles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style(u8);

impl Style {
    pub const PLAIN: Self = Self(0);
    pub const BOLD: Self = Self(1);
    pub const ITALIC: Self = Self(2);
    pub const LINK: Self = Self(4);
    pub const CODE: Self = Self(8);

    /// Codes of "Select Graphic Rendition" (ECMA-48, 8.3.117).
    const CODES: [(Self, u8); 4] =
        [(Self::BOLD, 1), (Self::ITALIC, 3), (Self::LINK, 4), (Self::CODE, 36)];

    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What both have.
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What of it `look` can show.
    const fn shown(self, look: Look) -> Self {
        match look {
            Look::Source => Self::PLAIN,
            Look::Styled => Self(self.0 & !Self::CODE.0),
            Look::Colored => self,
        }
    }

    /// Appends what changes a terminal's style from `before` to this one.
    pub fn switch(self, before: Self, look: Look, out: &mut String) {
        let style = self.shown(look);
        if style == before.shown(look) {
            return;
        }
        out.push_str("\x1b[0");
        for (_, code) in Self::CODES.iter().filter(|(part, _)| style.contains(*part)) {
            // Writing to a string cannot fail.
            let _ = write!(out, ";{code}");
        }
        out.push('m');
    }
}
