//! Lakes that an older version of kefu wrote. kefu reads, verifies and continues them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use kefu::lake::{ContentHash, Table};
use kefu::simulator::Simulator;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use serde_json::{Value, json};

use crate::world::{MIDNIGHT, World, record, recorded};

/// Columns that the older version did not write.
const LATER: [(Table, &str); 2] =
    [(Table::ResponsePairs, "asked_seq"), (Table::Sessions, "started_seq")];

/// Returns the rows of a file and the `kefu.` entries of its footer.
fn open(path: &Path) -> (RecordBatch, BTreeMap<String, String>) {
    let file = fs_err::File::open(path).unwrap().into_parts().0;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let footer = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let footer = footer
        .iter()
        .filter(|entry| entry.key.starts_with("kefu."))
        .map(|entry| (entry.key.clone(), entry.value.clone().unwrap()))
        .collect();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    (concat_batches(&schema, &batches).unwrap(), footer)
}

/// Returns the name of the program that wrote a file, from its footer.
fn encoder(path: &Path) -> String {
    let file = fs_err::File::open(path).unwrap().into_parts().0;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.metadata().file_metadata().created_by().unwrap().to_owned()
}

/// Rewrites a partition in the format before `asked_seq` and `started_seq`.
fn make_older(path: &Path, table: Table) {
    let (mut rows, mut footer) = open(path);
    if let Some((_, later)) = LATER.iter().find(|(of, _)| *of == table) {
        rows.remove_column(rows.schema().index_of(later).unwrap());
    }
    let hash = match rows.num_rows() {
        0 => footer["kefu.content_hash"].clone(),
        _ => ContentHash::of(&rows).unwrap().to_string(),
    };
    footer.insert("kefu.content_hash".into(), hash);
    footer.insert("kefu.schema_version".into(), "1".into());
    footer.insert("kefu.definitions_version".into(), "2".into());
    write(path, table, &rows, footer);
}

fn write(path: &Path, table: Table, rows: &RecordBatch, footer: BTreeMap<String, String>) {
    let schema = rows.schema();
    let sorting = table.sorted_by().into_iter().map(|column| SortingColumn {
        column_idx: schema.index_of(column).unwrap() as i32,
        descending: false,
        nulls_first: false,
    });
    let sorting: Vec<SortingColumn> = sorting.collect();
    let mut properties = WriterProperties::builder()
        .set_created_by("kefu version 0.1.0 (build parquet-rs 60.0.0)".into())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(122_880))
        .set_sorting_columns(Some(sorting).filter(|columns| !columns.is_empty()))
        .set_column_bloom_filter_enabled(
            "openid".into(),
            matches!(table, Table::Messages | Table::ResponsePairs),
        )
        .set_key_value_metadata(Some(
            footer.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect(),
        ));
    for field in schema.fields().iter().filter(|field| field.name().ends_with("_at")) {
        let column = ColumnPath::from(field.name().as_str());
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    let file = fs_err::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties.build())).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

/// A lake with twelve days from 2024-05-01. The messages of the first five days were deleted. So
/// the metrics of the first seven days cannot be computed again.
struct OlderLake {
    world: World,
    simulator: Simulator,
    /// The metric files as the present version writes them.
    present: BTreeMap<PathBuf, Vec<u8>>,
}

impl OlderLake {
    fn new() -> Self {
        let world = World::new();
        let generated = crate::world::generated("2024-05-01", 13, 200, 1);
        let simulator = world.simulate(generated, world.options(&[]));
        let mut lake = Self { world, simulator, present: BTreeMap::new() };
        lake.kefu(&["run", "--from", "2024-05-01", "--to", "2024-05-12"], 0);
        lake.kefu(&["prune", "--before", "2024-05-06", "--yes"], 0);
        lake.present = lake.metric_files();
        for (table, day) in partitions() {
            make_older(&lake.path(table, &day), table);
        }
        lake
    }

