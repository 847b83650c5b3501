//! The worked cases of the definitions (`src/metrics/definitions.md`). The name of each test says
//! what the case shows.

use kefu::lake::Table;

use super::chat::{Chat, day, expect, expect_pairs, expect_rows, expect_sessions};

const MONDAY: &str = "2024-05-13";

#[test]
fn case_01_a_question_and_its_answer_are_a_pair_and_a_first_response() {
    let chat = Chat::of("I>A 10:00:00; A> 10:00:40");
    expect_pairs(
        &chat,
        &["outcome=answered response_seconds=40 is_first=true worker=A customer_messages=1"],
    );
    expect(
        &chat.worker(MONDAY, "A"),
        "answered=1 first_responses=1 answered_within_30s=0 answered_within_60s=1 replies=1 messages_sent=1",
    );
}

#[test]
fn case_02_a_turn_is_measured_from_its_first_message() {
    let chat = Chat::of("I>A 10:10:15, 10:15:20; A> 10:18:10; I>A 10:18:30; A> 10:19:00");
    expect_pairs(
        &chat,
        &[
            "response_seconds=475 since_last_seconds=170 customer_messages=2 is_first=true",
            "response_seconds=30 customer_messages=1 is_first=false",
        ],
    );
    let session = "first_response_seconds=475 turns=2 answered=2 customer_messages=3 worker_messages=2 workers=1 initiated_by=customer outcome=completed";
    expect_sessions(&chat, &[session]);
    let worker = chat.worker(MONDAY, "A");
    expect(
        &worker,
        "response_seconds_mean=252.5 response_seconds_p50=252.5 response_seconds_p90=430.5 response_seconds_sum=505",
    );
    expect(
        &worker,
        "first_responses=1 first_response_seconds_mean=475 first_response_seconds_max=475",
    );
}

#[test]
fn case_03_messages_after_a_reply_are_follow_ups() {
    let chat = Chat::of("I>A 10:00:00; A> 10:00:20, 10:00:50, 10:02:00");
    expect_pairs(&chat, &["response_seconds=20"]);
    expect(&chat.worker(MONDAY, "A"), "replies=1 follow_ups=2 outreach=0 messages_sent=3");
}

#[test]
fn case_04_a_wait_equal_to_a_threshold_is_within_it() {
    expect(
        &Chat::of("I>A 10:00:00; A> 10:03:00").worker(MONDAY, "A"),
        "answered_within_180s=1 response_seconds_max=180",
    );
    expect(
        &Chat::of("I>A 10:00:00; A> 10:03:01").worker(MONDAY, "A"),
        "answered_within_180s=0 answered_within_300s=1",
    );
}

#[test]
fn case_05_an_answer_in_the_same_second_has_a_wait_of_zero() {
    let chat = Chat::of("I>A 10:00:00; A> 10:00:00");
    expect_pairs(
        &chat,
        &["outcome=answered response_seconds=0 since_last_seconds=0 own_response_seconds=0"],
    );
    expect(&chat.worker(MONDAY, "A"), "response_seconds_p50=0 answered_within_30s=1");
}

#[test]
fn case_06_outreach_answered_by_the_customer_leaves_an_unanswered_turn_that_is_not_first() {
    let chat = Chat::of("A> 10:00:00; I>A 10:00:00");
    expect_pairs(
        &chat,
        &["outcome=unanswered is_first=false response_seconds=null replied_at=null"],
    );
    expect(
        &chat.worker(MONDAY, "A"),
        "outreach=1 unanswered_first=0 unanswered_later=1 first_responses=0 response_seconds_sum=null",
    );
    expect_sessions(
        &chat,
        &["initiated_by=worker outcome=dropped first_response_seconds=null turns=1 answered=0"],
    );
}

