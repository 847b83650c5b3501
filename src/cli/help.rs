//! The help of each command: its own options first, then the options of all commands that matter
//! for it, two examples, and where to read more.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};

use super::Cli;

/// Heading of the options that all commands have.
pub(super) const HEADING: &str = "Options for all commands";

/// What the help of a command has besides its own options.
struct Help {
    command: &'static str,
    /// The options of all commands that matter for it, by their names in [`super::GlobalArgs`].
    matters: &'static [&'static str],
    /// What they do, and the command lines.
    examples: [(&'static str, &'static str); 2],
    /// A page of the documentation.
    page: &'static str,
}

const OF_A_RUN: &[&str] = &["lake", "account", "timezone", "config", "output", "log_format"];
const OF_READERS: &[&str] = &["lake", "account", "config", "output"];

const HELP: &[Help] = &[
    Help {
        command: "init",
        matters: &["lake", "timezone", "account", "config"],
        examples: [
            ("Answer questions", "kefu init"),
            (
                "Without questions",
                "kefu init --appid wx0123456789abcdef --account shop --secret-stdin < secret",
            ),
        ],
        page: "docs/guide/your-account.md",
    },
    Help {
        command: "run",
        matters: OF_A_RUN,
        examples: [
            ("Every night", "kefu run"),
            ("Fetch what is missing of a month", "kefu run --from 2024-05-01 --to 2024-05-31"),
        ],
        page: "docs/guide/back-fill.md",
    },
    Help {
        command: "fetch",
        matters: OF_A_RUN,
        examples: [
            ("Only the messages of the last week", "kefu fetch --last 7"),
            ("A day again", "kefu fetch --date yesterday --force"),
        ],
        page: "docs/guide/back-fill.md",
    },
    Help {
        command: "metrics",
        matters: &["lake", "account", "timezone", "config", "threads", "output"],
        examples: [
            ("After a change of the rules in kefu.toml", "kefu metrics"),
            ("Only days since the start of May", "kefu metrics --from 2024-05-01"),
        ],
        page: "docs/design/incremental-rebuild.md",
    },
    Help {
        command: "demo",
        matters: &["lake", "output"],
        examples: [
            ("Into data/demo", "kefu demo"),
            ("Somewhere else", "kefu demo --lake /tmp/demo"),
        ],
        page: "docs/guide/first-run.md",
    },
    Help {
        command: "status",
        matters: OF_READERS,
        examples: [
            ("Every day in the lake", "kefu status"),
            ("The last two weeks", "kefu status --last 14"),
        ],
        page: "docs/guide/back-fill.md",
    },
    Help {
        command: "accounts",
        matters: &["account", "config", "output"],
        examples: [
            ("Every account", "kefu accounts"),
            ("Which of 8 shards each one is in", "kefu accounts --shards 8"),
        ],
        page: "docs/guide/several-accounts.md",
    },
    Help {
        command: "doctor",
        matters: &["account", "lake", "config", "base_url", "output"],
        examples: [
            ("Before the first run, and when one fails", "kefu doctor"),
            ("How WeChat cuts windows and pages", "kefu doctor --probe --date yesterday"),
        ],
        page: "docs/reference/troubleshooting.md",
    },
    Help {
        command: "prune",
        matters: &["lake", "config", "output"],
        examples: [
            ("List what would be deleted", "kefu prune --keep-days 180"),
            ("Delete it", "kefu prune --keep-days 180 --yes"),
        ],
        page: "docs/guide/personal-data.md",
    },
    Help {
        command: "redact",
        matters: OF_READERS,
        examples: [
            ("List what would be removed", "kefu redact"),
            ("Remove it", "kefu redact --yes"),
        ],
        page: "docs/guide/personal-data.md",
    },
    Help {
        command: "forget",
        matters: OF_READERS,
        examples: [
            ("List what would be removed", "kefu forget --openid oKf0Nst7Ch5PGrzDA4XGb72cAAAL"),
            ("One openid a line", "kefu forget --openid-file names.txt --yes"),
        ],
        page: "docs/guide/personal-data.md",
    },
    Help {
        command: "verify",
        matters: &["lake", "account", "config", "threads", "output"],
        examples: [
            ("The whole lake", "kefu verify"),
            ("Against what WeChat gives today", "kefu verify --against-api --last 3"),
        ],
        page: "docs/reference/verify.md",
    },
    Help {
        command: "report",
        matters: OF_READERS,
        examples: [
            ("The last 7 final days, in Chinese", "kefu report --lang zh"),
            ("A month for Excel", "kefu report --from 2024-05-01 --to 2024-05-31 --out may.xlsx"),
        ],
        page: "docs/guide/report.md",
    },
    Help {
        command: "sql",
        matters: &["lake", "account", "config"],
        examples: [
            ("Keep the views in a file", "kefu sql > views.sql"),
            ("Of another lake", "kefu sql --lake data/demo"),
        ],
        page: "docs/guide/cookbook.md",
    },
    Help {
        command: "simulate",
        matters: &["log_level"],
        examples: [
            ("A week of generated conversations", "kefu simulate --port 8765"),
            ("A first call that fails", "kefu simulate --fault errcode:45011@1x1"),
        ],
        page: "docs/reference/commands.md",
    },
    Help {
        command: "completions",
        matters: &[],
        examples: [
            ("For zsh", "kefu completions zsh > ~/.zfunc/_kefu"),
            ("For fish", "kefu completions fish > ~/.config/fish/completions/kefu.fish"),
        ],
        page: "docs/reference/commands.md",
    },
    Help {
        command: "man",
        matters: &[],
        examples: [
            ("Read it", "kefu man run | man -l -"),
            ("Keep it", "kefu man > ~/.local/share/man/man1/kefu.1"),
        ],
        page: "docs/reference/commands.md",
    },
];

