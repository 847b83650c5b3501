//! Tests of `kefu verify`. They damage a good lake in one way after another and expect exactly that
//! finding.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::{Field, Int64Type, Schema, TimestampMicrosecondType};
use kefu::lake::{ContentHash, Table};
use kefu::metrics::{Parameters, Rules};
use kefu::pipeline::{VerifyJob, verify as verify_lake};
use kefu::simulator::{Generated, GeneratorOptions, Options, Records, Simulator};
use kefu::telemetry::Progress;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{
    KeyValue, ParquetMetaDataReader, ParquetMetaDataWriter, SortingColumn,
};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnPath;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

use crate::world::{DAY, MIDNIGHT, OTHER_APPID, World, record, recorded, records};

const DAYS: [&str; 3] = ["2024-05-13", "2024-05-14", "2024-05-15"];
const SECOND: i64 = 1_000_000;

fn generated(seed: u64) -> Generated {
    Generated::new(GeneratorOptions {
        first_day: DAYS[0].parse().unwrap(),
        days: 3,
        messages_per_day: 400,
        seed,
    })
}

/// A lake with three days of one account and their metrics.
fn good_lake() -> World {
    let world = World::new();
    run(&world, generated(1), DAYS[0], DAYS[2]);
    world
}

fn run(world: &World, records: impl Records, first: &str, last: &str) {
    let simulator = world.simulate(records, world.options(&[]));
    let output = world.kefu(&simulator, &["run", "--from", first, "--to", last]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs `kefu verify` without account, credentials and network.
fn verify(world: &World, arguments: &[&str]) -> Output {
    let arguments: Vec<&str> =
        ["verify", "--output", "json"].iter().chain(arguments).copied().collect();
    world.command(&arguments).output().unwrap()
}

fn report(output: &Output) -> Value {
    let stdout = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(
        stdout
            .lines()
            .last()
            .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr))),
    )
    .unwrap()
}

/// Returns the findings of a severity, each as kind and path relative to the lake. Asserts that the
/// exit code agrees with the findings.
#[track_caller]
fn found(world: &World, arguments: &[&str], severity: &str) -> Vec<(String, String)> {
    let output = verify(world, arguments);
    let report = report(&output);
    let findings = report["findings"].as_array().unwrap();
    let is_broken = findings.iter().any(|finding| finding["severity"] == "broken");
    assert_eq!(output.status.code(), Some(if is_broken { 65 } else { 0 }), "{report}");
    let root = format!("{}/", world.lake_folder().display());
    let of_severity = findings.iter().filter(|finding| finding["severity"] == severity);
    of_severity
        .map(|finding| {
            let path = finding["path"].as_str().unwrap().strip_prefix(&root).unwrap();
            assert!(
                !finding["what"].as_str().unwrap().is_empty()
                    && !finding["advice"].as_str().unwrap().is_empty(),
                "{finding}"
            );
            (finding["kind"].as_str().unwrap().to_owned(), path.to_owned())
        })
        .collect()
}

#[track_caller]
fn broken(world: &World) -> Vec<(String, String)> {
    found(world, &[], "broken")
}

fn contents(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    crate::world::files(&world.lake_folder())
        .into_iter()
        .map(|path| (path.clone(), fs_err::read(path).unwrap()))
        .collect()
}

/// Restores the tables of the lake from `contents`.
fn restore(world: &World, contents: &BTreeMap<PathBuf, Vec<u8>>) {
    fs_err::remove_dir_all(world.lake_folder()).unwrap();
    for (path, bytes) in contents {
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }
}

/// A file as read: its rows, the `kefu.` entries of its footer, and the options to write it with.
struct Opened {
    rows: RecordBatch,
    footer: BTreeMap<String, String>,
    is_zstd: bool,
    is_sorted: bool,
    has_filter: bool,
    group_rows: usize,
}

impl Opened {
    fn set(&mut self, key: &str, value: &str) {
        self.footer.insert(key.to_owned(), value.to_owned());
    }

    /// Updates the hash and the number of rows in the footer.
    fn seal(&mut self) {
        let hash = ContentHash::of(&self.rows).unwrap().to_string();
        self.set("content_hash", &hash);
        self.set("rows", &self.rows.num_rows().to_string());
    }

    /// Replaces a column.
    fn replace(&mut self, name: &str, change: impl FnOnce(&ArrayRef) -> ArrayRef) {
        let place = self.rows.schema().index_of(name).unwrap();
        let mut columns = self.rows.columns().to_vec();
        columns[place] = change(&columns[place]);
        self.rows = RecordBatch::try_new(self.rows.schema(), columns).unwrap();
    }

    fn replace_numbers(&mut self, name: &str, change: impl Fn(usize, i64) -> i64) {
        self.replace(name, |column| {
            let numbers = column.as_primitive::<Int64Type>().values().iter().enumerate();
            Arc::new(Int64Array::from_iter_values(
                numbers.map(|(row, number)| change(row, *number)),
            ))
        });
    }

    fn replace_instants(&mut self, name: &str, change: impl Fn(&mut Vec<i64>)) {
        self.replace(name, |column| {
            let mut instants = column.as_primitive::<TimestampMicrosecondType>().values().to_vec();
            change(&mut instants);
            Arc::new(TimestampMicrosecondArray::from(instants).with_timezone("UTC"))
        });
    }
}

