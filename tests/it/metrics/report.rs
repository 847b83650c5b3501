//! The page of `kefu report`: what it shows and what it must not show. Data must appear as text
//! only.

use std::process::Output;

use kefu::lake::{Account, Table};
use kefu::simulator::{APPID, Generated, GeneratorOptions, SECRET, Simulator};
use serde_json::{Value, json};

use crate::world::{OTHER_APPID, World, files, record, recorded};

/// 2024-05-13 10:00:00 in Shanghai.
const TEN: i64 = 1_715_565_600;
const DAY_SECONDS: i64 = 86_400;

/// Hostile names of workers: HTML, attributes, templates and characters that reorder text.
const HOSTILE_NAMES: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "&lt;b&gt;{{ words.title }}{% if %}",
    "\u{202e}evil\u{2066}\u{feff}",
];

/// Hostile texts of messages: HTML, control characters and characters that reorder text.
const HOSTILE_TEXTS: [&str; 5] = [
    "</bdi></td></table><script>alert(2)</script>",
    "<!-- <svg onload=alert(3)> ]]> \"'`",
    "\0\u{1}\u{1b}[31m\u{7f}\u{85}",
    "\u{202e}reversed\u{202d}",
    "javascript:alert(4)&amp;&#x3c;script&#x3e;",
];

fn line(openid: &str, opercode: i32, text: &str, time: i64, worker: &str) -> String {
    json!({ "openid": openid, "opercode": opercode, "text": text, "time": time, "worker": worker })
        .to_string()
}

/// For each worker with a hostile name: one question without an answer, and one with an answer. The
/// last question has a long text and a worker with a long name.
fn hostile_lines() -> Vec<String> {
    let mut lines = Vec::new();
    for (place, (name, text)) in HOSTILE_NAMES.iter().zip(HOSTILE_TEXTS).enumerate() {
        let start = TEN + 10_000 * place as i64 / 10;
        lines.push(line(&format!("oASKED{place}<i>"), 2003, text, start, name));
        lines.push(line(
            &format!("oSERVED{place}"),
            2003,
            "SECRET of the served",
            start + 100,
            name,
        ));
        lines.push(line(&format!("oSERVED{place}"), 2002, "SECRET answer", start + 140, name));
    }
    lines.push(line("oLONG", 2003, &"很长 <b>".repeat(2_000), TEN + 9_000, &"名<b>".repeat(1_000)));
    lines
}

/// Fetches these records and computes their metrics, for `days` days from 2024-05-13.
fn lake_of(world: &World, lines: Vec<String>, days: i64) {
    let simulator = world.simulate(recorded(lines), world.options(&[]));
    let last = format!("2024-05-{}", 12 + days);
    run(world, &simulator, "2024-05-13", &last);
}