    /// Runs a command and returns the JSON that it prints.
    #[track_caller]
    fn kefu(&self, arguments: &[&str], exit_code: i32) -> Value {
        let output = self.world.kefu(&self.simulator, &[arguments, &["--output", "json"]].concat());
        assert_eq!(
            output.status.code(),
            Some(exit_code),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn path(&self, table: Table, day: &str) -> PathBuf {
        self.world.path(table.name(), day)
    }

    fn metric_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let of = |(table, day): (Table, String)| {
            let path = self.path(table, &day);
            (path.clone(), fs_err::read(path).unwrap())
        };
        partitions().map(of).collect()
    }

    /// Returns the findings of `kefu verify`, each with kind, severity, table, day and advice.
    fn findings(&self) -> Vec<Value> {
        let verified = self.kefu(&["verify"], 0);
        verified["findings"].as_array().unwrap().clone()
    }
}

fn days() -> impl Iterator<Item = String> {
    (1..=12).map(|day| format!("2024-05-{day:02}"))
}

fn partitions() -> impl Iterator<Item = (Table, String)> {
    Table::METRICS.into_iter().flat_map(|table| days().map(move |day| (table, day)))
}

#[test]
fn an_older_lake_is_read_and_verified_without_a_rewrite() {
    let lake = OlderLake::new();
    let before = lake.metric_files();
    let status = lake.kefu(&["status"], 0);
    let states: Vec<&str> = status["days"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| day["metrics"].as_str().unwrap())
        .collect();
    assert_eq!(states, [["frozen"; 7].as_slice(), &["stale"; 5]].concat());

    // `kefu verify` reports older files, but no damage.
    let findings = lake.findings();
    let older = |finding: &&Value| {
        finding["what"] == "written by an older version of kefu"
            && finding["advice"] == "run `kefu metrics --account acme` to rewrite it"
    };
    assert_eq!(findings.iter().filter(older).count(), 5 * 12, "{findings:#?}");
    assert_eq!(findings.len(), 5 * 12, "{findings:#?}");
    assert!(
        findings.iter().all(|finding| finding["severity"] == "note" && finding["kind"] == "stale")
    );

    // The report has the same figures with the older files.
    let figures = |lake: &OlderLake| {
        let report = lake.kefu(&["report", "--from", "2024-05-01", "--to", "2024-05-07"], 0);
        assert!(report["workers"].as_array().unwrap().len() > 1, "{report}");
        (report["totals"].clone(), report["workers"].clone(), report["unanswered"].clone())
    };
    let by_older_files = figures(&lake);
    assert!(lake.metric_files() == before);
    for (path, bytes) in &lake.present {
        fs_err::write(path, bytes).unwrap();
    }
    assert_eq!(by_older_files, figures(&lake));
}

#[test]
fn kefu_metrics_gives_older_files_the_new_columns_and_changes_no_number() {
    let lake = OlderLake::new();
    let older: BTreeMap<PathBuf, _> = partitions()
        .map(|(table, day)| lake.path(table, &day))
        .map(|path| (path.clone(), open(&path)))
        .collect();
    let metrics = lake.kefu(&["metrics"], 0)["metrics"].take();
    assert_eq!(
        metrics["computed"],
        json!(["2024-05-08", "2024-05-09", "2024-05-10", "2024-05-11", "2024-05-12"])
    );
    assert_eq!(metrics["frozen"], json!(["2024-05-06", "2024-05-07"]));
    for (table, day) in partitions() {
        let path = lake.path(table, &day);
        let (rows, footer) = open(&path);
        assert_eq!(rows.schema().fields(), table.schema().fields(), "{table} of {day}");
        if day.as_str() >= "2024-05-08" {
            assert!(fs_err::read(&path).unwrap() == lake.present[&path], "{table} of {day}");
            continue;
        }
        let (older_rows, older_footer) = &older[&path];
        assert_eq!(encoder(&path), encoder(&lake.path(table, "2024-05-12")), "{table} of {day}");
        assert_eq!(footer.len(), older_footer.len());
        let changed: Vec<&String> =
            footer.keys().filter(|key| footer.get(*key) != older_footer.get(*key)).collect();
        let Some((_, later)) = LATER.iter().find(|(of, _)| *of == table) else {
            assert_eq!(rows.columns(), older_rows.columns());
            assert_eq!(changed, ["kefu.schema_version"]);
            continue;
        };
        // The new column is null and the other columns are unchanged. In the footer, only the hash
        // and the schema version change.
        let mut without = rows.clone();
        let column = without.remove_column(without.schema().index_of(later).unwrap());
        assert!(rows.num_rows() > 0 && column.null_count() == rows.num_rows());
        assert_eq!(without.columns(), older_rows.columns());
        assert_eq!(changed, ["kefu.content_hash", "kefu.schema_version"]);
    }
    assert_eq!(lake.findings(), [] as [Value; 0]);

    // A second `kefu metrics` rewrites nothing, and the next run fetches a new day.
    let after = lake.metric_files();
    assert_eq!(lake.kefu(&["metrics"], 0)["metrics"]["computed"], json!([]));
    assert!(lake.metric_files() == after);
    let next = lake.kefu(&["run", "--date", "2024-05-13"], 0);
    assert_eq!(next["metrics"].get("older_days"), None);
    assert_eq!(lake.findings(), [] as [Value; 0]);
}

#[test]
fn the_nightly_run_rewrites_its_own_days_and_reports_older_days_as_out_of_date() {
    let lake = OlderLake::new();
    let older =
        |day: &str| json!({ "up_to": day, "because": ["computed by another version of kefu"] });
    let run = lake.kefu(&["run", "--date", "2024-05-12"], 0);
    assert_eq!(run["metrics"]["older_days"], older("2024-05-08"));
    // The older days include days whose messages were deleted.
    let run = lake.kefu(&["run", "--from", "2024-05-11", "--to", "2024-05-13"], 0);
    assert_eq!(run["metrics"]["older_days"], older("2024-05-07"));
    lake.kefu(&["metrics"], 0);
    let run = lake.kefu(&["run", "--from", "2024-05-11", "--to", "2024-05-13"], 0);
    assert_eq!(run["metrics"].get("older_days"), None);
    for (table, day) in partitions() {
        let (rows, _) = open(&lake.path(table, &day));
        assert_eq!(rows.schema().fields(), table.schema().fields(), "{table} of {day}");
    }
}

#[test]
fn damaged_rows_never_get_a_new_hash() {
    let lake = OlderLake::new();
    let path = lake.path(Table::Sessions, "2024-05-03");
    let (rows, footer) = open(&path);
    write(&path, Table::Sessions, &rows.slice(1, rows.num_rows() - 1), footer);
    let damaged = fs_err::read(&path).unwrap();
    let failure = lake.kefu(&["metrics"], 73)["failure"].take();
    let reason = failure["reason"].as_str().unwrap();
    assert!(reason.contains("sessions/date=2024-05-03/acme.parquet"), "{reason}");
    assert!(
        failure["hint"].as_str().unwrap().contains("restore the file from a backup"),
        "{failure}"
    );
    assert!(fs_err::read(&path).unwrap() == damaged);
}

/// Two days with one unreadable record each, in the format before each account had its own folder.
/// The whole lake has one lock, one staging folder, one retention mark and one history. The
/// messages have the number of their rejects, but not the hash of the rejects.
fn lake_with_one_lock() -> (World, Simulator) {
    let world = World::new();
    let lines = [0, 86_400].map(|second| {
        let unreadable = record(MIDNIGHT + second + 1, "bad").replace("\"time\"", "\"tim\"");
        [record(MIDNIGHT + second, "good"), unreadable]
    });
    let simulator = world.simulate(recorded(lines.concat()), world.options(&[]));
    let days = ["run", "--from", "2016-06-01", "--to", "2016-06-02"];
    assert!(world.kefu(&simulator, &days).status.success());
    for day in ["2016-06-01", "2016-06-02"] {
        let path = world.path("messages", day);
        let (rows, mut footer) = open(&path);
        footer.remove("kefu.rejects_hash").unwrap();
        write(&path, Table::Messages, &rows, footer);
    }
    let own = world.lake_folder().join("_kefu");
    fs_err::remove_dir_all(own.join("accounts")).unwrap();
    for (name, content) in [
        ("lock", "process 1\n"),
        ("pruned.json", "{\"messages\":\"2016-06-01\"}\n"),
        ("runs/20160602T000000Z-acme-run-1.json", "{}"),
        ("staging/messages.2016-06-01.acme.0.parquet", "PAR1"),
    ] {
        fs_err::create_dir_all(own.join(name).parent().unwrap()).unwrap();
        fs_err::write(own.join(name), content).unwrap();
    }
    (world, simulator)
}

#[test]
fn a_lake_with_one_lock_for_all_accounts_is_continued() {
    let (world, simulator) = lake_with_one_lock();
    let own = world.lake_folder().join("_kefu");
    let kefu = |arguments: &[&str], code: i32| -> Value {
        let output = world.kefu(&simulator, &[arguments, &["--output", "json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    // The old retention mark applies to every account. Files in the old staging folder may belong
    // to another machine.
    let kinds = |verified: Value| -> Vec<String> {
        let findings = verified["findings"].as_array().unwrap().iter();
        findings.map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(kefu(&["verify"], 0)), ["staging"]);
    let run = kefu(&["run", "--from", "2016-05-30", "--to", "2016-06-02", "--force"], 0);
    assert_eq!(run["fetch"]["pruned"], json!(["2016-05-30", "2016-05-31"]), "{run}");
    for file in ["pruned.json", "runs/20160602T000000Z-acme-run-1.json"] {
        assert!(own.join(file).is_file(), "{file}");
    }
    // The note of a killed run in the lock file is cleared, so the next run has nothing to sync.
    assert_eq!(fs_err::read_to_string(own.join("lock")).unwrap(), "");

    // The first prune writes the account's own retention mark.
    kefu(&["prune", "--before", "2016-06-02", "--yes"], 0);
    fs_err::remove_file(own.join("pruned.json")).unwrap();
    let mark = fs_err::read_to_string(own.join("accounts/acme/pruned.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&mark).unwrap(),
        json!({ "messages": "2016-06-02", "rejects": "2016-06-02" })
    );

    // A run of an earlier version locks the whole lake, so commands of this version fail.
    let lock = fs_err::OpenOptions::new().write(true).open(own.join("lock")).unwrap();
    lock.file().lock().unwrap();
    let failure = kefu(&["run", "--date", "2016-06-02"], 75)["failure"].take();
    assert!(failure["reason"].as_str().unwrap().starts_with("the lake is locked"), "{failure}");
    kefu(&["verify"], 75);
    drop(lock);
    kefu(&["run", "--date", "2016-06-02"], 0);
}

#[test]
fn messages_without_a_rejects_hash_are_matched_by_the_number_of_rejects() {
    let (world, simulator) = lake_with_one_lock();
    let run = || -> Value {
        let arguments = ["run", "--date", "2016-06-02", "--output", "json"];
        serde_json::from_slice(&world.kefu(&simulator, &arguments).stdout).unwrap()
    };
    assert_eq!(run()["fetch"]["fetched"], json!([]));
    let more = world.path("rejects", "2016-06-01");
    let (rows, footer) = open(&more);
    let twice = concat_batches(&rows.schema(), [&rows, &rows]).unwrap();
    let footer = footer.into_iter().map(|(key, value)| match key.as_str() {
        "kefu.rows" => (key, "2".to_owned()),
        "kefu.content_hash" => (key, ContentHash::of(&twice).unwrap().to_string()),
        _ => (key, value),
    });
    write(&more, Table::Rejects, &twice, footer.collect());
    assert_eq!(run()["fetch"]["fetched"][0]["date"], "2016-06-01");
    let (_, footer) = open(&world.path("messages", "2016-06-01"));
    assert!(footer.contains_key("kefu.rejects_hash"));
    assert_eq!(run()["fetch"]["fetched"], json!([]));
}
