//! Faults that the simulator can inject.

use std::str::FromStr;
use std::time::Duration;

/// A fault, and the calls that it affects. Written as
/// `[account=N/][token/|workers/]KIND[@CALL[xTIMES]]`. For instance, `status:503:retry-after=2@3x2`
/// answers calls 3 and 4 of `getmsglist` with HTTP 503. Without `@`, the fault affects every call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub affected: Affected,
    /// Number of the only account that it affects, counted from 1. None for all accounts.
    pub account: Option<u32>,
    /// First affected call, counted from 1.
    pub first_call: u64,
    pub calls: u64,
}

/// The calls that a fault affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affected {
    /// Calls of `getmsglist`.
    Pages,
    /// Calls for a token: `token/`.
    Token,
    /// Calls of `getkflist`: `workers/`.
    Workers,
}

/// The kind of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `errcode:-1`: an error from WeChat inside HTTP 200.
    ErrorCode(i64),
    /// `status:503` or `status:503:retry-after=2`.
    Status { status: u16, retry_after: Option<Duration> },
    /// `reset`: the connection is closed without an answer.
    Reset,
    /// `cut`: the connection is closed halfway through the body.
    Cut,
    /// `html`: a proxy's HTML page, with status 200.
    Html,
    /// `stuck-cursor`: the page returns the msgid of the request.
    StuckCursor,
    /// `wrong-number`: `number` is one higher than the number of records.
    WrongNumber,
    /// `expire-token`: the token expires just before the call.
    ExpireToken,
}

impl Fault {
    pub(super) fn meets(&self, account: u32, affected: Affected, call: u64) -> bool {
        self.affected == affected
            && self.account.is_none_or(|affected| affected == account)
            && call >= self.first_call
            && call - self.first_call < self.calls
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number =
            |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
        let (account, rest) = match text.strip_prefix("account=") {
            None => (None, text),
            Some(rest) => {
                let (account, rest) = rest.split_once('/').unwrap_or((rest, ""));
                let account = u32::try_from(number(account)?).map_err(|error| error.to_string())?;
                (Some(account), rest)
            }
        };
        let (affected, rest) = match rest.split_once('/') {
            Some(("token", rest)) => (Affected::Token, rest),
            Some(("workers", rest)) => (Affected::Workers, rest),
            _ => (Affected::Pages, rest),
        };
        let (kind, calls) =
            rest.split_once('@').map_or((rest, None), |(kind, calls)| (kind, Some(calls)));
        let (first_call, calls) = match calls {
            None => (1, u64::MAX),
            Some(calls) => match calls.split_once('x') {
                None => (number(calls)?, 1),
                Some((first, times)) => (number(first)?, number(times)?),
            },
        };
        Ok(Self { kind: kind.parse()?, affected, account, first_call, calls })
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split(':');
        let kind = match (words.next().unwrap_or_default(), words.next(), words.next()) {
            ("errcode", Some(code), None) => {
                Self::ErrorCode(code.parse().map_err(|_| format!("`{code}` is not an error code"))?)
            }
            ("status", Some(status), retry_after) => Self::Status {
                status: status
                    .parse()
                    .ok()
                    .filter(|status| (200..600).contains(status))
                    .ok_or_else(|| format!("`{status}` is not an HTTP status"))?,
                retry_after: match retry_after {
                    None => None,
                    Some(word) => Some(
                        word.strip_prefix("retry-after=")
                            .and_then(|seconds| seconds.parse().ok())
                            .map(Duration::from_secs)
                            .ok_or_else(|| {
                                format!("`{word}` does not have the form retry-after=2")
                            })?,
                    ),
                },
            },
            ("reset", None, None) => Self::Reset,
            ("cut", None, None) => Self::Cut,
            ("html", None, None) => Self::Html,
            ("stuck-cursor", None, None) => Self::StuckCursor,
            ("wrong-number", None, None) => Self::WrongNumber,
            ("expire-token", None, None) => Self::ExpireToken,
            _ => {
                return Err(format!(
                    "`{text}` is not one of errcode:N, status:N[:retry-after=S], reset, cut, html, stuck-cursor, wrong-number, expire-token"
                ));
            }
        };
        if words.next().is_some() { Err(format!("`{text}` has too many words")) } else { Ok(kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_written_in_one_word() {
        let fault: Fault = "status:503:retry-after=2@3x2".parse().unwrap();
        assert_eq!(
            fault.kind,
            FaultKind::Status { status: 503, retry_after: Some(Duration::from_secs(2)) }
        );
        assert_eq!(
            (2..7).filter(|call| fault.meets(9, Affected::Pages, *call)).collect::<Vec<_>>(),
            [3, 4]
        );
        assert!("token/errcode:40164".parse::<Fault>().unwrap().meets(9, Affected::Token, 99));
        assert!("workers/html".parse::<Fault>().unwrap().meets(9, Affected::Workers, 1));
        let fault: Fault = "account=7/token/reset".parse().unwrap();
        assert_eq!(
            (6..9).filter(|account| fault.meets(*account, Affected::Token, 1)).collect::<Vec<_>>(),
            [7]
        );
        assert!("account=x/reset".parse::<Fault>().is_err());
        assert!("sleepy".parse::<Fault>().is_err());
    }
}
