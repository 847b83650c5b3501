//! The columns of files. Each file of a table has all of them, in the table's order: DuckDB takes the
//! schema of the first file it meets, and Polars refuses a file that differs. Only files of older
//! versions of kefu lack the last ones.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::{Footer, Table};
use crate::model::column::FIRST_VERSION;

/// The columns of a table as a file with the columns `there` should have them, with the types of
/// `schema`.
pub(super) fn of_file(table: Table, schema: &SchemaRef, there: &Schema) -> SchemaRef {
    let is_there = |field: &&FieldRef| {
        table.column(field.name()).is_none_or(|column| !column.is_later())
            || there.field_with_name(field.name()).is_ok()
    };
    Arc::new(Schema::new(schema.fields().iter().filter(is_there).cloned().collect::<Vec<_>>()))
}

/// The version of a file with these columns. The footer says which one it is where versions have
/// the same columns.
pub(super) fn version(table: Table, there: &Schema, footer: &Footer) -> &'static str {
    let is_first = match table.later_columns().first() {
        Some(later) => there.field_with_name(later.name()).is_err(),
        None => footer.get("schema_version") == Some(FIRST_VERSION),
    };
    if is_first { FIRST_VERSION } else { table.schema_version() }
}
