//! What operators look at: how consumers stand, and the addresses that nothing is sent to.
//! Promises no more than the terminal's commands show, and a bounded list. Deliberately changes nothing: orders are given on the
//! terminal and over the API.

use hyper::StatusCode;

use super::{
    Http,
    answer::Failure,
    console::{Paged, Pairs, html},
};
use crate::{
    console::{ConsumerView, ConsumersPage, Session, SuppressionsPage, SuppressionsView},
    desk::{DeskError, SuppressionPage},
    state::{self, Place, SuppressionReason},
};

/// Addresses of a page, as many as `headwater suppressions list` prints.
const PAGE: usize = 50;

/// What an address can say of the suppression list.
const WORDS: [&str; 3] = ["address", "reason", "before"];

/// What is asked of the suppression list.
enum Asked {
    Address(String),
    Latest(Option<SuppressionReason>, Option<Place>),
}

impl Asked {
    /// Or what is wrong with it, in a sentence.
    fn of(query: &Pairs) -> Result<Self, String> {
        if let Some(name) = query.names().find(|name| !WORDS.contains(name)) {
            return Err(format!("“{name}” is nothing to ask for: “address” and “reason” are."));
        }
        if let Some(address) = query.given("address") {
            return Ok(Self::Address(address));
        }
        let reason = query.given("reason").map(|text| {
            let found = SuppressionReason::ALL.into_iter().find(|known| known.as_str() == text);
            let known = SuppressionReason::ALL.map(SuppressionReason::as_str).join(", ");
            found.ok_or_else(|| format!("“{text}” is no reason: there are {known}."))
        });
        let before = query.given("before").map(|text| {
            let wrong = |_| format!("“{text}” is no place in this list: follow the link “Older”.");
            text.parse().map_err(wrong)
        });
        Ok(Self::Latest(reason.transpose()?, before.transpose()?))
    }
}

impl Http {
    /// How each consumer stands.
    pub(super) async fn consumers_page(&self, session: &Session) -> Paged {
        let mut consumers = Vec::with_capacity(self.consumers.len());
        for handle in self.consumers.values() {
            let listed = handle.listed().await.map_err(Failure::from)?;
            consumers.push(ConsumerView::of(&listed));
        }
        let frame = self.console.frame("Consumers", "consumers", Some(session));
        let end = self.ingest.log.end().borrow().to_string();
        Ok(html(&ConsumersPage { frame, end, consumers }))
    }

    /// The suppression list: the latest, for one reason, or whether one address is on it.
    pub(super) async fn suppressions_page(&self, query: &Pairs, session: &Session) -> Paged {
        let mut status = StatusCode::OK;
        let s = match Asked::of(query) {
            Ok(Asked::Address(text)) => match state::address(&text) {
                Ok(address) => {
                    SuppressionsView::of_address(&self.desk.suppression(address).await?, &text)
                }
                Err(error) => {
                    status = StatusCode::BAD_REQUEST;
                    let view = SuppressionsView::of_address(&self.none_listed().await?, &text);
                    view.with_problem(format!("“{text}” cannot be on the list: {error}."))
                }
            },
            Ok(Asked::Latest(reason, before)) => {
                let page = self.desk.suppressions(before, reason, PAGE).await?;
                SuppressionsView::of(&page, reason, before.is_some())
            }
            Err(problem) => {
                status = StatusCode::BAD_REQUEST;
                let page = self.none_listed().await?;
                SuppressionsView::of(&page, None, false).with_problem(problem)
            }
        };
        let frame = self.console.frame("Suppression list", "suppressions", Some(session));
        let mut answer = html(&SuppressionsPage { frame, s });
        *answer.status_mut() = status;
        Ok(answer)
    }

    /// How many there are, and none of them.
    async fn none_listed(&self) -> Result<SuppressionPage, DeskError> {
        self.desk.suppressions(None, None, 0).await
    }
}
