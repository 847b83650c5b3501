//! The kinds of errors, each with its exit code.

use super::cancel::Signal;

/// Says what an error means for the operator. Each kind has an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A bug in kefu.
    Bug,
    /// The command line is invalid.
    Usage,
    /// Some days failed and the others are committed, or some days differ from the API's current
    /// data.
    Partial,
    /// Data of the API or of the lake violates the contract.
    Contract,
    /// The API was unreachable or busy at every attempt.
    Unavailable,
    /// The lake cannot be written or read.
    Lake,
    /// Another run has the account locked, or has replaced the day.
    Occupied,
    /// A quota is used up. More calls on the same day would be refused, too.
    Quota,
    /// WeChat refused: credentials, IP whitelist, permission, frozen account.
    Refused,
    /// Settings are wrong or missing.
    Settings,
    /// A signal has stopped the run.
    Stopped(Signal),
}

impl ErrorKind {
    /// The exit code of the process, from `sysexits.h` if it defines a suitable one.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Contract => 65,
            Self::Unavailable => 69,
            Self::Lake => 73,
            Self::Occupied | Self::Quota => 75,
            Self::Refused => 77,
            Self::Settings => 78,
            Self::Stopped(signal) => signal.exit_code(),
        }
    }

    /// The name in results, in the log and in the history of runs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bug => "bug",
            Self::Usage => "usage",
            Self::Partial => "partial",
            Self::Contract => "contract",
            Self::Unavailable => "unavailable",
            Self::Lake => "lake",
            Self::Occupied => "occupied",
            Self::Quota => "quota",
            Self::Refused => "refused",
            Self::Settings => "settings",
            Self::Stopped(_) => "stopped",
        }
    }

    /// The rank of the kind. Of several failures, the one with the highest rank is reported.
    pub fn severity(self) -> u8 {
        match self {
            Self::Partial => 0,
            Self::Unavailable => 1,
            Self::Contract => 2,
            Self::Occupied => 3,
            Self::Quota => 4,
            Self::Lake => 5,
            Self::Refused => 6,
            Self::Settings => 7,
            Self::Usage => 8,
            Self::Bug => 9,
            Self::Stopped(_) => 10,
        }
    }

    /// Whether every other day would fail in the same way, so that the run should stop.
    pub fn ends_the_run(self) -> bool {
        match self {
            Self::Usage | Self::Partial | Self::Contract | Self::Unavailable => false,
            Self::Bug | Self::Lake | Self::Occupied | Self::Quota => true,
            Self::Refused | Self::Settings | Self::Stopped(_) => true,
        }
    }
}

impl serde::Serialize for ErrorKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        use ErrorKind::*;
        let codes =
            [Bug, Usage, Partial, Contract, Unavailable, Lake, Occupied, Quota, Refused, Settings]
                .map(ErrorKind::exit_code);
        assert_eq!(codes, [1, 2, 3, 65, 69, 73, 75, 75, 77, 78]);
    }
}
