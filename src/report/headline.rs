//! Renders the sentence at the top of the page: what happened in the period.

use super::figures::{BusiestHours, Figures, Scope, WorstDay};
use super::language::Language;
use crate::calendar::DayRange;

impl Language {
    /// Says the service level, its distance from the target and from the days before, the worst day
    /// and the busiest hours.
    pub(super) fn headline(self, scope: &Scope, figures: &Figures) -> String {
        let headline = &scope.headline;
        let within = self.in_time(figures.service_level_seconds);
        let mut parts = vec![match headline.service_level {
            Some(level) => {
                let level = self.share(level);
                let against: Vec<String> =
                    [self.against_target(scope, figures), self.against_before(scope)]
                        .into_iter()
                        .flatten()
                        .collect();
                let said = self.pick(
                    format!("The service level {within} was {level}"),
                    format!("{within}的服务水平为 {level}"),
                );
                match against.is_empty() {
                    true => said,
                    false => {
                        let against = against.join(self.pick(", ", "，"));
                        self.pick(format!("{said}: {against}"), format!("{said}：{against}"))
                    }
                }
            }
            None => self
                .pick("No turn counts for the service level", "没有可计算服务水平的提问")
                .to_owned(),
        }];
        parts.extend(headline.worst_day.map(|worst| self.worst_day(worst)));
        parts.extend(headline.busiest_hours.map(|hours| self.busiest_hours(hours)));
        format!("{}{}", parts.join(self.pick("; ", "；")), self.pick(".", "。"))
    }

    /// The distance from the target. None without a target.
    pub(super) fn against_target(self, scope: &Scope, figures: &Figures) -> Option<String> {
        let (level, target) = scope.headline.service_level.zip(figures.service_level_target)?;
        let points = self.points(100.0 * (level - target).abs());
        let is_reached = level >= target;
        let target = self.target(target);
        Some(match is_reached {
            true => self.pick(
                format!("{points} above the target of {target}"),
                format!("比目标 {target} 高 {points}"),
            ),
            false => self.pick(
                format!("{points} below the target of {target}"),
                format!("比目标 {target} 低 {points}"),
            ),
        })
    }

    /// Renders a target, like `90%`.
    pub(super) fn target(self, target: f64) -> String {
        format!("{}%", self.number(100.0 * target))
    }

    /// The change since the days before. None when they cannot be compared.
    fn against_before(self, scope: &Scope) -> Option<String> {
        let change = scope.headline.change?;
        let before = DayRange { first: scope.before.first, last: scope.before.last };
        let before = self.days_before(before);
        let points = self.points(100.0 * change.abs());
        let sign = if change < 0.0 { '−' } else { '+' };
        Some(match scope.headline.change_is_within_chance {
            Some(false) if change > 0.0 => self.pick(
                format!("{points} better than in {before}"),
                format!("比{before}高 {points}"),
            ),
            Some(false) => self
                .pick(format!("{points} worse than in {before}"), format!("比{before}低 {points}")),
            _ => self.pick(
                format!("no clear change against {before} ({sign}{points}, within chance)"),
                format!("与{before}相比无明显变化（{sign}{points}，属正常波动）"),
            ),
        })
    }

    fn days_before(self, before: DayRange) -> String {
        match before.days().count() {
            1 => self.pick("the day before", "前一天").to_owned(),
            count => self.pick(format!("the {count} days before"), format!("前 {count} 天")),
        }
    }

    fn worst_day(self, WorstDay { date, service_level }: WorstDay) -> String {
        let (weekday, level) = (self.weekday(date), self.share(service_level));
        self.pick(
            format!("worst on {weekday} {date} ({level})"),
            format!("最差的一天是 {date} {weekday}（{level}）"),
        )
    }

    fn busiest_hours(self, BusiestHours { first, end, share }: BusiestHours) -> String {
        let share = self.share(share);
        self.pick(
            format!("busiest from {first:02}:00 to {end:02}:00 ({share} of the messages received)"),
            format!("{first:02}:00–{end:02}:00 最忙（占收到消息的 {share}）"),
        )
    }
}
