//! The times of `At`: what may be written, and the window it means.

use std::time::Duration;

use flowtap_flow::filter::Value;
use flowtap_flow::query::TimeRange;
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::Slice;

use crate::error::QueryError;
use crate::syntax::ast::{Argument, ArgumentValue, Step, Word};

/// The arguments of `At`, not yet measured against a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeSpec {
    at: Instant,
    back: Back,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instant {
    /// Nanoseconds from now, negative in the past.
    Relative(i64),
    Absolute(Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    Nothing,
    By(Duration),
    Forever,
}

/// A window of time in Skydive's unit: whole milliseconds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    from_ms: i64,
    to_ms: i64,
    /// False if the beginning was not said: one instant, or `FOREVER`.
    closed: bool,
}

impl TimeSpec {
    /// Reads the arguments of `At`.
    pub(crate) fn of(step: &Step) -> Result<Self, QueryError> {
        match step.arguments.as_slice() {
            [] => Err(QueryError::at(
                step.column,
                "At least one parameter must be provided to 'Context'",
            )),
            [at] => Ok(Self {
                at: instant(at)?,
                back: Back::Nothing,
            }),
            [at, back] => Ok(Self {
                at: instant(at)?,
                back: duration(back)?,
            }),
            [_, _, third, ..] => Err(QueryError::at(
                third.column,
                "At most two parameters must be provided to 'Context'",
            )),
        }
    }

    /// The window it means at `now`.
    pub(crate) fn window(self, now: Timestamp) -> Window {
        let at = match self.at {
            Instant::Relative(nanos) => Timestamp::from_nanos(now.nanos().saturating_add(nanos)),
            Instant::Absolute(at) => at,
        };
        let to_ms = at.millis();
        match self.back {
            Back::By(back) if !back.is_zero() => {
                let back = i64::try_from(back.as_millis()).unwrap_or(i64::MAX);
                Window {
                    from_ms: to_ms.saturating_sub(back).max(0),
                    to_ms,
                    closed: true,
                }
            }
            // Skydive too cannot tell a duration of 0 from none.
            Back::By(_) | Back::Nothing => Window {
                from_ms: to_ms,
                to_ms,
                closed: false,
            },
            Back::Forever => Window {
                from_ms: 0,
                to_ms,
                closed: false,
            },
        }
    }
}

impl Window {
    /// Which flows it shows: those that began by its end and lived at its beginning, or had ended
    /// at most `expire` before, because live tables hold them for that long.
    pub(crate) fn flows(self, expire: Duration) -> TimeRange {
        let from = Timestamp::from_millis(self.from_ms)
            .minus(expire)
            .max(Timestamp::ZERO);
        TimeRange { from, to: self.end() }
    }

    /// Which packets and metrics it shows; a single instant shows all until then.
    pub(crate) fn contents(self) -> TimeRange {
        let from_ms = if self.is_instant() { 0 } else { self.from_ms };
        TimeRange {
            from: Timestamp::from_millis(from_ms),
            to: self.end(),
        }
    }

    /// Whether it is one instant.
    pub(crate) fn is_instant(self) -> bool {
        self.from_ms == self.to_ms
    }

    /// Which graph it shows: what was there at some time within it.
    pub(crate) fn slice(self) -> Slice {
        Slice {
            from: self.from_ms,
            to: self.to_ms,
        }
    }

    /// First and last millisecond, if the user said both.
    pub(crate) fn bounds_ms(self) -> Option<(i64, i64)> {
        self.closed.then_some((self.from_ms, self.to_ms))
    }

    /// The last nanosecond of the last millisecond: Skydive compares times cut to milliseconds.
    fn end(self) -> Timestamp {
        Timestamp::from_millis(self.to_ms).plus(Duration::from_nanos(999_999))
    }
}

const NOT_A_TIME: &str = "Key 'Context' must be either an integer or a string";

fn instant(argument: &Argument) -> Result<Instant, QueryError> {
    let fail = |message: &str| Err(QueryError::at(argument.column, message));
    match &argument.value {
        ArgumentValue::Word(Word::Now) => Ok(Instant::Relative(0)),
        ArgumentValue::Literal(Value::Int(int)) if *int < 0 => {
            fail("a time is an integer of 0 or more; a time before now is written '-60s'")
        }
        ArgumentValue::Literal(Value::Int(int)) if *int > i64::from(i32::MAX) => {
            Ok(Instant::Absolute(Timestamp::from_millis(*int)))
        }
        ArgumentValue::Literal(Value::Int(int)) => Ok(Instant::Absolute(Timestamp::from_secs(*int))),
        ArgumentValue::Literal(Value::Text(text)) => {
            if let Some(at) = parse_rfc1123(text).or_else(|| parse_rfc3339(text)) {
                return Ok(Instant::Absolute(at));
            }
            match parse_go_duration(text) {
                Some(nanos) => Ok(Instant::Relative(nanos)),
                None => fail("Time must be in RFC1123 or in Go Duration format"),
            }
        }
        _ => fail(NOT_A_TIME),
    }
}

