//! The suppression list as the templates want it: which addresses nothing is sent to, why, since when and by whom.
//! Promises that an address of somebody who was erased is never named. Deliberately asks nobody: it is given everything.

use super::{
    views::part,
    words::{When, count},
};
use crate::{
    desk::{Suppression, SuppressionPage},
    state::SuppressionReason,
};

/// An address that nothing is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SuppressedView {
    /// Nothing, once its person was erased.
    pub(crate) address: Option<String>,
    /// Where who that is can be found.
    pub(crate) whose: Option<String>,
    pub(crate) reason: &'static str,
    /// The same as a sentence.
    pub(crate) because: &'static str,
    pub(crate) since: When,
    pub(crate) by: String,
}

/// Some of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SuppressionsView {
    /// How many there are in all.
    pub(crate) count: String,
    pub(crate) listed: Vec<SuppressedView>,
    pub(crate) reasons: Vec<&'static str>,
    pub(crate) reason: String,
    pub(crate) older: Option<String>,
    pub(crate) newest: Option<String>,
    /// The one address that was asked about.
    pub(crate) address: String,
    /// What is wrong with what was asked for.
    pub(crate) problem: Option<String>,
    /// How many are shown, in words, where those are not all.
    pub(crate) shown: Option<String>,
}

pub(crate) const SUPPRESSIONS: &str = "/console/suppressions";

/// Where it is said whether nothing is sent to an address, and why.
pub(crate) fn suppression_address(address: &str) -> String {
    format!("{SUPPRESSIONS}?address={}", part(address))
}

impl SuppressedView {
    fn of(it: &Suppression) -> Self {
        Self {
            address: it.address.clone(),
            whose: it.address.as_deref().map(|address| format!("/console?q={}", part(address))),
            reason: it.reason.as_str(),
            because: match it.reason {
                SuppressionReason::Manual => "Somebody decided it",
                SuppressionReason::Bounced => "There is no such mailbox",
                SuppressionReason::Complained => "A mail was called spam",
                SuppressionReason::Unsubscribed => "They want no more",
            },
            since: When::of(&it.since),
            by: it.by.clone(),
        }
    }
}

impl SuppressionsView {
    /// A page, `is_later` where there are newer ones.
    pub(crate) fn of(
        page: &SuppressionPage,
        reason: Option<SuppressionReason>,
        is_later: bool,
    ) -> Self {
        let reason = reason.map_or("", SuppressionReason::as_str);
        let only = if reason.is_empty() { String::new() } else { format!("reason={reason}") };
        let and = if only.is_empty() { "" } else { "&" };
        let older =
            page.next.as_ref().map(|next| format!("{SUPPRESSIONS}?{only}{and}before={next}"));
        let number = count(page.suppressions.len() as u64, "address", "addresses");
        Self {
            count: count(page.count, "address", "addresses"),
            listed: page.suppressions.iter().map(SuppressedView::of).collect(),
            reasons: SuppressionReason::ALL.map(SuppressionReason::as_str).to_vec(),
            reason: reason.to_owned(),
            shown: match (older.is_some(), is_later) {
                (true, false) => Some(format!("The latest {number}; there may be older ones.")),
                (true, true) => Some(format!("{number} further back; there may be older ones.")),
                (false, true) => Some(format!("{number} further back, the oldest there are.")),
                (false, false) if reason.is_empty() => None,
                (false, false) => Some(format!("{number} for this reason.")),
            },
            older,
            newest: is_later.then(|| format!("{SUPPRESSIONS}?{only}").trim_end_matches('?').into()),
            ..Self::default()
        }
    }

    /// What came of the question about one address.
    pub(crate) fn of_address(page: &SuppressionPage, address: &str) -> Self {
        Self { address: address.to_owned(), ..Self::of(page, None, false) }
    }

    pub(crate) fn with_problem(self, problem: String) -> Self {
        Self { problem: Some(problem), ..self }
    }
}
