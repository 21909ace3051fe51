//! `keep_alive`: how long a model stays in memory that is not asked for, as Ollama's clients say it.
//!
//! A number is seconds, a text one or more numbers with units (`5m`, `1h30m`, `500ms`); less than none is without end, and 0 has
//! the model leave as soon as nobody uses it.

use std::time::Duration;

use serde_json::Value as Json;

use crate::fields::Fields;
use crate::refusal::Refusal;

/// Units of times, the longer names first.
const UNITS: &[(&str, f64)] =
    &[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
/// Times beyond this are without end: a hundred years.
const SECONDS_MAX: f64 = 100.0 * 365.0 * 86400.0;

/// A time as a text: `Some(None)` where it is without end, `None` where it is none.
pub fn parse(text: &str) -> Option<Option<Duration>> {
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return of_seconds(seconds);
    }
    let (is_negative, mut rest) = match text.trim().strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.trim()),
    };
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let of_letters = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(of_letters);
        let (_, worth) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * worth;
        rest = behind;
    }
    if text.trim().is_empty() { None } else { of_seconds(if is_negative { -seconds } else { seconds }) }
}

fn of_seconds(seconds: f64) -> Option<Option<Duration>> {
    match seconds {
        _ if seconds.is_nan() => None,
        _ if !(0.0..=SECONDS_MAX).contains(&seconds) => Some(None),
        _ => Some(Some(Duration::from_secs_f64(seconds))),
    }
}

/// Takes it; `None` where nothing is said.
pub fn take(fields: &mut Fields) -> Result<Option<Option<Duration>>, Refusal> {
    let said = match fields.take("keep_alive") {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Number(seconds)) => seconds.as_f64().and_then(of_seconds),
        Some(Json::String(text)) => parse(&text),
        Some(_) => None,
    };
    let wrong = || fields.refused("keep_alive", "expected seconds, or a text such as \"5m\"");
    said.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_of_seconds_or_have_units() {
        let seconds = |text: &str| parse(text).map(|time| time.map(|time| time.as_secs_f64()));
        for (text, expected) in
            [("300", 300.0), ("5m", 300.0), ("1h30m", 5400.0), ("500ms", 0.5), ("0", 0.0), ("1.5s", 1.5)]
        {
            assert_eq!(seconds(text), Some(Some(expected)), "{text}");
        }
        for forever in ["-1", "-1m", "1e300"] {
            assert_eq!(parse(forever), Some(None), "{forever}");
        }
        for wrong in ["", "m", "5 minutes", "5x", "nan", "5m5", "--1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_says_it_as_a_number_or_a_text() {
        let taken = |body: &str| take(&mut Fields::parse(body.as_bytes()).unwrap());
        assert_eq!(taken("{}").unwrap(), None);
        assert_eq!(taken(r#"{"keep_alive": "10m"}"#).unwrap(), Some(Some(Duration::from_secs(600))));
        assert_eq!(taken(r#"{"keep_alive": 0}"#).unwrap(), Some(Some(Duration::ZERO)));
        assert_eq!(taken(r#"{"keep_alive": -1}"#).unwrap(), Some(None));
        for wrong in [r#"{"keep_alive": true}"#, r#"{"keep_alive": "soon"}"#] {
            assert!(taken(wrong).unwrap_err().to_string().contains("keep_alive"));
        }
    }
}
