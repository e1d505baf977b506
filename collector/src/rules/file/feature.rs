//! `[features.NAME]`. Promises one way of counting, and keys that go with it. Deliberately counts nothing.

use std::{fmt::Write as _, time::Duration};

use toml::Spanned;

use super::{
    super::{
        aggregate::Operation,
        part::{Part, Per},
        set::Feature,
    },
    Mistake, Reading,
    part::{OF_AN_EVENT, Place, Wanted},
    raw::{RawFeature, Text, all},
};

impl Reading<'_> {
    pub(super) fn feature(&self, name: Text, raw: Spanned<RawFeature>) -> Result<Feature, Mistake> {
        let at = name.span().start;
        let mut raw = raw.into_inner();
        let (operation, value) = raw.operation().map_err(|message| (at, message))?;
        let is_number = matches!(operation, Operation::Sum | Operation::Min | Operation::Max);
        let is_ordered = matches!(operation, Operation::First | Operation::Last);
        if raw.window.is_some() && is_ordered {
            let message = "the first and the last have no `window`; look at how long ago it is with `days_since`";
            return Err((at, message.to_owned()));
        }
        if let Some(ago) = &raw.ago {
            let at = ago.span().start;
            if raw.window.is_none() {
                let message = "`ago` goes with `window`: it is how long ago that ended";
                return Err((at, message.to_owned()));
            }
            // Of a value it is known when it was last seen, and not whether it was there before.
            let is_by_time = matches!(operation, Operation::Count | Operation::Dwell(_));
            if !is_number && !is_by_time {
                let message = "`ago` goes with `count`, `sum`, `min`, `max` and `dwell`";
                return Err((at, message.to_owned()));
            }
        }
        let wanted = if is_number { Wanted::Number } else { Wanted::Anything };
        let place = |key| Place { key, variables: OF_AN_EVENT, per: raw.per, wanted };
        let condition = Place { wanted: Wanted::Truth, ..place("if") };
        let condition = raw.condition.and_then(|text| self.keep(self.part(&text, condition)));
        let word = format!("{operation:?}").to_lowercase();
        let value = value.and_then(|text| self.keep(self.part(&text, place(&word))));
        let on = self.keep(self.all_of(all(raw.on))).unwrap_or_default();
        let text = |part: &Option<Part>| part.as_ref().map(|it| it.expression.text().to_owned());
        let mut key = format!(
            "{} {on:?} {:?} {operation:?} {:?} {:?} {:?}",
            name.get_ref(),
            text(&condition),
            text(&value),
            raw.window,
            raw.per,
        );
        let ago = raw.ago.map_or(Duration::ZERO, |ago| ago.into_inner().0);
        if !ago.is_zero() {
            let _ = write!(key, " {ago:?}");
        }
        Ok(Feature {
            name: name.into_inner(),
            per: raw.per,
            on,
            condition,
            operation,
            value,
            window: raw.window.map(|it| it.0),
            ago,
            answers: None,
            key,
        })
    }
}

impl Feature {
    /// One that cannot be read, for those that look at it: of what they say only the rest is judged.
    pub(super) fn hollow(name: &str, per: Per) -> Self {
        Self {
            name: name.to_owned(),
            per,
            on: Vec::new(),
            condition: None,
            operation: Operation::Count,
            value: None,
            window: None,
            ago: Duration::ZERO,
            answers: None,
            key: String::new(),
        }
    }
}
