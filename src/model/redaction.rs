//! Redaction: removing from rows what the privacy settings do not keep, and what is left of
//! forgotten customers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::error::ArrowError;

use super::column::typed;
use super::privacy::{OpenidKey, Openids, Privacy, Texts, WorkerNames, hexadecimal};

/// The prefix of the name of a forgotten customer.
const FORGOTTEN: &str = "forgotten-";

/// Customers whose texts and identity were removed. Knows them by a keyed hash of the openid, and
/// gives each a random name, so that numbers stay and a re-fetch gives the same rows.
#[derive(Clone, Debug)]
pub struct Forgotten {
    key_digits: String,
    key: OpenidKey,
    names: BTreeMap<String, String>,
}

impl Default for Forgotten {
    /// Nobody, with a new random key.
    fn default() -> Self {
        let key: [u8; 32] = rand::random();
        Self::from_parts(hexadecimal(key.into_iter()), BTreeMap::new())
    }
}

impl Forgotten {
    /// `names` holds the random names by the keyed hashes of openids.
    pub fn from_parts(key_digits: String, names: BTreeMap<String, String>) -> Self {
        let key = OpenidKey::new(&key_digits);
        Self { key_digits, key, names }
    }

    /// The key, as hexadecimal digits, and the random names by the keyed hashes of openids.
    pub fn parts(&self) -> (&str, &BTreeMap<String, String>) {
        (&self.key_digits, &self.names)
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The random name of a forgotten customer.
    pub fn name(&self, openid: &str) -> Option<&str> {
        // Hashing takes a microsecond for each row.
        if self.is_empty() {
            return None;
        }
        self.names.get(&self.key.pseudonym(openid)).map(String::as_str)
    }

    /// Adds a customer, unless it is known. `privacy` are the settings of the lake: `openid` is the
    /// customer's name in the API or in the lake.
    pub fn add(&mut self, openid: &str, privacy: &Privacy) {
        if self.names_in_lake(openid, privacy).next().is_some() || self.is_random_name(openid) {
            return;
        }
        let name = format!("{FORGOTTEN}{}", hexadecimal(rand::random::<[u8; 16]>().into_iter()));
        if let Openids::Keyed(key) = &privacy.openids {
            self.names.insert(self.key.pseudonym(&key.pseudonym(openid)), key.pseudonym(&name));
        }
        self.names.insert(self.key.pseudonym(openid), name);
    }

    /// The random names under which the lake can have a forgotten customer.
    pub fn names_in_lake<'a>(
        &'a self,
        openid: &str,
        privacy: &Privacy,
    ) -> impl Iterator<Item = &'a str> {
        let keyed = match &privacy.openids {
            Openids::Keyed(key) => self.name(&key.pseudonym(openid)),
            Openids::Keep => None,
        };
        self.name(openid).into_iter().chain(keyed)
    }

    fn is_random_name(&self, openid: &str) -> bool {
        self.names.values().any(|name| name == openid)
    }

    /// Whether a record that cannot be read names a forgotten customer.
    pub fn is_in(&self, raw: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        let is_word = |character: char| character.is_alphanumeric() || "-_".contains(character);
        let is_forgotten = |word: &str| self.name(word).is_some();
        // Characters of a JSON string can be escaped.
        let mut texts = vec![raw.to_owned()];
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(raw) {
            texts_of(&value, &mut texts);
        }
        texts.iter().any(|text| {
            is_forgotten(text)
                || text.split('"').any(is_forgotten)
                || text.split(|character| !is_word(character)).any(is_forgotten)
        })
    }
}

/// The texts and numbers of a JSON value.
fn texts_of(value: &serde_json::Value, texts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| texts_of(value, texts)),
        serde_json::Value::Object(object) => {
            texts.extend(object.keys().cloned());
            object.values().for_each(|value| texts_of(value, texts));
        }
        other => texts.push(other.to_string()),
    }
}

/// Removes personal data from rows: what the settings do not keep, and what is left of forgotten
/// customers.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    pub privacy: Privacy,
    pub forgotten: Forgotten,
}