#[test]
fn case_07_a_greeting_is_the_reply_unless_a_rule_says_that_it_is_automatic() {
    let chat = Chat::of("I>A 10:00:00; A>\"您好，客服test1为您服务。\" 10:00:01; A> 10:01:30");
    expect_pairs(&chat, &["response_seconds=1"]);
    expect(&chat.worker(MONDAY, "A"), "follow_ups=1 auto_messages_sent=0 messages_sent=2");
    for rule in [
        "prefix = '您好，客服'",
        "text = '您好，客服test1为您服务。'",
        "regex = '客服.*为您服务'",
        "worker = 'A'\nprefix = '您'",
    ] {
        let chat = chat.clone().with_rules(&format!("[[auto_reply]]\n{rule}"));
        expect_pairs(&chat, &["response_seconds=90"]);
        expect(
            &chat.worker(MONDAY, "A"),
            "auto_messages_sent=1 messages_sent=1 follow_ups=0 replies=1",
        );
    }
    let other_worker = chat.with_rules("[[auto_reply]]\nworker = 'B'\nprefix = '您'");
    expect_pairs(&other_worker, &["response_seconds=1"]);
}

#[test]
fn a_worker_who_only_sent_automatic_messages_has_a_row() {
    let chat = Chat::of("A>\"hello\" 10:00:00").with_rules("[[auto_reply]]\ntext = 'hello'");
    expect(
        &chat.worker(MONDAY, "A"),
        "auto_messages_sent=1 messages_sent=0 outreach=0 first_sent_at=null max_concurrent=0 mean_concurrent=null",
    );
    assert!(chat.sessions().is_empty());
    assert!(chat.rows(Table::WorkerHourly).is_empty());
    expect_rows(&chat.rows_on(Table::AccountDaily, MONDAY), &["auto_messages_sent=1 workers=0"]);
}

#[test]
fn case_08_a_turn_is_pending_until_its_window_is_over() {
    let chat = Chat::of("I>A 10:00:00");
    for (last, outcome) in [
        ("2024-05-13", "pending"),
        ("2024-05-14", "pending"),
        ("2024-05-15", "unanswered"),
        ("2024-05-16", "unanswered"),
    ] {
        expect_pairs(&chat.clone().fetched(MONDAY, last), &[&format!("outcome={outcome}")]);
    }
    expect(
        &chat.clone().fetched(MONDAY, MONDAY).worker(MONDAY, "A"),
        "pending=1 unanswered_first=0",
    );
    expect(&chat.fetched(MONDAY, "2024-05-15").worker(MONDAY, "A"), "pending=0 unanswered_first=1");
}

#[test]
fn case_09_an_answer_two_days_later_belongs_to_the_day_of_the_question() {
    let chat = Chat::of("I>A 05-11 10:00:00; A> 05-13 09:00:00");
    expect_pairs(&chat, &["outcome=answered response_seconds=169200 is_first=true"]);
    expect_sessions(&chat, &["outcome=completed first_response_seconds=169200"]);
    expect(
        &chat.worker("2024-05-11", "A"),
        "answered=1 messages_received=1 messages_sent=0 first_sent_at=null",
    );
    expect(&chat.worker(MONDAY, "A"), "answered=0 replies=1 outreach=0");
}

#[test]
fn case_10_after_48_hours_an_answer_is_outreach() {
    let chat = Chat::of("I>A 05-11 08:00:00; A> 05-13 09:00:00");
    expect_pairs(&chat, &["outcome=unanswered is_first=true"]);
    expect_sessions(&chat, &["outcome=missed", "outcome=outreach turns=0 initiated_by=worker"]);
    expect(&chat.worker(MONDAY, "A"), "outreach=1 replies=0");
}

#[test]
fn case_10b_an_answer_after_exactly_48_hours_is_a_reply() {
    expect_pairs(&Chat::of("I>A 05-11 09:00:00; A> 05-13 09:00:00"), &["response_seconds=172800"]);
    expect_pairs(&Chat::of("I>A 05-11 09:00:00; A> 05-13 09:00:01"), &["outcome=unanswered"]);
}

