//! The accounts behind one simulator: app ids, records, tokens and counted calls of each.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::APPID;
use super::records::Records;
use super::tokens::TokenBook;

/// Maximum number of accounts whose records are kept for the next call.
const RECORDS_KEPT: usize = 256;

/// The app id of an account of [`Simulator::start_many`](super::Simulator::start_many), counted
/// from 1.
pub fn appid_of(account: u32) -> String {
    format!("wx{account:016x}")
}

/// The number of the account without numbered accounts.
pub(super) const ALONE: u32 = 0;

/// Creates the records of an account, by its number.
type Create = Box<dyn Fn(u32) -> Arc<dyn Records> + Send + Sync>;

/// The accounts that the simulator knows.
pub(super) enum Accounts {
    /// Ten app ids, which differ from [`APPID`] in the last digit, with the same records.
    One(Arc<dyn Records>),
    /// Accounts from 1 to `count`. Their records are created when they are asked for.
    Many { count: u32, create: Create, recent: Mutex<VecDeque<(u32, Arc<dyn Records>)>> },
}

impl Accounts {
    pub(super) fn many(count: u32, create: Create) -> Self {
        Self::Many { count, create, recent: Mutex::default() }
    }

    /// The number of the account with this app id.
    pub(super) fn of_appid(&self, appid: &str) -> Option<u32> {
        match self {
            Self::One(_) => {
                let without_digit = |appid: &str| {
                    appid.strip_suffix(|last: char| last.is_ascii_digit()).map(ToOwned::to_owned)
                };
                let is_known =
                    without_digit(appid).is_some_and(|appid| without_digit(APPID) == Some(appid));
                is_known.then_some(ALONE)
            }
            Self::Many { count, .. } => {
                let number = u32::from_str_radix(appid.strip_prefix("wx")?, 16).ok()?;
                ((1..=*count).contains(&number) && appid_of(number) == appid).then_some(number)
            }
        }
    }

    pub(super) fn records(&self, account: u32) -> Arc<dyn Records> {
        match self {
            Self::One(records) => records.clone(),
            Self::Many { create, recent, .. } => {
                let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((_, records)) = recent.iter().find(|(known, _)| *known == account) {
                    return records.clone();
                }
                let records = create(account);
                if recent.len() == RECORDS_KEPT {
                    recent.pop_front();
                }
                recent.push_back((account, records.clone()));
                records
            }
        }
    }
}

/// What the simulator has counted of an account.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) tokens: TokenBook,
    pub(super) token_calls: u64,
    pub(super) page_calls: u64,
    pub(super) list_calls: u64,
}

impl Counted {
    fn new(account: u32) -> Self {
        Self { tokens: TokenBook::new(account), token_calls: 0, page_calls: 0, list_calls: 0 }
    }
}

/// What the simulator has counted, by account. Accounts that never called have no entry.
#[derive(Debug, Default)]
pub(super) struct Book {
    accounts: Mutex<HashMap<u32, Counted>>,
}

impl Book {
    pub(super) fn with<T>(&self, account: u32, work: impl FnOnce(&mut Counted) -> T) -> T {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        work(accounts.entry(account).or_insert_with(|| Counted::new(account)))
    }

    /// All tokens issued so far, by account.
    pub(super) fn issued(&self) -> Vec<String> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens: Vec<(&u32, &Counted)> = accounts.iter().collect();
        tokens.sort_by_key(|(account, _)| **account);
        tokens.into_iter().flat_map(|(_, counted)| counted.tokens.issued()).collect()
    }
}

/// The calls of `getmsglist` that are under way, by account.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashMap<u32, usize>>);

impl UnderWay {
    /// Adds a call. Returns the number of accounts with calls under way, and a guard that removes
    /// the call again.
    pub(super) fn begin(&self, account: u32) -> (usize, CallGuard<'_>) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(account).or_default() += 1;
        (calls.len(), CallGuard { under_way: self, account })
    }
}

/// A call of `getmsglist` that is under way.
pub(super) struct CallGuard<'a> {
    under_way: &'a UnderWay,
    account: u32,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        let mut calls = self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = calls.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Generated, GeneratorOptions};
    use super::*;

    #[test]
    fn an_app_id_names_its_account_and_no_other() {
        let options = GeneratorOptions {
            first_day: "2024-05-13".parse().unwrap(),
            days: 1,
            messages_per_day: 1,
            seed: 1,
        };
        let create = move |_| Arc::new(Generated::new(options)) as Arc<dyn Records>;
        let accounts = Accounts::many(300, Box::new(create));
        for account in [1, 16, 300] {
            assert_eq!(accounts.of_appid(&appid_of(account)), Some(account));
        }
        for appid in [&appid_of(0), &appid_of(301), "wx1", "wx+000000000000001", APPID, ""] {
            assert_eq!(accounts.of_appid(appid), None, "{appid}");
        }
    }
}
