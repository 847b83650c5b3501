//! Files outside the lake that a command writes: figures for Prometheus, and reports.

mod replace;
mod textfile;

pub use replace::replace;
pub use textfile::{TextfileError, has_something_else, write_textfile};
