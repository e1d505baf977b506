//! The lines of a file with addresses: one a line, or CSV as lists of mail services are.
//! Promises constant memory, and that no line is swallowed by another: a quote that is never closed ends with its line, and is named.
//! Deliberately does not judge what an address is.

use std::io::{self, BufRead, BufReader, Read};

use super::{Reason, printable};

/// Bytes of a line: what a mail server says of an address has a few hundred.
const LONGEST: usize = 64 * 1024;
/// Names of the column with the addresses, as letters.
const ADDRESS: [&str; 8] =
    ["address", "email", "emailaddress", "mail", "phone", "phonenumber", "number", "recipient"];
/// Words for the reasons, ours and those of mail services, as letters.
const REASONS: [(&str, Reason); 13] = [
    ("manual", Reason::Manual),
    ("manualsuppression", Reason::Manual),
    ("bounced", Reason::Bounced),
    ("bounce", Reason::Bounced),
    ("hardbounce", Reason::Bounced),
    ("hardbounced", Reason::Bounced),
    ("complained", Reason::Complained),
    ("complaint", Reason::Complained),
    ("spamcomplaint", Reason::Complained),
    ("spamreport", Reason::Complained),
    ("unsubscribed", Reason::Unsubscribed),
    ("unsubscribe", Reason::Unsubscribed),
    ("groupunsubscribe", Reason::Unsubscribed),
];

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1 on.
    pub(super) number: u64,
    /// What stands where the address should; else why there is nothing.
    pub(super) address: Result<String, &'static str>,
    /// Where it says one.
    pub(super) reason: Option<Reason>,
}

/// Those of a file that are not empty, without the one with the columns' names.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    number: u64,
    columns: Option<Columns>,
    /// The name of the column that is to be read, if somebody has said which.
    wanted: Option<String>,
    /// Where columns have names: the one that is read, and those that have addresses too and are not.
    pub(super) read: Option<(String, Vec<String>)>,
}

/// There is no such column.
#[derive(Debug, thiserror::Error)]
#[error("the first line names no column `{wanted}`; it has `{}`", there.join("`, `"))]
pub(super) struct NoColumn {
    wanted: String,
    there: Vec<String>,
}

/// Where what is.
#[derive(Clone, Copy)]
struct Columns {
    delimiter: u8,
    address: usize,
    reason: Option<usize>,
    /// Whether the first line has their names.
    has_names: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn of(input: R, wanted: Option<&str>) -> Self {
        let wanted = wanted.map(str::to_owned);
        Self { input: BufReader::new(input), number: 0, columns: None, wanted, read: None }
    }

    /// Finds out from the first line where what is.
    fn begin(&mut self, line: &str) -> Result<Columns, NoColumn> {
        let mut columns = Columns::of(line);
        let mut names = cells(line, columns.delimiter);
        if let Some(wanted) = self.wanted.take() {
            let same = |name: &String| name.eq_ignore_ascii_case(wanted.trim());
            let Some(address) = names.iter().position(same) else {
                // What a file says is printed on a terminal.
                for name in &mut names {
                    *name = printable(name);
                }
                return Err(NoColumn { wanted, there: names });
            };
            columns = Columns { address, ..Columns::named(columns.delimiter, &names) };
        }
        if columns.has_names {
            let is_one = |name: &String| ADDRESS.contains(&letters(name).as_str());
            let others = names
                .iter()
                .enumerate()
                .filter(|(at, name)| *at != columns.address && is_one(name));
            let others = others.map(|(_, name)| printable(name)).collect();
            self.read = Some((printable(&names[columns.address]), others));
        }
        Ok(columns)
    }

    /// The next line's bytes without its end; `None` at the end of the file, an error's words if it has too many.
    fn read(&mut self) -> io::Result<Option<Result<Vec<u8>, &'static str>>> {
        let mut line = Vec::new();
        let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
        if self.input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.len() < LONGEST || line.ends_with(b"\n") {
            return Ok(Some(Ok(line)));
        }
        self.input.skip_until(b'\n')?;
        Ok(Some(Err("the line is longer than 64 KiB")))
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let read = match self.read() {
                Ok(read) => read?,
                Err(error) => return Some(Err(error)),
            };
            let number = self.number;
            let text = read.and_then(|line| {
                String::from_utf8(line).map_err(|_| "the line is no text in UTF-8")
            });
            let text = match &text {
                Ok(text) => text.trim_start_matches('\u{feff}').trim(),
                Err(why) => return Some(Ok(Line { number, address: Err(why), reason: None })),
            };
            if text.is_empty() {
                continue;
            }
            if text.contains('\r') {
                let why = "a line ends in CR alone: save the file with LF or CRLF";
                return Some(Ok(Line { number, address: Err(why), reason: None }));
            }
            let columns = match self.columns {
                Some(columns) => columns,
                None => {
                    let columns = match self.begin(text) {
                        Ok(columns) => columns,
                        Err(none) => return Some(Err(io::Error::other(none))),
                    };
                    self.columns = Some(columns);
                    if columns.has_names {
                        continue;
                    }
                    columns
                }
            };
            let cells = cells(text, columns.delimiter);
            let reason = columns.reason.and_then(|at| reason(cells.get(at)?));
            let address = cells.into_iter().nth(columns.address).filter(|cell| !cell.is_empty());
            let address = address.ok_or("there is nothing in the address's column");
            return Some(Ok(Line { number, address, reason }));
        }
    }
}

impl Columns {
    /// As the first line has them.
    fn of(line: &str) -> Self {
        let delimiter = line.bytes().find(|byte| b",;\t".contains(byte)).unwrap_or(b',');
        let names = cells(line, delimiter);
        match names.iter().any(|name| ADDRESS.contains(&letters(name).as_str())) {
            true => Self::named(delimiter, &names),
            false => Self { delimiter, address: 0, reason: Some(1), has_names: false },
        }
    }

