//! A signal is noticed in each stage of a rebuild, and leaves a lake that the next run completes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use super::{MetricsJob, VerifyJob, rebuild_metrics, status, verify};
use crate::calendar::{Day, Zone};
use crate::failure::{ErrorKind, Failure};
use crate::lake::{Account, Lake, Table};
use crate::metrics::Parameters;
use crate::model::cancel::{Cancel, Signal};
use crate::model::record;
use crate::telemetry::Progress;

/// The stages that take longer than 0.3 seconds on 10 million messages, by file.
const STAGES: [&str; 7] = [
    "metrics/activity.rs",
    "metrics/conversations.rs",
    "metrics/day_rows.rs",
    "metrics/history.rs",
    "metrics/names.rs",
    "metrics/publish.rs",
    "pipeline/rebuild.rs",
];

/// Commits the messages of a day: questions of several customers, each with an answer.
fn commit(job: &MetricsJob, day: Day) {
    let bounds = job.zone.bounds(day);
    let openids: Vec<String> = (0..40).map(|row| format!("oC{}", row / 2)).collect();
    let schema = record::schema();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "openid" => Arc::new(StringArray::from(openids.clone())),
            "worker" => Arc::new(StringArray::from(vec!["A"; 40])),
            "opercode" => Arc::new(Int32Array::from([2003, 2002].repeat(20))),
            "text" => Arc::new(StringArray::from(vec![None::<&str>; 40])),
            _ => {
                let instants = (0..40).map(|row| (bounds.start + row * 60) * 1_000_000);
                Arc::new(TimestampMicrosecondArray::from_iter_values(instants).with_timezone("UTC"))
            }
        }
    });
    let records = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
    let mut staged = job.lake.stage_messages(&job.account, day, job.zone.name(), bounds).unwrap();
    staged.append(&records).unwrap();
    staged.finish(0, None).unwrap().commit().unwrap();
}

/// The bytes of all metric partitions that are there.
fn metrics_of(job: &MetricsJob, days: &[Day]) -> BTreeMap<PathBuf, Vec<u8>> {
    let path = |day: &Day, table| job.lake.path(&job.account.partition(table, *day));
    let paths = days.iter().flat_map(|day| Table::METRICS.map(|table| path(day, table)));
    paths.filter_map(|path| Some((path.clone(), fs_err::read(path).ok()?))).collect()
}

fn job_in(folder: &Path) -> MetricsJob {
    let zone = Zone::named("Asia/Shanghai").unwrap();
    MetricsJob {
        lake: Lake::at(folder.join("lake")),
        account: Account::new("acme".into()).unwrap(),
        rules: Parameters::in_zone(zone.name()).into(),
        zone,
    }
}

#[test]
fn verify_and_status_notice_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let job = job_in(folder.path());
    let days: [Day; 2] = ["2024-05-13", "2024-05-14"].map(|day| day.parse().unwrap());
    let _lock = job.lake.lock(&job.account).unwrap();
    days.into_iter().for_each(|day| commit(&job, day));
    let MetricsJob { lake, zone, rules, .. } = job.clone();
    let today = days[1].plus(1);
    let checked = VerifyJob { lake, zone, rules, today, accounts: None, shard: None };
    let progress = || Progress::begin("test", 0);
    type Work<'a> = &'a dyn Fn(&Cancel) -> Result<(), Failure>;
    let verify: Work = &|cancel| verify(&checked, None, &progress(), cancel).map(drop);
    let status: Work = &|cancel| status(&job, None, &progress(), cancel).map(drop);
    for (work, stage) in [(verify, "pipeline/verify_privacy.rs"), (status, "pipeline/status.rs")] {
        let cancel = Cancel::default();
        work(&cancel).unwrap();
        let (count, files) = cancel.checked();
        assert!(files.iter().any(|file| file.ends_with(stage)), "{stage} is not in {files:?}");
        for checks in 0..count {
            let stopped = work(&Cancel::after(checks)).unwrap_err();
            assert_eq!(stopped.kind, ErrorKind::Stopped(Signal::Terminate), "{checks}");
        }
    }
}

#[test]
fn each_stage_of_a_rebuild_notices_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let job = job_in(folder.path());
    let days = ["2024-05-13", "2024-05-14"].map(|day| day.parse().unwrap());
    let _lock = job.lake.lock(&job.account).unwrap();
    days.into_iter().for_each(|day| commit(&job, day));

    let cancel = Cancel::default();
    assert_eq!(rebuild_metrics(&job, None, &(), &cancel).unwrap().computed, days);
    let expected = metrics_of(&job, &days);
    let (count, files) = cancel.checked();
    for stage in STAGES {
        assert!(files.iter().any(|file| file.ends_with(stage)), "{stage} is not in {files:?}");
    }

    for checks in 0..count {
        for path in expected.keys() {
            fs_err::remove_file(path).unwrap();
        }
        let stopped = rebuild_metrics(&job, None, &(), &Cancel::after(checks)).unwrap_err();
        assert_eq!(stopped.failure.kind, ErrorKind::Stopped(Signal::Terminate), "{checks}");
        // Each file is missing or complete.
        let there = metrics_of(&job, &days);
        assert!(there.iter().all(|(path, bytes)| expected[path] == *bytes), "{checks}");
        rebuild_metrics(&job, None, &(), &Cancel::default()).unwrap();
        assert!(metrics_of(&job, &days) == expected, "{checks}");
    }
}
