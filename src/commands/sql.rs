//! `kefu sql`

use std::path::Path;

use super::settings_for_lake;
use crate::cli::{Dialect, GlobalArgs, SqlArgs};
use crate::failure::{ErrorKind, Failure};
use crate::lake::{Addressing, BucketOptions, Table};
use crate::model::privacy::WorkerNames;
use crate::model::record::Direction;
use crate::settings::SettingsError;
use crate::telemetry;

/// Views and macros that use the views of the tables.
const DUCKDB: &str = include_str!("views.sql");

/// The same for Spark, as views.
const SPARK: &str = include_str!("views.spark.sql");

pub(super) fn execute(global: &GlobalArgs, args: &SqlArgs) -> Result<Option<ErrorKind>, Failure> {
    let settings = settings_for_lake(global, "sql")?;
    let lake = settings.open_lake()?;
    lake.require_folder()?;
    let settings = settings.in_zone_of(&lake)?;
    lake.require_zone(settings.zone.value.name())?;
    if let Err(misread) = lake.require_place() {
        let text = format!("{misread}: all tables get an extra column");
        telemetry::print_plain_warning(&text, None);
    }
    // The files are found when the view is used, possibly from another working directory.
    let root = match lake.is_in_folder() {
        true => std::path::absolute(lake.root()).unwrap_or_else(|_| lake.root().to_owned()),
        false => lake.root().to_owned(),
    };
    let zone = literal(settings.zone.value.name());
    let accounts = match global.account.as_slice() {
        [] => Vec::new(),
        _ => settings
            .each_account()
            .map(|settings| Ok(literal(settings.account()?.as_str())))
            .collect::<Result<Vec<_>, SettingsError>>()?,
    };
    let mut script = match args.dialect {
        Dialect::Duckdb => format!(
            "-- Views over a kefu lake, for DuckDB.\nSET TimeZone = {zone};\n\n{}",
            settings.bucket().map(secret).unwrap_or_default()
        ),
        Dialect::Spark => {
            format!("-- Views over a kefu lake, for Spark SQL.\nSET TIME ZONE {zone};\n\n")
        }
    };
    let names = settings.worker_names;
    for table in Table::ALL {
        let files = lake.has_files(table)?.then(|| root.join(table.name()));
        script.push_str(&match args.dialect {
            Dialect::Duckdb => duckdb_view(table, files.as_deref(), &accounts, names),
            Dialect::Spark => spark_view(table, files.as_deref(), &accounts, names),
        });
    }
    script.push('\n');
    let codes = |direction: Direction| {
        direction.opercodes().map(|code| code.to_string()).collect::<Vec<_>>().join(", ")
    };
    let views = if args.dialect == Dialect::Duckdb { DUCKDB } else { SPARK };
    let views = views
        .replace("{received}", &codes(Direction::In))
        .replace("{sent}", &codes(Direction::Out))
        .replace("{zone}", &zone);
    script.push_str(&views);
    telemetry::print_result(script.trim_end())?;
    Ok(None)
}

/// Whether a view must not show names of workers, because the settings drop them.
fn without_names(table: Table, names: WorkerNames) -> bool {
    table == Table::Workers && names == WorkerNames::Drop
}

/// Selects some accounts. Empty for all of them.
fn of_accounts(accounts: &[String]) -> String {
    match accounts {
        [] => String::new(),
        accounts => format!(" WHERE f.account IN ({})", accounts.join(", ")),
    }
}

