//! The time zone of this system, for days and hours as the user's clocks have them: `TZ`, or what the system is set to; UTC where that is
//! not known.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Read once: a system that moves is another one after a restart.
static HERE: LazyLock<TimeZone> = LazyLock::new(|| TimeZone::try_system().unwrap_or(TimeZone::UTC));

/// By how many milliseconds clocks are ahead of UTC at a moment, in milliseconds since 1970.
pub fn ahead_ms(at_ms: u64) -> i64 {
    let at = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or(0, |at| i64::from(HERE.to_offset(at).seconds()) * 1000)
}
