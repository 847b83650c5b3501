//! Lists what is in a lake, without reading files or changing anything.

use std::path::PathBuf;

use super::store::{Entry, Key, Kind};
use super::{Lake, LakeError, PartitionKey, Table};
use crate::calendar::Day;

/// The files below the folders of the tables, and in staging.
#[derive(Debug, Default)]
pub struct Survey {
    /// Files with the path of a partition, in order.
    pub partitions: Vec<PartitionKey>,
    /// All other paths below the tables' folders. The day is set if the path is in the folder of a
    /// day.
    pub foreign: Vec<(Option<Day>, PathBuf)>,
    /// Files in staging whose run is gone, as far as kefu can see.
    pub staged: Vec<PathBuf>,
}

impl Lake {
    /// Lists all paths below the folders of the tables, and the files in staging.
    ///
    /// # Errors
    /// Fails when a folder cannot be listed.
    pub fn survey(&self) -> Result<Survey, LakeError> {
        let mut survey = self.survey_tables()?;
        survey.staged = self.staging.left()?;
        survey.staged.sort();
        Ok(survey)
    }

    /// Lists the paths below the folders of the tables that are not partitions. Readers of the
    /// tables could fail on them.
    ///
    /// # Errors
    /// Fails when a folder cannot be listed.
    pub fn strays(&self) -> Result<Vec<PathBuf>, LakeError> {
        let foreign = self.survey_tables()?.foreign.into_iter();
        let mut strays: Vec<PathBuf> = foreign.map(|(_, path)| path).collect();
        strays.sort();
        Ok(strays)
    }

    fn survey_tables(&self) -> Result<Survey, LakeError> {
        let (mut partitions, mut foreign) = (Vec::new(), Vec::new());
        let root = self.store.list(&Key::root())?;
        for table in Table::ALL {
            let folder = Key::of_table(table);
            // Readers would take a file of this name for a table without days.
            if root.iter().any(|entry| entry.key == folder && entry.kind != Kind::Folder) {
                foreign.push((None, self.path_of(&folder)));
            }
            for (entry, inside) in self.store.list_table(&folder)? {
                let Some(day) = entry.key.day().filter(|_| entry.is_day()) else {
                    foreign.push((None, self.path_of(&entry.key)));
                    continue;
                };
                for Entry { key, kind } in inside {
                    match key.account().filter(|_| kind == Kind::File) {
                        None => foreign.push((Some(day), self.path_of(&key))),
                        Some(account) => partitions.push(account.partition(table, day)),
                    }
                }
            }
        }
        partitions.sort();
        foreign.sort();
        Ok(Survey { partitions, foreign, staged: Vec::new() })
    }
}
