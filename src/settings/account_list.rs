//! Accounts from a file or from the output of a program: one JSON object a line, with the fields of
//! one of `[[accounts]]`.

use std::path::PathBuf;

use serde_json::error::Category;

use super::file::{AccountTable, render};
use super::sources::Sources;
use super::{Origin, SettingsError};
use crate::plain_file;
use crate::secret;
use crate::wechat::{UserCommand, Why};

/// Maximum length of the list in bytes. An entry has some 150 bytes.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// A list of accounts, unparsed.
struct List {
    /// The list, as errors name it.
    place: String,
    bytes: Vec<u8>,
}

/// An account of a list, and the number of its line.
pub(super) struct ListedAccount {
    pub(super) table: AccountTable,
    pub(super) place: String,
    pub(super) line: usize,
}

impl Sources<'_> {
    /// The accounts of `accounts_file` or `accounts_command`. None without these settings.
    pub(super) fn listed_accounts(&self) -> Result<Option<Vec<ListedAccount>>, SettingsError> {
        let values = &self.file.values;
        let (key, list) = match (&values.accounts_file, &values.accounts_command) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                let reason = "the file has `accounts_command`, too; keep one of them".to_owned();
                return Err(self.wrong("accounts_file", reason));
            }
            (Some(path), None) => ("accounts_file", self.read_list(path)?),
            (None, Some(command)) => ("accounts_command", self.run_list(command)?),
        };
        if !values.accounts.is_empty() {
            let reason = "the file has `[[accounts]]`, too; move them into the list".to_owned();
            return Err(self.wrong(key, reason));
        }
        let accounts = list.parse()?;
        if accounts.is_empty() {
            return Err(self.wrong(key, "the list has no account".to_owned()));
        }
        Ok(Some(accounts))
    }

    fn read_list(&self, path: &PathBuf) -> Result<List, SettingsError> {
        secret::suspect(&path.to_string_lossy());
        let path = self.folder().join(path);
        let bytes = plain_file::read_named(&path).map_err(|source| {
            SettingsError::UnreadableFile { origin: self.in_file("accounts_file"), source }
        })?;
        Ok(List { place: path.display().to_string(), bytes })
    }

    fn run_list(&self, command: &UserCommand) -> Result<List, SettingsError> {
        secret::suspect(&command.program().to_string_lossy());
        let command = command.clone().beside(self.folder());
        // The settings are read before the work begins, so there is no runtime yet.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let printed = runtime
            .map_err(Why::CannotRun)
            .and_then(|runtime| runtime.block_on(command.output(LIST_BYTES_MAX)));
        let bytes = printed.map_err(|why| SettingsError::AccountsCommand {
            origin: self.in_file("accounts_command"),
            program: command.program().to_owned(),
            why: why.to_string(),
            is_transient: why.is_transient(),
        })?;
        Ok(List { place: "the output of `accounts_command`".to_owned(), bytes })
    }
}

impl List {
    fn parse(&self) -> Result<Vec<ListedAccount>, SettingsError> {
        let mut accounts = Vec::new();
        for (line, bytes) in (1..).zip(self.bytes.split(|byte| *byte == b'\n')) {
            let bytes = bytes.trim_ascii();
            if bytes.is_empty() {
                continue;
            }
            let table = parse_line(bytes).map_err(|reason| SettingsError::Wrong {
                origin: Origin::Line { place: self.place.clone(), line, key: None },
                reason,
            })?;
            accounts.push(ListedAccount { table, place: self.place.clone(), line });
        }
        Ok(accounts)
    }
}

/// Parses an account. The reason never quotes a value, which may be a secret.
fn parse_line(bytes: &[u8]) -> Result<AccountTable, String> {
    // An array would be taken for the fields in their order.
    if !bytes.starts_with(b"{") {
        return Err("it is not a JSON object".to_owned());
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let names_a_field = |message: &&str| {
            ["unknown field", "duplicate field", "write a command"]
                .iter()
                .any(|start| message.starts_with(start))
        };
        match error.classify() {
            Category::Data => match Some(message).filter(names_a_field) {
                Some(message) => render(message),
                None => format!("the value that ends in column {} is not a string", error.column()),
            },
            _ => format!("it is not JSON (column {})", error.column()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_line_and_shows_no_value() {
        for (line, reason) in [
            (
                r#"{"name":"shop","secret":"hunter2"}"#,
                "unknown field `secret`: did you mean `secret_env`?",
            ),
            (r#"{"name":"shop","name":"hunter2"}"#, "duplicate field `name`"),
            (
                r#"{"name":"shop","access_token_command":"give hunter2"}"#,
                "write a command as a list of strings",
            ),
            (
                r#"{"name":"shop","secret_env":75872}"#,
                "the value that ends in column 33 is not a string",
            ),
            (r#"{"name":"shop","secret_env":["hunter2"]}"#, "is not a string"),
            (r#"{"name":"shop","secret_env":"hunter2"#, "it is not JSON (column 36)"),
            (r#"{"name":"shop"} hunter2"#, "it is not JSON"),
            (r#"["shop","hunter2"]"#, "it is not a JSON object"),
            (r#""hunter2""#, "it is not a JSON object"),
            ("name = 'hunter2'", "it is not a JSON object"),
        ] {
            let list = List { place: "list".into(), bytes: format!("\n{line}\n").into_bytes() };
            let told = list.parse().err().unwrap().to_string();
            assert!(told.starts_with("line 2 of list is wrong: "), "{told}");
            assert!(told.contains(reason), "{line}: {told}");
            assert!(!told.contains("hunter2") && !told.contains("75872"), "{line}: {told}");
        }
    }
}
