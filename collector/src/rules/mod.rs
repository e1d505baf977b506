//! What operators want to be told of: features that are counted, scores made of them, and rules that say when something is to be
//! done. Promises that rules are a function of the log, as people are, and that each firing says why.
//! Deliberately sends nothing: what is to be done stands in a table that `actions` reads.
//!
//! ```text
//! rule files ─▶ file ─▶ set ─┐
//! record, as people have it ─▶ fold ─┬─▶ kept: features, by identifier ─▶ scope: what expressions see
//!                                    ├─▶ waiting: timers, second looks, steps
//!                                    └─▶ firing: firings with their reasons, and actions; untold: of which nothing came; decision
//! the log, once more ─▶ trial ─┬─▶ backtest, fixture: what rules would have come to
//!                              └─▶ rows: what features stood at
//! ```

mod aggregate;
mod backtest;
mod bounds;
mod called;
mod calls;
mod decision;
mod earlier;
mod event;
mod file;
mod fired;
mod firing;
mod fixture;
mod fold;
mod functions;
mod kept;
mod lately;
mod legible;
mod length;
mod part;
mod rows;
mod rule;
mod scope;
mod sends;
mod set;
mod shown;
mod spelling;
mod tally;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod trial;
mod unjudged;
mod unread;
mod untold;
mod waiting;
mod wall;

pub use backtest::{
    BacktestError, BeforeAndNow, Compared, Counted, Moved, NOT_JUDGED, Once, backtest,
};
pub use called::Called;
pub use file::{RuleError, RuleErrors};
pub use fired::{Acted, Fired, Waiting};
pub use firing::ActionState;
pub use fixture::Tested;
pub(crate) use fold::WAITS;
pub use fold::{Came, Looked, Waited};
pub use part::Per;
pub use rows::{Asked, Exported, Row, RowsError, rows};
pub use scope::{Answered, Reason, Scored, Term};
pub use sends::{ByTime, Sends, Told};
pub use set::RuleSet;
pub use shown::RuleShown;

pub(crate) use bounds::Bounds;
pub(crate) use decision::{CameTo, Heard, Unanswered, asked_at, came_to, instead, with_answers};
pub(crate) use earlier::{LetGo, carry, done_for, let_go, said};
pub(crate) use fired::{
    Listed, Times, counts, list, times_of_accounts, times_of_nodes, waiting as waiting_by_rule,
};
pub(crate) use firing::{Pending, lanes, pending};
pub(crate) use fixture::{Patience, Rehearsed, test};
pub(crate) use fold::{ANSWERED, DONE, Fold, InForce, Records};
pub(crate) use lately::Lately;
pub(crate) use legible::{brought, rounded};
#[cfg(test)]
pub(crate) use rule::Do;
pub(crate) use rule::{IN_APP, What};
pub(crate) use shown::scores;
pub(crate) use spelling::doubts;
pub(crate) use tally::{Tally, since};
pub(crate) use trial::Trial;
pub(crate) use unjudged::{OfRule as UnjudgedOfRule, Unjudged};
pub(crate) use unread::unread;
pub(crate) use untold::untold;

/// What the tables are made by.
pub(crate) const SCHEMAS: [&str; 3] = [kept::SCHEMA, waiting::SCHEMA, firing::SCHEMA];

/// Lets go of what is kept and waits; firings stay on record, and what of them was not done yet.
pub(crate) fn clear(db: &rusqlite::Connection) -> rusqlite::Result<()> {
    db.execute_batch("DELETE FROM feature; DELETE FROM answer; DELETE FROM timer; DELETE FROM look; DELETE FROM happened; DELETE FROM crossed;")
}

/// Forgets what is kept of identifiers that were erased, after people have.
pub(crate) fn forget(
    db: &rusqlite::Connection,
    nodes: &[crate::people::Node],
) -> rusqlite::Result<()> {
    for node in nodes {
        for delete in [
            "DELETE FROM action WHERE firing IN (SELECT number FROM firing WHERE node = ?1)",
            "DELETE FROM firing WHERE node = ?1",
            "DELETE FROM feature WHERE node = ?1",
            "DELETE FROM answer WHERE node = ?1",
            "DELETE FROM timer WHERE node = ?1",
            "DELETE FROM look WHERE node = ?1 AND account = 0",
            "DELETE FROM happened WHERE node = ?1",
            "DELETE FROM crossed WHERE node = ?1 AND account = 0",
        ] {
            db.prepare_cached(delete)?.execute([node])?;
        }
    }
    // Of an account that has gone with its last people, what others' events had said of it.
    let delete = "DELETE FROM answer WHERE account NOT IN (SELECT id FROM account)";
    db.prepare_cached(delete)?.execute([])?;
    Ok(())
}
