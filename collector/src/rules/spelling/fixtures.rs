//! The same names as fixtures write them: what a fixture sends under a name that no rule knows proves nothing, and passes where nothing is
//! expected. Promises a doubt only where a rule knows one that is all but the same: that nothing comes of another event is worth a
//! test, too. Deliberately runs nothing: see `fixture`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use toml::de::{DeTable, DeValue};

use super::{
    super::file::{RuleError, Source, text},
    Kind, Plain, Written,
};

/// The names in a folder's fixtures, as far as those can be read; of which too much would have to be, that is doubted.
pub(super) fn names(folder: &Path, doubted: &mut Vec<RuleError>) -> Vec<Written> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if !path.to_string_lossy().ends_with(".test.toml") {
            continue;
        }
        let file = path.display().to_string();
        match text(&path, "fixture file") {
            Ok(Ok(text)) => {
                let source = Source::new(file, text);
                if let Ok(document) = DeTable::parse(&source.text) {
                    names_in(document.get_ref(), &source, &mut found);
                }
            }
            Ok(Err(why)) => {
                let message = format!("{why}: `rules test` does not run it");
                doubted.push(RuleError { file, line: 0, message });
            }
            Err(_) => {}
        }
    }
    // A folder is read in any order.
    found.sort_by(|a, b| (&a.file, a.line, a.kind).cmp(&(&b.file, b.line, b.kind)));
    found
}

/// Looks for events in all that a table holds.
fn names_in(table: &DeTable<'_>, source: &Source, found: &mut Vec<Written>) {
    let written = |kind, name: &str, at: usize| {
        let (file, line) = (source.name.clone(), source.line(at));
        Written { kind, name: name.to_owned(), file, line }
    };
    for (key, value) in table {
        let at = value.span().start;
        let keys = |kind: Kind, of: &DeTable<'_>| -> Vec<Written> {
            of.keys().map(|key| written(kind, key.get_ref(), key.span().start)).collect()
        };
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("track", DeValue::String(name)) => found.push(written(Kind::Track, name, at)),
            ("page", DeValue::String(name)) => found.push(written(Kind::Page, name, at)),
            ("screen", DeValue::String(name)) => found.push(written(Kind::Screen, name, at)),
            ("identify" | "traits", DeValue::Table(of)) => found.extend(keys(Kind::Trait, of)),
            ("properties", DeValue::Table(of)) => found.extend(keys(Kind::Property, of)),
            (_, DeValue::Table(of)) => names_in(of, source, found),
            (_, DeValue::Array(list)) => {
                let tables = list.iter().filter_map(|it| it.get_ref().as_table());
                tables.for_each(|of| names_in(of, source, found));
            }
            _ => {}
        }
    }
}

/// Doubts each name that no rule knows, in each file once. Of two of which the rule's is doubted already the fixture's is meant.
pub(super) fn doubt(
    names: &[Written],
    known: &BTreeSet<(Kind, &str)>,
    settled: &[(Kind, &str, &str)],
    found: &mut Vec<RuleError>,
) {
    let mut of_kind: BTreeMap<Kind, Vec<(&str, Plain)>> = BTreeMap::new();
    for (kind, name) in known {
        of_kind.entry(*kind).or_default().push((name, Plain::of(name)));
    }
    let mut told = BTreeSet::new();
    for Written { kind, name, file, line } in names {
        if known.contains(&(*kind, name)) || !told.insert((file, *kind, name)) {
            continue;
        }
        let this = Plain::of(name);
        let others = of_kind.get(kind).into_iter().flatten();
        let meant = others.filter(|(_, plain)| this.is_like(plain)).map(|(other, _)| *other);
        let is_meant = |other: &&str| !settled.contains(&(*kind, *other, name));
        if let Some(other) = meant.into_iter().find(is_meant) {
            let message =
                format!("no rule knows the {} `{name}`; did you mean `{other}`?", kind.word());
            found.push(RuleError { file: file.clone(), line: *line, message });
        }
    }
}