/// The command line with the complete help.
pub fn command() -> clap::Command {
    let mut kefu = Cli::command();
    // This adds the options of all commands to each command.
    kefu.build();
    for command in kefu.get_subcommands_mut() {
        if let Some(help) = HELP.iter().find(|help| help.command == command.get_name()) {
            *command = help.added_to(std::mem::take(command));
        }
    }
    kefu
}

/// Reads a command line.
///
/// # Errors
/// When it is wrong, and for `--help` and `--version`.
pub fn parse(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches_from(words)?)
}

impl Help {
    fn added_to(&self, command: clap::Command) -> clap::Command {
        let mut more = String::from("Examples:\n");
        for (what, line) in self.examples {
            more.push_str(&format!("  # {what}\n  {line}\n"));
        }
        more.push_str(&format!("\nMore: {}, and `kefu --help` for all options", self.page));
        let is_hidden = |argument: &clap::Arg| {
            argument.get_help_heading() == Some(HEADING)
                && !self.matters.contains(&argument.get_id().as_str())
        };
        let hide = |argument: clap::Arg| {
            let hidden = is_hidden(&argument);
            argument.hide(hidden)
        };
        command.mut_args(hide).after_help(more)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_command_has_examples_that_can_be_read_and_a_page_that_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (all, built) = (Cli::command(), command());
        for named in all.get_subcommands().map(clap::Command::get_name) {
            let help = HELP.iter().find(|help| help.command == named).unwrap();
            assert!(root.join(help.page).is_file(), "{}", help.page);
            for (_, line) in help.examples {
                let words = line.split(['|', '<', '>']).next().unwrap().split_whitespace();
                assert!(words.clone().nth(1) == Some(named), "{line}");
                parse(words).unwrap();
            }
            let known = built.find_subcommand(named).unwrap();
            for option in help.matters {
                let option = known.get_arguments().find(|known| known.get_id() == option);
                assert!(!option.unwrap().is_hide_set(), "{named}");
            }
        }
    }

    #[test]
    fn hidden_options_are_still_options() {
        let cli = parse(["kefu", "status", "--base-url", "http://127.0.0.1:1"]).unwrap();
        assert_eq!(cli.global.base_url.as_deref(), Some("http://127.0.0.1:1"));
        let cli = parse(["kefu", "--lake", "x", "run", "--last", "3"]).unwrap();
        assert_eq!(cli.global.lake.as_deref(), Some(Path::new("x")));
    }
}
