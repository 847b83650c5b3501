//! The metrics of the report, one row each, in display order.

use super::metric::Better::*;
use super::metric::Place::*;
use super::metric::Unit::*;
use super::metric::{Metric, Words};

pub(super) static METRICS: [Metric; 28] = [
    Metric {
        name: "service_level",
        unit: Share,
        better: More,
        places: &[Hero, Totals, Workers, Summary],
        en: Words {
            label: "Service level",
            short: "Service level",
            definition: "Turns answered in time, of those that were answered or opened a session \
                and got no reply.",
        },
        zh: Words {
            label: "服务水平",
            short: "服务水平",
            definition: "时限内回复的轮次，占已回复与首轮未回复之和的比例。",
        },
    },
    Metric {
        name: "response_seconds_p50",
        unit: Seconds,
        better: Less,
        places: &[Hero, Totals, Workers, Summary],
        en: Words {
            label: "Response time, median",
            short: "Median",
            definition: "From a turn's first message to its reply: half of the answered turns \
                waited no longer.",
        },
        zh: Words {
            label: "响应时间中位数",
            short: "中位数",
            definition: "从一轮的第一条消息到回复：一半已回复轮次的等待不超过此值。",
        },
    },
    Metric {
        name: "response_seconds_p90",
        unit: Seconds,
        better: Less,
        places: &[Hero, Totals, Workers, Summary],
        en: Words {
            label: "Response time, 90th percentile",
            short: "p90",
            definition: "Nine of ten answered turns waited no longer.",
        },
        zh: Words {
            label: "响应时间 90% 分位",
            short: "p90",
            definition: "九成已回复轮次的等待不超过此值。",
        },
    },
    Metric {
        name: "first_response_seconds_p50",
        unit: Seconds,
        better: Less,
        places: &[Hero],
        en: Words {
            label: "First response, median",
            short: "First response, median",
            definition: "The response time of turns that opened a session: half of them waited no \
                longer.",
        },
        zh: Words {
            label: "首次响应时间中位数",
            short: "首次响应时间中位数",
            definition: "发起会话的轮次的响应时间：一半不超过此值。",
        },
    },
    Metric {
        name: "own_response_seconds_p50",
        unit: Seconds,
        better: Less,
        places: &[Workers],
        en: Words {
            label: "Own response, median",
            short: "Own median",
            definition: "Median wait from the first message that the replying worker received of \
                the turn: what lies in that worker's hands.",
        },
        zh: Words {
            label: "本人响应中位数",
            short: "本人 中位数",
            definition: "从回复者本人收到该轮第一条消息算起的等待中位数，只反映本人能控制的那段时间。",
        },
    },
    Metric {
        name: "business_service_level",
        unit: Share,
        better: More,
        places: &[Business],
        en: Words {
            label: "Service level in hours",
            short: "In hours",
            definition: "The service level of turns that were asked in business hours. Only \
                seconds within business hours count.",
        },
        zh: Words {
            label: "工作时间服务水平",
            short: "工作时间内",
            definition: "工作时间内提问的服务水平，只计工作时间内的秒数。",
        },
    },
    Metric {
        name: "business_seconds_p50",
        unit: Seconds,
        better: Less,
        places: &[Business, Workers],
        en: Words {
            label: "Response in hours, median",
            short: "Median in hours",
            definition: "Of turns asked in business hours: half waited no longer. Only seconds \
                within business hours count.",
        },
        zh: Words {
            label: "工作时间响应中位数",
            short: "工作时间 中位数",
            definition: "工作时间内提问的轮次：一半的等待不超过此值，只计工作时间内的秒数。",
        },
    },
    Metric {
        name: "business_seconds_p90",
        unit: Seconds,
        better: Less,
        places: &[Business],
        en: Words {
            label: "Response in hours, 90th percentile",
            short: "p90 in hours",
            definition: "Of turns asked in business hours: nine of ten waited no longer. Only \
                seconds within business hours count.",
        },
        zh: Words {
            label: "工作时间响应 90% 分位",
            short: "工作时间 p90",
            definition: "工作时间内提问的轮次：九成的等待不超过此值，只计工作时间内的秒数。",
        },
    },
    Metric {
        name: "asked_in_hours",
        unit: Count,
        better: Neither,
        places: &[Business],
        en: Words {
            label: "Turns asked in hours",
            short: "Asked in hours",
            definition: "Turns that began in business hours.",
        },
        zh: Words {
            label: "工作时间内提问",
            short: "工作时间内",
            definition: "在工作时间内开始的轮次。",
        },
    },
    Metric {
        name: "asked_out_of_hours",
        unit: Count,
        better: Neither,
        places: &[Business],
        en: Words {
            label: "Turns asked out of hours",
            short: "Out of hours",
            definition: "Turns that began outside business hours.",
        },
        zh: Words {
            label: "工作时间外提问",
            short: "工作时间外",
            definition: "在工作时间外开始的轮次。",
        },
    },
    Metric {
        name: "unanswered_first",
        unit: Count,
        better: Less,
        places: &[Hero, Totals, Workers, Summary],
        en: Words {
            label: "Unanswered, first",
            short: "Unanswered first",
            definition: "Turns that opened a session and got no reply.",
        },
        zh: Words {
            label: "未回复（首轮）",
            short: "未回复 首轮",
            definition: "发起会话而没有得到回复的轮次。",
        },
    },
    Metric {
        name: "customers",
        unit: Count,
        better: Neither,
        places: &[Cards, Volume, Totals, Workers],
        en: Words {
            label: "Customers",
            short: "Customers",
            definition: "Distinct customers who wrote, over the whole period.",
        },
        zh: Words {
            label: "咨询客户数",
            short: "客户",
            definition: "整个周期内发来消息的客户数，去重。",
        },
    },
    Metric {
        name: "customers_served",
        unit: Count,
        better: Neither,
        places: &[Cards, Volume],
        en: Words {
            label: "Customers served",
            short: "Customers served",
            definition: "Those of them to whom a worker wrote in the period, too.",
        },
        zh: Words {
            label: "接待客户数",
            short: "接待客户数",
            definition: "其中周期内客服也发过消息的客户数，去重。",
        },
    },
    Metric {
        name: "turns",
        unit: Count,
        better: Neither,
        places: &[Cards, Totals, Summary],
        en: Words {
            label: "Turns asked",
            short: "Turns",
            definition: "A turn is what a customer writes until somebody answers; it counts on the day on which it began.",
        },
        zh: Words {
            label: "提问轮次",
            short: "提问",
            definition: "客户从开口到有人回复为一轮，计入开始的那一天。",
        },
    },
    Metric {
        name: "answered",
        unit: Count,
        better: Neither,
        places: &[Totals, Workers, Summary],
        en: Words {
            label: "Answered",
            short: "Answered",
            definition: "Turns that a worker replied to.",
        },
        zh: Words {
            label: "已回复", short: "已回复", definition: "得到客服回复的轮次。"
        },
    },
    Metric {
        name: "unanswered_later",
        unit: Count,
        better: Neither,
        places: &[Totals, Workers, Summary],
        en: Words {
            label: "Unanswered, later",
            short: "Unanswered later",
            definition: "Later turns of a session without a reply, mostly a closing “thanks”.",
        },
        zh: Words {
            label: "未回复（后续）",
            short: "未回复 后续",
            definition: "会话中之后没有得到回复的轮次，多为结束语“谢谢”。",
        },
    },
    Metric {
        name: "pending",
        unit: Count,
        better: Neither,
        places: &[Totals, Workers],
        en: Words {
            label: "Pending",
            short: "Pending",
            definition: "Turns without a reply that may still get one.",
        },
        zh: Words {
            label: "待回复",
            short: "待回复",
            definition: "尚无回复、仍可能得到回复的轮次。",
        },
    },
    Metric {
        name: "messages_received",
        unit: Count,
        better: Neither,
        places: &[Cards, Volume, Totals, Workers, Summary],
        en: Words {
            label: "Messages received",
            short: "Received",
            definition: "Messages from customers that workers received.",
        },
        zh: Words {
            label: "收到消息", short: "收到", definition: "客服收到的客户消息数。"
        },
    },
    Metric {
        name: "messages_sent",
        unit: Count,
        better: Neither,
        places: &[Volume, Totals, Workers],
        en: Words {
            label: "Messages sent",
            short: "Sent",
            definition: "Messages that workers sent, automatic ones left out.",
        },
        zh: Words {
            label: "发出消息",
            short: "发出",
            definition: "客服发出的消息数，不含自动回复。",
        },
    },
    Metric {
        name: "workers",
        unit: Count,
        better: Neither,
        places: &[Cards, Volume],
        en: Words {
            label: "Workers",
            short: "Workers",
            definition: "Distinct workers who sent a message.",
        },
        zh: Words {
            label: "客服人数",
            short: "客服人数",
            definition: "发出过消息的客服人数，去重。",
        },
    },
    Metric {
        name: "takeovers",
        unit: Count,
        better: Neither,
        places: &[Workers],
        en: Words {
            label: "Takeovers",
            short: "Takeovers",
            definition: "Turns that a worker answered without having received any of it.",
        },
        zh: Words {
            label: "接管",
            short: "接管",
            definition: "回复者没有收到过该轮任何消息的轮次。",
        },
    },
    Metric {
        name: "handed_off",
        unit: Count,
        better: Neither,
        places: &[Workers],
        en: Words {
            label: "Handed off",
            short: "Handed off",
            definition: "Turns with a message to this worker that are credited to another one.",
        },
        zh: Words {
            label: "转出",
            short: "转出",
            definition: "该客服收到过消息、而计入他人的轮次。",
        },
    },
    Metric {
        name: "max_concurrent",
        unit: Count,
        better: Neither,
        places: &[Workers],
        en: Words {
            label: "Max. at once",
            short: "Max. at once",
            definition: "The most customers with whom a worker was busy at one instant.",
        },
        zh: Words {
            label: "最大并发",
            short: "最大并发",
            definition: "同一时刻同时接待的最多客户数。",
        },
    },
    Metric {
        name: "sessions_completed",
        unit: Count,
        better: Neither,
        places: &[Sessions],
        en: Words {
            label: "Answered to the end",
            short: "Answered to the end",
            definition: "Sessions whose last turn was answered.",
        },
        zh: Words {
            label: "回复到最后",
            short: "回复到最后",
            definition: "最后一轮得到回复的会话。",
        },
    },
    Metric {
        name: "sessions_missed",
        unit: Count,
        better: Less,
        places: &[Sessions],
        en: Words {
            label: "Missed",
            short: "Missed",
            definition: "Sessions in which no worker wrote.",
        },
        zh: Words {
            label: "未接待", short: "未接待", definition: "没有任何客服发言的会话。"
        },
    },
    Metric {
        name: "sessions_dropped",
        unit: Count,
        better: Neither,
        places: &[Sessions],
        en: Words {
            label: "Customer wrote last",
            short: "Customer wrote last",
            definition: "Sessions in which a worker wrote and the last turn got no reply: mostly \
                a closing “thanks”.",
        },
        zh: Words {
            label: "客户最后发言",
            short: "客户最后发言",
            definition: "客服曾发言、最后一轮没有回复的会话，多为结束语“谢谢”。",
        },
    },
    Metric {
        name: "sessions_open",
        unit: Count,
        better: Neither,
        places: &[Sessions],
        en: Words {
            label: "Open",
            short: "Open",
            definition: "Sessions whose last turn may still be answered.",
        },
        zh: Words {
            label: "进行中",
            short: "进行中",
            definition: "最后一轮仍可能得到回复的会话。",
        },
    },
    Metric {
        name: "sessions_outreach",
        unit: Count,
        better: Neither,
        places: &[Sessions],
        en: Words {
            label: "Outreach",
            short: "Outreach",
            definition: "Sessions in which only a worker wrote.",
        },
        zh: Words {
            label: "主动联系", short: "主动联系", definition: "只有客服发言的会话。"
        },
    },
];
