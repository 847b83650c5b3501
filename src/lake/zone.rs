//! The time zone in which the days of a lake are cut.

use std::sync::PoisonError;

use super::{Lake, LakeError, Table};

impl Lake {
    /// The time zone of the lake's days. None while there are no days.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn zone(&self) -> Result<Option<String>, LakeError> {
        self.find_zone(|_| true)
    }

    /// Checks that the lake's days are in this time zone. One such day is enough: a file with
    /// another zone is then damaged, and damage must not prevent a new fetch.
    ///
    /// # Errors
    /// [`LakeError::OtherZone`] when all days are in another zone.
    pub fn require_zone(&self, zone: &str) -> Result<(), LakeError> {
        let zones = || self.shared.zones.lock().unwrap_or_else(PoisonError::into_inner);
        // A day of thousands of accounts takes long to list.
        if zones().contains(zone) {
            return Ok(());
        }
        match self.zone()? {
            Some(lake) if lake != zone && self.find_zone(|lake| lake == zone)?.is_none() => {
                Err(LakeError::OtherZone { lake, asked: zone.to_owned() })
            }
            Some(_) => {
                zones().insert(zone.to_owned());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The first wanted zone that a file names. Reads messages, then metrics, which remain when
    /// retention has deleted the messages.
    fn find_zone(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Option<String>, LakeError> {
        for table in [Table::Messages, Table::AccountDaily] {
            for folder in self.date_folders(table)?.into_values() {
                // Ignores damaged and foreign files.
                let files = self.store.list(&folder)?.into_iter();
                let zones = files
                    .filter_map(|file| Some(self.footer_of(&file.key).ok()?.zone().to_owned()));
                if let Some(zone) =
                    zones.into_iter().find(|zone| !zone.is_empty() && is_wanted(zone))
                {
                    return Ok(Some(zone));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Account;
    use super::*;
    use crate::calendar::Span;

    #[test]
    fn a_time_zone_that_one_account_has_found_is_not_looked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let account = Account::new("acme".to_owned()).unwrap();
        let commit = |zone: &str| {
            let lake = Lake::at(folder.path());
            let _lock = lake.lock(&account).unwrap();
            let key = account.partition(Table::Messages, "2016-06-01".parse().unwrap());
            let staged = lake.stage(key, zone, Span { start: 0, end: 1 }).unwrap();
            staged.finish().unwrap().commit().unwrap();
        };
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
}