#[test]
fn case_11_messages_count_on_their_own_day_and_turns_on_the_day_they_were_asked() {
    let chat = Chat::of("I>A 23:59:50; A> 05-14 00:00:20");
    expect_pairs(&chat, &["response_seconds=30"]);
    expect_rows(
        &chat.rows_on(Table::WorkerHourly, MONDAY),
        &["hour=23 messages_received=1 messages_sent=0 answered=1 response_seconds_p50=30"],
    );
    expect_rows(
        &chat.rows_on(Table::WorkerHourly, "2024-05-14"),
        &["hour=0 messages_received=0 messages_sent=1 answered=0 response_seconds_sum=null"],
    );
    expect(&chat.worker(MONDAY, "A"), "messages_received=1 messages_sent=0 answered=1");
    expect(
        &chat.worker("2024-05-14", "A"),
        "messages_received=0 messages_sent=1 answered=0 response_seconds_p50=null",
    );
}

#[test]
fn case_12_a_closing_thanks_is_unanswered_later() {
    let chat =
        Chat::of("I>A 10:00:00; A> 10:00:30; I>A 10:01:00; I>A 05-14 15:00:00; A> 05-14 15:01:00");
    expect_pairs(
        &chat,
        &[
            "response_seconds=30",
            "outcome=unanswered is_first=false",
            "response_seconds=60 is_first=true",
        ],
    );
    expect_sessions(&chat, &["outcome=dropped turns=2 answered=1", "outcome=completed"]);
    expect(&chat.worker(MONDAY, "A"), "unanswered_later=1 unanswered_first=0");
}

#[test]
fn case_13_a_question_repeated_after_silence_is_another_turn() {
    let chat = Chat::of("I>A 10:00:00; I>A 10:40:00; A> 10:41:00");
    expect_pairs(&chat, &["outcome=unanswered is_first=true", "response_seconds=60 is_first=true"]);
    expect_sessions(
        &chat,
        &[
            "outcome=missed first_response_seconds=null",
            "outcome=completed first_response_seconds=60",
        ],
    );
    expect(&chat.worker(MONDAY, "A"), "unanswered_first=1 answered=1");
}

#[test]
fn case_14_a_gap_equal_to_the_session_gap_does_not_end_the_session() {
    let chat = Chat::of("I>A 10:00:00; I>A 10:30:00; A> 10:31:00");
    expect_pairs(&chat, &["response_seconds=1860 since_last_seconds=60 customer_messages=2"]);
}

#[test]
fn case_15_a_session_begun_by_the_worker_has_no_first_response() {
    let chat = Chat::of("A> 10:00:00; I>A 10:05:00; A> 10:05:20");
    expect_pairs(&chat, &["response_seconds=20 is_first=false"]);
    expect_sessions(&chat, &["initiated_by=worker outcome=completed first_response_seconds=null"]);
    expect(
        &chat.worker(MONDAY, "A"),
        "first_responses=0 first_response_seconds_p50=null first_response_seconds_sum=null answered=1",
    );
}

#[test]
fn case_16_the_worker_who_replied_is_credited_and_the_other_handed_off() {
    let chat = Chat::of("I>A 10:00:00; I>B 10:01:00; B> 10:01:40");
    expect_pairs(&chat, &["worker=B first_worker=A response_seconds=100 own_response_seconds=40"]);
    expect(&chat.worker(MONDAY, "A"), "handed_off=1 answered=0 unanswered_first=0");
    expect(
        &chat.worker(MONDAY, "B"),
        "handed_off=0 answered=1 takeovers=0 own_response_seconds_mean=40",
    );
}

#[test]
fn case_17_a_worker_who_answers_for_another_worker_takes_over() {
    let chat = Chat::of("I>A 10:00:00; B> 10:02:00");
    expect_pairs(&chat, &["worker=B response_seconds=120 own_response_seconds=null"]);
    expect(
        &chat.worker(MONDAY, "B"),
        "takeovers=1 answered=1 own_response_seconds_p50=null messages_received=0 customers=0",
    );
    expect(&chat.worker(MONDAY, "A"), "handed_off=1");
}

#[test]
fn case_18_an_unanswered_turn_belongs_to_the_last_worker_who_received_it() {
    let chat = Chat::of("I>A 10:00:00; I>B 10:01:00");
    expect_pairs(&chat, &["worker=B first_worker=A outcome=unanswered"]);
    expect(&chat.worker(MONDAY, "A"), "handed_off=1 unanswered_first=0 messages_received=1");
    expect(&chat.worker(MONDAY, "B"), "unanswered_first=1");
}

