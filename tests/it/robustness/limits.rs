//! Limits of the process: threads, open files, memory and core dumps.

use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use kefu::simulator::{APPID, SECRET};

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::world::{DAY, World, records};

/// A user without other processes, so that a limit on processes counts only kefu's own threads.
const USER: &str = "54321";

fn open_to_all(path: &Path) {
    fs_err::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
}

/// Copies kefu to a place where another user can run it.
fn copied(world: &World) -> PathBuf {
    let program = world.folder.path().join("kefu");
    fs_err::copy(env!("CARGO_BIN_EXE_kefu"), &program).unwrap();
    open_to_all(&program);
    open_to_all(world.folder.path());
    program
}

#[test]
fn without_enough_threads_a_run_names_the_limit_and_never_hangs() {
    let world = World::new();
    let records = crate::world::generated("2024-05-13", 3, 50, 1);
    let simulator = world.simulate(records, world.options(&[]));
    let program = copied(&world);
    let mut codes = Vec::new();
    for threads in [1, 2, 3, 5, 8, 11, 14, 17, 20, 24, 28, 32, 64] {
        let output = Command::new("timeout")
            .args(["--signal=KILL", "120", "setpriv", "--reuid", USER, "--regid", USER])
            .args(["--clear-groups", "prlimit", &format!("--nproc={threads}")])
            .arg(&program)
            .args(["run", "--from", "2024-05-13", "--to", "2024-05-15", "--force"])
            .current_dir(world.folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("KEFU_LAKE", world.lake_folder())
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("KEFU_APPID", APPID)
            .env("KEFU_SECRET", SECRET)
            .output()
            .unwrap();
        let code = output.status.code().unwrap_or(-1);
        let stderr = String::from_utf8_lossy(&output.stderr);
        match code {
            0 => {}
            73 => assert!(stderr.contains("ulimit -u"), "{threads}: {stderr}"),
            other => panic!("{threads} processes: exit code {other}: {stderr}"),
        }
        codes.push(code);
    }
    assert_eq!((codes.first(), codes.last()), (Some(&73), Some(&0)), "{codes:?}");
    assert!(codes.is_sorted_by(|fewer, more| fewer >= more), "{codes:?}");
}

/// Runs kefu with a limit that `prlimit` sets.
fn limited(world: &World, limit: &str, arguments: &[&str]) -> Output {
    Command::new("prlimit")
        .args([limit, env!("CARGO_BIN_EXE_kefu")])
        .args(arguments)
        .args(["--threads", "2"])
        .current_dir(world.folder.path())
        .env_clear()
        .env("KEFU_LAKE", world.lake_folder())
        .output()
        .unwrap()
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn without_enough_open_files_a_command_names_the_limit_and_reports_no_damage() {
    let world = World::new();
    world.fetch(records(3), &[], &[DAY]);
    let messages = world.bytes(DAY);
    fs_err::write(world.folder.path().join("kefu.toml"), "").unwrap();
    for command in ["metrics", "verify", "status", "prune --all"] {
        let mut codes = Vec::new();
        for files in (4..40).step_by(2) {
            let output = limited(&world, &format!("--nofile={files}"), &words(command));
            let told = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            match code {
                Some(0) => {}
                Some(73) => assert!(told.contains("ulimit -n"), "{command}, {files}: {told}"),
                // The loader cannot open the program itself.
                Some(127) => assert!(told.contains("open"), "{command}, {files}: {told}"),
                _ => panic!("{command}, {files} files: {output:?}"),
            }
            codes.push(code);
        }
        assert_eq!(codes.last(), Some(&Some(0)), "{command}: {codes:?}");
    }
    assert!(world.bytes(DAY) == messages);
}

#[test]
fn a_process_may_open_as_many_files_as_its_hard_limit_says() {
    let world = World::new();
    world.fetch(records(3), &[], &[DAY]);
    for account in 0..100 {
        let folder = world.lake_folder().join(format!("_kefu/accounts/account{account}"));
        fs_err::create_dir(&folder).unwrap();
        fs_err::write(folder.join("lock"), "").unwrap();
    }
    for command in ["verify", "prune --all --yes"] {
        let output = limited(&world, "--nofile=50:1000", &words(command));
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command}: {told}");
    }
}

#[test]
fn a_process_leaves_no_core_dump() {
    let world = World::new();
    let mut simulator =
        world.command(&["simulate", "--days", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut hello = String::new();
    BufReader::new(simulator.stdout.take().unwrap()).read_line(&mut hello).unwrap();
    let limits = fs_err::read_to_string(format!("/proc/{}/limits", simulator.id())).unwrap();
    simulator.kill().unwrap();
    simulator.wait().unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

/// Replaces each text of a day's messages by one text of `bytes` bytes, which Parquet stores once.
fn plant(path: &Path, bytes: usize) {
    let file = fs_err::File::open(path).unwrap().into_parts().0;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let footer = reader.metadata().file_metadata().key_value_metadata().cloned();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_page_size_limit(bytes * 2)
        .set_key_value_metadata(footer)
        .build();
    let file = fs_err::File::create(path).unwrap().into_parts().0;
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).unwrap();
    let long = "x".repeat(bytes);
    for batch in batches {
        // Writes row by row, because the texts of a batch do not fit into one array.
        for row in 0..batch.num_rows() {
            let mut columns: Vec<ArrayRef> =
                batch.columns().iter().map(|column| column.slice(row, 1)).collect();
            columns[4] = Arc::new(StringArray::from(vec![long.as_str()]));
            writer.write(&RecordBatch::try_new(schema.clone(), columns).unwrap()).unwrap();
        }
    }
    writer.close().unwrap();
}

#[test]
fn a_small_file_that_claims_gigabytes_is_damage_and_takes_no_memory() {
    let world = World::new();
    world.fetch(records(3_000), &[], &[DAY]);
    let path = world.path("messages", DAY);
    plant(&path, 4 << 20);
    assert!(fs_err::metadata(&path).unwrap().len() < 1 << 20);
    fs_err::write(world.folder.path().join("kefu.toml"), "[[metrics.auto_reply]]\nprefix = 'y'\n")
        .unwrap();
    for (arguments, expected) in [(["verify"].as_slice(), 65), (&["metrics"], 73)] {
        let output = limited(&world, &format!("--as={}", 3u64 << 30), arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_file_with_a_hole_that_claims_a_long_footer_is_damage_and_takes_no_memory() {
    let world = World::new();
    world.fetch(records(3), &[], &[DAY]);
    let path = world.path("messages", DAY);
    let mut file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(3 << 30)).unwrap();
    file.write_all(&[&0x7fff_fff0u32.to_le_bytes()[..], b"PAR1"].concat()).unwrap();
    drop(file);
    for (arguments, expected) in [("verify", 65), ("metrics", 73), ("status", 0)] {
        let output = limited(&world, &format!("--as={}", 2u64 << 30), &[arguments]);
        let told = String::from_utf8_lossy(&output.stderr);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {told}");
        let is_named = format!("{told}{shown}").contains("a footer of 2147483632 bytes");
        assert!(is_named || arguments == "status", "{arguments:?}: {told}{shown}");
    }
}

#[test]
fn without_enough_open_files_a_run_names_the_limit_and_not_an_outage() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    let mut codes = Vec::new();
    for files in (5..45).step_by(2) {
        let mut run = Command::new("prlimit");
        run.args([&format!("--nofile={files}"), env!("CARGO_BIN_EXE_kefu"), "run", "--force"])
            .args(["--date", DAY, "--threads", "2"])
            .current_dir(world.folder.path())
            .env_clear()
            .envs([("KEFU_APPID", APPID), ("KEFU_SECRET", SECRET), ("KEFU_ACCOUNT", "acme")])
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("KEFU_LAKE", world.lake_folder());
        let output = run.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {}
            Some(73) => assert!(told.contains("ulimit -n"), "{files}: {told}"),
            // The loader cannot open the program itself.
            Some(127) => assert!(told.contains("open"), "{files}: {told}"),
            other => panic!("{files} files: {other:?}: {told}"),
        }
        codes.push(output.status.code());
    }
    assert!(codes.contains(&Some(73)) && codes.last() == Some(&Some(0)), "{codes:?}");
}
