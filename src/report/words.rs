//! Everything that the page says, in each of its languages, and how they write numbers.
//!
//! Chinese uses the words of the trade: 首次响应时间, 服务水平, 接待客户数, 未回复, 接管, 转出.

use clap::ValueEnum;
use serde::Serialize;

use super::figures::{DayFigures, NothingToCompare, Totals};
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

/// A word and the sentence that defines it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defined {
    pub word: &'static str,
    /// The same at the head of a column.
    pub short: &'static str,
    pub definition: &'static str,
}

/// What the page says. Fields are in the order in which they appear.
#[derive(Debug)]
pub(super) struct Words {
    pub code: &'static str,
    pub title: &'static str,
    pub all_accounts: &'static str,
    pub skip: &'static str,
    pub attention: &'static str,
    pub key_figures: &'static str,
    pub compared_with: &'static str,
    pub before: &'static str,
    pub no_change: &'static str,
    pub better: &'static str,
    pub worse: &'static str,
    pub volume: &'static str,
    pub turns_heading: &'static str,
    pub sessions_heading: &'static str,
    pub sessions_note: &'static str,
    pub by_account: &'static str,
    pub by_day: &'static str,
    pub by_day_note: &'static str,
    pub service_level_by_day: &'static str,
    pub load: &'static str,
    pub load_note: &'static str,
    pub load_of_several: &'static str,
    pub workers_heading: &'static str,
    pub workers_note: &'static str,
    pub small_sample: &'static str,
    pub no_workers: &'static str,
    pub unanswered_heading: &'static str,
    pub unanswered_note: &'static str,
    pub no_unanswered: &'static str,
    pub no_text: &'static str,
    pub texts_withheld: &'static str,
    pub coverage: &'static str,
    pub coverage_note: &'static str,
    pub definitions: &'static str,
    pub numbers: &'static str,
    pub not_a_value: &'static str,
    pub nothing_there: &'static str,
    pub day_missing: &'static str,
    pub median: &'static str,
    pub p90: &'static str,
    pub service_level: &'static str,
    pub date: &'static str,
    pub weekday: &'static str,
    pub account: &'static str,
    pub worker: &'static str,
    pub customer: &'static str,
    pub asked_at: &'static str,
    pub kind: &'static str,
    pub first_kind: &'static str,
    pub later_kind: &'static str,
    pub messages: &'static str,
    pub texts: &'static str,
    pub state: &'static str,
    pub rejects: &'static str,
    pub in_report: &'static str,
    pub yes: &'static str,
    pub no: &'static str,
    pub unanswered_first: &'static str,
    pub unanswered_later: &'static str,
    pub messages_received: Defined,
    pub messages_sent: Defined,
    pub customers: Defined,
    pub customers_served: Defined,
    pub workers: Defined,
    pub turns: Defined,
    pub answered: Defined,
    pub pending: Defined,
    pub first: Defined,
    pub later: Defined,
    pub service: Defined,
    pub response_p50: Defined,
    pub response_p90: Defined,
    pub response_mean: Defined,
    pub first_response: Defined,
    pub completed: Defined,
    pub missed: Defined,
    pub dropped: Defined,
    pub open: Defined,
    pub outreach: Defined,
    pub own_p50: Defined,
    pub takeovers: Defined,
    pub handed_off: Defined,
    pub max_concurrent: Defined,
    pub weekdays: [&'static str; 7],
}

const EN: Words = Words {
    code: "en",
    title: "Customer service report",
    all_accounts: "Accounts",
    skip: "Skip to the key figures",
    attention: "Read with care",
    key_figures: "Key figures",
    compared_with: "Change against",
    before: "before",
    no_change: "unchanged",
    better: "better",
    worse: "worse",
    volume: "Volume",
    turns_heading: "Turns",
    sessions_heading: "Sessions by outcome",
    sessions_note: "A session is a conversation without a silence longer than the session gap.",
    by_account: "By account",
    by_day: "Response time by day",
    by_day_note: "How long customers waited, on a logarithmic scale. Hatched days are not in the lake; weekends are shaded.",
    service_level_by_day: "Service level",
    load: "Load by weekday and hour",
    load_note: "Messages received in an hour of an average such weekday, in local time",
    load_of_several: "The averages of the accounts, added up.",
    workers_heading: "Workers",
    workers_note: "Each turn is credited to who answered it, else to who received its last message. Percentiles are over the whole period.",
    small_sample: "small sample: fewer than 30 answered turns",
    no_workers: "No worker was active in these days.",
    unanswered_heading: "Unanswered turns",
    unanswered_note: "First: the customer opened a session and got no answer. Later: no answer to a later message, mostly a closing “thanks”.",
    no_unanswered: "Every turn of these days was answered, or may still be.",
    no_text: "(no text in the lake)",
    texts_withheld: "What customers wrote is left out; --with-text shows it.",
    coverage: "Data coverage",
    coverage_note: "Each day of the period. A day is final when the three days after it were fetched, too.",
    definitions: "What the figures mean",
    numbers: "Numbers",
    not_a_value: "–",
    nothing_there: "no data",
    day_missing: "not in the lake",
    median: "median",
    p90: "90th percentile",
    service_level: "service level",
    date: "Date",
    weekday: "Day",
    account: "Account",
    worker: "Worker",
    customer: "Customer",
    asked_at: "Asked at",
    kind: "Kind",
    first_kind: "first",
    later_kind: "later",
    messages: "Messages",
    texts: "What the customer wrote",
    state: "State",
    rejects: "Rejects",
    in_report: "In the figures",
    yes: "yes",
    no: "no",
    unanswered_first: "unanswered (first)",
    unanswered_later: "unanswered (later)",
    messages_received: Defined {
        word: "Messages received",
        short: "Received",
        definition: "Messages from customers that workers received.",
    },
    messages_sent: Defined { word: "Messages sent", short: "Sent", definition: "Messages that workers sent, automatic ones left out." },
    customers: Defined { word: "Customers", short: "Customers", definition: "Distinct customers who wrote, over the whole period." },
    customers_served: Defined {
        word: "Customers served",
        short: "Customers served",
        definition: "Those of them to whom a worker wrote in the period, too.",
    },
    workers: Defined { word: "Workers", short: "Workers", definition: "Distinct workers who sent a message." },
    turns: Defined {
        word: "Turns asked",
        short: "Turns",
        definition: "A turn is what a customer writes until somebody answers; it counts on the day on which it began.",
    },
    answered: Defined { word: "Answered", short: "Answered", definition: "Turns that a worker replied to." },
    pending: Defined { word: "Pending", short: "Pending", definition: "Turns without a reply that may still get one." },
    first: Defined { word: "Unanswered, first", short: "Unanswered first", definition: "Turns that opened a session and got no reply." },
    later: Defined {
        word: "Unanswered, later",
        short: "Unanswered later",
        definition: "Later turns of a session without a reply, mostly a closing “thanks”.",
    },
    service: Defined {
        word: "Service level",
        short: "Service level",
        definition: "Turns answered in time, of those that were answered or opened a session and got no reply.",
    },
    response_p50: Defined {
        word: "Response time, median",
        short: "Median",
        definition: "From a turn's first message to its reply: half of the answered turns waited no longer.",
    },
    response_p90: Defined {
        word: "Response time, 90th percentile",
        short: "p90",
        definition: "Nine of ten answered turns waited no longer.",
    },
    response_mean: Defined {
        word: "Response time, mean",
        short: "Mean",
        definition: "The mean wait of all answered turns; nothing is capped.",
    },
    first_response: Defined {
        word: "First response, median",
        short: "First response, median",
        definition: "The response time of turns that opened a session: half of them waited no longer.",
    },
    completed: Defined { word: "Completed", short: "Completed", definition: "Sessions whose last turn was answered." },
    missed: Defined { word: "Missed", short: "Missed", definition: "Sessions in which no worker wrote." },
    dropped: Defined {
        word: "Dropped",
        short: "Dropped",
        definition: "Sessions whose last turn got no answer, although a worker wrote before.",
    },
    open: Defined { word: "Open", short: "Open", definition: "Sessions whose last turn may still be answered." },
    outreach: Defined { word: "Outreach", short: "Outreach", definition: "Sessions in which only a worker wrote." },
    own_p50: Defined {
        word: "Own response, median",
        short: "Own median",
        definition: "Median wait from the first message that the replying worker received of the turn: what lies in that worker's hands.",
    },
    takeovers: Defined {
        word: "Takeovers",
        short: "Takeovers",
        definition: "Turns that a worker answered without having received any of it.",
    },
    handed_off: Defined {
        word: "Handed off",
        short: "Handed off",
        definition: "Turns of which a worker received a message and another one is credited.",
    },
    max_concurrent: Defined {
        word: "Max. at once",
        short: "Max. at once",
        definition: "The most customers with whom a worker was busy at one instant.",
    },
    weekdays: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
};

const ZH: Words = Words {
    code: "zh-CN",
    title: "客服数据报告",
    all_accounts: "账号",
    skip: "跳到核心指标",
    attention: "阅读提示",
    key_figures: "核心指标",
    compared_with: "环比",
    before: "上期",
    no_change: "持平",
    better: "变好",
    worse: "变差",
    volume: "接待量",
    turns_heading: "提问与回复",
    sessions_heading: "会话结果",
    sessions_note: "沉默不超过会话间隔的一段往来为一次会话。",
    by_account: "分账号",
    by_day: "每日响应时间",
    by_day_note: "客户等待多久（对数刻度）。斜线表示当天数据缺失，浅色底为周末。",
    service_level_by_day: "服务水平",
    load: "时段负载",
    load_note: "各星期几每小时平均收到的消息数，当地时间",
    load_of_several: "多个账号的平均值相加。",
    workers_heading: "客服",
    workers_note: "每轮提问计入回复的客服；未回复的计入收到最后一条消息的客服。分位数按整个周期计算。",
    small_sample: "小样本：已回复不足 30 轮",
    no_workers: "这些天没有客服活动。",
    unanswered_heading: "未回复",
    unanswered_note: "首轮：客户发起会话而无人回复。后续：会话中之后的消息无人回复，多为结束语“谢谢”。",
    no_unanswered: "这些天的提问均已回复，或仍在待回复期内。",
    no_text: "（数据中无文本）",
    texts_withheld: "未显示客户消息内容；加 --with-text 可显示。",
    coverage: "数据完整性",
    coverage_note: "周期内的每一天。其后三天的数据也已拉取时，当天数据即为最终数据。",
    definitions: "指标口径",
    numbers: "数据表",
    not_a_value: "–",
    nothing_there: "无数据",
    day_missing: "数据缺失",
    median: "中位数",
    p90: "90% 分位",
    service_level: "服务水平",
    date: "日期",
    weekday: "星期",
    account: "账号",
    worker: "客服",
    customer: "客户",
    asked_at: "提问时间",
    kind: "类型",
    first_kind: "首轮",
    later_kind: "后续",
    messages: "消息数",
    texts: "客户消息内容",
    state: "状态",
    rejects: "无法读取的记录",
    in_report: "计入报告",
    yes: "是",
    no: "否",
    unanswered_first: "未回复（首轮）",
    unanswered_later: "未回复（后续）",
    messages_received: Defined { word: "收到消息", short: "收到", definition: "客服收到的客户消息数。" },
    messages_sent: Defined { word: "发出消息", short: "发出", definition: "客服发出的消息数，不含自动回复。" },
    customers: Defined { word: "咨询客户数", short: "客户", definition: "整个周期内发来消息的客户数，去重。" },
    customers_served: Defined {
        word: "接待客户数", short: "接待客户数", definition: "其中周期内客服也发过消息的客户数，去重。"
    },
    workers: Defined { word: "客服人数", short: "客服人数", definition: "发出过消息的客服人数，去重。" },
    turns: Defined {
        word: "提问轮次", short: "提问", definition: "客户从开口到有人回复为一轮，计入开始的那一天。"
    },
    answered: Defined { word: "已回复", short: "已回复", definition: "得到客服回复的轮次。" },
    pending: Defined { word: "待回复", short: "待回复", definition: "尚无回复、仍可能得到回复的轮次。" },
    first: Defined {
        word: "未回复（首轮）", short: "未回复 首轮", definition: "发起会话而没有得到回复的轮次。"
    },
    later: Defined {
        word: "未回复（后续）", short: "未回复 后续", definition: "会话中之后没有得到回复的轮次，多为结束语“谢谢”。"
    },
    service: Defined {
        word: "服务水平", short: "服务水平", definition: "时限内回复的轮次，占已回复与首轮未回复之和的比例。"
    },
    response_p50: Defined {
        word: "响应时间中位数",
        short: "中位数",
        definition: "从一轮的第一条消息到回复：一半已回复轮次的等待不超过此值。",
    },
    response_p90: Defined { word: "响应时间 90% 分位", short: "p90", definition: "九成已回复轮次的等待不超过此值。" },
    response_mean: Defined {
        word: "平均响应时间", short: "平均", definition: "所有已回复轮次等待时间的平均值，不截断。"
    },
    first_response: Defined {
        word: "首次响应时间中位数",
        short: "首次响应时间中位数",
        definition: "发起会话的轮次的响应时间：一半不超过此值。",
    },
    completed: Defined { word: "已完成", short: "已完成", definition: "最后一轮得到回复的会话。" },
    missed: Defined { word: "未接待", short: "未接待", definition: "没有任何客服发言的会话。" },
    dropped: Defined { word: "中断", short: "中断", definition: "客服曾发言、但最后一轮没有回复的会话。" },
    open: Defined { word: "进行中", short: "进行中", definition: "最后一轮仍可能得到回复的会话。" },
    outreach: Defined { word: "主动联系", short: "主动联系", definition: "只有客服发言的会话。" },
    own_p50: Defined {
        word: "本人响应中位数",
        short: "本人 中位数",
        definition: "从回复者本人收到该轮第一条消息算起的等待中位数，即由其本人掌握的部分。",
    },
    takeovers: Defined { word: "接管", short: "接管", definition: "回复者没有收到过该轮任何消息的轮次。" },
    handed_off: Defined { word: "转出", short: "转出", definition: "该客服收到过消息、而计入他人的轮次。" },
    max_concurrent: Defined { word: "最大并发", short: "最大并发", definition: "同一时刻同时接待的最多客户数。" },
    weekdays: ["周一", "周二", "周三", "周四", "周五", "周六", "周日"],
};

impl Language {
    pub(super) fn words(self) -> &'static Words {
        match self {
            Self::En => &EN,
            Self::Zh => &ZH,
        }
    }