/// Rows after a redaction.
#[derive(Debug)]
pub struct Redacted {
    pub rows: RecordBatch,
    /// Texts and names of workers that became null.
    pub texts: u64,
    /// Openids, in `openid` or in a raw record, that were replaced.
    pub openids: u64,
}

impl Redaction {
    /// Whether rows stay as the API gave them.
    pub fn keeps_everything(&self) -> bool {
        self.privacy.keeps_everything() && self.forgotten.is_empty()
    }

    /// Redacts rows of any table. `is_keyed`: their openids are hashes already.
    ///
    /// # Errors
    /// When a column is of another type than its table's.
    pub fn apply(&self, rows: &RecordBatch, is_keyed: bool) -> Result<Redacted, ArrowError> {
        let schema = rows.schema();
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        let (mut texts, mut openids) = (0, 0);
        let mut replace = |name: &str, values: ArrayRef| -> Result<(), ArrowError> {
            let place = schema.index_of(name)?;
            columns.get_mut(place).into_iter().for_each(|column| *column = values.clone());
            Ok(())
        };
        if let Ok(named) = typed::<StringArray>(rows, "openid") {
            if rows.schema().index_of("text").is_ok() {
                let before = typed::<StringArray>(rows, "text")?;
                let after: ArrayRef = match self.privacy.texts {
                    Texts::Drop => new_null_array(before.data_type(), before.len()),
                    Texts::Keep if self.forgotten.is_empty() => Arc::new(before.clone()),
                    Texts::Keep => {
                        let is_forgotten = |openid: &str| self.is_forgotten(openid, is_keyed);
                        let kept = before.iter().zip(named).map(|(text, openid)| {
                            text.filter(|_| !openid.is_some_and(is_forgotten))
                        });
                        Arc::new(kept.collect::<StringArray>())
                    }
                };
                texts += (after.null_count() - before.null_count()) as u64;
                replace("text", after)?;
            }
            let after: Vec<Option<Cow<'_, str>>> = named
                .iter()
                .map(|openid| openid.map(|openid| self.name(openid, is_keyed)))
                .collect();
            let is_replaced = |(before, after): &(Option<&str>, &Option<Cow<'_, str>>)| {
                *before != after.as_deref()
            };
            openids += named.iter().zip(&after).filter(is_replaced).count() as u64;
            replace(
                "openid",
                Arc::new(after.iter().map(Option::as_deref).collect::<StringArray>()),
            )?;
        }
        if let Ok(raw) = typed::<StringArray>(rows, "raw") {
            let after: Vec<Option<Cow<'_, str>>> =
                raw.iter().map(|raw| raw.map(|raw| self.raw(raw))).collect();
            let is_replaced = |(before, after): &(Option<&str>, &Option<Cow<'_, str>>)| {
                *before != after.as_deref()
            };
            openids += raw.iter().zip(&after).filter(is_replaced).count() as u64;
            replace("raw", Arc::new(after.iter().map(Option::as_deref).collect::<StringArray>()))?;
        }
        if let Ok(names) = typed::<StringArray>(rows, "nick")
            && self.privacy.worker_names == WorkerNames::Drop
        {
            texts += (names.len() - names.null_count()) as u64;
            replace("nick", new_null_array(names.data_type(), names.len()))?;
        }
        Ok(Redacted { rows: RecordBatch::try_new(schema, columns)?, texts, openids })
    }

