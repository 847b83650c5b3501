//! Checks the metric partitions of an account against the current messages and against the rules
//! that the partitions record.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::chunks::chunks;
use super::examined_day::{ExaminedDay, remedy};
use super::finding::{Finding, Kind};
use super::inputs::{Inputs, dependency_window, out_of_date, read_inputs};
use super::rebuild::{MetricsJob, read_history, targets};
use super::rules::{OutOfDate, expected, reasons, recorded, recorded_by_day};
use super::verify::Verification;
use crate::calendar::{Day, DayRange};
use crate::failure::Failure;
use crate::lake::{ContentHash, Footer, LakeError, Pruned, Table};
use crate::metrics::{self, Parameters, Partitions, Rules, Target};
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
    is_wanted: impl Fn(Day) -> bool,
    pruned: &Pruned,
    verification: &mut Verification,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let inputs = read_inputs(job, None, pruned.clone())?;
    let is_sound =
        |day: Day| days.get(&day).is_some_and(|day| day.sound.contains_key(&Table::Messages));
    let path = |table: Table, day: Day| job.lake.path(&job.account.partition(table, day));
    let mut groups: Vec<Group> = Vec::new();
    for (day, examined) in days.iter().filter(|(day, _)| is_wanted(**day)) {
        let footers: BTreeMap<Table, &Footer> =
            examined.sound.iter().map(|(table, contents)| (*table, &contents.footer)).collect();
        let rules_expected = expected(&job.rules, &footers, *day);
        let rules_of_day = recorded_by_day(&footers, job.zone.name(), *day);
        for table in Table::METRICS {
            let (there, sound) = (examined.there.contains(&table), examined.sound.get(&table));
            let lost = sound.map_or_else(Vec::new, |sound| inputs.lost_of(&sound.footer));
            let finding = match (there, sound) {
                (true, _) if inputs.is_not_there(*day) => Finding::new(
                    Kind::LostMessages,
                    path(table, *day),
                    "the messages of the day are missing, but were not pruned",
                    FETCH_LOST,
                ),
                (true, Some(_)) if !lost.is_empty() => Finding::new(
                    Kind::LostMessages,
                    path(table, *day),
                    format!(
                        "messages that it was computed from are missing, but were not pruned: {}",
                        DayRange::list(&lost)
                    ),
                    FETCH_LOST,
                ),
                (true, Some(sound)) if sound.schema_version != table.schema_version() => {
                    Finding::new(
                        Kind::Stale,
                        path(table, *day),
                        "written by an older version of kefu",
                        format!("run `kefu metrics --account {}` to rewrite it", job.account),
                    )
                }
                // Retention deleted some of their messages, so these partitions are frozen.
                (true, Some(sound)) if inputs.lack_some_of(&sound.footer) => continue,
                (true, _) if inputs.was_pruned(*day) => continue,
                (false, _)
                    if !inputs.fetched.contains(day) || inputs.pruned.includes(table, *day) =>
                {
                    continue;
                }
                // Damaged messages have their own finding. Without them, nothing can be computed
                // for comparison.
                _ if !dependency_window(&inputs.fetched, *day).days().all(is_sound) => continue,
                (false, _) => Finding::new(
                    Kind::MissingMetrics,
                    path(table, *day),
                    "never computed",
                    "run `kefu metrics` to compute it",
                ),
                (true, Some(sound)) => {
                    let because = out_of_date(&sound.footer, &rules_expected, &inputs, table, *day);
                    let has_its_inputs =
                        because.iter().all(|reason| matches!(reason, OutOfDate::Rule(_)));
                    // Most tables of a day record the same rules, so parsing is rarely necessary.
                    let own = || {
                        let of_day = rules_of_day.as_ref()?;
                        let text = of_day.for_partition(table, *day).to_string();
                        match sound.footer.get("parameters") == Some(&text) {
                            true => Some(of_day.clone()),
                            false => recorded(&sound.footer, table, *day)
                                .filter(|own| own.timezone == job.zone.name()),
                        }
                    };
                    // Rules that match texts cannot be computed again after the texts were dropped.
                    let is_computable = |parameters: &Parameters| {
                        !parameters.needs_texts() || inputs.have_texts(*day)
                    };
                    if let Some(parameters) = own().filter(|_| has_its_inputs).filter(is_computable)
                    {
                        add_to_group(&mut groups, (*day, table), parameters);
                    }
                    if because.is_empty() {
                        continue;
                    }
                    Finding::new(
                        Kind::Stale,
                        path(table, *day),
                        format!("out of date: {}", reasons(&because)),
                        "run `kefu metrics` to compute it again",
                    )
                }
                (true, None) => continue,
            };
            verification.findings.push(finding.of_partition(job.account.partition(table, *day)));
        }
    }

    for Group { parameters, days: tables } in groups {
        verification.recomputed += tables.values().map(Vec::len).sum::<usize>();
        let job = MetricsJob { rules: Rules::Given(parameters), ..job.clone() };
        recompute(&job, &inputs, days, &tables, verification, cancel)?;
    }
    Ok(())
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
        let range = DayRange {
            first: dependency_window(&inputs.fetched, chunk.first).first,
            last: dependency_window(&inputs.fetched, chunk.last).last,
        };
        let history = read_history(job, range, cancel)?;
        let targets = targets(&job.zone, &inputs.fetched, &chunk.days);
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
                    known.set("horizon", target.horizon);
                    known.set("final", target.is_final);
                    let wrong = written.footer.contradictions(&known);
                    if !wrong.is_empty() {
                        finding(Kind::Footer, wrong.join("; "));
                    }
                }
                Ok(findings)
            };
        metrics::compute_in_groups(
            &history,
            job.account.as_str(),
            &job.zone,
            &targets,
            job.rules.parameters(),
            |group| {
                cancel.check()?;
                let findings =
                    group.into_par_iter().map(compare).collect::<Result<Vec<_>, LakeError>>()?;
                verification.findings.extend(findings.into_iter().flatten());
                Ok::<_, Failure>(())
            },
        )?;
    }
    Ok(())
}
