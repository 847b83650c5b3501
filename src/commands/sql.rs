//! `kefu sql`

use super::settings_for_lake;
use crate::cli::GlobalArgs;
use crate::failure::{ErrorKind, Failure};
use crate::lake::{Addressing, BucketOptions, Table};
use crate::model::record::Direction;
use crate::settings::SettingsError;
use crate::telemetry;

/// Views and macros that use the views of the tables.
const VIEWS: &str = include_str!("views.sql");

pub(super) fn execute(global: &GlobalArgs) -> Result<Option<ErrorKind>, Failure> {
    let settings = settings_for_lake(global, "sql")?;
    let lake = settings.open_lake()?;
    lake.require_folder()?;
    let settings = settings.in_zone_of(&lake)?;
    lake.require_zone(settings.zone.value.name())?;
    if let Err(misread) = lake.require_place() {
        let text = format!("{misread}: all tables get an extra column");
        telemetry::print_plain_warning(&text, None);
    }
    // DuckDB finds the files when the view is used, possibly from another working directory.
    let root = match lake.is_in_folder() {
        true => std::path::absolute(lake.root()).unwrap_or_else(|_| lake.root().to_owned()),
        false => lake.root().to_owned(),
    };
    let zone = literal(settings.zone.value.name());
    let wanted = match global.account.as_slice() {
        [] => String::new(),
        _ => {
            let accounts =
                settings.each_account().map(|settings| Ok(literal(settings.account()?.as_str())));
            format!(
                " WHERE f.account IN ({})",
                accounts.collect::<Result<Vec<_>, SettingsError>>()?.join(", ")
            )
        }
    };
    let mut script = format!("-- Views over a kefu lake, for DuckDB.\nSET TimeZone = {zone};\n\n");
    script.extend(settings.bucket().map(secret));
    for table in Table::ALL {
        let files = literal(&format!(
            "{}/*/*.parquet",
            without_wildcards(&root.join(table.name()).display().to_string())
        ));
        let schema = table.schema();
        if lake.has_files(table)? {
            // The macros need these columns. Files of older versions of kefu lack them, either some
            // of the files or all of them.
            let later = table.later_columns().into_iter().map(|field| {
                let (kind, name) = (duckdb_type(field.data_type()), field.name());
                format!(" UNION ALL BY NAME SELECT NULL::{kind} AS {name} WHERE false")
            });
            let later: String = later.collect();
            script.push_str(&format!(
                "CREATE OR REPLACE VIEW {table} AS SELECT f.* FROM read_parquet({files}, hive_partitioning = true, union_by_name = true) AS f{wanted}{later};\n"
            ));
        } else {
            // A table without files is empty, not an error. A lake without rejects has no file of
            // `rejects`.
            let columns = schema.fields().iter().map(|field| {
                format!("NULL::{} AS {}", duckdb_type(field.data_type()), field.name())
            });
            let columns: Vec<String> = columns.chain(["NULL::DATE AS date".to_owned()]).collect();
            script.push_str(&format!(
                "CREATE OR REPLACE VIEW {table} AS SELECT {} WHERE false;\n",
                columns.join(", ")
            ));
        }
    }
    script.push('\n');
    let received: Vec<String> = Direction::In.opercodes().map(|code| code.to_string()).collect();
    script.push_str(&VIEWS.replace("{received}", &received.join(", ")));
    telemetry::print_result(script.trim_end())?;
    Ok(None)
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
        "INSTALL httpfs;\nLOAD httpfs;\nINSTALL aws;\nLOAD aws;\nCREATE OR REPLACE SECRET kefu_lake ({});\n\n",
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
