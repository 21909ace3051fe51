//! Days and pieces of time, as clocks on a wall have them where the user is: a [`Zone`] says how far these are ahead of UTC.

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// By how many milliseconds clocks are ahead of UTC at a moment, in milliseconds since 1970; who knows the system lends it.
pub type Zone = fn(u64) -> i64;

/// The zone of who knows none.
pub fn utc(_: u64) -> i64 {
    0
}

/// What clocks show at a moment, as milliseconds since 1970 would be if they showed UTC.
pub fn wall_ms(at_ms: u64, zone: Zone) -> u64 {
    at_ms.saturating_add_signed(zone(at_ms))
}

/// When the day began on clocks that show `wall_ms`. Where clocks were changed since, by what they were ahead then.
pub fn day_began(wall_ms: u64, zone: Zone) -> u64 {
    let midnight = wall_ms / DAY_MS * DAY_MS;
    let when = |ahead: i64| midnight.saturating_add_signed(-ahead);
    when(zone(when(zone(midnight))))
}

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

/// The moment that `text` means, in milliseconds since 1970: when `2026-11-01` began in `zone`, or that long before `now_ms`: `90m`,
/// `24h`, `7d`, `2w`.
///
/// # Errors
/// What was expected.
pub fn parse_since(text: &str, now_ms: u64, zone: Zone) -> Result<u64, String> {
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
    Ok(day_began((years + months + day - 1) * DAY_MS, zone))
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
            assert_eq!(parse_since(date, 0, utc), Ok(day * DAY_MS));
        }
        assert!(!date_of(u64::MAX).is_empty());
    }

    const HOUR: u64 = 3_600_000;

    /// An hour ahead, and two from 02:00 on the 100th day to 03:00 on the 200th.
    fn summer(at_ms: u64) -> i64 {
        let is_summer = (100 * DAY_MS + HOUR..200 * DAY_MS + HOUR).contains(&at_ms);
        if is_summer { 2 * HOUR as i64 } else { HOUR as i64 }
    }

    fn far_west(_: u64) -> i64 {
        -11 * HOUR as i64
    }

    #[test]
    fn a_day_begins_when_clocks_say_so_even_where_they_are_changed() {
        for (zone, at, began, day) in [
            (utc as Zone, 7 * DAY_MS + 5, 7 * DAY_MS, 7),
            (summer, 50 * DAY_MS, 50 * DAY_MS - HOUR, 50),
            (summer, 50 * DAY_MS - HOUR - 1, 49 * DAY_MS - HOUR, 49),
            // At noon of the two days on which clocks are changed: they began by the old time.
            (summer, 100 * DAY_MS + 10 * HOUR, 100 * DAY_MS - HOUR, 100),
            (summer, 200 * DAY_MS + 10 * HOUR, 200 * DAY_MS - 2 * HOUR, 200),
            (summer, 150 * DAY_MS, 150 * DAY_MS - 2 * HOUR, 150),
            (far_west, 9 * DAY_MS, 8 * DAY_MS + 11 * HOUR, 8),
        ] {
            let wall = wall_ms(at, zone);
            assert_eq!((day_began(wall, zone), wall / DAY_MS), (began, day), "{at}");
        }
        assert_eq!(wall_ms(5, far_west), 0);
        assert_eq!(parse_since("1970-04-11", 0, summer), Ok(100 * DAY_MS - HOUR));
        assert_eq!(parse_since("24h", DAY_MS, far_west), Ok(0));
    }

    #[test]
    fn a_time_is_before_now() {
        let now = 100 * DAY_MS;
        assert_eq!(parse_since("90m", now, utc), Ok(now - 5_400_000));
        assert_eq!(parse_since("24h", now, utc), Ok(99 * DAY_MS));
        assert_eq!(parse_since("2w", now, utc), Ok(86 * DAY_MS));
        assert_eq!(parse_since("999d", now, utc), Ok(0));
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
            assert!(parse_since(wrong, now, utc).unwrap_err().contains("expected a day"), "{wrong}");
        }
    }
}
