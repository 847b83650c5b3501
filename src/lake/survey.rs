//! What is in a lake, as its folders show it.

use std::path::PathBuf;

use super::store::{Entry, Key, Kind};
use super::{Lake, LakeError, PartitionKey, Table};
use crate::calendar::Day;

/// What stands below the folders of the tables, and in staging.
#[derive(Debug, Default)]
pub struct Survey {
    /// Files with the name of a partition, in order.
    pub partitions: Vec<PartitionKey>,
    /// Everything else below a table's folder, each with its day where it stands in a day's folder.
    pub foreign: Vec<(Option<Day>, PathBuf)>,
    /// What runs that are gone, as far as is known, have left in staging.
    pub staged: Vec<PathBuf>,
}

impl Lake {
    /// Lists what is there, whatever it is.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn survey(&self) -> Result<Survey, LakeError> {
        let mut survey = self.survey_tables()?;
        survey.staged = self.staging.left()?;
        survey.staged.sort();
        Ok(survey)
    }

    /// What is below a table's folder and is not one of its files. Readers of the table would
    /// stumble over it.
    ///
    /// # Errors
    /// When a folder cannot be listed.
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
            // To readers, a file of this name looks like a table without a day.
            if root.iter().any(|entry| entry.key == folder && entry.kind != Kind::Folder) {
                foreign.push((None, self.path_of(&folder)));
            }
            for Entry { key, kind } in self.store.list(&folder)? {
                match key.day().filter(|_| kind == Kind::Folder) {
                    None => foreign.push((None, self.path_of(&key))),
                    Some(day) => {
                        for Entry { key, kind } in self.store.list(&key)? {
                            match key.account().filter(|_| kind == Kind::File) {
                                None => foreign.push((Some(day), self.path_of(&key))),
                                Some(account) => partitions.push(account.partition(table, day)),
                            }
                        }
                    }
                }
            }
        }
        partitions.sort();
        foreign.sort();
        Ok(Survey { partitions, foreign, staged: Vec::new() })
    }
}
