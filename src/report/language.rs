//! Renders numbers, durations, days and sentences in each language of the page.

use clap::ValueEnum;
use serde::Serialize;

use super::figures::{DayFigures, NothingToCompare, Totals};
use super::words::{EN, Words, ZH};
use crate::calendar::{Day, DayRange};
use crate::pipeline::Mark;

/// The language of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English
    #[default]
    En,
    /// Chinese (简体中文)
    Zh,
}

impl Language {
    pub(super) fn words(self) -> &'static Words {
        match self {
            Self::En => &EN,
            Self::Zh => &ZH,
        }
    }

    /// Chooses between a text in English and the same text in Chinese.
    pub fn pick<T>(self, english: T, chinese: T) -> T {
        match self {
            Self::En => english,
            Self::Zh => chinese,
        }
    }

    /// Renders a count, like `12,345`.
    pub(super) fn count(self, count: i64) -> String {
        let digits = count.unsigned_abs().to_string();
        let mut grouped = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        if count < 0 { format!("−{grouped}") } else { grouped }
    }

    /// Renders a share, like `92.3%`.
    pub(super) fn share(self, share: f64) -> String {
        let percent = 100.0 * share;
        // A share below 1 must not round up to 100%.
        format!("{:.1}%", if share < 1.0 { percent.min(99.9) } else { percent })
    }

    pub(super) fn share_or_none(self, share: Option<f64>) -> String {
        share.map_or_else(|| self.words().not_a_value.to_owned(), |share| self.share(share))
    }

    /// Renders a mean of counts, like `12.3`.
    pub(super) fn number(self, number: f64) -> String {
        without_zero(number)
    }

    /// Renders a mean in few characters: from 10 on, without decimals.
    pub(super) fn rounded(self, number: f64) -> String {
        if number < 9.95 { without_zero(number) } else { format!("{number:.0}") }
    }

    /// Renders a duration in its two largest units, like `26 s`, `1 min 34 s`, `2 h 5 min` or `1 d
    /// 3 h`.
    pub(super) fn duration(self, seconds: f64) -> String {
        let units = self.pick([" s", " min", " h", " d"], [" 秒", " 分", " 小时", " 天"]);
        let duration = two_units(seconds, units);
        // Without seconds after them, minutes have their whole name in Chinese.
        if duration.ends_with(" 分") { format!("{duration}钟") } else { duration }
    }

    /// Renders a duration for a table, like `1m 34s`.
    pub(super) fn short_duration(self, seconds: f64) -> String {
        two_units(seconds, self.pick(["s", "m", "h", "d"], ["秒", "分", "时", "天"]))
    }

    pub(super) fn duration_or_none(self, seconds: Option<f64>) -> String {
        seconds
            .map_or_else(|| self.words().not_a_value.to_owned(), |seconds| self.duration(seconds))
    }

    /// Renders the exact value in seconds, rounded to milliseconds.
    pub(super) fn exact_seconds(self, seconds: f64) -> String {
        let seconds = (seconds * 1_000.0).round() / 1_000.0;
        self.pick(format!("{seconds} s"), format!("{seconds} 秒"))
    }

    /// Renders days, like `2024-05-01 to 2024-05-07`.
    pub fn range(self, range: DayRange) -> String {
        let DayRange { first, last } = range;
        if first == last {
            first.to_string()
        } else {
            self.pick(format!("{first} to {last}"), format!("{first} 至 {last}"))
        }
    }

    /// Renders days in order, with consecutive days as ranges. Shows only the first few ranges.
    pub(super) fn days(self, days: &[Day]) -> String {
        const SHOWN: usize = 6;
        let runs = DayRange::runs(days.iter().copied());
        let shown: Vec<String> = runs.iter().take(SHOWN).map(|run| self.range(*run)).collect();
        let shown = shown.join(self.pick(", ", "、"));
        if runs.len() > SHOWN { format!("{shown} …") } else { shown }
    }

    pub(super) fn weekday(self, day: Day) -> &'static str {
        self.words()
            .weekdays
            .get(usize::from(day.weekday().number_days_from_monday()))
            .copied()
            .unwrap_or_default()
    }

    /// Renders a day and its values in one line.
    pub(super) fn render_day(
        self,
        day: &DayFigures,
        said: impl FnOnce(&Totals) -> Vec<(&'static str, String)>,
    ) -> String {
        let words = self.words();
        let remark = match day.is_provisional() {
            true => format!(" · {}", words.not_final),
            false => String::new(),
        };
        let said = match &day.totals {
            None => words.day_missing.to_owned(),
            Some(totals) => said(totals)
                .into_iter()
                .map(|(what, value)| format!("{what} {value}"))
                .collect::<Vec<_>>()
                .join(" · "),
        };
        format!("{} {} · {said}{remark}", day.date, self.weekday(day.date))
    }

    /// Joins two texts with a comma.
    pub(super) fn beside(self, one: &str, other: &str) -> String {
        self.pick(format!("{one}, {other}"), format!("{one}，{other}"))
    }

    /// Joins lists of days that belong to different accounts.
    pub(super) fn in_a_row(self, days: &[String]) -> String {
        days.join(self.pick("; ", "；"))
    }

    /// Joins names with commas.
    pub(super) fn names(self, names: &[&str]) -> String {
        names.join(self.pick(", ", "、"))
    }

    /// Renders a time limit, like `within 3 min`.
    pub(super) fn in_time(self, seconds: i64) -> String {
        // No-break spaces keep the limit on one line.
        let limit = self.duration(seconds as f64).replace(' ', "\u{a0}");
        self.pick(format!("within {limit}"), format!("{limit}内"))
    }

    /// Explains why there is no comparison with the days before. The volume may still be compared.
    pub(super) fn nothing_to_compare(
        self,
        missing: NothingToCompare,
        before: DayRange,
        with_volume: bool,
    ) -> String {
        let before = self.range(before);
        let (but, except) = match with_volume {
            true => (", except for the volume", "除接待量外，"),
            false => ("", ""),
        };
        let reason = match missing {
            NothingToCompare::PeriodIncomplete => {
                self.pick("this period lacks days.", "本期数据不完整。")
            }
            NothingToCompare::PeriodNotFinal => self.pick(
                "days of this period are not final yet, and replies may still come.",
                "本期有未定的日期，仍可能得到回复。",
            ),
            NothingToCompare::BeforeIncomplete => {
                self.pick("not all of it is in the lake.", "上期数据不完整。")
            }
            NothingToCompare::BeforeNotFinal => {
                self.pick("not all of its days are final.", "上期有未定的日期。")
            }
        };
        self.pick(
            format!("Not compared with {before}{but}: {reason}"),
            format!("{except}未与 {before} 环比：{reason}"),
        )
    }

    pub(super) fn mark(self, mark: Mark) -> &'static str {
        match mark {
            Mark::Final => self.pick("final", "已定"),
            Mark::NotFinal => self.pick("not final yet", "未定"),
            Mark::Empty => self.pick("no messages", "无消息"),
            Mark::WithRejects => self.pick("with rejects", "有无法读取的记录"),
            Mark::Stale => self.pick("metrics out of date", "指标过期"),
            Mark::NotComputed => self.pick("without metrics", "缺少指标"),
            Mark::Damaged => self.pick("messages damaged", "消息文件损坏"),
            Mark::Missing => self.pick("not fetched", "未拉取"),
            Mark::Pruned => self.pick("messages pruned", "消息已清理"),
        }
    }

    pub(super) fn not_listed(self, more: i64) -> String {
        let count = self.count(more);
        self.pick(format!("{count} more are not listed."), format!("另有 {count} 轮未列出。"))
    }

    pub(super) fn more_messages(self, more: usize) -> String {
        self.pick(format!("… {more} more"), format!("… 另有 {more} 条"))
    }

    /// Renders the note of the load chart. Hours are in the time zone `zone`.
    pub(super) fn load_note(self, zone: &str, of_several: bool) -> String {
        let words = self.words();
        let several = if of_several { words.load_of_several } else { "" };
        self.pick(
            format!("{} ({zone}). {several}", words.load_note),
            format!("{}（{zone}）。{several}", words.load_note),
        )
    }

    pub(super) fn points(self, points: f64) -> String {
        let points = without_zero(points);
        self.pick(format!("{points} points"), format!("{points} 个百分点"))
    }

    /// Renders days with the accounts to which they belong.
    pub(super) fn days_of(self, days: &[Day], accounts: &str) -> String {
        let days = self.days(days);
        self.pick(format!("{days} ({accounts})"), format!("{days}（{accounts}）"))
    }

    /// Renders the origin of the page: the version of kefu and the time zone.
    pub(super) fn made_by(self, version: &str, zone: &str) -> String {
        self.pick(
            format!("Made by kefu {version} from the metric tables of the lake. Days and hours are in the time zone {zone}."),
            format!("由 kefu {version} 根据数据湖的指标表生成。日期与小时按 {zone} 时间。"),
        )
    }
}