fn duration(argument: &Argument) -> Result<Back, QueryError> {
    let fail = |message: String| Err(QueryError::at(argument.column, message));
    let seconds = match &argument.value {
        ArgumentValue::Word(Word::Forever) => return Ok(Back::Forever),
        ArgumentValue::Literal(Value::Int(seconds)) => seconds.saturating_mul(1_000_000_000),
        ArgumentValue::Literal(Value::Text(text)) => match parse_go_duration(text) {
            Some(nanos) => nanos,
            None => {
                return fail(format!(
                    "the duration must be in seconds or in Go Duration format, got: {text}"
                ));
            }
        },
        _ => return fail(NOT_A_TIME.to_owned()),
    };
    match u64::try_from(seconds) {
        Ok(nanos) => Ok(Back::By(Duration::from_nanos(nanos))),
        Err(_) => fail("the duration reaches back from the time and must not be negative".to_owned()),
    }
}

/// Go's `time.ParseDuration`: an optional sign, then numbers with units, in nanoseconds.
/// `d` for 24 hours is read too, which Go does not know.
fn parse_go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    loop {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        total = total.checked_add(scale(number, unit_nanos(unit)?)?)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

fn unit_nanos(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        // Both micro signs, as Go.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    })
}

/// `number` (digits, at most one point, at least one digit) times `unit`.
fn scale(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Beyond nanoseconds of an hour, digits say nothing.
    let fraction = fraction.get(..fraction.len().min(18))?;
    if (whole.is_empty() && fraction.is_empty()) || number.matches('.').count() > 1 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: i128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let power = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    whole
        .checked_mul(unit)?
        .checked_add(part.checked_mul(unit)? / power)
}

/// RFC 1123 with a zone that is no riddle: `GMT`, `UTC`, `Z` or an offset such as `+0100`.
fn parse_rfc1123(text: &str) -> Option<Timestamp> {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (weekday, rest) = text.split_once(", ")?;
    DAYS.contains(&weekday).then_some(())?;
    let mut parts = rest.split(' ');
    let day = number(parts.next()?, 1..=2)?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|m| *m == name)? + 1;
    let year = number(parts.next()?, 4..=4)?;
    let seconds = parse_clock(parts.next()?)?;
    let offset = match parts.next()? {
        "GMT" | "UTC" | "Z" => 0,
        zone => parse_offset(zone)?,
    };
    parts.next().is_none().then_some(())?;
    let days = days_since_epoch(year, i64::try_from(month).ok()?, day)?;
    Some(Timestamp::from_secs(days * 86_400 + seconds - offset))
}

/// RFC 3339 in whole seconds or with a fraction: what most other tools print.
fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(['T', ' '])?;
    let mut date = date.splitn(3, '-');
    let year = number(date.next()?, 4..=4)?;
    let month = number(date.next()?, 2..=2)?;
    let day = number(date.next()?, 2..=2)?;
    let zone_at = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone_at);
    let offset = if zone == "Z" { 0 } else { parse_offset(zone)? };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let nanos = scale(&format!("0.{fraction}"), 1_000_000_000)?;
    let seconds = days_since_epoch(year, month, day)? * 86_400 + parse_clock(clock)? - offset;
    Some(Timestamp::from_secs(seconds).plus(Duration::from_nanos(u64::try_from(nanos).ok()?)))
}

/// `15:04:05` in seconds.
fn parse_clock(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let mut part = |below: i64| number(parts.next()?, 2..=2).filter(|n| *n < below);
    // 60 is a leap second.
    let (hours, minutes, seconds) = (part(24)?, part(60)?, part(61)?);
    Some(hours * 3600 + minutes * 60 + seconds)
}

/// `+0100` or `-01:00` in seconds east of Greenwich.
fn parse_offset(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text.strip_prefix(['+', '-'])?.replacen(':', "", 1);
    let digits = number(&digits, 4..=4)?;
    Some(sign * ((digits / 100) * 3600 + (digits % 100) * 60))
}