    fn pick<T>(self, english: T, chinese: T) -> T {
        match self {
            Self::En => english,
            Self::Zh => chinese,
        }
    }

    /// `12,345`
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

    /// `92.3%`
    pub(super) fn share(self, share: f64) -> String {
        let percent = 100.0 * share;
        // What is not all does not round up to all.
        format!("{:.1}%", if share < 1.0 { percent.min(99.9) } else { percent })
    }

    pub(super) fn share_or_none(self, share: Option<f64>) -> String {
        share.map_or_else(|| self.words().not_a_value.to_owned(), |share| self.share(share))
    }

    /// A mean of counts: `12.3`
    pub(super) fn number(self, number: f64) -> String {
        without_zero(number)
    }

    /// The same where there is little room.
    pub(super) fn rounded(self, number: f64) -> String {
        if number < 9.95 { without_zero(number) } else { format!("{number:.0}") }
    }

    /// `26 s`, `1 min 34 s`, `2 h 5 min`, `1 d 3 h`: the two largest units.
    pub(super) fn duration(self, seconds: f64) -> String {
        two_units(seconds, self.pick([" s", " min", " h", " d"], [" 秒", " 分", " 小时", " 天"]))
    }

    /// The same in a table: `1m 34s`.
    pub(super) fn short_duration(self, seconds: f64) -> String {
        two_units(seconds, self.pick(["s", "m", "h", "d"], ["秒", "分", "时", "天"]))
    }

