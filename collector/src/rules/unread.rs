//! Features and scores that nothing reads: a rule that was taken out has left them, or the rule that was to read them was forgotten.
//! Promises doubts, and no mistakes: people and programs may read them all the same. Deliberately asks no log.

use std::collections::BTreeSet;

use super::{
    file::RuleError,
    part::Part,
    rule::{Measure, Rule, When},
    set::RuleSet,
};

/// Where a feature or a score begins.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) what: Kept,
    pub(super) name: String,
    pub(super) file: String,
    pub(super) line: usize,
}

/// What there is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Feature,
    Score,
}

/// What no rule and no score reads; a template can only read what its rule does.
pub(crate) fn unread(set: &RuleSet) -> Vec<RuleError> {
    // A folder without any rule is there for the export.
    if set.rules.is_empty() {
        return Vec::new();
    }
    let (mut features, mut scores) = (BTreeSet::new(), BTreeSet::new());
    let of_scores = set.scores.iter().flat_map(|score| score.parts());
    let parts: Vec<&Part> = set.rules.iter().flat_map(Rule::parts).chain(of_scores).collect();
    for part in parts {
        features.extend(part.features.iter().map(String::as_str));
        scores.extend(part.scores.iter().map(String::as_str));
    }
    for rule in &set.rules {
        match &rule.when {
            When::Crosses(crossing) => match crossing.of {
                Measure::Feature(at) => features.insert(&set.features[at].name),
                Measure::Score(at) => scores.insert(&set.scores[at].name),
            },
            _ => continue,
        };
    }
    let is_unread = |it: &&Declared| match it.what {
        Kept::Feature => !features.contains(it.name.as_str()),
        Kept::Score => !scores.contains(it.name.as_str()),
    };
    let doubt = |Declared { what, name, file, line }: &Declared| {
        let message = match what {
            Kept::Feature => format!(
                "no rule and no score reads the feature `{name}`: it is kept for `headwater features export` alone"
            ),
            Kept::Score => format!(
                "no rule and no other score reads the score `{name}`: it is only shown of whom it is about"
            ),
        };
        RuleError { file: file.clone(), line: *line, message }
    };
    set.declared.iter().filter(is_unread).map(doubt).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::file::Source, *};

    fn told(rules: &str) -> Vec<String> {
        let set = RuleSet::parse(&[Source::new("a.toml", rules)]).unwrap();
        unread(&set).iter().map(ToString::to_string).collect()
    }

    const READ: &str = "[features.asked]\non = 'A'\ncount = true\n\
        [features.termed]\non = 'A'\ncount = true\n\
        [features.crossed]\non = 'A'\ncount = true\n\
        [features.told]\non = 'A'\ncount = true\n\
        [features.still]\non = 'A'\nlast = 'event.time'\n\
        [scores.below]\nterms = { a = 'double(features.termed)' }\n\
        [scores.above]\nterms = { a = 'scores.below' }\n\
        [scores.model]\nmodel = 'm'\non = 'A'\nfallback = 0.0\ninputs = { n = 'features.told' }\n\
        [rules.a]\non = 'A'\nif = 'features.asked > 1 && scores.model > 0.5'\nthen = []\n\
        [rules.b]\ncrosses = { feature = 'crossed', above = 1.0 }\nthen = []\n\
        [rules.c]\ncrosses = { score = 'above', above = 1.0 }\nthen = []\n\
        [rules.d]\non = 'A'\nat = 'event.properties.at'\nstill = 'features.still == event.time'\nenabled = false\nthen = []\n";

    #[test]
    fn what_a_rule_or_a_score_reads_in_any_way_is_not_doubted() {
        assert_eq!(told(READ), Vec::<String>::new());
    }

    #[test]
    fn what_nothing_reads_is_doubted_with_its_place() {
        let rules = READ.replace("features.asked > 1 && scores.model > 0.5", "true");
        let rules = rules.replace("score = 'above'", "feature = 'crossed'");
        let (feature, score) = (
            "no rule and no score reads the feature",
            "no rule and no other score reads the score",
        );
        let expected = [
            format!(
                "a.toml:1: {feature} `asked`: it is kept for `headwater features export` alone"
            ),
            format!("a.toml:18: {score} `above`: it is only shown of whom it is about"),
            format!("a.toml:20: {score} `model`: it is only shown of whom it is about"),
        ];
        assert_eq!(told(&rules), expected);
    }

    #[test]
    fn a_folder_of_features_alone_is_for_the_export() {
        assert_eq!(told("[features.n]\non = 'A'\ncount = true\n"), Vec::<String>::new());
    }
}