#[test]
fn case_19_each_customer_is_paired_separately() {
    let chat = Chat::of("C1: I>A 10:00:00; C2: I>A 10:00:10; C2: A> 10:00:30; C1: A> 10:01:00");
    expect_pairs(&chat, &["openid=C1 response_seconds=60", "openid=C2 response_seconds=20"]);
    expect(
        &chat.worker(MONDAY, "A"),
        "customers=2 customers_served=2 max_concurrent=2 mean_concurrent=1.3442622951",
    );
}

#[test]
fn case_20_a_late_answer_is_a_reply_even_after_the_session_gap() {
    let chat = Chat::of("I>A 10:00:00; A> 11:30:00");
    expect_pairs(&chat, &["response_seconds=5400"]);
    assert_eq!(chat.sessions().len(), 1);
    expect(&chat.worker(MONDAY, "A"), "max_concurrent=1 mean_concurrent=1");
}

#[test]
fn case_21_identical_messages_are_all_counted() {
    let chat = Chat::of("I>A 10:00:00, 10:00:00, 10:00:00; A> 10:00:10");
    expect_pairs(&chat, &["response_seconds=10 customer_messages=3"]);
    expect(&chat.worker(MONDAY, "A"), "messages_received=3 customers=1");
}

#[test]
fn case_22_percentiles_are_interpolated() {
    let script = [10, 20, 30, 40, 100]
        .map(|wait| {
            format!("C{wait}: I>A 10:00:00; C{wait}: A> 10:{:02}:{:02}", wait / 60, wait % 60)
        })
        .join(";");
    expect(
        &Chat::of(&script).worker(MONDAY, "A"),
        "response_seconds_mean=40 response_seconds_p50=30 response_seconds_p90=76 response_seconds_p95=88 response_seconds_max=100",
    );
}

#[test]
fn case_23_other_opcodes_are_ignored() {
    let chat = Chat::of("I>A 10:00:00; 1004>A 10:00:10; A> 10:00:40");
    expect_pairs(&chat, &["response_seconds=40"]);
}

const OFFICE: &str = "business_hours = { monday = ['09:00-18:00'], tuesday = ['09:00-18:00'], wednesday = ['09:00-18:00'], thursday = ['09:00-18:00'], friday = ['09:00-18:00'] }";

#[test]
fn case_24_only_business_hours_count_as_business_seconds() {
    let chat = Chat::of("I>A 17:58:00; A> 05-14 09:10:00").with_rules(OFFICE);
    expect_pairs(&chat, &["response_seconds=54720 business_seconds=720 asked_in_hours=true"]);
    expect(
        &chat.worker(MONDAY, "A"),
        "answered_in_hours=1 asked_out_of_hours=0 business_seconds_mean=720 business_seconds_p50=720",
    );
    expect(
        &chat.worker("2024-05-14", "A"),
        "answered_in_hours=0 asked_out_of_hours=0 business_seconds_mean=null",
    );
}

#[test]
fn case_25_a_shift_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let chat = Chat::of("I>A 05-14 01:50:00; A> 05-14 02:10:00");
    let daily = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
        .map(|day| format!("{day} = ['21:00-02:00']"))
        .join(", ");
    let every_day = chat.clone().with_rules(&format!("business_hours = {{ {daily} }}"));
    expect_pairs(&every_day, &["response_seconds=1200 business_seconds=600 asked_in_hours=true"]);
    expect_pairs(
        &chat.clone().with_rules("business_hours = { monday = ['21:00-02:00'] }"),
        &["business_seconds=600 asked_in_hours=true"],
    );
    expect_pairs(
        &chat.with_rules("business_hours = { tuesday = ['21:00-02:00'] }"),
        &["business_seconds=0 asked_in_hours=false"],
    );
}

#[test]
fn case_26_a_date_can_have_other_hours_than_its_weekday() {
    let chat = Chat::of("I>A 05-11 10:00:00; A> 05-11 10:10:00");
    let with_override = format!("{OFFICE}\n[business_hours.dates]\n2024-05-11 = ['09:00-18:00']")
        .replace("business_hours = {", "[business_hours]\n")
        .replace(" }", "")
        .replace("], ", "]\n");
    expect_pairs(
        &chat.clone().with_rules(&with_override),
        &["business_seconds=600 asked_in_hours=true"],
    );
    expect_pairs(&chat.with_rules(OFFICE), &["business_seconds=0 asked_in_hours=false"]);
}

