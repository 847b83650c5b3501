//! The columns of files. Each file of a table has all columns, in the order of the table. DuckDB
//! takes the schema of the first file that it reads, and Polars refuses a file with another schema.
//! Only files of older versions of kefu lack the last columns.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::{Footer, Table, entry};
use crate::model::column::FIRST_VERSION;

/// Returns the columns that a file with the columns `there` should have, with the types of
/// `schema`. Later columns are included only if the file has them.
pub(super) fn of_file(table: Table, schema: &SchemaRef, there: &Schema) -> SchemaRef {
    let is_there = |field: &&FieldRef| {
        table.column(field.name()).is_none_or(|column| !column.is_later())
            || there.field_with_name(field.name()).is_ok()
    };
    Arc::new(Schema::new(schema.fields().iter().filter(is_there).cloned().collect::<Vec<_>>()))
}

/// Returns the schema version of a file with the columns `there`. If two versions have the same
/// columns, the footer decides.
pub(super) fn version(table: Table, there: &Schema, footer: &Footer) -> &'static str {
    let is_first = match table.later_columns().first() {
        Some(later) => there.field_with_name(later.name()).is_err(),
        None => footer.get(entry::SCHEMA_VERSION) == Some(FIRST_VERSION),
    };
    if is_first { FIRST_VERSION } else { table.schema_version() }
}