fn duckdb_view(
    table: Table,
    folder: Option<&Path>,
    accounts: &[String],
    names: WorkerNames,
) -> String {
    let schema = table.schema();
    let Some(folder) = folder else {
        // A table without files is empty, not an error. A lake without rejects has no file of
        // `rejects`.
        let columns = schema
            .fields()
            .iter()
            .map(|field| format!("NULL::{} AS {}", duckdb_type(field.data_type()), field.name()));
        let columns: Vec<String> = columns.chain(["NULL::DATE AS date".to_owned()]).collect();
        return format!(
            "CREATE OR REPLACE VIEW {table} AS SELECT {} WHERE false;\n",
            columns.join(", ")
        );
    };
    let files =
        literal(&format!("{}/*/*.parquet", without_wildcards(&folder.display().to_string())));
    // The macros need these columns. Files of older versions of kefu lack them, either some of the
    // files or all of them.
    let later = table.later_columns().into_iter().map(|field| {
        let (kind, name) = (duckdb_type(field.data_type()), field.name());
        format!(" UNION ALL BY NAME SELECT NULL::{kind} AS {name} WHERE false")
    });
    let later: String = later.collect();
    let wanted = of_accounts(accounts);
    // Older lists have the names until `kefu redact` removes them.
    let columns = match without_names(table, names) {
        true => "f.* REPLACE (NULL::VARCHAR AS nick)",
        false => "f.*",
    };
    format!(
        "CREATE OR REPLACE VIEW {table} AS SELECT {columns} FROM read_parquet({files}, \
         hive_partitioning = true, union_by_name = true) AS f{wanted}{later};\n"
    )
}

/// Spark's own view of the files has the types that they have, and the view above it the accounts.
fn spark_view(
    table: Table,
    folder: Option<&Path>,
    accounts: &[String],
    names: WorkerNames,
) -> String {
    let view = format!("CREATE OR REPLACE TEMPORARY VIEW {table}");
    let Some(folder) = folder else {
        let columns = table
            .schema()
            .fields()
            .iter()
            .map(|field| {
                format!("CAST(NULL AS {}) AS {}", spark_type(field.data_type()), field.name())
            })
            .chain(["CAST(NULL AS DATE) AS date".to_owned()])
            .collect::<Vec<_>>();
        return format!("{view} AS SELECT {} WHERE false;\n", columns.join(", "));
    };
    // Spark's name of the file system of a bucket.
    let folder = folder.display().to_string();
    let folder = match folder.strip_prefix("s3://") {
        Some(rest) => format!("s3a://{rest}"),
        None => folder,
    };
    // Spark takes backslashes for escapes.
    let path = literal(&folder.replace('\\', "\\\\"));
    let columns = match without_names(table, names) {
        true => "f.account, f.worker, f.kf_id, CAST(NULL AS STRING) AS nick, f.date",
        false => "f.*",
    };
    format!(
        "{view}_files USING parquet OPTIONS (path {path}, mergeSchema 'true');\n{view} AS SELECT \
         {columns} FROM {table}_files AS f{};\n",
        of_accounts(accounts)
    )
}

/// How DuckDB gets at a bucket: with the credentials of the environment in which it runs.
fn secret(options: &BucketOptions) -> String {
    let mut fields = vec![
        "TYPE s3".to_owned(),
        "PROVIDER credential_chain".to_owned(),
        format!("SCOPE {}", literal(&options.url())),
        format!("REGION {}", literal(&options.region)),
    ];
    if options.endpoint.is_some() {
        let style = if options.addressing == Addressing::Path { "path" } else { "vhost" };
        fields.push(format!("ENDPOINT {}", literal(&options.host())));
        fields.push(format!("URL_STYLE {}", literal(style)));
    }
    if options.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
        fields.push("USE_SSL false".to_owned());
    }
    format!(
        "INSTALL httpfs;\nLOAD httpfs;\nINSTALL aws;\nLOAD aws;\nCREATE OR REPLACE SECRET \
         kefu_lake ({});\n\n",
        fields.join(", ")
    )
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Escapes wildcards in a path for DuckDB.
fn without_wildcards(path: &str) -> String {
    path.chars()
        .map(|character| {
            if "*?[".contains(character) { format!("[{character}]") } else { character.to_string() }
        })
        .collect()
}

fn duckdb_type(data_type: &arrow::datatypes::DataType) -> &'static str {
    use arrow::datatypes::DataType;
    match data_type {
        DataType::Utf8 => "VARCHAR",
        DataType::Boolean => "BOOLEAN",
        DataType::Int32 => "INTEGER",
        DataType::Float64 => "DOUBLE",
        DataType::Timestamp(..) => "TIMESTAMPTZ",
        _ => "BIGINT",
    }
}

fn spark_type(data_type: &arrow::datatypes::DataType) -> &'static str {
    match duckdb_type(data_type) {
        "VARCHAR" => "STRING",
        "INTEGER" => "INT",
        "TIMESTAMPTZ" => "TIMESTAMP",
        other => other,
    }
}
