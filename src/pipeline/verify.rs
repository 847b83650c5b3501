//! Checks the files of each day and the days of each account. Computes metric partitions again from
//! their recorded inputs and compares them.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use super::app::other_apps;
use super::examined_day::{ExaminedDay, examine_file};
use super::finding::{Finding, Kind, Severity};
use super::metrics_job::MetricsJob;
use super::verify_metrics::verify_metrics;
use super::verify_privacy::verify_privacy;
use crate::calendar::{Day, DayRange, Zone};
use crate::failure::Failure;
use crate::lake::{
    Account, AppId, Lake, LakeError, PartitionKey, Pruned, Survey, Table, in_the_future,
};
use crate::metrics::{DAYS_AFTER, DAYS_BEFORE, Rules};
use crate::model::Shard;
use crate::model::cancel::Cancel;
use crate::telemetry::Progress;

/// The lake to check, and the rules that its metrics should have.
#[derive(Clone, Debug)]
pub struct VerifyJob {
    pub lake: Lake,
    pub zone: Zone,
    pub rules: Rules,
    /// The current day by the machine's clock.
    pub today: Day,
    /// Check only these accounts, and not what belongs to no account.
    pub accounts: Option<Vec<Account>>,
    /// Check only the accounts in this shard. The first shard also checks what belongs to no
    /// account.
    pub shard: Option<Shard>,
}

/// What was checked, and the findings.
#[derive(Debug, Default, Serialize)]
pub struct Verification {
    pub accounts: Vec<Account>,
    pub days: usize,
    pub files: usize,
    pub messages: u64,
    /// Number of metric partitions that were computed again.
    pub recomputed: usize,
    /// In order of severity and kind.
    pub findings: Vec<Finding>,
}

impl Verification {
    /// Number of findings of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Counts the files of a day, and takes its findings.
    fn add(&mut self, day: &mut ExaminedDay) {
        self.days += 1;
        self.files += day.there.len();
        self.messages += day.sound.get(&Table::Messages).map_or(0, |messages| messages.rows);
        self.findings.append(&mut day.findings);
    }
}

impl VerifyJob {
    fn includes(&self, account: &Account) -> bool {
        self.accounts.as_ref().is_none_or(|accounts| accounts.contains(account))
            && self.shard.is_none_or(|shard| shard.contains(account.as_str()))
    }

    /// Whether to check what belongs to no account.
    fn includes_the_rest(&self) -> bool {
        self.accounts.is_none() && self.shard.is_none_or(|shard| shard.is_first())
    }

    fn metrics(&self, account: &Account) -> MetricsJob {
        MetricsJob {
            lake: self.lake.clone(),
            account: account.clone(),
            zone: self.zone.clone(),
            rules: self.rules.clone(),
        }
    }
}

/// What was found of an account.
struct AccountFiles {
    days: BTreeMap<Day, ExaminedDay>,
    /// Days with messages. Also those that are not checked.
    fetched: BTreeSet<Day>,
    pruned: Pruned,
}

