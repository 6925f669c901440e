//! Points in time as people and programs write them in a URL.

use std::time::Duration;

use flowtap_flow::timestamp::Timestamp;

/// What [`parse`] understands, for error texts.
pub(crate) const FORMS: &str = "RFC 3339 (`2026-03-01T12:00:00Z`), seconds or milliseconds since the Unix epoch, `now`, or a time \
     before now (`-15m`, `-1h30m`, `-2d`)";

/// Integers above this are milliseconds, as in the Gremlin dialect's `At`.
const LARGEST_SECONDS: i64 = 1 << 31;

/// Reads `text`; times relative to now are counted from `now`.
///
/// Supports RFC 3339 with any offset and up to nine decimals, integers (seconds, or above 2³¹
/// milliseconds) and decimals (seconds) since the Unix epoch, `now`, and durations before now.
pub(crate) fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if text == "now" {
        return Some(now);
    }
    if let Some(ago) = text.strip_prefix('-') {
        return Some(now.minus(duration(ago)?));
    }
    epoch(text).or_else(|| rfc3339(text))
}

fn epoch(text: &str) -> Option<Timestamp> {
    if let Some((whole, decimals)) = text.split_once('.') {
        return Some(Timestamp::from_secs(digits(whole, 1..=18)?).plus(fraction(decimals)?));
    }
    let number = digits(text, 1..=18)?;
    let is_millis = number > LARGEST_SECONDS;
    Some(if is_millis {
        Timestamp::from_millis(number)
    } else {
        Timestamp::from_secs(number)
    })
}

/// A number and a unit, repeated: `1h30m`, `1.5s`. Go's units, and `d` and `w`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 9] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86_400.0),
        ("w", 604_800.0),
    ];
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, seconds) = UNITS.iter().find(|(unit, _)| *unit == &rest[..end])?;
        rest = &rest[end..];
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
    }
    (!text.is_empty()).then_some(total)
}

/// `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`; a blank may stand for the `T`, and for the `+`, which
/// a URL's decoder turns into one.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let date = text.get(..10)?;
    let [year, month, day] = split(date, '-', [4, 2, 2])?;
    let rest = text.get(10..)?.strip_prefix(['T', 't', ' '])?;
    let [hour, minute, second] = split(rest.get(..8)?, ':', [2, 2, 2])?;
    let mut rest = rest.get(8..)?;
    let mut nanos = Duration::ZERO;
    if let Some(decimals) = rest.strip_prefix('.') {
        let end = decimals.find(|c: char| !c.is_ascii_digit())?;
        nanos = fraction(&decimals[..end])?;
        rest = &decimals[end..];
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let [hours, minutes] = split(rest.strip_prefix(['+', '-', ' '])?, ':', [2, 2])?;
            (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))?
        }
    };
    // 60: a leap second, which the Unix epoch counts as the first of the next minute.
    let legal = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60;
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    legal.then(|| Timestamp::from_secs(seconds).plus(nanos))
}

/// `YYYY-MM-DDThh:mm:ss.mmmZ`, of an instant in the years 0 to 9999.
pub(crate) fn to_rfc3339(at: Timestamp) -> String {
    let (seconds, millis) = (at.millis().div_euclid(1000), at.millis().rem_euclid(1000));
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // A guess that is never too low.
    let mut year = 1971 + days.div_euclid(365);
    while days_since_epoch(year, 1, 1) > days {
        year -= 1;
    }
    let mut day = days - days_since_epoch(year, 1, 1) + 1;
    let mut month = 1;
    while day > days_in_month(year, month) {
        day -= days_in_month(year, month);
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Decimals of a second.
fn fraction(decimals: &str) -> Option<Duration> {
    let value = digits(decimals, 1..=9)?;
    let missing = u32::try_from(9 - decimals.len()).ok()?;
    Some(Duration::from_nanos(
        u64::try_from(value).ok()? * 10u64.pow(missing),
    ))
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let good = length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

/// Splits into exactly `N` numbers of these widths.
fn split<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for (number, width) in numbers.iter_mut().zip(widths) {
        *number = digits(parts.next()?, width..=width)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, years 0 to 9999.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Whole years before this one, leap days counted from year 0 on.
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let months: i64 = (1..month).map(|m| days_in_month(year, m)).sum();
    // 719,162 = the same sum for 1970-01-01.
    before * 365 + leap_days + months + day - 1 - 719_162
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn nanos(text: &str) -> Option<i64> {
        parse(text, NOW).map(Timestamp::nanos)
    }

    #[test]
    fn all_forms() {
        // `date -u -d … +%s` gave the seconds.
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
            ("2026-11-22T02:34:05+01:30", 1_795_309_445),
            ("2026-11-22T02:34:05 01:30", 1_795_309_445),
            ("2000-03-01 00:00:00-00:00", 951_868_800),
            ("1969-12-31T23:59:59Z", -1),
            ("1454659514", 1_454_659_514),
            ("1454659514000", 1_454_659_514),
            ("now", 1_700_000_000),
            ("-15m", 1_699_999_100),
            ("-1h30m", 1_699_994_600),
            ("-2d", 1_699_827_200),
        ] {
            assert_eq!(nanos(text), Some(seconds * 1_000_000_000), "{text}");
        }
        assert_eq!(
            nanos("2024-02-29T23:59:59.000000001Z"),
            Some(1_709_251_199_000_000_001)
        );
        assert_eq!(nanos("1454659514.25"), Some(1_454_659_514_250_000_000));
        assert_eq!(nanos("-1.5s"), Some(1_699_999_998_500_000_000));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(millis in -9_000_000_000_000_i64..9_000_000_000_000) {
            let at = Timestamp::from_millis(millis);
            proptest::prop_assert_eq!(parse(&to_rfc3339(at), NOW), Some(at));
        }
    }

    #[test]
    fn an_instant_in_words() {
        let at = Timestamp::from_millis(1_709_251_199_007);
        assert_eq!(to_rfc3339(at), "2024-02-29T23:59:59.007Z");
        assert_eq!(to_rfc3339(Timestamp::ZERO), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "-",
            "yesterday",
            "-15",
            "-m",
            "15m",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567890Z",
            "2024-01-01T00:00:00+1:00",
            "1454659514.",
            "9999999999999999999",
            "-99999999999999999w",
            "٣",
            "2024-01-01T00:00:0٣Z",
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}