#[test]
fn without_a_schedule_there_are_no_business_seconds() {
    let chat = Chat::of("I>A 10:00:00; A> 10:00:40");
    expect_pairs(&chat, &["business_seconds=null asked_in_hours=null"]);
    expect(
        &chat.worker(MONDAY, "A"),
        "answered_in_hours=null asked_out_of_hours=null business_seconds_mean=null",
    );
}

#[test]
fn case_27_clocks_that_go_back_do_not_lengthen_a_wait() {
    let chat = Chat::in_zone("America/New_York", "I>A 2024-11-03T05:50Z; A> 2024-11-03T06:10Z");
    expect_pairs(&chat, &["response_seconds=1200"]);
    expect_rows(
        &chat.rows_on(Table::WorkerHourly, "2024-11-03"),
        &["hour=1 messages_received=1 messages_sent=1 answered=1"],
    );
    expect(&chat.worker("2024-11-03", "A"), "answered=1 messages_sent=1");
}

#[test]
fn a_chat_is_printed_in_its_own_notation() {
    let chat = Chat::of("I>A 10:00:00; A>\"hello\" 10:00:40; 1004>A 11:00:00");
    let shown = format!("{chat:?}");
    let script: Vec<&str> = shown.lines().skip(1).collect();
    assert_eq!(
        script,
        [
            "C1: I>A 2024-05-13T2:00:00Z",
            "C1: A>\"hello\" 2024-05-13T2:00:40Z",
            "C1: 1004>A 2024-05-13T3:00:00Z"
        ]
    );
    assert_eq!(Chat::of(&script.join("\n")).messages, chat.messages);
}

#[test]
fn case_28_days_are_cut_at_local_midnight() {
    let chat = Chat::of("C1: I>A 2024-05-13T15:59:59Z; C2: I>B 2024-05-13T16:00:00Z");
    assert_eq!(
        chat.messages.iter().map(|message| message.sent_at).collect::<Vec<_>>(),
        [1_715_615_999, 1_715_616_000]
    );
    expect(&chat.worker(MONDAY, "A"), "messages_received=1");
    expect(&chat.worker("2024-05-14", "B"), "messages_received=1");
    expect_rows(&chat.rows_on(Table::WorkerHourly, MONDAY), &["hour=23"]);
    expect_rows(&chat.rows_on(Table::WorkerHourly, "2024-05-14"), &["hour=0"]);
    assert_eq!(chat.zone.day_of(1_715_616_000), day("2024-05-14"));
}

#[test]
fn customers_served_are_customers_who_also_got_a_message_that_day() {
    let chat = Chat::of("C1: I>A 10:00:00; C1: A> 10:00:30; C2: I>A 11:00:00; C3: A> 12:00:00");
    expect(&chat.worker(MONDAY, "A"), "customers=2 customers_served=1 outreach=1");
}

#[test]
fn metrics_do_not_read_past_a_missing_day() {
    // The question of the 13th was answered on the 14th, which was never fetched.
    let mut chat = Chat::of("I>A 10:00:00; A> 05-14 09:00:00; A> 05-15 09:00:00");
    chat.fetched.remove(&day("2024-05-14"));
    expect_pairs(&chat, &["outcome=pending"]);
    expect(&chat.worker("2024-05-15", "A"), "outreach=1");
}

#[test]
fn a_pending_turn_makes_an_open_session() {
    let chat = Chat::of("I>A 10:00:00");
    expect_sessions(&chat.clone().fetched(MONDAY, MONDAY), &["outcome=open"]);
    expect_sessions(&chat.fetched(MONDAY, "2024-05-15"), &["outcome=missed"]);
}

