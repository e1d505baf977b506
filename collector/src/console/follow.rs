//! A timeline with its filter, and where to go on and to follow it, as the templates want it.
//! Promises that addresses say the whole filter. Deliberately asks nobody: it is given everything.

use std::collections::{BTreeMap, BTreeSet};

use super::{story::Story, views::part};
use crate::people::{Page, Wanted};

/// A timeline, and what is wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct StoryView {
    pub(crate) title: &'static str,
    /// Its page, without a query.
    pub(crate) base: String,
    pub(crate) story: Story,
    pub(crate) sources: Vec<String>,
    pub(crate) calls: &'static [&'static str],
    pub(crate) names: BTreeSet<String>,
    pub(crate) source: String,
    pub(crate) call: String,
    pub(crate) name: String,
    pub(crate) is_filtered: bool,
    pub(crate) older: Option<String>,
    pub(crate) newest: Option<String>,
    /// Where to follow it, unless it is an older page.
    pub(crate) stream: Option<String>,
    /// Records that came while it was open.
    pub(crate) fresh: BTreeSet<String>,
    /// The names of people, where it is of several.
    pub(crate) people: BTreeMap<String, String>,
}

const CALLS: &[&str] = &["track", "page", "screen", "identify", "group", "alias"];

impl StoryView {
    pub(crate) fn of(
        title: &'static str,
        base: String,
        wanted: &Wanted,
        page: Page,
        is_live: bool,
    ) -> Self {
        let filter = filter(wanted);
        let names = page.chapters.iter().flat_map(|chapter| &chapter.moments);
        let names =
            names.filter(|moment| !moment.name.is_empty()).map(|moment| moment.name.clone());
        let names = names.collect();
        let story = Story::of(page);
        let is_latest = wanted.before.is_none();
        let older = story.next.as_ref().map(|next| format!("{base}?{filter}before={}", part(next)));
        Self {
            title,
            older,
            newest: (!is_latest).then(|| format!("{base}?{filter}")),
            stream: (is_latest && is_live).then(|| format!("{base}/live?{filter}")),
            base,
            story,
            sources: Vec::new(),
            calls: CALLS,
            names,
            source: wanted.source.clone().unwrap_or_default(),
            call: wanted.call.clone().unwrap_or_default(),
            name: wanted.name.clone().unwrap_or_default(),
            is_filtered: !filter.is_empty(),
            fresh: BTreeSet::new(),
            people: BTreeMap::new(),
        }
    }
}

/// As the beginning of a query.
fn filter(wanted: &Wanted) -> String {
    let pairs =
        [("source", &wanted.source), ("type", &wanted.call), ("event", &wanted.name)].into_iter();
    let pairs = pairs.filter_map(|(name, value)| Some((name, value.as_deref()?)));
    pairs.map(|(name, value)| format!("{name}={}&", part(value))).collect()
}
