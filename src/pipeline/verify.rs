//! The lake against its promises: each file against what it says about itself, the files of a day against each other, the metric partitions against what
//! their recorded inputs give.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use super::finding::{Finding, Kind, Severity};
use super::inputs::{is_fresh, read_inputs, view};
use super::refresh::{MetricsJob, chunks, read_history, targets};
use crate::calendar::{Day, DayRange, Zone};
use crate::failure::Failure;
use crate::lake::{Account, ContentHash, Contents, Examined, Footer, Lake, LakeError, Pruned, Survey, Table};
use crate::metrics::{self, DAYS_AFTER, DAYS_BEFORE, Parameters, Partitions, Target};
use crate::telemetry::Progress;

/// Which lake, and how its metrics should have been computed.
#[derive(Clone, Debug)]
pub struct VerifyJob {
    pub lake: Lake,
    pub zone: Zone,
    pub parameters: Parameters,
}

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
pub struct Verification {
    pub accounts: Vec<Account>,
    pub days: usize,
    pub files: usize,
    pub messages: u64,
    /// Metric partitions that were computed once more.
    pub recomputed: usize,
    /// In order of their kinds.
    pub findings: Vec<Finding>,
}

impl Verification {
    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Reads the lake, or the days `among` it and the messages that their metrics are made of, and compares it with what it promises.
///
/// # Errors
/// When something cannot be read because of the disk, or when no day is cut in the job's time zone. What is damaged is a finding instead.
pub fn verify(job: &VerifyJob, among: Option<DayRange>, progress: &Progress) -> Result<Verification, Failure> {
    let survey = job.lake.survey()?;
    require_zone(job, &survey)?;
    let is_wanted = |day: Day| among.is_none_or(|range| range.contains(day));
    let inputs = among.map(|range| DayRange { first: range.first.plus(-DAYS_BEFORE), last: range.last.plus(DAYS_AFTER) });
    let is_input = |day: Day| inputs.is_none_or(|range| range.contains(day));
    let mut tables_of_day: BTreeMap<(Account, Day), BTreeSet<Table>> = BTreeMap::new();
    for (account, day, table) in survey.partitions {
        if is_wanted(day) || matches!(table, Table::Messages | Table::Rejects) && is_input(day) {
            tables_of_day.entry((account, day)).or_default().insert(table);
        }
    }
    progress.expect(tables_of_day.len());
    let (pruned, unfinished) = (job.lake.pruned()?, job.lake.unfinished()?);
    let examine = |((account, day), tables): ((Account, Day), BTreeSet<Table>)| {
        let is_unfinished = unfinished.contains(&(day, account.to_string()));
        let examined = ExaminedDay::read(job, &account, day, tables, &pruned, is_unfinished)?;
        progress.advance(&day.to_string());
        Ok((account, day, examined))
    };
    let examined: Vec<_> = tables_of_day.into_par_iter().map(examine).collect::<Result<_, LakeError>>()?;

    let mut verification = Verification::default();
    let mut days_of_account: BTreeMap<Account, BTreeMap<Day, ExaminedDay>> = BTreeMap::new();
    for (account, day, mut examined) in examined {
        verification.days += 1;
        verification.files += examined.there.len();
        verification.messages += examined.sound.get(&Table::Messages).map_or(0, |messages| messages.rows);
        verification.findings.append(&mut examined.findings);
        days_of_account.entry(account).or_default().insert(day, examined);
    }
    for (account, days) in days_of_account {
        let job =
            MetricsJob { lake: job.lake.clone(), account: account.clone(), zone: job.zone.clone(), parameters: job.parameters.clone() };
        verification.findings.extend(missing_days(&job, among)?);
        verification.findings.extend(other_openids(&job, &days));
        verify_metrics(&job, &days, is_wanted, &mut verification)?;
        verification.accounts.push(account);
    }
    let foreign = survey.foreign.into_iter().filter(|(day, _)| day.is_none_or(is_wanted));
    verification.findings.extend(foreign.map(|(_, path)| {
        Finding::new(
            Kind::Foreign,
            path,
            "only date=…/<account>.parquet belongs here",
            "move it out of the lake: readers of the table stumble over it",
        )
    }));
    let staged = survey.staged.into_iter();
    verification.findings.extend(
        staged.map(|path| Finding::new(Kind::Staging, path, "left by a run that was killed", "nothing to do: the next run clears it")),
    );
    verification.findings.sort();
    Ok(verification)
}

/// Days that are all cut in another zone are not damaged: the zone is the wrong one.
fn require_zone(job: &VerifyJob, survey: &Survey) -> Result<(), LakeError> {
    let messages = || survey.partitions.par_iter().filter(|(_, _, table)| *table == Table::Messages);
    let zone = |(account, day, table): &(Account, Day, Table)| Some(job.lake.footer(*table, account, *day).ok()?.zone().to_owned());
    if messages().any(|partition| zone(partition).as_deref() == Some(job.zone.name())) {
        return Ok(());
    }
    match messages().filter_map(zone).find_any(|zone| !zone.is_empty()) {
        Some(lake) => Err(LakeError::OtherZone { lake, asked: job.zone.name().to_owned() }),
        None => Ok(()),
    }
}

/// The files of an account's day.
#[derive(Debug)]
struct ExaminedDay {
    there: BTreeSet<Table>,
    /// Those that are as they say.
    sound: BTreeMap<Table, Contents>,
    findings: Vec<Finding>,
}

impl ExaminedDay {
    fn read(
        job: &VerifyJob,
        account: &Account,
        day: Day,
        there: BTreeSet<Table>,
        pruned: &Pruned,
        is_unfinished: bool,
    ) -> Result<Self, LakeError> {
        let mut examined = Self { there, sound: BTreeMap::new(), findings: Vec::new() };
        let is_pruned = pruned.includes(Table::Messages, day) && !examined.there.contains(&Table::Messages);
        let remedy = |kind: Kind, table: Table| match is_pruned && Table::METRICS.contains(&table) {
            true => "put it back from a copy: its messages were pruned, and it cannot be computed again".to_owned(),
            false => remedy(kind, table, day),
        };
        for table in examined.there.clone() {
            let flaws = match job.lake.examine(table, account, day)? {
                Examined::Unreadable(reason) => vec![(Kind::Unreadable, reason)],
                Examined::OtherSchema(difference) => vec![(Kind::Schema, difference)],
                Examined::Read(contents) => {
                    let flaws = flaws(&contents, table, account, day, &job.zone);
                    if flaws.is_empty() {
                        examined.sound.insert(table, *contents);
                    }
                    flaws
                }
            };
            let finding = |(kind, what)| Finding::new(kind, job.lake.path(table, account, day), what, remedy(kind, table));
            examined.findings.extend(flaws.into_iter().map(finding));
        }
        let mut between = vec![(Kind::Totals, Table::AccountDaily, examined.totals_flaw())];
        match is_unfinished && [Table::Messages, Table::Rejects].iter().any(|table| examined.there.contains(table)) {
            true => {
                between.push((Kind::Unfinished, Table::Messages, Some("a run was killed while it changed messages and rejects".to_owned())))
            }
            false => between.push((Kind::Rejects, Table::Rejects, examined.rejects_flaw(pruned, day))),
        }
        for (kind, table, flaw) in between {
            let finding = |what| Finding::new(kind, job.lake.path(table, account, day), what, remedy(kind, table));
            examined.findings.extend(flaw.map(finding));
        }
        Ok(examined)
    }

