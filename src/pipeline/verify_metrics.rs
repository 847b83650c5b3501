//! Checks the metric partitions of an account against the current messages and against the rules
//! that the partitions record.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::chunks::chunks;
use super::examined_day::{ExaminedDay, remedy};
use super::finding::{Finding, Kind};
use super::inputs::{Input, Inputs, dependency_window, out_of_date};
use super::metrics_job::MetricsJob;
use super::rules::{OutOfDate, expected, reasons, recorded, recorded_by_day};
use super::verify::Verification;
use crate::calendar::{Day, DayRange};
use crate::failure::Failure;
use crate::lake::{ContentHash, Contents, Footer, LakeError, PartitionKey, Pruned, Table, entry};
use crate::metrics::{Parameters, Partitions, Rules, Target};
use crate::model::cancel::Cancel;

/// Advice for lost messages. Their metrics may be the only data that is left.
const FETCH_LOST: &str = "keep the metrics, and run `kefu run --from … --to …` to fetch those days again while WeChat has them. \
     Otherwise restore their messages from a backup";

/// Days whose partitions are computed together, because they record the same rules.
struct Group {
    parameters: Parameters,
    days: BTreeMap<Day, Vec<Table>>,
}

/// Adds a partition to the group with its rules.
fn add_to_group(groups: &mut Vec<Group>, (day, table): (Day, Table), parameters: Parameters) {
    match groups
        .iter_mut()
        .rev()
        .find_map(|group| group.parameters.try_join(&parameters).then_some(&mut group.days))
    {
        Some(days) => days.entry(day).or_default().push(table),
        None => groups.push(Group { parameters, days: [(day, vec![table])].into() }),
    }
}

/// Checks metric partitions against the current inputs. Partitions that were made of these inputs
/// are computed again with their recorded rules and compared.
pub(super) fn verify_metrics(
    job: &MetricsJob,
    days: &BTreeMap<Day, ExaminedDay>,
    fetched: BTreeSet<Day>,
    is_wanted: impl Fn(Day) -> bool,
    pruned: &Pruned,
    verification: &mut Verification,
    cancel: &Cancel,
) -> Result<(), Failure> {
    // Metrics are computed again only from messages without a finding.
    let sound = |(day, examined): (&Day, &ExaminedDay)| {
        Some((*day, Input::of(&examined.sound.get(&Table::Messages)?.footer)?))
    };
    let days_of_inputs = days.iter().filter_map(sound).collect();
    let (damaged, pruned) = (BTreeMap::new(), pruned.clone());
    let inputs = Inputs { fetched, days: days_of_inputs, damaged, pruned };
    let mut groups: Vec<Group> = Vec::new();
    for (day, examined) in days.iter().filter(|(day, _)| is_wanted(**day)) {
        let footers: BTreeMap<Table, &Footer> =
            examined.sound.iter().map(|(table, contents)| (*table, &contents.footer)).collect();
        let rules_expected = expected(&job.rules, &footers, *day);
        let rules_of_day = recorded_by_day(&footers, job.zone.name(), *day);
        for table in Table::METRICS {
            let key = job.account.partition(table, *day);
            let finding = match comparison(job, &inputs, days, examined, &key) {
                Comparison::Nothing => continue,
                Comparison::Found(finding) => finding,
                Comparison::With(written) => {
                    let because =
                        out_of_date(&written.footer, &rules_expected, &inputs, table, *day);
                    let rules = own_rules(&written.footer, &key, rules_of_day.as_ref(), job);
                    let has_its_inputs =
                        because.iter().all(|reason| matches!(reason, OutOfDate::Rule(_)));
                    // Rules that match texts give other numbers after texts were removed.
                    let is_computable =
                        |rules: &Parameters| !rules.needs_texts() || inputs.have_all_texts(*day);
                    if let Some(rules) = rules.filter(|_| has_its_inputs).filter(is_computable) {
                        add_to_group(&mut groups, (*day, table), rules);
                    }
                    if because.is_empty() {
                        continue;
                    }
                    let what = format!("out of date: {}", reasons(&because));
                    let advice = "run `kefu metrics` to compute it again";
                    Finding::new(Kind::Stale, job.lake.path(&key), what, advice)
                }
            };
            verification.findings.push(finding.of_partition(key));
        }
    }

    for Group { parameters, days: tables } in groups {
        verification.recomputed += tables.values().map(Vec::len).sum::<usize>();
        let job = MetricsJob { rules: Rules::Given(parameters), ..job.clone() };
        recompute(&job, &inputs, days, &tables, verification, cancel)?;
    }
    Ok(())
}

/// What a metric partition is compared with.
enum Comparison<'a> {
    /// Nothing: it is frozen, pruned, or what it depends on is damaged and has its own finding.
    Nothing,
    /// Nothing, because of this.
    Found(Finding),
    /// The messages that are there. The partition itself is undamaged.
    With(&'a Contents),
}

/// Whether a day has a partition of any table of metrics.
fn has_metrics(examined: &ExaminedDay) -> bool {
    Table::METRICS.iter().any(|table| examined.there.contains(table))
}

/// Whether messages that metrics of the day were made of are gone.
fn is_frozen(examined: &ExaminedDay, inputs: &Inputs) -> bool {
    let metrics = Table::METRICS.iter().filter_map(|table| examined.sound.get(table));
    metrics.into_iter().any(|sound| inputs.lack_some_of(&sound.footer))
}

