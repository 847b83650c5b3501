//! Tests of the metrics: their values, when they are rebuilt, and the report that shows them.

mod chat;
mod oracle;
mod own_days;
mod properties;
mod report;
mod rules;
mod staleness;
mod worked_cases;
