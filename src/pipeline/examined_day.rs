//! Checks the files of a day against their footers and against each other.

use std::collections::{BTreeMap, BTreeSet};

use super::VerifyJob;
use super::finding::{Finding, Kind};
use crate::calendar::{Day, DayRange, Zone};
use crate::lake::{
    Account, Contents, Examined, Footer, LakeError, PartitionKey, Pruned, Table, entry,
};
use crate::metrics::DAYS_BEFORE;
use crate::model::privacy::AppliedPrivacy;

/// The files of an account for one day.
#[derive(Debug)]
pub(super) struct ExaminedDay {
    pub(super) there: BTreeSet<Table>,
    /// Contents of the files without a finding.
    pub(super) sound: BTreeMap<Table, Contents>,
    pub(super) findings: Vec<Finding>,
}

impl ExaminedDay {
    pub(super) fn read(
        job: &VerifyJob,
        account: &Account,
        day: Day,
        there: BTreeSet<Table>,
        pruned: &Pruned,
        is_noted: bool,
    ) -> Result<Self, LakeError> {
        let mut examined = Self { there, sound: BTreeMap::new(), findings: Vec::new() };
        let is_pruned = pruned.includes(Table::Messages, day);
        let is_beside_pruned = pruned.includes(Table::Messages, day.plus(-DAYS_BEFORE));
        let has_messages = examined.there.contains(&Table::Messages);
        let remedy = |kind: Kind, table: Table| {
            match Table::METRICS.contains(&table) {
            true if !has_messages && is_pruned => {
                "restore it from a backup: its messages were pruned, so it cannot be computed again"
                    .to_owned()
            }
            true if !has_messages => format!(
                "restore it from a backup, because its messages are missing. Or run `kefu run --date {day}` to fetch them again while WeChat has them"
            ),
            true if is_beside_pruned => {
                "restore it from a backup. If messages that it was made of were pruned, it cannot be \
                 computed again with the same numbers"
                    .to_owned()
            }
            _ => remedy(kind, table, day),
        }
        };
        for table in examined.there.clone() {
            match examine_with(job, &account.partition(table, day), &remedy)? {
                Ok(contents) => drop(examined.sound.insert(table, *contents)),
                Err(findings) => examined.findings.extend(findings),
            }
        }
        let totals = examined.totals_flaw();
        let totals = totals.map(|what| (Kind::Totals, Table::AccountDaily, what));
        let finding = |(kind, table, what): (Kind, Table, String)| {
            Finding::new(
                kind,
                job.lake.path(&account.partition(table, day)),
                what,
                remedy(kind, table),
            )
        };
        let between = totals.into_iter().chain(examined.pairing_flaw(pruned, day, is_noted));
        examined.findings.extend(between.map(finding));
        Ok(examined)
    }

    /// Checks that messages and rejects belong together. The footer of the messages names the
    /// rejects of the day, and these must be there. Files that retention deleted are ignored.
    /// Rejects that no messages name are left from a killed run. Missing rejects were not removed
    /// by kefu.
    fn pairing_flaw(
        &self,
        pruned: &Pruned,
        day: Day,
        is_noted: bool,
    ) -> Option<(Kind, Table, String)> {
        let is_there = |table: Table| self.there.contains(&table);
        let killed = || "a run was killed while it changed messages and rejects".to_owned();
        if is_noted && (is_there(Table::Messages) || is_there(Table::Rejects)) {
            return Some((Kind::Unfinished, Table::Messages, killed()));
        }
        if is_there(Table::Rejects) && !is_there(Table::Messages) {
            // Metrics prove that the day had messages.
            let had_messages = Table::METRICS.into_iter().any(is_there);
            let what = "the messages of the day are missing".to_owned();
            let kind = if had_messages { Kind::Rejects } else { Kind::Unfinished };
            return (!pruned.includes(Table::Messages, day)).then_some((
                kind,
                Table::Rejects,
                what,
            ));
        }
        let messages = &self.sound.get(&Table::Messages)?.footer;
        let rejects = self.sound.get(&Table::Rejects).map(|rejects| &rejects.footer);
        if is_there(Table::Rejects) {
            let is_whole = messages.belongs_with(Some(rejects?));
            return (!is_whole).then(|| (Kind::Unfinished, Table::Messages, killed()));
        }
        let is_whole = messages.belongs_with(None) || pruned.includes(Table::Rejects, day);
        let counted = messages.get(entry::REJECTS).unwrap_or_default();
        let missing = || format!("is missing, but the footer of the messages counts {counted}");
        (!is_whole).then(|| (Kind::Rejects, Table::Rejects, missing()))
    }

