//! Names of segment files: the hour of arrival, in UTC.

use std::fmt;

use flowtap_flow::timestamp::Timestamp;

const HOUR_NANOS: i64 = 3_600_000_000_000;

/// `seg-YYYYMMDDHH.db`, or `seg-YYYYMMDDHH-NN.db` where one hour fills several files. Orders by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SegmentName {
    /// Hours since the epoch.
    pub(super) hour: i64,
    /// 0 for an hour's first file.
    pub(super) part: u32,
}

impl SegmentName {
    /// The first file for what arrives at `now`.
    pub(super) fn at(now: Timestamp) -> Self {
        Self {
            hour: now.nanos().div_euclid(HOUR_NANOS),
            part: 0,
        }
    }

    /// The next file of the same hour.
    pub(super) fn next_part(self) -> Self {
        Self {
            part: self.part + 1,
            ..self
        }
    }

    /// The first instant after its hour.
    pub(super) fn end(self) -> Timestamp {
        Timestamp::from_nanos((self.hour + 1).saturating_mul(HOUR_NANOS))
    }

    /// Parses what [`fmt::Display`] prints.
    pub(super) fn parse(file: &str) -> Option<Self> {
        let stem = file.strip_prefix("seg-")?.strip_suffix(".db")?;
        let (stamp, part) = match stem.split_once('-') {
            Some((stamp, part)) => (stamp, part.parse().ok()?),
            None => (stem, 0),
        };
        if stamp.len() != 10 || !stamp.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| stamp.get(range)?.parse::<i64>().ok();
        let days = days_from_civil(number(0..4)?, number(4..6)?, number(6..8)?);
        let name = Self {
            hour: days * 24 + number(8..10)?,
            part,
        };
        // Refuses the 31st of February, and `-0` for part 0, which would name one segment twice.
        (name.to_string() == file).then_some(name)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.hour.div_euclid(24));
        write!(
            f,
            "seg-{year:04}{month:02}{day:02}{:02}",
            self.hour.rem_euclid(24)
        )?;
        if self.part != 0 {
            write!(f, "-{:02}", self.part)?;
        }
        f.write_str(".db")
    }
}

// The Gregorian calendar counted from 1 March of year 0, so that a leap day ends its year, in eras
// of 400 years (146,097 days), of which 719,468 days precede 1970-01-01.

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_tell_the_hour() {
        // 2024-02-29 23:59:59 UTC, as `date -u -d @1709251199` says.
        let name = SegmentName::at(Timestamp::from_secs(1_709_251_199));
        assert_eq!(name.to_string(), "seg-2024022923.db");
        assert_eq!(name.next_part().to_string(), "seg-2024022923-01.db");
        assert_eq!(name.end(), Timestamp::from_secs(1_709_251_200));
        assert_eq!(SegmentName::at(Timestamp::ZERO).to_string(), "seg-1970010100.db");
    }

    #[test]
    fn other_files_are_no_segments() {
        for file in [
            "catalog.db",
            "seg-2024023101.db",
            "seg-20240229.db",
            "seg-2024022923.db-wal",
            "seg-2024022923-00.db",
            "seg-2024022923-1.db",
            "seg-20240229é1.db",
        ] {
            assert_eq!(SegmentName::parse(file), None, "{file}");
        }
    }

    proptest! {
        #[test]
        fn print_then_parse(hour in 0i64..70_000_000, part in 0u32..200) {
            let name = SegmentName { hour, part };
            prop_assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        }
    }
}