    pub(super) fn duration_or_none(self, seconds: Option<f64>) -> String {
        seconds.map_or_else(|| self.words().not_a_value.to_owned(), |seconds| self.duration(seconds))
    }

    /// To the second, for whoever wants to know exactly.
    pub(super) fn exact_seconds(self, seconds: f64) -> String {
        let seconds = (seconds * 1_000.0).round() / 1_000.0;
        self.pick(format!("{seconds} s"), format!("{seconds} 秒"))
    }

    pub(super) fn range(self, range: DayRange) -> String {
        let DayRange { first, last } = range;
        if first == last { first.to_string() } else { self.pick(format!("{first} to {last}"), format!("{first} 至 {last}")) }
    }

    /// Days in order, those in a row as ranges; of many ranges the first few.
    pub(super) fn days(self, days: &[Day]) -> String {
        const SHOWN: usize = 6;
        let runs = DayRange::runs(days.iter().copied());
        let shown: Vec<String> = runs.iter().take(SHOWN).map(|run| self.range(*run)).collect();
        let shown = shown.join(self.pick(", ", "、"));
        if runs.len() > SHOWN { format!("{shown} …") } else { shown }
    }

    pub(super) fn weekday(self, day: Day) -> &'static str {
        self.words().weekdays.get(usize::from(day.weekday().number_days_from_monday())).copied().unwrap_or_default()
    }

    /// A day and what is to be said of it, in one line.
    pub(super) fn day_in_words(self, day: &DayFigures, said: impl FnOnce(&Totals) -> Vec<(&'static str, String)>) -> String {
        let words = self.words();
        let said = match &day.totals {
            None => words.day_missing.to_owned(),
            Some(totals) => said(totals).into_iter().map(|(what, value)| format!("{what} {value}")).collect::<Vec<_>>().join(" · "),
        };
        format!("{} {} · {said}", day.date, self.weekday(day.date))
    }

    /// `within 3 min`
    pub(super) fn in_time(self, seconds: i64) -> String {
        let limit = self.duration(seconds as f64);
        self.pick(format!("within {limit}"), format!("{limit}内"))
    }

    pub(super) fn nothing_to_compare(self, missing: NothingToCompare, before: DayRange) -> String {
        let before = self.range(before);
        match missing {
            NothingToCompare::PeriodIncomplete => {
                self.pick(format!("Not compared with {before}: this period lacks days."), format!("未与 {before} 环比：本期数据不完整。"))
            }
            NothingToCompare::BeforeIncomplete => self.pick(
                format!("Not compared with {before}: not all of it is in the lake."),
                format!("未与 {before} 环比：上期数据不完整。"),
            ),
        }
    }

    pub(super) fn mark(self, mark: Mark) -> &'static str {
        match mark {
            Mark::Final => self.pick("final", "最终"),
            Mark::NotFinal => self.pick("not final yet", "尚未最终"),
            Mark::Empty => self.pick("no messages", "无消息"),
            Mark::WithRejects => self.pick("with rejects", "有无法读取的记录"),
            Mark::Stale => self.pick("metrics stale or missing", "指标过期或缺失"),
            Mark::Damaged => self.pick("messages damaged", "消息文件损坏"),
            Mark::Missing => self.pick("not fetched", "未拉取"),
            Mark::Pruned => self.pick("messages pruned", "消息已清理"),
        }
    }

    /// What has to be known of these days before the figures are believed, if anything.
    pub(super) fn warning(self, mark: Mark, days: &str) -> String {
        match mark {
            Mark::Missing => self.pick(
                format!("Not in the figures, because they are not in the lake: {days}. `kefu run --from … --to …` fetches days."),
                format!("数据缺失、未计入：{days}。可用 `kefu run --from … --to …` 拉取。"),
            ),
            Mark::Stale => self.pick(
                format!("Metrics that are missing or not made of what is in the lake now: {days}. `kefu metrics` computes them."),
                format!("指标缺失或已过期：{days}。可用 `kefu metrics` 重新计算。"),
            ),
            Mark::Damaged => self.pick(
                format!("Messages that cannot be read: {days}. `kefu fetch --date … --force` replaces them."),
                format!("消息文件无法读取：{days}。可用 `kefu fetch --date … --force` 重新拉取。"),
            ),
            Mark::NotFinal => self.pick(
                format!("Not final: {days}. Turns without a reply may still get one, until the three days after are fetched."),
                format!("尚未最终：{days}。其后三天拉取之前，未回复的提问仍可能得到回复。"),
            ),
            Mark::WithRejects => self.pick(
                format!("Records that could not be read are not in the figures: {days}. The table `rejects` says why."),
                format!("部分记录无法读取、未计入：{days}。原因见 `rejects` 表。"),
            ),
            Mark::Pruned => self.pick(
                format!("Messages were pruned: {days}. Distinct customers and texts of them are not known any more."),
                format!("消息已清理：{days}。去重客户数与消息内容无从得知。"),
            ),
            Mark::Empty | Mark::Final => String::new(),
        }
    }

    pub(super) fn not_listed(self, more: i64) -> String {
        let count = self.count(more);
        self.pick(format!("{count} more are not listed."), format!("另有 {count} 轮未列出。"))
    }

    pub(super) fn more_messages(self, more: usize) -> String {
        self.pick(format!("… {more} more"), format!("… 另有 {more} 条"))
    }

    /// The hours of a load are those of this zone.
    pub(super) fn load_note(self, zone: &str, of_several: bool) -> String {
        let words = self.words();
        let several = if of_several { words.load_of_several } else { "" };
        self.pick(format!("{} ({zone}). {several}", words.load_note), format!("{}（{zone}）。{several}", words.load_note))
    }

    pub(super) fn points(self, points: f64) -> String {
        let points = without_zero(points);
        self.pick(format!("{points} points"), format!("{points} 个百分点"))
    }

    /// Days, and the accounts of which something holds on them.
    pub(super) fn days_of(self, days: &[Day], accounts: &str) -> String {
        let days = self.days(days);
        self.pick(format!("{days} ({accounts})"), format!("{days}（{accounts}）"))
    }

    /// Where the page is from.
    pub(super) fn made_by(self, version: &str, zone: &str) -> String {
        self.pick(
            format!("Made by kefu {version} from the metric tables of the lake. Days and hours are those of {zone}."),
            format!("由 kefu {version} 根据数据湖的指标表生成。日期与小时按 {zone} 时间。"),
        )
    }
}

