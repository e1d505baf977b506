//! `[scores.NAME]` of terms. Promises that it does not look at itself. Deliberately leaves those of models to `model`.

use super::{
    super::part::Per,
    super::set::{RuleSet, Score, Squash},
    MOST_PARTS, Mistake, Reading,
    part::{OF_A_SUBJECT, Place, Wanted},
    raw::{RawScore, Text},
};

/// How deep scores may look at scores.
const MOST_SCORES_DEEP: usize = 8;

impl Reading<'_> {
    pub(super) fn score(&self, name: Text, raw: RawScore) -> Result<Score, Mistake> {
        let at = name.span().start;
        Self::refuse_without_model(&name, &raw)?;
        if raw.terms.is_empty() || raw.terms.len() > MOST_PARTS {
            return Err((at, format!("a score has 1 to {MOST_PARTS} `terms`, each with a name")));
        }
        let mut terms: Vec<_> = raw.terms.into_iter().collect();
        terms.sort_by_key(|(name, _)| name.span().start);
        let terms = terms.into_iter().filter_map(|(name, text)| {
            let key = format!("terms.{}", name.get_ref());
            let place =
                Place { key: &key, variables: OF_A_SUBJECT, per: raw.per, wanted: Wanted::Number };
            Some((name.into_inner(), self.keep(self.part(&text, place))?))
        });
        Ok(Score {
            name: name.into_inner(),
            per: raw.per,
            description: raw.description,
            terms: terms.collect(),
            squash: raw.squash,
            model: None,
        })
    }
}

impl Score {
    /// One that cannot be read, for those that look at it.
    pub(super) fn hollow(name: &str, per: Per) -> Self {
        let (terms, squash) = (Vec::new(), Squash::None);
        Self { name: name.to_owned(), per, description: None, terms, squash, model: None }
    }
}

impl RuleSet {
    /// A score that looks at itself, by way of others, has no value.
    pub(super) fn refuse_circle(&self, of: usize, path: &mut Vec<usize>) -> Result<(), String> {
        let name = &self.scores[of].name;
        if path.contains(&of) {
            return Err(format!("the score `{name}` looks at itself"));
        }
        if path.len() > MOST_SCORES_DEEP {
            return Err(format!("scores look at scores at most {MOST_SCORES_DEEP} deep"));
        }
        path.push(of);
        for part in self.scores[of].parts() {
            for next in &part.scores {
                self.score(next).map_or(Ok(()), |next| self.refuse_circle(next, path))?;
            }
        }
        path.pop();
        Ok(())
    }
}
