//! The time zone in which the days of a lake are cut.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::{Lake, LakeError, Table};

/// After this many days of a table in other zones, the others are not read: they have one zone.
const DAYS_READ: usize = 3;

/// The number of files of a day that name other zones, after which the day is in another zone.
const FILES_READ: usize = 8;

impl Lake {
    /// The time zone of the lake's days. None while there are no days.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn zone(&self) -> Result<Option<String>, LakeError> {
        self.find_zone(|_| true)
    }

    /// Checks that the lake's days are in this time zone. One such day is enough: a file with
    /// another zone is then damaged, and damage must not prevent a new fetch. Reads only a few
    /// files that name a zone, because a large lake has millions of them.
    ///
    /// # Errors
    /// [`LakeError::OtherZone`] when the days are in another zone.
    pub fn require_zone(&self, zone: &str) -> Result<(), LakeError> {
        let zones = || self.shared.zones.lock().unwrap_or_else(PoisonError::into_inner);
        // A day of thousands of accounts takes long to list.
        let found = zones().get(zone).cloned();
        let other = match found {
            Some(other) => other,
            None => {
                let Some(lake) = self.zone()? else { return Ok(()) };
                let is_in_it = lake == zone || self.find_zone(|lake| lake == zone)?.is_some();
                let other = (!is_in_it).then_some(lake);
                zones().insert(zone.to_owned(), other.clone());
                other
            }
        };
        match other {
            Some(lake) => Err(LakeError::OtherZone { lake, asked: zone.to_owned() }),
            None => Ok(()),
        }
    }

    /// The first wanted zone that a file names. Reads messages, then metrics, which remain when
    /// retention has deleted the messages. Ignores damaged and foreign files, however many there
    /// are. Of files that name another zone, it reads only some of some days.
    fn find_zone(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Option<String>, LakeError> {
        for table in [Table::Messages, Table::AccountDaily] {
            let mut days_read = 0;
            for folder in ends_first(self.date_folders(table)?.into_values().collect()) {
                let files = self.store.list(&folder)?.into_iter();
                let zones = files
                    .filter_map(|file| Some(self.footer_of(&file.key).ok()?.zone().to_owned()))
                    .filter(|zone| !zone.is_empty());
                let mut names_a_zone = false;
                for zone in zones.take(FILES_READ) {
                    if is_wanted(&zone) {
                        return Ok(Some(zone));
                    }
                    names_a_zone = true;
                }
                days_read += usize::from(names_a_zone);
                if days_read == DAYS_READ {
                    break;
                }
            }
        }
        Ok(None)
    }
}

/// The first, the last, and one in the middle, before the others.
fn ends_first<T>(mut items: VecDeque<T>) -> impl Iterator<Item = T> {
    let (first, last) = (items.pop_front(), items.pop_back());
    let middle = items.remove(items.len() / 2);
    [first, last, middle].into_iter().flatten().chain(items)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Account;
    use super::*;
    use crate::calendar::{Day, Span};

    fn commit(root: &Path, account: &Account, day: &str, zone: &str) {
        let lake = Lake::at(root);
        let _lock = lake.lock(account).unwrap();
        let key = account.partition(Table::Messages, day.parse().unwrap());
        let staged = lake.stage(key, zone, Span { start: 0, end: 1 }).unwrap();
        staged.finish().unwrap().commit().unwrap();
    }

    #[test]
    fn a_time_zone_that_one_account_has_found_is_not_looked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let account = Account::new("acme".to_owned()).unwrap();
        let commit = |zone: &str| commit(folder.path(), &account, "2016-06-01", zone);
        commit("UTC");
        let first = Lake::at(folder.path());
        first.require_zone("UTC").unwrap();
        commit("Asia/Shanghai");
        let fresh = || Lake::at(folder.path());
        assert!(matches!(fresh().require_zone("UTC"), Err(LakeError::OtherZone { .. })));
        fresh().sharing_with(&first).require_zone("UTC").unwrap();
        first.require_zone("Asia/Shanghai").unwrap();
        let refused = first.require_zone("America/New_York");
        assert!(matches!(refused, Err(LakeError::OtherZone { .. })));
    }

    #[test]
    fn damaged_and_foreign_files_do_not_hide_the_zone_of_the_lake() {
        let folder = tempfile::tempdir().unwrap();
        let account = Account::new("acme".to_owned()).unwrap();
        let days: Vec<Day> =
            (0..12).map(|after| "2016-06-01".parse::<Day>().unwrap().plus(after)).collect();
        let path =
            |day: Day| Lake::at(folder.path()).path(&account.partition(Table::Messages, day));
        for day in &days {
            let zone = if *day == days[3] { "UTC" } else { "Asia/Shanghai" };
            commit(folder.path(), &account, &day.to_string(), zone);
            for foreign in 0..2 * FILES_READ {
                fs_err::write(path(*day).with_file_name(format!("_{foreign}")), "foreign").unwrap();
            }
        }
        let requires = |zone: &str| Lake::at(folder.path()).require_zone(zone);
        requires("Asia/Shanghai").unwrap();
        assert!(matches!(requires("UTC"), Err(LakeError::OtherZone { .. })));
        for day in days.iter().filter(|day| **day != days[3] && **day != days[7]) {
            fs_err::write(path(*day), "damaged").unwrap();
        }
        requires("UTC").unwrap();
        requires("Asia/Shanghai").unwrap();
        assert!(matches!(requires("Europe/Paris"), Err(LakeError::OtherZone { .. })));
    }

    #[test]
    fn both_ends_and_the_middle_come_first() {
        let order = |count: usize| ends_first((0..count).collect()).collect::<Vec<_>>();
        assert_eq!(order(7), [0, 6, 3, 1, 2, 4, 5]);
        assert_eq!(order(3), [0, 2, 1]);
        assert_eq!(order(2), [0, 1]);
        assert_eq!(order(1), [0]);
        assert!(order(0).is_empty());
    }
}
