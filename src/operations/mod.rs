//! What a run leaves for its operators: a record in the history of runs, and figures for Prometheus.

mod history;
mod replace;
mod textfile;

pub use history::{History, RunRecord};
pub use replace::replace;
pub use textfile::{TextfileError, write_textfile};
