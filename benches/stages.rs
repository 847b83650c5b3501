//! Benchmarks of single stages, to locate a regression: decode one page, write one page, compute
//! the metrics of one day. Run them with `cargo bench --bench stages`.

use std::hint::black_box;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use divan::Bencher;
use divan::counter::ItemsCount;
use kefu::calendar::{Day, DayRange, Span, Zone};
use kefu::fetch::decode;
use kefu::lake::{Account, Lake, Table};
use kefu::metrics::{self, HistoryBuilder, MetricsError, Parameters};
use kefu::model::cancel::Cancel;
use kefu::pipeline;
use kefu::simulator::{Generated, GeneratorOptions, Records};

const PAGE: u32 = 10_000;

/// Returns a day of one page: the day, its span, and the page in the format of the API.
fn page() -> (Day, Span, Vec<u8>) {
    let day: Day = "2024-05-13"
        .parse()
        .unwrap_or_else(|_| Day::from_number(0).unwrap_or_else(|| unreachable!()));
    let span = Span {
        start: i64::from(day.number()) * 86_400 - 8 * 3_600,
        end: i64::from(day.number() + 1) * 86_400 - 8 * 3_600,
    };
    let records = Generated::new(GeneratorOptions {
        first_day: day,
        days: 1,
        messages_per_day: PAGE,
        seed: 1,
    });
    let page = records.page(span.start, span.end, 1, PAGE as usize);
    let head = b"{\"recordlist\":[".to_vec();
    let tail = format!("],\"number\":{},\"msgid\":{}}}", page.number, page.msgid).into_bytes();
    (day, span, [head, page.records, tail].concat())
}

fn records(body: &[u8], span: Span) -> RecordBatch {
    decode(body, span)
        .map(|page| page.records)
        .unwrap_or_else(|error| unreachable!("a generated page can be read: {error}"))
}

fn main() {
    divan::main();
}

#[divan::bench]
fn decode_page(bencher: Bencher) {
    let (_, span, body) = page();
    bencher.counter(ItemsCount::new(PAGE)).bench(|| records(black_box(&body), span));
}

#[divan::bench]
fn encode_and_commit_page(bencher: Bencher) {
    let workplace = Workplace::new("encode");
    let (day, span, body) = page();
    let batch = records(&body, span);
    bencher.counter(ItemsCount::new(PAGE)).bench_local(|| workplace.commit(day, span, &batch));
}

/// Computes every metric from messages that were committed and read again.
#[divan::bench]
fn every_metric_of_a_page(bencher: Bencher) {
    let workplace = Workplace::new("metrics");
    let (day, span, body) = page();
    workplace.commit(day, span, &records(&body, span));
    let parameters = Parameters::in_zone(workplace.zone.name());
    let columns = metrics::columns(&parameters);
    let read: Vec<RecordBatch> = workplace
        .lake
        .read(&workplace.account.partition(Table::Messages, day), &columns)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .collect();
    let targets = pipeline::targets(
        &workplace.zone,
        &DayRange { first: day, last: day }.days().collect(),
        &[day],
    );
    let cancel = Cancel::default();
    bencher.counter(ItemsCount::new(PAGE)).bench(|| {
        let history = HistoryBuilder::new(&workplace.zone, &parameters);
        let mut first_row = 0;
        for batch in &read {
            history.add(day, first_row, batch)?;
            first_row += batch.num_rows();
        }
        let history = history.finish(&cancel)?;
        let (zone, emit) = (&workplace.zone, |computed| {
            drop(black_box(computed));
            Ok::<_, MetricsError>(())
        });
        metrics::compute_in_groups(&history, "bench", zone, &targets, &parameters, &cancel, emit)
    });
}

/// A lake in the folder for temporary files, where leftover files do no harm.
struct Workplace {
    folder: PathBuf,
    lake: Lake,
    zone: Zone,
    account: Account,
}

impl Workplace {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("kefu-bench-{name}-{}", std::process::id()));
        let zone =
            Zone::named("Asia/Shanghai").unwrap_or_else(|_| unreachable!("a zone of the database"));
        let account = Account::new("bench".into()).unwrap_or_else(|_| unreachable!("a plain name"));
        Self { lake: Lake::at(&folder), folder, zone, account }
    }

    fn commit(&self, day: Day, span: Span, batch: &RecordBatch) {
        let _lock = self.lake.lock(&self.account);
        let stage = || {
            let mut staged =
                self.lake.stage_messages(&self.account, day, self.zone.name(), span)?;
            staged.append(batch)?;
            staged.finish(0, None)?.commit()
        };
        stage().unwrap_or_else(|error| {
            unreachable!("the folder for temporary files can be written: {error}")
        });
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.folder);
    }
}
