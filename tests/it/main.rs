//! Integration tests of kefu: the WeChat API, the files of the lake, the metrics and the command
//! line.
//!
//! All tests are in one binary. They use loopback only and never sleep.
//!
//! - `api` tests how kefu calls the WeChat API.
//! - `lake` tests the files of the lake.
//! - `metrics` tests the metric tables and the report.
//! - `bucket` tests a lake in a bucket.
//! - `cli` tests the command line.
//! - `robustness` tests crashes, faults and limits.
//! - `layers` tests that a module uses only the modules below it.
//! - `world` has a simulator and a lake for one test.
//! - `log` collects the log events of a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod api;
mod bucket;
mod cli;
mod lake;
mod layers;
mod log;
mod metrics;
mod robustness;
mod world;
