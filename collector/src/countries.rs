//! The country that an address is in, by a file of the operator's in MaxMind's format.
//! Promises that a file which cannot be used is explained and takes no other's place. Deliberately asks nobody on the network, and
//! says nothing of cities: the country is what rules ask for, and what an address tells with some certainty.

use std::{
    io,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use maxminddb::{Reader, path};

use crate::current::Current;

/// Countries by address. Without a file it knows none.
#[derive(Debug, Default)]
pub struct Countries(Option<Source>);

#[derive(Debug)]
struct Source {
    file: PathBuf,
    reader: Current<Reader<Vec<u8>>>,
    /// Of the file as it was last looked at.
    stamp: Mutex<Option<Stamp>>,
}

/// What changes when a file is written or another takes its place: when, how large, which.
type Stamp = (SystemTime, u64, u64);

/// Two letters of ISO 3166-1, upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country([u8; 2]);

impl Country {
    fn of(text: &str) -> Option<Self> {
        let letters: [u8; 2] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("both are ASCII letters")
    }
}

/// The file of countries is of no use.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the file of countries {}: {cause}", path.display())]
pub struct CountriesError {
    path: PathBuf,
    cause: String,
}

impl Countries {
    /// Reads the file. Blocks.
    pub fn open(file: Option<&Path>) -> Result<Self, CountriesError> {
        let Some(file) = file else { return Ok(Self(None)) };
        let stamp = Mutex::new(stamp(file));
        let reader = Current::new(read(file)?);
        Ok(Self(Some(Source { file: file.to_owned(), reader, stamp })))
    }

    /// Whether it knows any.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Where this address is. Of a network at home, and of one that nobody knows, nothing.
    pub fn of(&self, address: IpAddr) -> Option<Country> {
        let reader = self.0.as_ref()?.reader.get();
        let found = reader.lookup(address.to_canonical()).ok()?;
        // MaxMind's own files and those of DB-IP have the first, IPinfo's the second.
        let text: Option<&str> = found.decode_path(&path!["country", "iso_code"]).ok().flatten();
        let text = text.or_else(|| found.decode_path(&path!["country_code"]).ok().flatten());
        Country::of(text?)
    }

    /// Reads the file again if it is another; one that cannot be used leaves what there was. Says whether it did. Blocks.
    pub(crate) fn look(&self) -> Result<bool, CountriesError> {
        let Some(source) = &self.0 else { return Ok(false) };
        let now = stamp(&source.file);
        let before = std::mem::replace(
            &mut *source.stamp.lock().unwrap_or_else(PoisonError::into_inner),
            now,
        );
        if now == before {
            return Ok(false);
        }
        source.reader.set(read(&source.file)?);
        Ok(true)
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(file).ok()?;
    Some((about.modified().ok()?, about.len(), about.ino()))
}

/// 512 MiB: the largest of its kind on offer, cities of the world with their languages, has a quarter of it.
const MAX_BYTES: u64 = 512 << 20;

fn read(file: &Path) -> Result<Reader<Vec<u8>>, CountriesError> {
    let wrong = |cause: String| CountriesError { path: file.to_owned(), cause };
    let unreadable = |cause: io::Error| wrong(cause.to_string());
    let about = std::fs::metadata(file).map_err(unreadable)?;
    if !about.is_file() {
        return Err(wrong("it is no file".to_owned()));
    }
    if about.len() > MAX_BYTES {
        return Err(wrong(format!("it has more than {MAX_BYTES} bytes")));
    }
    let bytes = std::fs::read(file).map_err(unreadable)?;
    Reader::from_source(bytes).map_err(|cause| {
        wrong(format!("it is none in MaxMind's format, such as `GeoLite2-Country.mmdb`: {cause}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `tests/countries/make.py`, with another library than the one that reads it.
    fn sample() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/countries/countries.mmdb")
    }

    fn country(countries: &Countries, address: &str) -> Option<String> {
        countries.of(address.parse().unwrap()).map(|country| country.as_str().to_owned())
    }

    #[test]
    fn an_address_is_in_the_country_that_the_file_says() {
        let countries = Countries::open(Some(&sample())).unwrap();
        for (address, expected) in [
            ("203.0.113.7", Some("SE")),
            ("::ffff:203.0.113.7", Some("SE")),
            ("198.51.100.1", Some("DE")),
            ("2001:db8:1::9", Some("FR")),
            ("127.0.0.1", None),
            ("2001:db8:2::9", None),
            // What is no code is no country.
            ("192.0.2.1", None),
        ] {
            assert_eq!(country(&countries, address).as_deref(), expected, "{address}");
        }
        assert_eq!(country(&Countries::default(), "203.0.113.7"), None);
    }

    #[test]
    fn another_file_takes_the_place_of_the_one_in_use_if_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.mmdb");
        std::fs::copy(sample(), &file).unwrap();
        let countries = Countries::open(Some(&file)).unwrap();
        assert!(!countries.look().unwrap());

        let whole = std::fs::read(sample()).unwrap();
        std::fs::write(folder.path().join("cut"), &whole[..whole.len() / 2]).unwrap();
        std::fs::rename(folder.path().join("cut"), &file).unwrap();
        let error = countries.look().unwrap_err().to_string();
        assert!(error.contains("c.mmdb") && error.contains("MaxMind"), "{error}");
        assert_eq!(country(&countries, "203.0.113.7").as_deref(), Some("SE"), "the old one stays");
        assert!(!countries.look().unwrap(), "it is said once");

        std::fs::write(folder.path().join("new"), &whole).unwrap();
        std::fs::rename(folder.path().join("new"), &file).unwrap();
        assert!(countries.look().unwrap());
        assert_eq!(country(&countries, "203.0.113.7").as_deref(), Some("SE"));
    }

    #[test]
    fn what_is_no_file_of_countries_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        for (path, what) in
            [(folder.path().to_owned(), "no file"), (folder.path().join("x"), "No such file")]
        {
            let error = Countries::open(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
