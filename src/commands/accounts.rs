//! `kefu accounts`

use comfy_table::{Table as TextTable, presets};
use serde::Serialize;

use crate::cli::{AccountsArgs, GlobalArgs, OutputFormat};
use crate::failure::{ErrorKind, Failure};
use crate::model::Shard;
use crate::settings::{self, Flags, Settings};
use crate::telemetry;

/// JSON output, part of kefu's contract.
#[derive(Debug, Serialize)]
struct Listed {
    command: &'static str,
    /// Number of shards, if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<u32>,
    accounts: Vec<ListedAccount>,
}

#[derive(Debug, Serialize)]
struct ListedAccount {
    account: String,
    /// None for an account with a token alone.
    appid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<u32>,
}

pub(super) fn execute(
    global: &GlobalArgs,
    args: &AccountsArgs,
) -> Result<Option<ErrorKind>, Failure> {
    let flags = Flags { shard: args.shard, ..global.flags() };
    let settings = Settings::resolve(&flags, &settings::environment)?;
    let shards = args.shard.map(|shard| shard.count()).or(args.shards);
    let listed = |settings: Settings| -> Result<ListedAccount, Failure> {
        let account = settings.account()?.to_string();
        let appid = settings.app_id()?.map(|appid| appid.to_string());
        let shard = shards.map(|count| Shard::index_of(&account, count));
        Ok(ListedAccount { account, appid, shard })
    };
    let accounts = settings.each_account().map(listed).collect::<Result<Vec<_>, _>>()?;
    let listed = Listed { command: "accounts", shards, accounts };
    telemetry::print_result(&match global.output {
        OutputFormat::Json => serde_json::json!(listed).to_string(),
        OutputFormat::Table => listed.render(),
    })?;
    Ok(None)
}

impl Listed {
    fn render(&self) -> String {
        let mut table = TextTable::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let columns = ["account", "app id", "shard"];
        let shown = if self.shards.is_some() { 3 } else { 2 };
        table.set_header(columns.into_iter().take(shown));
        for ListedAccount { account, appid, shard } in &self.accounts {
            let appid = appid.as_deref().unwrap_or("–").to_owned();
            let shard = shard.zip(self.shards).map(|(index, count)| format!("{index}/{count}"));
            table.add_row([account.clone(), appid].into_iter().chain(shard));
        }
        table.to_string()
    }
}