/// Rewrites a file with one change. Everything else stays in the format of the lake.
fn rewrite(path: &Path, table: Table, change: impl FnOnce(&mut Opened)) {
    let open = || fs_err::File::open(path).unwrap().into_parts().0;
    let reader = ParquetRecordBatchReaderBuilder::try_new(open()).unwrap();
    let entries = reader.metadata().file_metadata().key_value_metadata().unwrap().iter();
    let footer = entries
        .filter_map(|entry| {
            Some((entry.key.strip_prefix("kefu.")?.to_owned(), entry.value.clone().unwrap()))
        })
        .collect();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let rows = concat_batches(&schema, &batches).unwrap();
    let mut opened = Opened {
        rows,
        footer,
        is_zstd: true,
        is_sorted: true,
        has_filter: true,
        group_rows: 122_880,
    };
    change(&mut opened);
    let schema = opened.rows.schema();
    let sorting = table.sorted_by().into_iter().map(|column| SortingColumn {
        column_idx: schema.index_of(column).unwrap() as i32,
        descending: false,
        nulls_first: false,
    });
    let sorting: Vec<SortingColumn> = sorting.collect();
    let is_looked_up = opened.has_filter && matches!(table, Table::Messages | Table::ResponsePairs);
    let properties = WriterProperties::builder()
        .set_compression(if opened.is_zstd {
            Compression::ZSTD(ZstdLevel::default())
        } else {
            Compression::UNCOMPRESSED
        })
        .set_max_row_group_row_count(Some(opened.group_rows))
        .set_sorting_columns(
            Some(sorting).filter(|columns| opened.is_sorted && !columns.is_empty()),
        )
        .set_column_bloom_filter_enabled(ColumnPath::from("openid"), is_looked_up)
        .set_key_value_metadata(Some(
            opened
                .footer
                .into_iter()
                .map(|(key, value)| KeyValue::new(format!("kefu.{key}"), value))
                .collect(),
        ));
    let mut writer =
        ArrowWriter::try_new(fs_err::File::create(path).unwrap(), schema, Some(properties.build()))
            .unwrap();
    writer.write(&opened.rows).unwrap();
    writer.close().unwrap();
}

fn copy(from: PathBuf, to: PathBuf) {
    fs_err::copy(from, to).unwrap();
}

/// Clears the bloom filter of the openids in a file.
fn empty_filter(path: &Path) {
    let reader =
        SerializedFileReader::new(fs_err::File::open(path).unwrap().into_parts().0).unwrap();
    let column = reader.metadata().row_group(0).column(1);
    let end = (column.bloom_filter_offset().unwrap()
        + i64::from(column.bloom_filter_length().unwrap())) as usize;
    let mut bytes = fs_err::read(path).unwrap();
    bytes[end - 32..end].fill(0);
    fs_err::write(path, bytes).unwrap();
}

/// Changes the statistics of a column in a file's footer, for the first row group.
fn restate(path: &Path, column: usize, change: impl Fn(&Statistics) -> Statistics) {
    let bytes = fs_err::read(path).unwrap();
    let end = bytes.len()
        - 8
        - u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(fs_err::File::open(path).unwrap().file())
        .unwrap();
    let mut metadata = metadata.into_builder();
    let mut groups = metadata.take_row_groups();
    let mut group = groups.remove(0).into_builder();
    let mut columns = group.take_columns();
    let restated = change(columns[column].statistics().unwrap());
    columns[column] =
        columns[column].clone().into_builder().set_statistics(restated).build().unwrap();
    groups.insert(0, group.set_column_metadata(columns).build().unwrap());
    let metadata = metadata.set_row_groups(groups).build();
    let mut bytes = bytes[..end].to_vec();
    ParquetMetaDataWriter::new(&mut bytes, &metadata).finish().unwrap();
    fs_err::write(path, bytes).unwrap();
}

/// Changes the page index: the minimum of the first page of `sent_at` becomes its maximum.
fn restate_page(path: &Path) {
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(fs_err::File::open(path).unwrap().file())
        .unwrap();
    let column = metadata.row_group(0).column(5);
    let Some(Statistics::Int64(instants)) = column.statistics() else { panic!("no statistics") };
    let (first, last) =
        (instants.min_opt().unwrap().to_le_bytes(), instants.max_opt().unwrap().to_le_bytes());
    let index = column.column_index_range().unwrap();
    let mut bytes = fs_err::read(path).unwrap();
    let index = &mut bytes[index.start as usize..index.end as usize];
    let place = index.windows(8).position(|window| window == first).unwrap();
    index[place..place + 8].copy_from_slice(&last);
    fs_err::write(path, bytes).unwrap();
}

type Damage<'a> = Box<dyn Fn() + 'a>;

