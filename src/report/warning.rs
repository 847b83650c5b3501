//! Renders what to know before trusting the figures, and what the operator of kefu can do about it.
//! The readers of the page are managers, so commands are in the foot notes only.

use std::collections::BTreeSet;

use super::language::Language;
use crate::calendar::{Day, DayRange};
use crate::pipeline::{Mark, OutOfDate};

/// A sentence for the readers of the page.
pub(super) struct Warning {
    pub symbol: char,
    pub text: String,
    pub remedy: Option<Remedy>,
}

/// What the operator of kefu can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remedy {
    pub what: &'static str,
    pub command: String,
}

impl Language {
    /// Renders what to know about days with this mark before trusting the figures. None if nothing.
    /// `range` has the days that can be fetched again.
    pub(super) fn warning(
        self,
        mark: Mark,
        days: &str,
        range: Option<DayRange>,
    ) -> Option<Warning> {
        let remedy = |what, command| Some(Remedy { what, command });
        let run = |what, more: &str| {
            let DayRange { first, last } = range?;
            remedy(what, format!("kefu run --from {first} --to {last}{more}"))
        };
        let (text, remedy) = match mark {
            Mark::Missing => (
                self.pick(
                    format!("Not in the figures, because the data is missing: {days}."),
                    format!("数据缺失、未计入：{days}。"),
                ),
                run(self.pick("Fetch missing days", "拉取缺失的日期"), ""),
            ),
            Mark::NotComputed => (
                self.pick(
                    format!("Not in the figures, because they are not computed yet: {days}."),
                    format!("指标尚未计算、未计入：{days}。"),
                ),
                remedy(self.pick("Compute metrics", "计算指标"), "kefu metrics".to_owned()),
            ),
            Mark::Damaged => (
                self.pick(
                    format!("Messages cannot be read: {days}."),
                    format!("消息无法读取：{days}。"),
                ),
                run(self.pick("Replace damaged days", "重新拉取损坏的日期"), " --force"),
            ),
            Mark::NotFinal => (
                self.pick(
                    format!(
                        "Not final: {days}. Turns without a reply may still get one, until \
                        the three days after are in the data."
                    ),
                    format!("未定：{days}。其后三天的数据到齐之前，未回复的提问仍可能得到回复。"),
                ),
                None,
            ),
            Mark::WithRejects => (
                self.pick(
                    format!("Some records could not be read and are not in the figures: {days}."),
                    format!("部分记录无法读取、未计入：{days}。"),
                ),
                remedy(
                    self.pick("Reasons of unreadable records", "无法读取的原因"),
                    r#"(kefu sql; echo "FROM rejects;") | duckdb"#.to_owned(),
                ),
            ),
            Mark::Pruned => (
                self.pick(
                    format!(
                        "Messages were deleted after their retention: {days}. Their distinct \
                        customers and texts are no longer known."
                    ),
                    format!("消息已按保留期限清理：{days}。去重客户数与消息内容无从得知。"),
                ),
                None,
            ),
            // Days that are out of date have their own sentence, with the reason.
            Mark::Stale | Mark::Empty | Mark::Final => return None,
        };
        Some(Warning { symbol: mark.symbol(), text, remedy })
    }

    /// Renders days whose metrics are out of date, with the reasons.
    pub(super) fn out_of_date(self, because: &BTreeSet<OutOfDate>, days: &str) -> Warning {
        let reason = |reason: &OutOfDate| match (self, reason) {
            (Self::En, reason) => reason.to_string(),
            (Self::Zh, OutOfDate::Unreadable) => "文件无法读取".to_owned(),
            (Self::Zh, OutOfDate::Messages) => "消息已变化".to_owned(),
            (Self::Zh, OutOfDate::Definitions) => "由另一版本的 kefu 计算".to_owned(),
            (Self::Zh, OutOfDate::Openids) => "openid 的处理方式不同".to_owned(),
            (Self::Zh, OutOfDate::Rule(change)) => change.to_string(),
        };
        let because = because.iter().map(reason).collect::<Vec<_>>();
        let because = because.join(self.pick(", ", "、"));
        Warning {
            symbol: Mark::Stale.symbol(),
            text: self.pick(
                format!("Figures are out of date ({because}): {days}."),
                format!("数据已过期（{because}）：{days}。"),
            ),
            remedy: Some(Remedy {
                what: self.pick("Compute metrics again", "重新计算指标"),
                command: "kefu metrics".to_owned(),
            }),
        }
    }

    /// Renders later days that are not reported because they are not final yet.
    pub(super) fn left_out(self, days: &[Day]) -> String {
        let days = self.days(days);
        self.pick(
            format!("Not final yet, so not in this report: {days}."),
            format!("未定、未计入本报告：{days}。"),
        )
    }

    /// How the days that are left out are shown. None without days.
    pub(super) fn show_left_out(self, first: Day, left_out: &[Day]) -> Option<Remedy> {
        Some(Remedy {
            what: self.pick("Show days that are not final", "查看未定的日期"),
            command: format!("kefu report --from {first} --to {}", left_out.last()?),
        })
    }

    /// How what customers wrote is shown.
    pub(super) fn show_texts(self) -> Remedy {
        Remedy {
            what: self.pick("Show what customers wrote", "显示客户消息内容"),
            command: "kefu report --with-text".to_owned(),
        }
    }
}