    /// By their names.
    fn named(delimiter: u8, names: &[String]) -> Self {
        let names: Vec<_> = names.iter().map(|cell| letters(cell)).collect();
        let first = |known: &[&str]| names.iter().position(|name| known.contains(&name.as_str()));
        Self {
            delimiter,
            address: first(&ADDRESS).unwrap_or_default(),
            reason: first(&["reason", "suppressionreason", "type", "suppressiontype"]),
            has_names: true,
        }
    }
}

/// The cells of one line.
fn cells(line: &str, delimiter: u8) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => record.iter().map(str::to_owned).collect(),
        _ => vec![line.to_owned()],
    }
}

fn reason(cell: &str) -> Option<Reason> {
    let word = letters(cell);
    REASONS.iter().find(|(known, _)| *known == word).map(|(_, reason)| *reason)
}

fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(u64, Result<String, &'static str>, Option<Reason>)> {
        let lines = Lines::of(text, None).map(Result::unwrap);
        lines.map(|it| (it.number, it.address, it.reason)).collect()
    }

    fn is(
        number: u64,
        address: &str,
        reason: Option<Reason>,
    ) -> (u64, Result<String, &'static str>, Option<Reason>) {
        (number, Ok(address.to_owned()), reason)
    }

    #[test]
    fn one_a_line_is_taken_as_it_stands() {
        let read = read("\u{feff}a@b.example\r\n\n  +49 30 1234567  \nlast@b.example".as_bytes());
        let all = [
            is(1, "a@b.example", None),
            is(3, "+49 30 1234567", None),
            is(4, "last@b.example", None),
        ];
        assert_eq!(read, all);
    }

    #[test]
    fn columns_are_found_by_their_names_and_by_their_place() {
        let named = read(b"status,\"Email Address\",created,Reason\n5.1.1,a@b.example,17,\"550 5.1.1, no such user\"\n,b@b.example,17,BOUNCE\n");
        assert_eq!(
            named,
            [is(2, "a@b.example", None), is(3, "b@b.example", Some(Reason::Bounced))]
        );
        let semicolons = read(b"phone;reason\n+4930123456;unsubscribed\n");
        assert_eq!(semicolons, [is(2, "+4930123456", Some(Reason::Unsubscribed))]);
        let places = read(b"a@b.example,COMPLAINT\nb@b.example\nc@b.example, why not\n");
        let all = [
            is(1, "a@b.example", Some(Reason::Complained)),
            is(2, "b@b.example", None),
            is(3, "c@b.example", None),
        ];
        assert_eq!(places, all);
        // One whose name begins as a column's does is somebody.
        assert_eq!(read(b"email@b.example\n"), [is(1, "email@b.example", None)]);
    }

    #[test]
    fn of_several_columns_with_addresses_the_first_is_read_or_the_one_that_is_named() {
        let file = b"id,Phone,E-Mail,reason\n1,+4930123456,a@b.example,bounce\n".as_slice();
        let addresses = |column: Option<&str>| {
            let mut lines = Lines::of(file, column);
            let all: Vec<_> = lines.by_ref().map(|it| it.unwrap().address.unwrap()).collect();
            (all.join(" "), lines.read.unwrap())
        };
        let names = |read: &str, other: &str| (read.to_owned(), vec![other.to_owned()]);
        assert_eq!(addresses(None), ("+4930123456".to_owned(), names("Phone", "E-Mail")));
        assert_eq!(addresses(Some("e-mail")), ("a@b.example".to_owned(), names("E-Mail", "Phone")));
        // One whose name says nothing.
        let both = vec!["Phone".to_owned(), "E-Mail".to_owned()];
        assert_eq!(addresses(Some("id")), ("1".to_owned(), ("id".to_owned(), both)));
        let mut none = Lines::of(file, Some("mobile"));
        let error = none.next().unwrap().unwrap_err().to_string();
        let expected =
            "the first line names no column `mobile`; it has `id`, `Phone`, `E-Mail`, `reason`";
        assert_eq!(error, expected);
        let mut bare = Lines::of(b"a@b.example\n".as_slice(), None);
        assert!(bare.next().unwrap().is_ok() && bare.read.is_none());
    }

    #[test]
    fn lines_that_end_in_cr_alone_are_named() {
        for file in ["a@b.example\rb@b.example\r", "email,reason\ra@b.example,bounce\r"] {
            let read = read(file.as_bytes());
            assert_eq!(read.len(), 1);
            assert!(read[0].1.as_ref().unwrap_err().contains("CR alone"), "{file:?}");
        }
    }

    #[test]
    fn no_line_takes_another_with_it() {
        let quote = read(b"a@b.example,\"begun\nb@b.example\n\"c@b.example\nd@b.example\n");
        let addresses: Vec<_> =
            quote.iter().map(|(number, address, _)| (*number, address.clone().unwrap())).collect();
        let expected =
            [(1, "a@b.example"), (2, "b@b.example"), (3, "c@b.example"), (4, "d@b.example")];
        assert_eq!(addresses, expected.map(|(number, text)| (number, text.to_owned())));
        let mut long = b"x".repeat(3 * LONGEST);
        long.extend(b"\na@b.example\n\xff@b.example\n,x\n");
        let read = read(&long);
        assert!(read[0].1.as_ref().unwrap_err().contains("64 KiB"));
        assert_eq!(read[1], is(2, "a@b.example", None));
        assert!(
            read[2].1.as_ref().unwrap_err().contains("UTF-8")
                && read[3].1.as_ref().unwrap_err().contains("nothing")
        );
        assert_eq!(read.len(), 4);
    }
}
