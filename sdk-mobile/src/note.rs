//! What a person has decided and storage would not take: an answer about consent, a signing out. Promises that it outlives the process all
//! the same, also on a full disk: the note is written over bytes that were the file's own from the start. Knows no event, and no user id.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::identity::{Identity, answers, person, words};

/// The file beside the events: spaces, or one note and spaces.
#[derive(Debug)]
pub(crate) struct Note {
    path: PathBuf,
    file: Option<File>,
    /// Whether each note is to survive the loss of power.
    sync: bool,
}

/// What is to be done about who the person is.
#[derive(Clone, Debug)]
pub(crate) struct Noted(Value);

impl Note {
    /// Makes the file at its full length, if it is not there.
    pub(crate) fn open(path: PathBuf, sync: bool) -> Self {
        let file = made(&path).ok();
        Self { path, file, sync }
    }

    /// Notes the answers, and the new person's id where somebody signed out. Says whether that succeeded.
    pub(crate) fn write(&mut self, identity: &Identity, reset: bool) -> bool {
        let reset = reset.then(|| json!({ "anonymousId": identity.anonymous_id }));
        let answers = words(&identity.answers);
        let mut text = json!({ "answers": answers, "reset": reset }).to_string();
        if text.len() > BYTES {
            // An id that somebody else made up, and too long: the next start makes another one.
            text = json!({ "answers": answers, "reset": {} }).to_string();
        }
        self.put(&text)
    }

    pub(crate) fn clear(&mut self) {
        self.put("");
    }

    /// What stands there; nothing if nothing does.
    pub(crate) fn read(&self) -> Option<Noted> {
        let mut bytes = [b' '; BYTES];
        let length = read_at(self.file.as_ref()?, &mut bytes).ok()?;
        let text = bytes[..length].trim_ascii();
        // What cannot be read was a decision: nothing leaves the device until it is asked for again.
        (!text.is_empty()).then(|| Noted(serde_json::from_slice(text).unwrap_or_default()))
    }

    fn put(&mut self, text: &str) -> bool {
        if self.file.is_none() {
            self.file = made(&self.path).ok();
        }
        let Some(file) = &self.file else { return false };
        let mut bytes = [b' '; BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let written = write_at(file, &bytes, 0);
        written.and_then(|()| if self.sync { file.sync_data() } else { Ok(()) }).is_ok()
    }
}

impl Noted {
    pub(crate) fn apply(&self, identity: &mut Identity) {
        identity.answers = answers(&self.0["answers"]);
        if self.0["reset"].is_object() {
            identity.become_another();
            if let Some(id) = self.0["reset"]["anonymousId"].as_str() {
                id.clone_into(&mut identity.anonymous_id);
                identity.person = person(&self.0["reset"]["person"]);
            }
        }
    }
}

fn made(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(BYTES).min(BYTES);
    // Written, so that the place is the file's own: a length alone is a promise that a full disk breaks.
    write_at(&file, &[b' '; BYTES][length..], length as u64)?;
    Ok(file)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, 0)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use io::{Seek as _, Write as _};
    file.seek(io::SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    use io::{Read as _, Seek as _};
    file.seek(io::SeekFrom::Start(0))?;
    file.read(bytes)
}

/// One sector: it is written whole, or not at all.
const BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Answer;

    #[test]
    fn says_what_was_noted_until_it_is_cleared() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("note");
        let mut note = Note::open(path.clone(), false);
        assert!(note.read().is_none());
        let mut identity = Identity { user_id: Some("u-1".into()), ..Identity::default() };
        identity.answers[2] = Some(Answer::Denied);
        assert!(note.write(&identity, true));
        let mut other = Identity { user_id: Some("u-2".into()), ..Identity::default() };
        Note::open(path.clone(), false).read().expect("a note").apply(&mut other);
        assert_eq!((&other.anonymous_id, &other.user_id), (&identity.anonymous_id, &None));
        assert_eq!(other.answers, identity.answers);
        note.clear();
        assert!(Note::open(path, false).read().is_none());
    }

    #[test]
    fn what_cannot_be_read_lets_nothing_leave() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("note"), "{\"ans").expect("a file");
        let mut identity = Identity::default();
        Note::open(folder.path().join("note"), false).read().expect("a note").apply(&mut identity);
        assert_eq!(identity.answers, [Some(Answer::Pending); 4]);
    }

    #[test]
    fn an_id_that_is_too_long_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut note = Note::open(folder.path().join("note"), false);
        let identity = Identity { anonymous_id: "a".repeat(600), ..Identity::default() };
        assert!(note.write(&identity, true));
        let mut other = identity.clone();
        note.read().expect("a note").apply(&mut other);
        assert!(other.anonymous_id != identity.anonymous_id);
    }
}
