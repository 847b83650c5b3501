//! Texts of generated customers and workers. All of them are invented.

use rand::{Rng, RngExt};

/// The kind of a generated message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phrase {
    Greeting,
    Question,
    Addition,
    Image,
    Voice,
    Answer,
    FollowUp,
    Thanks,
    Outreach,
}

const QUESTIONS: [&str; 14] = [
    "你好，请问这款有货吗？",
    "我的订单什么时候发货？",
    "在吗",
    "怎么申请退款啊😭",
    "快递三天没动了，帮忙查一下",
    "尺码偏大还是偏小？我平时穿M",
    "优惠券用不了，提示“不满足条件”",
    "发票可以开公司抬头吗？",
    "收到的商品有破损，怎么处理？",
    "请问客服几点下班",
    "Hi, do you ship to Hong Kong?",
    "会员积分怎么兑换",
    "地址填错了能改吗？急急急‼️",
    "刚下单就降价了，能补差价吗？",
];

const ADDITIONS: [&str; 10] = [
    "订单号 ",
    "就是上面这个",
    "还有，能不能送个赠品🎁",
    "麻烦快一点",
    "手机尾号 ",
    "我在外地，\n周末才能收货",
    "？",
    "谢谢先",
    "昨天也问过，没人回",
    "颜色要 \"雾霾蓝\"",
];

const ANSWERS: [&str; 12] = [
    "您好，有货的，今天下单今天发～",
    "亲，已经帮您催促仓库了，预计明天发出😊",
    "请提供一下订单号，我帮您查",
    "可以的，在“我的-订单-申请售后”里提交就行",
    "查到了，快递在分拨中心，预计后天送达",
    "建议按平时的尺码选",
    "这张券需满199元可用哦",
    "可以开，请把抬头和税号发我",
    "非常抱歉！麻烦拍张照片，我们给您补发",
    "已为您修改地址\n请核对：**路88号",
    "Yes, we do. It takes 3-5 days.",
    "差价已申请，1-3个工作日原路退回",
];

const FOLLOW_UPS: [&str; 6] = [
    "请问还有其他可以帮您的吗？",
    "链接发您了👆",
    "稍等，我核实一下",
    "处理好了",
    "好的呢",
    "麻烦给个好评🙏",
];

const THANKS: [&str; 6] = ["谢谢", "好的谢谢🙏", "嗯嗯", "ok", "知道了", "👍"];

const OUTREACH: [&str; 3] = [
    "您好，您的退款已到账，请查收",
    "亲，包裹显示已签收，满意的话给个好评吧🌹",
    "您昨天咨询的商品到货啦",
];

const COLOURS: [&str; 4] = ["白", "黑", "卡其", "藏青"];

impl Phrase {
    /// A random text of this kind.
    pub(super) fn text(self, rng: &mut impl Rng) -> String {
        let one_of = |phrases: &[&'static str], rng: &mut _| {
            phrases.get(pick(rng, phrases.len())).copied().unwrap_or_default()
        };
        match self {
            Self::Greeting => "您好，客服为您服务，请问有什么可以帮您？".into(),
            Self::Question => one_of(&QUESTIONS, rng).into(),
            Self::Addition => {
                let text = one_of(&ADDITIONS, rng);
                match text {
                    "订单号 " => {
                        format!("{text}{}", rng.random_range(100_000_000_000u64..999_999_999_999))
                    }
                    "手机尾号 " => format!("{text}{:04}", rng.random_range(0..10_000)),
                    _ => format!("{text}，要{}色的", one_of(&COLOURS, rng)),
                }
            }
            Self::Image => "[image]".into(),
            Self::Voice => "[voice]".into(),
            Self::Answer => one_of(&ANSWERS, rng).into(),
            Self::FollowUp => one_of(&FOLLOW_UPS, rng).into(),
            Self::Thanks => one_of(&THANKS, rng).into(),
            Self::Outreach => one_of(&OUTREACH, rng).into(),
        }
    }

    pub(super) fn is_inbound(self) -> bool {
        matches!(self, Self::Question | Self::Addition | Self::Image | Self::Voice | Self::Thanks)
    }
}

fn pick(rng: &mut impl Rng, among: usize) -> usize {
    rng.random_range(0..among.max(1))
}
