//! The tables of the lake, one row each.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::column::{self, Column, FIRST_VERSION};

/// The definition of a table.
struct Definition {
    /// The name of the table and of its folder.
    name: &'static str,
    /// Version of the schema. Increase it when the columns or their meaning change. Increase it
    /// also when readers refuse older files together with new ones.
    ///
    /// Version 2 adds `asked_seq` and `started_seq`. It also removes from the footer the order of
    /// floats that parquet 60 wrote, because old readers do not know it.
    version: &'static str,
    /// Groups of columns, in order.
    columns: &'static [&'static [Column]],
}

/// Generates the enum, the lists of its variants and their definitions from the rows below. Tables
/// are listed in this order everywhere.
macro_rules! tables {
    (
        first { $($first:ident: $first_row:expr;)* }
        metrics { $($metric:ident: $metric_row:expr;)* }
        last { $($last:ident: $last_row:expr;)* }
    ) => {
        /// A table: one folder of the lake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Table {
            $($first,)* $($metric,)* $($last,)*
        }

        impl Table {
            pub const ALL: [Self; [$(Self::$first,)* $(Self::$metric,)* $(Self::$last,)*].len()] =
                [$(Self::$first,)* $(Self::$metric,)* $(Self::$last,)*];

            /// The tables that are computed from [`Table::Messages`].
            pub const METRICS: [Self; [$(Self::$metric,)*].len()] = [$(Self::$metric,)*];

            fn definition(self) -> &'static Definition {
                match self {
                    $(Self::$first => &$first_row,)*
                    $(Self::$metric => &$metric_row,)*
                    $(Self::$last => &$last_row,)*
                }
            }

            /// The columns in the table's files. `date` is in the name of the folder instead.
            pub fn schema(self) -> SchemaRef {
                match self {
                    $(Self::$first => schema!($first),)*
                    $(Self::$metric => schema!($metric),)*
                    $(Self::$last => schema!($last),)*
                }
            }
        }
    };
}

/// Creates the schema of a table once.
macro_rules! schema {
    ($table:ident) => {{
        static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(Table::$table.columns()));
        SCHEMA.clone()
    }};
}

tables! {
    first {
        Messages: Definition {
            name: "messages",
            version: FIRST_VERSION,
            columns: &[column::MESSAGES],
        };
    }
    metrics {
        ResponsePairs: Definition {
            name: "response_pairs",
            version: "2",
            columns: &[column::RESPONSE_PAIRS],
        };
        Sessions: Definition { name: "sessions", version: "2", columns: &[column::SESSIONS] };
        WorkerDaily: Definition {
            name: "worker_daily",
            version: "2",
            columns: &[column::OF_WORKER, column::ACTIVITY],
        };
        WorkerHourly: Definition {
            name: "worker_hourly",
            version: "2",
            columns: &[column::OF_WORKER, column::HOURLY],
        };
        AccountDaily: Definition {
            name: "account_daily",
            version: "2",
            columns: &[column::OF_ACCOUNT, column::ACTIVITY, column::ACCOUNT_ACTIVITY],
        };
    }
    last {
        Rejects: Definition {
            name: "rejects",
            version: FIRST_VERSION,
            columns: &[column::REJECTS],
        };
        Workers: Definition {
            name: "workers",
            version: FIRST_VERSION,
            columns: &[column::WORKERS],
        };
    }
}

