//! The day in job ids.

use ids::UnixMillis;

const MILLIS_PER_DAY: u64 = 86_400_000;

/// `yyyymmdd` of `at` in UTC (civil calendar from days, after Howard Hinnant), at most 99991231: the
/// date of a job id has eight digits.
pub(crate) fn yyyymmdd(at: UnixMillis) -> u32 {
    // Days since 0000-03-01: with years beginning in March, the leap day comes last.
    let days = at.0 / MILLIS_PER_DAY + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    u32::try_from(year * 10_000 + month * 100 + day).unwrap_or(u32::MAX).min(99_991_231)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (millis, expected) in [
            (0, 19_700_101),
            (951_782_400_000, 20_000_229),
            (951_868_800_000, 20_000_301),
            (1_795_305_599_999, 20_261_121),
            (1_795_305_600_000, 20_261_122),
            (u64::MAX, 99_991_231),
        ] {
            assert_eq!(yyyymmdd(UnixMillis(millis)), expected);
        }
    }
}
