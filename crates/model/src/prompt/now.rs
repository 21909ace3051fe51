//! The date and time that `strftime_now` writes.

use super::fault;
use crate::error::{Error, Result};

/// A moment, broken down by the caller: this crate reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

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
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Now {
    /// The calendar of `seconds` since 1970 (Hinnant's days-to-civil algorithm).
    pub fn from_unix(seconds: u64) -> Self {
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let z = days + 719_468; // days since 0000-03-01
        let (era, day_of_era) = (z / 146_097, z % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: (era * 400 + year_of_era + u64::from(month <= 2)) as u16,
            month: month as u8,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }

    /// Reads `2026-01-02T03:04:05` or its date alone.
    pub fn parse_iso(text: &str) -> Result<Self> {
        let wrong = || Error::Input(format!("the time {text:?} is not like 2026-01-02T03:04:05"));
        let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
        let numbers = |text: &str, separator| -> Option<[u16; 3]> {
            let parts: Option<Vec<u16>> = text.split(separator).map(|part| part.parse().ok()).collect();
            parts?.try_into().ok()
        };
        let [year, month, day] = numbers(date, '-').ok_or_else(wrong)?;
        let [hour, minute, second] = numbers(time.trim_end_matches('Z'), ':').ok_or_else(wrong)?;
        if !(1..=9999).contains(&year)
            || !(1..=12).contains(&month)
            || !(1..=31).contains(&day)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return Err(wrong());
        }
        let small = |n: u16| n as u8;
        Ok(Self {
            year,
            month: small(month),
            day: small(day),
            hour: small(hour),
            minute: small(minute),
            second: small(second),
        })
    }

    /// Days since the year's first.
    fn day_of_year(self) -> u16 {
        const BEFORE: [u16; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap =
            self.year.is_multiple_of(4) && !self.year.is_multiple_of(100) || self.year.is_multiple_of(400);
        BEFORE[usize::from(self.month.clamp(1, 12) - 1)]
            + u16::from(self.day.max(1) - 1)
            + u16::from(leap && self.month > 2)
    }

    /// 0 is Sunday.
    fn weekday(self) -> usize {
        let years = usize::from(self.year.max(1)) - 1;
        // 1 January of year 1 was a Monday.
        (1 + years * 365 + years / 4 - years / 100 + years / 400 + usize::from(self.day_of_year())) % 7
    }

    /// `format` with Python's `%` codes; `%-d` without leading zeros.
    pub(super) fn strftime(self, format: &str) -> std::result::Result<String, minijinja::Error> {
        let month = MONTHS[usize::from(self.month.clamp(1, 12) - 1)];
        let day = DAYS[self.weekday()];
        let hour12 = (self.hour + 11) % 12 + 1;
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let code = chars.next();
            let (bare, code) = if code == Some('-') { (true, chars.next()) } else { (false, code) };
            let number = |n: u16, width: usize| if bare { n.to_string() } else { format!("{n:0width$}") };
            out.push_str(&match code {
                Some('Y') => format!("{:04}", self.year),
                Some('y') => number(self.year % 100, 2),
                Some('m') => number(self.month.into(), 2),
                Some('d') => number(self.day.into(), 2),
                Some('e') => format!("{:>2}", self.day),
                Some('H') => number(self.hour.into(), 2),
                Some('I') => number(hour12.into(), 2),
                Some('M') => number(self.minute.into(), 2),
                Some('S') => number(self.second.into(), 2),
                Some('j') => number(self.day_of_year() + 1, 3),
                Some('p') => if self.hour < 12 { "AM" } else { "PM" }.into(),
                Some('B') => month.into(),
                Some('b' | 'h') => month[..3].into(),
                Some('A') => day.into(),
                Some('a') => day[..3].into(),
                Some('F') => self.strftime("%Y-%m-%d")?,
                Some('T') => self.strftime("%H:%M:%S")?,
                Some('%') => "%".into(),
                Some(other) => return Err(fault(format!("strftime_now does not know %{other}"))),
                None => return Err(fault("strftime_now was given a format that ends in %")),
            });
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_knows_leap_years() {
        assert_eq!(Now::from_unix(0), Now::parse_iso("1970-01-01T00:00:00").unwrap());
        assert_eq!(Now::from_unix(951_782_400), Now::parse_iso("2000-02-29T00:00:00").unwrap());
        assert_eq!(Now::from_unix(1_735_689_599), Now::parse_iso("2024-12-31T23:59:59").unwrap());
        assert_eq!(Now::from_unix(4_107_542_400), Now::parse_iso("2100-03-01T00:00:00").unwrap());
    }
}
