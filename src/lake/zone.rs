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

    /// Checks that the lake's days are cut in this time zone. It is enough that one is: a file that says otherwise beside it is damaged, which must not keep
    /// anyone from fetching it again.
    ///
    /// # Errors
    /// [`LakeError::OtherZone`] when they are cut in another one.
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

    /// The first zone that some file names and that is wanted: of messages, or of the metrics that are left of pruned ones.
    fn find_zone(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Option<String>, LakeError> {
        for table in [Table::Messages, Table::AccountDaily] {
            for folder in self.date_folders(table)?.into_values() {
                // Of a file that is damaged, or none of kefu's, the next one tells.
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