    /// Compares the counts of `account_daily` with the messages, if it was computed from these
    /// messages. The counts do not depend on the parameters.
    fn totals_flaw(&self) -> Option<String> {
        let (messages, metrics) =
            (self.sound.get(&Table::Messages)?, self.sound.get(&Table::AccountDaily)?);
        let day: Day = messages.footer.get(entry::DATE)?.parse().ok()?;
        let made_of = metrics.footer.inputs();
        let is_input = made_of.get(&day).is_some_and(|hash| messages.footer.is_known_as(hash));
        let (there, counted) = (messages.counts, metrics.counts);
        (is_input && (there.received, there.sent) != (counted.received, counted.sent)).then(|| {
            format!(
                "it counts {} messages received and {} sent, but there are {} and {}",
                counted.received, counted.sent, there.received, there.sent
            )
        })
    }
}

/// Checks a file by itself. Returns its contents, or what is wrong with it.
///
/// # Errors
/// Fails when the disk cannot be read.
pub(super) fn examine_file(
    job: &VerifyJob,
    key: &PartitionKey,
) -> Result<Result<Box<Contents>, Vec<Finding>>, LakeError> {
    examine_with(job, key, &|kind, table| remedy(kind, table, key.date))
}

fn examine_with(
    job: &VerifyJob,
    key: &PartitionKey,
    remedy: &dyn Fn(Kind, Table) -> String,
) -> Result<Result<Box<Contents>, Vec<Finding>>, LakeError> {
    let flaws = match job.lake.examine(key)? {
        Examined::Unreadable(reason) => vec![(Kind::Unreadable, reason)],
        Examined::OtherSchema(difference) => vec![(Kind::Schema, difference)],
        Examined::Read(contents) => match flaws(&contents, key, &job.zone) {
            flaws if flaws.is_empty() => return Ok(Ok(contents)),
            flaws => flaws,
        },
    };
    let finding =
        |(kind, what)| Finding::new(kind, job.lake.path(key), what, remedy(kind, key.table));
    Ok(Err(flaws.into_iter().map(finding).collect()))
}

/// Footer keys of a table's files, in addition to the keys of every file.
fn own_keys(table: Table) -> &'static [&'static str] {
    match table {
        Table::Messages => &[entry::CONTENT_HASH, entry::REJECTS],
        Table::Rejects | Table::Workers => &[entry::CONTENT_HASH],
        _ => &[
            entry::CONTENT_HASH,
            entry::DEFINITIONS_VERSION,
            entry::PARAMETERS,
            entry::INPUTS,
            entry::HORIZON,
            entry::FINAL,
        ],
    }
}

/// Optional footer keys of a table's files.
fn optional_keys(table: Table) -> &'static [&'static str] {
    match table {
        Table::Messages => &[
            entry::MESSAGES_RECEIVED,
            entry::MESSAGES_SENT,
            entry::MESSAGES_OTHER,
            entry::APP_ID,
            entry::REJECTS_HASH,
        ],
        _ => &[],
    }
}

