//! Figures of the last run for Prometheus, in the text format that the node exporter collects from
//! a folder (<https://github.com/prometheus/node_exporter#textfile-collector>).
//!
//! The file is written after every run, including failed runs. A run replaces the figures of its
//! own accounts. The figures of other accounts, and the time of an account's last success, are
//! copied from the previous file.
//!
//! The figures of an account are removed only if a settings file with several accounts no longer
//! includes it, or if it is in another shard than the run. Otherwise the age of its last success
//! would grow forever, and two files would have the same series, which the node exporter refuses.
//! With a single account in the settings nothing is removed, because other settings may share the
//! file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use prometheus::{Encoder, GaugeVec, Opts, Registry, TextEncoder};
use time::OffsetDateTime;

use super::replace;
use crate::failure::{BUG_HINT, Classified, ErrorKind};
use crate::pipeline::RunRecord;
use crate::plain_file;

/// The figures could not be written. The run itself is not affected.
#[derive(Debug, thiserror::Error)]
pub enum TextfileError {
    #[error("the figures for Prometheus cannot be written to {}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the figures for Prometheus cannot be encoded")]
    Prometheus(#[from] prometheus::Error),
}

impl Classified for TextfileError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Settings,
            Self::Prometheus(_) => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let hint = match self {
            Self::Io { source, .. } => match source.kind() {
                FileTooLarge => {
                    "raise the limit of file sizes (`ulimit -f`); the next run writes the file again. An existing file is unchanged"
                }
                QuotaExceeded | StorageFull => {
                    "free some space; the next run writes the file again. An existing file is unchanged"
                }
                _ => {
                    "--textfile names a file in the folder that the node exporter reads; this user must be able to write there"
                }
            },
            Self::Prometheus(_) => BUG_HINT,
        };
        Some(hint.to_owned())
    }
}

const LAST_SUCCESS: &str = "kefu_last_success_timestamp_seconds";

/// The name of a figure, its help text, and its value for a run.
type Figure = (&'static str, &'static str, fn(&RunRecord) -> f64);

const FIGURES: [Figure; 11] = [
    ("kefu_last_run_exit_code", "Exit code of the last run.", |record| {
        record.exit_code.unwrap_or_default().into()
    }),
    ("kefu_last_run_duration_seconds", "How long the last run took.", |record| {
        record.duration_seconds.unwrap_or_default()
    }),
    ("kefu_days_fetched", "Days that the last run fetched and committed.", |record| {
        record.days_fetched as f64
    }),
    ("kefu_days_failed", "Days that the last run could not fetch.", |record| {
        (record.days_failed + record.days_given_up) as f64
    }),
    (
        "kefu_days_shrunk",
        "Days that came back to the last run with fewer records, and were left as they are.",
        |record| record.days_shrunk as f64,
    ),
    ("kefu_days_computed", "Days whose metrics the last run wrote.", |record| {
        record.days_computed as f64
    }),
    ("kefu_rejects", "Records that the last run could not read.", |record| record.rejects as f64),
    (
        "kefu_repaired_pages",
        "Pages that the last run repaired before it could read them.",
        |record| record.repaired_pages as f64,
    ),
    (
        "kefu_repaired_records",
        "Records that the last run could read only after a repair.",
        |record| record.repaired_records as f64,
    ),
    ("kefu_requests", "Calls of the last run.", |record| record.requests as f64),
    ("kefu_retries", "Calls that the last run repeated.", |record| record.retries as f64),
];

/// Whether a file has contents that are not figures of kefu, as after a mistake in its name. False
/// for a file that cannot be read: the error comes when it is written.
pub fn has_something_else(path: &Path) -> bool {
    plain_file::read(path).is_ok_and(|text| {
        let text = String::from_utf8_lossy(&text);
        !text.trim().is_empty() && !text.contains("# HELP kefu_")
    })
}

