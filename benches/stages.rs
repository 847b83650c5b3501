//! Where a regression happened: one page decoded, one page written, one day paired. `cargo bench --bench stages`

use std::hint::black_box;
use std::time::Duration;

use arrow::array::RecordBatch;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kefu::calendar::{Day, DayRange, Span, Zone};
use kefu::fetch::decode;
use kefu::lake::{Account, Lake, Table};
use kefu::metrics::{self, HistoryBuilder, Parameters};
use kefu::pipeline;
use kefu::simulator::{Generated, GeneratorOptions, Records};

const PAGE: u32 = 10_000;

/// A day of one page: its span, and the page as the API gives it.
fn page() -> (Day, Span, Vec<u8>) {
    let day: Day = "2024-05-13".parse().unwrap_or_else(|_| Day::from_number(0).unwrap_or_else(|| unreachable!()));
    let span = Span { start: i64::from(day.number()) * 86_400 - 8 * 3_600, end: i64::from(day.number() + 1) * 86_400 - 8 * 3_600 };
    let records = Generated::new(GeneratorOptions { first_day: day, days: 1, messages_per_day: PAGE, seed: 1 });
    let page = records.page(span.start, span.end, 1, PAGE as usize);
    let head = b"{\"recordlist\":[".to_vec();
    let tail = format!("],\"number\":{},\"msgid\":{}}}", page.number, page.msgid).into_bytes();
    (day, span, [head, page.records, tail].concat())
}

fn records(body: &[u8], span: Span) -> RecordBatch {
    decode(body, span).map(|page| page.records).unwrap_or_else(|error| unreachable!("a generated page can be read: {error}"))
}

fn benchmarks(criterion: &mut Criterion) {
    let (day, span, body) = page();
    let batch = records(&body, span);
    let folder = std::env::temp_dir().join(format!("kefu-bench-{}", std::process::id()));
    let lake = Lake::at(&folder);
    let zone = Zone::named("Asia/Shanghai").unwrap_or_else(|_| unreachable!("a zone of the database"));
    let account = Account::new("bench".into()).unwrap_or_else(|_| unreachable!("a plain name"));

    let mut group = criterion.benchmark_group("a page of 10,000 records");
    group.throughput(Throughput::Elements(u64::from(PAGE))).measurement_time(Duration::from_secs(5));
    group.bench_function("decode", |bencher| bencher.iter(|| black_box(records(&body, span))));
    {
        let _lock = lake.hold();
        let stage = || {
            let mut staged = lake.stage_messages(&account, day, zone.name(), span)?;
            staged.append(&batch)?;
            staged.finish(0)?.commit()
        };
        group.bench_function("encode and commit", |bencher| bencher.iter(|| black_box(stage())));
        // What the metrics read is what was committed.
        let parameters = Parameters::in_zone(zone.name());
        let columns = metrics::columns(&parameters);
        let read: Vec<RecordBatch> =
            lake.read(Table::Messages, &account, day, &columns).into_iter().flatten().filter_map(Result::ok).collect();
        let targets = pipeline::targets(&zone, &DayRange { first: day, last: day }.days().collect(), &[day]);
        let pair = || {
            let mut history = HistoryBuilder::new(&zone, &parameters);
            read.iter().try_for_each(|batch| history.append(day, batch))?;
            metrics::compute(&history.finish()?, "bench", &zone, &targets, &parameters)
        };
        group.bench_function("every metric", |bencher| bencher.iter(|| black_box(pair())));
    }
    group.finish();
    // A leftover in the system's folder for temporary files hurts nobody.
    let _ = fs_err::remove_dir_all(&folder);
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
