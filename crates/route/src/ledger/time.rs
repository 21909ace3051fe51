//! Days and pieces of time, as UTC has them.

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// `YYYY-MM-DD` of milliseconds since 1970.
pub fn date_of(at_ms: u64) -> String {
    let (mut days, mut year) = (at_ms / DAY_MS, 1970u64);
    // Four hundred years always have as many days, so that the loop is short.
    year += days / 146_097 * 400;
    days %= 146_097;
    while days >= days_of(year) {
        days -= days_of(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_in(year, month) {
        days -= days_in(year, month);
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

/// The moment that `text` means, in milliseconds since 1970: `2026-11-01`, or that long before `now_ms`: `90m`, `24h`, `7d`, `2w`.
///
/// # Errors
/// What was expected.
pub fn parse_since(text: &str, now_ms: u64) -> Result<u64, String> {
    let expected = || format!("{text:?}, expected a day as 2026-11-01 or a time as 90m, 24h, 7d, 2w");
    let unit = text.chars().last().and_then(|unit| match unit {
        'm' => Some(60_000),
        'h' => Some(3_600_000),
        'd' => Some(DAY_MS),
        'w' => Some(7 * DAY_MS),
        _ => None,
    });
    if let Some(unit) = unit {
        let n: u64 = text[..text.len() - 1].parse().map_err(|_| expected())?;
        return Ok(now_ms.saturating_sub(n.saturating_mul(unit)));
    }
    let numbers: Option<Vec<u64>> = text.split('-').map(|part| part.parse().ok()).collect();
    let [year @ 1970..=9999, month @ 1..=12, day] = numbers.ok_or_else(expected)?[..] else {
        return Err(expected());
    };
    if !(1..=days_in(year, month)).contains(&day) {
        return Err(expected());
    }
    let years: u64 = (1970..year).map(days_of).sum();
    let months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    Ok((years + months + day - 1) * DAY_MS)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (day, date) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (20_779, "2026-11-22"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date_of(day * DAY_MS + DAY_MS - 1), date);
            assert_eq!(parse_since(date, 0), Ok(day * DAY_MS));
        }
        assert!(!date_of(u64::MAX).is_empty());
    }

    #[test]
    fn a_time_is_before_now() {
        let now = 100 * DAY_MS;
        assert_eq!(parse_since("90m", now), Ok(now - 5_400_000));
        assert_eq!(parse_since("24h", now), Ok(99 * DAY_MS));
        assert_eq!(parse_since("2w", now), Ok(86 * DAY_MS));
        assert_eq!(parse_since("999d", now), Ok(0));
        for wrong in [
            "",
            "d",
            "-1d",
            "2026-13-01",
            "2026-02-29",
            "2026-01-00",
            "1969-01-01",
            "soon",
            "1.5h",
            "2026-01",
            "\u{e9}d",
        ] {
            assert!(parse_since(wrong, now).unwrap_err().contains("expected a day"), "{wrong}");
        }
    }
}
