//! The calendar: days since 1970-01-01 to year, month and day, and back.

/// A moment taken apart, in some zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: u32,
    /// 1 to 31.
    pub(super) day: u32,
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
}

/// Days from 1970-01-01 to the given day; months and days outside their range carry over.
pub(super) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year.saturating_add((month - 1).div_euclid(12));
    let month = (month - 1).rem_euclid(12) + 1;
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era.saturating_mul(146_097).saturating_add(day_of_era - 719_468).saturating_add(day - 1)
}

impl Civil {
    /// The moment `seconds` after 1970-01-01 00:00:00.
    pub(super) fn of(seconds: i64) -> Civil {
        let (day_number, within) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) as u32);
        let shifted = day_number + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil { year, month, day, hour: within / 3600, minute: within / 60 % 60, second: within % 60 }
    }

    /// Seconds since 1970-01-01 00:00:00.
    pub(super) fn seconds(self) -> i64 {
        let within = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        days(self.year, i64::from(self.month), i64::from(self.day)).saturating_mul(86_400).saturating_add(within)
    }

    /// 0 for Sunday to 6.
    pub(super) fn weekday(self) -> usize {
        (days(self.year, i64::from(self.month), i64::from(self.day)) + 4).rem_euclid(7) as usize
    }

    /// 1 for the first of January.
    pub(super) fn year_day(self) -> i64 {
        days(self.year, i64::from(self.month), i64::from(self.day)) - days(self.year, 1, 1) + 1
    }
}

/// Number of days of a month.
pub(super) fn month_length(year: i64, month: u32) -> u32 {
    (days(year, i64::from(month) + 1, 1) - days(year, i64::from(month), 1)) as u32
}