/// Renders seconds in the two largest of the units seconds, minutes, hours and days.
fn two_units(seconds: f64, [second, minute, hour, day]: [&str; 4]) -> String {
    if seconds < 59.95 {
        return format!("{}{second}", without_zero(seconds));
    }
    let parts =
        |whole: u64, (large, large_unit): (u64, &str), (small, small_unit): (u64, &str)| match (
            whole / large,
            whole % large / small,
        ) {
            (large, 0) => format!("{large}{large_unit}"),
            (large, small) => format!("{large}{large_unit} {small}{small_unit}"),
        };
    let rounded = |to: u64| (seconds / to as f64).round() as u64 * to;
    if rounded(1) < 3_600 {
        parts(rounded(1), (60, minute), (1, second))
    } else if rounded(60) < 86_400 {
        parts(rounded(60), (3_600, hour), (60, minute))
    } else {
        parts(rounded(3_600), (86_400, day), (3_600, hour))
    }
}

/// Renders one decimal, but no zero decimal.
fn without_zero(number: f64) -> String {
    let number = (number * 10.0).round() / 10.0 + 0.0;
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_and_round_into_the_next() {
        let english = [
            0.0, 0.5, 26.0, 59.94, 59.96, 94.0, 119.6, 120.0, 3_599.6, 7_500.0, 86_399.0, 97_200.0,
            172_800.0,
        ]
        .map(|seconds| Language::En.duration(seconds));
        let expected = [
            "0 s",
            "0.5 s",
            "26 s",
            "59.9 s",
            "1 min",
            "1 min 34 s",
            "2 min",
            "2 min",
            "1 h",
            "2 h 5 min",
            "1 d",
            "1 d 3 h",
            "2 d",
        ];
        assert_eq!(english, expected);
        assert_eq!(
            [94.0, 180.0, 7_500.0, 97_200.0].map(|seconds| Language::Zh.duration(seconds)),
            ["1 分 34 秒", "3 分钟", "2 小时 5 分钟", "1 天 3 小时"]
        );
        assert_eq!(Language::En.short_duration(94.0), "1m 34s");
    }

    #[test]
    fn numbers_are_grouped_and_have_one_digit_after_the_point() {
        let counts = [0, 999, 1_000, 1_234_567, -12_345].map(|count| Language::En.count(count));
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567", "−12,345"]);
        assert_eq!(
            [0.0, 0.9234, 0.99999, 1.0].map(|share| Language::En.share(share)),
            ["0.0%", "92.3%", "99.9%", "100.0%"]
        );
        assert_eq!(
            [0.04, 9.94, 9.96].map(|number| Language::En.rounded(number)),
            ["0", "9.9", "10"]
        );
    }

    #[test]
    fn days_in_a_row_are_a_range_in_either_language() {
        let days = ["2024-05-01", "2024-05-02", "2024-05-04"].map(|day| day.parse().unwrap());
        assert_eq!(Language::En.days(&days), "2024-05-01 to 2024-05-02, 2024-05-04");
        assert_eq!(Language::Zh.days(&days), "2024-05-01 至 2024-05-02、2024-05-04");
    }
}