/// Checks the whole lake. With `among`, checks those days and the messages that their metrics were
/// made of.
///
/// # Errors
/// Fails when the disk cannot be read, or when no day has the job's time zone. Damage is a finding,
/// not an error.
pub fn verify(
    job: &VerifyJob,
    among: Option<DayRange>,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Verification, Failure> {
    let mut survey = job.lake.survey()?;
    survey.partitions.retain(|key| job.includes(&key.account));
    require_zone(job, &survey)?;
    let is_wanted = |day: Day| among.is_none_or(|range| range.contains(day));
    let (lists, partitions): (Vec<_>, Vec<_>) = std::mem::take(&mut survey.partitions)
        .into_iter()
        .partition(|key| key.table == Table::Workers);
    let mut fetched = fetched_days(&partitions);
    let tables_of_day = tables_of_day(partitions, among);
    progress.expect(tables_of_day.len());
    let mut verification = Verification::default();
    let accounts: BTreeSet<Account> =
        tables_of_day.keys().map(|(account, _)| account.clone()).collect();
    let mut pruned: BTreeMap<Account, Pruned> = BTreeMap::new();
    for account in accounts {
        let of_account = pruned_days(job, &account, &mut verification)?;
        pruned.insert(account, of_account);
    }
    let examined = examine_days(job, tables_of_day, &pruned, progress, cancel)?;
    let lists = lists.into_iter().filter(|key| is_wanted(key.date)).collect();
    examine_lists(job, lists, &mut verification, cancel)?;
    let mut lake = Verification::default();
    lake.findings.extend(misread_place(&job.lake)?);
    let mut apps = recorded_apps(&job.lake, &mut lake)?;
    for (account, mut days) in examined {
        days.values_mut().for_each(|day| verification.add(day));
        verification.findings.extend(other_apps(&job.lake, &mut apps, &account, &days));
        let fetched = fetched.remove(&account).unwrap_or_default();
        let pruned = pruned.remove(&account).unwrap_or_default();
        let files = AccountFiles { days, fetched, pruned };
        verify_account(&job.metrics(&account), files, among, &mut verification, cancel)?;
        verification.accounts.push(account);
    }
    lake.findings.extend(lake_findings(&survey, is_wanted));
    if job.includes_the_rest() {
        verification.findings.append(&mut lake.findings);
    }
    verification.findings.sort();
    // Accounts without their own retention mark share one, and so report the same finding.
    verification.findings.dedup();
    Ok(verification)
}

/// Reads the files of each day.
fn examine_days(
    job: &VerifyJob,
    tables_of_day: BTreeMap<(Account, Day), BTreeSet<Table>>,
    pruned: &BTreeMap<Account, Pruned>,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<BTreeMap<Account, BTreeMap<Day, ExaminedDay>>, Failure> {
    let noted = job.lake.older_notes()?;
    let nothing = Pruned::default();
    let examine = |((account, day), tables): ((Account, Day), BTreeSet<Table>)| {
        cancel.check()?;
        let pruned = pruned.get(&account).unwrap_or(&nothing);
        let is_noted = noted.contains(&(day, account.to_string()));
        let examined = ExaminedDay::read(job, &account, day, tables, pruned, is_noted)?;
        progress.advance(&day.to_string());
        Ok((account, day, examined))
    };
    let examine_all = || tables_of_day.into_par_iter().map(examine).collect::<Result<_, Failure>>();
    let examined: Vec<_> = job.lake.reading(examine_all)??;
    let mut days_of_account: BTreeMap<Account, BTreeMap<Day, ExaminedDay>> = BTreeMap::new();
    for (account, day, examined) in examined {
        days_of_account.entry(account).or_default().insert(day, examined);
    }
    Ok(days_of_account)
}

/// Checks the days of an account against each other and against its records.
fn verify_account(
    job: &MetricsJob,
    files: AccountFiles,
    among: Option<DayRange>,
    verification: &mut Verification,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let AccountFiles { days, fetched, pruned } = files;
    verification.findings.extend(hidden_account(job, &days));
    verification.findings.extend(missing_days(job, &days, &fetched, among, &pruned));
    // Until a redaction is finished, messages and metrics name customers differently.
    if verify_privacy(job, &days, verification, cancel)? {
        return Ok(());
    }
    let is_wanted = |day: Day| among.is_none_or(|range| range.contains(day));
    verify_metrics(job, &days, fetched, is_wanted, &pruned, verification, cancel)
}

/// Returns the days with messages of each account.
fn fetched_days(partitions: &[PartitionKey]) -> BTreeMap<Account, BTreeSet<Day>> {
    let mut fetched: BTreeMap<Account, BTreeSet<Day>> = BTreeMap::new();
    for key in partitions.iter().filter(|key| key.table == Table::Messages) {
        fetched.entry(key.account.clone()).or_default().insert(key.date);
    }
    fetched
}

/// Checks the lists of workers, which are not of a day as the other tables are.
fn examine_lists(
    job: &VerifyJob,
    lists: Vec<PartitionKey>,
    verification: &mut Verification,
    cancel: &Cancel,
) -> Result<(), Failure> {
    verification.files += lists.len();
    let examine = |key: PartitionKey| {
        cancel.check()?;
        Ok(examine_file(job, &key)?.err().into_iter().flatten().collect::<Vec<_>>())
    };
    let examine_all = || lists.into_par_iter().map(examine).collect::<Result<Vec<_>, Failure>>();
    verification.findings.extend(job.lake.reading(examine_all)??.into_iter().flatten());
    Ok(())
}

/// Returns the partitions to check, by account and day: those of the wanted days, and the messages
/// that their metrics were made of.
fn tables_of_day(
    partitions: Vec<PartitionKey>,
    among: Option<DayRange>,
) -> BTreeMap<(Account, Day), BTreeSet<Table>> {
    let is_wanted = |key: &PartitionKey| match among {
        None => true,
        Some(range) if matches!(key.table, Table::Messages | Table::Rejects) => {
            let (first, last) = (range.first.plus(-DAYS_BEFORE), range.last.plus(DAYS_AFTER));
            DayRange { first, last }.contains(key.date)
        }
        Some(range) => range.contains(key.date),
    };
    let mut tables: BTreeMap<(Account, Day), BTreeSet<Table>> = BTreeMap::new();
    for PartitionKey { account, date, table } in partitions.into_iter().filter(is_wanted) {
        tables.entry((account, date)).or_default().insert(table);
    }
    tables
}

/// Returns findings for what belongs to no account: other files, and what killed runs left.
fn lake_findings(survey: &Survey, is_wanted: impl Fn(Day) -> bool) -> Vec<Finding> {
    let foreign = survey.foreign.iter().filter(|(day, _)| day.is_none_or(&is_wanted));
    let foreign = foreign.map(|(_, path)| {
        Finding::new(
            Kind::Foreign,
            path.clone(),
            "only date=…/<account>.parquet belongs here",
            "move it out of the lake: it can break the queries of the table",
        )
    });
    let staged = survey.staged.iter().map(|path| {
        Finding::new(
            Kind::Staging,
            path.clone(),
            "left by a run that was killed",
            "nothing to do: the next run removes it. If that run cannot tell whether the other one has ended, a run one day later removes it",
        )
    });
    foreign.chain(staged).collect()
}

/// Checks that some day has the job's time zone. If all days have another one, the setting is wrong
/// and the lake is not damaged.
fn require_zone(job: &VerifyJob, survey: &Survey) -> Result<(), LakeError> {
    let messages = || survey.partitions.par_iter().filter(|key| key.table == Table::Messages);
    let zone = |key: &PartitionKey| Some(job.lake.footer(key).ok()?.zone().to_owned());
    if messages().any(|partition| zone(partition).as_deref() == Some(job.zone.name())) {
        return Ok(());
    }
    match messages().filter_map(zone).find_any(|zone| !zone.is_empty()) {
        Some(lake) => Err(LakeError::OtherZone { lake, asked: job.zone.name().to_owned() }),
        None => Ok(()),
    }
}

/// Reads the retention mark of an account. A mark that cannot be read or is in the future is a
/// finding.
fn pruned_days(
    job: &VerifyJob,
    account: &Account,
    verification: &mut Verification,
) -> Result<Pruned, LakeError> {
    let (pruned, reason) = match job.lake.pruned(account) {
        Err(LakeError::DamagedRecord { reason, .. }) => (Pruned::default(), Some(reason)),
        pruned => {
            let pruned = pruned?;
            let reason = pruned.mark_after(job.today).map(|(table, day)| in_the_future(table, day));
            (pruned, reason)
        }
    };
    let advice = "restore it from a backup, or write the first kept day of each table into it: days before that day are never fetched";
    let finding = |reason| Finding::new(Kind::Mark, job.lake.pruned_mark(account), reason, advice);
    verification.findings.extend(reason.map(finding));
    Ok(pruned)
}

/// Reads the recorded apps. A record that cannot be read is a finding.
fn recorded_apps(
    lake: &Lake,
    verification: &mut Verification,
) -> Result<BTreeMap<AppId, Account>, LakeError> {
    match lake.apps() {
        Err(LakeError::DamagedRecord { record, path, reason }) => {
            let finding = Finding::new(Kind::Unreadable, path, reason, record.advice());
            verification.findings.push(finding);
            Ok(BTreeMap::new())
        }
        apps => apps,
    }
}

/// Returns a finding if readers would take the lake's path for that of a partition.
fn misread_place(lake: &Lake) -> Result<Option<Finding>, LakeError> {
    match lake.require_place() {
        Err(LakeError::Misread { root, folder }) => Ok(Some(Finding::new(
            Kind::Place,
            root,
            format!(
                "readers take the folder {folder} for a partition, and add a column to all rows"
            ),
            "move the whole lake to a path without `=`",
        ))),
        place => place.map(|()| None),
    }
}

/// Returns a finding if readers skip the account's files.
fn hidden_account(job: &MetricsJob, days: &BTreeMap<Day, ExaminedDay>) -> Option<Finding> {
    let (day, examined) = days.first_key_value().filter(|_| job.account.is_hidden())?;
    let path = job.lake.path(&job.account.partition(*examined.there.first()?, *day));
    let what = format!(
        "Spark, Hive, pyarrow and pandas skip all files of the account {}, because the names begin with `_`",
        job.account
    );
    let advice = "fetch its days under another account name while WeChat has them. Then move these files out of the lake";
    Some(Finding::new(Kind::HiddenAccount, path, what, advice))
}

/// Returns findings for days between the first and the last fetched day that were not fetched.
/// Ignores days that retention deleted, and days with other files.
fn missing_days(
    job: &MetricsJob,
    days: &BTreeMap<Day, ExaminedDay>,
    fetched: &BTreeSet<Day>,
    among: Option<DayRange>,
    pruned: &Pruned,
) -> Vec<Finding> {
    let gaps = fetched.iter().zip(fetched.iter().skip(1)).filter_map(|(before, after)| {
        let (first, last) = (before.plus(1), after.plus(-1));
        let gap = among.map_or(DayRange { first, last }, |range| DayRange {
            first: first.max(range.first),
            last: last.min(range.last),
        });
        (gap.first <= gap.last).then_some(gap)
    });
    let gaps = gaps.flat_map(|gap| {
        let is_missing =
            |day: &Day| !pruned.includes(Table::Messages, *day) && !days.contains_key(day);
        DayRange::runs(gap.days().filter(is_missing))
    });
    let finding = |gap: DayRange| {
        let advice = format!(
            "run `kefu run --from {} --to {}` to fetch what is missing",
            gap.first, gap.last
        );
        let path = job.lake.path(&job.account.partition(Table::Messages, gap.first));
        Finding::new(
            Kind::MissingDays,
            path,
            format!("{gap}: missing, although earlier and later days exist"),
            advice,
        )
    };
    gaps.map(finding).collect()
}
