//! The files of the lake, read by a reader other than kefu's.

use parquet::basic::{Compression, Encoding};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::world::{DAY, MIDNIGHT, World, record, recorded};

#[test]
fn a_large_day_has_sorted_compressed_row_groups_with_statistics() {
    let world = World::new();
    world.fetch(
        recorded(
            (0..130_000).map(|number| record(MIDNIGHT + number / 2, &format!("text {number}"))),
        ),
        &[],
        &[DAY],
    );
    let reader = SerializedFileReader::new(
        fs_err::File::open(world.path("messages", DAY)).unwrap().into_parts().0,
    )
    .unwrap();
    let groups = reader.metadata().row_groups();
    assert_eq!(
        groups.iter().map(|group| group.num_rows()).collect::<Vec<_>>(),
        [122_880, 130_000 - 122_880]
    );
    for group in groups {
        assert_eq!(
            group
                .sorting_columns()
                .unwrap()
                .iter()
                .map(|sorting| sorting.column_idx)
                .collect::<Vec<_>>(),
            [5, 6]
        );
        for column in group.columns() {
            assert!(matches!(column.compression(), Compression::ZSTD(_)));
            assert!(
                column.statistics().is_some_and(|statistics| statistics.min_bytes_opt().is_some()),
                "{}",
                column.column_path()
            );
            assert!(
                column.column_index_offset().is_some() && column.offset_index_offset().is_some()
            );
            assert_eq!(
                column.bloom_filter_offset().is_some(),
                column.column_path().string() == "openid"
            );
            assert_eq!(
                column.encodings().any(|encoding| encoding == Encoding::DELTA_BINARY_PACKED),
                ["sent_at", "seq"].contains(&column.column_path().string().as_str())
            );
        }
    }
    let entries = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let value = |key: &str| {
        entries
            .iter()
            .find(|entry| entry.key == key)
            .and_then(|entry| entry.value.clone())
            .unwrap_or_default()
    };
    assert_eq!(value("kefu.rows"), "130000");
    assert_eq!(value("kefu.timezone"), "Asia/Shanghai");
    assert_eq!(value("kefu.window_start"), MIDNIGHT.to_string());
    assert_eq!(value("kefu.content_hash").len(), 64);
}

#[test]
fn a_table_folder_has_only_parquet_files() {
    let world = World::new();
    world.fetch(recorded([record(MIDNIGHT, "x")]), &[], &[DAY]);
    assert_eq!(world.table_files(), [world.path("messages", DAY)]);
}

/// `kefu verify` reports a file of the same version with other bytes as damaged. If kefu or a
/// library encodes files differently, raise the version first. Then update these hashes.
#[test]
fn one_version_of_kefu_always_writes_the_same_bytes() {
    let world = World::new();
    let generated = crate::world::generated("2024-05-13", 1, 500, 1);
    let simulator = world.simulate(generated, world.options(&[]));
    assert!(world.kefu(&simulator, &["run", "--date", "2024-05-13"]).status.success());
    let hashes = ["messages", "response_pairs", "sessions"].map(|table| {
        let bytes = fs_err::read(world.path(table, "2024-05-13")).unwrap();
        format!("{table} {}", blake3::hash(&bytes).to_hex())
    });
    insta::assert_snapshot!(format!("kefu {}\n{}", env!("CARGO_PKG_VERSION"), hashes.join("\n")));
}
