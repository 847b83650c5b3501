//! The outputs of a run for operators: a run record in the history, and figures for Prometheus.

mod history;
mod replace;
mod textfile;

pub use history::{History, RunRecord};
pub use replace::replace;
pub use textfile::{TextfileError, write_textfile};