impl Table {
    /// The tables whose partitions hold what happened on their day. A partition of
    /// [`Table::Workers`] is what a run saw on its day.
    pub fn of_days() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|table| *table != Self::Workers)
    }

    /// The name of the table and of its folder.
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// The version of the table's columns and of their meaning.
    pub fn schema_version(self) -> &'static str {
        self.definition().version
    }

    pub fn columns(self) -> impl Iterator<Item = &'static Column> + Clone {
        self.definition().columns.iter().copied().flatten()
    }

    pub fn column(self, name: &str) -> Option<&'static Column> {
        self.columns().find(|column| column.name == name)
    }

    /// The names of the columns for which `is_wanted` returns true.
    pub fn names(self, is_wanted: impl Fn(&Column) -> bool) -> Vec<&'static str> {
        self.columns().filter(|column| is_wanted(column)).map(|column| column.name).collect()
    }

    /// The columns that files of older versions of kefu lack.
    pub fn later_columns(self) -> Vec<FieldRef> {
        self.columns()
            .filter(|column| column.is_later())
            .map(|later| later.field().into())
            .collect()
    }

    /// The columns by which a file's rows are sorted, ascending. Empty for a table without an
    /// order.
    pub fn sorted_by(self) -> Vec<&'static str> {
        let places = self.columns().filter_map(|column| Some((column.sort_place?, column.name)));
        let mut places: Vec<(u8, &'static str)> = places.collect();
        places.sort_unstable();
        places.into_iter().map(|(_, name)| name).collect()
    }

    /// The column whose instants lie in the partition's day. None for a table without one.
    pub fn dated_by(self) -> Option<&'static str> {
        self.columns().find(|column| column.is_date).map(|column| column.name)
    }

    /// Whether this is a metric table whose rows name customers.
    pub fn names_customers(self) -> bool {
        Self::METRICS.contains(&self) && self.column("openid").is_some()
    }

    /// The metric tables whose rows name customers.
    pub fn with_openids() -> impl Iterator<Item = Self> {
        Self::METRICS.into_iter().filter(|table| table.names_customers())
    }

    /// The tables that have personal data: openids, records as the API gave them, or names of
    /// workers.
    pub fn with_personal_data() -> impl Iterator<Item = Self> {
        let is_personal = |table: &Self| {
            ["openid", "raw", "nick"].iter().any(|name| table.column(name).is_some())
        };
        Self::ALL.into_iter().filter(is_personal)
    }

    /// Whether the table's rows depend on business hours.
    pub fn needs_hours(self) -> bool {
        self.columns().any(|column| column.needs_hours)
    }
}

pub(super) fn schema_of<'a>(columns: impl Iterator<Item = &'a Column>) -> SchemaRef {
    Arc::new(Schema::new(columns.map(Column::field).collect::<Vec<_>>()))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_newer_files_have_comes_last_and_may_be_null() {
        for table in Table::ALL {
            assert!(table.columns().is_sorted_by_key(|column| column.is_later()), "{table}");
            assert!(table.later_columns().iter().all(|field| field.is_nullable()), "{table}");
        }
    }

    #[test]
    fn names_of_columns_differ() {
        for table in Table::ALL {
            let mut names = table.names(|_| true);
            names.sort_unstable();
            assert!(names.is_sorted_by(|name, next| name < next), "{table}: {names:?}");
        }
    }

    #[test]
    fn rows_are_sorted_and_dated_as_the_contract_says() {
        let facts = |table: Table| (table.sorted_by().join(", "), table.dated_by());
        let said = |keys: &str, date: Option<&'static str>| (keys.to_owned(), date);
        assert_eq!(facts(Table::Messages), said("sent_at, seq", Some("sent_at")));
        assert_eq!(facts(Table::ResponsePairs), said("asked_at, openid", Some("asked_at")));
        assert_eq!(facts(Table::Sessions), said("started_at, openid", Some("started_at")));
        assert_eq!(facts(Table::WorkerDaily), said("worker", None));
        assert_eq!(facts(Table::WorkerHourly), said("worker, hour", None));
        assert_eq!(facts(Table::AccountDaily), said("", None));
        assert_eq!(facts(Table::Rejects), said("", None));
        assert_eq!(facts(Table::Workers), said("worker", None));
        assert_eq!(
            Table::with_openids().collect::<Vec<_>>(),
            [Table::ResponsePairs, Table::Sessions]
        );
    }
}