/// Writes the figures of runs that have just ended, atomically. `all_accounts` has all configured
/// accounts of the shard, including those without a run, if they are known.
///
/// # Errors
/// [`TextfileError`].
pub fn write_textfile(
    path: &Path,
    records: &[RunRecord],
    all_accounts: Option<&BTreeSet<String>>,
    now: OffsetDateTime,
) -> Result<(), TextfileError> {
    let before = Before::read(path);
    let registry = Registry::new();
    let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<GaugeVec, prometheus::Error> {
        let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    };
    let ran: BTreeSet<&str> = records.iter().map(|record| record.account.as_str()).collect();
    // Figures without an account are from a run that failed early. The next run removes them.
    let has_run = |account: &str| account.is_empty() || ran.contains(account);
    let stays = |account: &String| {
        !has_run(account) && all_accounts.is_none_or(|all| all.contains(account))
    };
    let of_others = |name: &str, labels: &[&str], gauge: &GaugeVec| {
        for (values, figure) in before
            .of(name, labels)
            .into_iter()
            .filter(|(values, _)| values.first().is_none_or(stays))
        {
            gauge.with_label_values(&values).set(figure);
        }
    };
    for (name, help, figure) in FIGURES {
        let gauge = gauge(name, help, &["account"])?;
        records
            .iter()
            .for_each(|record| gauge.with_label_values(&[&record.account]).set(figure(record)));
        of_others(name, &["account"], &gauge);
    }
    let messages =
        gauge("kefu_messages", "Messages that the last run committed.", &["account", "direction"])?;
    for record in records {
        for (direction, count) in [
            ("received", record.messages_received),
            ("sent", record.messages_sent),
            ("other", record.messages_other),
        ] {
            messages.with_label_values(&[&record.account, direction]).set(count as f64);
        }
    }
    of_others("kefu_messages", &["account", "direction"], &messages);
    let last_run =
        gauge("kefu_last_run_timestamp_seconds", "When the last run ended.", &["account"])?;
    let last_success =
        gauge(LAST_SUCCESS, "When the last run ended that did all of its work.", &["account"])?;
    let seconds = now.unix_timestamp() as f64;
    let successes: BTreeMap<String, f64> = before
        .of(LAST_SUCCESS, &["account"])
        .into_iter()
        .filter_map(|(values, figure)| Some((values.into_iter().next()?, figure)))
        .collect();
    for record in records {
        last_run.with_label_values(&[&record.account]).set(seconds);
        let success = match record.exit_code {
            Some(0) => Some(seconds),
            _ => successes.get(&record.account).copied(),
        };
        if let Some(success) = success {
            last_success.with_label_values(&[&record.account]).set(success);
        }
    }
    of_others("kefu_last_run_timestamp_seconds", &["account"], &last_run);
    of_others(LAST_SUCCESS, &["account"], &last_success);
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    // The collector reads only `*.prom`, so it ignores the temporary file.
    replace(path, &text).map_err(|source| TextfileError::Io { path: path.to_owned(), source })
}

/// The values of the previous file, by name and labels. Lines that are not figures are ignored.
struct Before(BTreeMap<String, f64>);

impl Before {
    fn read(path: &Path) -> Self {
        let text = plain_file::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '));
        Self(
            lines
                .filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?)))
                .collect(),
        )
    }

    /// The label values and the figures of a series.
    fn of(&self, name: &str, labels: &[&str]) -> Vec<(Vec<String>, f64)> {
        let series = self.0.iter().filter_map(|(series, figure)| {
            Some((series.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?, *figure))
        });
        series.filter_map(|(written, figure)| Some((values(written, labels)?, figure))).collect()
    }
}

/// The values of `account="acme",direction="sent"`. Account names contain no characters that need
/// escapes.
fn values(written: &str, labels: &[&str]) -> Option<Vec<String>> {
    let pairs: BTreeMap<&str, &str> = written
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(label, value)| (label, value.trim_matches('"')))
        .collect();
    labels.iter().map(|label| pairs.get(label).map(|value| (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_is_not_called_a_lack_of_permission() {
        let hint = |kind: io::ErrorKind| {
            let (path, source) = (PathBuf::from("kefu.prom"), io::Error::from(kind));
            TextfileError::Io { path, source }.hint().unwrap()
        };
        assert!(hint(io::ErrorKind::StorageFull).starts_with("free some space"));
        assert!(hint(io::ErrorKind::QuotaExceeded).starts_with("free some space"));
        assert!(hint(io::ErrorKind::FileTooLarge).contains("ulimit -f"));
        assert!(hint(io::ErrorKind::PermissionDenied).contains("--textfile"));
        let error = TextfileError::from(prometheus::Error::Msg("two of one name".into()));
        assert!(error.hint().unwrap().contains("report this bug"));
    }
}