fn number(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let digits = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, `None` if there is no such date.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let index = usize::try_from(month - 1).ok()?;
    let length = lengths.get(index)?;
    (1..=*length).contains(&day).then_some(())?;
    let before_month: i64 = lengths.iter().take(index).sum();
    let past = year - 1;
    let days_before_year = past * 365 + past / 4 - past / 100 + past / 400;
    Some(days_before_year + before_month + day - 1 - 719_162)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::parse_query;

    const NOW: i64 = 1_700_000_000_123;

    fn spec(arguments: &str) -> Result<TimeSpec, QueryError> {
        TimeSpec::of(&parse_query(&format!("G.At({arguments})")).unwrap().steps[0])
    }

    fn window(arguments: &str) -> (i64, i64) {
        let window = spec(arguments).unwrap().window(Timestamp::from_millis(NOW));
        (window.from_ms, window.to_ms)
    }

    #[test]
    fn every_form_of_an_instant() {
        for (argument, at) in [
            ("1454659514", 1_454_659_514_000),
            ("2147483647", 2_147_483_647_000),
            ("2147483648", 2_147_483_648),
            ("1454659514123", 1_454_659_514_123),
            ("NOW", NOW),
            ("'0'", NOW),
            ("'-1s'", NOW - 1_000),
            ("'-1.5s'", NOW - 1_500),
            ("'+250ms'", NOW + 250),
            ("'-1h30m'", NOW - 5_400_000),
            ("'-2d'", NOW - 172_800_000),
            ("'-1µs'", NOW - 1),
            ("'Fri, 05 Feb 2016 08:05:14 GMT'", 1_454_659_514_000),
            ("'Fri, 5 Feb 2016 08:05:14 UTC'", 1_454_659_514_000),
            ("'Fri, 05 Feb 2016 09:05:14 +0100'", 1_454_659_514_000),
            ("'Thu, 29 Feb 2024 00:00:00 GMT'", 1_709_164_800_000),
            ("'2016-02-05T08:05:14Z'", 1_454_659_514_000),
            ("'2016-02-05T03:05:14.25-05:00'", 1_454_659_514_250),
            ("'1970-01-01T00:00:00Z'", 0),
        ] {
            assert_eq!(window(argument), (at, at), "{argument}");
        }
    }

    #[test]
    fn every_form_of_a_duration() {
        for (argument, from) in [
            ("NOW, 300", NOW - 300_000),
            ("NOW, '5m'", NOW - 300_000),
            ("NOW, FOREVER", 0),
            ("NOW, 0", NOW),
            ("10, 300", 0),
        ] {
            assert_eq!(window(argument).0, from, "{argument}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_where_it_stands() {
        for (arguments, column, message) in [
            ("", 3, "At least one parameter must be provided to 'Context'"),
            (
                "1, 2, 3",
                12,
                "At most two parameters must be provided to 'Context'",
            ),
            ("1.5", 6, NOT_A_TIME),
            ("true", 6, NOT_A_TIME),
            ("FOREVER", 6, NOT_A_TIME),
            ("1, NOW", 9, NOT_A_TIME),
            (
                "-5",
                6,
                "a time is an integer of 0 or more; a time before now is written '-60s'",
            ),
            (
                "1, '-5s'",
                9,
                "the duration reaches back from the time and must not be negative",
            ),
            (
                "1, 'x'",
                9,
                "the duration must be in seconds or in Go Duration format, got: x",
            ),
        ] {
            let error = spec(arguments).unwrap_err();
            assert_eq!(
                (error.column, error.message.as_str()),
                (Some(column), message),
                "{arguments}"
            );
        }
        for text in [
            "",
            "-",
            "1",
            "s",
            "-1x",
            "1s1",
            "1..5s",
            ".s",
            "1s ",
            "99999999999999999999h",
            "Fri, 05 Feb 2016 08:05:14 CET",
            "Fri, 30 Feb 2016 08:05:14 GMT",
            "Fri, 05 Feb 2016 24:05:14 GMT",
            "Fri, 05 Feb 2016 08:05:14 GMT x",
            "Xxx, 05 Feb 2016 08:05:14 GMT",
            "2016-13-05T08:05:14Z",
            "2016-02-05T08:05:14",
            "2016-02-05",
        ] {
            let error = spec(&format!("'{text}'")).unwrap_err();
            assert_eq!(
                error.message, "Time must be in RFC1123 or in Go Duration format",
                "{text}"
            );
        }
    }

    #[test]
    fn flows_reach_back_by_the_expiry_and_packets_do_not() {
        let window = spec("1000, 100").unwrap().window(Timestamp::ZERO);
        let flows = window.flows(Duration::from_secs(600));
        assert_eq!(
            (flows.from.millis(), flows.to.nanos()),
            (300_000, 1_000_000_999_999)
        );
        assert_eq!(window.contents().from.millis(), 900_000);
        assert_eq!(window.bounds_ms(), Some((900_000, 1_000_000)));
        let instant = spec("1000").unwrap().window(Timestamp::ZERO);
        assert_eq!(instant.flows(Duration::from_secs(600)).from.millis(), 400_000);
        assert_eq!(instant.contents().from, Timestamp::ZERO);
        assert_eq!(instant.bounds_ms(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[-+0-9.a-zA-Zµ:, ]{0,40}") {
            let _ = (parse_go_duration(&text), parse_rfc1123(&text), parse_rfc3339(&text));
        }
    }
}