#[test]
fn an_answer_within_48_hours_may_come_on_the_third_day_where_clocks_go_forward() {
    // The wait of 171,900 seconds spans a day of 23 hours. The dependency window of the day of the
    // answer does not reach back to the question.
    let chat = Chat::in_zone("America/New_York", "I>A 03-09 23:30:00; A> 2024-03-12T04:15Z");
    expect_pairs(&chat, &["outcome=answered response_seconds=171900"]);
    expect(&chat.worker("2024-03-12", "A"), "outreach=1 replies=0");
    expect_sessions(&chat, &["outcome=completed worker_messages=1", "outcome=outreach"]);
}

#[test]
fn a_segment_over_midnight_is_cut_at_midnight() {
    let chat =
        Chat::of("C1: I>A 23:50:00; C1: A> 05-14 00:10:00; C2: I>A 23:59:00; C2: A> 23:59:59");
    // C1 covers the last 600 seconds of Monday, C2 the last 60 (its last message is at 23:59:59).
    expect(&chat.worker(MONDAY, "A"), "max_concurrent=2 mean_concurrent=1.1");
    expect(&chat.worker("2024-05-14", "A"), "max_concurrent=1 mean_concurrent=1");
}

#[test]
fn account_daily_has_a_row_without_messages_and_counts_over_all_workers() {
    let chat = Chat::of(
        "C1: I>A 10:00:00; C1: I>B 10:01:00; C1: B> 10:01:40; C2: I>A 10:01:30; C2: A> 10:02:00",
    );
    let [ref monday] = chat.rows_on(Table::AccountDaily, MONDAY)[..] else { panic!("one row") };
    expect(
        monday,
        "messages_received=3 messages_sent=2 customers=2 customers_served=2 answered=2 handed_off=1 workers=2 sessions_completed=2",
    );
    expect(
        monday,
        "response_seconds_p50=65 response_seconds_max=100 first_responses=2 max_concurrent=2",
    );
    let [ref tuesday] = chat.rows_on(Table::AccountDaily, "2024-05-14")[..] else {
        panic!("one row")
    };
    expect(
        tuesday,
        "messages_received=0 answered=0 workers=0 sessions_completed=0 response_seconds_sum=null mean_concurrent=null first_sent_at=null",
    );
}

#[test]
fn messages_after_the_third_day_belong_to_no_turn_or_session_of_the_first_day() {
    // A customer writes every twelve hours for five days and gets an answer on the fifth day.
    let days = ["05-13", "05-14", "05-15", "05-16"]
        .map(|date| format!("I>A {date} 10:00:00, {date} 22:00:00"))
        .join(";");
    let mut chat = Chat::of(&format!("{days}; I>A 05-17 10:00:00; A> 05-17 10:05:00"));
    chat.parameters.session_gap = 43_200;
    expect_pairs(&chat, &["outcome=unanswered customer_messages=8 replied_at=null"]);
    expect_sessions(
        &chat,
        &["outcome=missed customer_messages=8 worker_messages=0 turns=1 answered=0"],
    );
    expect(&chat.worker("2024-05-17", "A"), "replies=1 answered=0 messages_received=1");
}

#[test]
fn a_turn_and_a_session_have_the_number_of_their_first_message_on_its_day() {
    // Messages that no metric uses have a number too. The reply on the next day does not change the
    // numbers.
    let chat = Chat::of(
        "1004>A 10:00:00
         C2: I>A 10:00:10
         A>\"hello\" 10:00:10
         I>A 10:00:20
         A> 10:00:40
         C2: A> 05-14 10:00:00
         I>A 05-14 10:00:00
         A> 05-14 23:00:00
         C2: A> 05-14 23:30:00",
    )
    .with_rules("auto_reply = [{ text = \"hello\" }]");
    expect_pairs(
        &chat,
        &[
            "openid=C2 asked_seq=1 outcome=answered",
            "openid=C1 asked_seq=3 outcome=answered",
            "openid=C1 asked_seq=1 outcome=answered",
        ],
    );
    expect_sessions(
        &chat,
        &[
            "openid=C2 started_seq=1 outcome=completed",
            "openid=C1 started_seq=3 outcome=completed",
            "openid=C1 started_seq=1 outcome=completed",
            "openid=C2 started_seq=3 initiated_by=worker outcome=outreach",
        ],
    );
}
