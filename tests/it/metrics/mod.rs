//! Tests of the metrics: their values, when they are rebuilt, and the report that shows them.

mod chat;
mod days_of_a_run;
mod oracle;
mod properties;
mod rebuilding;
mod report;
mod rules;
mod worked_cases;