    /// A day has a file of rejects exactly when its messages count some, and then as many rows; unless either was pruned.
    fn rejects_flaw(&self, pruned: &Pruned, day: Day) -> Option<String> {
        let is_there = self.there.contains(&Table::Rejects);
        if is_there && !self.there.contains(&Table::Messages) {
            return (!pruned.includes(Table::Messages, day)).then(|| "the messages of the day are not there".to_owned());
        }
        let counted: u64 = self.sound.get(&Table::Messages)?.footer.get("rejects")?.parse().ok()?;
        match (counted, self.sound.get(&Table::Rejects)) {
            (0, _) if is_there => Some("the footer of the messages counts no rejects".to_owned()),
            (1.., _) if !is_there && pruned.includes(Table::Rejects, day) => None,
            (1.., _) if !is_there => Some(format!("is missing, and the footer of the messages counts {counted}")),
            (_, Some(rejects)) if rejects.rows != counted => {
                Some(format!("it has {} rows, and the footer of the messages counts {counted}", rejects.rows))
            }
            _ => None,
        }
    }

    /// Metrics that were made of the messages that are there count as many of them, whatever the parameters were.
    fn totals_flaw(&self) -> Option<String> {
        let (messages, metrics) = (self.sound.get(&Table::Messages)?, self.sound.get(&Table::AccountDaily)?);
        let day: Day = messages.footer.get("date")?.parse().ok()?;
        let is_input = metrics.footer.inputs().get(&day) == Some(&messages.content_hash);
        let (there, counted) = (messages.counts, metrics.counts);
        (is_input && (there.received, there.sent) != (counted.received, counted.sent)).then(|| {
            format!(
                "it counts {} messages received and {} sent, and there are {} and {}",
                counted.received, counted.sent, there.received, there.sent
            )
        })
    }
}

/// What footers say beside what every file's footer says.
fn own_keys(table: Table) -> &'static [&'static str] {
    match table {
        Table::Messages => &["content_hash", "rejects"],
        Table::Rejects => &["content_hash"],
        _ => &["content_hash", "definitions_version", "parameters", "inputs", "horizon", "final"],
    }
}