#[track_caller]
fn run(world: &World, simulator: &Simulator, first: &str, last: &str) {
    let output = world.kefu(simulator, &["run", "--from", first, "--to", last]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A lake with `days` generated days from 2024-05-01.
fn generated(days: u32) -> World {
    let world = World::new();
    fetch_generated(&world, "acme", days, 1);
    world
}

fn fetch_generated(world: &World, account: &str, days: u32, seed: u64) {
    let generator = GeneratorOptions {
        first_day: "2024-05-01".parse().unwrap(),
        days,
        messages_per_day: 200,
        seed,
    };
    let simulator = world.simulate(Generated::new(generator), world.options(&[]));
    let last = format!("2024-05-{days:02}");
    let mut command = world.command(&["run", "--from", "2024-05-01", "--to", &last]);
    command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_APPID", if account == "acme" { APPID } else { OTHER_APPID })
        .env("KEFU_ACCOUNT", account);
    assert!(command.env("KEFU_SECRET", SECRET).output().unwrap().status.success());
}

/// Runs `kefu report`. The lake is its only setting.
fn report(world: &World, arguments: &[&str]) -> Output {
    world.command(&[&["report"], arguments].concat()).output().unwrap()
}

/// Returns the page, and the figures that the command prints as JSON.
#[track_caller]
fn page(world: &World, arguments: &[&str]) -> (String, Value) {
    let output = report(world, &[arguments, &["--output", "json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fs_err::read_to_string(world.folder.path().join("kefu-report.html")).unwrap();
    (page, serde_json::from_slice(&output.stdout).unwrap())
}

/// Returns the exit code and the error of a refused report.
fn refusal(world: &World, arguments: &[&str]) -> String {
    let output = report(world, arguments);
    assert!(!output.status.success() && !output.stdout.starts_with(b"<"), "{output:?}");
    assert!(!world.folder.path().join("kefu-report.html").exists());
    let said = String::from_utf8(output.stderr)
        .unwrap()
        .replace(&world.lake_folder().display().to_string(), "data/lake");
    format!("{} {said}", output.status.code().unwrap())
}

/// Returns the names of the tags in a page, as a browser reads them. Attributes and text between
/// tags are not included.
fn tags(page: &str) -> Vec<&str> {
    // The page escapes every `<` and `>` that comes from data, and its own attributes contain none.
    let without_script = page.split_once("<script>").map_or(page, |(before, _)| before);
    without_script
        .split('<')
        .skip(1)
        .map(|tag| tag.split(['>', ' ', '\n']).next().unwrap())
        .collect()
}

/// Asserts that a page has only the parts that kefu writes. Any other tag or attribute comes from
/// data.
#[track_caller]
fn assert_nothing_foreign(page: &str) {
    let known = [
        "!doctype", "html", "head", "meta", "link", "title", "style", "body", "div", "a", "header",
        "h1", "h2", "h3", "p", "main", "section", "ul", "li", "ol", "dl", "dt", "dd", "span",
        "data", "svg", "defs", "pattern", "line", "rect", "path", "text", "figure", "details",
        "summary", "table", "caption", "thead", "tbody", "tr", "th", "td", "bdi", "b", "footer",
        "label", "select", "option", "code",
    ];
    for tag in tags(page) {
        assert!(known.contains(&tag.trim_start_matches('/')), "<{tag}>");
    }
    assert_eq!(page.matches("<script>").count(), 1);
    assert_eq!(page.matches("<script").count(), 1);
    // Checks only what is between the brackets of a tag. Everything outside them is text.
    for inside in
        page.split('<').skip(1).filter_map(|tag| tag.split_once('>')).map(|(inside, _)| inside)
    {
        assert!(!inside.contains("alert"), "<{inside}>");
    }
    // The page shows control characters and characters that reorder text by visible names.
    assert!(!page.chars().any(|character| character.is_control() && character != '\n'));
    assert!(!page.contains(['\u{202e}', '\u{202d}', '\u{2066}', '\u{feff}']));
}

#[test]
fn hostile_names_and_texts_appear_as_text_only() {
    let world = World::new();
    lake_of(&world, hostile_lines(), 6);
    for arguments in [&["--with-text"][..], &[], &["--lang", "zh", "--with-text"]] {
        let (page, _) = page(&world, arguments);
        assert_nothing_foreign(&page);
        assert!(
            page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"),
            "the name is there, as text"
        );
        assert!(page.contains("⟨U+202E⟩evil⟨U+2066⟩⟨U+FEFF⟩"));
        assert_eq!(page.contains("&#60;script&#62;alert(2)"), arguments.contains(&"--with-text"));
        assert_eq!(page.contains("␀␁␛[31m␡⟨U+0085⟩"), arguments.contains(&"--with-text"));
    }
}

#[test]
fn texts_are_shown_only_with_with_text_and_only_for_unanswered_turns() {
    let world = World::new();
    lake_of(&world, hostile_lines(), 6);
    let (without, figures) = page(&world, &[]);
    let (with, figures_with) = page(&world, &["--with-text"]);
    let texts: Vec<String> =
        (13..=18).flat_map(|day| world.texts(&format!("2024-05-{day}"))).collect();
    assert_eq!(texts.len(), 16);
    for text in &texts {
        let plain: String =
            text.chars().filter(|character| character.is_alphanumeric()).take(12).collect();
        assert!(
            !without.contains(text) && (plain.len() < 8 || !without.contains(&plain)),
            "{text:?}"
        );
    }
    assert!(!figures.to_string().contains("很长") && figures_with.to_string().contains("很长"));
    // The page cuts long texts and shows only the end of an openid. It has no texts of answered
    // turns.
    assert!(
        with.contains("很长 &#60;b&#62;很长")
            && with.contains("…</bdi>")
            && with.len() < without.len() + 10_000
    );
    assert!(
        !with.contains("SECRET") && !with.contains("oASKED") && with.contains("…ED0&#60;i&#62;")
    );
    // The page does not show the path of the lake either.
    assert!(!with.contains(&world.folder.path().display().to_string()));
}

#[test]
fn the_page_says_that_a_dropped_text_is_missing() {
    let world = World::new();
    fs_err::write(world.folder.path().join("kefu.toml"), "[privacy]\ntext = 'drop'\n").unwrap();
    lake_of(&world, hostile_lines(), 6);
    let (page, figures) = page(&world, &["--with-text"]);
    assert!(page.contains("(no text in the lake)") && !page.contains("alert(2)"));
    assert_eq!(figures["unanswered"]["turns"][0]["texts"]["texts"], json!([null]));
}

#[test]
fn the_page_loads_nothing_and_allows_only_its_own_script() {
    let (page, _) = page(&generated(5), &[]);
    for foreign in [
        "http:",
        "https:",
        "//",
        "@import",
        "src=",
        "<link rel=\"stylesheet\"",
        "eval(",
        "innerHTML",
    ] {
        let body = page.replace("// Sorts tables", "").replace("// Of numbers", "");
        assert!(!body.contains(foreign), "{foreign}");
    }
    let policy = page
        .split_once("Content-Security-Policy\" content=\"")
        .unwrap()
        .1
        .split('"')
        .next()
        .unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(page.contains("role=\"img\" aria-label=") && page.contains("<th scope=\"row\""));
}

#[test]
fn the_name_of_a_page_may_be_not_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let world = generated(3);
    let name = std::ffi::OsStr::from_bytes(b"a\xff.html");
    let mut command = world.command(&["report", "--output", "json", "--out"]);
    let output = command.arg(name).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["path"], "a\u{fffd}.html");
    assert!(world.folder.path().join(name).is_file());
}

#[test]
fn the_same_lake_gives_the_same_page_and_does_not_change() {
    let world = generated(10);
    let state = || {
        files(&world.lake_folder())
            .into_iter()
            .map(|path| (path.clone(), fs_err::read(path).unwrap()))
            .collect::<Vec<_>>()
    };
    let before = state();
    let (first, _) = page(&world, &["--with-text"]);
    let (second, _) = page(&world, &["--with-text"]);
    assert!(first == second && before == state());
    let stdout = report(&world, &["--with-text", "--out", "-", "--threads", "1"]).stdout;
    assert!(stdout == first.as_bytes());
    // Only the page itself is left outside the lake.
    let beside = files(world.folder.path())
        .into_iter()
        .filter(|path| !path.starts_with(world.lake_folder()))
        .count();
    assert_eq!(beside, 1);
}

#[test]
fn the_default_report_compares_the_last_final_week_with_the_week_before() {
    let world = generated(20);
    let (page_of_week, week) = page(&world, &[]);
    assert_eq!((&week["first"], &week["last"]), (&json!("2024-05-11"), &json!("2024-05-17")));
    assert_eq!(
        (&week["before"]["first"], &week["before"]["last"], &week["before"]["missing"]),
        (&json!("2024-05-04"), &json!("2024-05-10"), &Value::Null)
    );
    assert_eq!(
        week["totals"]["messages_received"].as_i64().unwrap()
            + week["totals"]["messages_sent"].as_i64().unwrap(),
        1_400
    );
    assert!(page_of_week.contains("Change against 2024-05-04 to 2024-05-10"));
    // All days on the page are final, and the page names the later days.
    assert_eq!(
        (&week["is_final"], &week["left_out"]),
        (&json!(true), &json!(["2024-05-18", "2024-05-19", "2024-05-20"]))
    );
    assert!(
        page_of_week.contains("Not final yet, so not in this report: 2024-05-18 to 2024-05-20.")
    );
    assert!(
        !page_of_week.contains("class=\"provisional\"") && !page_of_week.contains("Not final: ")
    );
    // A report of the week before has the same figures as the comparison.
    let (_, before) = page(&world, &["--from", "2024-05-04", "--to", "2024-05-10"]);
    assert_eq!((&before["totals"], &before["left_out"]), (&week["before"]["totals"], &json!([])));
    // With the whole lake, there are no earlier days. So the comparison is empty, not zero.
    let (all_page, all) = page(&world, &["--days", "20"]);
    assert_eq!((&all["first"], &all["last"]), (&json!("2024-05-01"), &json!("2024-05-17")));
    assert_eq!(
        (&all["before"]["totals"], &all["before"]["missing"], &all["before"]["volume"]),
        (&Value::Null, &json!("before_incomplete"), &Value::Null)
    );
    assert!(
        all_page.contains("not all of it is in the lake") && !all_page.contains("class=\"was\"")
    );
}

/// Returns the cards of a page for these figures.
fn cards<'a>(page: &'a str, names: &[&str]) -> Vec<&'a str> {
    let card = |name: &&str| {
        let (_, card) = page.split_once(&format!("<div class=\"of-{name}\"")).unwrap();
        card.split_once("</div>").unwrap().0
    };
    names.iter().map(card).collect()
}

#[test]
fn days_that_are_not_final_are_hatched_and_their_figures_are_not_compared() {
    let world = generated(20);
    let days = ["--from", "2024-05-14", "--to", "2024-05-20"];
    let (shown, figures) = page(&world, &days);
    assert_eq!(
        (&figures["is_final"], &figures["before"]["missing"], &figures["before"]["totals"]),
        (&json!(false), &json!("period_not_final"), &Value::Null)
    );
    let is_final = |figures: &Value| {
        let days = figures["days"].as_array().unwrap();
        days.iter().map(|day| day["is_final"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(is_final(&figures), [true, true, true, true, false, false, false]);
    // The mark is in each panel of the two daily charts, in three widths, and in the legends.
    assert_eq!(shown.matches("<rect class=\"provisional\"").count(), 3 * 3 * 3 + 2);
    assert_eq!(shown.matches("</svg>not final yet</li>").count(), 2);
    assert_eq!(shown.matches("<span class=\"remark\">not final yet</span>").count(), 3);
    // Figures that later days can change have no comparison.
    for card in
        cards(&shown, &["service_level", "response_seconds_p50", "turns", "unanswered_first"])
    {
        assert!(
            card.contains(">not final yet</span>") && !card.contains("class=\"was\""),
            "{card}"
        );
    }
    // Figures that later days cannot change have one.
    for card in cards(&shown, &["messages_received", "customers", "workers"]) {
        assert!(card.contains("class=\"was\""), "{card}");
    }
    assert!(shown.contains(
        "Not compared with 2024-05-07 to 2024-05-13, except for the volume: days of this"
    ));
    let (_, before) = page(&world, &["--from", "2024-05-07", "--to", "2024-05-13"]);
    for figure in ["messages_received", "messages_sent", "customers", "customers_served", "workers"]
    {
        assert_eq!(figures["before"]["volume"][figure], before["totals"][figure], "{figure}");
    }
    let (chinese, _) = page(&world, &[&days[..], &["--lang", "zh"]].concat());
    assert_eq!(chinese.matches("</svg>未定</li>").count(), 2);
    let said = String::from_utf8(report(&world, &days).stdout).unwrap();
    assert!(said.contains("Not final: 2024-05-18 to 2024-05-20"), "{said}");

    // Without a final day, the report shows the days that are there.
    let (_, first_days) = page(&generated(3), &[]);
    assert_eq!(
        (&first_days["first"], &first_days["last"]),
        (&json!("2024-05-01"), &json!("2024-05-03"))
    );
    assert_eq!(is_final(&first_days), [false; 3]);
}

/// A reply on the third day after a missed session makes it a completed one. Until then, a week can
/// look worse or better than it is.
#[test]
fn a_day_is_final_after_its_metrics_include_the_later_days() {
    let world = World::new();
    let asked = (0..14).map(|day| line("oC1", 2003, "x", TEN + day * DAY_SECONDS, "kf1"));
    let simulator = world.simulate(recorded(asked), world.options(&[]));
    run(&world, &simulator, "2024-05-13", "2024-05-20");
    let fetched = world.kefu(&simulator, &["fetch", "--from", "2024-05-21", "--to", "2024-05-23"]);
    assert!(fetched.status.success());
    let (_, figures) = page(&world, &[]);
    assert_eq!(figures["last"], "2024-05-17");
    assert!(world.kefu(&simulator, &["metrics"]).status.success());
    let (_, figures) = page(&world, &[]);
    assert_eq!(figures["last"], "2024-05-20");
}

#[test]
fn a_missing_day_is_a_gap_and_an_empty_day_is_not() {
    let world = World::new();
    let asked = |day: i64| line("oC1", 2003, "x", TEN + day * DAY_SECONDS, "kf1");
    let answered = |day: i64| line("oC1", 2002, "x", TEN + day * DAY_SECONDS + 40, "kf1");
    // The second day is not fetched, and the third day is empty.
    let lines: Vec<String> =
        [0, 1, 3].into_iter().flat_map(|day| [asked(day), answered(day)]).collect();
    let simulator = world.simulate(recorded(lines), world.options(&[]));
    run(&world, &simulator, "2024-05-13", "2024-05-13");
    run(&world, &simulator, "2024-05-15", "2024-05-16");
    let (page, figures) = page(&world, &["--from", "2024-05-13", "--to", "2024-05-16"]);
    let days = figures["days"].as_array().unwrap();
    let of = |figure: &str| days.iter().map(|day| day[figure].clone()).collect::<Vec<_>>();
    assert_eq!(of("accounts"), [json!(1), json!(0), json!(1), json!(1)]);
    assert_eq!(of("answered"), [json!(1), Value::Null, json!(0), json!(1)]);
    assert_eq!(of("response_seconds_p50"), [json!(40.0), Value::Null, Value::Null, json!(40.0)]);
    assert_eq!(of("service_level"), [json!(1.0), Value::Null, Value::Null, json!(1.0)]);
    assert_eq!(
        figures["coverage"][0]["days"]
            .as_array()
            .unwrap()
            .iter()
            .map(|day| day["mark"].clone())
            .collect::<Vec<_>>(),
        [json!("not_final"), json!("missing"), json!("empty"), json!("not_final")]
    );
    assert_eq!(figures["before"]["missing"], "period_incomplete");
    assert!(
        page.contains("Not in the figures, because the data is missing: 2024-05-14.")
            && page.contains("<code>kefu run --from 2024-05-14 --to 2024-05-14</code>")
            && page.contains("class=\"gap\"")
    );
    // A weekday without a fetched day has no average.
    let load = figures["load"].as_array().unwrap();
    assert_eq!(
        (
            &load[0]["messages_received_mean"][10],
            &load[1]["messages_received_mean"],
            &load[2]["messages_received_mean"][10]
        ),
        (&json!(1.0), &Value::Null, &json!(0.0))
    );
    assert!(
        figures["workers"][0]["is_small_sample"].as_bool().unwrap()
            && page.contains("small sample")
    );
}

/// Ten days of one account. Of each day's turns, all are answered in 40 s but `late`, which are
/// answered in 400 s.
fn days_with_late_turns(late: [usize; 10]) -> World {
    let world = World::new();
    let mut lines = Vec::new();
    for (day, late) in late.into_iter().enumerate() {
        for turn in 0..40 {
            // From 10:00 on, a turn every two minutes: 30 in the first hour, 10 in the second.
            let asked = TEN + day as i64 * DAY_SECONDS + 120 * turn;
            let openid = format!("o{day}-{turn}");
            let wait = if (turn as usize) < late { 400 } else { 40 };
            lines.push((asked, line(&openid, 2003, "x", asked, "kf1")));
            lines.push((asked + wait, line(&openid, 2002, "x", asked + wait, "kf1")));
        }
    }
    lines.sort();
    let lines = lines.into_iter().map(|(_, line)| line).collect();
    lake_of(&world, lines, 10);
    world
}

#[track_caller]
fn headline(page: &str) -> &str {
    page.split_once("<p class=\"headline\" data-view=\"\">")
        .unwrap()
        .1
        .split_once("</p>")
        .unwrap()
        .0
}

#[test]
fn one_sentence_says_what_happened() {
    // In each period of two days, 80 turns count.
    let world = days_with_late_turns([0, 0, 2, 2, 10, 20, 0, 0, 0, 0]);
    let settings = "[report]\nservice_level_target = 92.5\n";
    fs_err::write(world.folder.path().join("kefu.toml"), settings).unwrap();
    let days = ["--from", "2024-05-17", "--to", "2024-05-18"];
    let (english, figures) = page(&world, &days);
    assert_eq!(
        headline(&english).replace('\u{a0}', " "),
        "The service level within 3 min was 62.5%: 30 points below the target of 92.5%, \
         32.5 points worse than in the 2 days before; worst on Sat 2024-05-18 (50.0%); \
         busiest from 10:00 to 12:00 (100.0% of the messages received)."
    );
    let (chinese, _) = page(&world, &[&days[..], &["--lang", "zh"]].concat());
    assert_eq!(
        headline(&chinese).replace('\u{a0}', " "),
        "3 分钟内的服务水平为 62.5%：比目标 92.5% 低 30 个百分点，比前 2 天低 32.5 个百分点；\
         最差的一天是 2024-05-18 周六（50.0%）；10:00–12:00 最忙（占收到消息的 100.0%）。"
    );
    assert_eq!(
        (&figures["service_level_target"], &figures["headline"]["worst_day"]["date"]),
        (&json!(0.925), &json!("2024-05-18"))
    );
    assert!(english.contains("class=\"target\"") && english.contains("number below"));
    let said = String::from_utf8(report(&world, &days).stdout).unwrap();
    assert!(said.contains("30 points below the target of 92.5%"), "{said}");

    // Four of 80 turns late, none before: z is 2.03. Two of 80: 1.42, which is within chance.
    let (clear, figures) = page(&world, &["--from", "2024-05-15", "--to", "2024-05-16"]);
    assert!(headline(&clear).contains("5 points worse than in the 2 days before"));
    assert_eq!(figures["headline"]["change_is_within_chance"], false);
    let world = days_with_late_turns([0, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
    let (unclear, figures) = page(&world, &["--from", "2024-05-15", "--to", "2024-05-16"]);
    assert_eq!(figures["headline"]["change_is_within_chance"], true);
    assert!(
        headline(&unclear)
            .contains("no clear change against the 2 days before (−2.5 points, within chance)"),
        "{}",
        headline(&unclear)
    );
    let [card] = cards(&unclear, &["service_level"]).try_into().unwrap();
    assert!(card.contains("class=\"neutral\"") && card.contains("within chance"), "{card}");
    assert!(!unclear.contains("class=\"target\""), "without a target, nothing is below it");
}

#[test]
fn a_target_that_is_no_percentage_is_refused() {
    let world = generated(1);
    for target in ["0.9", "101", "-1"] {
        let settings = format!("[report]\nservice_level_target = {target}\n");
        fs_err::write(world.folder.path().join("kefu.toml"), settings).unwrap();
        let said = refusal(&world, &[]);
        assert!(said.starts_with("78 ") && said.contains("is not between 1 and 100"), "{said}");
    }
}

/// Commands are for the operator of kefu, not for the readers of the page.
#[test]
fn commands_are_in_the_foot_notes_only() {
    let world = generated(8);
    fs_err::write(world.folder.path().join("kefu.toml"), "metrics.session_gap = 60\n").unwrap();
    for language in ["en", "zh"] {
        for days in [&["--days", "5"][..], &["--from", "2024-05-01", "--to", "2024-05-10"]] {
            let (page, _) = page(&world, &[days, &["--lang", language]].concat());
            let (_, body) = page.split_once("<body>").unwrap();
            let (for_readers, foot) = body.split_once("<footer>").unwrap();
            for word in ["kefu ", "`", "--", "<code>"] {
                assert!(!for_readers.contains(word), "{word}");
            }
            assert!(foot.contains("<code>kefu metrics</code>"), "{foot}");
            assert!(for_readers.contains("<a href=\"#remedy-1\">"));
        }
    }
}

#[test]
fn turns_in_business_hours_have_their_own_figures() {
    let world = World::new();
    // Tuesday 2024-05-14: 18:30 is after hours; 17:58 waits two minutes in hours, and 40 s later.
    let day = TEN + DAY_SECONDS;
    let mut lines = Vec::new();
    for (openid, asked, replied) in [
        ("o1", day, day + 40),
        ("o2", day + 7 * 3_600 + 58 * 60, day + 8 * 3_600 + 40),
        ("o3", day + 8 * 3_600 + 1_800, day + DAY_SECONDS),
    ] {
        lines.push((asked, line(openid, 2003, "x", asked, "kf1")));
        lines.push((replied, line(openid, 2002, "x", replied, "kf1")));
    }
    lines.push((day + 60, line("o4", 2003, "x", day + 60, "kf1")));
    lines.sort();
    let lines = lines.into_iter().map(|(_, line)| line).collect();
    let hours =
        "[metrics.business_hours]\ntuesday = ['09:00-18:00']\nwednesday = ['09:00-18:00']\n";
    fs_err::write(world.folder.path().join("kefu.toml"), hours).unwrap();
    lake_of(&world, lines, 7);
    let (shown, figures) = page(&world, &["--from", "2024-05-13", "--to", "2024-05-14"]);
    let totals = &figures["totals"];
    assert_eq!(
        ["asked_in_hours", "asked_out_of_hours", "business_service_level", "business_seconds_p50"]
            .map(|figure| totals[figure].clone()),
        [json!(3), json!(1), json!(2.0 / 3.0), json!(80.0)]
    );
    assert_eq!(figures["workers"][0]["business_seconds_p50"], 80.0);
    let [card] = cards(&shown, &["business_service_level"]).try_into().unwrap();
    assert!(card.contains("66.7%") && shown.contains("In business hours"), "{card}");
    // Without a schedule, there is nothing about it.
    let (shown, figures) = page(&generated(5), &[]);
    assert_eq!(figures["totals"]["asked_in_hours"], Value::Null);
    assert!(!shown.contains("business hours") && !shown.contains("in hours"));
}

/// The longest wait comes first: until the customer asked again, or until the reply window closed.
#[test]
fn unanswered_turns_are_listed_by_their_wait() {
    let world = World::new();
    let asked = [("o1", 0), ("o1", 3_000), ("o2", 100), ("o3", 200), ("o3", 300), ("o1", 60_000)];
    let mut lines: Vec<(i64, String)> = asked
        .iter()
        .map(|(openid, second)| (*second, line(openid, 2003, "x", TEN + second, "kf1")))
        .collect();
    lines.push((60_100, line("o1", 2002, "x", TEN + 60_100, "kf1")));
    lines.sort();
    lake_of(&world, lines.into_iter().map(|(_, line)| line).collect(), 4);
    let (shown, figures) = page(&world, &[]);
    let turns = figures["unanswered"]["turns"].as_array().unwrap();
    let listed: Vec<(&str, i64)> = turns
        .iter()
        .map(|turn| (turn["customer"].as_str().unwrap(), turn["waited_seconds"].as_i64().unwrap()))
        .collect();
    assert_eq!(listed, [("o3", 172_900), ("o2", 172_800), ("o1", 57_000), ("o1", 3_000)]);
    assert!(shown.contains("data-value=\"57000\">15 h 50 min</td>"));
}

#[test]
fn a_reader_can_pick_an_account() {
    let world = generated(12);
    fetch_generated(&world, "旗舰店", 12, 2);
    let days = ["--from", "2024-05-08", "--to", "2024-05-09"];
    let (both, figures) = page(&world, &days);
    assert!(both.contains("<option>acme</option><option>旗舰店</option>"));
    let (alone, _) = page(&world, &[&days[..], &["--account", "旗舰店"]].concat());
    let of_account =
        both.split_once("<p class=\"headline\" data-view=\"旗舰店\" hidden>").unwrap().1;
    assert!(of_account.starts_with(headline(&alone)) && !alone.contains("id=\"pick\""));
    // The view of the account has the cards of a report on it alone.
    let (_, view) = both.split_once("<div class=\"view\" data-view=\"旗舰店\" hidden>").unwrap();
    assert_eq!(
        cards(view, &["service_level", "customers", "messages_received"]),
        cards(&alone, &["service_level", "customers", "messages_received"])
    );
    let workers = figures["workers"].as_array().unwrap().len();
    assert!(both.matches("data-account=").count() > workers);
}

#[test]
fn accounts_are_shown_together_and_separately() {
    let world = generated(12);
    fetch_generated(&world, "旗舰店", 12, 2);
    let (page_of_both, both) = page(&world, &["--from", "2024-05-08", "--to", "2024-05-12"]);
    let [one, other] = ["acme", "旗舰店"].map(|account| {
        page(&world, &["--from", "2024-05-08", "--to", "2024-05-12", "--account", account]).1
    });
    assert_eq!(
        [&both["accounts"][0]["totals"], &both["accounts"][1]["totals"]],
        [&one["totals"], &other["totals"]]
    );
    // Both accounts generate the same openids, but they count as different customers.
    for count in [
        "messages_received",
        "customers",
        "customers_served",
        "workers",
        "turns",
        "answered",
        "unanswered_first",
    ] {
        let [sum, one, other] =
            [&both, &one, &other].map(|figures| figures["totals"][count].as_i64().unwrap());
        assert_eq!(sum, one + other, "{count}");
    }
    let workers = |figures: &Value| figures["workers"].as_array().unwrap().clone();
    assert_eq!(workers(&both), [workers(&one), workers(&other)].concat());
    assert!(page_of_both.contains("By account") && page_of_both.contains("acme, 旗舰店"));
}

#[test]
fn figures_that_need_deleted_data_are_empty() {
    let world = generated(12);
    let (_, whole) = page(&world, &["--from", "2024-05-06", "--to", "2024-05-09"]);
    assert!(
        world
            .command(&["prune", "--before", "2024-05-08", "--yes"])
            .output()
            .unwrap()
            .status
            .success()
    );
    let (page_of_pruned, pruned) = page(&world, &["--from", "2024-05-06", "--to", "2024-05-09"]);
    assert_eq!(
        (&pruned["totals"]["customers"], &pruned["totals"]["customers_served"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(pruned["totals"]["response_seconds_p90"], whole["totals"]["response_seconds_p90"]);
    assert!(
        page_of_pruned
            .contains("Messages were deleted after their retention: 2024-05-06 to 2024-05-07.")
    );
    // Deletes the response pairs too. The counts remain, but the waits are unknown.
    let tables = ["--table", "messages", "--table", "response_pairs"];
    assert!(
        world
            .command(&[&["prune", "--before", "2024-05-08", "--yes"][..], &tables].concat())
            .output()
            .unwrap()
            .status
            .success()
    );
    let (_, pruned) = page(&world, &["--from", "2024-05-06", "--to", "2024-05-09"]);
    assert_eq!(
        (&pruned["totals"]["answered"], &pruned["totals"]["service_level"]),
        (&whole["totals"]["answered"], &whole["totals"]["service_level"])
    );
    assert_eq!(pruned["totals"]["response_seconds_p90"], Value::Null);
    assert_eq!(pruned["days"][3]["response_seconds_p90"], whole["days"][3]["response_seconds_p90"]);
}

#[test]
fn metrics_that_are_out_of_date_are_named_with_the_reason() {
    let world = generated(8);
    fs_err::write(world.folder.path().join("kefu.toml"), "metrics.session_gap = 60\n").unwrap();
    let (stale, _) = page(&world, &[]);
    assert!(
        stale
            .contains("Figures are out of date (session_gap 1800 → 60): 2024-05-01 to 2024-05-05.")
    );
    // Without a settings file, only a change of their messages makes metrics out of date.
    fs_err::remove_file(world.folder.path().join("kefu.toml")).unwrap();
    assert!(!page(&world, &[]).0.contains("out of date ("));
    // Fetches one more day without computing its metrics.
    let noon = world.zone.bounds("2024-05-09".parse().unwrap()).start + 43_200;
    world.fetch(recorded([record(noon, "late")]), &[], &["2024-05-09"]);
    let (stale, _) = page(&world, &["--from", "2024-05-04", "--to", "2024-05-08"]);
    assert!(stale.contains(
        "Figures are out of date (the messages have changed): 2024-05-06 to 2024-05-08."
    ));
}

#[test]
fn the_page_can_be_in_chinese() {
    let world = generated(10);
    let (page, _) = page(&world, &["--lang", "zh"]);
    assert!(page.contains("<html lang=\"zh-CN\">"));
    for word in [
        "首次响应时间",
        "首次响应时间中位数",
        "服务水平",
        "会话",
        "接待客户数",
        "未回复",
        "待回复",
        "客服",
        "接管",
        "转出",
        "最大并发",
        "数据完整性",
        "周一",
    ] {
        assert!(page.contains(word), "{word}");
    }
    for word in ["Workers", "unanswered", "Mon", "median"] {
        let shown = page.split_once("<main>").unwrap().1.split_once("<script>").unwrap().0;
        assert!(
            !shown.split('>').any(|text| text.split('<').next().unwrap().contains(word)),
            "{word}"
        );
    }
}

#[test]
fn a_report_that_is_not_possible_is_refused_with_the_next_step() {
    let nothing = World::new();
    let mut said = vec![refusal(&nothing, &[])];
    fs_err::create_dir_all(nothing.lake_folder()).unwrap();
    said.push(refusal(&nothing, &[]));
    let world = generated(3);
    said.push(refusal(&world, &["--date", "2024-07-01"]));
    said.push(refusal(&world, &["--account", "nobody"]));
    said.push(refusal(&world, &["--out", "-", "--output", "json"]));
    said.push(refusal(&world, &["--out", "lake/messages/page.html"]));
    said.push(refusal(&world, &["--out", "nowhere/page.html"]));
    for day in ["2024-05-01", "2024-05-02", "2024-05-03"] {
        fs_err::remove_file(
            world.lake().path(
                &Account::new("acme".into())
                    .unwrap()
                    .partition(Table::AccountDaily, day.parse().unwrap()),
            ),
        )
        .unwrap();
    }
    said.push(refusal(&world, &[]));
    let temporary = regex::Regex::new(r"page\.\d+\.tmp").unwrap();
    insta::assert_snapshot!(temporary.replace_all(&said.join("\n"), "page.(process).tmp"));
}

/// Texts are optional. One day with unreadable messages must not prevent the page.
#[test]
fn an_unreadable_day_loses_only_its_texts() {
    let world = generated(7);
    let path = world.path("messages", "2024-05-07");
    let bytes = fs_err::read(&path).unwrap();
    fs_err::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (page, _) = page(&world, &["--from", "2024-05-01", "--to", "2024-05-07", "--with-text"]);
    assert!(page.contains("Messages cannot be read"), "the page says so");
}

/// A page replaces plain files only. A link leads to the file that is replaced. Pipes and devices
/// are refused.
#[test]
fn the_page_replaces_only_plain_files_and_follows_links() {
    let world = generated(1);
    let at = |name: &str| world.folder.path().join(name);
    fs_err::write(at("real.html"), "old").unwrap();
    std::os::unix::fs::symlink(at("real.html"), at("link.html")).unwrap();
    assert!(report(&world, &["--out", "link.html"]).status.success());
    assert!(
        at("link.html").is_symlink()
            && fs_err::read_to_string(at("real.html")).unwrap().contains("</html>")
    );
    assert!(std::process::Command::new("mkfifo").arg(at("pipe.html")).status().unwrap().success());
    let refused = report(&world, &["--out", "pipe.html"]);
    assert_eq!(refused.status.code(), Some(73));
    assert!(!at("pipe.html").is_file() && at("pipe.html").exists());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not a plain file"));
}