    /// A record that cannot be read, or a note of its length in its place: nobody knows where in it
    /// the text or the openid is.
    pub fn raw<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        const WITHHELD: &str = " bytes, withheld because of ";
        let is_note = raw.split_once(WITHHELD).is_some_and(|(bytes, because)| {
            bytes.bytes().all(|digit| digit.is_ascii_digit())
                && [SETTINGS, CUSTOMER].contains(&because)
        });
        const SETTINGS: &str = "the settings under [privacy]";
        const CUSTOMER: &str = "a customer who was forgotten";
        let because = match (self.privacy.keeps_everything(), self.forgotten.is_in(raw)) {
            _ if is_note => return Cow::Borrowed(raw),
            (false, _) => SETTINGS,
            (true, true) => CUSTOMER,
            (true, false) => return Cow::Borrowed(raw),
        };
        Cow::Owned(format!("{}{WITHHELD}{because}", raw.len()))
    }

    /// What replaces an openid. Forgotten customers are known as the API names them, and as the
    /// lake does.
    fn name<'a>(&self, openid: &'a str, is_keyed: bool) -> Cow<'a, str> {
        let replaced = |openid: Cow<'a, str>| match self.forgotten.name(&openid) {
            Some(name) => Cow::Owned(name.to_owned()),
            None => openid,
        };
        let openid = replaced(Cow::Borrowed(openid));
        match &self.privacy.openids {
            Openids::Keyed(key) if !is_keyed => replaced(Cow::Owned(key.pseudonym(&openid))),
            _ => openid,
        }
    }

    fn is_forgotten(&self, openid: &str, is_keyed: bool) -> bool {
        self.forgotten.name(openid).is_some()
            || match &self.privacy.openids {
                Openids::Keyed(key) if !is_keyed => {
                    self.forgotten.name(&key.pseudonym(openid)).is_some()
                }
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A customer is the same one whether it is forgotten before or after openids became hashes,
    /// and whether its rows come from the API or from the lake.
    #[test]
    fn a_forgotten_customer_has_one_name_on_every_way_into_the_lake() {
        let hashed =
            Privacy { openids: Openids::Keyed(OpenidKey::new("one")), ..Privacy::default() };
        let key = OpenidKey::new("one");
        let redaction = |settings: &Privacy, forgotten: &Forgotten| Redaction {
            privacy: settings.clone(),
            forgotten: forgotten.clone(),
        };
        let mut before = Forgotten::default();
        before.add("oC1", &Privacy::default());
        let name = before.name("oC1").unwrap().to_owned();
        assert!(name.starts_with(FORGOTTEN) && name.len() == FORGOTTEN.len() + 32);
        let now = redaction(&hashed, &before);
        assert_eq!(now.name("oC1", false), key.pseudonym(&name));
        assert_eq!(now.name(&name, false), key.pseudonym(&name), "redacted after it was forgotten");

        // With its openid, and with what the lake has in its place.
        for openid in ["oC1".to_owned(), key.pseudonym("oC1")] {
            let mut forgotten = Forgotten::default();
            forgotten.add(&openid, &hashed);
            let now = redaction(&hashed, &forgotten);
            let fetched = now.name("oC1", false).into_owned();
            assert_ne!(fetched, key.pseudonym("oC1"));
            assert_eq!(now.name(&key.pseudonym("oC1"), true), fetched);
            assert!(now.is_forgotten("oC1", false));
            assert!(now.is_forgotten(&key.pseudonym("oC1"), true));
            assert_eq!(now.name("oC2", false), key.pseudonym("oC2"));
            // A second time changes nothing, whichever of its names is given.
            let mut again = forgotten.clone();
            for openid in ["oC1", &key.pseudonym("oC1"), &fetched] {
                again.add(openid, &hashed);
            }
            assert_eq!(again.names, forgotten.names);
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_names_a_customer_in_any_form() {
        let mut forgotten = Forgotten::default();
        forgotten.add("oC_1-x", &Privacy::default());
        forgotten.add("123", &Privacy::default());
        for raw in [
            r#"{"openid":"oC_1-x"}"#,
            r#"{"openid":"oC\u005f1-x"}"#,
            r#"{"a":[{"oC_1-x":0}]}"#,
            r#"{"openid":"oC_1-x", broken"#,
            r#"{"openid":123}"#,
        ] {
            assert!(forgotten.is_in(raw), "{raw}");
        }
        assert!(!forgotten.is_in(r#"{"openid":"oC_1-y","n":12}"#));
    }
}
