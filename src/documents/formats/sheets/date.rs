//! The days and times that spreadsheets count as numbers.

/// The last day that Excel knows: the end of 9999.
const END: f64 = 2_958_466.0;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Day 0 of Excel was a Saturday.
const WEEKDAYS: [&str; 7] =
    ["Saturday", "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday"];

/// A number as date and time.
pub(crate) struct Moment {
    year: u32,
    /// From 1, as days are.
    month: u32,
    day: u32,
    weekday: usize,
    pub hour: u32,
    pub minute: u32,
    second: u32,
    pub milliseconds: u32,
    /// Since day 0.
    all_seconds: u64,
}

impl Moment {
    /// Rounded to `decimals` of a second, at most 3; `None` for numbers that are no dates.
    pub fn of(number: f64, is_1904: bool, decimals: u32) -> Option<Self> {
        if !(0.0..END).contains(&number) {
            return None;
        }
        let per_second = 10_u64.pow(decimals.min(3));
        let units = (number * 86_400.0 * per_second as f64).round() as u64;
        let (all_seconds, rest) = (units / per_second, units % per_second);
        // 1904-01-01 is day 0 of one calendar and day 1462 of the other.
        let days = (all_seconds / 86_400) as u32 + if is_1904 { 1462 } else { 0 };
        let (year, month, day) = date(days);
        let seconds = (all_seconds % 86_400) as u32;
        Some(Self {
            year,
            month,
            day,
            weekday: days as usize % 7,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            milliseconds: (rest * (1000 / per_second)) as u32,
            all_seconds,
        })
    }

    pub fn year(&self) -> u32 {
        self.year
    }

    /// What a run of `y`, `m` (months), `d`, `h` or `s` stands for.
    pub fn part(&self, unit: char, run: usize, is_halved: bool) -> String {
        let month = MONTHS[self.month as usize - 1];
        let weekday = WEEKDAYS[self.weekday];
        match (unit, run) {
            ('y', ..=2) => format!("{:02}", self.year % 100),
            ('y', _) => format!("{:04}", self.year),
            ('m', 3) => month[..3].to_owned(),
            ('m', 5) => month[..1].to_owned(),
            ('m', 4..) => month.to_owned(),
            ('d', 3) => weekday[..3].to_owned(),
            ('d', 4..) => weekday.to_owned(),
            ('m', _) => format!("{:0run$}", self.month),
            ('d', _) => format!("{:0run$}", self.day),
            ('h', _) if is_halved => {
                format!("{:0run$}", (self.hour + 11) % 12 + 1, run = run.min(2))
            }
            ('h', _) => format!("{:0run$}", self.hour, run = run.min(2)),
            _ => format!("{:0run$}", self.second, run = run.min(2)),
        }
    }

    /// Hours, minutes or seconds altogether.
    pub fn elapsed(&self, unit: char) -> u64 {
        match unit {
            'h' => self.all_seconds / 3600,
            'm' => self.all_seconds / 60,
            _ => self.all_seconds,
        }
    }

    /// Without a format: the date, the time, or both, as ISO 8601 has them.
    pub fn iso(&self) -> String {
        let date = format!("{:04}-{:02}-{:02}", self.year, self.month, self.day);
        let time = format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second);
        match (self.all_seconds / 86_400, self.all_seconds % 86_400) {
            (0, _) => time,
            (_, 0) => date,
            _ => format!("{date} {time}"),
        }
    }
}

/// Year, month and day of a number of days. Excel has a 29 February in 1900, as Lotus had.
fn date(days: u32) -> (u32, u32, u32) {
    match days {
        0 => (1900, 1, 0),
        60 => (1900, 2, 29),
        _ => {
            let since_1900 = if days < 60 { days } else { days - 1 };
            // Days since 1 March of the year 0, in which leap days come last (Hinnant's algorithm).
            let days = since_1900 + 693_900;
            let era = days / 146_097;
            let of_era = days % 146_097;
            let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
            let of_year = of_era - (365 * year + year / 4 - year / 100);
            let month = (5 * of_year + 2) / 153;
            let day = of_year - (153 * month + 2) / 5 + 1;
            let month = if month < 10 { month + 3 } else { month - 9 };
            (era * 400 + year + u32::from(month <= 2), month, day)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, expected) in [
            (1, (1900, 1, 1)),
            (59, (1900, 2, 28)),
            (60, (1900, 2, 29)),
            (61, (1900, 3, 1)),
            (36_526, (2000, 1, 1)),
            (46_081, (2026, 2, 28)),
            (46_086, (2026, 3, 5)),
            (2_958_465, (9999, 12, 31)),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn moments_without_a_format_are_iso() {
        let iso = |number: f64| Moment::of(number, false, 0).map(|moment| moment.iso());
        assert_eq!(iso(46_086.0).as_deref(), Some("2026-03-05"));
        assert_eq!(iso(46_086.5).as_deref(), Some("2026-03-05 12:00:00"));
        assert_eq!(iso(0.75).as_deref(), Some("18:00:00"));
        assert!(iso(-1.0).is_none() && iso(f64::NAN).is_none());
    }
}