fn comparison<'a>(
    job: &MetricsJob,
    inputs: &Inputs,
    days: &BTreeMap<Day, ExaminedDay>,
    examined: &'a ExaminedDay,
    key: &PartitionKey,
) -> Comparison<'a> {
    let (table, day) = (key.table, key.date);
    let is_sound =
        |day: Day| days.get(&day).is_some_and(|day| day.sound.contains_key(&Table::Messages));
    let found = |kind: Kind, what: String, advice: &str| {
        Comparison::Found(Finding::new(kind, job.lake.path(key), what, advice))
    };
    let (there, sound) = (examined.there.contains(&table), examined.sound.get(&table));
    let lost = sound.map_or_else(Vec::new, |sound| inputs.lost_of(&sound.footer));
    match (there, sound) {
        (true, _) if inputs.is_not_there(day) => found(
            Kind::LostMessages,
            "the messages of the day are missing, but were not pruned".to_owned(),
            FETCH_LOST,
        ),
        (true, Some(_)) if !lost.is_empty() => found(
            Kind::LostMessages,
            format!(
                "messages that it was computed from are missing, but were not pruned: {}",
                DayRange::list(&lost)
            ),
            FETCH_LOST,
        ),
        (true, Some(sound)) if sound.schema_version != table.schema_version() => found(
            Kind::Stale,
            "written by an older version of kefu".to_owned(),
            &format!("run `kefu metrics --account {}` to rewrite it", job.account),
        ),
        // Retention deleted some of their messages, so these partitions are frozen.
        (true, Some(sound)) if inputs.lack_some_of(&sound.footer) => Comparison::Nothing,
        (true, _) if inputs.was_pruned(day) => Comparison::Nothing,
        (false, _) if inputs.pruned.includes(table, day) => Comparison::Nothing,
        (false, _) if inputs.was_pruned(day) && has_metrics(examined) => found(
            Kind::LostMetrics,
            "missing, although the day has other metrics, and its messages were deleted".to_owned(),
            "restore the file from a backup",
        ),
        (false, _) if is_frozen(examined, inputs) => found(
            Kind::LostMetrics,
            "missing, and messages that the day's other metrics were made of were deleted"
                .to_owned(),
            "restore the file from a backup",
        ),
        (false, _) if !inputs.fetched.contains(&day) => Comparison::Nothing,
        // Damaged messages have their own finding. Without them, nothing can be computed for
        // comparison.
        _ if !dependency_window(&inputs.fetched, day).days().all(is_sound) => Comparison::Nothing,
        (false, _) => found(
            Kind::MissingMetrics,
            "never computed".to_owned(),
            "run `kefu metrics` to compute it",
        ),
        (true, Some(sound)) => Comparison::With(sound),
        (true, None) => Comparison::Nothing,
    }
}

/// The rules that a partition records, in the zone of the job. Most tables of a day record the same
/// rules, so parsing is rarely necessary.
fn own_rules(
    footer: &Footer,
    key: &PartitionKey,
    rules_of_day: Option<&Parameters>,
    job: &MetricsJob,
) -> Option<Parameters> {
    let of_day = rules_of_day?;
    let text = of_day.for_partition(key.table, key.date).to_string();
    match footer.get(entry::PARAMETERS) == Some(&text) {
        true => Some(of_day.clone()),
        false => {
            recorded(footer, key.table, key.date).filter(|own| own.timezone == job.zone.name())
        }
    }
}

/// Computes partitions again and compares them with those in the lake.
fn recompute(
    job: &MetricsJob,
    inputs: &Inputs,
    days: &BTreeMap<Day, ExaminedDay>,
    tables: &BTreeMap<Day, Vec<Table>>,
    verification: &mut Verification,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let path = |table: Table, day: Day| job.lake.path(&job.account.partition(table, day));
    let wanted: Vec<Day> = tables.keys().copied().collect();
    for chunk in chunks(inputs, &wanted) {
        let compare =
            |(target, partitions): (Target, Partitions)| -> Result<Vec<Finding>, LakeError> {
                let sound =
                    |table: &Table| days.get(&target.day).and_then(|day| day.sound.get(table));
                let mut findings = Vec::new();
                for table in tables.get(&target.day).into_iter().flatten() {
                    let Some((written, computed)) = sound(table).zip(partitions.get(table)) else {
                        continue;
                    };
                    let mut finding = |kind: Kind, what: String| {
                        findings.push(Finding::new(
                            kind,
                            path(*table, target.day),
                            what,
                            remedy(kind, *table, target.day),
                        ));
                    };
                    if ContentHash::of(computed)? != written.content_hash {
                        finding(
                            Kind::Values,
                            "its rows differ from a recomputation from its inputs".to_owned(),
                        );
                    }
                    let mut known = Footer::default();
                    known.set(entry::HORIZON, target.horizon);
                    known.set(entry::FINAL, target.is_final);
                    let wrong = written.footer.contradictions(&known);
                    if !wrong.is_empty() {
                        finding(Kind::Footer, wrong.join("; "));
                    }
                }
                Ok(findings)
            };
        job.compute(&chunk, inputs, cancel, |group| {
            cancel.check()?;
            let findings =
                group.into_par_iter().map(compare).collect::<Result<Vec<_>, LakeError>>()?;
            verification.findings.extend(findings.into_iter().flatten());
            Ok(())
        })?;
    }
    Ok(())
}