#[test]
fn a_good_lake_has_no_finding_and_verify_changes_nothing() {
    let world = good_lake();
    let before = contents(&world);
    let output = verify(&world, &[]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!((&report["findings"], &report["accounts"]), (&json!([]), &json!(["acme"])));
    assert_eq!(
        (&report["days"], &report["files"], &report["recomputed"], &report["messages"]),
        (&json!(3), &json!(19), &json!(15), &json!(1200))
    );
    assert!(contents(&world) == before);

    // Any program may write the files, if they have the format of the lake.
    rewrite(&world.path("messages", DAYS[1]), Table::Messages, |_| {});
    rewrite(&world.path("response_pairs", DAYS[1]), Table::ResponsePairs, |_| {});
    assert_eq!(broken(&world), []);

    // Statistics may be less exact than possible, because readers then only skip less.
    restate(&world.path("messages", DAYS[1]), 1, |openids| match openids {
        Statistics::ByteArray(of) => {
            let bounds =
                ValueStatistics::new(Some("".into()), of.max_opt().cloned(), None, Some(0), false);
            Statistics::ByteArray(bounds.with_min_is_exact(false))
        }
        _ => panic!("no texts"),
    });
    assert_eq!(broken(&world), []);
}

#[test]
fn large_empty_unordered_and_rejected_days_have_no_finding() {
    let world = World::new();
    // More rows than a row group has, not in order of time. Some have no text, and one is
    // unreadable.
    let mut lines: Vec<String> = (0..125_000)
        .map(|number| record(MIDNIGHT + (number * 7_919) % 86_400, &format!("text {number}")))
        .collect();
    lines.extend((0..20).map(|number| record(MIDNIGHT + number, "").replace(r#""text":"","#, "")));
    // Statistics have only the beginning of a long text.
    lines.extend(["a", "汉", "\u{10ffff}"].map(|text| record(MIDNIGHT + 5, &text.repeat(300))));
    lines.push(r#"{"openid":"oC1","opercode":2003,"text":"no time","worker":"A@acme"}"#.into());
    run(&world, recorded(lines), "2016-06-01", "2016-06-03");
    assert!(world.has(Table::Rejects, DAY) && world.rows("messages", "2016-06-02").is_empty());
    assert_eq!(broken(&world), []);
}

#[test]
fn a_lake_with_rules_and_a_schedule_has_no_finding() {
    let world = World::new();
    let rules = "[[metrics.auto_reply]]\nprefix = \"您好\"\n[metrics.business_hours]\nmonday = [\"09:00-18:00\"]\ntuesday = [\"21:00-02:00\"]\n";
    fs_err::write(world.folder.path().join("kefu.toml"), rules).unwrap();
    run(&world, generated(1), DAYS[0], DAYS[2]);
    let all = (&json!([]), &json!(15));
    let found_now = report(&verify(&world, &[]));
    assert_eq!((&found_now["findings"], &found_now["recomputed"]), all);
    // Without the settings file, each partition is verified by the rules that it records.
    fs_err::remove_file(world.folder.path().join("kefu.toml")).unwrap();
    let found_now = report(&verify(&world, &[]));
    assert_eq!((&found_now["findings"], &found_now["recomputed"]), all);
    rewrite(&world.path("account_daily", DAYS[1]), Table::AccountDaily, |file| {
        file.replace_numbers("asked_out_of_hours", |_, asked| asked + 1);
        file.seal();
    });
    let expected = ("values".to_owned(), "account_daily/date=2024-05-14/acme.parquet".to_owned());
    assert_eq!(broken(&world), [expected]);
}

#[test]
fn each_kind_of_damage_is_found_and_nothing_else() {
    let world = good_lake();
    let good = contents(&world);
    let day = DAYS[1];
    let path = |table: Table| world.path(table.name(), day);
    let folder = |table: Table| path(table).parent().unwrap().to_owned();
    let of = |table: Table, change: fn(&mut Opened)| -> Damage<'_> {
        Box::new(move || rewrite(&path(table), table, change))
    };
    let messages = "messages/date=2024-05-14/acme.parquet";
    let cases: Vec<(&str, &str, Damage<'_>)> = vec![
        (
            "foreign",
            "messages/date=2024-05-14/.DS_Store",
            Box::new(|| fs_err::write(folder(Table::Messages).join(".DS_Store"), "").unwrap()),
        ),
        (
            "foreign",
            "sessions/date=2024-05-14/a b.parquet",
            Box::new(|| copy(path(Table::Sessions), folder(Table::Sessions).join("a b.parquet"))),
        ),
        (
            "foreign",
            "sessions/date=2024-5-14",
            Box::new(|| {
                fs_err::create_dir(world.lake_folder().join("sessions/date=2024-5-14")).unwrap()
            }),
        ),
        (
            "foreign",
            "sessions/_SUCCESS",
            Box::new(|| fs_err::write(world.lake_folder().join("sessions/_SUCCESS"), "").unwrap()),
        ),
        (
            "unreadable",
            messages,
            Box::new(|| fs_err::write(path(Table::Messages), "garbage").unwrap()),
        ),
        (
            "unreadable",
            "worker_daily/date=2024-05-14/acme.parquet",
            Box::new(|| {
                let bytes = fs_err::read(path(Table::WorkerDaily)).unwrap();
                fs_err::write(path(Table::WorkerDaily), &bytes[..bytes.len() / 2]).unwrap();
            }),
        ),
        (
            "schema",
            messages,
            of(Table::Messages, |file| {
                let schema = file.rows.schema();
                let columns = schema.fields().iter().map(|field| match field.name().as_str() {
                    "worker" => Field::new("agent", field.data_type().clone(), false).into(),
                    _ => field.clone(),
                });
                let schema = Schema::new(columns.collect::<Vec<_>>());
                file.rows =
                    RecordBatch::try_new(schema.into(), file.rows.columns().to_vec()).unwrap();
            }),
        ),
        (
            "schema",
            "worker_hourly/date=2024-05-14/acme.parquet",
            of(Table::WorkerHourly, |file| {
                let fields: Vec<Field> = file
                    .rows
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| Field::new(field.name(), field.data_type().clone(), true))
                    .collect();
                file.rows =
                    RecordBatch::try_new(Schema::new(fields).into(), file.rows.columns().to_vec())
                        .unwrap();
            }),
        ),
        (
            "misplaced",
            "messages/date=2024-05-15/acme.parquet",
            Box::new(|| copy(path(Table::Messages), world.path("messages", DAYS[2]))),
        ),
        (
            "misplaced",
            "messages/date=2024-05-14/other.parquet",
            Box::new(|| copy(path(Table::Messages), folder(Table::Messages).join("other.parquet"))),
        ),
        (
            "schema",
            "worker_daily/date=2024-05-14/acme.parquet",
            Box::new(|| copy(path(Table::AccountDaily), path(Table::WorkerDaily))),
        ),
        ("misplaced", messages, of(Table::Messages, |file| file.set("table", "sessions"))),
        ("footer", messages, of(Table::Messages, |file| file.set("timezone", "UTC"))),
        ("footer", messages, of(Table::Messages, |file| file.set("window_end", "1715702399"))),
        ("footer", messages, of(Table::Messages, |file| file.set("schema_version", "0"))),
        ("footer", messages, of(Table::Messages, |file| drop(file.footer.remove("content_hash")))),
        ("footer", messages, of(Table::Messages, |file| drop(file.footer.remove("rejects")))),
        ("footer", messages, of(Table::Messages, |file| drop(file.footer.remove("date")))),
        (
            "footer",
            "sessions/date=2024-05-14/acme.parquet",
            of(Table::Sessions, |file| drop(file.footer.remove("inputs"))),
        ),
        (
            "footer",
            "sessions/date=2024-05-14/acme.parquet",
            of(Table::Sessions, |file| file.set("final", "true")),
        ),
        (
            "content_hash",
            messages,
            of(Table::Messages, |file| {
                file.replace("text", |texts| {
                    let texts = texts.as_string::<i32>().iter().enumerate();
                    Arc::new(
                        texts
                            .map(|(row, text)| if row == 7 { Some("another") } else { text })
                            .collect::<StringArray>(),
                    )
                });
            }),
        ),
        (
            "content_hash",
            "sessions/date=2024-05-14/acme.parquet",
            of(Table::Sessions, |file| file.replace_numbers("turns", |_, turns| turns + 1)),
        ),
        ("counts", messages, of(Table::Messages, |file| file.set("rows", "399"))),
        ("counts", messages, of(Table::Messages, |file| file.set("messages_sent", "0"))),
        (
            "account",
            messages,
            of(Table::Messages, |file| {
                file.replace("account", |names| {
                    let other: ArrayRef = Arc::new(StringArray::from(vec!["other"]));
                    concat(&[&names.slice(0, names.len() - 1), &other]).unwrap()
                });
                file.seal();
            }),
        ),
        (
            "order",
            messages,
            of(Table::Messages, |file| {
                file.replace_instants("sent_at", |instants| {
                    let last = instants.len() - 1;
                    instants.swap(0, last);
                });
                file.seal();
            }),
        ),
        (
            "order",
            "response_pairs/date=2024-05-14/acme.parquet",
            of(Table::ResponsePairs, |file| {
                let rows = file.rows.num_rows();
                file.rows = concat_batches(
                    &file.rows.schema(),
                    [&file.rows.slice(1, rows - 1), &file.rows.slice(0, 1)],
                )
                .unwrap();
                // Sets other inputs, so that the rows need not equal those of a new computation.
                file.set("inputs", "{}");
                file.seal();
            }),
        ),
        (
            "seq",
            messages,
            of(Table::Messages, |file| {
                file.replace_numbers("seq", |row, seq| if row < 200 { seq } else { seq + 1 });
                file.seal();
            }),
        ),
        (
            "day",
            messages,
            of(Table::Messages, |file| {
                file.replace_instants("sent_at", |instants| {
                    *instants.last_mut().unwrap() = 1_715_702_400 * SECOND
                });
                file.seal();
            }),
        ),
        (
            "day",
            "sessions/date=2024-05-14/acme.parquet",
            of(Table::Sessions, |file| {
                file.replace_instants("started_at", |instants| {
                    instants[0] = 1_715_615_999 * SECOND
                });
                file.seal();
            }),
        ),
        ("encoding", messages, of(Table::Messages, |file| file.is_zstd = false)),
        ("encoding", messages, of(Table::Messages, |file| file.is_sorted = false)),
        ("encoding", messages, of(Table::Messages, |file| file.has_filter = false)),
        ("encoding", messages, of(Table::Messages, |file| file.group_rows = 100)),
        ("encoding", messages, Box::new(|| empty_filter(&path(Table::Messages)))),
        (
            "statistics",
            messages,
            Box::new(|| {
                restate(&path(Table::Messages), 5, |instants| match instants {
                    Statistics::Int64(of) => Statistics::int64(
                        of.min_opt().map(|first| first + SECOND),
                        of.max_opt().copied(),
                        None,
                        Some(0),
                        false,
                    ),
                    _ => panic!("no instants"),
                });
            }),
        ),
        (
            "statistics",
            messages,
            Box::new(|| {
                restate(&path(Table::Messages), 1, |openids| match openids {
                    Statistics::ByteArray(of) => Statistics::byte_array(
                        of.min_opt().cloned(),
                        of.min_opt().cloned(),
                        None,
                        Some(0),
                        false,
                    ),
                    _ => panic!("no texts"),
                });
            }),
        ),
        (
            "statistics",
            messages,
            Box::new(|| {
                restate(&path(Table::Messages), 4, |texts| match texts {
                    Statistics::ByteArray(of) => Statistics::byte_array(
                        of.min_opt().cloned(),
                        of.max_opt().cloned(),
                        None,
                        Some(400),
                        false,
                    ),
                    _ => panic!("no texts"),
                });
            }),
        ),
        (
            "statistics",
            "response_pairs/date=2024-05-14/acme.parquet",
            Box::new(|| {
                restate(&path(Table::ResponsePairs), 14, |flags| match flags {
                    Statistics::Boolean(_) => {
                        Statistics::boolean(Some(true), Some(true), None, Some(0), false)
                    }
                    _ => panic!("no flags"),
                });
            }),
        ),
        ("statistics", messages, Box::new(|| restate_page(&path(Table::Messages)))),
        (
            "values",
            "worker_daily/date=2024-05-14/acme.parquet",
            of(Table::WorkerDaily, |file| {
                file.replace_numbers(
                    "answered",
                    |row, answered| if row == 0 { answered + 1 } else { answered },
                );
                file.seal();
            }),
        ),
        (
            "values",
            "response_pairs/date=2024-05-14/acme.parquet",
            of(Table::ResponsePairs, |file| {
                file.rows = file.rows.slice(0, file.rows.num_rows() - 1);
                file.seal();
            }),
        ),
        (
            // Sets other parameters, so that the values cannot be computed again. The messages are
            // the same.
            "totals",
            "account_daily/date=2024-05-14/acme.parquet",
            of(Table::AccountDaily, |file| {
                file.set("parameters", "{}");
                file.replace_numbers("messages_received", |_, received| received + 1);
                file.seal();
            }),
        ),
    ];
    for (number, (kind, path, damage)) in cases.iter().enumerate() {
        damage();
        assert_eq!(broken(&world), [((*kind).to_owned(), (*path).to_owned())], "case {number}");
        restore(&world, &good);
    }
    assert_eq!(broken(&world), []);
}

#[test]
fn rejects_exist_exactly_when_the_messages_count_them() {
    let world = World::new();
    let no_time = |text: &str| {
        format!(r#"{{"openid":"oC1","opercode":2003,"text":"{text}","worker":"A@acme"}}"#)
    };
    run(
        &world,
        recorded([
            record(MIDNIGHT, "good"),
            no_time("a"),
            no_time("b"),
            record(MIDNIGHT + 86_400, "next"),
        ]),
        "2016-06-01",
        "2016-06-02",
    );
    let good = contents(&world);
    assert_eq!(broken(&world), []);
    let rejects = world.path("rejects", DAY);
    let gone: [Damage<'_>; 2] = [
        Box::new(|| fs_err::remove_file(&rejects).unwrap()),
        Box::new(|| fs_err::remove_file(world.path("messages", DAY)).unwrap()),
    ];
    for damage in gone {
        damage();
        let mut broken = broken(&world);
        // Another test covers metrics whose messages are gone.
        broken.retain(|(kind, _)| kind != "lost_messages");
        assert_eq!(broken, [("rejects".to_owned(), format!("rejects/date={DAY}/acme.parquet"))]);
        restore(&world, &good);
    }
    // A killed run can leave these states. They are no damage, and the next run fetches the day
    // again.
    let half_changed: [(&str, Damage<'_>); 2] = [
        (
            "2016-06-01",
            Box::new(|| {
                rewrite(&rejects, Table::Rejects, |file| {
                    file.rows = file.rows.slice(0, 1);
                    file.seal();
                });
            }),
        ),
        (
            "2016-06-02",
            Box::new(|| {
                let other = world.path("rejects", "2016-06-02");
                fs_err::create_dir_all(other.parent().unwrap()).unwrap();
                fs_err::copy(&rejects, &other).unwrap();
                rewrite(&other, Table::Rejects, |file| {
                    file.set("date", "2016-06-02");
                    file.set("window_start", &(MIDNIGHT + 86_400).to_string());
                    file.set("window_end", &(MIDNIGHT + 2 * 86_400).to_string());
                });
            }),
        ),
    ];
    for (day, damage) in half_changed {
        damage();
        assert_eq!(broken(&world), []);
        let note = ("unfinished".to_owned(), format!("messages/date={day}/acme.parquet"));
        assert_eq!(found(&world, &[], "note"), [note]);
        restore(&world, &good);
    }
}

#[test]
fn missing_and_out_of_date_files_are_notes() {
    let world = World::new();
    run(&world, generated(1), DAYS[0], DAYS[2]);
    run(&world, generated(1), "2024-05-18", "2024-05-18");
    let good = contents(&world);
    let gap = ("missing_days".to_owned(), "messages/date=2024-05-16/acme.parquet".to_owned());
    let notes = |arguments: &[&str]| found(&world, arguments, "note");
    assert_eq!(notes(&[]), std::slice::from_ref(&gap));
    assert_eq!(notes(&["--date", "2024-05-14"]), []);
    assert_eq!(notes(&["--from", "2024-05-16", "--to", "2024-05-16"]), std::slice::from_ref(&gap));

    fs_err::remove_file(world.path("sessions", DAYS[1])).unwrap();
    fs_err::write(world.lake_folder().join("_kefu/accounts/acme/staging/left"), "").unwrap();
    let missing =
        ("missing_metrics".to_owned(), "sessions/date=2024-05-14/acme.parquet".to_owned());
    let left = ("staging".to_owned(), "_kefu/accounts/acme/staging/left".to_owned());
    assert_eq!(notes(&[]), [missing, gap, left]);
    restore(&world, &good);

    fs_err::write(world.folder.path().join("kefu.toml"), "[metrics]\nsession_gap = 60\n").unwrap();
    let found_notes = notes(&[]);
    assert_eq!(
        found_notes.iter().filter(|(kind, _)| kind == "stale").count(),
        4 * 5,
        "{found_notes:?}"
    );
}

/// Returns the days that have metrics, but whose messages are gone. Panics if another finding is
/// broken.
#[track_caller]
fn lost_messages(world: &World, arguments: &[&str]) -> Vec<String> {
    let day = |path: &str| path.split('/').nth(1).unwrap()["date=".len()..].to_owned();
    let broken = found(world, arguments, "broken");
    assert!(broken.iter().all(|(kind, _)| kind == "lost_messages"), "{broken:?}");
    let mut days: Vec<String> = broken.iter().map(|(_, path)| day(path)).collect();
    assert_eq!(days.len() % 5, 0, "all tables of metrics: {broken:?}");
    days.sort();
    days.dedup();
    days
}

#[test]
fn metrics_without_their_messages_are_damage() {
    let world = good_lake();
    let good = contents(&world);
    // Removes the messages of all days.
    fs_err::remove_dir_all(world.lake_folder().join("messages")).unwrap();
    assert_eq!(lost_messages(&world, &[]), DAYS);
    assert_eq!(lost_messages(&world, &["--date", DAYS[1]]), DAYS[1..2]);
    restore(&world, &good);

    // Removes the messages of one day. This also damages the metrics of other days that were
    // computed from them.
    fs_err::remove_file(world.path("messages", DAYS[1])).unwrap();
    assert_eq!(lost_messages(&world, &[]), DAYS);
    assert_eq!(found(&world, &[], "note"), [], "no day was never fetched");
    let shown = String::from_utf8(world.command(&["verify"]).output().unwrap().stdout).unwrap();
    for words in [
        "acme: 2024-05-14 ",
        "all metrics: the messages of the day are missing, but were not pruned",
        "all metrics: messages that it was computed from are missing, but were not pruned: 2024-05-14",
        "run `kefu run --from … --to …` to fetch those days again while WeChat has them",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("remove"), "{shown}");

    // No metrics are computed from fewer messages than before. The summary and the calendar say
    // why.
    let before = contents(&world);
    let run = world.command(&["metrics"]).env("KEFU_ACCOUNT", "acme").output().unwrap();
    let summary = String::from_utf8(run.stdout).unwrap();
    for words in [
        "not computed, because messages cannot be read or are gone: 1 day: 2024-05-14",
        "frozen, because messages that they were made of are gone: 2 days: 2024-05-13, 2024-05-15",
    ] {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    let of_metrics = |contents: BTreeMap<PathBuf, Vec<u8>>| -> BTreeMap<PathBuf, Vec<u8>> {
        contents
            .into_iter()
            .filter(|(path, _)| path.extension().is_some_and(|end| end == "parquet"))
            .collect()
    };
    assert!(of_metrics(contents(&world)) == of_metrics(before));
    let status = world.command(&["status"]).output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(
        status.contains(
            "damaged     2024-05-14 (messages that are damaged or missing: `kefu verify`"
        ),
        "{status}"
    );

    // The run that the hint names repairs the lake.
    self::run(&world, generated(1), DAYS[1], DAYS[1]);
    assert_eq!(found(&world, &[], "broken"), []);
    assert!(of_metrics(contents(&world)) == of_metrics(good));
}

#[test]
fn missing_messages_are_damage_for_one_account_beside_deleted_days_and_with_rejects() {
    let world = good_lake();
    let good = contents(&world);
    let pruned = world.lake_folder().join("_kefu/pruned.json");

    // Messages that `kefu prune` deleted are no damage.
    fs_err::remove_file(world.path("messages", DAYS[0])).unwrap();
    fs_err::write(&pruned, format!("{{\"messages\":\"{}\"}}\n", DAYS[1])).unwrap();
    assert_eq!(lost_messages(&world, &[]), [] as [&str; 0]);
    // Other missing messages next to them are damage.
    fs_err::remove_file(world.path("messages", DAYS[1])).unwrap();
    assert_eq!(lost_messages(&world, &[]), DAYS);
    fs_err::remove_dir_all(world.lake_folder().join("messages")).unwrap();
    assert_eq!(lost_messages(&world, &[]), DAYS);
    fs_err::write(&pruned, "{\"messages\":\"2024-05-16\"}\n").unwrap();
    assert_eq!(lost_messages(&world, &[]), [] as [&str; 0]);
    fs_err::remove_file(&pruned).unwrap();
    restore(&world, &good);

    // Only one of two accounts has lost its messages.
    let simulator = world.simulate(generated(2), world.options(&[]));
    let mut command = world.command(&["run", "--from", DAYS[0], "--to", DAYS[2]]);
    command.envs([
        ("KEFU_BASE_URL", simulator.base_url().as_str()),
        ("KEFU_ACCOUNT", "other"),
        ("KEFU_APPID", OTHER_APPID),
        ("KEFU_SECRET", kefu::simulator::SECRET),
    ]);
    assert!(command.output().unwrap().status.success());
    for day in DAYS {
        fs_err::remove_file(world.path("messages", day)).unwrap();
    }
    let broken = found(&world, &[], "broken");
    assert!(
        broken.len() == 15
            && broken
                .iter()
                .all(|(kind, path)| kind == "lost_messages" && path.ends_with("acme.parquet")),
        "{broken:?}"
    );

    // Only the rejects are left.
    let world = World::new();
    let lines = [record(MIDNIGHT, "good"), record(MIDNIGHT, "bad").replace("\"time\"", "\"tim\"")];
    run(&world, recorded(lines), DAY, DAY);
    for table in
        ["messages", "response_pairs", "sessions", "worker_daily", "worker_hourly", "account_daily"]
    {
        fs_err::remove_dir_all(world.lake_folder().join(table)).unwrap();
    }
    // No file shows that there were messages: the first run of the day may have been killed.
    let rejects = ("unfinished".to_owned(), "rejects/date=2016-06-01/acme.parquet".to_owned());
    assert_eq!(found(&world, &[], "note"), [rejects]);
    let status = world.command(&["status"]).output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("damaged     2016-06-01"), "{status}");
}

#[test]
fn verify_covers_the_named_days_and_all_accounts() {
    let world = good_lake();
    fs_err::write(world.path("sessions", DAYS[0]), "garbage").unwrap();
    assert_eq!(found(&world, &["--from", DAYS[1], "--to", DAYS[2]], "broken"), []);
    assert_eq!(found(&world, &["--date", DAYS[0]], "broken").len(), 1);

    // The messages that a day's metrics were computed from are verified with the day.
    fs_err::write(world.path("messages", DAYS[0]), "garbage").unwrap();
    let expected = ("unreadable".to_owned(), "messages/date=2024-05-13/acme.parquet".to_owned());
    assert_eq!(found(&world, &["--date", DAYS[2]], "broken"), [expected]);

    let other = World::new();
    let simulator = other.simulate(generated(2), other.options(&[]));
    for (account, app) in [("one", kefu::simulator::APPID), ("two", OTHER_APPID)] {
        let mut command = other.command(&["run", "--date", DAYS[0]]);
        command.envs([("KEFU_BASE_URL", simulator.base_url().as_str()), ("KEFU_ACCOUNT", account)]);
        command.envs([("KEFU_APPID", app), ("KEFU_SECRET", kefu::simulator::SECRET)]);
        assert!(command.output().unwrap().status.success());
    }
    let report = report(&verify(&other, &[]));
    assert_eq!((&report["accounts"], &report["broken"]), (&json!(["one", "two"]), &json!(0)));
    fs_err::write(other.path("sessions", DAYS[0]).with_file_name("two.parquet"), "garbage")
        .unwrap();
    assert_eq!(
        broken(&other),
        [("unreadable".to_owned(), "sessions/date=2024-05-13/two.parquet".to_owned())]
    );
    let foreign = other.path("sessions", DAYS[0]).with_file_name("foreign");
    fs_err::write(foreign, "").unwrap();
    assert_eq!(found(&other, &["--account", "one"], "broken"), []);
    assert_eq!(found(&other, &["--account", "two"], "broken").len(), 1);
    assert_eq!(found(&other, &["--account", "one", "--account", "two"], "broken").len(), 1);
    let _lock = other.lake().lock(&kefu::lake::Account::new("two".into()).unwrap()).unwrap();
    assert_eq!(found(&other, &["--account", "one"], "broken"), []);
    let unknown = verify(&other, &["--account", "three"]);
    assert_eq!(unknown.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no account `three`"));
}

#[test]
fn a_lake_that_a_run_is_writing_is_not_verified() {
    let world = good_lake();
    let writing = world.lake().lock(&world.account()).unwrap();
    let output = verify(&world, &[]);
    assert_eq!(output.status.code(), Some(75));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains(&format!("process {}", std::process::id()))
    );
    drop(writing);
    assert_eq!(broken(&world), []);
}

#[test]
fn a_verify_that_is_not_possible_says_why() {
    let world = World::new();
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--with-text"], 2, "--against-api"),
        (&["--from", "2024-05-14", "--to", "2024-05-13"], 2, "is after"),
        (&[], 78, "there is no lake at"),
        (&["--against-api"], 78, "set KEFU_APPID"),
    ];
    for (arguments, code, message) in cases {
        let output = verify(&world, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(message),
            "{arguments:?}: {output:?}"
        );
        assert!(!world.lake_folder().exists());
    }
    let world = good_lake();
    let output = verify(&world, &["--timezone", "UTC"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("use --timezone Asia/Shanghai"));
}

#[test]
fn findings_are_shown_as_a_table() {
    let world = good_lake();
    fs_err::write(world.path("messages", DAYS[2]).with_file_name(".DS_Store"), "").unwrap();
    fs_err::remove_file(world.path("worker_hourly", DAYS[0])).unwrap();
    rewrite(&world.path("sessions", DAYS[1]), Table::Sessions, |file| {
        file.replace_numbers("turns", |_, turns| turns + 1)
    });
    let output = world.command(&["verify"]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    insta::assert_snapshot!(shown.replace(&world.lake_folder().display().to_string(), "data/lake"));
}

#[test]
fn notes_are_grouped_by_days_as_text_and_listed_one_by_one_as_json() {
    let world = good_lake();
    run(&world, generated(1), "2024-05-18", "2024-05-18");
    fs_err::write(world.folder.path().join("kefu.toml"), "[metrics]\nsession_gap = 60\n").unwrap();
    for (table, day) in
        [("sessions", DAYS[0]), ("sessions", DAYS[1]), ("worker_hourly", "2024-05-18")]
    {
        fs_err::remove_file(world.path(table, day)).unwrap();
    }
    let shown = String::from_utf8(world.command(&["verify"]).output().unwrap().stdout).unwrap();
    insta::assert_snapshot!(shown.replace(&world.lake_folder().display().to_string(), "data/lake"));
    assert_eq!(found(&world, &[], "note").len(), 4 * 5 + 1);
}

fn compare(world: &World, simulator: &Simulator, arguments: &[&str]) -> Output {
    let arguments: Vec<&str> =
        ["verify", "--against-api"].iter().chain(arguments).copied().collect();
    world.kefu(simulator, &arguments)
}

#[test]
fn a_lake_with_the_same_records_as_the_api_is_equal() {
    let world = World::new();
    run(&world, records(25_000), "2016-06-01", "2016-06-02");
    let before = contents(&world);
    let simulator = world.simulate(records(25_000), world.options(&[]));
    let output = compare(
        &world,
        &simulator,
        &["--from", "2016-06-01", "--to", "2016-06-02", "--output", "json"],
    );
    let compared = report(&output);
    assert_eq!((output.status.code(), &compared["equal"]), (Some(0), &json!(true)), "{compared}");
    assert_eq!(
        (&compared["days"][0]["lake_records"], &compared["days"][0]["api_records"]),
        (&json!(25_000), &json!(25_000))
    );
    assert!(contents(&world) == before);
}

#[test]
fn added_and_missing_records_are_shown_and_the_lake_does_not_change() {
    let world = World::new();
    // Three equal records. One is removed later. One record whose text changes, and one
    // that stays.
    let alike = || record(MIDNIGHT, "[image]");
    run(
        &world,
        recorded([
            alike(),
            alike(),
            alike(),
            record(MIDNIGHT + 1, "before"),
            record(MIDNIGHT + 2, "stays"),
        ]),
        DAY,
        DAY,
    );
    let before = contents(&world);
    let simulator = world.simulate(
        recorded([alike(), alike(), record(MIDNIGHT + 1, "after"), record(MIDNIGHT + 2, "stays")]),
        world.options(&[]),
    );
    let output = compare(&world, &simulator, &["--date", DAY, "--output", "json"]);
    let compared = report(&output);
    assert_eq!((output.status.code(), &compared["equal"]), (Some(3), &json!(false)));
    let day = &compared["days"][0];
    assert_eq!((&day["added"], &day["gone"]), (&json!(1), &json!(2)));
    let of = |time: i64| json!({ "sent_at": time, "openid": "oC1", "worker": "A@acme", "opercode": 2003 });
    assert_eq!(
        (&day["added_records"], &day["gone_records"]),
        (&json!([of(MIDNIGHT + 1)]), &json!([of(MIDNIGHT), of(MIDNIGHT + 1)]))
    );

    let shown = |arguments: &[&str]| {
        String::from_utf8(compare(&world, &simulator, arguments).stdout).unwrap()
    };
    let without = shown(&["--date", DAY]);
    assert!(!without.contains("before") && !without.contains("after"), "{without}");
    let with = shown(&["--from", DAY, "--to", "2016-06-02", "--with-text"]);
    insta::assert_snapshot!(with.replace(&world.lake_folder().display().to_string(), "data/lake"));
    assert!(contents(&world) == before);
}

#[test]
fn records_after_an_assumed_last_page_are_found() {
    let world = World::new();
    let capped = || Options { page_cap: Some(7), ..world.options(&[]) };
    // The lake has only the first page of such an API, because `kefu run` takes it for the last
    // one.
    let simulator = world.simulate(records(25), capped());
    assert!(world.kefu(&simulator, &["fetch", "--date", DAY]).status.success());
    assert_eq!(world.texts(DAY).len(), 7);
    let before = contents(&world);
    let output = compare(&world, &simulator, &["--date", DAY]);
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(65), "{shown}");
    assert!(
        shown.contains("acme, 2016-06-01: not compared")
            && shown.contains("a page of 7 records (10000 requested) was not the last")
            && shown.contains("kefu doctor --probe --date"),
        "{shown}"
    );
    assert!(contents(&world) == before);

    // With a cap that `kefu run` notices, lake and API do not differ.
    let world = World::new();
    let capped = Options { page_cap: Some(50), ..world.options(&[]) };
    let round = world.simulate(records(130), capped);
    assert!(world.kefu(&round, &["fetch", "--date", DAY]).status.success());
    let output = compare(&world, &round, &["--date", DAY]);
    assert_eq!((output.status.code(), world.texts(DAY).len()), (Some(0), 130));

    // No request after the last page has msgid 0.
    let msgids: Vec<i64> =
        simulator.requests().iter().filter_map(|request| request.body["msgid"].as_i64()).collect();
    assert_eq!(msgids.len(), 3);
    assert!(msgids.iter().all(|msgid| *msgid > 0), "{msgids:?}");
}

#[test]
fn a_path_that_is_not_utf_8_is_no_reason_to_panic() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    run(&world, records(3), DAY, DAY);
    let planted = std::ffi::OsStr::from_bytes(b"odd\xff.parquet");
    let lake = world.folder.path().join(std::ffi::OsStr::from_bytes(b"lake\xff"));
    fs_err::rename(world.lake_folder(), &lake).unwrap();
    fs_err::write(lake.join("messages").join(planted), "x").unwrap();
    let mut command = world.command(&["verify", "--output", "json", "--lake"]);
    let output = command.arg(&lake).output().unwrap();
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
    let path = verified["findings"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("lake\u{fffd}/messages/odd\u{fffd}.parquet"), "{path}");
}

#[test]
fn an_api_error_ends_the_comparison_with_its_own_exit_code() {
    let world = World::new();
    run(&world, records(3), DAY, DAY);
    let simulator = world.simulate(records(3), world.options(&["errcode:48001"]));
    let output = compare(&world, &simulator, &["--date", DAY]);
    assert_eq!(output.status.code(), Some(77));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("acme, 2016-06-01: not compared"),
        "{output:?}"
    );
    let simulator = world.simulate(records(3), world.options(&[]));
    assert_eq!(compare(&world, &simulator, &["--date", "2999-01-01"]).status.code(), Some(2));
}

/// Any changed byte can give readers wrong data, even where kefu's own reader does not look. `kefu
/// verify` must find it and must not crash.
#[test]
fn any_changed_byte_is_found() {
    let world = good_lake();
    let files: Vec<PathBuf> = world
        .table_files()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(DAYS[1]))
        .collect();
    let parameters = Parameters::in_zone(world.zone.name());
    // With a settings file and without one.
    let rules = [Rules::Given(parameters.clone()), Rules::Defaults(parameters)];
    let jobs = rules.map(|rules| VerifyJob {
        lake: world.lake(),
        zone: world.zone.clone(),
        rules,
        today: "2027-01-15".parse().unwrap(),
        accounts: None,
        shard: None,
    });
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    let mutations: usize = std::env::var("KEFU_MUTATIONS")
        .ok()
        .and_then(|mutations| mutations.parse().ok())
        .unwrap_or(150);
    for number in 0..mutations {
        let path = &files[number / 2 % files.len()];
        let good = fs_err::read(path).unwrap();
        let mut bytes = good.clone();
        // The footer gets half of the changes, because readers rely on it most.
        let place = if rng.random_bool(0.5) {
            rng.random_range(0..good.len())
        } else {
            rng.random_range(good.len() - 2_000..good.len())
        };
        bytes[place] ^= rng.random_range(1..=255u8);
        // A file of another version may have other bytes. So changes at the version of its writer
        // are skipped.
        let writer = good.windows(13).rposition(|window| window == b"kefu version ").unwrap();
        if (writer - 2..writer + 60).contains(&place) {
            continue;
        }
        fs_err::write(path, &bytes).unwrap();
        let found = verify_lake(
            &jobs[number % 2],
            None,
            &Progress::begin("verify", 0),
            &Default::default(),
        )
        .unwrap();
        // Only the footers say what metrics were computed from. A change there makes the metrics
        // out of date, and they are computed again.
        let is_found = !found.findings.is_empty();
        let around =
            String::from_utf8_lossy(&good[place.saturating_sub(30)..good.len().min(place + 30)])
                .into_owned();
        assert!(
            is_found,
            "byte {place} of {} in {}: {:#x}, near {around:?}",
            good.len(),
            path.display(),
            bytes[place]
        );
        fs_err::write(path, good).unwrap();
    }
}
