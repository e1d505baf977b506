//! `headwater import --map`: rows of a table, CSV or lines of JSON, become events as a mapping says, with `row` for each.
//! Promises that every row becomes events, is ignored or is named with its line, that the same file imported twice is stored once,
//! and that no row, however long, takes more memory than a line may have. Deliberately knows nothing of where the table is from.

use std::{
    io::{self, BufRead, Read},
    path::Path,
};

use serde_json::{Map, Value};

use super::{ImportError, Imported, Importing, MAX_LINE_BYTES, Progress};
use crate::{
    decode::{Shape, WireBatch},
    event_log::{Clock, NewEvent, Origin, SourceName, Trust},
    inbound::mapping::{About, Made, Mapping},
    limits::MAX_EVENT_BYTES,
    suppressed::Suppressed,
    validate::{Memory, Sender, Validated, validate},
};

/// What the rows look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A first line with names, values between these. All of them are texts.
    Csv {
        /// `,` most often.
        delimiter: u8,
    },
    /// A JSON value a line.
    Ndjson,
}

/// Stores what the mapping makes of the rows. Blocks on `rows` and on the disk.
pub async fn import(
    data: &Path,
    rows: &mut impl BufRead,
    format: Format,
    mapping: &Mapping,
    source: &SourceName,
    progress: &mut impl Progress,
) -> Result<Imported, ImportError> {
    let mut importing = Importing::begin(data, progress)?;
    match format {
        Format::Ndjson => {
            let mut line = Vec::new();
            while importing.next_line(rows, &mut line)? {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let row = match line.len() > MAX_LINE_BYTES {
                    true => Err(format!("too_large: a line has at most {MAX_LINE_BYTES} bytes")),
                    false => {
                        serde_json::from_slice(&line).map_err(|error| format!("not JSON: {error}"))
                    }
                };
                importing.row(row, mapping, source).await?;
            }
        }
        Format::Csv { delimiter } => {
            let mut table = Table::open(rows, delimiter)?;
            while let Some((line, row)) = table.next()? {
                importing.imported.lines = line;
                importing.row(row, mapping, source).await?;
            }
        }
    }
    importing.finish().await
}

impl<P: Progress> Importing<'_, P> {
    async fn row(
        &mut self,
        row: Result<Value, String>,
        mapping: &Mapping,
        source: &SourceName,
    ) -> Result<(), ImportError> {
        let row = match row {
            Ok(row) => row,
            Err(why) => {
                self.refuse(&why);
                return Ok(());
            }
        };
        let mapped = mapping.map(&About { subject: &row, headers: &[], id: None, until: None });
        self.imported.ignored += mapped.ignored;
        for failure in mapped.failures {
            self.refuse(&failure.to_string());
        }
        for made in &mapped.events {
            match event(made, source, &self.clock, self.suppressed.as_ref()) {
                Ok(event) => self.add(event).await?,
                Err(why) => self.refuse(&mapping.not_taken(made, &why).to_string()),
            }
        }
        Ok(())
    }
}

fn event(
    made: &Made,
    source: &SourceName,
    clock: &Clock,
    suppressed: Option<&Suppressed>,
) -> Result<NewEvent<'static>, String> {
    let sender = Sender {
        // Who may write into the data folder has said what it means.
        trust: Trust::Server,
        max_event_bytes: MAX_EVENT_BYTES,
        suppressed,
        ..Sender::new(source.clone(), clock())
    };
    let body = format!("{{\"batch\":[{}]}}", made.json);
    let batch =
        WireBatch::parse(body.as_bytes(), Shape::Batch).map_err(|why| format!("{why:?}"))?;
    let memory = Memory::new();
    let Validated { mut events, refused, .. } =
        validate(&batch, Shape::Batch, &sender, &memory, String::new);
    match events.pop() {
        Some(event) => Ok(NewEvent { origin: Origin::Import, ..event.into_owned() }),
        None => {
            let why = refused.first().map(|it| format!("{}: {}", it.reason.as_str(), it.detail));
            Err(why.unwrap_or_default())
        }
    }
}

/// A CSV file.
struct Table<R> {
    reader: csv::Reader<Bounded<R>>,
    names: Vec<String>,
    record: csv::StringRecord,
}

/// A row and its line, from 1.
type Row = (u64, Result<Value, String>);

impl<R: Read> Table<R> {
    fn open(rows: R, delimiter: u8) -> Result<Self, ImportError> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(csv::Trim::Headers)
            .from_reader(Bounded { rows, left: MAX_LINE_BYTES });
        let names = reader.headers().map_err(|error| unreadable(1, error))?;
        let names: Vec<String> = names.iter().map(str::to_owned).collect();
        if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            let why = format!("two columns are called `{}`; rename one", names[twice]);
            let cause = io::Error::new(io::ErrorKind::InvalidData, why);
            return Err(ImportError::Unreadable { line: 1, cause });
        }
        Ok(Self { reader, names, record: csv::StringRecord::new() })
    }

    fn next(&mut self) -> Result<Option<Row>, ImportError> {
        self.reader.get_mut().left = MAX_LINE_BYTES;
        let line = self.reader.position().line();
        match self.reader.read_record(&mut self.record) {
            Ok(false) => Ok(None),
            Ok(true) => {
                let line = self.record.position().map_or(line, csv::Position::line);
                let values = self.record.iter().map(|value| Value::String(value.to_owned()));
                let row: Map<_, _> = self.names.iter().cloned().zip(values).collect();
                Ok(Some((line, Ok(Value::Object(row)))))
            }
            Err(error) => {
                let line = error.position().map_or(line, csv::Position::line);
                let why = match error.kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        format!("{len} values, and the first line has {expected_len} names")
                    }
                    csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
                    _ => return Err(unreadable(line, error)),
                };
                Ok(Some((line, Err(why))))
            }
        }
    }
}

fn unreadable(line: u64, error: csv::Error) -> ImportError {
    let cause = match error.into_kind() {
        csv::ErrorKind::Io(cause) => cause,
        other => io::Error::other(format!("{other:?}")),
    };
    ImportError::Unreadable { line, cause }
}

/// A quote that is never closed would make one row of the rest of a file.
struct Bounded<R> {
    rows: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let message = format!(
                "a row has at most {MAX_LINE_BYTES} bytes; is there a quote that is not closed?"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let most = buffer.len().min(self.left);
        let read = self.rows.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}