/// What the footer of messages says of them beside the rows.
const MESSAGE_COUNTS: [&str; 3] = ["messages_received", "messages_sent", "messages_other"];

/// Whether a footer may say this of what was done to personal data. Where everything was kept, it says nothing.
fn is_privacy(said: &str) -> bool {
    let is_openid = |word: &str| {
        let fingerprint = word.strip_prefix("openid=hmac-sha256:");
        word == "openid=keep"
            || fingerprint.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    match said.split_once(' ') {
        Some((text, openid)) => matches!(text, "text=keep" | "text=drop") && is_openid(openid),
        None => is_openid(said),
    }
}

/// Where a file is not what it says, or is not what belongs in its place.
fn flaws(contents: &Contents, table: Table, account: &Account, day: Day, zone: &Zone) -> Vec<(Kind, String)> {
    let footer = &contents.footer;
    let here = [("table", table.to_string()), ("account", account.to_string()), ("date", day.to_string())];
    let elsewhere: Vec<String> = here
        .into_iter()
        .filter_map(|(key, here)| footer.get(key).filter(|said| **said != here).map(|said| format!("it says that its {key} is {said}")))
        .collect();
    if !elsewhere.is_empty() {
        // What follows would only repeat that, in many words.
        return vec![(Kind::Misplaced, elsewhere.join("; "))];
    }
    let bounds = zone.bounds(day);
    let place = Footer::new(table, account, day, zone.name(), bounds);
    let mut wrong = footer.contradictions(&place);
    wrong.extend(own_keys(table).iter().filter(|key| footer.get(key).is_none()).map(|key| format!("`{key}` is missing")));
    let known = |key: &str| {
        let others: &[&str] = if table == Table::Messages { &MESSAGE_COUNTS } else { &[] };
        key == "rows" || key == "privacy" || own_keys(table).contains(&key) || others.contains(&key) || place.get(key).is_some()
    };
    wrong.extend(footer.keys().filter(|key| !known(key)).map(|key| format!("`{key}` is nothing that kefu says")));
    wrong.extend(footer.get("privacy").filter(|said| !is_privacy(said)).map(|said| format!("`privacy` is {said}")));
    let mut counts = Footer::default();
    counts.set("rows", contents.rows);
    if table == Table::Messages {
        counts.set("messages_received", contents.counts.received);
        counts.set("messages_sent", contents.counts.sent);
        counts.set("messages_other", contents.counts.other);
    }
    let miscounted = footer.contradictions(&counts);
    let is_as_written = footer.content_hash().is_none_or(|written| written == contents.content_hash);
    let outside = contents.instants.filter(|(first, last)| !bounds.contains(*first) || !bounds.contains(*last));

    let mut flaws = Vec::new();
    let mut require = |holds: bool, kind: Kind, what: String| {
        if !holds {
            flaws.push((kind, what));
        }
    };
    require(wrong.is_empty(), Kind::Footer, wrong.join("; "));
    require(is_as_written, Kind::ContentHash, "its rows are not those that were written".to_owned());
    require(miscounted.is_empty(), Kind::Counts, miscounted.join("; "));
    require(contents.is_of_account, Kind::Account, format!("not every row's account is {account}"));
    require(contents.is_sorted, Kind::Order, format!("its rows do not ascend by {}", table.sorted_by().join(", ")));
    require(contents.is_numbered, Kind::Seq, "its rows are not numbered 0, 1, 2 … in `seq`".to_owned());
    if let Some((first, last)) = outside {
        let range = DayRange { first: zone.day_of(first), last: zone.day_of(last) };
        require(false, Kind::Day, format!("its rows are of {range} by {}", table.dated_by().unwrap_or_default()));
    }
    require(contents.oddities.is_empty(), Kind::Encoding, contents.oddities.join("; "));
    let misstated = contents.misstated.join(", ");
    let hides_rows = format!("its row groups or pages claim other values of {misstated} than they have, so that readers skip rows");
    require(contents.misstated.is_empty(), Kind::Statistics, hides_rows);
    // Whatever is wrong above is so in the bytes, too.
    if flaws.is_empty() && contents.is_as_encoded == Some(false) {
        flaws.push((Kind::Bytes, "its bytes are not those that kefu writes for its rows, and readers may see something else".to_owned()));
    }
    flaws
}

/// What to do about a file.
fn remedy(kind: Kind, table: Table, day: Day) -> String {
    match (kind, table) {
        (Kind::Misplaced, Table::Messages | Table::Rejects) => {
            format!("move it to where it belongs, or away; `kefu run --date {day}` fetches what is missing then")
        }
        (Kind::Unfinished, _) => "the next run fetches the day again".to_owned(),
        (_, Table::Messages | Table::Rejects) => format!("`kefu run --date {day} --force` fetches the day again"),
        _ => "remove it: `kefu metrics` computes it again".to_owned(),
    }
}

/// The days between the first and the last one that were not fetched, but for those that were pruned.
fn missing_days(job: &MetricsJob, among: Option<DayRange>) -> Result<Vec<Finding>, LakeError> {
    let fetched = job.lake.days(Table::Messages, &job.account)?;
    let gaps = fetched.iter().zip(fetched.iter().skip(1)).filter_map(|(before, after)| {
        let (first, last) = (before.plus(1), after.plus(-1));
        let gap = among.map_or(DayRange { first, last }, |range| DayRange { first: first.max(range.first), last: last.min(range.last) });
        (gap.first <= gap.last).then_some(gap)
    });
    let pruned = job.lake.pruned()?;
    let gaps = gaps.flat_map(|gap| DayRange::runs(gap.days().filter(|day| !pruned.includes(Table::Messages, *day))));
    let finding = |gap: DayRange| {
        let advice = format!("`kefu run --from {} --to {}` fetches what is missing", gap.first, gap.last);
        let path = job.lake.path(Table::Messages, &job.account, gap.first);
        Finding::new(Kind::MissingDays, path, format!("{gap}: never fetched, although earlier and later days were"), advice)
    };
    Ok(gaps.map(finding).collect())
}

/// The files whose openids do not join with those of the last messages.
fn other_openids(job: &MetricsJob, days: &BTreeMap<Day, ExaminedDay>) -> Vec<Finding> {
    let openids = |day: &ExaminedDay, table: Table| Some(day.sound.get(&table)?.footer.openids().to_owned());
    let Some(last) = days.values().rev().find_map(|day| openids(day, Table::Messages)) else { return Vec::new() };
    let tables = || std::iter::once(Table::Messages).chain(Table::WITH_OPENIDS);
    let others = days.iter().flat_map(|(day, examined)| tables().map(move |table| (*day, table, openids(examined, table))));
    let finding = |(day, table, other): (Day, Table, Option<String>)| {
        let what = format!("its openids are of other privacy settings ({}) than those of the last messages ({last})", other?);
        let advice = "`kefu run` says how to make them alike";
        Some(Finding::new(Kind::Openids, job.lake.path(table, &job.account, day), what, advice))
    };
    others.filter(|(_, _, openids)| openids.as_ref().is_some_and(|openids| *openids != last)).filter_map(finding).collect()
}

/// Compares metric partitions with what is there now; those that were made of it, with what it gives.
fn verify_metrics(
    job: &MetricsJob,
    days: &BTreeMap<Day, ExaminedDay>,
    is_wanted: impl Fn(Day) -> bool,
    verification: &mut Verification,
) -> Result<(), Failure> {
    let inputs = read_inputs(job)?;
    let mixed = inputs.mixed();
    let is_sound = |day: Day| days.get(&day).is_some_and(|day| day.sound.contains_key(&Table::Messages));
    let path = |table: Table, day: Day| job.lake.path(table, &job.account, day);
    let mut fresh: BTreeMap<Day, Vec<Table>> = BTreeMap::new();
    for (day, examined) in days.iter().filter(|(day, _)| is_wanted(**day)) {
        for table in Table::METRICS {
            let (there, sound) = (examined.there.contains(&table), examined.sound.get(&table));
            let finding = match (there, sound) {
                // Kept on purpose: what they were made of was pruned.
                (true, Some(sound)) if inputs.lack_some_of(&sound.footer) => {
                    if !inputs.have_replaced_some_of(&sound.footer) {
                        continue;
                    }
                    let what = "kept from before a prune, and some of the messages that it was made of have been replaced since";
                    let advice = match inputs.fetched.contains(day) {
                        true => {
                            "nothing, or remove it: `kefu metrics` computes it of the messages that are left, which changes its numbers"
                        }
                        false => "nothing; removed, it is lost",
                    };
                    Finding::new(Kind::Superseded, path(table, *day), what, advice)
                }
                (true, _) if inputs.was_pruned(*day) => continue,
                (true, _) if !inputs.fetched.contains(day) => {
                    let advice = "`kefu run` fetches the day when it is named; or remove them";
                    Finding::new(Kind::LeftOver, path(table, *day), "the messages of the day are gone", advice)
                }
                (false, _) if !inputs.fetched.contains(day) || inputs.pruned.includes(table, *day) => continue,
                // What is wrong with the messages has been said, and hides what they would give.
                _ if !view(&inputs.fetched, *day).days().all(is_sound) => continue,
                // Nor would `kefu metrics` compute it.
                (false, _) if mixed.contains(day) => continue,
                (false, _) => Finding::new(Kind::MissingMetrics, path(table, *day), "was never computed", "`kefu metrics` computes it"),
                (true, Some(sound)) if is_fresh(&sound.footer, job, &inputs, table, *day) => {
                    fresh.entry(*day).or_default().push(table);
                    continue;
                }
                // Why they are so has been said, and `kefu metrics` would refuse it.
                (true, Some(_)) if mixed.contains(day) => continue,
                (true, Some(_)) => {
                    let what = "made of other messages, parameters or definitions than those of now";
                    Finding::new(Kind::Stale, path(table, *day), what, "`kefu metrics` computes it again")
                }
                (true, None) => continue,
            };
            verification.findings.push(finding.of_partition(&job.account, *day, table));
        }
    }

    let fresh_days: Vec<Day> = fresh.keys().copied().collect();
    for chunk in chunks(&inputs, &fresh_days) {
        let range = DayRange { first: view(&inputs.fetched, chunk.first).first, last: view(&inputs.fetched, chunk.last).last };
        let history = read_history(job, range)?;
        let targets = targets(&job.zone, &inputs.fetched, &chunk.days);
        let compare = |(target, partitions): (Target, Partitions)| -> Result<Vec<Finding>, LakeError> {
            let sound = |table: &Table| days.get(&target.day).and_then(|day| day.sound.get(table));
            let mut findings = Vec::new();
            for table in fresh.get(&target.day).into_iter().flatten() {
                let Some((written, computed)) = sound(table).zip(partitions.get(table)) else { continue };
                let mut finding = |kind: Kind, what: String| {
                    findings.push(Finding::new(kind, path(*table, target.day), what, remedy(kind, *table, target.day)));
                };
                if ContentHash::of(computed)? != written.content_hash {
                    finding(Kind::Values, "its rows are not those that its inputs give".to_owned());
                }
                let mut known = Footer::default();
                known.set("horizon", target.horizon);
                known.set("final", target.is_final);
                let wrong = written.footer.contradictions(&known);
                if !wrong.is_empty() {
                    finding(Kind::Footer, wrong.join("; "));
                }
            }
            Ok(findings)
        };
        metrics::compute_in_groups(&history, job.account.as_str(), &job.zone, &targets, &job.parameters, |group| {
            let findings = group.into_par_iter().map(compare).collect::<Result<Vec<_>, LakeError>>()?;
            verification.findings.extend(findings.into_iter().flatten());
            Ok::<_, Failure>(())
        })?;
    }
    verification.recomputed += fresh.values().map(Vec::len).sum::<usize>();
    Ok(())
}