/// Seconds in the two largest of the units, which are those of seconds, minutes, hours and days.
fn two_units(seconds: f64, [second, minute, hour, day]: [&str; 4]) -> String {
    if seconds < 59.95 {
        return format!("{}{second}", without_zero(seconds));
    }
    let parts =
        |whole: u64, (large, large_unit): (u64, &str), (small, small_unit): (u64, &str)| match (whole / large, whole % large / small) {
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

/// One digit after the point, unless it is a zero.
fn without_zero(number: f64) -> String {
    let number = (number * 10.0).round() / 10.0 + 0.0;
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_and_round_into_the_next() {
        let english = [0.0, 0.5, 26.0, 59.94, 59.96, 94.0, 119.6, 120.0, 3_599.6, 7_500.0, 86_399.0, 97_200.0, 172_800.0]
            .map(|seconds| Language::En.duration(seconds));
        let expected =
            ["0 s", "0.5 s", "26 s", "59.9 s", "1 min", "1 min 34 s", "2 min", "2 min", "1 h", "2 h 5 min", "1 d", "1 d 3 h", "2 d"];
        assert_eq!(english, expected);
        assert_eq!((Language::Zh.duration(94.0), Language::En.short_duration(94.0)), ("1 分 34 秒".to_owned(), "1m 34s".to_owned()));
    }

    #[test]
    fn numbers_are_grouped_and_have_one_digit_after_the_point() {
        let counts = [0, 999, 1_000, 1_234_567, -12_345].map(|count| Language::En.count(count));
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567", "−12,345"]);
        assert_eq!([0.0, 0.9234, 0.99999, 1.0].map(|share| Language::En.share(share)), ["0.0%", "92.3%", "99.9%", "100.0%"]);
        assert_eq!([0.04, 9.94, 9.96].map(|number| Language::En.rounded(number)), ["0", "9.9", "10"]);
    }

    #[test]
    fn days_in_a_row_are_a_range_in_either_language() {
        let days = ["2024-05-01", "2024-05-02", "2024-05-04"].map(|day| day.parse().unwrap());
        assert_eq!(Language::En.days(&days), "2024-05-01 to 2024-05-02, 2024-05-04");
        assert_eq!(Language::Zh.days(&days), "2024-05-01 至 2024-05-02、2024-05-04");
    }
}