/// Returns where a file contradicts its own footer, or does not belong in its place.
fn flaws(contents: &Contents, key: &PartitionKey, zone: &Zone) -> Vec<(Kind, String)> {
    let PartitionKey { account, date, table } = key;
    let (day, table) = (*date, *table);
    let footer = &contents.footer;
    let here =
        [("table", table.to_string()), ("account", account.to_string()), ("date", day.to_string())];
    let elsewhere: Vec<String> = here
        .into_iter()
        .filter_map(|(key, here)| {
            footer
                .get(key)
                .filter(|said| **said != here)
                .map(|said| format!("its footer has the {key} {said}"))
        })
        .collect();
    if !elsewhere.is_empty() {
        // The other checks would only repeat that the file is misplaced.
        return vec![(Kind::Misplaced, elsewhere.join("; "))];
    }
    let bounds = zone.bounds(day);
    let wrong = wrong_in_footer(contents, key, zone);
    let miscounted = miscounted(contents, table);
    let is_as_written =
        footer.content_hash().is_none_or(|written| written == contents.content_hash);
    let outside = contents
        .instants
        .filter(|(first, last)| !bounds.contains(*first) || !bounds.contains(*last));

    let mut flaws = Vec::new();
    let mut require = |holds: bool, kind: Kind, what: String| {
        if !holds {
            flaws.push((kind, what));
        }
    };
    require(wrong.is_empty(), Kind::Footer, wrong.join("; "));
    require(is_as_written, Kind::ContentHash, "its rows do not match its content hash".to_owned());
    require(miscounted.is_empty(), Kind::Counts, miscounted.join("; "));
    require(
        contents.is_of_account,
        Kind::Account,
        format!("not all rows have the account {account}"),
    );
    require(
        contents.is_sorted,
        Kind::Order,
        format!("its rows are not sorted by {}", table.sorted_by().join(", ")),
    );
    require(
        contents.is_numbered,
        Kind::Seq,
        "its rows are not numbered 0, 1, 2 … in `seq`".to_owned(),
    );
    if let Some((first, last)) = outside {
        let range = DayRange { first: zone.day_of(first), last: zone.day_of(last) };
        require(
            false,
            Kind::Day,
            format!("its rows are dated {range} by {}", table.dated_by().unwrap_or_default()),
        );
    }
    require(contents.oddities.is_empty(), Kind::Encoding, contents.oddities.join("; "));
    let misstated = contents.misstated.join(", ");
    let hides_rows = format!(
        "the statistics of its row groups or pages are wrong for {misstated}, so readers skip rows"
    );
    require(contents.misstated.is_empty(), Kind::Statistics, hides_rows);
    // The flaws above change the bytes, too, so only report bytes without another flaw.
    if flaws.is_empty() && contents.is_as_encoded == Some(false) {
        flaws.push((
            Kind::Bytes,
            "its bytes differ from what kefu writes for its rows, so readers may see other values"
                .to_owned(),
        ));
    }
    flaws
}

/// The counts in the footer of a file that differ from its rows.
fn miscounted(contents: &Contents, table: Table) -> Vec<String> {
    let mut counts = Footer::default();
    counts.set(entry::ROWS, contents.rows);
    if table == Table::Messages {
        counts.set(entry::MESSAGES_RECEIVED, contents.counts.received);
        counts.set(entry::MESSAGES_SENT, contents.counts.sent);
        counts.set(entry::MESSAGES_OTHER, contents.counts.other);
    }
    contents.footer.contradictions(&counts)
}

/// What is missing or wrong in the footer of a file that is in its place.
fn wrong_in_footer(contents: &Contents, key: &PartitionKey, zone: &Zone) -> Vec<String> {
    let (footer, table) = (&contents.footer, key.table);
    let mut place = Footer::new(key, zone.name(), zone.bounds(key.date));
    place.set(entry::SCHEMA_VERSION, contents.schema_version);
    let mut wrong = footer.contradictions(&place);
    wrong.extend(
        own_keys(table)
            .iter()
            .filter(|key| footer.get(key).is_none())
            .map(|key| format!("`{key}` is missing")),
    );
    let known = |key: &str| {
        [entry::ROWS, entry::PRIVACY, entry::REDACTED_FROM].contains(&key)
            || own_keys(table).contains(&key)
            || optional_keys(table).contains(&key)
            || place.get(key).is_some()
    };
    wrong.extend(
        footer.keys().filter(|key| !known(key)).map(|key| format!("`{key}` is not a key of kefu")),
    );
    wrong.extend(
        footer
            .get(entry::PRIVACY)
            .filter(|said| AppliedPrivacy::parse(said).is_none())
            .map(|said| format!("`privacy` has the invalid value {said}")),
    );
    wrong.extend(
        footer
            .get(entry::APP_ID)
            .filter(|_| footer.app_id().is_none())
            .map(|said| format!("`app_id` has the invalid value {}", said.escape_debug())),
    );
    if !footer.has_possible_rejects() {
        wrong.push("`rejects_hash` contradicts `rejects`".to_owned());
    }
    wrong
}

/// Returns the advice for a finding about a file.
pub(super) fn remedy(kind: Kind, table: Table, day: Day) -> String {
    match (kind, table) {
        (Kind::Misplaced, Table::Messages | Table::Rejects) => {
            format!(
                "move it to its place or out of the lake, then run `kefu run --date {day}` to fetch what is missing"
            )
        }
        (_, Table::Workers) => {
            "move it out of the lake: the next run writes the list again if it has changed"
                .to_owned()
        }
        (Kind::Unfinished, _) => "nothing to do: the next run fetches the day again".to_owned(),
        (_, Table::Messages | Table::Rejects) => {
            format!("run `kefu run --date {day} --force` to fetch the day again")
        }
        _ => "move it out of the lake, then run `kefu metrics` to compute it again".to_owned(),
    }
}
